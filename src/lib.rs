//! Tower layers for Redis-backed sessions, response caching, rate limiting and graceful fallback.
//!
//! *Tower layers that stand when Redis falls.* They wrap any hyper or axum service; without Redis they work in memory,
//! and when Redis is gone each goes on by its own documented rule.
//!
//! ```no_run
//! # use axum::{Router, routing::{get, post}};
//! # use tower::ServiceBuilder;
//! # use towerkeep::prelude::*;
//! # async fn search() {}
//! # async fn ask() {}
//! # fn program() -> towerkeep::Result<()> {
//! const GENERAL: Policy = Policy::sliding_window("general", 100, minutes(1));
//! const AI: Policy = Policy::token_bucket("ai", 20, minutes(1));
//!
//! let keep = Keep::from_env()?;                       // REDIS_URL or REDIS_HOST, else in memory; never waits
//! let (limits, cache) = (keep.limits(), keep.cache());
//! let app = Router::new()
//!     .route("/search", get(search).layer(cache.per_user("search").ttl(minutes(5))))
//!     .route("/ai", post(ask).layer(limits.layer(AI).by(Key::user().or(Key::client_ip()))))
//!     .layer(ServiceBuilder::new()                    // read downwards: the first line sees the request first
//!         .layer(keep.layer())
//!         .layer(limits.layer(GENERAL))
//!         .layer(keep.sessions().layer()))
//!     .with_state(keep.clone());
//! keep.verify()?;                                     // policies or caches named twice: said before listening
//! // after serve(): keep.shutdown(seconds(5)).await
//! # let _: Router = app;
//! # Ok(())
//! # }
//! ```
//!
//! | Layer | What it does | When Redis is down |
//! |---|---|---|
//! | [`keep.layer()`](fallback) | budget for Redis, client address, one status per request | the same |
//! | [`session`] | lazy sessions: nothing is read until a handler asks | sessions seen here stay valid |
//! | [`rate_limit`] | exact sliding windows, token buckets, requests at once; several in one trip | a local share, skipped, or denied: per policy |
//! | [`cache`] | a shared cache by RFC 9111, purged by tag or user | skipped, the handler answers |
//!
//! Beside the layers, with the feature `boards`, handlers call leaderboards, trends, counters, action logs, plain values
//! and one-use tokens: `keep.leaderboard(name)`, `trending(name)`, `counters()`, `actions()`, `kv()`, `tokens()`.
//!
//! The order matters: `keep.layer()` outermost, an address limit before the sessions (a flood costs no session reads),
//! per-user limits and caches inside of them. One `ServiceBuilder` instead of several `Router::layer` calls saves a
//! box per layer.
//!
//! # Features
//! | Feature | Default | Brings |
//! |---|---|---|
//! | `session`, `rate-limit`, `cache` | yes | the layers and their memory stores |
//! | `redis` | yes | [`conn`] and the Redis stores |
//! | `metrics` | yes | counters through the `metrics` facade |
//! | `boards` | no | leaderboards, trends, counters, the action log, plain values and one-use tokens |
//! | `axum` | no | extractors and `IntoResponse` |
//! | `testing` | no | what tests of a custom store need to make sessions up |
//! | `full` | no | all of them |

// A part of the library alone leaves some of what the parts share unused.
#![cfg_attr(
    not(all(feature = "session", feature = "rate-limit", feature = "cache", feature = "redis")),
    allow(dead_code, unused_imports, unused_macros, unused_variables)
)]

#[cfg(feature = "boards")]
pub mod action_log;
mod background;
#[cfg(feature = "cache")]
pub mod cache;
pub mod client_ip;
pub mod clock;
#[cfg(feature = "redis")]
pub mod conn;
#[cfg(feature = "boards")]
pub mod counter;
mod error;
#[cfg(feature = "boards")]
mod expiring;
pub mod fallback;
pub mod health;
mod identity;
mod keep;
pub mod key;
#[cfg(feature = "boards")]
pub mod kv;
#[cfg(feature = "boards")]
pub mod leaderboard;
mod outcome;
pub mod prelude;
#[cfg(feature = "rate-limit")]
pub mod rate_limit;
mod request_key;
mod service;
#[cfg(feature = "session")]
pub mod session;
pub mod store;
mod telemetry;
#[cfg(feature = "boards")]
pub mod token;
#[cfg(feature = "boards")]
pub mod trending;

/// The book: its introduction, and its pages as modules.
#[cfg(doc)]
pub mod guide {
    #![doc = include_str!("../docs/introduction.md")]

    #[doc = include_str!("../docs/outages.md")]
    pub mod outages {}

    #[doc = include_str!("../docs/boards.md")]
    pub mod boards {}

    #[cfg(feature = "cache")]
    #[doc = include_str!("../docs/cache.md")]
    pub mod cache {}

    #[cfg(feature = "rate-limit")]
    #[doc = include_str!("../docs/limits.md")]
    pub mod limits {}

    #[doc = include_str!("../docs/redis.md")]
    pub mod redis {}

    #[doc = include_str!("../docs/sessions.md")]
    pub mod sessions {}

    #[doc = include_str!("../docs/testing.md")]
    pub mod testing {}
}

pub use client_ip::{ClientIp, PeerAddr};
pub use error::{Error, OnOutage, Result};
#[cfg(feature = "axum")]
pub use identity::{CurrentUser, CurrentUserRejection};
pub use identity::{Identify, Identity, Principal, UserId};
pub use keep::{Keep, KeepBuilder};
pub use outcome::{Detour, Status};
pub use request_key::{Key, KeyValue};
pub use store::{Cx, StoreFuture};
