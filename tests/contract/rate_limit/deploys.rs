//! Policies that change while clients are under way, windows at their fullest, and clocks that step back.

use super::*;

const STEP: Duration = Duration::from_micros(1_000);

async fn admitted(store: &Store, at: Timestamp, policy: Policy, times: u32) -> u32 {
    let mut admitted = 0;
    for _ in 0..times {
        admitted += u32::from(check(store, at, "a", &[policy], 1).await.is_admitted());
    }
    admitted
}

#[tokio::test]
async fn a_policy_that_changes_its_algorithm_holds_at_once() {
    let server = RedisServer::start();
    let window = Policy::sliding_window("changing", 5, minutes(1));
    let bucket = Policy::token_bucket("changing", 3, minutes(1));
    for (name, store) in stores(&server).await {
        assert_eq!(admitted(&store, START, window, 9).await, 5, "{name}");
        assert_eq!(admitted(&store, START + STEP, bucket, 9).await, 3, "{name}: the bucket's own limit");
        assert_eq!(admitted(&store, START + STEP * 2, window, 9).await, 5, "{name}: the window's own limit");
    }
}

#[tokio::test]
async fn a_lowered_limit_counts_what_was_admitted_under_the_higher() {
    let server = RedisServer::start();
    let high = Policy::sliding_window("window", 50, minutes(1));
    let low = high.with_limit(10, minutes(1)).expect("possible");
    for (name, store) in stores(&server).await {
        assert_eq!(admitted(&store, START, high, 20).await, 20, "{name}");
        let later = START + seconds(30);
        assert_eq!(admitted(&store, later, low, 3).await, 0, "{name}: 20 of 10 are used");
        assert_eq!(admitted(&store, later, high, 40).await, 30, "{name}: raised again, the rest is free");
        let shorter = low.with_limit(10, seconds(10)).expect("possible");
        assert_eq!(admitted(&store, later + seconds(10), shorter, 12).await, 10, "{name}: the shorter period holds");
    }
}

#[tokio::test]
async fn a_window_that_becomes_wide_keeps_its_count() {
    let server = RedisServer::start();
    let exact = Policy::sliding_window("window", 100, minutes(1));
    let wide = exact.with_limit(6_000, minutes(1)).expect("possible");
    for (name, store) in stores(&server).await {
        assert_eq!(admitted(&store, START, exact, 101).await, 100, "{name}");
        let verdict = check(&store, START + STEP, "a", &[wide], 5_900).await;
        assert!(verdict.is_admitted(), "{name}");
        assert_eq!(verdict.decisions()[0].remaining(), 0, "{name}");
        assert!(!check(&store, START + STEP * 2, "a", &[wide], 1).await.is_admitted(), "{name}");
        assert!(!check(&store, START + STEP * 2, "a", &[exact], 1).await.is_admitted(), "{name}");
    }
}

#[tokio::test]
async fn five_seconds_back_admit_nobody_over_the_limit_and_block_nobody_for_long() {
    let server = RedisServer::start();
    let window = Policy::sliding_window("window", 10, seconds(10));
    let bucket = Policy::token_bucket("bucket", 10, seconds(10));
    for (name, store) in stores(&server).await {
        for policy in [window, bucket] {
            assert_eq!(admitted(&store, START, policy, 10).await, 10, "{name}, {policy:?}");
            let back = START - seconds(5);
            let denied = check(&store, back, "a", &[policy], 1).await;
            assert!(!denied.is_admitted(), "{name}, {policy:?}");
            let wait = denied.decisions()[0].retry_after().expect("a full limit names its wait");
            assert!(wait <= seconds(10), "{name}, {policy:?}: {wait:?}");
            assert!(check(&store, back + wait, "a", &[policy], 1).await.is_admitted(), "{name}, {policy:?}");
        }
    }
}

#[tokio::test]
async fn waiting_retry_after_is_admitted_and_a_millisecond_less_is_not() {
    let server = RedisServer::start();
    let wide = Policy::sliding_window("wide", 600, minutes(1));
    let bucket = Policy::token_bucket("bucket", 7, seconds(9));
    for (name, store) in stores(&server).await {
        for (policy, cost) in [(WINDOW, 1), (WINDOW, 3), (wide, 1), (wide, 50), (bucket, 1), (bucket, 4)] {
            let key = format!("{}-{cost}", policy.name());
            let mut now = START;
            while check(&store, now, &key, &[policy], cost).await.is_admitted() {
                now = now + Duration::from_millis(13);
            }
            let denied = check(&store, now, &key, &[policy], cost).await;
            let wait = denied.decisions()[0].retry_after().expect("it can be paid later");
            let early = check(&store, now + wait - Duration::from_millis(1), &key, &[policy], cost).await;
            assert!(!early.is_admitted(), "{name}, {policy:?}, cost {cost}: admitted before {wait:?}");
            let then = check(&store, now + wait, &key, &[policy], cost).await;
            assert!(then.is_admitted(), "{name}, {policy:?}, cost {cost}: refused after {wait:?}");
        }
    }
}

#[tokio::test]
async fn a_full_window_of_six_thousand_is_under_five_kilobytes() {
    let server = RedisServer::start();
    let store: Store = Arc::new(RedisRateStore::new(&patient(&server).await));
    let mut client = server.client().await;
    let policy = Policy::sliding_window("huge", 6_000, minutes(1));
    for n in 0..6_000 {
        let verdict = check(&store, START + Duration::from_millis(n * 10), "a", &[policy], 1).await;
        assert!(verdict.is_admitted(), "request {n}");
    }
    let full = START + Duration::from_millis(59_999);
    assert!(!check(&store, full, "a", &[policy], 1).await.is_admitted());
    let mut usage = redis::cmd("MEMORY");
    usage.arg("USAGE").arg("tk:rl:{k:a}:huge").arg("SAMPLES").arg(0);
    let bytes: u64 = usage.query_async(&mut client).await.expect("redis answers");
    assert!(bytes > 0 && bytes < 5_000, "{bytes} bytes");
    for _ in 0..1_000 {
        check(&store, full, "a", &[policy], 1).await;
    }
    let after: u64 = usage.query_async(&mut client).await.expect("redis answers");
    assert_eq!(after, bytes, "refused requests leave nothing behind");
}

/// Four instances with stores of their own; each request asks once and nobody is told a wrong verdict.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_at_once_through_four_instances_pass_ten() {
    let server = RedisServer::start();
    let mut instances = Vec::new();
    for _ in 0..4 {
        instances.push(RedisRateStore::new(&patient(&server).await));
    }
    let policy = Policy::sliding_window("ten", 10, minutes(10));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..500 {
        let store = instances[n % 4].clone();
        tasks.spawn(async move {
            let cx = Cx::new().within(seconds(5));
            store.check(&cx, &"a".into(), &[policy], 1).await.expect("redis answers").is_admitted()
        });
    }
    let passed = tasks.join_all().await.into_iter().filter(|passed| *passed).count();
    assert_eq!(passed, 10);
}
