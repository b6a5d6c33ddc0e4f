//! What `Redis-Status` says of one request, with Redis and without it.

use std::time::{Duration, Instant};

use http::StatusCode;
use towerkeep::Status;

use crate::{
    app::{Client, app, keep, patient},
    elsewhere::listeners,
    support::{RedisServer, eventually},
};

#[tokio::test]
async fn each_layer_tells_what_it_did_in_place_of_redis() {
    let mut server = RedisServer::start();
    let keep = patient(&server.url()).await;
    let mut user = Client::logged_in(&app(&keep), 42).await;
    for path in ["/me", "/clock", "/five", "/strict", "/open"] {
        let answer = user.get(path).await;
        assert_eq!((path, answer.header("redis-status")), (path, "up"));
    }
    server.kill();
    eventually("the outage is noticed", async || keep.status() == Status::Down).await;
    for (path, told) in [
        ("/me", "degraded; session=memory"),
        ("/clock", "degraded; cache=skipped"),
        ("/five", "degraded; rate-limit=local"),
        ("/open", "degraded; rate-limit=skipped"),
        ("/strict", "degraded; rate-limit=denied"),
        ("/nowhere", "degraded"),
    ] {
        assert_eq!((path, user.get(path).await.header("redis-status")), (path, told));
    }
    assert_eq!(user.post("/count").await.header("redis-status"), "degraded; session=memory");

    let mut stranger = Client::new(&app(&keep), 9);
    assert_eq!(
        stranger.get("/me").await.header("redis-status"),
        "degraded",
        "without a cookie there is nothing to ask"
    );
    let elsewhere = towerkeep::Keep::builder().redis(&server.url()).build().expect("never waits");
    let unknown = user.at(&app(&elsewhere)).get("/me").await;
    assert_eq!(unknown.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(unknown.header("redis-status"), "degraded; session=unavailable");
    server.launch();
    eventually("redis is reached again", async || keep.status() == Status::Up).await;
    assert_eq!(user.get("/me").await.header("redis-status"), "up");
}

#[tokio::test]
async fn a_server_that_refuses_writes_is_read() {
    let server = RedisServer::start();
    let keep = patient(&server.url()).await;
    let mut user = Client::logged_in(&app(&keep), 42).await;
    let page = user.get("/page/1").await.body;
    let replica = async |words: &[&str]| {
        redis::cmd("REPLICAOF").arg(words).exec_async(&mut server.client().await).await.expect("set");
    };
    replica(&["127.0.0.1", "1"]).await;
    user.get("/five").await; // the first that is refused a write
    eventually("writes are refused", async || keep.status() == Status::Degraded).await;
    for (path, told) in [("/me", "degraded"), ("/page/1", "degraded"), ("/five", "degraded; rate-limit=local")] {
        assert_eq!((path, user.get(path).await.header("redis-status")), (path, told));
    }
    let cached = user.get("/page/1").await;
    assert!(cached.header("cache-status").contains("; hit"), "{}", cached.header("cache-status"));
    assert_eq!(cached.body, page);
    assert_eq!(user.post("/count").await.header("redis-status"), "degraded; session=memory");
    replica(&["NO", "ONE"]).await;
    eventually("writes are taken", async || keep.status() == Status::Up).await;
    assert_eq!(user.post("/count").await.body, "2");
}

#[tokio::test]
async fn clients_are_told_nothing_unless_somebody_asks_for_it() {
    use axum::{Router, body::Body, routing::get};
    use tower::ServiceExt;
    let keep = towerkeep::Keep::in_memory();
    let routes = Router::new().route("/", get(async || "ok"));
    for (layer, told) in [(keep.layer(), None), (keep.layer().redis_status(true), Some("in_memory"))] {
        let request = http::Request::builder().uri("/").body(Body::empty()).expect("a request");
        let response = routes.clone().layer(layer).oneshot(request).await.expect("infallible");
        assert_eq!(response.headers().get("redis-status").map(|value| value.to_str().expect("ascii")), told);
    }
}

#[tokio::test]
async fn an_instance_that_nobody_asks_notices_at_once_that_redis_is_gone() {
    let mut server = RedisServer::start();
    let keep = keep(&server.url()).await;
    eventually("it listens", async || listeners(&server).await == 1).await;
    let _turn = crate::turns::alone().await;
    server.kill();
    let killed = Instant::now();
    eventually("the drop is noticed", async || keep.status() == Status::Down).await;
    // By what the idle connection in use is asked once a second it would be found in half a second or so.
    assert!(killed.elapsed() < Duration::from_millis(200), "{:?}", killed.elapsed());
}
