//! Limits: in memory beside governor and tower_governor, in Redis beside a bare script call and tower-rate-limit-redis.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, extract::State, routing::get};
use http::Request;
use tower::{ServiceBuilder, ServiceExt};
use tower_governor::{GovernorLayer, governor::GovernorConfigBuilder, key_extractor::PeerIpKeyExtractor};
use towerkeep::{Keep, PeerAddr, clock::minutes, rate_limit::Policy};
use towerkeep_benches::{Contender, RedisServer, compare};

const ROUNDS: usize = 7;
const PER_ROUND: usize = 2_000;

/// High enough that nobody is refused while we measure.
const BUCKET: Policy = Policy::token_bucket("bucket", 1_000_000_000, minutes(1));
const OTHER: Policy = Policy::token_bucket("other", 1_000_000_000, minutes(1));
const WINDOW: Policy = Policy::sliding_window("window", 1_000_000_000, minutes(1));

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), 99);

fn request() -> Request<Body> {
    let mut request = Request::get("/").body(Body::empty()).expect("a request");
    request.extensions_mut().insert(PeerAddr(PEER));
    request.extensions_mut().insert(axum::extract::ConnectInfo(PEER));
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

/// The layer alone, as the peer's is: without the one that gives each request its budget.
fn limited_alone(keep: &Keep, policy: Policy) -> Router {
    Router::new().route("/", get(async || "ok")).layer(keep.limits().layer(policy))
}

/// No layer: what a handler pays that asks by itself.
fn asked(keep: &Keep) -> Router {
    let ask = |State(keep): State<Keep>| async move {
        keep.limits().check(BUCKET, PEER.ip()).await.expect("room");
        "ok"
    };
    Router::new().route("/", get(ask)).with_state(keep.clone())
}

fn asked_governor() -> Router {
    let quota = governor::Quota::per_second(NonZeroU32::new(1_000_000_000).expect("not 0"));
    let limiter = Arc::new(governor::DefaultKeyedRateLimiter::<IpAddr>::keyed(quota));
    let ask = |State(limiter): State<Arc<governor::DefaultKeyedRateLimiter<IpAddr>>>| async move {
        limiter.check_key(&PEER.ip()).expect("room");
        "ok"
    };
    Router::new().route("/", get(ask)).with_state(limiter)
}

#[derive(Clone)]
struct ByPeer;

impl tower_rate_limit_redis::KeyResolver for ByPeer {
    type Key = String;
    type ErrorBody = Body;
    fn key<T>(&self, request: &Request<T>) -> Result<String, http::Response<Body>> {
        let peer = request.extensions().get::<axum::extract::ConnectInfo<SocketAddr>>().expect("connected");
        Ok(peer.0.ip().to_string())
    }
}

async fn peer_in_redis(server: &RedisServer) -> Router {
    let client = redis_0_32::Client::open(server.url()).expect("a valid url");
    let layer = tower_rate_limit_redis::RateLimitLayer::builder()
        .conn(client.get_multiplexed_async_connection().await.expect("redis is up"))
        .key_resolver(ByPeer)
        .capacity(u16::MAX)
        .emission_interval(Duration::from_millis(1))
        .timeout(Duration::from_millis(300))
        .build();
    Router::new().route("/", get(async || "ok")).layer(layer)
}

/// The floor in Redis: one call of a script that counts and nothing else.
async fn bare_script(server: &RedisServer) -> Router {
    let source = "local n = redis.call('INCR', KEYS[1]) return {1, n}";
    let script = redis::Script::new(source);
    let mut connection = server.client().await;
    let _: () = redis::cmd("SCRIPT").arg("LOAD").arg(source).query_async(&mut connection).await.expect("loaded");
    let call = |State((mut connection, script)): State<(redis::aio::MultiplexedConnection, redis::Script)>| async move {
        let mut call = redis::cmd("EVALSHA");
        let call = call.arg(script.get_hash()).arg(1).arg("floor");
        let _: Vec<i64> = call.query_async(&mut connection).await.expect("called");
        "ok"
    };
    Router::new().route("/", get(call)).with_state((connection, script))
}

/// The server's CPU time so far.
async fn cpu(server: &RedisServer) -> f64 {
    let mut seconds = 0.0;
    for field in ["used_cpu_user", "used_cpu_sys"] {
        seconds += server.info(field).await.parse::<f64>().expect("a number");
    }
    seconds
}

/// The server's CPU for one check, `at_once` of them under way: the median of the rounds.
async fn server_cpu(server: &RedisServer, name: &str, router: &Router, at_once: usize) -> f64 {
    let mut micros = Vec::new();
    for _ in 0..ROUNDS {
        let before = cpu(server).await;
        for _ in 0..PER_ROUND / at_once {
            let all = (0..at_once).map(|_| router.clone().oneshot(request()));
            let all = futures_util::future::join_all(all).await;
            assert!(all.into_iter().all(|answer| answer.expect("infallible").status() == 200));
        }
        micros.push((cpu(server).await - before) * 1e6 / PER_ROUND as f64);
    }
    micros.sort_by(f64::total_cmp);
    println!("{name:<46} {:>9.2} {:>17}", micros[ROUNDS / 2], format!("{:.2}..{:.2}", micros[0], micros[ROUNDS - 1]));
    micros[ROUNDS / 2]
}

async fn compare_in_memory() {
    let memory = Keep::in_memory();
    compare(
        "limiter in memory",
        ROUNDS,
        PER_ROUND * 10,
        None,
        vec![
            Contender::router("no layer", Router::new().route("/", get(async || "ok")), request),
            Contender::router("towerkeep token bucket, the layer alone", limited_alone(&memory, BUCKET), request),
            Contender::router("towerkeep sliding window, the layer alone", limited_alone(&memory, WINDOW), request),
            Contender::router("tower_governor 0.8", governed(), request),
            Contender::router("towerkeep token bucket, with keep.layer()", limited(&memory, BUCKET), request),
            Contender::router("towerkeep, asked by the handler", asked(&memory), request),
            Contender::router("governor 0.10, asked by the handler", asked_governor(), request),
        ],
    )
    .await;
}

async fn compare_in_redis(server: &RedisServer, keep: &Keep) {
    compare(
        "limiter in Redis",
        ROUNDS,
        PER_ROUND,
        Some(server),
        vec![
            Contender::router("bare EVALSHA of an INCR", bare_script(server).await, request),
            Contender::router("towerkeep token bucket", limited(keep, BUCKET), request),
            Contender::router("towerkeep two policies", limited(keep, [BUCKET, OTHER]), request),
            Contender::router("towerkeep sliding window", limited(keep, WINDOW), request),
            Contender::router("tower-rate-limit-redis 1.0, a bucket", peer_in_redis(server).await, request),
        ],
    )
    .await;
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    compare_in_memory().await;
    let server = RedisServer::start();
    let keep = Keep::builder().redis(&server.url()).deadline(Duration::from_secs(5)).budget(Duration::from_secs(50));
    let keep = keep.build().expect("a valid url");
    assert!(keep.ready(Duration::from_secs(5)).await);
    compare_in_redis(&server, &keep).await;

    println!("\nthe server's CPU for one request, us ({ROUNDS} rounds of {PER_ROUND})");
    let [one, two] = [limited(&keep, BUCKET), limited(&keep, [BUCKET, OTHER])];
    let alone = server_cpu(&server, "one policy, one request at a time", &one, 1).await;
    let both = server_cpu(&server, "two policies, one request at a time", &two, 1).await;
    println!("two policies are {:.2}x of one", both / alone);
    let at_once = server_cpu(&server, "one policy, 64 requests at once", &one, 64).await;
    println!("64 at once are {:.2}x of one at a time", at_once / alone);
    server_cpu(&server, "tower-rate-limit-redis, 64 requests at once", &peer_in_redis(&server).await, 64).await;
}
