//! What each request needs from all layers together: a budget for Redis, the client's address, one status.
//!
//! [`FallbackLayer`] comes from `keep.layer()` and stands outside of the other layers:
//!
//! 1. It gives the request a budget of time spent waiting for Redis, 50 ms over all layers by default. The
//!    handler's own time is not counted. A spent budget is an outage to whoever asks next.
//! 2. It resolves the client's address once, by the word of trusted proxies only.
//! 3. It notes how Redis stands when the request arrives, as a [`Status`](crate::Status) in the extensions.
//! 4. With [`redis_status(true)`](FallbackLayer::redis_status) the response says in `Redis-Status` what was done in
//!    Redis' place; a handler reads the same from [`Cx::noted`](crate::Cx::noted).
//!
//! Mounted twice, the outer one counts.
//!
//! # When Redis is down
//! Nothing changes here. Sessions that this instance has seen stay valid, caches are skipped, limits go on locally or
//! by their policy's choice: each concern's own rule, in its own documentation.
//!
//! ```
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use towerkeep::{ClientIp, Keep, PeerAddr, Status};
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let keep = Keep::builder().trust_proxies(["10.0.0.0/8"]).build().unwrap();
//! let service = ServiceBuilder::new().layer(keep.layer()).service(service_fn(async |request: http::Request<()>| {
//!     let ip = ClientIp::of(request.extensions()).unwrap();
//!     assert_eq!(request.extensions().get::<Status>(), Some(&Status::InMemory));
//!     Ok::<_, std::convert::Infallible>(http::Response::new(ip.to_string()))
//! }));
//!
//! let proxy: std::net::SocketAddr = "10.0.0.1:80".parse().unwrap();
//! let mut request = http::Request::builder().header("x-forwarded-for", "203.0.113.7").body(()).unwrap();
//! request.extensions_mut().insert(PeerAddr(proxy));
//! assert_eq!(service.oneshot(request).await.unwrap().into_body(), "203.0.113.7");
//! # }
//! ```

mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use layer::FallbackLayer;
pub use service::FallbackService;
