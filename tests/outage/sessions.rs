//! Sessions through an outage: who stays logged in, who stays logged out.

use std::time::Duration;

use http::StatusCode;
use towerkeep::{
    Keep, Status,
    session::{FileJournal, SessionConfig},
};

use crate::{
    app::{Client, app, keep},
    support::{RedisServer, eventually},
};

#[tokio::test]
async fn users_seen_before_stay_logged_in_and_are_written_back() {
    let mut server = RedisServer::start();
    let keep = keep(&server.url()).await;
    let router = app(&keep);
    let mut user = Client::logged_in(&router, 42).await;
    assert_eq!(user.get("/me").await.body, "42");

    server.kill();
    for _ in 0..5 {
        let answer = user.get("/me").await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "42"));
    }
    assert_eq!(keep.status(), Status::Down);

    server.launch(); // empty
    eventually("redis is reached again", async || keep.status() == Status::Up).await;
    assert_eq!(user.get("/me").await.body, "42");
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("tk:session:*").query_async(&mut server.client().await).await.expect("keys");
    assert_eq!(keys.len(), 2, "the session and the epoch: {keys:?}");
    let index: Vec<String> = redis::cmd("ZRANGE")
        .arg("tk:user:sessions:42")
        .arg(0)
        .arg(-1)
        .query_async(&mut server.client().await)
        .await
        .expect("index");
    assert_eq!(index.len(), 1);
}

#[tokio::test]
async fn a_logout_during_the_outage_is_never_undone() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let keep = keep(&server.url()).await;
    let router = app(&keep);
    let mut user = Client::logged_in(&router, 42).await;
    let stolen = user.clone();
    server.kill();
    assert_eq!(user.post("/logout").await.status, StatusCode::OK);
    assert_eq!(user.cookie, None, "the cookie is removed at once");
    assert_eq!(stolen.clone().get("/me").await.status, StatusCode::UNAUTHORIZED, "logged out here at once");

    server.launch(); // with the session still in its append-only file
    eventually("redis is reached again", async || keep.status() == Status::Up).await;
    assert_eq!(stolen.clone().get("/me").await.status, StatusCode::UNAUTHORIZED);
    let other = crate::app::keep(&server.url()).await;
    let elsewhere = app(&other);
    assert_eq!(stolen.at(&elsewhere).get("/me").await.status, StatusCode::UNAUTHORIZED, "on other instances too");
}

#[tokio::test]
async fn a_session_never_seen_here_is_unavailable_not_anonymous() {
    let mut server = RedisServer::start();
    let (first, second) = (keep(&server.url()).await, keep(&server.url()).await);
    let (here, there) = (app(&first), app(&second));
    let user = Client::logged_in(&there, 42).await;
    let mut stranger = user.at(&here);
    server.kill();

    let answer = stranger.get("/me").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("set-cookie"), "", "nobody is logged out");
    let answer = stranger.get("/maybe").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "nobody"));
    assert_eq!(stranger.get("/clock").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_session_survives_a_restart_that_lost_everything_on_two_instances() {
    let mut server = RedisServer::start();
    let (first, second) = (keep(&server.url()).await, keep(&server.url()).await);
    let (here, there) = (app(&first), app(&second));
    let mut user = Client::logged_in(&here, 42).await;
    assert_eq!(user.at(&there).get("/me").await.body, "42");
    server.kill();
    assert_eq!(user.get("/me").await.body, "42");
    assert_eq!(user.at(&there).get("/me").await.body, "42");
    server.launch();
    eventually("both are back", async || first.status() == Status::Up && second.status() == Status::Up).await;
    assert_eq!(user.get("/me").await.body, "42");
    assert_eq!(user.at(&there).get("/me").await.body, "42");
    assert_eq!(user.post("/logout").await.status, StatusCode::OK);
    assert_eq!(user.at(&there).get("/me").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_login_during_the_outage_holds_here() {
    let mut server = RedisServer::start();
    let keep = keep(&server.url()).await;
    let router = app(&keep);
    server.kill();
    let mut user = Client::logged_in(&router, 7).await;
    assert_eq!(user.get("/me").await.body, "7");
    server.launch();
    eventually("redis is reached again", async || keep.status() == Status::Up).await;
    assert_eq!(user.get("/me").await.body, "7", "and is written to redis when it is back");
}

#[tokio::test]
async fn a_redis_restored_from_an_old_snapshot_revives_nobody_who_logged_out() {
    let mut server = RedisServer::start_with(&["--dbfilename", "old.rdb"]);
    let (first, second) = (keep(&server.url()).await, keep(&server.url()).await);
    let (here, there) = (app(&first), app(&second));
    let (mut leaves, mut everywhere) = (Client::logged_in(&here, 1).await, Client::logged_in(&here, 2).await);
    let mut stays = Client::logged_in(&here, 3).await;
    let stolen = [leaves.clone(), everywhere.clone()];
    let () = redis::cmd("SAVE").query_async(&mut server.client().await).await.expect("saved");
    assert_eq!(leaves.post("/logout").await.status, StatusCode::OK);
    assert_eq!(everywhere.get("/me").await.body, "2");
    assert_eq!(first.sessions().revoke_all(2).await.expect("up"), 1);
    // A login of after the snapshot replaces the secret of the session that is in it.
    assert_eq!(stays.post("/login/3").await.status, StatusCode::OK);

    server.kill();
    assert_eq!(stays.get("/me").await.body, "3");
    server.launch(); // with the sessions of before the logouts
    eventually("both are back", async || first.status() == Status::Up && second.status() == Status::Up).await;
    for stolen in &stolen {
        assert_eq!(stolen.clone().get("/me").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(stolen.at(&there).get("/me").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(stays.at(&there).get("/me").await.body, "3", "with the secret of after the snapshot");
}

#[tokio::test]
async fn with_a_journal_a_logout_of_the_outage_survives_the_instance_that_made_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let start = async |url: &str| {
        // The tasks of the instance before it end a moment after it.
        let mut journal = None;
        eventually("nobody uses the journal", async || {
            journal = FileJournal::open(dir.path().join("logouts")).ok();
            journal.is_some()
        })
        .await;
        let config = SessionConfig::new().journal(journal.expect("opened"));
        Keep::builder().redis(url).sessions(config).build().expect("a valid url")
    };
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let stolen = {
        let keep = start(&server.url()).await;
        assert!(keep.ready(Duration::from_secs(10)).await);
        let mut user = Client::logged_in(&app(&keep), 42).await;
        let stolen = user.clone();
        server.kill();
        assert_eq!(user.post("/logout").await.status, StatusCode::OK);
        stolen.cookie
    };
    server.launch(); // with the session still in its append-only file
    let next = start(&server.url()).await;
    assert!(next.ready(Duration::from_secs(10)).await);
    let other = keep(&server.url()).await;
    for keep in [&next, &other] {
        let mut thief = Client::new(&app(keep), 9);
        thief.cookie.clone_from(&stolen);
        assert_eq!(thief.get("/me").await.status, StatusCode::UNAUTHORIZED);
    }
}
