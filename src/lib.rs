//! Tower layers that stand when Redis falls.

#[cfg(any(feature = "session", feature = "rate-limit", feature = "cache"))]
mod background;
#[cfg(feature = "cache")]
pub mod cache;
pub mod client_ip;
pub mod clock;
#[cfg(feature = "redis")]
pub mod conn;
mod error;
mod identity;
pub mod key;
mod outcome;
#[cfg(feature = "rate-limit")]
pub mod rate_limit;
mod request_key;
mod service;
#[cfg(feature = "session")]
pub mod session;
pub mod store;
mod telemetry;

pub use client_ip::{ClientIp, PeerAddr};
pub use error::{Error, OnOutage, Result};
#[cfg(feature = "axum")]
pub use identity::{CurrentUser, CurrentUserRejection};
pub use identity::{Identify, Identity, Principal, UserId};
pub use outcome::Status;
pub use request_key::{Key, KeyValue};
pub use store::{Cx, StoreFuture};
