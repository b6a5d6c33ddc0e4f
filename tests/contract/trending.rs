//! The contract of [`TrendingStore`], held by memory and Redis.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use towerkeep::{
    Cx, Keep, OnOutage as _, Status,
    clock::{Clock, ManualClock, Timestamp, days, hours, seconds},
    conn::{Redis, RedisConfig},
    trending::{MemoryTrendingStore, RedisTrendingStore, Trend, Trending, TrendingStore, Window},
};

use crate::support::{RedisServer, eventually};

const START: Timestamp = Timestamp::from_micros(1_760_000_000_000_000);
const WINDOWS: [Window; 3] = Window::ALL;

type Store = Arc<dyn TrendingStore>;

/// A handle of the documented user that waits for a busy machine.
async fn patient(server: &RedisServer) -> Redis {
    let config = RedisConfig::new(&server.user_url()).expect("a valid url").deadline(seconds(5));
    let redis = Redis::new(config).expect("inside a runtime");
    assert!(redis.ready(seconds(10)).await, "redis was not reached");
    redis
}

/// Every implementation, each empty and each answering what holds now.
async fn stores(server: &RedisServer) -> Vec<(&'static str, Store)> {
    let redis = patient(server).await;
    vec![
        ("memory", Arc::new(MemoryTrendingStore::new(Clock::system()))),
        ("redis", Arc::new(RedisTrendingStore::new(&redis).fresh_for(Duration::ZERO))),
    ]
}

async fn record(store: &Store, at: Timestamp, item: &str, weight: u32) {
    store.record(&Cx::new().at(at), "marketplace", item, weight).await.expect("up");
}

async fn top(store: &Store, at: Timestamp, window: Window) -> Vec<(String, f64)> {
    let trends = store.top(&Cx::new().at(at), "marketplace", window, 100).await.expect("up");
    trends.into_iter().map(|Trend { item, score }| (item, score)).collect()
}

async fn ask<T: redis::FromRedisValue>(server: &RedisServer, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    words[1..].iter().for_each(|word| {
        command.arg(word);
    });
    command.query_async(&mut server.client().await).await.expect("redis answers")
}

fn rows<const N: usize>(rows: [(&str, f64); N]) -> Vec<(String, f64)> {
    rows.map(|(item, score)| (item.to_owned(), score)).to_vec()
}

#[test]
fn the_handle_goes_anywhere() {
    fn check<T: Clone + Send + Sync + 'static>() {}
    check::<Trending>();
    check::<MemoryTrendingStore>();
    check::<RedisTrendingStore>();
}

#[tokio::test]
async fn views_add_up_and_equals_go_by_name() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        assert_eq!(top(&store, START, Window::Day).await, [], "{name}: nothing was seen");
        for (item, weight) in [("b", 2), ("a", 2), ("c", 1), ("c", 2)] {
            record(&store, START, item, weight).await;
        }
        for window in WINDOWS {
            assert_eq!(top(&store, START, window).await, rows([("c", 3.0), ("a", 2.0), ("b", 2.0)]), "{name}");
        }
        let first = store.top(&Cx::new().at(START), "marketplace", Window::Day, 1).await.expect("up");
        assert_eq!((first.len(), first[0].item.as_str()), (1, "c"), "{name}");
        let other = store.top(&Cx::new().at(START), "other", Window::Day, 9).await.expect("up");
        assert_eq!(other, [], "{name}: boards are apart");
    }
}

#[tokio::test]
async fn views_lose_half_in_each_half_life_and_all_at_the_end() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        record(&store, START, "a", 16).await;
        let halves =
            [(Window::Day, hours(6), hours(24)), (Window::Week, days(2), days(7)), (Window::Month, days(7), days(30))];
        for (window, half_life, length) in halves {
            assert_eq!(top(&store, START + half_life, window).await, rows([("a", 8.0)]), "{name} {window}");
            assert_eq!(top(&store, START + half_life * 3, window).await, rows([("a", 2.0)]), "{name} {window}");
            let bucket = if window == Window::Day { hours(1) } else { days(1) };
            assert_eq!(top(&store, START + (length - bucket), window).await.len(), 1, "{name} {window}");
            assert_eq!(top(&store, START + length, window).await, [], "{name} {window}");
        }
    }
}

