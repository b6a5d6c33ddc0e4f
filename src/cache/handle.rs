//! The handle: makes layers, purges, counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::Uri;
use moka::sync::Cache;

use super::{
    CacheLayer, CacheStats, CacheStore, Hosts, Place, Purge, Purged, Tag,
    flight::Flights,
    outcome::Counters,
    place,
    refresh::Refreshes,
    settings::{Settings, Sharing},
};
use crate::{Cx, Error, Key, Result, UserId, background::Background};

/// Makes cache layers and purges what they stored. Cheap to clone; clones share everything.
///
/// Who shares a response is the constructor: [`public`](Self::public), [`per_user`](Self::per_user) or
/// [`per`](Self::per). A name stands in keys and metrics, and is what [`purge_name`](Self::purge_name) takes.
///
/// **When Redis is down** purges are kept and replayed before the cache is used again: see [`Purged`].
///
/// ```
/// use std::time::Duration;
/// use towerkeep::{cache::{MemoryCacheStore, Purged, ResponseCache}, clock::Clock};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let cache = ResponseCache::new(MemoryCacheStore::new(Clock::system()));
/// let layer = cache.per_user("bookmarks").ttl(Duration::from_secs(60));
/// assert_eq!(cache.purge_user("bookmarks", 7).await, Purged::Everywhere);
/// # }
/// ```
#[derive(Clone)]
pub struct ResponseCache {
    pub(crate) shared: Arc<Shared>,
    pub(crate) hosts: Hosts,
}

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn CacheStore>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) counters: Counters,
    /// URLs whose last response could not be kept, and for whom: nobody of those waits for them.
    uncacheable: Cache<Place, Alone>,
    /// Sees fills through to the store.
    pub(crate) background: Background,
    pub(crate) refreshes: Arc<Refreshes>,
    registry: Mutex<Registry>,
}

/// Who is alone at an uncacheable URL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alone {
    Everybody,
    /// Those whose requests have `Authorization`.
    Authorized,
}

/// What one mounted layer works with.
pub(crate) struct Mount {
    pub(crate) settings: Settings,
    pub(crate) cache: ResponseCache,
}

#[derive(Default)]
struct Registry {
    caches: BTreeMap<&'static str, Mounted>,
    twice: BTreeSet<&'static str>,
    unfit: BTreeSet<&'static str>,
}

struct Mounted {
    debug: String,
    ignored: Vec<Box<str>>,
    is_private: bool,
    template: Option<&'static str>,
}

/// After so long an uncacheable URL is looked at as if for the first time.
const UNCACHEABLE: Duration = Duration::from_secs(10);

impl ResponseCache {
    /// A cache over `store`; from a `Keep` it is `keep.cache()`.
    pub fn new(store: impl CacheStore) -> Self {
        Self::over(store, Background::default())
    }

    /// A cache whose fills go through this queue.
    pub(crate) fn over(store: impl CacheStore, background: Background) -> Self {
        let uncacheable = Cache::builder().max_capacity(10_000).time_to_live(UNCACHEABLE).build();
        let shared = Shared {
            store: Arc::new(store),
            flights: Arc::default(),
            counters: Counters::default(),
            uncacheable,
            background,
            refreshes: Arc::default(),
            registry: Mutex::default(),
        };
        Self { shared: Arc::new(shared), hosts: Hosts::default() }
    }

    /// Caches what is asked of these hosts only; requests for others pass, `fwd=bypass; detail=host`. Defaults to all hosts, so
    /// that a client can fill the store by inventing some. Set it before layers are made.
    ///
    /// Letters do not count, and a default port is as good as none: `SHOP.example:443` is cached as `shop.example`. A name
    /// that is no host is told by [`verify`](Self::verify).
    ///
    /// ```
    /// use towerkeep::{cache::{MemoryCacheStore, ResponseCache}, clock::Clock};
    /// let cache = || ResponseCache::new(MemoryCacheStore::new(Clock::system()));
    /// assert!(cache().hosts(["shop.example", "shop.example:8080"]).verify().is_ok());
    /// assert!(cache().hosts(["*.example"]).verify().is_err());
    /// ```
    #[must_use]
    pub fn hosts<T: AsRef<str>>(mut self, hosts: impl IntoIterator<Item = T>) -> Self {
        self.hosts = Hosts::new(hosts);
        self
    }

    /// Caches what is asked of these.
    pub(crate) fn at(self, hosts: Hosts) -> Self {
        Self { hosts, ..self }
    }

    /// Caches responses that everybody may see. The handler must not look at who is asking.
    pub fn public(&self, name: &'static str) -> CacheLayer {
        CacheLayer::new(self.clone(), Settings::new(name, Sharing::Everybody))
    }

    /// Caches responses for each user apart; anonymous requests, and users who cannot be proven now, pass.
    pub fn per_user(&self, name: &'static str) -> CacheLayer {
        CacheLayer::new(self.clone(), Settings::new(name, Sharing::PerUser))
    }

    /// Caches responses for each value of `key` apart; requests without one pass.
    pub fn per(&self, name: &'static str, key: Key) -> CacheLayer {
        CacheLayer::new(self.clone(), Settings::new(name, Sharing::Per(key)))
    }

