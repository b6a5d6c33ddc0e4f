//! The contract of [`ActionStore`], held by memory and Redis, and what [`ActionLog`] makes of it.

mod model;
mod outage;
mod simulation;

use std::{sync::Arc, time::Duration};

use towerkeep::{
    Cx, Keep, UserId,
    action_log::{
        Action, ActionLog, ActionLogConfig, ActionStore, Appended, Cleared, Entry, Held, MemoryActionStore, Record,
        RedisActionStore, Retention,
    },
    clock::{Clock, ManualClock, Timestamp, days, seconds},
    conn::{Redis, RedisConfig},
};

use crate::support::{FaultProxy, Mode, RedisServer, eventually};

const START: Timestamp = Timestamp::from_micros(1_760_000_000_000_000);
const KEY: &str = "tk:user:42:actions";

/// A handle of the documented user that waits for a busy machine.
async fn patient(server: &RedisServer) -> Redis {
    let config = RedisConfig::new(&server.user_url()).expect("a valid url").deadline(seconds(5));
    let redis = Redis::new(config).expect("inside a runtime");
    assert!(redis.ready(seconds(10)).await, "redis was not reached");
    redis
}

/// A log over every implementation, each empty.
async fn logs(server: &RedisServer, config: ActionLogConfig) -> Vec<(&'static str, ActionLog)> {
    let redis = patient(server).await;
    let memory = MemoryActionStore::new(Clock::system());
    vec![
        ("memory", ActionLog::with_config(memory, config).expect("fit")),
        ("redis", ActionLog::with_config(RedisActionStore::new(&redis), config).expect("fit")),
        ("redis with a fallback", RedisActionStore::with_fallback(&redis, config).expect("fit")),
    ]
}

async fn every_log(server: &RedisServer) -> Vec<(&'static str, ActionLog)> {
    logs(server, ActionLogConfig::new()).await
}

async fn append(log: &ActionLog, action: impl Into<Action>) {
    assert_eq!(log.append(42, action).await.expect("up"), Appended::Everywhere(1));
}

fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(Entry::action).collect()
}

/// The names of the newest entries.
async fn newest(log: &ActionLog, limit: usize) -> Vec<String> {
    let entries = log.recent(42, limit).await.expect("up");
    names(&entries).into_iter().map(str::to_owned).collect()
}

async fn ask<T: redis::FromRedisValue>(server: &RedisServer, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    words[1..].iter().for_each(|word| {
        command.arg(word);
    });
    command.query_async(&mut server.client().await).await.expect("redis answers")
}

#[test]
fn the_handle_goes_anywhere() {
    fn check<T: Clone + Send + Sync + 'static>() {}
    check::<ActionLog>();
    check::<MemoryActionStore>();
    check::<RedisActionStore>();
}

#[tokio::test]
async fn the_newest_come_first_and_the_oldest_leave() {
    let server = RedisServer::start();
    for (name, log) in logs(&server, ActionLogConfig::new().capacity(3)).await {
        assert!(log.recent(name, 3).await.expect("up").is_empty(), "{name}: nobody did anything");
        for action in ["a", "b", "c", "d"] {
            log.append(name, action).await.expect("up");
        }
        assert_eq!(names(&log.recent(name, 3).await.expect("up")), ["d", "c", "b"], "{name}");
        assert_eq!(names(&log.recent(name, 1).await.expect("up")), ["d"], "{name}");
        assert!(log.recent("somebody else", 3).await.expect("up").is_empty(), "{name}");
    }
}

