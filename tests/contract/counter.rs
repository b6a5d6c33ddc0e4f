//! The contract of [`CounterStore`], held by memory and Redis, and what [`Counters`] makes of it.

mod batches;
mod on_a_real_server;

use std::{collections::BTreeMap, sync::Arc};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use towerkeep::{
    Cx,
    clock::{Clock, seconds},
    counter::{Counter, CounterStore, Counters, Flush, FlushId, MemoryCounterStore, RedisCounterStore},
    store::OutageSwitch,
};

use crate::support::RedisServer;

type Store = Arc<dyn CounterStore>;

/// Every implementation, each empty.
async fn stores(server: &RedisServer) -> Vec<(&'static str, Store)> {
    let redis = server.patient_handle().await;
    vec![
        ("memory", Arc::new(MemoryCounterStore::new(Clock::system()))),
        ("redis", Arc::new(RedisCounterStore::new(&redis))),
    ]
}

fn views(id: u32) -> Counter {
    Counter::views("post", id)
}

fn flush(writer: &str, number: u64, additions: &[(Counter, i64)]) -> Flush {
    Flush::new(FlushId::new(writer, number), additions)
}

async fn value(store: &Store, counter: &Counter) -> i64 {
    store.read(&Cx::new(), std::slice::from_ref(counter)).await.expect("the store answers")[0]
}

#[tokio::test]
async fn counts_from_zero_up_and_down() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        let counters = Counters::new(store);
        let (seen, loaded) = (views(7), Counter::of("downloads", 17));
        assert_eq!(counters.get(&seen).await.expect("up"), 0, "{name}");
        assert_eq!(counters.incr(&seen).await.expect("up"), 1, "{name}");
        assert_eq!(counters.incr_by(&seen, 41).await.expect("up"), 42, "{name}");
        assert_eq!(counters.incr_by(&loaded, -5).await.expect("up"), -5, "{name}");
        let all = [loaded.clone(), views(8), seen.clone(), loaded.clone()];
        assert_eq!(counters.get_many(&all).await.expect("up"), [-5, 0, 42, -5], "{name}");
        counters.reset(&seen).await.expect("up");
        counters.reset(&seen).await.expect("up");
        assert_eq!(counters.get_many(&all).await.expect("up"), [-5, 0, 0, -5], "{name}");
    }
}

#[tokio::test]
async fn a_sum_out_of_range_is_refused_and_changes_nothing() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        for (full, by) in [(i64::MAX, 1), (i64::MIN, -1), (i64::MIN + 1, i64::MIN), (i64::MAX, i64::MAX)] {
            let counter = Counter::of("full", format!("{full} {by}"));
            assert_eq!(store.add(&Cx::new(), &counter, full).await.expect("up"), full, "{name}");
            let error = store.add(&Cx::new(), &counter, by).await.expect_err("out of range");
            assert!(error.is_invalid(), "{name}: {error:?}");
            assert_eq!(value(&store, &counter).await, full, "{name}");
            assert_eq!(store.add(&Cx::new(), &counter, 0).await.expect("up"), full, "{name}");
        }
    }
}

#[tokio::test]
async fn too_many_at_once_are_refused_and_none_are_not_asked_for() {
    let counters = Counters::new(MemoryCounterStore::new(Clock::system()).outage(forced()));
    let many: Vec<_> = (0..1_001).map(views).collect();
    assert!(counters.get_many(&many).await.expect_err("too many").is_invalid());
    assert!(counters.get_many(&many[..1_000]).await.expect_err("an outage").is_unavailable());
    assert!(counters.get_many(&[]).await.expect("nothing to ask").is_empty());
}

fn forced() -> OutageSwitch {
    let switch = OutageSwitch::default();
    switch.set(true);
    switch
}

#[tokio::test]
async fn a_flush_counts_once_however_often_it_comes() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        let cx = Cx::new();
        let first = flush("a", 1, &[(views(1), 10), (views(2), -3)]);
        for _ in 0..3 {
            assert_eq!(store.apply(&cx, &first).await.expect("up"), 0, "{name}");
        }
        store.apply(&cx, &flush("a", 2, &[(views(1), 100)])).await.expect("up");
        store.apply(&cx, &flush("a", 2, &[(views(1), 100)])).await.expect("up");
        store.apply(&cx, &flush("b", 1, &[(views(1), 1_000)])).await.expect("up");
        assert_eq!((value(&store, &views(1)).await, value(&store, &views(2)).await), (1_110, -3), "{name}");
    }
}

