//! Limits: in memory beside tower_governor, in Redis beside a bare script call.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::State, routing::get};
use http::Request;
use tower::ServiceBuilder;
use tower_governor::{GovernorLayer, governor::GovernorConfigBuilder, key_extractor::PeerIpKeyExtractor};
use towerkeep::{Keep, PeerAddr, clock::minutes, rate_limit::Policy};
use towerkeep_benches::{Contender, RedisServer, compare};

const ROUNDS: usize = 7;
const PER_ROUND: usize = 2_000;

/// High enough that nobody is refused while we measure.
const BUCKET: Policy = Policy::token_bucket("bucket", 1_000_000_000, minutes(1));
const OTHER: Policy = Policy::token_bucket("other", 1_000_000_000, minutes(1));
const WINDOW: Policy = Policy::sliding_window("window", 1_000_000_000, minutes(1));

fn request() -> Request<Body> {
    let peer: SocketAddr = "203.0.113.7:99".parse().expect("an address");
    let mut request = Request::get("/").body(Body::empty()).expect("a request");
    request.extensions_mut().insert(PeerAddr(peer));
    request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
    request
}

fn limited(keep: &Keep, policies: impl Into<towerkeep::rate_limit::Policies>) -> Router {
    let layers = ServiceBuilder::new().layer(keep.layer()).layer(keep.limits().layer(policies));
    Router::new().route("/", get(async || "ok")).layer(layers)
}

fn governed() -> Router {
    let config = GovernorConfigBuilder::default()
        .period(Duration::from_nanos(60))
        .burst_size(1_000_000_000)
        .key_extractor(PeerIpKeyExtractor)
        .use_headers()
        .finish()
        .expect("a valid rate");
    Router::new().route("/", get(async || "ok")).layer(GovernorLayer::new(Arc::new(config)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let memory = Keep::in_memory();
    compare(
        "limiter in memory",
        ROUNDS,
        PER_ROUND * 10,
        None,
        vec![
            Contender::router("no layer", Router::new().route("/", get(async || "ok")), request),
            Contender::router("towerkeep token bucket", limited(&memory, BUCKET), request),
            Contender::router("towerkeep sliding window", limited(&memory, WINDOW), request),
            Contender::router("tower_governor 0.8", governed(), request),
        ],
    )
    .await;

    let server = RedisServer::start();
    let keep = Keep::builder().redis(&server.url()).build().expect("a valid url");
    assert!(keep.ready(Duration::from_secs(5)).await);
    let script = redis::Script::new("local n = redis.call('INCR', KEYS[1]) return {1, n}");
    let mut connection = server.client().await;
    let _: () = redis::cmd("SCRIPT")
        .arg("LOAD")
        .arg("local n = redis.call('INCR', KEYS[1]) return {1, n}")
        .query_async(&mut connection)
        .await
        .expect("loaded");
    let call = |State((mut connection, script)): State<(redis::aio::MultiplexedConnection, redis::Script)>| async move {
        let _: Vec<i64> = redis::cmd("EVALSHA")
            .arg(script.get_hash())
            .arg(1)
            .arg("floor")
            .query_async(&mut connection)
            .await
            .expect("called");
        "ok"
    };
    let floor = Router::new().route("/", get(call)).with_state((connection, script));
    compare(
        "limiter in Redis",
        ROUNDS,
        PER_ROUND,
        Some(&server),
        vec![
            Contender::router("bare EVALSHA of an INCR", floor, request),
            Contender::router("towerkeep token bucket", limited(&keep, BUCKET), request),
            Contender::router("towerkeep two policies", limited(&keep, [BUCKET, OTHER]), request),
            Contender::router("towerkeep sliding window", limited(&keep, WINDOW), request),
        ],
    )
    .await;
}
