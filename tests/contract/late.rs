//! What a stopped server runs when it goes on: nothing whose caller was told that it failed, but what is listed here.
//!
//! Each verb that writes is called on a server that takes the command and does not run it; once the caller has given up, the
//! server goes on, and its data is as it was.

use std::{collections::BTreeMap, fs, future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use towerkeep::{
    Cx, Error, KeyValue, Result, UserId,
    action_log::{Action, ActionStore, Held, Record as Noted, RedisActionStore, Retention},
    cache::{CacheStore, Claim, Entry, Lookup, Place, Purge, RedisCacheStore, Release, Tag, Tags, Ticket, Token},
    clock::{Timestamp, hours, minutes, seconds},
    conn::{Redis, RedisConfig},
    counter::{Counter, CounterStore, Flush, FlushId, RedisCounterStore},
    kv::{KvStore, RedisKvStore},
    leaderboard::{BoardId, Change, LeaderboardStore, RedisLeaderboardStore, Rules, SourceRow},
    rate_limit::{Decision, Policy, RateStore, RedisRateStore},
    session::{Create, Record, RedisSessionStore, SessionConfig, SessionStore, testing},
    token::{Grant, RedisTokenStore, Tokens},
    trending::{RedisTrendingStore, TrendingStore, Window},
};

use crate::support::{RedisServer, eventually};

type Pending<T> = Pin<Box<dyn Future<Output = T>>>;
/// One call of a verb, to be made when the server does not run it any more.
type Call = Box<dyn FnOnce() -> Pending<Result<()>>>;

/// A verb that writes.
struct Row {
    name: &'static str,
    /// The script that it comes to.
    script: &'static str,
    late: Late,
    prepare: Box<dyn Fn(Redis) -> Pending<Call>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    /// It does nothing.
    Nothing,
    /// It does nothing, and its owner makes the call again in time.
    Again,
    /// It runs, which does no harm for this reason.
    Runs(&'static str),
}

/// `row!("verb", "script.lua", Late::Nothing, |redis| { prepared } => a future of the call)`
macro_rules! row {
    ($name:literal, $script:literal, $late:expr, |$redis:ident| $prepared:block => |$kept:pat_param| $call:expr) => {
        Row {
            name: $name,
            script: $script,
            late: $late,
            prepare: Box::new(move |$redis: Redis| {
                Box::pin(async move {
                    let $kept = $prepared;
                    let call: Call = Box::new(move || Box::pin(async move { $call.await.map(drop) }));
                    call
                })
            }),
        }
    };
}

const POLICY: Policy = Policy::sliding_window("window", 3, minutes(1));
const OTHER: Policy = Policy::token_bucket("bucket", 3, minutes(1));

fn cx() -> Cx {
    Cx::new()
}

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

fn config() -> SessionConfig {
    SessionConfig::new().idle(hours(1))
}

fn anonymous() -> Record {
    testing::record(&config(), now())
}

fn of(user: u64) -> Record {
    testing::login(&anonymous(), &UserId::new(user), &config(), now())
}

async fn stored(redis: &Redis, record: Record) -> (RedisSessionStore, Record) {
    let store = RedisSessionStore::new(redis);
    assert_eq!(store.create(&cx(), &record, None).await.expect("redis is up"), Create::Created);
    (store, record)
}

fn sessions() -> Vec<Row> {
    vec![
        row!("session: create", "", Late::Runs("under an id that nobody was told"), |redis| {
            (RedisSessionStore::new(&redis), anonymous())
        } => |(store, record)| store.create(&cx(), &record, None)),
        row!("session: save", "session/redis/save.lua", Late::Nothing, |redis| {
            stored(&redis, anonymous()).await
        } => |(store, record)| {
            let changed = testing::change(&record, towerkeep::session::Data::from_json("{\"a\":1}").expect("json"), now());
            store.save(&cx(), &changed, record.stamp(), None)
        }),
        row!("session: touch", "session/redis/touch.lua", Late::Nothing, |redis| {
            stored(&redis, anonymous()).await
        } => |(store, record)| store.touch(&cx(), record.id(), record.stamp().generation)),
        row!("session: delete", "session/redis/end.lua", Late::Nothing, |redis| {
            stored(&redis, anonymous()).await
        } => |(store, record)| store.delete(&cx(), record.id(), None)),
        row!("session: revoke all", "session/redis/revoke.lua", Late::Nothing, |redis| {
            stored(&redis, of(7)).await
        } => |(store, _)| store.revoke_all(&cx(), &UserId::new(7), None, hours(1))),
        row!("session: bury", "", Late::Runs("what was logged out stays so, and ids are never used again"), |redis| {
            stored(&redis, anonymous()).await
        } => |(store, record)| store.bury(&cx(), record.id(), None, hours(1))),
    ]
}

fn limits() -> Vec<Row> {
    let key = || KeyValue::from("client");
    vec![
        row!("limits: check", "rate_limit/check.lua", Late::Nothing, |redis| {
            RedisRateStore::new(&redis)
        } => |store| store.check(&cx(), &key(), &[POLICY, OTHER], 1)),
        row!("limits: refund", "rate_limit/refund.lua", Late::Nothing, |redis| {
            let store = RedisRateStore::new(&redis);
            let verdict = store.check(&cx(), &key(), &[POLICY, OTHER], 1).await.expect("up");
            (store, verdict.decisions().iter().filter_map(Decision::charge).collect::<Vec<_>>())
        } => |(store, charges)| store.refund(&cx(), &key(), &charges)),
        row!("limits: reset", "conn/verb.lua", Late::Nothing, |redis| {
            let store = RedisRateStore::new(&redis);
            drop(store.check(&cx(), &key(), &[POLICY], 1).await.expect("up"));
            store
        } => |store| store.reset(&cx(), &key(), &[POLICY])),
    ]
}

fn entry(ticket: &Ticket) -> Arc<Entry> {
    let until = |time| now() + time;
    Arc::new(Entry {
        status: http::StatusCode::OK,
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"body"),
        stored: now(),
        initial_age: Duration::ZERO,
        fresh_until: until(minutes(1)),
        stale_until: until(minutes(2)),
        refresh_until: until(minutes(1)),
        kept_until: until(minutes(2)),
        may_be_stale: true,
        has_validator: false,
        tags: Tags::new(&[Tag::from("tag")]),
        stamp: ticket.stamp,
        variant: [0; 16],
    })
}

fn place() -> Place {
    Place::new("demo", None, [7; 16])
}

/// A store that knows the purges, and the ticket of a miss.
async fn missed(redis: &Redis, place: &Place) -> (RedisCacheStore, Ticket) {
    let store = RedisCacheStore::new(redis);
    let mut ticket = None;
    eventually("the store knows the purges", async || {
        ticket = store.lookup(&cx(), place, &HeaderMap::new()).await.ok().and_then(|found| match found {
            Lookup::Miss(ticket) => Some(ticket),
            _ => None,
        });
        ticket.is_some()
    })
    .await;
    (store, ticket.expect("a miss"))
}

fn cache() -> Vec<Row> {
    let fixed = || place().fixed(Some("demo:fixed"));
    vec![
        row!("cache: store", "cache/redis/store.lua", Late::Nothing, |redis| {
            missed(&redis, &place()).await
        } => |(store, ticket)| store.store(&cx(), &place(), &ticket, entry(&ticket))),
        row!("cache: store under a fixed key", "conn/verb.lua", Late::Nothing, |redis| {
            missed(&redis, &fixed()).await
        } => |(store, ticket)| store.store(&cx(), &fixed(), &ticket, entry(&ticket))),
        row!("cache: claim", "cache/redis/claim.lua", Late::Nothing, |redis| {
            missed(&redis, &place()).await.0
        } => |store| store.claim(&cx(), &place(), Token(7))),
        row!("cache: release", "cache/redis/release.lua", Late::Nothing, |redis| {
            let store = missed(&redis, &place()).await.0;
            let claim = store.claim(&cx(), &place(), Token(7)).await;
            assert!(matches!(claim, Ok(Claim::Granted)), "{claim:?}");
            store
        } => |store| store.release(&place(), Token(7), Release::Gone)),
        row!("cache: purge", "cache/redis/epochs.lua", Late::Again, |redis| {
            missed(&redis, &place()).await.0
        } => |store| async move {
            // It counts here at once, and is never lost.
            let _ = store.purge(&cx(), Purge::Tags(vec![Tag::from("tag")])).await?;
            Err::<(), _>(Error::unavailable("kept to be sent again"))
        }),
    ]
}

fn records() -> Vec<Row> {
    let counter = || Counter::of("views", 1);
    let (user, keep) = (|| UserId::new(42), Retention::default());
    let noted = |id| Arc::new(Noted::new(&Action::new("login"), id).expect("fit"));
    vec![
        row!("counters: add", "counter/add.lua", Late::Nothing, |redis| {
            RedisCounterStore::new(&redis)
        } => |store| store.add(&cx(), &counter(), 1)),
        row!("counters: flush", "counter/add.lua", Late::Nothing, |redis| {
            RedisCounterStore::new(&redis)
        } => |store| store.apply(&cx(), &Flush::new(FlushId::new("me", 1), vec![(counter(), 3)]))),
        row!("counters: reset", "conn/verb.lua", Late::Nothing, |redis| {
            let store = RedisCounterStore::new(&redis);
            store.add(&cx(), &counter(), 1).await.expect("up");
            store
        } => |store| store.reset(&cx(), &counter())),
        row!("actions: append", "action_log/append.lua", Late::Nothing, |redis| {
            RedisActionStore::new(&redis)
        } => |store| store.append(&cx(), &user(), &[noted(1)], keep)),
        row!("actions: merge", "action_log/merge.lua", Late::Nothing, |redis| {
            RedisActionStore::new(&redis)
        } => |store| {
            let held = Held { cleared: None, records: vec![(now(), noted(1))] };
            store.merge(&cx(), &user(), &held, keep)
        }),
        row!("actions: clear", "action_log/clear.lua", Late::Nothing, |redis| {
            let store = RedisActionStore::new(&redis);
            store.append(&cx(), &user(), &[noted(1)], keep).await.expect("up");
            store
        } => |store| store.clear(&cx(), &user(), keep)),
        row!("trending: record", "trending/record.lua", Late::Nothing, |redis| {
            RedisTrendingStore::new(&redis)
        } => |store| store.record(&cx(), "posts", "a", 1)),
        row!("trending: top, which is kept", "trending/top.lua", Late::Nothing, |redis| {
            let store = RedisTrendingStore::new(&redis);
            store.record(&cx(), "posts", "a", 1).await.expect("up");
            store
        } => |store| store.top(&cx(), "posts", Window::Day, 3)),
        row!("trending: remove", "trending/remove.lua", Late::Nothing, |redis| {
            let store = RedisTrendingStore::new(&redis);
            store.record(&cx(), "posts", "a", 1).await.expect("up");
            store
        } => |store| store.remove(&cx(), "posts", "a")),
    ]
}

fn boards() -> Vec<Row> {
    let board = || BoardId { name: ("challenge", 42).into(), window: None };
    let record = || Change::Record { member: "a".into(), score: 1.0 };
    let sourced = || Rules { has_source: true, ..Rules::default() };
    vec![
        row!("boards: record", "leaderboard/redis/update.lua", Late::Nothing, |redis| {
            RedisLeaderboardStore::new(&redis)
        } => |store| store.change(&cx(), &Rules::default(), &[board()], &record())),
        row!("boards: reset", "leaderboard/redis/update.lua", Late::Nothing, |redis| {
            let store = RedisLeaderboardStore::new(&redis);
            store.change(&cx(), &Rules::default(), &[board()], &record()).await.expect("up");
            store
        } => |store| store.reset(&cx(), &Rules::default(), &[board()])),
        row!("boards: begin a rebuild", "leaderboard/redis/rebuild.lua", Late::Nothing, |redis| {
            RedisLeaderboardStore::new(&redis)
        } => |store| store.begin(&cx(), &sourced(), &board(), "me:1", false)),
        row!("boards: load rows", "leaderboard/redis/rebuild.lua", Late::Nothing, |redis| {
            let store = RedisLeaderboardStore::new(&redis);
            store.begin(&cx(), &sourced(), &board(), "me:1", false).await.expect("up");
            store
        } => |store| store.load(&cx(), &sourced(), &board(), "me:1", &[SourceRow::new("a", 1.0)])),
        row!("boards: finish a rebuild", "leaderboard/redis/rebuild.lua", Late::Nothing, |redis| {
            let store = RedisLeaderboardStore::new(&redis);
            store.begin(&cx(), &sourced(), &board(), "me:1", false).await.expect("up");
            store.load(&cx(), &sourced(), &board(), "me:1", &[SourceRow::new("a", 1.0)]).await.expect("up");
            store
        } => |store| store.finish(&cx(), &sourced(), &board(), "me:1")),
    ]
}

fn values() -> Vec<Row> {
    let value = |text: &'static str| Bytes::from_static(text.as_bytes());
    vec![
        row!("kv: set", "conn/verb.lua", Late::Nothing, |redis| {
            let store = RedisKvStore::new(&redis);
            store.save(&cx(), "k", value("newer"), minutes(1)).await.expect("up");
            store
        } => |store| store.save(&cx(), "k", value("older"), minutes(1))),
        row!("kv: set if absent", "conn/verb.lua", Late::Nothing, |redis| {
            RedisKvStore::new(&redis)
        } => |store| store.save_if_absent(&cx(), "k", value("lock"), minutes(1))),
        row!("kv: delete", "conn/verb.lua", Late::Nothing, |redis| {
            let store = RedisKvStore::new(&redis);
            store.save(&cx(), "k", value("newer"), minutes(1)).await.expect("up");
            store
        } => |store| store.delete(&cx(), "k")),
        row!("tokens: issue", "", Late::Runs("nobody was told the token"), |redis| {
            Tokens::new(RedisTokenStore::new(&redis))
        } => |tokens| async move { tokens.issue("reset", Grant::anyone()).await }),
        row!("tokens: redeem", "conn/verb.lua", Late::Nothing, |redis| {
            let tokens = Tokens::new(RedisTokenStore::new(&redis));
            let token = tokens.issue("reset", Grant::anyone()).await.expect("up");
            (tokens, token)
        } => |(tokens, token)| async move { tokens.redeem("reset", token.secret()).await }),
        row!("tokens: revoke", "", Late::Runs("a token that was to be worth nothing becomes so"), |redis| {
            let tokens = Tokens::new(RedisTokenStore::new(&redis));
            let token = tokens.issue("reset", Grant::anyone()).await.expect("up");
            (tokens, token)
        } => |(tokens, token)| async move { tokens.revoke("reset", token.secret()).await }),
    ]
}

fn all() -> Vec<Row> {
    [sessions(), limits(), cache(), records(), boards(), values()].into_iter().flatten().collect()
}

/// Scripts that no row calls, and why.
const UNCALLED: &[(&str, &str)] = &[
    ("conn/guard.lua", "the guard itself"),
    ("conn/tests_echo.lua", "of the handle's own tests"),
    ("leaderboard/redis/board.lua", "no script, but a part of those of leaderboards"),
    ("leaderboard/redis/read.lua", "writes nothing"),
    ("session/redis/heal.lua", "is called only after an answer in the same verb"),
];

fn scripts(dir: &Path, below: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).expect("a readable directory") {
        let path = entry.expect("a readable directory").path();
        let name = format!("{below}{}", path.file_name().expect("a name").to_string_lossy());
        if path.is_dir() {
            scripts(&path, &format!("{name}/"), found);
        } else if name.ends_with(".lua") {
            found.push(name);
        }
    }
}

