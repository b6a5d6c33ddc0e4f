//! Limits through an outage: a local share, skipped, or denied.

use http::StatusCode;
use towerkeep::Status;

use crate::{
    app::{Client, app, keep},
    support::{RedisServer, eventually},
};

#[tokio::test]
async fn an_outage_grants_no_fresh_quota() {
    let mut server = RedisServer::start();
    let keep = keep(&server.url()).await;
    let mut client = Client::new(&app(&keep), 7);
    for _ in 0..4 {
        assert_eq!(client.get("/five").await.status, StatusCode::OK);
    }
    server.kill();
    assert_eq!(client.get("/five").await.status, StatusCode::OK, "the fifth, counted locally");
    let denied = client.get("/five").await;
    assert_eq!(denied.status, StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = denied.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
}

#[tokio::test]
async fn two_instances_share_what_is_left() {
    let mut server = RedisServer::start();
    let (first, second) = (keep(&server.url()).await, keep(&server.url()).await);
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await; // both have beaten and counted each other
    let mut client = Client::new(&app(&first), 7);
    server.kill();
    let mut admitted = 0;
    for _ in 0..10 {
        admitted += usize::from(client.get("/five").await.status == StatusCode::OK);
    }
    assert_eq!(admitted, 3, "half of five, rounded up");
    drop(second);
}

#[tokio::test]
async fn a_policy_decides_for_itself() {
    let mut server = RedisServer::start();
    let keep = keep(&server.url()).await;
    let mut client = Client::new(&app(&keep), 7);
    server.kill();
    let strict = client.get("/strict").await;
    assert_eq!(strict.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_ne!(strict.header("retry-after"), "");
    for _ in 0..20 {
        assert_eq!(client.get("/open").await.status, StatusCode::OK, "skipped");
    }
    server.launch();
    eventually("redis is reached again", async || keep.status() == Status::Up).await;
    assert_eq!(client.get("/strict").await.status, StatusCode::OK);
}

/// A refund that nobody awaits was dropped before the client library had sent it.
#[tokio::test]
async fn a_refund_reaches_redis_though_nobody_waits_for_it() {
    let server = RedisServer::start();
    let keep = keep(&server.url()).await;
    let mut client = Client::new(&app(&keep), 7);
    for _ in 0..6 {
        assert_eq!(client.get("/refunded").await.status, StatusCode::OK);
        let used = async || {
            let used: u64 = redis::cmd("ZCARD")
                .arg("tk:rl:{203.0.113.7}:two")
                .query_async(&mut server.client().await)
                .await
                .expect("a set");
            used <= 1
        };
        eventually("the charge is given back", used).await;
    }
}