#[tokio::test]
async fn what_is_removed_is_gone_from_all_windows() {
    let server = RedisServer::start();
    let redis = patient(&server).await;
    let mut all = stores(&server).await;
    // A ranking that is kept must not bring it back.
    all.push(("redis with rankings that last", Arc::new(RedisTrendingStore::new(&redis).fresh_for(hours(1)))));
    for (name, store) in all {
        ask::<()>(&server, &["FLUSHALL"]).await;
        for (at, item) in [(START, "a"), (START + hours(5), "a"), (START + days(3), "a"), (START + days(3), "b")] {
            record(&store, at, item, 1).await;
        }
        let now = START + days(3);
        for window in WINDOWS {
            assert_eq!(top(&store, now, window).await.len(), 2, "{name} {window}");
        }
        let remove = async || store.remove(&Cx::new().at(now), "marketplace", "a").await.expect("up");
        assert!(remove().await, "{name}");
        for window in WINDOWS {
            assert_eq!(top(&store, now, window).await, rows([("b", 1.0)]), "{name} {window}");
        }
        assert!(!remove().await, "{name}: it is not there any more");
    }
}

/// Names that would break out of a command, a key or a text.
const HOSTILE: [&str; 8] =
    ["}", "{a}:day", "a b\r\nFLUSHALL\r\n", "\u{0}", "-inf", "WEIGHTS", "\u{10ffff}", "tk:{marketplace:trending}:day"];

#[derive(Clone, Debug)]
struct Step {
    after: Duration,
    item: String,
    weight: u32,
    remove: bool,
}

fn trace() -> impl Strategy<Value = Vec<Step>> {
    let after = prop_oneof![
        6 => (0u64..600).prop_map(seconds),
        3 => (0u64..10).prop_map(hours),
        1 => (0u64..12).prop_map(days),
    ];
    let item =
        prop_oneof![4 => "[a-f]", 1 => "\\PC{1,8}", 1 => prop::sample::select(&HOSTILE[..]).prop_map(String::from)];
    let step = (after, item, 1u32..=1_000, prop::bool::weighted(0.1));
    let step = step.prop_map(|(after, item, weight, remove)| Step { after, item, weight, remove });
    prop::collection::vec(step, 1..60)
}

/// The documented rules over all views there ever were.
#[derive(Default)]
struct Model(Vec<(Timestamp, String, u32)>);

impl Model {
    fn top(&self, window: Window, now: Timestamp) -> Vec<(String, f64)> {
        let (bucket, count, half_life) = match window {
            Window::Day => (3_600, 24, 6.0),
            Window::Week => (86_400, 7, 2.0),
            Window::Month => (86_400, 30, 7.0),
        };
        let mut sums = BTreeMap::<&str, f64>::new();
        for (at, item, weight) in &self.0 {
            let age = now.as_secs() / bucket - at.as_secs() / bucket;
            if age < count {
                // A view is worth a whole number of 2^-20, so that sums are exact.
                let worth = (1_048_576.0 * 0.5f64.powf(age as f64 / half_life)).round() / 1_048_576.0;
                *sums.entry(item).or_default() += worth * f64::from(*weight);
            }
        }
        let mut rows: Vec<_> = sums.into_iter().map(|(item, sum)| (item.to_owned(), sum)).collect();
        rows.sort_by(|a, b| b.1.total_cmp(&a.1));
        rows
    }
}

