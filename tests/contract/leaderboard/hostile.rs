//! What must not keep a board away: values that are not ours, and sources that do not answer.

use towerkeep::{
    StoreFuture,
    clock::{days, hours},
    leaderboard::{BoardId, BoardSource, Period, Periods, Rules, SourcePage, SourceRow},
};

use super::{
    rebuild::{Db, equals_the_truth},
    *,
};

#[tokio::test]
async fn a_value_of_another_type_is_replaced_from_the_source() {
    let server = RedisServer::start();
    let boards = Leaderboards::new(RedisLeaderboardStore::new(&patient(&server).await));
    let mut client = server.client().await;
    for (n, part) in ["", ":mark", ":reached", ":scores", ":events", ":rebuild", ":pending"].iter().enumerate() {
        let db = Arc::new(Db::default());
        db.add("a", 5.0, "e1");
        let board = boards.board(("foreign", n)).source(Arc::clone(&db));
        let board = board.ties(TieBreak::FirstToReach).ranking(Ranking::Dense);
        equals_the_truth(&board, &db).await;
        let key = format!("tk:foreign:{{{n}}}:leaderboard{part}");
        // A stream is the type of nothing of ours.
        redis::cmd("DEL").arg(&key).exec_async(&mut client).await.expect("up");
        redis::cmd("XADD").arg(&[&key, "*", "not", "ours"]).exec_async(&mut client).await.expect("up");
        if part.is_empty() {
            assert!(board.top(1).await.expect_err("foreign").is_corrupt());
        }
        db.add("a", 2.0, "e2");
        // Whether this one is told of it or not.
        drop(board.add("a", 2.0, "e2").await);
        equals_the_truth(&board, &db).await;
        eventually(part, async || board.add("a", 2.0, "e2").await.is_ok_and(|again| !again.is_pending())).await;
        equals_the_truth(&board, &db).await;
    }
}

#[tokio::test]
async fn scores_of_any_size_come_back_as_they_were() {
    let server = RedisServer::start();
    let least = f64::from_bits(1);
    for (name, boards) in boards(&server).await {
        let board = boards.board("sizes").ranking(Ranking::Dense).update_policy(Update::Last);
        let scores =
            [f64::MAX, 1e17, 1e8, 0.1 + 0.2, 0.3, f64::MIN_POSITIVE, least, 0.0, -least, -1e-7, -1e8, f64::MIN];
        for (n, score) in scores.iter().enumerate() {
            board.record(format!("{n:02}"), *score).await.expect("finite");
        }
        let expected: Vec<_> =
            scores.iter().zip(1..).map(|(score, rank)| row(&format!("{:02}", rank - 1), *score, rank)).collect();
        assert_eq!(board.top(100).await.expect("up"), expected, "{name}");
        let zero = board.record("07", -0.0).await.expect("finite");
        assert_eq!((zero.outcome, zero.rank), (RecordOutcome::Unchanged, Some(8)), "{name}");
        assert!(zero.new.is_some_and(f64::is_sign_positive), "{name}");
    }
}

#[tokio::test]
async fn a_period_to_come_is_refused_and_not_built() {
    for (name, boards) in boards(&RedisServer::start()).await {
        let db = Arc::new(Db::default());
        let board = boards.board("to come").source(Arc::clone(&db)).periods(Periods::of([Period::Day]));
        let now = Timestamp::from(std::time::SystemTime::now());
        for far in [now + days(2), Timestamp::from_micros(u64::MAX)] {
            assert!(board.clone().at(far).top(1).await.expect_err("not begun").is_invalid(), "{name}");
        }
        assert_eq!(db.reads(), 0, "{name}");
        equals_the_truth(&board.at(now), &db).await;
    }
}

/// Never answers the first question.
#[derive(Default)]
struct Deaf(std::sync::atomic::AtomicBool);

impl BoardSource for Deaf {
    fn read(&self, _: &BoardId, _: Option<&str>, _: usize) -> StoreFuture<SourcePage> {
        if !self.0.swap(true, std::sync::atomic::Ordering::Relaxed) {
            return StoreFuture::boxed(std::future::pending());
        }
        StoreFuture::ok(SourcePage { rows: vec![SourceRow::new("a", 1.0)], next: None })
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_answers_is_asked_again() {
    let boards = Leaderboards::new(MemoryLeaderboardStore::new(Clock::system()));
    let board = boards.board("deaf").source(Deaf::default());
    assert!(board.top(1).await.expect_err("not built").is_unavailable());
    tokio::time::sleep(hours(1)).await;
    assert_eq!(board.top(1).await.expect("built"), [row("a", 1.0, 1)]);
}

#[tokio::test]
async fn a_time_beyond_thirteen_digits_leaves_members_as_they_are() {
    let server = RedisServer::start();
    let far = Timestamp::from_micros(u64::MAX);
    for (name, store) in stores(&server).await {
        for ties in [TieBreak::FirstToReach, TieBreak::LastToReach] {
            let rules = Rules { has_source: true, ties, ..Default::default() };
            let id = BoardId { name: (name, format!("{ties:?}")).into(), window: None };
            let cx = Cx::new().within(seconds(5));
            let rows = [SourceRow::new("far", 1.0).reached(far), SourceRow::new("now", 1.0)];
            store.begin(&cx, &rules, &id, "me:1", false).await.expect("up");
            assert!(store.load(&cx, &rules, &id, "me:1", &rows).await.expect("up"));
            store.finish(&cx, &rules, &id, "me:1").await.expect("up");
            let board = Leaderboards::new(Arc::clone(&store)).board(&id.name).ties(ties).source(Deaf::default());
            let order: Vec<_> = ranks(&board).await.into_iter().map(|(member, _)| member).collect();
            let expected = if ties == TieBreak::FirstToReach { ["now", "far"] } else { ["far", "now"] };
            assert_eq!(order, expected, "{name} {ties:?}");
        }
    }
}

#[tokio::test]
async fn an_empty_board_is_remembered_as_long_as_its_events() {
    let server = RedisServer::start();
    let boards = Leaderboards::new(RedisLeaderboardStore::new(&patient(&server).await));
    let board = boards.board("sums").update_policy(Update::Sum).remember(days(30));
    board.add("a", 1.0, "e1").await.expect("up");
    board.reset().await.expect("up");
    let client = server.client().await;
    server.age(&client, "tk:board:{sums}:leaderboard:mark", days(2)).await;
    let again = board.add("a", 1.0, "e1").await.expect("up");
    assert_eq!((again.outcome, again.new), (RecordOutcome::Repeated, None));
}
