//! What the test binaries share: real servers, faults, and waiting for a condition.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each binary uses a part of it")]

pub mod load;
pub mod monitor;
pub mod proxy;
pub mod redis_server;

use std::time::{Duration, Instant};

pub use load::Load;
pub use monitor::Monitor;
pub use proxy::{FaultProxy, Mode};
pub use redis_server::RedisServer;

/// Waits until `condition` holds; panics with `what` after ten seconds.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "waited ten seconds for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
