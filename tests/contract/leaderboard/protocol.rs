//! The steps of a rebuild, and what comes between them.

use towerkeep::{
    clock::ManualClock,
    leaderboard::{Answer, Begun, BoardId, Change, Finished, Query, Rules, SourceRow},
};

use super::*;

#[tokio::test]
async fn what_waits_for_a_rebuild_is_applied_in_order_however_much_it_is() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        let rules = Rules { has_source: true, update: Update::Last, ..Default::default() };
        let id = BoardId { name: ("wait", 1).into(), window: None };
        let cx = Cx::new().within(seconds(5));
        store.begin(&cx, &rules, &id, "me:1", false).await.expect("up");
        store.load(&cx, &rules, &id, "me:1", &[SourceRow::new("a", 1.0)]).await.expect("up");
        for n in 0..1_300u32 {
            let member = if n % 2 == 0 { "a".to_owned() } else { n.to_string() };
            let change = Change::Record { member, score: f64::from(n) };
            store.change(&cx, &rules, std::slice::from_ref(&id), &change).await.expect("kept");
        }
        let mut steps = 1;
        while store.finish(&cx, &rules, &id, "me:1").await.expect("up") == Finished::More {
            assert!(!store.load(&cx, &rules, &id, "me:1", &[SourceRow::new("a", 0.0)]).await.expect("up"), "too late");
            steps += 1;
        }
        assert!(name == "memory" || steps >= 3, "{steps}");
        let query = Query::Members(vec!["a".into(), "1299".into()]);
        let found = store.read(&cx, &rules, &id, &query).await.expect("up");
        let Answer::Known(found) = found else { panic!("{name}: lost") };
        assert_eq!((found.total, &found.rows[0]), (651, &Some(row("a", 1298.0, 2))), "{name}");
        let mut client = server.client().await;
        let left: Vec<String> = redis::cmd("KEYS").arg("tk:wait:*rebuild*").query_async(&mut client).await.expect("up");
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test]
async fn a_rebuild_of_which_something_was_evicted_begins_anew() {
    let server = RedisServer::start();
    let store = RedisLeaderboardStore::new(&patient(&server).await);
    let rules = Rules { has_source: true, ranking: Ranking::Dense, ties: TieBreak::FirstToReach, ..Default::default() };
    let cx = Cx::new().within(seconds(5));
    let rows = [SourceRow::new("a", 1.0).events(["e1"]), SourceRow::new("b", 2.0)];
    for (n, part) in
        ["rebuild:me:1", "rebuild:me:1:reached", "rebuild:me:1:scores", "rebuild:me:1:events", "pending", "rebuild"]
            .iter()
            .enumerate()
    {
        let id = BoardId { name: ("evicted", n).into(), window: None };
        store.begin(&cx, &rules, &id, "me:1", false).await.expect("up");
        assert!(store.load(&cx, &rules, &id, "me:1", &rows).await.expect("up"));
        let change = Change::Record { member: "c".into(), score: 3.0 };
        store.change(&cx, &rules, std::slice::from_ref(&id), &change).await.expect("kept");
        assert!(store.load(&cx, &rules, &id, "me:1", &[]).await.expect("up"), "all is there");
        let key = format!("tk:evicted:{{{n}}}:leaderboard:{part}");
        let evicted: i64 = redis::cmd("DEL").arg(&key).query_async(&mut server.client().await).await.expect("up");
        assert_eq!(evicted, 1, "{key}");
        assert!(!store.load(&cx, &rules, &id, "me:1", &rows).await.expect("up"), "{part}");
        assert_eq!(store.finish(&cx, &rules, &id, "me:1").await.expect("up"), Finished::Gone, "{part}");
        let query = Query::Members(Vec::new());
        assert_eq!(store.read(&cx, &rules, &id, &query).await.expect("up"), Answer::Lost, "{part}");
    }
}

