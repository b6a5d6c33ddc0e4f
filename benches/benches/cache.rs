//! Cache hits: in memory beside axum-response-cache and http-cache-tower-server, in Redis beside a bare MGET.

use std::time::{Duration, Instant};

use axum::{Router, body::Body, error_handling::HandleErrorLayer, extract::State, routing::get};
use axum_response_cache::CacheLayer;
use http::{Request, header::CACHE_CONTROL};
use http_body_util::BodyExt;
use http_cache_tower_server::ServerCacheLayer;
use tower::{ServiceBuilder, ServiceExt};
use towerkeep::{Keep, cache::Purged, clock::minutes};
use towerkeep_benches::{Contender, RedisServer, compare};

const ROUNDS: usize = 7;
const PER_ROUND: usize = 2_000;
const BODY: usize = 2_048;

fn request() -> Request<Body> {
    Request::get("/items?page=2").header("host", "shop.example").body(Body::empty()).expect("a request")
}

async fn items() -> ([(http::HeaderName, &'static str); 1], String) {
    ([(CACHE_CONTROL, "max-age=600")], "x".repeat(BODY))
}

fn ours(keep: &Keep) -> Router {
    let cached = get(items).layer(keep.cache().public("items").ttl(minutes(10)));
    Router::new().route("/items", cached).layer(ServiceBuilder::new().layer(keep.layer()))
}

/// Entries under the tag that is purged.
const TAGGED: usize = 100_000;
/// How long another instance may take to know.
const KNOWN_WITHIN: Duration = Duration::from_millis(100);

async fn instance(server: &RedisServer) -> (Keep, Router) {
    let keep = Keep::builder().redis(&server.url()).deadline(Duration::from_secs(5)).budget(Duration::from_secs(50));
    let keep = keep.build().expect("a valid url");
    assert!(keep.ready(Duration::from_secs(5)).await);
    let tagged = get(async || "x").layer(keep.cache().public("many").ttl(minutes(10)).tags(["all"]));
    let router = Router::new().route("/many/{n}", tagged);
    (keep, router)
}

/// Whether the answer came from the store.
async fn is_hit(router: &Router, n: usize) -> bool {
    let request = Request::get(format!("/many/{n}")).header("host", "shop.example").body(Body::empty()).expect("valid");
    let response = router.clone().oneshot(request).await.expect("infallible");
    let is_hit = response.headers()["cache-status"].to_str().expect("ascii").starts_with("towerkeep; hit");
    response.into_body().collect().await.expect("a body");
    is_hit
}

/// Purges a tag of many entries: what is sent for it, and when another instance knows.
async fn purge_a_tag() {
    let server = RedisServer::start();
    let ((one, first), (_two, second)) = (instance(&server).await, instance(&server).await);
    for n in (0..TAGGED).step_by(32) {
        futures_util::future::join_all((n..n + 32).map(|n| is_hit(&first, n))).await;
    }
    let mut kept = 0;
    for n in (0..TAGGED).step_by(100) {
        kept += usize::from(is_hit(&second, n).await);
    }
    println!("\npurge of a tag with {TAGGED} entries, {} % of them kept (7 rounds)", kept * 100 / (TAGGED / 100));
    let (mut sending, mut knowing, mut commands) = (Vec::new(), Vec::new(), Default::default());
    for n in 0..7 {
        while !is_hit(&second, n).await {}
        let began = Instant::now();
        let purge = async { assert_eq!(one.cache().purge_tags(["all"]).await, Purged::Everywhere) };
        commands = server.commands_during(purge).await;
        sending.push(began.elapsed());
        let began = Instant::now();
        while is_hit(&second, n).await {
            assert!(began.elapsed() < KNOWN_WITHIN, "another instance still serves it");
        }
        knowing.push(began.elapsed());
    }
    sending.sort();
    knowing.sort();
    println!("sent, answered and counted in {:?} (at most {:?}); {commands:?}", sending[3], sending[6]);
    println!(
        "the first lookup of another instance that misses ended {:?} later (at most {:?})",
        knowing[3], knowing[6]
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let memory = Keep::in_memory();
    let simple = Router::new().route("/items", get(items).layer(CacheLayer::with_lifespan(Duration::from_secs(600))));
    let manager = http_cache::MokaManager::default();
    let http_cache = Router::new().route("/items", get(items)).layer(
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(async |_| http::StatusCode::INTERNAL_SERVER_ERROR))
            .layer(ServerCacheLayer::new(manager)),
    );
    compare(
        "cache hit in memory, 2 KiB",
        ROUNDS,
        PER_ROUND * 5,
        None,
        vec![
            Contender::router("handler without a cache", Router::new().route("/items", get(items)), request),
            Contender::router("towerkeep", ours(&memory), request),
            Contender::router("axum-response-cache 0.5", simple, request),
            Contender::router("http-cache-tower-server 0.2", http_cache, request),
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
    purge_a_tag().await;
}