#[tokio::test]
async fn of_parallel_appends_exactly_the_newest_hundred_are_kept() {
    let server = RedisServer::start();
    for (name, log) in every_log(&server).await {
        let appends = (0..150).map(|n| {
            let log = log.clone();
            tokio::spawn(async move { log.append(name, format!("action {n}")).await.expect("up").count() })
        });
        for append in appends.collect::<Vec<_>>() {
            assert_eq!(append.await.expect("no panic"), 1, "{name}");
        }
        let entries = log.recent(name, 100).await.expect("up");
        let distinct: std::collections::BTreeSet<_> = entries.iter().map(Entry::action).collect();
        assert_eq!((entries.len(), distinct.len()), (100, 100), "{name}");
        assert!(entries.windows(2).all(|two| two[0].timestamp() >= two[1].timestamp()), "{name}");

        for n in 0..150 {
            log.append(name, n.to_string()).await.expect("up");
        }
        let entries = log.recent(name, 100).await.expect("up");
        let expected: Vec<_> = (50..150).rev().map(|n: u8| n.to_string()).collect();
        assert_eq!(names(&entries), expected, "{name}");
    }
}

#[tokio::test]
async fn a_batch_is_one_command_and_tells_how_many() {
    let server = RedisServer::start();
    let log = ActionLog::new(RedisActionStore::new(&patient(&server).await));
    append(&log, "loads the script").await;
    log.clear(42).await.expect("loads the other");
    let batch = || (0..100).map(|n| Action::new(n.to_string()));
    let calls = server
        .commands_during(async {
            let appended = log.append_batch(42, batch()).await.expect("up");
            assert_eq!((appended.count(), appended.as_str()), (100, "everywhere"));
        })
        .await;
    let called = |command: &str| calls.get(command).copied().unwrap_or(0);
    assert_eq!(["evalsha", "lpush", "ltrim", "pexpire"].map(called), [1; 4], "{calls:?}");
    assert_eq!(newest(&log, 2).await, ["99", "98"]);
    assert_eq!(ask::<usize>(&server, &["LLEN", KEY]).await, 100);

    let calls = server
        .commands_during(async {
            log.recent(42, 100).await.expect("up");
            let cleared = log.clear(42).await.expect("up");
            assert_eq!(cleared, Cleared::Everywhere);
        })
        .await;
    let called = |command: &str| calls.get(command).copied().unwrap_or(0);
    assert_eq!(["lrange", "evalsha", "unlink"].map(called), [1; 3], "{calls:?}");
}

#[tokio::test]
async fn what_is_not_fit_is_told_before_anything_is_sent() {
    let server = RedisServer::start();
    for (name, log) in logs(&server, ActionLogConfig::new().capacity(50).max_entry(200)).await {
        let calls = server
            .commands_during(async {
                let large = Action::new("a").metadata(std::collections::BTreeMap::from([("text", "x".repeat(200))]));
                let batch = |count: usize| vec![Action::new("a"); count];
                for (answer, why) in [
                    (log.append(42, "").await, "1 to 64"),
                    (log.append(42, large.clone()).await, "over the limit of 200"),
                    (log.append_batch(42, batch(0)).await, "1 to 100"),
                    (log.append_batch(42, batch(101)).await, "1 to 100"),
                    (log.append_batch(42, [Action::new("fit"), large.clone()]).await, "over the limit of 200"),
                ] {
                    let error = answer.expect_err(why);
                    assert!(error.is_invalid() && error.to_string().contains(why), "{name}: {error}");
                }
                for limit in [0, 51, usize::MAX] {
                    let error = log.recent(42, limit).await.expect_err("out of bounds");
                    assert!(error.is_invalid() && error.to_string().contains("1 to 50"), "{name}: {error}");
                }
            })
            .await;
        assert!(!calls.contains_key("evalsha") && !calls.contains_key("lrange"), "{name}: {calls:?}");
        assert!(log.recent(42, 50).await.expect("up").is_empty(), "{name}: nothing of a batch that was refused");
    }
}

