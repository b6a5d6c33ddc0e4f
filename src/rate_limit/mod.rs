//! Rate limits: how often a client may ask, counted over all instances.
//!
//! [`RateLimits`] makes layers and answers handlers; [`Policy`] says how much; [`Key`](crate::Key) says who.
//!
//! 1. A request is judged before the wrapped service sees it. All policies of a layer are decided in one atomic trip;
//!    when one denies, none is charged.
//! 2. A refused request is answered 429 with `Retry-After`, the fields `RateLimit` and `RateLimit-Policy`
//!    (draft-ietf-httpapi-ratelimit-headers) and a problem document (RFC 9457), never to be cached.
//! 3. The client is its IP address unless [`by`](RateLimitLayer::by) says otherwise. Behind a proxy the address must
//!    come from [`TrustedProxies`](crate::client_ip::TrustedProxies), or all clients share the proxy's limit.
//! 4. The same policy mounted twice, around the whole application and again at a route, charges a request once.
//! 5. [`Policy::concurrency`] holds how many requests of a client are under way at once, in each instance.
//! 6. A sliding window admits at most its limit in any span of its period; a token bucket at most its capacity plus
//!    its rate. When a Redis replica takes over, the writes that had not reached it are lost.
//!
//! # When Redis is down
//! Each policy's [`on_outage`](Policy::on_outage) decides: this instance limits alone to its share (the default), requests
//! pass, or they are refused as unavailable. See [`FallbackRateStore`].
//!
//! # Example
//! ```
//! use http::{Request, Response, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use towerkeep::{Key, clock::{Clock, minutes}, rate_limit::{MemoryRateStore, Policy, RateLimits}};
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! const SEARCH: Policy = Policy::sliding_window("search", 1, minutes(1));
//!
//! let limits = RateLimits::new(MemoryRateStore::new(Clock::system()));
//! let service = ServiceBuilder::new()
//!     .layer(limits.layer(SEARCH).by(Key::global()))
//!     .service(service_fn(async |_: Request<String>| Ok::<_, std::convert::Infallible>(Response::new(String::from("found")))));
//!
//! let found = service.clone().oneshot(Request::new(String::new())).await.unwrap();
//! assert_eq!((found.status(), &found.headers()["ratelimit"]), (StatusCode::OK, &"\"search\";r=0;t=60".parse().unwrap()));
//! let refused = service.oneshot(Request::new(String::new())).await.unwrap();
//! assert_eq!((refused.status(), &refused.headers()["retry-after"]), (StatusCode::TOO_MANY_REQUESTS, &"60".parse().unwrap()));
//! # }
//! ```

mod body;
mod bucket;
mod check;
mod decide;
mod denied;
#[cfg(feature = "redis")]
mod deny_cache;
mod fallback;
mod future;
mod handle;
mod headers;
mod layer;
mod log;
mod memory;
mod policy;
mod quota;
#[cfg(feature = "redis")]
mod redis;
mod registry;
mod service;
mod shards;
mod slots;
mod store;
mod table;
mod verdict;

pub use body::ResponseBody;
pub use denied::Denied;
pub use fallback::FallbackRateStore;
pub use future::ResponseFuture;
pub use handle::RateLimits;
pub use headers::LimitHeaders;
pub use layer::RateLimitLayer;
pub use memory::MemoryRateStore;
pub use policy::{LimitOutage, Policies, Policy};
pub use quota::Quota;
#[cfg(feature = "redis")]
pub use redis::RedisRateStore;
pub use service::RateLimitService;
pub use store::RateStore;
pub use verdict::{Charge, Decision, Outcome, Verdict};