    /// Forgets the responses that have any of these tags.
    pub async fn purge_tags<T: Into<Tag>>(&self, tags: impl IntoIterator<Item = T>) -> Purged {
        self.purge(Purge::Tags(tags.into_iter().map(Into::into).collect())).await
    }

    /// Forgets a user's responses in the `per_user` cache `name`.
    pub async fn purge_user(&self, name: &str, user: impl fmt::Display) -> Purged {
        let tag = Tag::of_partition(name, UserId::new(user).as_str());
        self.purge(Purge::Tags(vec![tag])).await
    }

    /// Forgets all responses of one cache.
    pub async fn purge_name(&self, name: &str) -> Purged {
        self.purge(Purge::Tags(vec![Tag::of_name(name)])).await
    }

    /// Forgets everything.
    pub async fn purge_all(&self) -> Purged {
        self.purge(Purge::All).await
    }

    /// Forgets a URL, host included (`https://shop.example/items?page=2`), in all `public` caches mounted so far. What
    /// lies in partitions is forgotten by user, tag or name.
    pub async fn purge_url(&self, url: &Uri) -> Purged {
        if url.authority().is_none() {
            tracing::warn!("purge_url without a host forgets only what was asked for without one");
        }
        let places = {
            let registry = self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner);
            let public = registry.caches.iter().filter(|(_, mounted)| !mounted.is_private);
            let place = |(name, cache): (&&'static str, &Mounted)| {
                Place::new(name, None, place::of_uri(url, &self.hosts, &cache.ignored)).fixed(cache.template)
            };
            public.map(place).collect()
        };
        self.purge(Purge::Places(places)).await
    }

    async fn purge(&self, purge: Purge) -> Purged {
        let purging = self.shared.store.purge(&Cx::new(), purge);
        self.shared.flights.scatter();
        let purged = purging.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a purge of the response cache is lost");
            Purged::Pending
        });
        // Once more: what boarded between the call and the answer may have been under way before it counted.
        self.shared.flights.scatter();
        purged
    }

    /// Waits for the purges of an outage, at most `within`, and says once how many are lost.
    pub(crate) async fn close(&self, within: Duration) {
        let purges = self.shared.store.settle(within).await.unwrap_or_default();
        if purges > 0 {
            tracing::warn!(purges, "purges of the response cache that an outage held end with this process");
        }
    }

    /// How often each outcome was, in this process.
    pub fn stats(&self) -> CacheStats {
        self.shared.counters.read()
    }

    /// Whether every name stands for one cache, and every fixed key and host is one; call it when all layers are mounted.
    ///
    /// # Errors
    /// Invalid, naming the caches that are mounted twice with different settings, or whose fixed key is unfit, or what is no
    /// host.
    pub fn verify(&self) -> Result<()> {
        self.hosts.verify()?;
        let registry = self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |names: &BTreeSet<&'static str>| names.iter().copied().collect::<Vec<_>>().join(", ");
        if !registry.twice.is_empty() {
            let names = told(&registry.twice);
            return Err(Error::invalid(format!(
                "different caches of one name: {names}; give each its own name, or the same settings"
            )));
        }
        if !registry.unfit.is_empty() {
            let names = told(&registry.unfit);
            return Err(Error::invalid(format!(
                "fixed keys that are none: {names}; write segments divided by colons, {{partition}} among them where the \
                 cache is per user or per key, and give each cache its own"
            )));
        }
        Ok(())
    }

    pub(crate) fn note(&self, settings: &Settings) {
        let mut registry = self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, template) = (settings.name, settings.template);
        let is_shared = |(&other, cache): (&&str, &Mounted)| other != name && cache.template == template;
        if !settings.is_key_fit() || template.is_some() && registry.caches.iter().any(is_shared) {
            registry.unfit.insert(name);
        }
        let debug = format!("{settings:?}");
        let (ignored, is_private) = (settings.ignored.clone(), settings.sharing.is_private());
        let mounted = Mounted { debug: debug.clone(), ignored, is_private, template };
        let first = registry.caches.entry(name).or_insert(mounted);
        if first.debug != debug {
            registry.twice.insert(name);
        }
    }
}

impl Shared {
    pub(crate) fn is_uncacheable(&self, place: &Place) -> bool {
        self.uncacheable.get(place) == Some(Alone::Everybody)
    }

    /// Whether what is answered to `Authorization` was for its sender alone.
    pub(crate) fn is_for_one(&self, place: &Place) -> bool {
        self.uncacheable.get(place) == Some(Alone::Authorized)
    }

    /// What was answered to `Authorization` says nothing about what others are answered.
    pub(crate) fn mark_for_one(&self, place: &Place) {
        self.uncacheable.entry_by_ref(place).or_insert(Alone::Authorized);
    }

    pub(crate) fn mark(&self, place: &Place, is_uncacheable: bool) {
        if is_uncacheable {
            self.uncacheable.insert(place.clone(), Alone::Everybody);
        } else {
            self.uncacheable.invalidate(place);
        }
    }
}

impl fmt::Debug for ResponseCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseCache").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
