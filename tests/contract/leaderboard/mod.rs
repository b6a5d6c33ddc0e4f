//! The contract of [`LeaderboardStore`], held by memory and Redis, and what the handle makes of it.

mod commands;
mod hostile;
mod model;
mod periods;
mod protocol;
mod rebuild;

use std::{num::NonZeroU32, sync::Arc};

use towerkeep::{
    Cx, Keep,
    clock::{Clock, Timestamp, seconds},
    conn::{Redis, RedisConfig},
    leaderboard::{
        Leaderboard, LeaderboardStore, Leaderboards, MemoryLeaderboardStore, Ranking, RecordOutcome,
        RedisLeaderboardStore, Standing, TieBreak, Update,
    },
    store::OutageSwitch,
};

use crate::support::{RedisServer, eventually};

const START: Timestamp = Timestamp::from_micros(1_760_000_000_000_000);

type Store = Arc<dyn LeaderboardStore>;

/// A handle that waits for a busy machine: these tests are not about outages. The user is the documented one.
async fn patient(server: &RedisServer) -> Redis {
    let config = RedisConfig::new(&server.user_url()).expect("a valid url").deadline(seconds(5));
    let redis = Redis::new(config).expect("inside a runtime");
    assert!(redis.ready(seconds(10)).await, "redis was not reached");
    redis
}

/// Every implementation, each empty; the server lives as long as the stores are used.
async fn stores(server: &RedisServer) -> Vec<(&'static str, Store)> {
    let redis = RedisLeaderboardStore::new(&patient(server).await);
    vec![("memory", Arc::new(MemoryLeaderboardStore::new(Clock::system()))), ("redis", Arc::new(redis))]
}

async fn boards(server: &RedisServer) -> Vec<(&'static str, Leaderboards)> {
    stores(server).await.into_iter().map(|(name, store)| (name, Leaderboards::new(store))).collect()
}

fn row(member: &str, score: f64, rank: u64) -> Standing {
    Standing { member: member.into(), score, rank }
}

async fn record(board: &Leaderboard, scores: &[(&str, f64)]) {
    for (member, score) in scores {
        board.record(member, *score).await.expect("the store answers");
    }
}

async fn ranks(board: &Leaderboard) -> Vec<(String, u64)> {
    board.top(100).await.expect("the store answers").into_iter().map(|row| (row.member, row.rank)).collect()
}

#[tokio::test]
async fn an_update_answers_what_was_and_what_is() {
    let server = RedisServer::start();
    for (name, boards) in boards(&server).await {
        let board = boards.board(("challenge", 42u64));
        let first = board.record(42, 980.0).await.expect("answers");
        assert_eq!((first.outcome, first.old, first.new), (RecordOutcome::Recorded, None, Some(980.0)), "{name}");
        assert_eq!((first.rank, first.previous_rank), (Some(1), None), "{name}");
        record(&board, &[("17", 1200.0), ("89", 985.5)]).await;
        let better = board.record(42, 1500.0).await.expect("answers");
        assert_eq!((better.old, better.new), (Some(980.0), Some(1500.0)), "{name}");
        assert_eq!((better.rank, better.previous_rank), (Some(1), Some(3)), "{name}");
        let worse = board.record(42, 7.0).await.expect("answers");
        assert_eq!((worse.outcome, worse.new, worse.rank), (RecordOutcome::Unchanged, Some(1500.0), Some(1)), "{name}");
        let top = board.top(10).await.expect("answers");
        assert_eq!(top, [row("42", 1500.0, 1), row("17", 1200.0, 2), row("89", 985.5, 3)], "{name}");
    }
}

