//! The contract of [`RateStore`], held by memory, Redis and the fallback around either.

mod deploys;
mod hostile;
mod on_a_real_server;
mod outages;
mod together;

use std::{sync::Arc, time::Duration};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use towerkeep::{
    Cx, KeyValue, StoreFuture,
    clock::{Clock, ManualClock, Timestamp, minutes, seconds},
    conn::{Redis, RedisConfig},
    rate_limit::{
        Decision, FallbackRateStore, LimitOutage, MemoryRateStore, Outcome, Policy, RateLimits, RateStore,
        RedisRateStore, Verdict,
    },
    store::OutageSwitch,
};

use crate::support::{RedisServer, eventually};

const WINDOW: Policy = Policy::sliding_window("window", 3, minutes(1));
const BUCKET: Policy = Policy::token_bucket("bucket", 3, seconds(1));
const WIDE: Policy = Policy::sliding_window("wide", 1_000, minutes(1));
const START: Timestamp = Timestamp::from_micros(1_760_000_000_000_000);

type Store = Arc<dyn RateStore>;

/// A handle that waits for a busy machine: these tests are not about outages.
async fn patient(server: &RedisServer) -> Redis {
    let config = RedisConfig::new(&server.url()).expect("a valid url").deadline(seconds(5));
    let redis = Redis::new(config).expect("inside a runtime");
    assert!(redis.ready(seconds(10)).await, "redis was not reached");
    redis
}

/// Every implementation, each empty; the server lives as long as the stores are used.
async fn stores(server: &RedisServer) -> Vec<(&'static str, Store)> {
    let redis = patient(server).await;
    let memory = || MemoryRateStore::new(Clock::system());
    vec![
        ("memory", Arc::new(memory())),
        ("redis", Arc::new(RedisRateStore::new(&redis))),
        ("fallback over memory", Arc::new(FallbackRateStore::new(memory(), || 1))),
    ]
}

async fn check(store: &Store, at: Timestamp, key: &str, policies: &[Policy], cost: u32) -> Verdict {
    let cx = Cx::new().at(at).within(seconds(5));
    store.check(&cx, &KeyValue::from(key), policies, cost).await.expect("the store answers")
}

fn outcomes(verdict: &Verdict) -> Vec<Outcome> {
    verdict.decisions().iter().map(Decision::outcome).collect()
}

#[tokio::test]
async fn admits_up_to_the_limit_and_says_when_there_is_room() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        for remaining in [2, 1, 0] {
            let verdict = check(&store, START, "a", &[WINDOW], 1).await;
            assert_eq!((verdict.is_admitted(), verdict.decisions()[0].remaining()), (true, remaining), "{name}");
        }
        let denied = check(&store, START + seconds(20), "a", &[WINDOW], 1).await;
        assert_eq!(outcomes(&denied), [Outcome::Denied], "{name}");
        assert_eq!(denied.decisions()[0].retry_after(), Some(seconds(40)), "{name}");
        assert!(check(&store, START + seconds(20), "b", &[WINDOW], 1).await.is_admitted(), "{name}: another client");
        let almost = START + (minutes(1) - Duration::from_micros(1));
        assert!(!check(&store, almost, "a", &[WINDOW], 1).await.is_admitted(), "{name}: a microsecond early");
        assert!(check(&store, START + minutes(1), "a", &[WINDOW], 3).await.is_admitted(), "{name}");
    }
}

#[tokio::test]
async fn a_bucket_refills_evenly() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        assert!(check(&store, START, "a", &[BUCKET], 3).await.is_admitted(), "{name}");
        let denied = check(&store, START, "a", &[BUCKET], 1).await;
        let wait = denied.decisions()[0].retry_after().expect("waiting helps");
        assert_eq!(wait, Duration::from_micros(333_334), "{name}");
        assert!(check(&store, START + wait, "a", &[BUCKET], 1).await.is_admitted(), "{name}");
    }
}

#[tokio::test]
async fn nothing_is_charged_when_one_policy_denies() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        check(&store, START, "a", &[WINDOW], 3).await;
        for _ in 0..5 {
            let verdict = check(&store, START, "a", &[BUCKET, WINDOW], 1).await;
            assert_eq!(outcomes(&verdict), [Outcome::Uncharged, Outcome::Denied], "{name}");
            assert_eq!(verdict.decisions()[0].remaining(), 3, "{name}");
        }
        assert!(check(&store, START, "a", &[BUCKET], 3).await.is_admitted(), "{name}");
    }
}

