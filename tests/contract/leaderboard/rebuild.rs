//! Boards that are lost, behind, or being rebuilt.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use towerkeep::{
    Error, StoreFuture,
    leaderboard::{BoardId, BoardSource, Finished, Rules, SourcePage, SourceRow},
};

use super::*;

/// A database: sums of events, by member.
#[derive(Default)]
pub(super) struct Db {
    rows: Mutex<BTreeMap<String, (f64, Vec<String>)>>,
    reads: AtomicUsize,
    fails: AtomicUsize,
}

impl Db {
    /// Commits; whether the event is new.
    pub(super) fn add(&self, member: &str, points: f64, event: &str) -> bool {
        let mut rows = self.rows.lock().expect("no panic");
        if rows.values().any(|(_, events)| events.iter().any(|known| known == event)) {
            return false;
        }
        let row = rows.entry(member.to_owned()).or_default();
        row.0 += points;
        row.1.push(event.to_owned());
        true
    }

    fn best(&self, member: &str, score: f64) {
        let mut rows = self.rows.lock().expect("no panic");
        let row = rows.entry(member.to_owned()).or_insert((score, Vec::new()));
        row.0 = row.0.max(score);
    }

    pub(super) fn reads(&self) -> usize {
        self.reads.load(Relaxed)
    }

    fn truth(&self) -> BTreeMap<String, f64> {
        let rows = self.rows.lock().expect("no panic");
        rows.iter().map(|(member, (score, _))| (member.clone(), *score)).collect()
    }
}

impl BoardSource for Db {
    fn read(&self, _: &BoardId, after: Option<&str>, limit: usize) -> StoreFuture<SourcePage> {
        self.reads.fetch_add(1, Relaxed);
        if self.fails.load(Relaxed) > 0 {
            self.fails.fetch_sub(1, Relaxed);
            return StoreFuture::err(Error::unavailable("the database is away"));
        }
        let rows = self.rows.lock().expect("no panic");
        let later = rows.iter().filter(|(member, _)| after.is_none_or(|after| member.as_str() > after));
        // Small pages, so that updates come in between.
        let rows: Vec<_> = later
            .take(limit.min(5))
            .map(|(member, (score, events))| SourceRow::new(member, *score).events(events.clone()))
            .collect();
        let next = rows.last().map(|row| row.member.clone());
        StoreFuture::boxed(async move {
            tokio::task::yield_now().await;
            Ok(SourcePage { rows, next })
        })
    }
}

/// All that the board holds.
async fn shown(board: &Leaderboard) -> Option<BTreeMap<String, f64>> {
    let mut all = BTreeMap::new();
    for page in 0.. {
        let rows = board.page(page * 100, 100).await.ok()?;
        if rows.is_empty() {
            break;
        }
        all.extend(rows.into_iter().map(|row| (row.member, row.score)));
    }
    Some(all)
}

pub(super) async fn equals_the_truth(board: &Leaderboard, db: &Db) {
    eventually("the board equals the truth", async || shown(board).await == Some(db.truth())).await;
}

#[tokio::test]
async fn a_board_that_was_never_built_is_built_by_the_first_question() {
    let server = RedisServer::start();
    for (name, boards) in boards(&server).await {
        let db = Arc::new(Db::default());
        (0..1_203).for_each(|n| db.best(&n.to_string(), f64::from(n)));
        let board = boards.board("first").source(Arc::clone(&db));
        equals_the_truth(&board, &db).await;
        let reads = db.reads.load(Relaxed);
        board.top(10).await.expect("is there");
        let recorded = board.record(7, 5_000.0).await.expect("is there");
        assert_eq!((recorded.old, recorded.rank), (Some(7.0), Some(1)), "{name}");
        assert_eq!(db.reads.load(Relaxed), reads, "{name}: it is built once");
    }
}

#[tokio::test]
async fn an_empty_board_is_not_a_lost_one() {
    let server = RedisServer::start();
    for (name, boards) in boards(&server).await {
        let db = Arc::new(Db::default());
        let board = boards.board("empty").source(Arc::clone(&db));
        eventually("it is built", async || board.count().await.is_ok()).await;
        let reads = db.reads.load(Relaxed);
        for _ in 0..3 {
            assert_eq!(board.count().await.expect("is there"), 0, "{name}");
        }
        board.record("a", 1.0).await.expect("is there");
        board.remove("a").await.expect("is there");
        assert_eq!(board.count().await.expect("is there"), 0, "{name}");
        assert_eq!(db.reads.load(Relaxed), reads, "{name}");
    }
}