#[tokio::test]
async fn a_change_while_a_board_is_rebuilt_that_is_there_shows_at_once_and_stays() {
    let server = RedisServer::start();
    for (name, store) in stores(&server).await {
        let rules = Rules { has_source: true, update: Update::Last, ..Default::default() };
        let id = BoardId { name: ("there", 1).into(), window: None };
        let cx = Cx::new().within(seconds(5));
        let record = |member: &str, score| {
            let change = Change::Record { member: member.into(), score };
            store.change(&cx, &rules, std::slice::from_ref(&id), &change)
        };
        let shown = async || {
            let query = Query::Page { offset: 0, limit: 9 };
            let Answer::Known(found) = store.read(&cx, &rules, &id, &query).await.expect("up") else {
                return Vec::new();
            };
            found.rows.into_iter().flatten().map(|row| (row.member, row.score)).collect::<Vec<_>>()
        };
        let pair = |member: &str, score| (member.to_owned(), score);
        store.begin(&cx, &rules, &id, "me:1", false).await.expect("up");
        store.finish(&cx, &rules, &id, "me:1").await.expect("up");
        record("a", 1.0).await.expect("up");

        store.begin(&cx, &rules, &id, "me:2", true).await.expect("up");
        store.load(&cx, &rules, &id, "me:2", &[SourceRow::new("a", 2.0)]).await.expect("up");
        let answers = record("b", 3.0).await.expect("up");
        assert!(matches!(&answers[..], [Answer::Known(found)] if found.rank == Some(1)), "{name}: {answers:?}");
        assert_eq!(shown().await, [pair("b", 3.0), pair("a", 1.0)], "{name}: the old board answers");
        assert_eq!(store.finish(&cx, &rules, &id, "me:2").await.expect("up"), Finished::Done, "{name}");
        assert_eq!(shown().await, [pair("b", 3.0), pair("a", 2.0)], "{name}: the new one has both");

        store.begin(&cx, &rules, &id, "me:3", true).await.expect("up");
        record("a", 7.0).await.expect("up");
        assert_eq!(store.begin(&cx, &rules, &id, "you:1", true).await.expect("up"), Begun::Busy, "{name}");
        assert_eq!(store.begin(&cx, &rules, &id, "me:4", true).await.expect("up"), Begun::Begun, "{name}");
        store.load(&cx, &rules, &id, "me:4", &[SourceRow::new("a", 9.0)]).await.expect("up");
        assert_eq!(store.finish(&cx, &rules, &id, "me:3").await.expect("up"), Finished::Gone, "{name}");
        assert_eq!(store.finish(&cx, &rules, &id, "me:4").await.expect("up"), Finished::Done, "{name}");
        assert_eq!(shown().await, [pair("a", 9.0)], "{name}: what waited for the attempt before was in the source");

        store.begin(&cx, &rules, &id, "me:5", true).await.expect("up");
        store.reset(&cx, &rules, std::slice::from_ref(&id)).await.expect("up");
        assert_eq!(store.finish(&cx, &rules, &id, "me:5").await.expect("up"), Finished::Gone, "{name}: called off");
        assert!(shown().await.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_lock_ends_by_itself_in_memory_too() {
    let manual = ManualClock::at(START);
    let store = MemoryLeaderboardStore::new(manual.clock());
    let rules = Rules { has_source: true, ..Default::default() };
    let (cx, id) = (Cx::new(), BoardId { name: "lock".into(), window: None });
    store.begin(&cx, &rules, &id, "other:1", false).await.expect("up");
    assert_eq!(store.begin(&cx, &rules, &id, "me:1", false).await.expect("up"), Begun::Busy);
    manual.advance(seconds(9));
    assert!(store.load(&cx, &rules, &id, "other:1", &[]).await.expect("up"), "renewed");
    manual.advance(seconds(9));
    assert_eq!(store.begin(&cx, &rules, &id, "me:1", false).await.expect("up"), Begun::Busy);
    manual.advance(seconds(1));
    assert_eq!(store.begin(&cx, &rules, &id, "me:1", false).await.expect("up"), Begun::Begun);
    assert!(!store.load(&cx, &rules, &id, "other:1", &[]).await.expect("up"), "replaced");
}
