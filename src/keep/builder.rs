use std::{sync::Arc, time::Duration};

use super::{Backend, Inner, Keep};
#[cfg(feature = "boards")]
use crate::action_log::ActionLogConfig;
#[cfg(feature = "cache")]
use crate::cache::Hosts;
#[cfg(feature = "redis")]
use crate::conn::{Credentials, Provider, Redis, RedisConfig};
#[cfg(feature = "session")]
use crate::session::{SessionConfig, Sessions};
use crate::{
    Error, Result, background::Background, client_ip::TrustedProxies, clock::Clock, key::Keyspace, store::OutageSwitch,
};

/// What one operation may take, and twice as much is what a request may spend waiting for Redis over all layers.
const DEADLINE: Duration = Duration::from_millis(25);

/// Settings of a [`Keep`]. A setting that cannot work is told by [`build`](KeepBuilder::build).
///
/// ```
/// use std::time::Duration;
/// use towerkeep::Keep;
/// let keep = Keep::builder().prefix("shop").budget(Duration::from_millis(30)).trust_proxies(["10.0.0.0/8"]).build();
/// assert!(keep.is_ok());
/// let error = Keep::builder().trust_proxies(["ten"]).build().unwrap_err();
/// assert!(error.is_invalid());
/// ```
#[derive(Debug)]
#[must_use]
pub struct KeepBuilder {
    #[cfg(feature = "redis")]
    redis: Result<Option<RedisConfig>>,
    require_redis: bool,
    say_mode: bool,
    keys: Result<Keyspace>,
    #[cfg(feature = "redis")]
    credentials: Option<Provider>,
    #[cfg(feature = "redis")]
    deadline: Option<Duration>,
    #[cfg(feature = "redis")]
    instances: Option<u32>,
    budget: Option<Duration>,
    proxies: Result<TrustedProxies>,
    #[cfg(feature = "cache")]
    hosts: Hosts,
    #[cfg(feature = "session")]
    sessions: SessionConfig,
    #[cfg(feature = "boards")]
    actions: ActionLogConfig,
    #[cfg(feature = "cache")]
    strict_purges: bool,
}

impl KeepBuilder {
    pub(super) fn new() -> Self {
        Self {
            #[cfg(feature = "redis")]
            redis: Ok(None),
            require_redis: false,
            say_mode: false,
            keys: Ok(Keyspace::default()),
            #[cfg(feature = "redis")]
            credentials: None,
            #[cfg(feature = "redis")]
            deadline: None,
            #[cfg(feature = "redis")]
            instances: None,
            budget: None,
            proxies: Ok(TrustedProxies::default()),
            #[cfg(feature = "cache")]
            hosts: Hosts::default(),
            #[cfg(feature = "session")]
            sessions: SessionConfig::new(),
            #[cfg(feature = "boards")]
            actions: ActionLogConfig::new(),
            #[cfg(feature = "cache")]
            strict_purges: false,
        }
    }

    /// Uses the Redis that the environment names, if it names one; see [`Keep::from_env`].
    pub fn env(mut self) -> Self {
        #[cfg(feature = "redis")]
        {
            self.redis = RedisConfig::from_env();
        }
        self.say_mode = true;
        self
    }

    /// Uses the Redis at `url`: `redis://host:6379`, `redis+unix:///path/to/socket`.
    #[cfg(feature = "redis")]
    pub fn redis(mut self, url: &str) -> Self {
        self.redis = RedisConfig::new(url).map(Some);
        self
    }

    /// Who we are to Redis, asked anew for each connection; see [`RedisConfig::credentials`].
    ///
    /// ```
    /// use towerkeep::{Keep, conn::Credentials};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let keep = Keep::builder()
    ///     .redis("redis://127.0.0.1:6379")
    ///     .credentials(async || std::env::var("REDIS_TOKEN").map(Credentials::password))
    ///     .build();
    /// assert!(keep.is_ok());
    /// # }
    /// ```
    #[cfg(feature = "redis")]
    pub fn credentials<F, Fut, E>(mut self, provider: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials, E>> + Send + 'static,
    {
        self.credentials = Some(Provider::new(provider));
        self
    }

    /// Refuses to build without a configured Redis. Redis out of reach is still no error.
    pub fn require_redis(mut self) -> Self {
        self.require_redis = true;
        self
    }

    /// What all keys and channels begin with. Defaults to `tk`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.keys = Keyspace::new(prefix);
        self
    }

