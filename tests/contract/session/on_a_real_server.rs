//! What only a real server shows: keys, their time to live, and foreign values.

use towerkeep::session::Stamp;

use super::*;

async fn server() -> (RedisServer, RedisSessionStore, redis::aio::MultiplexedConnection) {
    let server = RedisServer::start();
    let store = RedisSessionStore::new(&connect(&server, seconds(5)).await);
    let client = server.client().await;
    (server, store, client)
}

fn key(record: &Record) -> String {
    format!("tk:session:{}", record.id())
}

#[tokio::test]
async fn keys_expire_with_their_sessions() {
    let (_server, store, mut client) = server().await;
    let record = of(1, seconds(0));
    create(&store, &record).await;
    for (key, most) in [(key(&record), 3_600_000), ("tk:user:sessions:1".into(), 86_400_000)] {
        let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut client).await.expect("up");
        assert!(left > most - 60_000 && left <= most, "{key} lives {left} ms");
    }
    assert!(store.touch(&at(minutes(50)), record.id(), 2).await.expect("up"));
    let left: i64 = redis::cmd("PTTL").arg(key(&record)).query_async(&mut client).await.expect("up");
    assert!(left > 3_540_000 && left <= 3_600_000, "{left}");
}

#[tokio::test]
async fn no_secret_is_stored() {
    let (_server, store, mut client) = server().await;
    let sessions = towerkeep::session::Sessions::new(store);
    let issued = sessions.issue(1).await.expect("up");
    let key = format!("tk:session:{}", issued.id());
    let value: String = redis::cmd("GET").arg(key).query_async(&mut client).await.expect("up");
    assert!(!value.contains(&issued.token()[33..]), "{value}");
}

#[tokio::test]
async fn foreign_values_are_corrupt_and_left_alone() {
    let (_server, store, mut client) = server().await;
    for foreign in ["not json", "{}", r#"{"towerkeep":"1","gen":1}"#, "\u{0}"] {
        let record = anonymous();
        let () = redis::cmd("SET").arg(key(&record)).arg(foreign).query_async(&mut client).await.expect("up");
        assert!(store.load(&at(seconds(0)), record.id()).await.expect_err(foreign).is_corrupt());
        let next = with(&record, "{}");
        assert!(store.save(&at(seconds(0)), &next, record.stamp(), None).await.expect_err(foreign).is_corrupt());
        assert!(!store.touch(&at(seconds(0)), record.id(), 1).await.expect("up"));
        let left: String = redis::cmd("GET").arg(key(&record)).query_async(&mut client).await.expect("up");
        assert_eq!(left, foreign);
    }
    let record = anonymous();
    let () = redis::cmd("LPUSH").arg(key(&record)).arg("x").query_async(&mut client).await.expect("up");
    assert!(store.load(&at(seconds(0)), record.id()).await.expect_err("a list").is_corrupt());
    let next = with(&record, "{}");
    assert!(store.save(&at(seconds(0)), &next, Stamp::default(), None).await.expect_err("a list").is_corrupt());
}