#[tokio::test]
async fn a_cost_over_the_limit_has_no_retry_after() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        let verdict = check(&store, START, "a", &[WINDOW, BUCKET], 4).await;
        assert_eq!(outcomes(&verdict), [Outcome::TooCostly, Outcome::TooCostly], "{name}");
        assert!(verdict.decisions().iter().all(|decision| decision.retry_after().is_none()), "{name}");
    }
}

#[tokio::test]
async fn peeking_charges_nothing() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        let cx = Cx::new().at(START).within(seconds(5));
        for _ in 0..5 {
            let verdict = store.peek(&cx, &"a".into(), &[WINDOW, BUCKET]).await.expect("answers");
            assert_eq!(outcomes(&verdict), [Outcome::Uncharged, Outcome::Uncharged], "{name}");
            assert_eq!(verdict.decisions()[0].remaining(), 3, "{name}");
        }
    }
}

#[tokio::test]
async fn a_cost_of_zero_passes_whatever_was_used_under_a_higher_limit() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        check(&store, START, "a", &[WINDOW], 3).await;
        let lowered = WINDOW.with_limit(1, minutes(1)).expect("possible");
        let free = check(&store, START, "a", &[lowered], 0).await;
        assert!(free.is_admitted(), "{name}: {free:?}");
        let cx = Cx::new().at(START).within(seconds(5));
        let look = store.peek(&cx, &KeyValue::from("a"), &[lowered]).await.expect("the store answers");
        assert_eq!((outcomes(&look), look.decisions()[0].remaining()), (vec![Outcome::Uncharged], 0), "{name}");
        assert!(!check(&store, START, "a", &[lowered], 1).await.is_admitted(), "{name}");
    }
}

#[tokio::test]
async fn a_refund_gives_back_its_own_charge() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        for policy in [WINDOW, BUCKET, WIDE] {
            let key = KeyValue::from("a");
            let cx = Cx::new().at(START).within(seconds(5));
            let verdict = check(&store, START, "a", &[policy], 3).await;
            let charges: Vec<_> = verdict.decisions().iter().filter_map(Decision::charge).collect();
            store.refund(&cx, &key, &charges).await.expect("answers");
            let after = store.peek(&cx, &key, &[policy]).await.expect("answers");
            assert_eq!(after.decisions()[0].remaining(), policy.limit(), "{name} {policy:?}");
        }
        // The first of two is given back, so room comes when the second leaves.
        let first = check(&store, START, "b", &[WINDOW], 1).await;
        check(&store, START + seconds(30), "b", &[WINDOW], 1).await;
        let charges: Vec<_> = first.decisions().iter().filter_map(Decision::charge).collect();
        let later = Cx::new().at(START + seconds(31)).within(seconds(5));
        store.refund(&later, &"b".into(), &charges).await.expect("answers");
        let after = store.peek(&Cx::new().at(START + seconds(61)).within(seconds(5)), &"b".into(), &[WINDOW]).await;
        assert_eq!(after.expect("answers").decisions()[0].remaining(), 2, "{name}");
    }
}

#[tokio::test]
async fn a_reset_restores_the_whole_limit() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        check(&store, START, "a", &[WINDOW, BUCKET], 3).await;
        store.reset(&Cx::new().within(seconds(5)), &"a".into(), &[WINDOW, BUCKET]).await.expect("answers");
        assert!(check(&store, START, "a", &[WINDOW, BUCKET], 3).await.is_admitted(), "{name}");
    }
}

#[tokio::test]
async fn a_clock_set_back_locks_nobody_out() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        check(&store, START, "a", &[WINDOW, BUCKET], 3).await;
        let earlier = START - minutes(60);
        let denied = check(&store, earlier, "a", &[WINDOW], 1).await;
        assert_eq!(denied.decisions()[0].retry_after(), Some(minutes(1)), "{name}");
        assert_eq!(outcomes(&check(&store, earlier, "a", &[BUCKET], 1).await), [Outcome::Denied], "{name}");
        assert!(check(&store, earlier + minutes(1), "a", &[WINDOW, BUCKET], 3).await.is_admitted(), "{name}");
    }
}

