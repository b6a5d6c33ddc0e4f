//! A tag of 100,000 entries is purged: what is sent, and when another instance knows.

use std::time::{Duration, Instant};

use axum::{Router, body::Body, routing::get};
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;
use towerkeep::{Keep, cache::Purged, clock::minutes};
use towerkeep_benches::RedisServer;

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

#[tokio::main(flavor = "current_thread")]
async fn main() {
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
