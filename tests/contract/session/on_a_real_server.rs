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
