//! [`Keep`]: one handle that owns what must exist once, and wires Redis or memory to every concern.

use std::{fmt, sync::Arc, time::Duration};

#[cfg(feature = "boards")]
use crate::action_log::ActionLog;
#[cfg(feature = "cache")]
use crate::cache::ResponseCache;
#[cfg(feature = "boards")]
use crate::leaderboard::{Leaderboard, Leaderboards, Name};
#[cfg(feature = "rate-limit")]
use crate::rate_limit::RateLimits;
#[cfg(feature = "session")]
use crate::session::{FallbackSessionStore, Sessions};
#[cfg(feature = "boards")]
use crate::trending::{Trending, TrendingStore};
use crate::{
    Result, Status, background::Background, client_ip::TrustedProxies, fallback::FallbackLayer, health::Health,
    store::OutageSwitch,
};

mod builder;
#[cfg(feature = "axum")]
mod extract;
mod wire;

pub use builder::KeepBuilder;

/// The way in: configured once, cloned everywhere, and the source of every layer.
///
/// 1. [`Keep::from_env`] uses the Redis that the environment names, else memory. It never waits: a Redis that does
///    not answer yet is an outage like any other.
/// 2. Handles come from it ([`sessions`](Keep::sessions), [`limits`](Keep::limits), [`cache`](Keep::cache)), and
///    layers come from handles. [`layer`](Keep::layer) stands outside of all of them.
/// 3. [`verify`](Keep::verify) before listening: it finds two policies or caches of one name.
/// 4. [`shutdown`](Keep::shutdown) after serving: background work is finished.
///
/// # When Redis is down
/// Public routes go on, users whose sessions this instance has seen stay logged in, caches are skipped, limits count
/// locally. What still answers 503 is what somebody chose: an extractor that requires a user whom this instance has
/// never seen, a policy set to `Deny`, a `?` on a verb that a handler calls itself.
///
/// ```
/// use towerkeep::{Keep, Status};
/// let keep = Keep::in_memory();
/// assert_eq!(keep.status(), Status::InMemory);
/// keep.force_outage(true);
/// assert_eq!(keep.status(), Status::Down);
/// ```
#[derive(Clone)]
pub struct Keep(Arc<Inner>);

struct Inner {
    backend: Backend,
    proxies: TrustedProxies,
    budget: Duration,
    background: Background,
    health: Health,
    #[cfg(feature = "session")]
    sessions: Sessions,
    #[cfg(feature = "session")]
    session_store: FallbackSessionStore,
    #[cfg(feature = "rate-limit")]
    limits: RateLimits,
    #[cfg(feature = "cache")]
    cache: ResponseCache,
    #[cfg(feature = "boards")]
    leaderboards: Leaderboards,
    #[cfg(feature = "boards")]
    counters: crate::counter::Counters,
    #[cfg(feature = "boards")]
    kv: crate::kv::Kv,
    #[cfg(feature = "boards")]
    tokens: crate::token::Tokens,
    #[cfg(feature = "boards")]
    actions: ActionLog,
    #[cfg(feature = "boards")]
    trending: Arc<dyn TrendingStore>,
}

/// What the stores stand on.
#[derive(Clone, Debug)]
enum Backend {
    Memory(OutageSwitch),
    #[cfg(feature = "redis")]
    Redis(crate::conn::Redis),
}

impl Backend {
    fn status(&self) -> Status {
        match self {
            Self::Memory(switch) if switch.is_on() => Status::Down,
            Self::Memory(_) => Status::InMemory,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.status(),
        }
    }
}

impl Keep {
    /// Configured by the environment: `REDIS_URL`, or `REDIS_HOST` with `REDIS_PORT` and `REDIS_PASSWORD`; with
    /// neither, in memory and with one warning that says so.
    ///
    /// # Errors
    /// Invalid, naming the variable that cannot be used, or the missing Tokio runtime.
    pub fn from_env() -> Result<Self> {
        Self::builder().env().build()
    }

    /// Everything in this process: for tests, development, and services of one instance.
    pub fn in_memory() -> Self {
        KeepBuilder::new().assemble(Backend::Memory(OutageSwitch::default()))
    }