#[tokio::test]
async fn an_entry_is_json_that_others_can_read() {
    let server = RedisServer::start();
    let log = ActionLog::new(RedisActionStore::new(&patient(&server).await));
    let action = Action::new("log \"in\"\n").metadata(std::collections::BTreeMap::from([("os", "linux")]));
    append(&log, action).await;
    append(&log, Action::new("b").at(Timestamp::from_micros(1))).await;
    let texts: Vec<String> = ask(&server, &["LRANGE", KEY, "0", "-1"]).await;
    let [given, json] =
        [&texts[0], &texts[1]].map(|text| serde_json::from_str::<serde_json::Value>(text).expect("json"));
    assert_eq!((&json["action"], &json["metadata"]["os"]), (&"log \"in\"\n".into(), &"linux".into()));
    assert_eq!(given["timestamp"], "1970-01-01T00:00:00.000001Z");
    let at = log.recent(42, 2).await.expect("up")[1].timestamp();
    let time: (u64, u64) = ask(&server, &["TIME"]).await;
    let now = Timestamp::from_micros(time.0 * 1_000_000 + time.1);
    assert!(at <= now && now.since(at) < seconds(30), "the server's time: {at:?} {now:?}");
}

#[tokio::test]
async fn a_script_writes_times_as_we_do() {
    let server = RedisServer::start();
    let store = RedisActionStore::new(&patient(&server).await);
    let user = UserId::new(42);
    // Ends of days, months, years and centuries.
    let seconds = [0, 86_399, 951_782_399, 951_782_400, 951_868_800, 1_735_689_599, 4_107_542_399, 4_107_542_400];
    for (n, second) in (1u64..).zip(seconds) {
        let at = Timestamp::from_micros(second * 1_000_000 + n);
        let record = Arc::new(Record::new(&Action::new("a"), n).expect("fit"));
        let cx = Cx::new().at(at);
        store.append(&cx, &user, std::slice::from_ref(&record), Retention::default()).await.expect("up");
        assert_eq!(ask::<String>(&server, &["LINDEX", KEY, "0"]).await, record.encode(at));
    }
}