#[test]
fn every_script_is_called_late_here() {
    let mut found = Vec::new();
    scripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    assert!(found.len() > 20, "{found:?}");
    let rows = all();
    let is_known = |path: &str| {
        rows.iter().any(|row| row.script == path) || UNCALLED.iter().any(|(uncalled, _)| *uncalled == path)
    };
    found.retain(|path| !is_known(path));
    assert!(found.is_empty(), "give these a row, or say in UNCALLED why not: {found:?}");
}

/// Everything under our prefix, with when it expires, but what probes write.
async fn state(server: &RedisServer) -> BTreeMap<String, (Vec<u8>, i64)> {
    let mut client = server.client().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("tk:*").query_async(&mut client).await.expect("up");
    let mut state = BTreeMap::new();
    for key in keys.into_iter().filter(|key| !key.contains("canary") && !key.contains("instances")) {
        let dump: Option<Vec<u8>> = redis::cmd("DUMP").arg(&key).query_async(&mut client).await.expect("up");
        let expires: i64 = redis::cmd("PEXPIRETIME").arg(&key).query_async(&mut client).await.expect("up");
        state.extend(dump.map(|dump| (key, (dump, expires))));
    }
    state
}

/// How many calls the guard has refused.
async fn refused(server: &RedisServer) -> u64 {
    let info: String = redis::cmd("INFO").arg("errorstats").query_async(&mut server.client().await).await.expect("up");
    let line = info.lines().find_map(|line| line.trim_end().strip_prefix("errorstat_LATE:count="));
    line.map_or(0, |count| count.parse().expect("a number"))
}

