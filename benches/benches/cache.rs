//! Cache hits: in memory beside axum-response-cache and http-cache-tower-server, in Redis beside a bare MGET.

use std::time::Duration;

use axum::{Router, body::Body, extract::State, routing::get};
use http::Request;
use towerkeep::Keep;
use towerkeep_benches::{
    Contender, RedisServer,
    cache_apps::{bare, http_cache, ours, ours_alone, simple},
    compare,
};

const ROUNDS: usize = 7;
const PER_ROUND: usize = 2_000;
const BODY: usize = 2_048;

fn request() -> Request<Body> {
    Request::get("/items?page=2").header("host", "shop.example").body(Body::empty()).expect("a request")
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let memory = Keep::in_memory();
    compare(
        "cache hit in memory, 2 KiB",
        ROUNDS,
        PER_ROUND * 5,
        None,
        vec![
            Contender::router("handler without a cache", bare(), request),
            Contender::router("towerkeep", ours(&memory), request),
            Contender::router("towerkeep, the cache layer alone", ours_alone(&memory), request),
            Contender::router("axum-response-cache 0.5", simple(), request),
            Contender::router("http-cache-tower-server 0.2", http_cache(), request),
        ],
    )
    .await;

    let server = RedisServer::start();
    let keep = Keep::builder().redis(&server.url()).build().expect("a valid url");
    assert!(keep.ready(Duration::from_secs(5)).await);
    let mut connection = server.client().await;
    redis::cmd("SET").arg("floor:0").arg("x".repeat(BODY)).exec_async(&mut connection).await.expect("stored");
    let read = |State(mut connection): State<redis::aio::MultiplexedConnection>| async move {
        let (_, body): (Option<Vec<u8>>, Vec<u8>) =
            redis::cmd("MGET").arg("floor:v").arg("floor:0").query_async(&mut connection).await.expect("read");
        body
    };
    let floor = Router::new().route("/items", get(read)).with_state(connection);
    compare(
        "cache hit in Redis, 2 KiB",
        ROUNDS,
        PER_ROUND,
        Some(&server),
        vec![Contender::router("bare MGET", floor, request), Contender::router("towerkeep", ours(&keep), request)],
    )
    .await;
}
