//! The layer and its knobs.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, StatusCode};
use tower_layer::Layer;

use super::{CachePolicy, CacheService, ResponseCache, Tag, handle::Mount, settings::Settings};

/// Caches the responses of the service inside of it; made by [`ResponseCache`].
///
/// Mount it inside of the session layer where it is `per_user`, and inside of compression, so that entries are
/// stored plain.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is mounted"]
pub struct CacheLayer {
    cache: ResponseCache,
    settings: Settings,
}

impl CacheLayer {
    pub(crate) fn new(cache: ResponseCache, settings: Settings) -> Self {
        Self { cache, settings }
    }

    /// How long a response is fresh that says nothing itself, for 200, 203, 204, 301 and 308. Defaults to not at
    /// all: then only what has `Cache-Control` or `Expires` is stored.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.settings.ttl = Some(ttl);
        self
    }

    /// How long clients may keep a response that has no `Cache-Control` itself. Defaults to `private, no-cache` (ask
    /// each time, get 304) for `per_user` and `per`, and to nothing for `public`.
    pub fn client_ttl(mut self, ttl: Duration) -> Self {
        self.settings.client_ttl = Some(ttl);
        self
    }

    /// Serves a response this long past its freshness when the handler answers 5xx or fails. Defaults to not at
    /// all, but see [`CachePolicy::rfc`] for handlers that fail.
    ///
    /// The response's own `stale-if-error` counts first. `must-revalidate`, `proxy-revalidate`, `no-cache`, and in a
    /// public cache `s-maxage` forbid it (RFC 9111, 4.2.4).
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.settings.stale_if_error = Some(window);
        self
    }

    /// Serves a response at once this long past its freshness, and asks the handler in the background. Defaults to not
    /// at all.
    ///
    /// 1. The response's own `stale-while-revalidate` counts first, and the same directives forbid it as forbid
    ///    [`stale_if_error`](Self::stale_if_error) (RFC 5861, 3).
    /// 2. One refresh at a time runs for each variant of a URL in a process, and 32 in all. It is the arriving `GET` itself, with its
    ///    extensions, but without what is conditional about it and without its range; a `HEAD` starts none.
    /// 3. Where the handler fails, answers 5xx or takes longer than 30 seconds, the response serves until its window ends.
    ///    Where it answers 2xx, 3xx, 404 or 410 with something that may not be stored, the URL is purged; what is said to
    ///    one client alone (a cookie, 401, 429) changes nothing.
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.settings.stale_while_revalidate = Some(window);
        self
    }

    /// Keeps responses of `status` too, for `ttl` where they say nothing themselves. 206, 304 and 429 never are.
    pub fn also_cache(mut self, status: StatusCode, ttl: Duration) -> Self {
        self.settings.also.push((status, ttl));
        self
    }

    /// Tags for every response: `["trending"]`, or pairs like `[("shop", 7)]`.
    pub fn tags<T: Into<Tag>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.settings.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Chooses by this request field too, and says so in `Vary`.
    pub fn vary_on(mut self, name: HeaderName) -> Self {
        self.settings.vary_on.push(name);
        self
    }

    /// Query parameters that change nothing: `["utm_source"]`.
    pub fn ignore_query<T: Into<Box<str>>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.settings.ignored.extend(names.into_iter().map(Into::into));
        self
    }

    /// Keeps bodies up to so many bytes; longer ones stream through. Defaults to 1 MiB, which is also the most.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.settings.max_body = bytes.min(super::MAX_BODY);
        self
    }

    /// Which freedoms of RFC 9111 are used. Defaults to [`CachePolicy::shared`].
    pub fn policy(mut self, policy: CachePolicy) -> Self {
        self.settings.policy = policy;
        self
    }

    /// Keeps one response, under the key `tk:cache:{template}`, which programs and people can find: `marketplace:trending`,
    /// or `user:{partition}:profile` where the cache is `per_user` or `per`. Defaults to a key made of the URL.
    ///
    /// 1. Segments are letters, digits, `_`, `-` and `.`, divided by colons. In `per_user` and `per` one of them has to be
    ///    `{partition}`, in `public` none. What is unfit is told by [`ResponseCache::verify`], and until then nothing is
    ///    stored. Two caches cannot share a template.
    /// 2. It is for one URL: a response to another one may push it out, and is never served in its place. Responses with
    ///    `Vary` are not stored.
    ///
    /// ```
    /// use towerkeep::{cache::{MemoryCacheStore, ResponseCache}, clock::{Clock, minutes}};
    /// let cache = ResponseCache::new(MemoryCacheStore::new(Clock::system()));
    /// let profile = cache.per_user("profile").ttl(minutes(5)).fixed_key("user:{partition}:profile");
    /// # let _ = profile;
    /// ```
    pub fn fixed_key(mut self, template: &'static str) -> Self {
        self.settings.template = Some(template);
        self
    }

    /// Whether it does anything; off, requests pass untouched. Defaults to on.
    pub fn enabled(mut self, on: bool) -> Self {
        self.settings.enabled = on;
        self
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = CacheService<S>;
    fn layer(&self, inner: S) -> CacheService<S> {
        self.cache.note(&self.settings);
        let mut settings = self.settings.clone();
        settings.enabled &= settings.is_key_fit();
        CacheService::new(inner, Arc::new(Mount { settings, cache: self.cache.clone() }))
    }
}