/// One step of a trace: how much later (or earlier), at what cost, under which policies.
#[derive(Clone, Debug)]
struct Step {
    after: i64,
    cost: u32,
    policies: Vec<Policy>,
    refund: bool,
}

fn trace() -> impl Strategy<Value = Vec<Step>> {
    let a = Policy::sliding_window("a", 7, Duration::from_millis(10));
    let b = Policy::sliding_window("b", 150, Duration::from_millis(7));
    let c = Policy::token_bucket("c", 7, Duration::from_millis(10)).burst(9);
    let d = Policy::token_bucket("d", 130, Duration::from_millis(9));
    let lowered = a.with_limit(3, Duration::from_millis(20)).expect("possible");
    let other_rate = c.with_limit(5, Duration::from_millis(11)).expect("possible");
    let sets = prop::sample::subsequence(vec![a, b, c, d], 1..=4);
    let rare = prop::sample::select(vec![vec![lowered], vec![other_rate], vec![c, lowered]]);
    let policies = prop_oneof![9 => sets, 1 => rare];
    let after = prop_oneof![6 => 0i64..400, 3 => 0i64..4_000, 1 => 0i64..30_000, 1 => -20_000i64..0];
    let cost = prop_oneof![6 => Just(1u32), 2 => 1u32..6, 1 => 0u32..12, 1 => 20u32..60];
    let step = (after, cost, policies, prop::bool::weighted(0.15));
    let step = step.prop_map(|(after, cost, policies, refund)| Step { after, cost, policies, refund });
    prop::collection::vec(step, 1..150)
}

#[tokio::test]
async fn redis_and_memory_decide_alike_on_random_traces() {
    let server = RedisServer::start();
    let redis: Store = Arc::new(RedisRateStore::new(&patient(&server).await));
    let mut runner = TestRunner::default();
    for n in 0..60 {
        let steps = trace().new_tree(&mut runner).expect("a trace").current();
        let memory: Store = Arc::new(MemoryRateStore::new(Clock::system()));
        let (key, mut now) = (format!("trace-{n}"), START.as_micros());
        for (i, step) in steps.iter().enumerate() {
            now = now.checked_add_signed(step.after).expect("in range");
            let at = Timestamp::from_micros(now);
            let expected = check(&memory, at, &key, &step.policies, step.cost).await;
            let found = check(&redis, at, &key, &step.policies, step.cost).await;
            assert_eq!(found, expected, "trace {n}, step {i} of {steps:#?}");
            if step.refund && found.is_admitted() {
                let charges: Vec<_> = found.decisions().iter().filter_map(Decision::charge).collect();
                let cx = Cx::new().at(at + Duration::from_micros(50)).within(seconds(5));
                memory.refund(&cx, &key.as_str().into(), &charges).await.expect("answers");
                redis.refund(&cx, &key.as_str().into(), &charges).await.expect("answers");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_admits_exactly_the_limit_to_many_threads() {
    let store = MemoryRateStore::new(Clock::system());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut admitted = 0;
            for _ in 0..200 {
                let verdict = store.check(&Cx::new(), &"a".into(), &[WIDE], 1).await.expect("memory answers");
                admitted += u32::from(verdict.is_admitted());
            }
            admitted
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<u32>(), WIDE.limit());
}

#[tokio::test]
async fn a_bounded_memory_keeps_clients_that_are_over_their_limit() {
    let store = MemoryRateStore::new(Clock::system()).max_clients(1_024);
    for _ in 0..3 {
        store.check(&Cx::new(), &"full".into(), &[WINDOW], 1).await.expect("memory answers");
    }
    for n in 0..20_000u64 {
        store.check(&Cx::new(), &n.into(), &[WINDOW], 1).await.expect("memory answers");
    }
    assert!(store.clients() <= 1_024, "{} clients", store.clients());
    let verdict = store.check(&Cx::new(), &"full".into(), &[WINDOW], 1).await.expect("memory answers");
    assert!(!verdict.is_admitted(), "made-up clients freed a full one");
}
