//! What only a real server shows.

use super::*;

/// How many times the server ran each command since the last reset.
async fn calls(client: &mut redis::aio::MultiplexedConnection, command: &str) -> u64 {
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(client).await.expect("redis answers");
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| line.split(',').next().and_then(|calls| calls.parse().ok()).expect("a number"))
}

async fn reset_stats(client: &mut redis::aio::MultiplexedConnection) {
    redis::cmd("CONFIG").arg("RESETSTAT").exec_async(client).await.expect("redis answers");
}

#[tokio::test]
async fn several_policies_are_one_command() {
    let server = RedisServer::start();
    let limits = RateLimits::new(RedisRateStore::new(&patient(&server).await));
    let mut client = server.client().await;
    limits.check(BUCKET, "loads the script").await.expect("admitted");
    reset_stats(&mut client).await;
    limits.check([WIDE, BUCKET], "a").await.expect("admitted");
    assert_eq!((calls(&mut client, "evalsha").await, calls(&mut client, "eval").await), (1, 0));
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("tk:rl:{k:a}:*").query_async(&mut client).await.expect("keys");
    keys.sort();
    assert_eq!(keys, ["tk:rl:{k:a}:bucket", "tk:rl:{k:a}:wide"]);
}

#[tokio::test]
async fn a_refused_client_costs_one_command() {
    let server = RedisServer::start();
    let limits = RateLimits::new(RedisRateStore::new(&patient(&server).await));
    let mut client = server.client().await;
    let mut last = None;
    for _ in 0..3 {
        last = Some(limits.check(WINDOW, "a").await.expect("admitted"));
    }
    reset_stats(&mut client).await;
    for _ in 0..50 {
        let denied = limits.check(WINDOW, "a").await.expect_err("over the limit");
        assert!(denied.retry_after().is_some_and(|after| after > seconds(50)));
    }
    assert_eq!(calls(&mut client, "evalsha").await, 1);

    last.expect("three were admitted").refund().await;
    limits.check(WINDOW, "a").await.expect("the refund made room");
    limits.check(WINDOW, "a").await.expect_err("over the limit");
    limits.reset(WINDOW, "a").await.expect("redis answers");
    limits.check(WINDOW, "a").await.expect("the reset made room");
}

#[tokio::test]
async fn every_key_expires() {
    let server = RedisServer::start();
    let store: Store = Arc::new(RedisRateStore::new(&patient(&server).await));
    let mut client = server.client().await;
    let cx = Cx::new().within(seconds(5));
    for n in 0..20 {
        let verdict = store.check(&cx, &"a".into(), &[WINDOW, BUCKET, WIDE], 1).await.expect("answers");
        let charges: Vec<_> = verdict.decisions().iter().filter_map(Decision::charge).collect();
        if n % 3 == 0 {
            store.refund(&cx, &"a".into(), &charges).await.expect("answers");
        }
        let keys: Vec<String> = redis::cmd("KEYS").arg("tk:rl:*").query_async(&mut client).await.expect("keys");
        for key in keys {
            let ttl: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut client).await.expect("redis answers");
            assert!(ttl > 0 && ttl <= 61_000, "{key} expires in {ttl} ms");
        }
    }
}

#[tokio::test]
async fn foreign_values_are_replaced() {
    let server = RedisServer::start();
    let store: Store = Arc::new(RedisRateStore::new(&patient(&server).await));
    let mut client = server.client().await;
    let foreign: [&[&str]; 9] = [
        &["SET", "KEY", "not a number"],
        &["SET", "KEY", "17:x"],
        &["SET", "KEY", "99999999999999999999999999"],
        &["HSET", "KEY", "a", "b"],
        &["LPUSH", "KEY", "a"],
        &["ZADD", "KEY", "1", "alice"],
        &["ZADD", "KEY", "-1", "w2:7", "5", "5"],
        &["ZADD", "KEY", "-1", "w1:7"],
        &["ZADD", "KEY", "-1", "w1:3", "5", "5", "1760000000000000", "alice"],
    ];
    for policy in [WINDOW, BUCKET] {
        let key = format!("tk:rl:{{k:a}}:{}", policy.name());
        for command in foreign {
            redis::cmd("DEL").arg(&key).exec_async(&mut client).await.expect("redis answers");
            let mut planted = redis::cmd(command[0]);
            command[1..].iter().for_each(|word| {
                planted.arg(if *word == "KEY" { key.as_str() } else { word });
            });
            planted.exec_async(&mut client).await.expect("redis answers");
            for remaining in [2, 1, 0] {
                let verdict = check(&store, START, "a", &[policy], 1).await;
                assert!(verdict.is_admitted(), "{policy:?} over {command:?}");
                assert_eq!(verdict.decisions()[0].remaining(), remaining, "{policy:?} over {command:?}");
            }
            assert!(!check(&store, START, "a", &[policy], 1).await.is_admitted(), "{policy:?} over {command:?}");
            let ttl: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut client).await.expect("redis answers");
            assert!(ttl > 0, "{policy:?} over {command:?}");
        }
    }
}

#[tokio::test]
async fn two_instances_share_one_limit_under_load() {
    let server = RedisServer::start();
    let handles = [patient(&server).await, patient(&server).await];
    let policy = Policy::sliding_window("shared", 500, minutes(1));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..40 {
        // A store for each task, so that no refusal is remembered for the others.
        let store = RedisRateStore::new(&handles[n % 2]);
        tasks.spawn(async move {
            let mut admitted = 0;
            for _ in 0..25 {
                // On a busy machine a check can be too late; it may have been counted all the same.
                let verdict = store.check(&Cx::new(), &"a".into(), &[policy], 1).await;
                admitted += u32::from(verdict.is_ok_and(|verdict| verdict.is_admitted()));
            }
            admitted
        });
    }
    let admitted: u32 = tasks.join_all().await.into_iter().sum();
    assert!(admitted <= 500, "{admitted} of 500");
    let store = RedisRateStore::new(&handles[0]);
    let mut more = 0;
    eventually("the limit is reached", async || {
        let verdict = store.check(&Cx::new(), &"a".into(), &[policy], 1).await;
        more += u32::from(verdict.as_ref().is_ok_and(Verdict::is_admitted));
        verdict.is_ok_and(|verdict| !verdict.is_admitted())
    })
    .await;
    assert!(admitted + more <= 500, "{admitted} and {more} of 500");
}

#[tokio::test]
async fn a_wide_window_stays_small_in_redis() {
    let server = RedisServer::start();
    let store: Store = Arc::new(RedisRateStore::new(&patient(&server).await));
    let mut client = server.client().await;
    for n in 0..1_000 {
        check(&store, START + Duration::from_millis(n * 70), "a", &[WIDE], 1).await;
    }
    let entries: u64 = redis::cmd("ZCARD").arg("tk:rl:{k:a}:wide").query_async(&mut client).await.expect("redis");
    let bytes: u64 =
        redis::cmd("MEMORY").arg("USAGE").arg("tk:rl:{k:a}:wide").query_async(&mut client).await.expect("redis");
    assert!(entries <= 122 && bytes <= 4_300, "{entries} entries, {bytes} bytes");
}
