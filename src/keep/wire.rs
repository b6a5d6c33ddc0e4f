//! Joins each concern's handle with the stores of the backend.

use super::Backend;
#[cfg(feature = "redis")]
use crate::health::HealthReport;
use crate::{background::Background, clock::Clock, health::Health};

pub(super) fn health(backend: &Backend) -> Health {
    match backend {
        Backend::Memory(_) => {
            let backend = backend.clone();
            Health::in_memory(move || backend.status())
        }
        #[cfg(feature = "redis")]
        Backend::Redis(redis) => {
            let redis = redis.clone();
            Health::new(move || examined(redis.clone()))
        }
    }
}

#[cfg(feature = "redis")]
async fn examined(redis: crate::conn::Redis) -> HealthReport {
    let began = tokio::time::Instant::now();
    let found = redis.examine().await;
    // As it stands now: while Redis was asked, the breaker may have heard the same.
    let (status, took) = (redis.status(), began.elapsed());
    HealthReport { status, connection: found.connection, write: found.write, read: found.read, took }
}

#[cfg(feature = "session")]
pub(super) fn sessions(
    backend: &Backend,
    config: &crate::session::SessionConfig,
    clock: &Clock,
    background: &Background,
) -> crate::session::FallbackSessionStore {
    use crate::session::{FallbackSessionStore, MemorySessionStore};
    let store = match backend {
        Backend::Memory(switch) => {
            let store = MemorySessionStore::new(clock.clone()).outage(switch.clone());
            FallbackSessionStore::new(store, config)
        }
        #[cfg(feature = "redis")]
        Backend::Redis(redis) => crate::session::RedisSessionStore::with_fallback(redis, config),
    };
    store.background(background.clone())
}

#[cfg(feature = "rate-limit")]
pub(super) fn limits(backend: &Backend, clock: &Clock, background: &Background) -> crate::rate_limit::RateLimits {
    use crate::rate_limit::{FallbackRateStore, MemoryRateStore, RateLimits};
    let store = match backend {
        Backend::Memory(switch) => {
            FallbackRateStore::in_memory(MemoryRateStore::new(clock.clone()).outage(switch.clone()))
        }
        #[cfg(feature = "redis")]
        Backend::Redis(redis) => {
            let (store, handle) = (crate::rate_limit::RedisRateStore::new(redis), redis.clone());
            FallbackRateStore::new(store, move || handle.instances())
        }
    };
    RateLimits::with_background(store.clock(clock.clone()), background.clone())
}

#[cfg(feature = "cache")]
pub(super) fn cache(
    backend: &Backend,
    is_strict: bool,
    clock: &Clock,
    background: &Background,
) -> crate::cache::ResponseCache {
    use crate::cache::{MemoryCacheStore, ResponseCache};
    match backend {
        Backend::Memory(switch) => {
            ResponseCache::over(MemoryCacheStore::new(clock.clone()).outage(switch.clone()), background.clone())
        }
        #[cfg(feature = "redis")]
        Backend::Redis(redis) => {
            use crate::cache::RedisCacheStore;
            let store = if is_strict { RedisCacheStore::strict(redis) } else { RedisCacheStore::new(redis) };
            ResponseCache::over(store, background.clone())
        }
    }
}

#[cfg(feature = "boards")]
pub(super) fn leaderboards(
    backend: &Backend,
    clock: &Clock,
    background: &Background,
) -> crate::leaderboard::Leaderboards {
    use crate::leaderboard::{Leaderboards, MemoryLeaderboardStore};
    match backend {
        Backend::Memory(switch) => {
            let store = MemoryLeaderboardStore::new(clock.clone()).outage(switch.clone());
            Leaderboards::new(store).background(background.clone())
        }
        #[cfg(feature = "redis")]
        Backend::Redis(redis) => crate::leaderboard::boards_in_redis(redis, background.clone()),
    }
}

#[cfg(feature = "boards")]
pub(super) fn counters(backend: &Backend, clock: &Clock, background: &Background) -> crate::counter::Counters {
    use crate::counter::{Counters, MemoryCounterStore};
    match backend {
        Backend::Memory(switch) => {
            let store = MemoryCounterStore::new(clock.clone()).outage(switch.clone());
            Counters::over(store, background.clone())
        }
        #[cfg(feature = "redis")]
        Backend::Redis(redis) => crate::counter::RedisCounterStore::recovering(redis, background.clone()),
    }
}

#[cfg(feature = "boards")]
pub(super) fn kv(backend: &Backend, clock: &Clock) -> crate::kv::Kv {
    use crate::kv::{Kv, MemoryKvStore};
    match backend {
        Backend::Memory(switch) => Kv::new(MemoryKvStore::new(clock.clone()).outage(switch.clone())),
        #[cfg(feature = "redis")]
        Backend::Redis(redis) => Kv::new(crate::kv::RedisKvStore::new(redis)),
    }
}

#[cfg(feature = "boards")]
pub(super) fn tokens(backend: &Backend, clock: &Clock) -> crate::token::Tokens {
    use crate::token::{MemoryTokenStore, Tokens};
    match backend {
        Backend::Memory(switch) => Tokens::new(MemoryTokenStore::new(clock.clone()).outage(switch.clone())),
        #[cfg(feature = "redis")]
        Backend::Redis(redis) => Tokens::new(crate::token::RedisTokenStore::new(redis)),
    }
}

#[cfg(feature = "boards")]
pub(super) fn actions(
    backend: &Backend,
    config: crate::action_log::ActionLogConfig,
    clock: &Clock,
    background: &Background,
) -> crate::action_log::ActionLog {
    use crate::action_log::{ActionLog, MemoryActionStore};
    match backend {
        Backend::Memory(switch) => {
            let store = MemoryActionStore::new(clock.clone()).outage(switch.clone());
            ActionLog::over(store, config, background.clone())
        }
        #[cfg(feature = "redis")]
        Backend::Redis(redis) => crate::action_log::RedisActionStore::log(redis, config, background.clone()),
    }
}

#[cfg(feature = "boards")]
pub(super) fn trending(backend: &Backend, clock: &Clock) -> std::sync::Arc<dyn crate::trending::TrendingStore> {
    use crate::trending::MemoryTrendingStore;
    match backend {
        Backend::Memory(switch) => std::sync::Arc::new(MemoryTrendingStore::new(clock.clone()).outage(switch.clone())),
        #[cfg(feature = "redis")]
        Backend::Redis(redis) => std::sync::Arc::new(crate::trending::RedisTrendingStore::new(redis)),
    }
}
