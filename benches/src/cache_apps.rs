//! One handler, behind our cache, behind those of peers, and behind none.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use axum::{Router, error_handling::HandleErrorLayer, response::IntoResponse, routing::get};
use axum_response_cache::CacheLayer;
use http::{HeaderName, StatusCode, header::CACHE_CONTROL};
use http_cache_tower_server::ServerCacheLayer;
use tower::ServiceBuilder;
use towerkeep::{Keep, clock::minutes};

const BODY: usize = 2_048;
/// By which a stored response is told from a new one.
pub const CALL: HeaderName = HeaderName::from_static("x-call");

async fn items() -> impl IntoResponse {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Relaxed).to_string();
    ([(CACHE_CONTROL, "max-age=600".to_owned()), (CALL, call)], "x".repeat(BODY))
}

/// The handler alone.
pub fn bare() -> Router {
    Router::new().route("/items", get(items))
}

/// With our cache in memory, inside of `keep.layer()`.
pub fn ours(keep: &Keep) -> Router {
    let cached = get(items).layer(keep.cache().public("items").ttl(minutes(10)));
    Router::new().route("/items", cached).layer(ServiceBuilder::new().layer(keep.layer()))
}

/// With our cache in memory and nothing else, as the peers are mounted.
pub fn ours_alone(keep: &Keep) -> Router {
    Router::new().route("/items", get(items).layer(keep.cache().public("items").ttl(minutes(10))))
}

/// With axum-response-cache.
pub fn simple() -> Router {
    Router::new().route("/items", get(items).layer(CacheLayer::with_lifespan(Duration::from_secs(600))))
}

/// With http-cache-tower-server over moka.
pub fn http_cache() -> Router {
    bare().layer(
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(async |_| StatusCode::INTERNAL_SERVER_ERROR))
            .layer(ServerCacheLayer::new(http_cache::MokaManager::default())),
    )
}