#[tokio::test]
async fn every_key_expires() {
    let server = RedisServer::start();
    let log = ActionLog::new(RedisActionStore::new(&patient(&server).await));
    append(&log, "a").await;
    let month = i64::try_from(days(30).as_millis()).expect("fits");
    let ttl: i64 = ask(&server, &["PTTL", KEY]).await;
    assert!((month - 60_000..=month).contains(&ttl), "{ttl}");
    log.clear(42).await.expect("up");
    let keys: Vec<String> = ask(&server, &["KEYS", "tk:user:*"]).await;
    assert_eq!(keys, [format!("tk:user:cleared:{{{KEY}}}")]);
    let ttl: i64 = ask(&server, &["PTTL", &keys[0]]).await;
    assert!((month - 60_000..=month).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn a_log_is_forgotten_some_time_after_its_last_append() {
    let clock = ManualClock::at(START);
    let log = ActionLog::new(MemoryActionStore::new(clock.clock()));
    append(&log, "a").await;
    clock.advance(days(29));
    append(&log, "b").await;
    clock.advance(days(29));
    assert_eq!(newest(&log, 9).await, ["b", "a"]);
    clock.advance(days(1));
    assert!(newest(&log, 9).await.is_empty());
    append(&log, "c").await;
    assert_eq!(newest(&log, 9).await, ["c"]);

    let server = RedisServer::start();
    let config = ActionLogConfig::new().keep_for(Duration::from_millis(300));
    let log = ActionLog::with_config(RedisActionStore::new(&patient(&server).await), config).expect("fit");
    append(&log, "a").await;
    eventually("the log expires", async || newest(&log, 9).await.is_empty()).await;
}

#[tokio::test]
async fn a_clear_empties_what_was_before_and_nothing_after() {
    let server = RedisServer::start();
    for (name, log) in every_log(&server).await {
        let noise: Vec<_> = (0..4)
            .map(|n| {
                let log = log.clone();
                tokio::spawn(async move {
                    for i in 0..100 {
                        log.append(name, format!("noise {n} {i}")).await.expect("up");
                    }
                })
            })
            .collect();
        for round in 0..50 {
            log.append(name, format!("before {round}")).await.expect("up");
            assert_eq!(log.clear(name).await.expect("up"), Cleared::Everywhere);
            log.append(name, format!("after {round}")).await.expect("up");
            let entries = log.recent(name, 100).await.expect("up");
            let mine: Vec<_> = names(&entries).into_iter().filter(|action| !action.starts_with("noise")).collect();
            assert_eq!(mine, [format!("after {round}")], "{name}");
        }
        for task in noise {
            task.await.expect("no panic");
        }
    }
}

#[tokio::test]
async fn what_others_wrote_is_read_or_left_out() {
    let server = RedisServer::start();
    let log = ActionLog::new(RedisActionStore::new(&patient(&server).await));
    append(&log, "ours").await;
    let theirs = r#"{"timestamp":"2025-10-09T10:53:20+02:00","action":"theirs"}"#;
    for text in ["login at noon", theirs, "\u{0}\u{1}", "{}", "[1]"] {
        ask::<i64>(&server, &["LPUSH", KEY, text]).await;
    }
    let mut client = server.client().await;
    redis::cmd("LPUSH").arg(KEY).arg(&[0xffu8, 0xfe]).exec_async(&mut client).await.expect("up");
    assert_eq!(newest(&log, 100).await, ["theirs", "ours"]);
    assert_eq!(log.recent(42, 100).await.expect("up")[0].timestamp(), START);
    assert_eq!(newest(&log, 2).await, [""; 0], "what is left out counts");
}

#[tokio::test]
async fn a_value_of_another_type_is_told() {
    let server = RedisServer::start();
    let store = RedisActionStore::new(&patient(&server).await);
    let log = ActionLog::new(store.clone());
    for plant in [["SET", KEY, "1", "PX", "100000"].as_slice(), &["SADD", KEY, "a"], &["ZADD", KEY, "1", "a"]] {
        ask::<redis::Value>(&server, &["DEL", KEY]).await;
        ask::<redis::Value>(&server, plant).await;
        assert!(log.append(42, "a").await.expect_err("foreign").is_corrupt(), "{plant:?}");
        assert!(log.recent(42, 1).await.expect_err("foreign").is_corrupt(), "{plant:?}");
        let held = Held { cleared: None, records: vec![] };
        let merged = store.merge(&Cx::new(), &UserId::new(42), &held, Retention::default()).await;
        assert!(merged.expect_err("foreign").is_corrupt(), "{plant:?}");
    }
    let held = Held { cleared: Some(START), records: vec![] };
    let merged = store.merge(&Cx::new(), &UserId::new(42), &held, Retention::default()).await;
    assert_eq!((merged.expect("a clear makes room"), newest(&log, 9).await), (0, vec![]));
    // A mark that is none is as good as no mark.
    ask::<redis::Value>(&server, &["DEL", &format!("tk:user:cleared:{{{KEY}}}")]).await;
    ask::<redis::Value>(&server, &["SADD", &format!("tk:user:cleared:{{{KEY}}}"), "a"]).await;
    let record = Arc::new(Record::new(&Action::new("a"), 1).expect("fit"));
    let held = Held { cleared: Some(START), records: vec![(START + seconds(1), record)] };
    let merged = store.merge(&Cx::new(), &UserId::new(42), &held, Retention::default()).await;
    assert_eq!((merged.expect("heals"), newest(&log, 9).await), (1, vec!["a".to_owned()]));
}

#[tokio::test]
async fn settings_are_checked_when_the_log_is_made() {
    assert!(Keep::builder().actions(ActionLogConfig::new().capacity(10_001)).build().expect_err("large").is_invalid());
    let keep = Keep::builder().actions(ActionLogConfig::new().capacity(2)).build().expect("fit");
    for action in ["a", "b", "c"] {
        append(keep.actions(), action).await;
    }
    assert_eq!(newest(keep.actions(), 2).await, ["c", "b"]);
    let store = MemoryActionStore::new(Clock::system());
    assert!(ActionLog::with_config(store, ActionLogConfig::new().max_entry(1)).is_err());
}