#[tokio::test]
async fn redis_memory_and_a_list_of_all_views_agree_on_random_traces() {
    let server = RedisServer::start();
    let mut runner = TestRunner::default();
    let stores = stores(&server).await;
    for n in 0..40 {
        let steps = trace().new_tree(&mut runner).expect("a trace").current();
        let (board, mut model, mut now) = (format!("{n}"), Model::default(), START);
        for (i, step) in steps.iter().enumerate() {
            now = now + step.after;
            let (cx, told) = (Cx::new().at(now), format!("trace {n}, step {i} of {steps:#?}"));
            if step.remove {
                model.0.retain(|(_, item, _)| *item != step.item);
            } else {
                model.0.push((now, step.item.clone(), step.weight));
            }
            for (name, store) in &stores {
                if step.remove {
                    store.remove(&cx, &board, &step.item).await.expect("up");
                } else {
                    store.record(&cx, &board, &step.item, step.weight).await.expect("up");
                }
                for window in WINDOWS {
                    let found = store.top(&cx, &board, window, 100).await.expect("up");
                    let found: Vec<_> = found.into_iter().map(|trend| (trend.item, trend.score)).collect();
                    assert_eq!(found, model.top(window, now), "{name} {window} {told}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_bucket_is_cut_alike_in_redis_and_in_memory() {
    let server = RedisServer::start();
    let stores = stores(&server).await;
    let mut rankings = Vec::new();
    for (_, store) in &stores {
        for n in 0..1_600u32 {
            record(store, START, &format!("item {}", n % 1_400), 1 + n % 3).await;
        }
        rankings.push(top(store, START, Window::Day).await);
    }
    assert_eq!(rankings[0], rankings[1]);
    let hour = START.as_secs() / 3_600;
    let size: usize = ask(&server, &["ZCARD", &format!("tk:{{marketplace:trending}}:hour-{hour}")]).await;
    assert!((1_000..=1_250).contains(&size), "{size}");
}

#[tokio::test]
async fn a_ranking_of_a_hundred_breaks_ties_by_name_at_its_end_too() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        for n in (0..150).rev() {
            record(&store, START, &format!("{n:03}"), 1).await;
        }
        let found: Vec<_> = top(&store, START, Window::Month).await.into_iter().map(|(item, _)| item).collect();
        assert_eq!(found, (0..100).map(|n| format!("{n:03}")).collect::<Vec<_>>(), "{name}");
    }
}

#[tokio::test]
async fn what_is_not_fit_is_told_before_anything_is_sent() {
    let server = RedisServer::start();
    let redis = patient(&server).await;
    let board = Trending::new(RedisTrendingStore::new(&redis), "marketplace");
    let calls = server
        .commands_during(async {
            let long = "x".repeat(129);
            for (item, weight) in [("", 1), (long.as_str(), 1), ("a", 0), ("a", 1_001), ("a", u32::MAX)] {
                assert!(board.record(item, weight).await.expect_err("not fit").is_invalid(), "{item} {weight}");
            }
            for count in [0, 101, usize::MAX] {
                assert!(board.top(Window::Day, count).await.expect_err("not fit").is_invalid(), "{count}");
            }
            assert!(board.remove("").await.expect_err("not fit").is_invalid());
        })
        .await;
    assert!(!calls.contains_key("evalsha"), "{calls:?}");
    for item in HOSTILE {
        board.record(item, 1_000).await.expect("fit");
    }
    board.record("x".repeat(128), 1).await.expect("fit");
    let found = board.top(Window::Day, 100).await.expect("up");
    let found: BTreeSet<_> = found.iter().map(|trend| trend.item.as_str()).collect();
    assert!(HOSTILE.iter().all(|item| found.contains(item)) && found.len() == HOSTILE.len() + 1, "{found:?}");
}

#[tokio::test]
async fn every_verb_is_one_command_and_a_ranking_is_made_once() {
    let server = RedisServer::start();
    let redis = patient(&server).await;
    let board = Trending::new(RedisTrendingStore::new(&redis).fresh_for(hours(1)), "marketplace");
    let verbs = async || {
        board.record("a", 1).await.expect("up");
        let before = board.top(Window::Day, 9).await.expect("up");
        board.record("b", 1).await.expect("up");
        assert_eq!(board.top(Window::Day, 9).await.expect("up"), before, "it was made a moment ago");
        board.remove("a").await.expect("up");
        board.remove("b").await.expect("up");
    };
    verbs().await;
    let calls = server.commands_during(verbs()).await;
    let called = |command: &str| calls.get(command).copied().unwrap_or(0);
    assert_eq!(["evalsha", "zunionstore", "script|load"].map(called), [6, 1, 0], "{calls:?}");
}

#[tokio::test]
async fn a_ranking_is_made_anew_when_it_has_expired() {
    let server = RedisServer::start();
    let redis = patient(&server).await;
    let board = Trending::new(RedisTrendingStore::new(&redis).fresh_for(Duration::from_millis(50)), "marketplace");
    board.record("a", 1).await.expect("up");
    assert_eq!(board.top(Window::Day, 9).await.expect("up").len(), 1);
    board.record("b", 1).await.expect("up");
    eventually("the new item is seen", async || board.top(Window::Day, 9).await.expect("up").len() == 2).await;
}

#[tokio::test]
async fn every_key_expires_when_nobody_looks_at_it_any_more() {
    let server = RedisServer::start();
    let redis = patient(&server).await;
    let board = Trending::new(RedisTrendingStore::new(&redis), "marketplace");
    board.record("a", 1).await.expect("up");
    for window in WINDOWS {
        board.top(window, 1).await.expect("up");
    }
    let mut keys: Vec<String> = ask(&server, &["KEYS", "tk:*trending*"]).await;
    keys.sort();
    assert_eq!(keys.len(), 5, "{keys:?}");
    for key in keys {
        let ttl = Duration::from_millis(ask(&server, &["PTTL", &key]).await);
        let name = key.strip_prefix("tk:{marketplace:trending}:").expect("a key of the board");
        let expected = match name.split('-').next() {
            Some("hour") => hours(23)..=hours(24),
            Some("day") if name != "day" => days(29)..=days(30),
            _ => Duration::from_millis(1)..=seconds(5),
        };
        assert!(expected.contains(&ttl), "{key} expires in {ttl:?}");
    }
}

#[tokio::test]
async fn a_value_of_another_type_is_told_and_nothing_is_counted() {
    let server = RedisServer::start();
    let store: Store = Arc::new(RedisTrendingStore::new(&patient(&server).await));
    let cx = Cx::new().at(START);
    let key = |name: String| format!("tk:{{marketplace:trending}}:{name}");
    let (hour, day) =
        (key(format!("hour-{}", START.as_secs() / 3_600)), key(format!("day-{}", START.as_secs() / 86_400)));
    for (planted, other) in [(&hour, &day), (&day, &hour)] {
        ask::<()>(&server, &["FLUSHALL"]).await;
        ask::<()>(&server, &["SET", planted, "foreign"]).await;
        let error = store.record(&cx, "marketplace", "a", 1).await.expect_err("foreign");
        assert!(error.is_corrupt(), "{error}");
        assert!(!ask::<bool>(&server, &["EXISTS", other]).await, "half of it was counted");
        let window = if planted == &hour { Window::Day } else { Window::Week };
        assert!(store.top(&cx, "marketplace", window, 9).await.expect_err("foreign").is_corrupt());
        assert!(store.remove(&cx, "marketplace", "a").await.expect_err("foreign").is_corrupt());
    }
    ask::<()>(&server, &["FLUSHALL"]).await;
    let mut client = server.client().await;
    redis::cmd("ZADD").arg(&hour).arg(5).arg(&[0xffu8]).exec_async(&mut client).await.expect("up");
    ask::<i64>(&server, &["ZADD", &hour, "inf", "boundless"]).await;
    record(&store, START, "a", 1).await;
    assert_eq!(top(&store, START, Window::Day).await, rows([("boundless", f64::INFINITY), ("a", 1.0)]));
}

#[tokio::test]
async fn an_outage_is_told_and_counting_goes_on_after_it() {
    let mut server = RedisServer::start();
    let keep = Keep::builder().redis(&server.user_url()).deadline(Duration::from_millis(250)).build().expect("fit");
    assert!(keep.ready(seconds(10)).await);
    let board = keep.trending("marketplace");
    board.record("a", 1).await.expect("up");
    server.kill();
    eventually("it is noticed", async || keep.status() == Status::Down).await;
    assert!(board.record("a", 1).await.expect_err("down").is_unavailable());
    assert_eq!(board.top(Window::Day, 9).await.on_outage(Vec::new).expect("the default"), []);
    assert!(board.remove("a").await.expect_err("down").is_unavailable());
    server.launch();
    eventually("it is reached again", async || keep.status() == Status::Up).await;
    board.record("b", 1).await.expect("up");
    assert_eq!(board.top(Window::Day, 9).await.expect("up")[0].item, "b");
}

#[tokio::test]
async fn memory_follows_its_clock() {
    let clock = ManualClock::at(START);
    let board = Trending::new(MemoryTrendingStore::new(clock.clock()), "marketplace");
    board.record("a", 4).await.expect("up");
    clock.advance(hours(12));
    assert_eq!(board.top(Window::Day, 1).await.expect("up")[0].score, 1.0);
}