#[tokio::test]
async fn equals_are_ranked_as_chosen_also_where_a_page_cuts_them() {
    let server = RedisServer::start();
    for (name, boards) in boards(&server).await {
        for (ranking, expected) in
            [(Ranking::Ordinal, [1, 2, 3]), (Ranking::Competition, [1, 1, 3]), (Ranking::Dense, [1, 1, 2])]
        {
            let board = boards.board(format!("{ranking:?}")).ranking(ranking);
            record(&board, &[("c", 1200.0), ("b", 1500.0), ("a", 1500.0)]).await;
            let all: Vec<_> = ["a", "b", "c"].map(String::from).into_iter().zip(expected).collect();
            assert_eq!(ranks(&board).await, all, "{name} {ranking:?}");
            let cut: Vec<_> = board.page(1, 2).await.expect("answers").iter().map(|row| row.rank).collect();
            assert_eq!(cut, expected[1..], "{name} {ranking:?}");
            for (member, rank) in all {
                let found = board.rank_of(&member).await.expect("answers").expect("is there");
                assert_eq!(found.rank, rank, "{name} {ranking:?} {member}");
            }
        }
    }
}

#[tokio::test]
async fn dense_ranks_forget_a_score_that_nobody_has_any_more() {
    let server = RedisServer::start();
    for (name, boards) in boards(&server).await {
        let board = boards.board("dense").ranking(Ranking::Dense).update_policy(Update::Last);
        record(&board, &[("a", 9.0), ("b", 8.0), ("c", 8.0), ("d", 7.0)]).await;
        record(&board, &[("b", 9.0)]).await;
        assert_eq!(board.rank_of("d").await.expect("answers").expect("is there").rank, 3, "{name}: c has 8");
        record(&board, &[("c", 1.0)]).await;
        assert_eq!(board.rank_of("d").await.expect("answers").expect("is there").rank, 2, "{name}");
        board.remove("d").await.expect("answers");
        assert_eq!(board.rank_of("c").await.expect("answers").expect("is there").rank, 2, "{name}");
    }
}

#[tokio::test]
async fn each_update_policy_keeps_what_it_says() {
    let server = RedisServer::start();
    for (name, boards) in boards(&server).await {
        for (update, kept) in [
            (Update::Best, 9.0),
            (Update::Lowest, -2.0),
            (Update::Last, 3.5),
            (Update::Sum, 15.5),
            (Update::IfAbsent, 5.0),
        ] {
            let board = boards.board(("update", format!("{update:?}"))).update_policy(update);
            record(&board, &[("a", 5.0), ("a", 9.0), ("a", -2.0), ("a", 3.5), ("b", 4.0)]).await;
            let found = board.rank_of("a").await.expect("answers").expect("is there");
            assert_eq!(found.score, kept, "{name} {update:?}");
            assert_eq!(found.rank, if update == Update::Last { 2 } else { 1 }, "{name} {update:?}");
        }
    }
}

#[tokio::test]
async fn the_lowest_score_is_first_where_the_lowest_stays() {
    let server = RedisServer::start();
    for (name, boards) in boards(&server).await {
        let board = boards.board("race").update_policy(Update::Lowest);
        record(&board, &[("b", 12.5), ("a", 12.5), ("c", 11.0)]).await;
        let expected = [row("c", 11.0, 1), row("a", 12.5, 2), row("b", 12.5, 2)];
        assert_eq!(board.top(3).await.expect("answers"), expected, "{name}");
    }
}

#[tokio::test]
async fn a_window_around_a_member_keeps_its_size_at_both_ends() {
    let server = RedisServer::start();
    for (name, boards) in boards(&server).await {
        let board = boards.board("around");
        for n in 0..10 {
            board.record(n, f64::from(100 - n)).await.expect("answers");
        }
        for (member, first) in [(0, 1), (1, 1), (2, 1), (5, 4), (8, 6), (9, 6)] {
            let rows = board.around(member, 5).await.expect("answers");
            let ranks: Vec<_> = rows.iter().map(|row| row.rank).collect();
            assert_eq!(ranks, (first..first + 5).collect::<Vec<_>>(), "{name} {member}");
        }
        assert_eq!(board.around(3, 100).await.expect("answers").len(), 10, "{name}");
        assert_eq!(board.around(3, 1).await.expect("answers"), [row("3", 97.0, 4)], "{name}");
        assert!(board.around("nobody", 5).await.expect("answers").is_empty(), "{name}");
    }
}