    /// Settings other than the defaults.
    pub fn builder() -> KeepBuilder {
        KeepBuilder::new()
    }

    /// The outermost layer: budget, client address, one status per request.
    pub fn layer(&self) -> FallbackLayer {
        let backend = self.0.backend.clone();
        FallbackLayer::new(self.0.budget, self.0.proxies.clone(), move || backend.status())
    }

    /// Sessions: the layer, and what an application does with sessions outside of requests.
    #[cfg(feature = "session")]
    pub fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// Rate limits: the layers, and checks in handlers.
    #[cfg(feature = "rate-limit")]
    pub fn limits(&self) -> &RateLimits {
        &self.0.limits
    }

    /// The response cache: the layers, and purges.
    #[cfg(feature = "cache")]
    pub fn cache(&self) -> &ResponseCache {
        &self.0.cache
    }

    /// The leaderboard of this name: `keep.leaderboard(("challenge", 42))`.
    #[cfg(feature = "boards")]
    pub fn leaderboard(&self, name: impl Into<Name>) -> Leaderboard {
        self.0.leaderboards.board(name)
    }

    /// Counters: whole numbers that all instances add to.
    #[cfg(feature = "boards")]
    pub fn counters(&self) -> &crate::counter::Counters {
        &self.0.counters
    }

    /// Plain values by key.
    #[cfg(feature = "boards")]
    pub fn kv(&self) -> &crate::kv::Kv {
        &self.0.kv
    }

    /// Temporary tokens of one use.
    #[cfg(feature = "boards")]
    pub fn tokens(&self) -> &crate::token::Tokens {
        &self.0.tokens
    }

    /// The users' action logs.
    #[cfg(feature = "boards")]
    pub fn actions(&self) -> &ActionLog {
        &self.0.actions
    }

    /// What is looked at lately on the board `name`.
    #[cfg(feature = "boards")]
    pub fn trending(&self, name: impl Into<Arc<str>>) -> Trending {
        Trending::over(Arc::clone(&self.0.trending), name)
    }

    /// How the stores stand now.
    pub fn status(&self) -> Status {
        self.0.backend.status()
    }

    /// How Redis is, asked with a write and a read: for health routes and operators.
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// Looks for what can only be seen once everything is mounted: two different policies, or two caches, of one name.
    ///
    /// # Errors
    /// Invalid, naming what is there twice.
    pub fn verify(&self) -> Result<()> {
        #[cfg(feature = "rate-limit")]
        self.0.limits.verify()?;
        #[cfg(feature = "cache")]
        self.0.cache.verify()?;
        Ok(())
    }

    /// Behaves as if Redis were gone, until called with `false`: for drills and demonstrations.
    pub fn force_outage(&self, on: bool) {
        match &self.0.backend {
            Backend::Memory(switch) => switch.set(on),
            #[cfg(feature = "redis")]
            Backend::Redis(redis) => redis.force_outage(on),
        }
    }

    /// Finishes what is under way in the background, tells Redis the logouts and changes of sessions that it has missed, and
    /// writes the counts, log entries and purges that wait, at most `within`. Call it after the last request.
    ///
    /// What could not be told or written is a warning of each.
    pub async fn shutdown(&self, within: Duration) {
        let sessions = async {
            #[cfg(feature = "session")]
            self.0.session_store.close(within).await;
        };
        let purges = async {
            #[cfg(feature = "cache")]
            self.0.cache.close(within).await;
        };
        let boards = async {
            #[cfg(feature = "boards")]
            tokio::join!(self.0.counters.close(within), self.0.actions.close(within));
        };
        tokio::join!(sessions, purges, boards, self.0.background.drain(within));
    }

    /// Waits until Redis is reached, at most `within`; whether it was. At once without Redis.
    pub async fn ready(&self, within: Duration) -> bool {
        match &self.0.backend {
            Backend::Memory(_) => true,
            #[cfg(feature = "redis")]
            Backend::Redis(redis) => redis.ready(within).await,
        }
    }
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keep").field("backend", &self.0.backend).field("budget", &self.0.budget).finish_non_exhaustive()
    }
}
