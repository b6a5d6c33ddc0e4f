//! Two instances on one Redis: sessions, limits and purges are shared.

use http::StatusCode;

use crate::{
    app::{Client, app, patient},
    support::{RedisServer, eventually},
};

#[tokio::test]
async fn a_logout_on_one_refuses_the_next_request_on_the_other() {
    let server = RedisServer::start();
    let (first, second) = (patient(&server.url()).await, patient(&server.url()).await);
    let (here, there) = (app(&first), app(&second));
    let mut user = Client::logged_in(&here, 42).await;
    let mut other = user.at(&there);
    assert_eq!(other.get("/me").await.body, "42");
    user.post("/logout").await;
    assert_eq!(other.get("/me").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn changes_made_on_both_are_all_kept() {
    let server = RedisServer::start();
    let (first, second) = (patient(&server.url()).await, patient(&server.url()).await);
    let (here, there) = (app(&first), app(&second));
    let user = Client::logged_in(&here, 42).await;
    let mut work = tokio::task::JoinSet::new();
    for n in 0..20 {
        let mut client = user.at(if n % 2 == 0 { &here } else { &there });
        work.spawn(async move { client.post("/count").await.status });
    }
    assert!(work.join_all().await.iter().all(|status| *status == StatusCode::OK));
    let mut user = user;
    assert_eq!(user.post("/count").await.body, "21");
}

#[tokio::test]
async fn a_limit_counts_on_both() {
    let server = RedisServer::start();
    let (first, second) = (patient(&server.url()).await, patient(&server.url()).await);
    let (mut here, mut there) = (Client::new(&app(&first), 7), Client::new(&app(&second), 7));
    for _ in 0..2 {
        assert_eq!(here.get("/five").await.status, StatusCode::OK);
        assert_eq!(there.get("/five").await.status, StatusCode::OK);
    }
    assert_eq!(here.get("/five").await.status, StatusCode::OK);
    assert_eq!(there.get("/five").await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_purge_on_one_is_seen_on_the_other() {
    let server = RedisServer::start();
    let (first, second) = (patient(&server.url()).await, patient(&server.url()).await);
    let (mut here, mut there) = (Client::new(&app(&first), 7), Client::new(&app(&second), 7));
    // Both may fill it at first: then both hit one entry.
    let mut shared = String::new();
    let both_hit = async || {
        let (first, second) = (here.get("/clock").await, there.get("/clock").await);
        shared.clone_from(&second.body);
        [&first, &second].iter().all(|answer| answer.header("cache-status").contains("; hit"))
            && first.body == second.body
    };
    eventually("both answer from one entry", both_hit).await;
    assert_eq!(here.post("/purge").await.body, "everywhere");
    eventually("the other instance sees the purge", async || there.get("/clock").await.body != shared).await;
}