/// How a server takes commands without running them.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// SIGSTOP: they wait in the socket.
    Process,
    /// CLIENT PAUSE WRITE: they are read, and wait in the server.
    Writes,
}

impl Stop {
    async fn begin(self, server: &RedisServer) {
        match self {
            Self::Process => server.freeze(),
            Self::Writes => pause(server, &["PAUSE", "60000", "WRITE"]).await,
        }
    }

    async fn end(self, server: &RedisServer) {
        match self {
            Self::Process => server.thaw(),
            Self::Writes => pause(server, &["UNPAUSE"]).await,
        }
    }
}

async fn pause(server: &RedisServer, words: &[&str]) {
    redis::cmd("CLIENT").arg(words).exec_async(&mut server.client().await).await.expect("up");
}

/// An empty server, and a new handle to it.
async fn connect(server: &RedisServer, deadline: Duration) -> Redis {
    server.flush().await;
    let config = RedisConfig::new(&server.url()).expect("a valid url").instances(2).deadline(deadline);
    let redis = Redis::new(config).expect("in a runtime");
    assert!(redis.ready(seconds(10)).await);
    redis
}

/// In time it does something; the server knows its script from then on.
async fn control(row: &Row, server: &RedisServer) {
    let redis = connect(server, seconds(5)).await;
    let call = (row.prepare)(redis.clone()).await;
    let before = state(server).await;
    let answer = call().await;
    assert!(row.late == Late::Again || answer.is_ok(), "{}: {answer:?}", row.name);
    eventually(&format!("{} does something", row.name), async || state(server).await != before).await;
}