#[tokio::test]
async fn a_counter_that_refuses_holds_back_no_other() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        store.add(&Cx::new(), &views(2), i64::MAX).await.expect("up");
        let additions: Vec<_> = (1..=3).map(|id| (views(id), 1)).collect();
        let refused = store.apply(&Cx::new(), &flush("a", 1, &additions)).await.expect("up");
        let read = store.read(&Cx::new(), &[views(1), views(2), views(3)]).await.expect("up");
        assert_eq!((refused, read), (1, vec![1, i64::MAX, 1]), "{name}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add(u32, i64),
    Reset(u32),
    /// A new flush, sent so many times.
    Flush(Vec<(u32, i64)>, usize),
}

fn amount() -> impl Strategy<Value = i64> {
    let far = prop::sample::select(vec![i64::MAX, i64::MIN, i64::MAX - 1, 1 << 53, -(1 << 53) - 1, 0]);
    prop_oneof![6 => -100..100_i64, 2 => far, 1 => any::<i64>()]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let part = prop::collection::btree_map(0..6_u32, amount(), 1..6);
    let step = prop_oneof![
        4 => (0..6_u32, amount()).prop_map(|(id, by)| Step::Add(id, by)),
        1 => (0..6_u32).prop_map(Step::Reset),
        3 => (part, 1..3_usize).prop_map(|(part, times)| Step::Flush(part.into_iter().collect(), times)),
    ];
    prop::collection::vec(step, 1..60)
}

/// What one step does to plain numbers; what `add` answers, or how many of a flush refuse.
fn model(values: &mut BTreeMap<u32, i64>, step: &Step) -> Option<i64> {
    let mut add = |id: u32, by: i64| {
        let sum = values.get(&id).copied().unwrap_or(0).checked_add(by)?;
        values.insert(id, sum);
        Some(sum)
    };
    match step {
        Step::Add(id, by) => add(*id, *by),
        Step::Flush(part, _) => {
            let refused = part.iter().filter(|(id, by)| add(*id, *by).is_none()).count();
            i64::try_from(refused).ok()
        }
        Step::Reset(id) => {
            values.remove(id);
            Some(0)
        }
    }
}

#[tokio::test]
async fn redis_and_memory_count_as_plain_numbers_do() {
    let server = RedisServer::start();
    let mut runner = TestRunner::default();
    for _ in 0..40 {
        let steps = steps().new_tree(&mut runner).expect("a trace").current();
        server.flush().await;
        for (name, store) in stores(&server).await {
            let mut values = BTreeMap::new();
            for (n, step) in steps.iter().enumerate() {
                let expected = model(&mut values, step);
                let found = match step {
                    Step::Add(id, by) => store.add(&Cx::new(), &views(*id), *by).await.ok(),
                    Step::Reset(id) => store.reset(&Cx::new(), &views(*id)).await.ok().map(|()| 0),
                    Step::Flush(part, times) => {
                        let part: Vec<_> = part.iter().map(|(id, by)| (views(*id), *by)).collect();
                        let flush = flush("w", n as u64 + 1, &part);
                        let refused = store.apply(&Cx::new(), &flush).await.expect("up");
                        for _ in 1..*times {
                            assert_eq!(store.apply(&Cx::new(), &flush).await.expect("up"), 0, "{name}");
                        }
                        i64::try_from(refused).ok()
                    }
                };
                assert_eq!(found, expected, "{name}, step {n} of {steps:#?}");
            }
            let ids: Vec<_> = (0..6).map(views).collect();
            let found = store.read(&Cx::new(), &ids).await.expect("up");
            let expected: Vec<_> = (0..6).map(|id| values.get(&id).copied().unwrap_or(0)).collect();
            assert_eq!(found, expected, "{name}: {steps:#?}");
        }
    }
}

#[test]
fn handles_are_fit_to_be_shared() {
    fn check<T: Send + Sync + Clone + 'static>() {}
    check::<Counters>();
    check::<MemoryCounterStore>();
    check::<RedisCounterStore>();
}