#[tokio::test]
async fn questions_about_members_say_who_is_not_there() {
    let server = RedisServer::start();
    for (name, boards) in boards(&server).await {
        let board = boards.board("many");
        assert_eq!(board.count().await.expect("answers"), 0, "{name}");
        assert_eq!(board.percentile("a").await.expect("answers"), None, "{name}");
        record(&board, &[("a", 3.0), ("b", 2.0), ("c", 2.0), ("d", 1.0), ("e", 0.0)]).await;
        let found = board.many(["c", "nobody", "a"]).await.expect("answers");
        assert_eq!(found, [Some(row("c", 2.0, 2)), None, Some(row("a", 3.0, 1))], "{name}");
        assert_eq!(board.many(Vec::<&str>::new()).await.expect("answers"), [], "{name}");
        assert_eq!(board.rank_of("nobody").await.expect("answers"), None, "{name}");
        for (member, percentile) in [("a", Some(100.0)), ("b", Some(50.0)), ("c", Some(50.0)), ("e", Some(0.0))] {
            assert_eq!(board.percentile(member).await.expect("answers"), percentile, "{name} {member}");
        }
        assert_eq!(board.percentile("nobody").await.expect("answers"), None, "{name}");
        assert_eq!(board.count().await.expect("answers"), 5, "{name}");
        assert!(board.page(5, 10).await.expect("answers").is_empty(), "{name}");
        assert!(board.page(u64::MAX, 10).await.expect("answers").is_empty(), "{name}");
    }
}

#[tokio::test]
async fn members_leave_and_boards_are_emptied() {
    let server = RedisServer::start();
    for (name, boards) in boards(&server).await {
        let board = boards.board("leave").ties(TieBreak::FirstToReach);
        record(&board, &[("a", 3.0), ("b", 2.0)]).await;
        let left = board.remove("a").await.expect("answers");
        assert_eq!((left.outcome, left.old, left.new), (RecordOutcome::Recorded, Some(3.0), None), "{name}");
        assert_eq!((left.rank, left.previous_rank), (None, Some(1)), "{name}");
        assert_eq!(board.remove("a").await.expect("answers").outcome, RecordOutcome::Unchanged, "{name}");
        board.remove("b").await.expect("answers");
        assert_eq!(board.count().await.expect("answers"), 0, "{name}");
        record(&board, &[("c", 1.0)]).await;
        board.add("c", 4.0, "e1").await.expect("answers");
        board.reset().await.expect("answers");
        assert_eq!(board.count().await.expect("answers"), 0, "{name}");
        let again = board.add("c", 4.0, "e1").await.expect("answers");
        assert_eq!(again.outcome, RecordOutcome::Repeated, "{name}: a reset does not forget events");
    }
}

#[tokio::test]
async fn what_can_never_work_is_refused_and_changes_nothing() {
    let server = RedisServer::start();
    let long = "x".repeat(129);
    for (name, boards) in boards(&server).await {
        let board = boards.board("refused");
        record(&board, &[("a", 1.0)]).await;
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(board.record("a", wrong).await.expect_err("refused").is_invalid(), "{name} {wrong}");
            assert!(board.add("a", wrong, "e").await.expect_err("refused").is_invalid(), "{name} {wrong}");
        }
        for wrong in ["", &long] {
            assert!(board.record(wrong, 1.0).await.expect_err("refused").is_invalid(), "{name}");
            assert!(board.add("a", 1.0, wrong).await.expect_err("refused").is_invalid(), "{name}");
            assert!(board.rank_of(wrong).await.expect_err("refused").is_invalid(), "{name}");
        }
        for limit in [0, 101, usize::MAX] {
            assert!(board.top(limit).await.expect_err("refused").is_invalid(), "{name} {limit}");
            assert!(board.page(0, limit).await.expect_err("refused").is_invalid(), "{name} {limit}");
            assert!(board.around("a", limit).await.expect_err("refused").is_invalid(), "{name} {limit}");
        }
        assert!(board.many(0..101).await.expect_err("refused").is_invalid(), "{name}");
        assert_eq!(board.many(0..100).await.expect("fits").len(), 100, "{name}");
        assert_eq!(board.top(100).await.expect("answers"), [row("a", 1.0, 1)], "{name}");
    }
}

