//! Checks at once: they share calls of the script and are decided each by itself.

use std::{collections::BTreeMap, task::Context, task::Waker};

use futures_util::future::join_all;
use tokio_test::{assert_pending, task::spawn};

use super::*;

const HOURLY: Policy = Policy::sliding_window("hourly", 4, minutes(60));
const COARSE: Policy = Policy::sliding_window("coarse", 200, minutes(60));
const LOGIN: Policy = Policy::sliding_window("login", 5, minutes(5));
const SLOW: Policy = Policy::token_bucket("slow", 5, minutes(60));

fn now(store: &RedisRateStore, key: &str, policies: &[Policy], cost: u32) -> StoreFuture<Verdict> {
    store.check(&Cx::new(), &key.into(), policies, cost)
}

/// Makes a store whose scripts the server knows, so that the next call is one command.
async fn warm(redis: &Redis) -> RedisRateStore {
    let store = RedisRateStore::new(redis);
    now(&store, "warm", &[HOURLY], 1).await.expect("redis answers");
    store
}

#[tokio::test]
async fn two_hundred_checks_at_once_are_five_calls() {
    let server = RedisServer::start();
    let store = warm(&patient(&server).await).await;
    let mut verdicts = Vec::new();
    let seen = server
        .commands_during(async {
            let checks: Vec<_> = (0..200).map(|n| now(&store, &format!("c{}", n % 20), &[HOURLY, SLOW], 1)).collect();
            verdicts = join_all(checks).await;
        })
        .await;
    assert!(seen["evalsha"] <= 5, "the first alone, the others by 64: {seen:?}");
    let mut admitted = BTreeMap::new();
    for (n, verdict) in verdicts.into_iter().enumerate() {
        *admitted.entry(n % 20).or_insert(0) += u32::from(verdict.expect("redis answers").is_admitted());
    }
    assert!(admitted.len() == 20 && admitted.values().all(|&count| count == 4), "{admitted:?}");
}