    /// How long one operation of Redis may take, at most 20 s. Defaults to 25 ms, or to the budget if that is less.
    #[cfg(feature = "redis")]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// How long one request may wait for Redis over all layers, and no less than one operation may. Defaults to twice the deadline of
    /// an operation, 50 ms.
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Has each cache lookup ask Redis for purges in the same trip, so that a purge that has answered
    /// [`Purged::Everywhere`](crate::cache::Purged::Everywhere) holds on all instances from then on. Defaults to hearing of
    /// them within milliseconds. Costs two commands more for a lookup, and no trip; for a fill one command, where several
    /// instances share a Redis.
    #[cfg(feature = "cache")]
    pub fn strict_purges(mut self) -> Self {
        self.strict_purges = true;
        self
    }

    /// How many instances share the limits during an outage. Defaults to the number last seen alive in Redis.
    #[cfg(feature = "redis")]
    pub fn instances(mut self, instances: u32) -> Self {
        self.instances = Some(instances);
        self
    }

    /// Believes these networks' word about the client's address. Defaults to nobody's.
    pub fn trust_proxies<T: AsRef<str>>(mut self, networks: impl IntoIterator<Item = T>) -> Self {
        self.proxies = TrustedProxies::new(networks);
        self
    }

    /// As [`trust_proxies`](Self::trust_proxies), with the choice of the header.
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = Ok(proxies);
        self
    }

    /// Caches responses of these hosts only, so that a client cannot fill the store by inventing some. Defaults to all hosts;
    /// see [`ResponseCache::hosts`](crate::cache::ResponseCache::hosts).
    #[cfg(feature = "cache")]
    pub fn hosts<T: AsRef<str>>(mut self, hosts: impl IntoIterator<Item = T>) -> Self {
        self.hosts = Hosts::new(hosts);
        self
    }

    /// How sessions live and what their cookie is like.
    #[cfg(feature = "session")]
    pub fn sessions(mut self, config: SessionConfig) -> Self {
        self.sessions = config;
        self
    }

    /// How much of the users' action logs is kept.
    #[cfg(feature = "boards")]
    pub fn actions(mut self, config: ActionLogConfig) -> Self {
        self.actions = config;
        self
    }

    /// Puts it together; never waits.
    ///
    /// # Errors
    /// Invalid: the first setting that cannot work, by name; Redis required and not configured; Redis configured
    /// outside of a Tokio runtime.
    pub fn build(mut self) -> Result<Keep> {
        let keys = std::mem::replace(&mut self.keys, Ok(Keyspace::default()))?;
        let proxies = std::mem::replace(&mut self.proxies, Ok(TrustedProxies::default()))?;
        if self.budget == Some(Duration::ZERO) {
            return Err(Error::invalid("a budget of 0 would keep every request from Redis; leave it out or give one"));
        }
        #[cfg(feature = "redis")]
        self.verify_times()?;
        #[cfg(feature = "cache")]
        self.hosts.verify()?;
        #[cfg(feature = "boards")]
        self.actions.verify()?;
        self.proxies = Ok(proxies);
        let backend = self.backend(keys)?;
        Ok(self.assemble(backend))
    }

    /// A late operation says something of Redis only where it had all its time: with a budget below the deadline none has.
    #[cfg(feature = "redis")]
    fn verify_times(&self) -> Result<()> {
        match (self.budget, self.deadline) {
            (Some(budget), Some(deadline)) if budget < deadline => Err(Error::invalid(format!(
                "a request has a budget of {budget:?} for Redis, and one operation a deadline of {deadline:?}: give it at least that"
            ))),
            _ => Ok(()),
        }
    }

    fn deadline_or_default(&self) -> Duration {
        #[cfg(feature = "redis")]
        if let Some(deadline) = self.deadline {
            return deadline;
        }
        self.budget.map_or(DEADLINE, |budget| budget.min(DEADLINE))
    }

    #[cfg(feature = "redis")]
    fn backend(&mut self, keys: Keyspace) -> Result<Backend> {
        let Some(config) = std::mem::replace(&mut self.redis, Ok(None))? else { return self.memory() };
        let mut config = config.keys(keys).provided_by(self.credentials.take()).deadline(self.deadline_or_default());
        if let Some(instances) = self.instances {
            config = config.instances(instances);
        }
        Redis::new(config).map(Backend::Redis)
    }

    #[cfg(not(feature = "redis"))]
    fn backend(&mut self, _: Keyspace) -> Result<Backend> {
        self.memory()
    }

    fn memory(&self) -> Result<Backend> {
        if self.require_redis {
            return Err(Error::invalid("Redis is required and not configured: set REDIS_URL or REDIS_HOST"));
        }
        if self.say_mode {
            tracing::warn!("no REDIS_URL and no REDIS_HOST: sessions, limits and caches live in this process only");
        }
        Ok(Backend::Memory(OutageSwitch::default()))
    }

    pub(super) fn assemble(self, backend: Backend) -> Keep {
        let (clock, background) = (Clock::system(), Background::default());
        let budget = self.budget.unwrap_or_else(|| self.deadline_or_default().saturating_mul(2));
        #[cfg(feature = "session")]
        let store = super::wire::sessions(&backend, &self.sessions, &clock, &background);
        Keep(Arc::new(Inner {
            #[cfg(feature = "session")]
            sessions: Sessions::new(store.clone()).config(self.sessions).background(background.clone()),
            #[cfg(feature = "session")]
            session_store: store,
            #[cfg(feature = "rate-limit")]
            limits: super::wire::limits(&backend, &clock, &background),
            #[cfg(feature = "cache")]
            cache: super::wire::cache(&backend, self.strict_purges, &clock, &background).at(self.hosts),
            #[cfg(feature = "boards")]
            leaderboards: super::wire::leaderboards(&backend, &clock, &background),
            #[cfg(feature = "boards")]
            counters: super::wire::counters(&backend, &clock, &background),
            #[cfg(feature = "boards")]
            kv: super::wire::kv(&backend, &clock),
            #[cfg(feature = "boards")]
            tokens: super::wire::tokens(&backend, &clock),
            #[cfg(feature = "boards")]
            actions: super::wire::actions(&backend, self.actions, &clock, &background),
            #[cfg(feature = "boards")]
            trending: super::wire::trending(&backend, &clock),
            proxies: self.proxies.unwrap_or_default(),
            budget,
            health: super::wire::health(&backend),
            background,
            backend,
        }))
    }
}

#[cfg(all(test, feature = "redis"))]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// With more time for an operation than for its request no timeout counted, and a frozen Redis was asked by everybody.
    #[test]
    fn an_operation_never_has_more_time_than_its_request() {
        let times = |builder: KeepBuilder| {
            let deadline = builder.deadline_or_default();
            (deadline, builder.budget.unwrap_or(deadline * 2))
        };
        let builder = KeepBuilder::new;
        assert_eq!(times(builder()), (millis(25), millis(50)));
        assert_eq!(times(builder().deadline(millis(100))), (millis(100), millis(200)));
        assert_eq!(times(builder().budget(millis(10))), (millis(10), millis(10)));
        assert_eq!(times(builder().budget(millis(100))), (millis(25), millis(100)));
        assert!(builder().deadline(millis(100)).budget(millis(100)).build().is_ok());
        let error = builder().deadline(millis(100)).budget(millis(99)).build().expect_err("none would count");
        assert!(error.is_invalid() && error.to_string().contains("99ms"), "{error}");
    }
}