/// Many updates at once, each committed first, while `harm` is done to the board.
async fn update_all(board: &Leaderboard, db: &Arc<Db>, sums: bool, harm: impl AsyncFn(u32)) {
    for round in 0..8u32 {
        let tasks: Vec<_> = (0..64u32)
            .map(|n| {
                let (board, db) = (board.clone(), Arc::clone(db));
                tokio::spawn(async move {
                    let (member, number) = (format!("m{}", n % 40), round * 64 + n);
                    if sums {
                        // Every fourth is a retry of the one before.
                        let event = (number - u32::from(n % 4 == 3)).to_string();
                        let member = format!("m{}", (n - u32::from(n % 4 == 3)) % 40);
                        db.add(&member, 1.0, &event);
                        let _ = board.add(&member, 1.0, &event).await;
                    } else {
                        let score = f64::from(number * 2_654_435 % 1_000_003);
                        db.best(&member, score);
                        let _ = board.record(&member, score).await;
                    }
                })
            })
            .collect();
        harm(round).await;
        for task in tasks {
            task.await.expect("no panic");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_lost_while_it_is_written_equals_the_truth_in_the_end() {
    let server = RedisServer::start();
    let boards = Leaderboards::new(RedisLeaderboardStore::new(&patient(&server).await));
    for sums in [false, true] {
        let db = Arc::new(Db::default());
        let update = if sums { Update::Sum } else { Update::Best };
        let board = boards.board(("lost", sums)).update_policy(update).source(Arc::clone(&db));
        let key = format!("tk:lost:{{{sums}}}:leaderboard");
        let harm = async |round| {
            let mut client = server.client().await;
            let mut lose = redis::cmd("DEL");
            if round % 3 != 1 {
                lose.arg(&key);
            }
            if round % 3 != 0 {
                lose.arg(format!("{key}:mark"));
            }
            lose.exec_async(&mut client).await.expect("up");
        };
        update_all(&board, &db, sums, harm).await;
        equals_the_truth(&board, &db).await;
        let reads = db.reads.load(Relaxed);
        if sums {
            let late = board.add("m0", 1.0, "0").await.expect("up");
            assert_eq!(late.outcome, RecordOutcome::Repeated, "an event that the source knows");
        }
        assert_eq!(shown(&board).await, Some(db.truth()));
        assert_eq!(db.reads.load(Relaxed), reads, "and stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_of_a_board_that_is_there_misses_no_update() {
    let server = RedisServer::start();
    for (_, boards) in boards(&server).await {
        for sums in [false, true] {
            let db = Arc::new(Db::default());
            let update = if sums { Update::Sum } else { Update::Best };
            let board = boards.board(("forced", sums)).update_policy(update).source(Arc::clone(&db));
            update_all(&board, &db, sums, async |_| board.rebuild().expect("it has a source")).await;
            equals_the_truth(&board, &db).await;
        }
    }
}

#[tokio::test]
async fn redis_killed_in_the_middle_changes_nothing_in_the_end() {
    let server = Mutex::new(RedisServer::start());
    let url = server.lock().expect("alone").user_url();
    let keep = Keep::builder().redis(&url).deadline(seconds(2)).build().expect("valid");
    assert!(keep.ready(seconds(10)).await);
    let db = Arc::new(Db::default());
    let board = keep.leaderboard("killed").update_policy(Update::Sum).source(Arc::clone(&db));
    let harm = async |round| {
        if round % 3 == 1 {
            let mut server = server.lock().expect("alone");
            server.kill();
            server.launch();
        }
    };
    update_all(&board, &db, true, harm).await;
    equals_the_truth(&board, &db).await;
}

#[tokio::test]
async fn what_an_outage_kept_from_the_board_comes_back_from_the_source() {
    let server = RedisServer::start();
    let keep = Keep::builder().redis(&server.user_url()).deadline(seconds(2)).build().expect("valid");
    assert!(keep.ready(seconds(10)).await);
    let memory = Keep::in_memory();
    for keep in [keep, memory] {
        let db = Arc::new(Db::default());
        let board = keep.leaderboard("outage").source(Arc::clone(&db));
        eventually("it is built", async || board.count().await.is_ok()).await;
        keep.force_outage(true);
        db.best("a", 5.0);
        assert!(board.record("a", 5.0).await.expect_err("down").is_unavailable());
        keep.force_outage(false);
        equals_the_truth(&board, &db).await;
    }
}

#[tokio::test]
async fn a_holder_that_died_is_replaced() {
    let server = RedisServer::start();
    let redis = patient(&server).await;
    let store = RedisLeaderboardStore::new(&redis);
    let boards = Leaderboards::new(store.clone());
    let db = Arc::new(Db::default());
    db.best("a", 5.0);
    let board = boards.board(("dead", 1)).source(Arc::clone(&db));
    let id = BoardId { name: ("dead", 1).into(), window: None };
    let rules = Rules { has_source: true, ..Default::default() };
    let cx = Cx::new().within(seconds(5));
    store.begin(&cx, &rules, &id, "other:1", false).await.expect("up");
    store.load(&cx, &rules, &id, "other:1", &[SourceRow::new("ghost", 9.0)]).await.expect("up");
    db.best("b", 7.0);
    assert!(board.record("b", 7.0).await.expect("kept").is_pending());
    assert!(board.top(1).await.expect_err("another is at it").is_unavailable());

    let mut client = server.client().await;
    let key = "tk:dead:{1}:leaderboard:rebuild";
    let ttl: i64 = redis::cmd("PTTL").arg(key).query_async(&mut client).await.expect("up");
    assert!((1..=10_000).contains(&ttl), "{ttl}");
    let left: i64 = redis::cmd("PTTL").arg(format!("{key}:other:1")).query_async(&mut client).await.expect("up");
    assert!((1..=60_000).contains(&left), "what is left behind goes away: {left}");
    redis::cmd("PEXPIRE").arg(key).arg(1).exec_async(&mut client).await.expect("up");
    equals_the_truth(&board, &db).await;
    let late = store.finish(&cx, &rules, &id, "other:1").await.expect("up");
    assert_eq!(late, Finished::Gone);
    equals_the_truth(&board, &db).await;
}

#[tokio::test]
async fn a_source_that_fails_is_asked_again() {
    let server = RedisServer::start();
    for (_, boards) in boards(&server).await {
        let db = Arc::new(Db::default());
        db.best("a", 1.0);
        db.fails.store(3, Relaxed);
        let board = boards.board("fails").source(Arc::clone(&db));
        equals_the_truth(&board, &db).await;
    }
}

#[tokio::test]
async fn sums_with_a_source_need_events() {
    let boards = Leaderboards::new(MemoryLeaderboardStore::new(Clock::system()));
    let board = boards.board("sums").update_policy(Update::Sum).source(Arc::new(Db::default()));
    assert!(board.record("a", 1.0).await.expect_err("cannot be told apart").is_invalid());
    assert!(boards.board("none").rebuild().expect_err("no source").is_invalid());
}

#[tokio::test]
async fn after_an_outage_nobody_needs_to_ask() {
    let server = RedisServer::start();
    let keep = Keep::builder().redis(&server.user_url()).deadline(seconds(2)).build().expect("valid");
    assert!(keep.ready(seconds(10)).await);
    let db = Arc::new(Db::default());
    let board = keep.leaderboard(("challenge", 9)).source(Arc::clone(&db));
    eventually("it is built", async || board.count().await.is_ok()).await;
    keep.force_outage(true);
    db.best("a", 5.0);
    assert!(board.record("a", 5.0).await.expect_err("down").is_unavailable());
    keep.force_outage(false);
    let mut client = server.client().await;
    let mut stored = redis::cmd("ZSCORE");
    stored.arg("tk:challenge:{9}:leaderboard").arg("a");
    eventually("the recovery has it rebuilt", async || {
        stored.query_async::<Option<f64>>(&mut client).await.expect("up") == Some(-5.0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_that_rebuild_at_once_agree_with_the_truth() {
    let server = RedisServer::start();
    let (one, two) = (patient(&server).await, patient(&server).await);
    for sums in [false, true] {
        let db = Arc::new(Db::default());
        let update = if sums { Update::Sum } else { Update::Best };
        let [one, two] = [&one, &two].map(|redis| {
            let boards = Leaderboards::new(RedisLeaderboardStore::new(redis));
            boards.board(("two", sums)).update_policy(update).source(Arc::clone(&db))
        });
        let harm = async |round: u32| {
            one.rebuild().expect("it has a source");
            two.rebuild().expect("it has a source");
            if round.is_multiple_of(3) {
                let key = format!("tk:two:{{{sums}}}:leaderboard:mark");
                redis::cmd("DEL").arg(key).exec_async(&mut server.client().await).await.expect("up");
            }
        };
        let both = async |round| {
            // The second instance writes, too, while the first is asked to.
            let other = two.clone();
            let db = Arc::clone(&db);
            harm(round).await;
            for n in 0..20u32 {
                let event = format!("two-{round}-{n}");
                if sums {
                    db.add("m1", 1.0, &event);
                    let _ = other.add("m1", 1.0, &event).await;
                } else {
                    db.best("m1", f64::from(round * 20 + n));
                    let _ = other.record("m1", f64::from(round * 20 + n)).await;
                }
            }
        };
        update_all(&one, &db, sums, both).await;
        equals_the_truth(&one, &db).await;
        equals_the_truth(&two, &db).await;
    }
}