#[tokio::test]
async fn a_newer_format_is_never_overwritten() {
    let (_server, store, mut client) = server().await;
    let record = anonymous();
    let newer = record.encode().replacen(r#""towerkeep":"1""#, r#""towerkeep":"2""#, 1);
    let () = redis::cmd("SET").arg(key(&record)).arg(&newer).query_async(&mut client).await.expect("up");
    assert!(store.load(&at(seconds(0)), record.id()).await.expect("up").is_some());
    let next = with(&record, r#"{"a":1}"#);
    let saved = store.save(&at(seconds(0)), &next, record.stamp(), None).await.expect("up");
    assert!(matches!(saved, Save::Conflict(_)));
    assert!(!store.touch(&at(seconds(0)), record.id(), 1).await.expect("up"));
    let left: String = redis::cmd("GET").arg(key(&record)).query_async(&mut client).await.expect("up");
    assert_eq!(left, newer);
}

#[tokio::test]
async fn the_index_is_trimmed_by_each_login() {
    let (_server, store, mut client) = server().await;
    let old = of(1, seconds(0));
    create(&store, &old).await;
    let new = of(1, days(1));
    create(&store, &new).await;
    let index: Vec<String> =
        redis::cmd("ZRANGE").arg("tk:user:sessions:1").arg(0).arg(-1).query_async(&mut client).await.expect("up");
    assert_eq!(index, [new.id().to_string()]);
}

#[tokio::test]
async fn logins_during_revocations_never_leave_a_session_that_no_index_names() {
    let (_server, store, mut client) = server().await;
    let user = UserId::new(1);
    for round in 0..40 {
        let cx = at(seconds(round));
        let logins: Vec<Record> = (0..4).map(|_| of(1, seconds(round))).collect();
        let first: Vec<_> = logins[..2].iter().map(|record| store.create(&cx, record, None)).collect();
        let revoked = store.revoke_all(&cx, &user, None, days(1));
        let last: Vec<_> = logins[2..].iter().map(|record| store.create(&cx, record, None)).collect();
        for login in first.into_iter().chain(last) {
            let _either = login.await.expect("up");
        }
        revoked.await.expect("up");
        for record in &logins {
            let live = store.load(&cx, record.id()).await.expect("up").is_some();
            let place: Option<f64> = redis::cmd("ZSCORE")
                .arg("tk:user:sessions:1")
                .arg(record.id().to_string())
                .query_async(&mut client)
                .await
                .expect("up");
            assert!(!live || place.is_some(), "round {round}: a live session is in no index");
        }
    }
    let _ended = store.revoke_all(&at(seconds(50)), &user, None, days(1)).await.expect("up");
    let left: Vec<String> = redis::cmd("KEYS").arg("tk:session:*").query_async(&mut client).await.expect("up");
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_login_replaces_a_foreign_value_in_the_place_of_the_index() {
    let (_server, store, mut client) = server().await;
    for user in [1, 2] {
        let index = format!("tk:user:sessions:{user}");
        for foreign in [&["SET", &index, "x"][..], &["LPUSH", &index, "x"]] {
            let () = redis::cmd("DEL").arg(&index).query_async(&mut client).await.expect("up");
            let _: redis::Value = redis::cmd(foreign[0]).arg(&foreign[1..]).query_async(&mut client).await.expect("up");
            assert!(store.list(&at(seconds(0)), &UserId::new(user)).await.expect_err("foreign").is_corrupt());
            let logins = if user == 1 { [of(1, seconds(0)), of(1, seconds(0))] } else { [anonymous(), anonymous()] };
            for record in &logins {
                create(&store, record).await;
            }
            if user == 2 {
                let next = testing::login(&logins[0], &UserId::new(2), &config(), START);
                let saved = store.save(&at(seconds(0)), &next, logins[0].stamp(), None).await.expect("up");
                assert!(matches!(saved, Save::Saved));
            }
            let listed = store.list(&at(seconds(1)), &UserId::new(user)).await.expect("healed");
            assert_eq!(listed.len(), if user == 1 { 2 } else { 1 });
        }
    }
}

#[tokio::test]
async fn a_foreign_value_in_the_place_of_the_index_keeps_nothing_alive() {
    let (_server, store, mut client) = server().await;
    let record = of(1, seconds(0));
    create(&store, &record).await;
    let () = redis::cmd("SET").arg("tk:user:sessions:1").arg("x").query_async(&mut client).await.expect("up");
    store.bury(&at(seconds(1)), record.id(), record.user(), days(1)).await.expect("ended");
    assert!(store.load(&at(seconds(1)), record.id()).await.expect("up").is_none());
}

#[tokio::test]
async fn concurrent_logins_over_a_foreign_index_are_all_listed() {
    let (_server, store, mut client) = server().await;
    for _ in 0..20 {
        let _: i64 = redis::cmd("DEL").arg("tk:user:sessions:1").query_async(&mut client).await.expect("up");
        let () = redis::cmd("SET").arg("tk:user:sessions:1").arg("x").query_async(&mut client).await.expect("up");
        let logins: Vec<Record> = (0..4).map(|_| of(1, seconds(0))).collect();
        let cx = at(seconds(0));
        let created: Vec<_> = logins.iter().map(|record| store.create(&cx, record, None)).collect();
        for created in created {
            assert_eq!(created.await.expect("up"), Create::Created);
        }
        assert_eq!(store.list(&cx, &UserId::new(1)).await.expect("up").len(), 4);
    }
}

#[tokio::test]
async fn a_foreign_revocation_mark_keeps_nobody_from_logging_in_or_out() {
    let (_server, store, mut client) = server().await;
    let _: i64 = redis::cmd("LPUSH").arg("tk:user:revoked:1").arg("x").query_async(&mut client).await.expect("up");
    let record = of(1, seconds(0));
    create(&store, &record).await;
    let ended = store.revoke_all(&at(seconds(1)), &UserId::new(1), None, days(1)).await.expect("up");
    assert_eq!(ended, [record.id()]);
    create(&store, &of(1, seconds(2))).await;
}

#[tokio::test]
async fn the_end_of_a_session_is_heard_on_other_instances_within_a_second() {
    let (server, store, mut client) = server().await;
    let here = towerkeep::session::Sessions::new(store);
    let there = towerkeep::session::Sessions::new(RedisSessionStore::new(&connect(&server, seconds(5)).await));
    let issued = [here.issue(1).await, here.issue(1).await, here.issue(2).await, here.issue(3).await];
    let ids = issued.map(|issued| issued.expect("up").id());
    let mut waiting: Vec<_> = ids
        .into_iter()
        .map(|id| {
            let there = there.clone();
            tokio::spawn(async move { there.ended(&id).await })
        })
        .collect();
    crate::support::eventually("the other instance listens", async || {
        let told: (String, u64) =
            redis::cmd("PUBSUB").arg("NUMSUB").arg("tk:session:ended").query_async(&mut client).await.expect("up");
        told.1 == 1
    })
    .await;
    let still = waiting.pop().expect("the last");
    let begun = tokio::time::Instant::now();
    assert!(here.revoke(1, &ids[0]).await.expect("up"));
    assert_eq!(here.revoke_all(1).await.expect("up"), 1);
    assert_eq!(here.revoke_all(2).await.expect("up"), 1);
    for waiting in waiting {
        tokio::time::timeout(seconds(1), waiting).await.expect("heard").expect("no panic");
    }
    assert!(begun.elapsed() < seconds(1), "{:?}", begun.elapsed());
    assert!(!still.is_finished());
    still.abort();
}

#[tokio::test]
async fn a_logout_with_a_mark_leaves_the_id_taken() {
    let (_server, store, mut client) = server().await;
    let record = of(1, seconds(0));
    create(&store, &record).await;
    let ended = store.logout(&at(seconds(1)), record.id(), &testing::secret(&record), Some(minutes(5)));
    assert!(ended.expect("it has the verb").await.expect("up").is_some());
    assert_eq!(store.restore(&at(seconds(1)), &record, None).await.expect("up"), Create::Exists);
    assert!(!store.delete(&at(seconds(1)), record.id(), record.user()).await.expect("up"), "the mark stays");
    let left: i64 = redis::cmd("PTTL").arg(key(&record)).query_async(&mut client).await.expect("up");
    assert!(left > 290_000 && left <= 300_000, "{left}");
}

#[tokio::test]
async fn a_login_of_before_a_revocation_is_not_stored_after_it() {
    let (_server, store, _client) = server().await;
    let (user, before) = (UserId::new(1), anonymous());
    create(&store, &before).await;
    let login = testing::login(&before, &user, &config(), START + seconds(1));
    assert!(store.revoke_all(&at(seconds(2)), &user, None, days(1)).await.expect("up").is_empty());
    // Made during an outage of its instance, and told after it.
    let saved = store.save(&at(seconds(3)), &login, before.stamp(), None).await.expect("up");
    assert!(matches!(saved, Save::Gone), "{saved:?}");
    assert!(store.load(&at(seconds(3)), before.id()).await.expect("up").is_none());
    assert!(store.list(&at(seconds(3)), &user).await.expect("up").is_empty());
}

#[tokio::test]
async fn a_creation_that_came_late_does_not_outlive_the_revocation_before_it() {
    let (_server, store, _client) = server().await;
    let (user, late, newer) = (UserId::new(1), of(1, seconds(0)), of(1, seconds(0)));
    store.revoke_before(&at(seconds(1)), &user, START + seconds(1), None, days(1)).await.expect("up");
    create(&store, &late).await;
    assert_eq!(store.restore(&at(seconds(2)), &late, None).await.expect("up"), Create::Revoked);
    assert!(store.load(&at(seconds(2)), late.id()).await.expect("up").is_none());

    // A login since the revocation stands.
    create(&store, &newer).await;
    let again = testing::login(&newer, &user, &config(), START + seconds(2));
    let saved = store.save(&at(seconds(2)), &again, newer.stamp(), None).await.expect("up");
    assert!(matches!(saved, Save::Saved), "{saved:?}");
    assert_eq!(store.restore(&at(seconds(3)), &newer, None).await.expect("up"), Create::Revoked);
    assert!(store.load(&at(seconds(3)), newer.id()).await.expect("up").is_some());
}
