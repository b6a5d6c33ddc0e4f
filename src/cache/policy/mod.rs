//! What may be stored, for how long, and what answers whom: RFC 9111 as pure functions of (messages, now).

mod conditional;
mod date;
mod decide;
#[cfg(test)]
mod differential;
pub(super) mod directives;
mod freshness;
mod range;
mod targeted;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, header::CONNECTION};

use crate::clock::Timestamp;
use directives::{Directives, list};

pub(crate) use conditional::{
    ask_about, ask_for_all, freshened, is_for_the_handler, is_not_modified, not_modified_headers,
};
pub(crate) use decide::{Asked, Refusal, Span, Terms, decide, is_no_store};
pub(crate) use range::{Part, content_range, part};

/// Which of the freedoms of RFC 9111 a cache uses.
///
/// ```
/// use towerkeep::cache::CachePolicy;
/// assert_eq!(CachePolicy::default(), CachePolicy::shared());
/// assert_ne!(CachePolicy::shared(), CachePolicy::rfc());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CachePolicy(Profile);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Profile {
    #[default]
    Shared,
    Rfc,
}

impl CachePolicy {
    /// The safe default.
    ///
    /// 1. A response with `Set-Cookie` is never stored.
    /// 2. A response to a request with `Authorization` is stored as RFC 9111, 3.5 allows: when it says `public`,
    ///    `must-revalidate` or `s-maxage`. In `per_user` and `per` it is stored, and so is a `private` one.
    /// 3. A client cannot make the handler run: `no-cache`, `max-age`, `min-fresh` and `only-if-cached` of a
    ///    request change nothing. Its `no-store` keeps the answer out of the store.
    pub const fn shared() -> Self {
        Self(Profile::Shared)
    }

    /// Everything that RFC 9111 permits a shared cache.
    ///
    /// 1. `Set-Cookie` is stored, and freshness is guessed from `Last-Modified`.
    /// 2. A request's directives count, `max-stale` among them.
    /// 3. Where the service inside fails with an error instead of a response, as a proxy's does when the server is not
    ///    reached, a stored response stands in that no directive forbids to serve stale (RFC 9111, 4.2.4). For that
    ///    each is kept as long again as it was fresh: ten minutes at least, a day at most.
    pub const fn rfc() -> Self {
        Self(Profile::Rfc)
    }
}

/// How far a stored response is, for a request that it could answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) age: Duration,
    /// How long it is still fresh; nothing when it is stale.
    pub(crate) left: Option<Duration>,
    /// How long it is stale.
    pub(crate) past: Duration,
    /// It serves while it is refreshed.
    pub(crate) may_be_refreshed: bool,
    /// Nothing forbids to serve it stale.
    pub(crate) may_be_stale: bool,
}

/// How a request that a response is stored for has to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// From the store.
    Fresh,
    /// From the store, and the handler is asked in the background (RFC 5861, 3).
    WhileRefreshed,
    /// From the store, because the request puts up with it.
    Stale,
    /// By the handler: it is too old.
    Refused,
}

/// Whether a stored response is good for `request` (RFC 9111, 4.2.4 and 5.2.1).
pub(crate) fn reuse(policy: CachePolicy, request: &HeaderMap, stored: Standing) -> Reuse {
    let Standing { age, left, past, may_be_refreshed, may_be_stale } = stored;
    let asked = if policy == CachePolicy::rfc() { Directives::of(request) } else { Directives::default() };
    let puts_up_with = asked.max_stale.is_some_and(|most| past <= most);
    let is_refused = asked.no_cache
        || is_pragma(policy, request, &asked)
        || asked.max_age.is_some_and(|most| age > most)
        || asked.min_fresh.is_some_and(|least| left.unwrap_or_default() < least)
        // Whoever names an age wants nothing stale, unless they say so (RFC 9111, 5.2.1.1).
        || left.is_none() && asked.max_age.is_some() && !puts_up_with;
    match () {
        () if is_refused => Reuse::Refused,
        () if left.is_some() => Reuse::Fresh,
        () if may_be_refreshed => Reuse::WhileRefreshed,
        () if may_be_stale && puts_up_with => Reuse::Stale,
        () => Reuse::Refused,
    }
}

/// `Pragma: no-cache`, from clients older than `Cache-Control` (RFC 9111, 5.4).
fn is_pragma(policy: CachePolicy, request: &HeaderMap, asked: &Directives) -> bool {
    let mut words = list(request, &http::header::PRAGMA);
    policy == CachePolicy::rfc() && !asked.present && words.any(|word| word.eq_ignore_ascii_case(b"no-cache"))
}

/// Whether the client wants no answer rather than the handler's (RFC 9111, 5.2.1.7).
pub(crate) fn is_only_if_cached(policy: CachePolicy, request: &HeaderMap) -> bool {
    policy == CachePolicy::rfc() && Directives::of(request).only_if_cached
}

/// Methods that change nothing; all others invalidate (RFC 9110, 9.2.1; RFC 9111, 4.4).
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Fields that the cache adds to a stored response, or to its copy for a client: with room for them no copy has to grow its
/// index.
const ADDED: usize = 6;

/// The fields of a response that are stored: not those of the connection (RFC 9111, 3.1), not what a limit said
/// about one client, not what the cache itself adds.
pub(crate) fn stored_headers(headers: &HeaderMap) -> HeaderMap {
    const NEVER: [&str; 11] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "cache-status",
    ];
    let named: Vec<String> =
        list(headers, &CONNECTION).map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect();
    let is_kept = |name: &HeaderName| {
        let name = name.as_str();
        let is_limit = name.starts_with("ratelimit") || name.starts_with("x-ratelimit");
        !NEVER.contains(&name) && !is_limit && name != "age" && !named.iter().any(|listed| listed == name)
    };
    let mut kept = HeaderMap::with_capacity(headers.len() + ADDED);
    for (name, value) in headers.iter().filter(|(name, _)| is_kept(name)) {
        kept.append(name.clone(), value.clone());
    }
    kept
}

/// Adds the length of the body, which a 204 has none of (RFC 9110, 8.6).
pub(crate) fn complete_length(headers: &mut HeaderMap, status: http::StatusCode, length: usize) {
    if status != http::StatusCode::NO_CONTENT {
        headers.entry(http::header::CONTENT_LENGTH).or_insert_with(|| http::HeaderValue::from(length));
    }
}

/// Adds the moment of receipt to a response without `Date` (RFC 9110, 6.6.1).
pub(crate) fn complete_date(headers: &mut HeaderMap, now: Timestamp) {
    headers.entry(http::header::DATE).or_insert_with(|| {
        let text = httpdate::fmt_http_date(now.to_system_time());
        http::HeaderValue::try_from(text).expect("an http date is visible ascii")
    });
}