async fn judge(row: &Row, stop: Stop, server: &RedisServer) {
    control(row, server).await;
    let redis = connect(server, Duration::from_millis(100)).await;
    let call = (row.prepare)(redis.clone()).await;
    let (before, refused_before) = (state(server).await, refused(server).await);
    stop.begin(server).await;
    let answer = call().await;
    // The deadline, and what the clocks of both may differ by.
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.end(server).await;
    let what = format!("{} after {stop:?}", row.name);
    assert!(answer.as_ref().is_err_and(Error::is_unavailable), "{what}: {answer:?}");
    if let Late::Runs(why) = row.late {
        // Listed as one that runs late, so that it leaves the list when it does not any more.
        eventually(&format!("{what}: it runs; {why}"), async || state(server).await != before).await;
        return;
    }
    eventually(&format!("{what}: the server refuses it"), async || refused(server).await > refused_before).await;
    if row.late == Late::Nothing {
        assert_eq!(state(server).await, before, "{what}");
    }
}

async fn judge_all(stop: Stop) {
    let server = RedisServer::start();
    for row in all() {
        judge(&row, stop, &server).await;
    }
}

#[tokio::test]
async fn nothing_runs_late_in_a_server_that_was_stopped() {
    judge_all(Stop::Process).await;
}

#[tokio::test]
async fn nothing_runs_late_in_a_server_whose_writes_were_paused() {
    judge_all(Stop::Writes).await;
}