#[tokio::test]
async fn a_sum_beyond_exactness_changes_nothing_and_its_event_may_come_again() {
    let server = RedisServer::start();
    let largest = 9_007_199_254_740_992.0;
    for (name, boards) in boards(&server).await {
        let board = boards.board("sums").update_policy(Update::Sum);
        board.add("a", largest - 1.0, "e1").await.expect("exact");
        let error = board.add("a", 2.0, "e2").await.expect_err("too much");
        assert!(error.is_invalid(), "{name} {error}");
        assert!(board.record("a", 2.0).await.expect_err("too much").is_invalid(), "{name}");
        assert!(board.add("b", largest * 2.0, "e3").await.expect_err("too much").is_invalid(), "{name}");
        assert_eq!(board.top(9).await.expect("answers"), [row("a", largest - 1.0, 1)], "{name}");
        let fits = board.add("a", 1.0, "e2").await.expect("exact");
        assert_eq!((fits.outcome, fits.new), (RecordOutcome::Recorded, Some(largest)), "{name}");
    }
}

#[tokio::test]
async fn any_finite_score_comes_back_as_it_was() {
    let server = RedisServer::start();
    let scores = [f64::MAX, 1e-300, 0.1 + 0.2, -0.0, 5e-324, -1.5e200, f64::MIN];
    for (name, boards) in boards(&server).await {
        let board = boards.board("exact").update_policy(Update::Last);
        for score in scores {
            let recorded = board.record("a", score).await.expect("finite");
            assert_eq!(recorded.new, Some(score), "{name}");
            let found = board.rank_of("a").await.expect("answers").expect("is there").score;
            assert_eq!(found.to_bits(), (score + 0.0).to_bits(), "{name} {score:e}");
        }
    }
}

#[tokio::test]
async fn parallel_updates_are_exact_and_a_repeated_event_counts_once() {
    let server = RedisServer::start();
    for (name, boards) in boards(&server).await {
        let best = boards.board("best");
        let sums = boards.board("sum").update_policy(Update::Sum);
        let tasks: Vec<_> = (0..64u32)
            .map(|n| {
                let (best, sums) = (best.clone(), sums.clone());
                tokio::spawn(async move {
                    best.record("a", f64::from(n * 7 % 64)).await.expect("answers");
                    sums.add("a", 1.0, n).await.expect("answers");
                    sums.add("a", 1000.0, "once").await.expect("answers").outcome
                })
            })
            .collect();
        let mut counted = 0;
        for task in tasks {
            counted += usize::from(task.await.expect("no panic") == RecordOutcome::Recorded);
        }
        assert_eq!(counted, 1, "{name}");
        assert_eq!(best.rank_of("a").await.expect("answers").expect("is there").score, 63.0, "{name}");
        assert_eq!(sums.rank_of("a").await.expect("answers").expect("is there").score, 1064.0, "{name}");
    }
}

#[tokio::test]
async fn a_cap_keeps_the_best() {
    let server = RedisServer::start();
    let three = NonZeroU32::new(3).expect("not 0");
    for (name, boards) in boards(&server).await {
        for ranking in [Ranking::Competition, Ranking::Dense] {
            let board = boards.board(("cap", format!("{ranking:?}"))).ranking(ranking).cap(three);
            record(&board, &[("a", 5.0), ("b", 4.0), ("c", 3.0)]).await;
            let below = board.record("d", 2.0).await.expect("answers");
            assert_eq!((below.new, below.rank), (None, None), "{name}");
            let above = board.record("e", 4.5).await.expect("answers");
            assert_eq!(above.rank, Some(2), "{name}");
            let expected = [row("a", 5.0, 1), row("e", 4.5, 2), row("b", 4.0, 3)];
            assert_eq!(board.top(9).await.expect("answers"), expected, "{name}");
            assert!(board.add("a", 1.0, "e").await.expect_err("refused").is_invalid(), "{name}");
        }
    }
}

