//! Boards of days, weeks and months.

use towerkeep::{
    clock::{ManualClock, days, hours},
    leaderboard::{Answer, BoardId, Change, Period, Periods, Query, Rules},
};

use super::*;

fn all_periods() -> Periods {
    Periods::of([Period::Month, Period::All, Period::Day, Period::Week])
}

#[tokio::test]
async fn one_update_writes_all_periods_in_one_command() {
    let server = RedisServer::start();
    let boards = Leaderboards::new(RedisLeaderboardStore::new(&patient(&server).await));
    let board = boards.board(("challenge", 42)).periods(all_periods()).ranking(Ranking::Dense);
    board.record("warm", 1.0).await.expect("up");
    let calls = server.commands_during(async { assert!(board.record("a", 5.0).await.is_ok()) }).await;
    assert_eq!(calls.get("evalsha"), Some(&1), "{calls:?}");
    for period in all_periods().iter() {
        let top = board.clone().period(period).top(1).await.expect("up");
        assert_eq!(top, [row("a", 5.0, 1)], "{period:?}");
    }
}

#[tokio::test]
async fn a_board_of_a_period_ends_with_it_and_that_of_all_time_does_not() {
    let server = RedisServer::start();
    let boards = Leaderboards::new(RedisLeaderboardStore::new(&patient(&server).await));
    let board = boards.board(("challenge", 42)).periods(all_periods().keep(days(2))).ties(TieBreak::FirstToReach);
    let board = board.ranking(Ranking::Dense);
    board.record("b", 1.0).await.expect("up");
    board.add("a", 5.0, "e1").await.expect("up");
    let mut client = server.client().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("tk:challenge:*").query_async(&mut client).await.expect("up");
    assert_eq!(keys.len(), 4 * 5, "rows, mark, reached, scores, events: {keys:?}");
    for key in keys {
        let ttl: i64 = redis::cmd("TTL").arg(&key).query_async(&mut client).await.expect("up");
        let longest = [(":day:", 3), (":week:", 9), (":month:", 33)].into_iter().find(|(part, _)| key.contains(part));
        match longest {
            Some((_, longest)) => assert!((2 * 86_400..=longest * 86_400).contains(&ttl), "{key}: {ttl}"),
            None => assert_eq!(ttl, -1, "{key}"),
        }
    }
}

#[tokio::test]
async fn a_new_day_begins_anew_and_the_old_one_can_be_read_while_it_is_kept() {
    let manual = ManualClock::at(START);
    let boards = Leaderboards::new(MemoryLeaderboardStore::new(manual.clock()));
    let board = boards.board("days").periods(Periods::of([Period::All, Period::Day]).keep(days(2)));
    let day = board.clone().period(Period::Day);
    let first = day.record("a", 5.0).await.expect("answers");
    assert_eq!((first.old, first.new), (None, Some(5.0)));
    manual.advance(days(1));
    assert_eq!(day.count().await.expect("answers"), 0);
    let next = day.record("a", 3.0).await.expect("answers");
    assert_eq!((next.old, next.new), (None, Some(3.0)), "of the day");
    assert_eq!(board.top(1).await.expect("answers"), [row("a", 5.0, 1)], "of all time");
    assert_eq!(day.clone().at(START).top(1).await.expect("answers"), [row("a", 5.0, 1)], "of yesterday");
    manual.advance(days(3));
    assert!(day.clone().at(START).top(1).await.expect_err("no longer kept").is_invalid());
    assert!(board.period(Period::Week).top(1).await.expect_err("no such board").is_invalid());
}

#[tokio::test]
async fn an_offset_decides_when_a_day_ends_on_every_store() {
    let server = RedisServer::start();
    let periods = Periods::of([Period::Day]).utc_offset_minutes(-300);
    let midnight = periods.window(Period::Day, Timestamp::from(std::time::SystemTime::now())).expect("a day").end();
    for (name, store) in stores(&server).await {
        let rules = Rules::default();
        let id = |at| BoardId { name: "days".into(), window: periods.window(Period::Day, at) };
        let (before, after) = (midnight - seconds(1), midnight);
        for (at, score) in [(before, 1.0), (after, 2.0)] {
            let change = Change::Record { member: "a".into(), score };
            let cx = Cx::new().at(at).within(seconds(5));
            store.change(&cx, &rules, &[id(at)], &change).await.expect("answers");
        }
        for (at, score) in [(before, 1.0), (after, 2.0), (after + hours(23), 2.0)] {
            let cx = Cx::new().at(at).within(seconds(5));
            let found = store.read(&cx, &rules, &id(at), &Query::Members(vec!["a".into()])).await.expect("answers");
            let Answer::Known(found) = found else { panic!("{name}: lost") };
            assert_eq!(found.rows, [Some(row("a", score, 1))], "{name}");
        }
    }
}

#[tokio::test]
async fn a_change_that_one_period_refuses_is_made_in_none() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        let rules = Rules { update: Update::Sum, ..Rules::default() };
        let now = Timestamp::from(std::time::SystemTime::now());
        let id = |period| BoardId { name: "all".into(), window: all_periods().window(period, now) };
        let cx = Cx::new().within(seconds(5));
        let add = |points, event: &str| Change::Add { member: "a".into(), points, event: event.into() };
        let both = [id(Period::Day), id(Period::All)];
        store.change(&cx, &rules, &both[1..], &add(9e15, "e1")).await.expect("fits");
        let error = store.change(&cx, &rules, &both, &add(9e15, "e2")).await.expect_err("too much for all time");
        assert!(error.is_invalid(), "{name}");
        let day = store.read(&cx, &rules, &both[0], &Query::Members(Vec::new())).await.expect("answers");
        assert!(matches!(day, Answer::Known(reading) if reading.total == 0), "{name}: nothing of the day is written");
    }
}
