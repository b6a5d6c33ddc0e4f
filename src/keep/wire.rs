//! Joins each concern's handle with the stores of the backend.

use super::Backend;
use crate::{background::Background, clock::Clock};

#[cfg(feature = "session")]
pub(super) fn sessions(
    backend: &Backend,
    config: crate::session::SessionConfig,
    clock: &Clock,
    background: &Background,
) -> crate::session::Sessions {
    use crate::session::{FallbackSessionStore, MemorySessionStore, Sessions};
    let store = match backend {
        Backend::Memory(switch) => {
            let store = MemorySessionStore::new(clock.clone()).outage(switch.clone());
            FallbackSessionStore::new(store, &config)
        }
        #[cfg(feature = "redis")]
        Backend::Redis(redis) => crate::session::RedisSessionStore::with_fallback(redis, &config),
    };
    Sessions::new(store).config(config).background(background.clone())
}

#[cfg(feature = "rate-limit")]
pub(super) fn limits(backend: &Backend, clock: &Clock, background: &Background) -> crate::rate_limit::RateLimits {
    use crate::rate_limit::{FallbackRateStore, MemoryRateStore, RateLimits};
    let store = match backend {
        Backend::Memory(switch) => {
            let store = MemoryRateStore::new(clock.clone()).outage(switch.clone());
            FallbackRateStore::new(store, || 1)
        }
        #[cfg(feature = "redis")]
        Backend::Redis(redis) => {
            let (store, handle) = (crate::rate_limit::RedisRateStore::new(redis), redis.clone());
            FallbackRateStore::new(store, move || handle.instances())
        }
    };
    RateLimits::over(store.clock(clock.clone())).background(background.clone())
}

#[cfg(feature = "cache")]
pub(super) fn cache(backend: &Backend, clock: &Clock, background: &Background) -> crate::cache::ResponseCache {
    use crate::cache::{MemoryCacheStore, ResponseCache};
    match backend {
        Backend::Memory(switch) => {
            ResponseCache::over(MemoryCacheStore::new(clock.clone()).outage(switch.clone()), background.clone())
        }
        #[cfg(feature = "redis")]
        Backend::Redis(redis) => ResponseCache::over(crate::cache::RedisCacheStore::new(redis), background.clone()),
    }
}
