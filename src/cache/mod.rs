//! A response cache in front of a handler: RFC 9111, tags, and one fill at a time.
//!
//! 1. **Sharing is the constructor**: [`ResponseCache::public`], [`per_user`](ResponseCache::per_user),
//!    [`per`](ResponseCache::per). There is no default that could show one user another's response.
//! 2. What the handler says in `Cache-Control` or `Expires` wins; [`ttl`](CacheLayer::ttl) is for responses that say
//!    nothing. `CDN-Cache-Control` (RFC 9213), which speaks to caches like this one alone, hides both; it is passed on.
//!    `Set-Cookie`, 429 and rate-limit fields are never stored by the safe profile, [`CachePolicy::shared`].
//! 3. A hit is one command to Redis and copies no body. `HEAD` and conditional requests are answered from the
//!    entry, and so is a single range of a stored 200; other ranges are the handler's. A stale response with an `ETag` or
//!    `Last-Modified` of the handler's is kept as long again as it was fresh, ten minutes at least and a day at most, and the
//!    handler is asked whether it still holds: its 304 renews the entry. Past its freshness a response serves while it is
//!    refreshed in the background ([`stale_while_revalidate`](CacheLayer::stale_while_revalidate): `ttl=-3`), and where the
//!    handler fails ([`stale_if_error`](CacheLayer::stale_if_error)), for as long as the layer or the response says (RFC 5861).
//! 4. One request at a time fills a URL, over all instances of a Redis; others wait up to two seconds for it. The body
//!    streams to the client while it is kept; over [`max_body`](CacheLayer::max_body) it streams on and is not kept.
//! 5. Purging a tag is one small write, no scan; a purge while the handler runs wins over what the handler read before.
//!    An unsafe method, and one that is not known, purges its URL when it succeeds or redirects, and the URLs of its own host
//!    that `Location` and `Content-Location` name (RFC 9111, 4.4).
//! 6. Every response says what became of it: `Cache-Status: towerkeep; hit; ttl=42` (RFC 9211).
//!
//! # When Redis is down
//! Requests pass to the handler, `Cache-Status: towerkeep; fwd=bypass; detail=unavailable`, without a log line each. Purges
//! are kept (at most 1,024, then everything is purged) and replayed before Redis serves a lookup again.
//!
//! # Example
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use towerkeep::{cache::{MemoryCacheStore, ResponseCache}, clock::Clock};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let cache = ResponseCache::new(MemoryCacheStore::new(Clock::system()));
//! let handler = service_fn(async |request: Request<()>| {
//!     let mut response = Response::new(Full::from("made by the handler"));
//!     if request.uri().path() == "/secret" {
//!         response.headers_mut().insert("cache-control", "no-store".parse().unwrap());
//!     }
//!     Ok::<_, Infallible>(response)
//! });
//! let service = ServiceBuilder::new().layer(cache.public("demo").ttl(Duration::from_secs(60))).service(handler);
//! let said = async |path: &str| {
//!     let response = service.clone().oneshot(Request::get(path).body(()).unwrap()).await.unwrap();
//!     let said = response.headers()["cache-status"].to_str().unwrap().to_owned();
//!     http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
//!     said
//! };
//! assert_eq!(said("/").await, "towerkeep; fwd=miss; stored");
//! assert!(said("/").await.starts_with("towerkeep; hit; ttl="));
//! assert_eq!(said("/secret").await, "towerkeep; fwd=miss; detail=no-store");
//! # }
//! ```

mod answer;
mod ask;
mod body;
mod claimed;
mod epochs;
mod figures;
mod fill;
mod flight;
mod frame;
mod future;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod hint;
mod hosts;
mod invalidate;
mod kept;
mod layer;
mod memory;
mod outcome;
mod place;
mod policy;
#[cfg(feature = "redis")]
mod redis;
mod reference;
mod refresh;
mod service;
mod settings;
mod store;
mod tag;
mod validate;
mod vary;

pub use body::ResponseBody;
pub use epochs::Stamp;
pub use frame::Entry;
pub use future::ResponseFuture;
pub use handle::ResponseCache;
pub use hint::CacheHint;
pub(crate) use hosts::Hosts;
pub use layer::CacheLayer;
pub use memory::MemoryCacheStore;
pub use outcome::{CacheOutcome, CacheStats};
pub use place::Place;
pub use policy::CachePolicy;
#[cfg(feature = "redis")]
pub use redis::RedisCacheStore;
pub use service::CacheService;
pub use store::{CacheStore, Claim, Lookup, Purge, Purged, Release, Stored, Ticket, Token};
pub use tag::{Tag, Tags};
pub use vary::Variant;

/// Larger bodies are not kept: on the shared connection a big value holds up the small ones.
const MAX_BODY: usize = 1 << 20;