/// One call holds checks of the same client, of other policies and costs, and denials between admissions.
#[tokio::test]
async fn checks_of_one_call_are_decided_one_after_the_other() {
    let server = RedisServer::start();
    let redis = patient(&server).await;
    let some = prop::sample::subsequence(vec![HOURLY, COARSE, SLOW], 1..=3).prop_shuffle();
    let checks = prop::collection::vec((0u32..3, some, 0u32..7), 1..64);
    let mut runner = TestRunner::deterministic();
    for round in 0..40 {
        let checks = checks.new_tree(&mut runner).expect("a strategy").current();
        let store = warm(&redis).await;
        let model: Store = Arc::new(MemoryRateStore::new(Clock::system()));
        let key = |client: u32| format!("{round}-{client}");
        let first = now(&store, "under way", &[HOURLY], 0);
        let asked: Vec<_> = checks.iter().map(|(client, some, cost)| now(&store, &key(*client), some, *cost)).collect();
        let (_, answers) = tokio::join!(first, join_all(asked));
        for ((client, some, cost), answer) in checks.iter().zip(answers) {
            let wanted = check(&model, START, &key(*client), some, *cost).await;
            let told = |verdict: &Verdict| -> Vec<_> {
                verdict.decisions().iter().map(|decision| (decision.outcome(), decision.remaining())).collect()
            };
            let answer = answer.expect("redis answers");
            // A cost that never fits is refused without asking, so the other policies have nothing to tell.
            if outcomes(&wanted).contains(&Outcome::TooCostly) {
                assert!(outcomes(&answer).contains(&Outcome::TooCostly));
            } else {
                assert_eq!(told(&answer), told(&wanted), "{some:?} at {cost} of {checks:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_at_once_over_four_instances_admit_exactly_the_limit() {
    let server = RedisServer::start();
    let ten = Policy::sliding_window("ten", 10, minutes(1));
    let mut instances = Vec::new();
    for _ in 0..4 {
        let redis =
            Redis::new(RedisConfig::new(&server.url()).expect("valid").deadline(seconds(2))).expect("a runtime");
        assert!(redis.ready(seconds(10)).await);
        instances.push(FallbackRateStore::new(RedisRateStore::new(&redis), || 4));
    }
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..500 {
        let store = instances[n % 4].clone();
        tasks.spawn(async move { store.check(&Cx::new(), &"a".into(), &[ten], 1).await.expect("always answers") });
    }
    let outcomes: Vec<_> = tasks.join_all().await.iter().flat_map(outcomes).collect();
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!((count(Outcome::Admitted), count(Outcome::Denied)), (10, 490));
}

/// Guesses are charged before the password is looked at: guessing in parallel gains nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_wrong_passwords_at_once_are_tried_five_times() {
    let server = RedisServer::start();
    let limits = RateLimits::new(RedisRateStore::new(&patient(&server).await));
    let attempt = async |limits: RateLimits, password: &'static str| {
        let Ok(attempt) = limits.check(LOGIN, ("203.0.113.7".parse::<std::net::IpAddr>().expect("one"), "ann")).await
        else {
            return "refused";
        };
        tokio::task::yield_now().await; // the password is hashed
        if password == "right" {
            attempt.refund().await;
            return "in";
        }
        "tried"
    };
    for _ in 0..20 {
        assert_eq!(attempt(limits.clone(), "right").await, "in", "who knows the password is never refused");
    }
    let guesses: Vec<_> = (0..100).map(|_| tokio::spawn(attempt(limits.clone(), "wrong"))).collect();
    let mut tried = 0;
    for guess in guesses {
        tried += u32::from(guess.await.expect("no panic") == "tried");
    }
    assert_eq!(tried, 5);
}

#[tokio::test]
async fn who_goes_away_before_it_is_sent_is_not_charged() {
    let server = RedisServer::start();
    let store = warm(&patient(&server).await).await;
    let mut first = spawn(now(&store, "a", &[HOURLY], 1));
    assert_pending!(first.poll());
    let (gone, stays) = (now(&store, "a", &[HOURLY], 1), now(&store, "a", &[HOURLY], 1));
    drop(gone);
    first.await.expect("redis answers");
    assert_eq!(stays.await.expect("redis answers").decisions()[0].remaining(), 2, "two of four were charged");
}

/// A caller that is dropped in any state gives its place in the connection back.
#[tokio::test]
async fn callers_that_go_away_leave_nothing_behind() {
    let server = RedisServer::start();
    let store = warm(&patient(&server).await).await;
    for n in 0..2_000u32 {
        let mut check = now(&store, "a", &[COARSE], 1);
        if n % 3 > 0 {
            assert!(std::pin::Pin::new(&mut check).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        if n % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let checks: Vec<_> = (0..500).map(|n| now(&store, &format!("c{n}"), &[HOURLY], 1)).collect();
    assert!(join_all(checks).await.into_iter().all(|verdict| verdict.expect("a place").is_admitted()));
}

#[tokio::test]
async fn those_who_wait_together_hear_of_the_same_outage() {
    let mut server = RedisServer::start();
    let store = warm(&server.handle().await).await;
    server.freeze();
    let checks: Vec<_> = (0..100).map(|n| now(&store, &format!("c{n}"), &[HOURLY], 1)).collect();
    assert!(join_all(checks).await.into_iter().all(|answer| answer.expect_err("frozen").is_unavailable()));
    server.thaw();
    eventually("redis decides again", async || now(&store, "late", &[COARSE], 1).await.is_ok()).await;
    server.kill();
    let checks: Vec<_> = (0..100).map(|n| now(&store, &format!("d{n}"), &[HOURLY], 1)).collect();
    assert!(join_all(checks).await.into_iter().all(|answer| answer.expect_err("gone").is_unavailable()));
}

#[tokio::test]
async fn a_request_with_little_time_left_goes_alone() {
    let server = RedisServer::start();
    let store = warm(&patient(&server).await).await;
    let seen = server
        .commands_during(async {
            let hurried = Cx::new().within(seconds(1));
            let first = now(&store, "a", &[HOURLY], 1);
            let others: Vec<_> = (0..3).map(|_| store.check(&hurried, &"a".into(), &[HOURLY], 1)).collect();
            let (first, others) = tokio::join!(first, join_all(others));
            assert!(first.is_ok() && others.into_iter().all(|verdict| verdict.expect("in time").is_admitted()));
        })
        .await;
    assert_eq!(seen["evalsha"], 4);
}

/// A batch whose runtime ended before it was sent once kept all later ones waiting.
#[test]
fn a_runtime_that_ends_takes_only_its_own_checks_with_it() {
    let server = RedisServer::start();
    let new_runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (lasting, ending) = (new_runtime(), new_runtime());
    let store = lasting.block_on(async { warm(&patient(&server).await).await });
    let _under_way = {
        let _inside = lasting.enter();
        now(&store, "a", &[HOURLY], 1)
    };
    let lost = {
        let _inside = ending.enter();
        now(&store, "a", &[HOURLY], 1)
    };
    drop(ending);
    assert!(lasting.block_on(lost).expect_err("its runtime ended").is_unavailable());
    let later = async { tokio::time::timeout(seconds(10), now(&store, "a", &[HOURLY], 1)).await };
    assert!(lasting.block_on(later).expect("it was sent").expect("redis answers").is_admitted());
}
