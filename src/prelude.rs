//! What most services name: `use towerkeep::prelude::*;`

#[cfg(feature = "axum")]
pub use crate::CurrentUser;
#[cfg(all(feature = "cache", feature = "axum"))]
pub use crate::cache::CacheHint;
#[cfg(feature = "cache")]
pub use crate::cache::ResponseCache;
#[cfg(feature = "rate-limit")]
pub use crate::rate_limit::{Policy, Quota, RateLimits};
#[cfg(feature = "session")]
pub use crate::session::{Session, Sessions};
pub use crate::{
    ClientIp, Keep, Key, OnOutage as _, Principal, Status,
    clock::{days, hours, minutes, seconds},
};
