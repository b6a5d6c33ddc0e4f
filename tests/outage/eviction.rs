//! What a full server drops: the reason for the eviction policy that the docs ask for.

use std::time::Duration;

use http::StatusCode;
use towerkeep::Status;
use tracing::Level;

use crate::{
    app::{Client, app, keep, patient},
    logs::Lines,
    support::{RedisServer, eventually},
};

const USERS: usize = 200;
/// Pages of 20 KB, three times what the server has room for.
const PAGES: std::ops::Range<u64> = 20_000..21_000;

/// How many users another instance still knows after cached pages have filled the server some times over.
async fn users_left(policy: &str) -> usize {
    let server = RedisServer::start_with(&["--maxmemory", "7mb", "--maxmemory-policy", policy]);
    let router = app(&patient(&server.url()).await);
    let mut users = Vec::new();
    for user in 0..USERS as u64 {
        users.push(Client::logged_in(&router, user).await);
    }
    let mut reader = Client::new(&router, 250);
    for n in PAGES {
        assert_eq!(reader.get(&format!("/page/{n}")).await.status, StatusCode::OK);
    }
    assert_ne!(server.info("evicted_keys").await, "0", "{policy}: a server that was never full shows nothing");
    let elsewhere = app(&patient(&server.url()).await);
    let mut left = 0;
    for user in users {
        left += usize::from(user.at(&elsewhere).get("/me").await.status == StatusCode::OK);
    }
    left
}

#[tokio::test]
async fn cached_pages_make_room_for_each_other_where_what_expires_soonest_goes() {
    assert_eq!(users_left("volatile-ttl").await, USERS);
}

#[tokio::test]
async fn cached_pages_drive_sessions_out_where_any_key_goes() {
    let left = users_left("allkeys-lru").await;
    assert!(left < USERS / 4, "{left} of {USERS} left: the warning would be for nothing");
}

#[tokio::test]
async fn a_policy_that_drops_any_key_is_told_once() {
    let (lines, _guard) = Lines::listen().await;
    let mut server = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lfu"]);
    let keep = keep(&server.user_url()).await;
    let told = || lines.at(Level::WARN).into_iter().filter(|line| line.contains("maxmemory-policy")).count();
    eventually("the policy is told", async || told() == 1).await;
    assert!(lines.at(Level::WARN).iter().any(|line| line.contains("allkeys-lfu")), "{:?}", lines.at(Level::WARN));
    for _ in 0..2 {
        server.kill();
        eventually("redis is gone", async || keep.status() == Status::Down).await;
        server.launch();
        assert!(keep.ready(Duration::from_secs(10)).await);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(told(), 1, "{:?}", lines.at(Level::WARN));
}

#[tokio::test]
async fn who_may_not_ask_for_the_policy_is_told_nothing() {
    let (lines, _guard) = Lines::listen().await;
    let server = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru"]);
    let narrow = ["SETUSER", "towerkeep", "-info"];
    redis::cmd("ACL").arg(&narrow).exec_async(&mut server.client().await).await.expect("set");
    let keep = keep(&server.user_url()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(keep.status(), Status::Up);
    assert_eq!((lines.at(Level::WARN), lines.at(Level::ERROR)), (vec![], vec![]));
}