#[tokio::test]
async fn a_board_that_is_kept_otherwise_is_not_touched() {
    let server = RedisServer::start();
    for (name, boards) in boards(&server).await {
        record(&boards.board("x"), &[("a", 5.0)]).await;
        let other = boards.board("x").ties(TieBreak::FirstToReach);
        assert!(other.record("b", 1.0).await.expect_err("refused").is_invalid(), "{name}");
        assert!(other.top(1).await.expect_err("refused").is_invalid(), "{name}");
        let same = boards.board("x").ranking(Ranking::Ordinal);
        assert_eq!(same.top(9).await.expect("answers"), [row("a", 5.0, 1)], "{name}: the same layout");
        other.reset().await.expect("answers");
        record(&other, &[("b", 1.0)]).await;
        assert_eq!(other.top(9).await.expect("answers"), [row("b", 1.0, 1)], "{name}");
    }
}

#[tokio::test]
async fn an_outage_is_told_and_the_caller_chooses() {
    let switch = OutageSwitch::default();
    let boards = Leaderboards::new(MemoryLeaderboardStore::new(Clock::system()).outage(switch.clone()));
    let board = boards.board("x");
    switch.set(true);
    assert!(board.record("a", 1.0).await.expect_err("down").is_unavailable());
    assert!(board.top(10).await.expect_err("down").is_unavailable());
    assert!(board.top(0).await.expect_err("wrong in any weather").is_invalid());
    switch.set(false);
    assert!(board.top(10).await.expect("up").is_empty());

    let keep = Keep::in_memory();
    keep.force_outage(true);
    assert!(keep.leaderboard(("challenge", 7)).count().await.expect_err("down").is_unavailable());
}

#[tokio::test]
async fn a_value_of_another_type_is_told_and_nothing_is_written() {
    let server = RedisServer::start();
    let boards = Leaderboards::new(RedisLeaderboardStore::new(&patient(&server).await));
    let board = boards.board(("challenge", 1));
    record(&board, &[("a", 1.0)]).await;
    let mut client = server.client().await;
    let key = "tk:challenge:{1}:leaderboard";
    redis::cmd("SET").arg(key).arg("not a board").exec_async(&mut client).await.expect("up");
    assert!(board.record("b", 2.0).await.expect_err("foreign").is_corrupt());
    assert!(board.top(1).await.expect_err("foreign").is_corrupt());
    board.reset().await.expect("a reset makes it ours again");
    assert!(board.top(1).await.expect("answers").is_empty());
}

#[test]
fn handles_go_everywhere() {
    fn check<T: Send + Sync + Clone + 'static>() {}
    check::<Leaderboard>();
    check::<Leaderboards>();
    check::<MemoryLeaderboardStore>();
    check::<RedisLeaderboardStore>();
}

#[tokio::test]
async fn a_full_redis_refuses_updates_and_answers_questions() {
    let server = RedisServer::start();
    let redis = patient(&server).await;
    let boards = Leaderboards::new(RedisLeaderboardStore::new(&redis));
    let board = boards.board("full").ties(TieBreak::FirstToReach).ranking(Ranking::Dense);
    record(&board, &[("a", 1.0)]).await;
    board.top(1).await.expect("up");
    let full = async |bytes: u32| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("maxmemory").arg(bytes);
        set.exec_async(&mut server.client().await).await.expect("up");
    };
    full(1).await;
    assert!(board.record("a", 2.0).await.expect_err("no room").is_unavailable());
    assert_eq!(board.top(9).await.expect("half a change would show"), [row("a", 1.0, 1)]);
    eventually("it is noticed", async || redis.status() == towerkeep::Status::Degraded).await;
    assert!(board.record("b", 2.0).await.expect_err("not even sent").is_unavailable());
    assert_eq!(board.top(9).await.expect("reads go on"), [row("a", 1.0, 1)]);
    full(0).await;
    eventually("it is noticed", async || redis.status() == towerkeep::Status::Up).await;
    record(&board, &[("b", 2.0)]).await;
}
