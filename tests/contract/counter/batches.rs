//! Increments that nobody waits for: when they are flushed, and that they count once whatever happens.

use std::{
    io::Seek,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use towerkeep::{
    Error, Keep, Status, StoreFuture,
    conn::{Redis, RedisConfig},
    counter::CounterSink,
};

use super::*;
use crate::support::{FaultProxy, Mode, eventually};

fn in_memory() -> Counters {
    Counters::new(MemoryCounterStore::new(Clock::system()))
}

async fn stored(server: &RedisServer, counter: &Counter) -> i64 {
    let key = counter.key(&towerkeep::key::Keyspace::default());
    let value: Option<i64> =
        redis::cmd("GET").arg(key).query_async(&mut server.client().await).await.expect("redis is up");
    value.unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn increments_are_flushed_after_a_tenth_of_a_second() {
    let counters = in_memory();
    counters.add(&views(1), 2).expect("gathered");
    counters.add(&views(1), 3).expect("gathered");
    tokio::time::sleep(Duration::from_millis(99)).await;
    assert_eq!(counters.get(&views(1)).await.expect("up"), 0);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(counters.get(&views(1)).await.expect("up"), 5);
    // And again, by a task that begins anew.
    counters.add(&views(1), 1).expect("gathered");
    tokio::time::sleep(Duration::from_millis(101)).await;
    assert_eq!(counters.get(&views(1)).await.expect("up"), 6);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_increments_are_flushed_at_once() {
    let counters = in_memory();
    let begin = tokio::time::Instant::now();
    (0..999).for_each(|_| counters.add(&views(1), 1).expect("gathered"));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(counters.get(&views(1)).await.expect("up"), 0);
    counters.add(&views(1), 1).expect("gathered");
    while counters.get(&views(1)).await.expect("up") < 1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_counters_may_wait_and_not_one_more() {
    let switch = forced();
    let counters = Counters::new(MemoryCounterStore::new(Clock::system()).outage(switch.clone()));
    (0..10_000).for_each(|id| counters.add(&views(id), 1).expect("gathered"));
    assert!(counters.add(&views(10_000), 1).expect_err("full").is_unavailable());
    counters.add(&views(3), 1).expect("one that waits already");
    counters.add(&views(4), i64::MAX).expect_err("out of range");
    switch.set(false);
    counters.flush().await.expect("up");
    let some: Vec<_> = [0, 3, 4, 9_999, 10_000].map(views).into();
    assert_eq!(counters.get_many(&some).await.expect("up"), [1, 2, 1, 1, 0]);
    counters.add(&views(10_000), 1).expect("there is room again");
}

#[tokio::test]
async fn a_flush_whose_answer_was_lost_counts_once() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address()).await;
    let url = server.user_url().replace(&server.address().to_string(), &proxy.address().to_string());
    // Long enough that a busy machine carries a script out in time.
    let config = RedisConfig::new(&url).expect("a url").deadline(Duration::from_millis(500));
    let redis = Redis::new(config).expect("in a runtime");
    assert!(redis.ready(seconds(10)).await);
    let counters = RedisCounterStore::with_recovery(&redis);
    counters.incr_by(&views(1), 10).await.expect("loads the script");
    for expected in [15, 20, 25] {
        proxy.set(Mode::OneWay);
        counters.add(&views(1), 5).expect("gathered");
        assert!(counters.flush().await.expect_err("nobody answers").is_unavailable());
        eventually("it was counted all the same", async || stored(&server, &views(1)).await == expected).await;
        eventually("the handle notices", async || redis.status() == Status::Down).await;
        proxy.set(Mode::Pass);
        assert!(redis.ready(seconds(10)).await);
        counters.flush().await.expect("up");
        assert_eq!(stored(&server, &views(1)).await, expected);
    }
}

#[tokio::test]
async fn an_outage_is_flushed_before_anybody_else_uses_redis() {
    let server = RedisServer::start();
    let redis = server.handle().await;
    let counters = RedisCounterStore::with_recovery(&redis);
    redis.force_outage(true);
    (0..2_500).for_each(|n| counters.add(&views(n % 1_200), 1).expect("gathered"));
    assert!(counters.get(&views(1)).await.expect_err("an outage").is_unavailable());
    redis.force_outage(false);
    assert!(redis.ready(seconds(10)).await);
    // Asked past the handle: what is there now was there when it opened.
    let sum = async |from: u32, to: u32| {
        let keys: Vec<_> = (from..to).map(|id| format!("tk:counter:views:post:{id}")).collect();
        let values: Vec<Option<i64>> =
            redis::cmd("MGET").arg(keys).query_async(&mut server.client().await).await.expect("up");
        values.into_iter().flatten().sum::<i64>()
    };
    assert_eq!((sum(0, 100).await, sum(100, 1_200).await), (300, 2_200));
}

#[tokio::test]
async fn two_instances_count_exactly_through_faults() {
    const TASKS: u32 = 64;
    const EACH: u32 = 100;
    let server = RedisServer::start();
    let mut instances = Vec::new();
    for _ in 0..2 {
        let proxy = FaultProxy::start(server.address()).await;
        let redis = server.handle_via(&proxy).await;
        instances.push((RedisCounterStore::with_recovery(&redis), proxy, redis));
    }
    let done = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let counters = instances[task as usize % 2].0.clone();
        let done = Arc::clone(&done);
        tasks.spawn(async move {
            for n in 0..EACH {
                counters.add(&views(n % 5), 1).expect("gathered");
                counters.add(&Counter::of("downloads", task), 2).expect("gathered");
                done.fetch_add(1, Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    let faults = async {
        for (n, mode) in [Mode::OneWay, Mode::Reset, Mode::Hold, Mode::OneWay].into_iter().enumerate() {
            let (_, proxy, redis) = &instances[n % 2];
            proxy.set(mode);
            eventually("the fault is felt", async || redis.status() == Status::Down).await;
            proxy.set(Mode::Pass);
            assert!(redis.ready(seconds(10)).await);
        }
    };
    tokio::join!(faults, async { while tasks.join_next().await.transpose().expect("no panic").is_some() {} });
    assert_eq!(done.load(Relaxed), (TASKS * EACH) as usize);
    for (counters, ..) in &instances {
        eventually("all is flushed", async || counters.flush().await.is_ok()).await;
    }
    for id in 0..5 {
        assert_eq!(stored(&server, &views(id)).await, i64::from(TASKS * EACH / 5), "views of {id}");
    }
    for task in 0..TASKS {
        assert_eq!(stored(&server, &Counter::of("downloads", task)).await, i64::from(2 * EACH));
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_is_dropped_is_flushed_all_the_same() {
    let switch = forced();
    let store = MemoryCounterStore::new(Clock::system()).outage(switch.clone());
    Counters::new(store.clone()).add(&views(1), 7).expect("gathered");
    tokio::time::sleep(seconds(60)).await;
    switch.set(false);
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(Counters::new(store).get(&views(1)).await.expect("up"), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn increments_of_many_threads_are_all_there() {
    let (counters, database) = (in_memory(), Database::default());
    counters.sink(database.clone()).expect("the first");
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let counters = counters.clone();
        tasks.spawn(async move {
            for n in 0..5_000 {
                counters.add(&views(n % 7), 1).expect("gathered");
                if n % 500 == task {
                    counters.flush().await.expect("up");
                }
            }
        });
    }
    tasks.join_all().await;
    counters.flush().await.expect("up");
    let ids: Vec<_> = (0..7).map(views).collect();
    let found = counters.get_many(&ids).await.expect("up");
    assert_eq!(found.iter().sum::<i64>(), 8 * 5_000);
    let mut taken = BTreeMap::new();
    for (counter, by) in database.seen.lock().expect("no panic").iter().flat_map(|(_, additions)| additions) {
        *taken.entry(counter.clone()).or_insert(0) += by;
    }
    assert_eq!(ids.iter().map(|id| taken[id]).collect::<Vec<i64>>(), found);
}

/// Where every flush makes for another one.
struct Restless {
    counters: std::sync::OnceLock<Counters>,
    applied: AtomicUsize,
}

impl CounterStore for Restless {
    fn add(&self, _: &Cx, _: &Counter, by: i64) -> StoreFuture<i64> {
        StoreFuture::ok(by)
    }
    fn read(&self, _: &Cx, counters: &[Counter]) -> StoreFuture<Vec<i64>> {
        StoreFuture::ok(vec![0; counters.len()])
    }
    fn reset(&self, _: &Cx, _: &Counter) -> StoreFuture<()> {
        StoreFuture::ok(())
    }
    fn apply(&self, _: &Cx, _: &Flush) -> StoreFuture<usize> {
        self.applied.fetch_add(1, Relaxed);
        self.counters.get().expect("set").add(&views(1), 1).expect("gathered");
        StoreFuture::ok(0)
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_during_a_flush_waits_for_the_next() {
    let store = Arc::new(Restless { counters: std::sync::OnceLock::new(), applied: AtomicUsize::new(0) });
    let counters = Counters::new(Arc::clone(&store));
    store.counters.set(counters.clone()).expect("once");
    counters.add(&views(1), 1).expect("gathered");
    counters.flush().await.expect("up");
    assert_eq!(store.applied.load(Relaxed), 1);
    tokio::time::sleep(Duration::from_millis(1_005)).await;
    assert_eq!(store.applied.load(Relaxed), 11);
}

type Taken = (String, Vec<(Counter, i64)>);

/// A database that fails while told to, and writes nothing then; it keeps what it was handed.
#[derive(Clone, Default)]
struct Database {
    fails: Arc<std::sync::atomic::AtomicBool>,
    seen: Arc<Mutex<Vec<Taken>>>,
}

impl CounterSink for Database {
    fn store(&self, id: &FlushId, additions: &[(Counter, i64)]) -> StoreFuture<()> {
        self.seen.lock().expect("no panic").push((id.to_string(), additions.to_vec()));
        if self.fails.load(Relaxed) {
            StoreFuture::err(Error::unavailable("the database is away"))
        } else {
            StoreFuture::ok(())
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_gets_the_same_flush_again_until_it_takes_it() {
    let (counters, database) = (in_memory(), Database::default());
    counters.sink(database.clone()).expect("the first");
    assert!(counters.sink(database.clone()).expect_err("one is enough").is_invalid());
    database.fails.store(true, Relaxed);
    counters.add(&views(1), 1).expect("gathered");
    assert!(counters.flush().await.is_err());
    counters.add(&views(1), 10).expect("gathered");
    counters.add(&views(2), 7).expect("gathered");
    assert!(counters.flush().await.is_err());
    // The store goes on alone.
    assert_eq!(counters.get_many(&[views(1), views(2)]).await.expect("up"), [11, 7]);
    database.fails.store(false, Relaxed);
    tokio::time::sleep(seconds(3)).await;
    let mut seen = database.seen.lock().expect("no panic").clone();
    let last = seen.pop().expect("two flushes");
    let first = seen.pop().expect("two flushes");
    assert_eq!((&first.1[..], &last.1[..]), (&[(views(1), 1)][..], &[(views(1), 10), (views(2), 7)][..]));
    assert!(seen.len() >= 2 && seen.iter().all(|again| *again == first), "{seen:?}");
    assert_ne!(first.0, last.0);
}

#[tokio::test(start_paused = true)]
async fn shutting_down_flushes_what_waits_and_takes_no_more() {
    let (keep, database) = (Keep::in_memory(), Database::default());
    keep.counters().sink(database.clone()).expect("the first");
    keep.counters().add(&views(1), 3).expect("gathered");
    keep.shutdown(seconds(1)).await;
    assert_eq!(keep.counters().get(&views(1)).await.expect("up"), 3);
    assert_eq!(database.seen.lock().expect("no panic").len(), 1);
    assert!(keep.counters().add(&views(1), 1).expect_err("too late").is_unavailable());
}

#[tokio::test(start_paused = true)]
async fn shutting_down_in_an_outage_ends_in_time() {
    let keep = Keep::in_memory();
    keep.force_outage(true);
    keep.counters().add(&views(1), 3).expect("gathered");
    assert!(keep.counters().flush().await.expect_err("an outage").is_unavailable());
    keep.counters().add(&views(1), 1).expect("beside the flush that is sealed");
    keep.counters().add(&views(1), 6).expect("beside the flush that is sealed");
    let begin = tokio::time::Instant::now();
    let file = Arc::new(tempfile::tempfile().expect("a file"));
    let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(Arc::clone(&file)).finish();
    {
        let _guard = tracing::subscriber::set_default(lines);
        tracing::callsite::rebuild_interest_cache();
        keep.shutdown(seconds(2)).await;
    }
    assert!(begin.elapsed() <= Duration::from_millis(2_100), "{:?}", begin.elapsed());
    (&*file).rewind().expect("a file");
    let told = std::io::read_to_string(&*file).expect("text");
    let lost: Vec<_> = told.lines().filter(|line| line.contains("were not flushed")).collect();
    assert_eq!(lost.len(), 1, "{told}");
    assert!(lost[0].contains("counters=2 sum=10"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn shutting_down_may_take_for_ever() {
    let keep = Keep::in_memory();
    keep.counters().add(&views(1), 3).expect("gathered");
    keep.shutdown(Duration::MAX).await;
    assert_eq!(keep.counters().get(&views(1)).await.expect("up"), 3);
}

#[tokio::test(start_paused = true)]
async fn shutting_down_waits_for_an_outage_to_end() {
    let keep = Keep::in_memory();
    keep.force_outage(true);
    keep.counters().add(&views(1), 3).expect("gathered");
    let ends = async {
        tokio::time::sleep(seconds(1)).await;
        keep.force_outage(false);
    };
    tokio::join!(keep.shutdown(seconds(5)), ends);
    assert_eq!(keep.counters().get(&views(1)).await.expect("up"), 3);
}

#[tokio::test]
async fn a_keep_flushes_into_redis_when_it_shuts_down() {
    let server = RedisServer::start();
    let keep = Keep::builder().redis(&server.user_url()).deadline(seconds(5)).build().expect("in a runtime");
    keep.counters().add(&views(1), 2).expect("gathered");
    assert!(keep.ready(seconds(10)).await);
    keep.counters().add(&views(1), 3).expect("gathered");
    keep.shutdown(seconds(10)).await;
    assert_eq!(stored(&server, &views(1)).await, 5);
}

#[tokio::test]
async fn an_outage_makes_every_verb_unavailable_but_one() {
    let server = RedisServer::start();
    let redis = server.handle().await;
    let counters = RedisCounterStore::with_recovery(&redis);
    redis.force_outage(true);
    let none = [
        counters.incr(&views(1)).await.map(drop),
        counters.get(&views(1)).await.map(drop),
        counters.get_many(&[views(1)]).await.map(drop),
        counters.reset(&views(1)).await,
        counters.flush().await,
    ];
    let unavailable: Vec<_> = none.iter().map(|result| result.as_ref().is_err_and(Error::is_unavailable)).collect();
    // There is nothing to flush.
    assert_eq!(unavailable, [true, true, true, true, false]);
    counters.add(&views(1), 1).expect("gathered");
}

#[test]
fn increments_of_no_runtime_wait_for_one() {
    let counters = in_memory();
    counters.add(&views(1), 1).expect("gathered");
    for expected in [2, 3] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            counters.add(&views(1), 1).expect("gathered");
            eventually("they are flushed", async || counters.get(&views(1)).await.expect("up") == expected).await;
        });
    }
}
