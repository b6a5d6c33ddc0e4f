//! What a server drops when its memory is full, as far as it may be asked.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use redis::{Pipeline, Value};

use super::{link::Link, probe, supervisor::Shared};

/// Warns of a policy that drops sessions to make room for cached pages: once, and once more if it was another one meanwhile.
///
/// Who may not ask is told nothing: the rules for access in the docs allow `INFO`, narrower ones need not.
pub(super) async fn warn(shared: &Shared, link: &Link, patience: Duration) {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("INFO").arg("memory");
    let Ok(answers) = probe::exchange(link, &pipeline, 1, patience).await else { return };
    let Some(info) = answers.first().and_then(text) else { return };
    let Some(policy) = policy(&info) else { return };
    let is_blind = policy.starts_with("allkeys-");
    if is_blind && !shared.evicts_blindly.load(Relaxed) {
        tracing::warn!(
            server = %shared.config.address(),
            policy,
            "redis drops sessions and leaderboards as readily as cached pages once its memory is full; \
             set maxmemory-policy to volatile-ttl, which drops the pages first"
        );
    }
    shared.evicts_blindly.store(is_blind, Relaxed);
}

fn text(value: &Value) -> Option<String> {
    // An error of the server's is none.
    redis::from_redis_value_ref(value).ok()
}

fn policy(info: &str) -> Option<&str> {
    info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_read_among_other_lines() {
        let info = "# Memory\r\nused_memory:1\r\nmaxmemory_policy:allkeys-lru\r\nmem_fragmentation_ratio:1.2\r\n";
        assert_eq!(policy(info), Some("allkeys-lru"));
        assert_eq!(policy("# Memory\r\nused_memory:1\r\n"), None);
    }
}
