//! What may be stored, for how long, and what answers whom: RFC 9111 as pure functions of (messages, now).

mod conditional;
mod decide;
pub(super) mod directives;
mod freshness;
mod range;
mod targeted;
#[cfg(test)]
mod tests;

use http::{HeaderMap, HeaderName, Method, header::CONNECTION};

use crate::clock::Timestamp;
use directives::{Directives, list};

pub(crate) use conditional::{ask_about, freshened, is_for_the_handler, is_not_modified, not_modified_headers};
pub(crate) use decide::{Asked, Refusal, Span, Terms, decide};
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

    /// Everything that RFC 9111 permits a shared cache: `Set-Cookie` is stored, freshness is guessed from
    /// `Last-Modified`, and a request's directives count.
    pub const fn rfc() -> Self {
        Self(Profile::Rfc)
    }
}

/// How a request that a fresh response is stored for has to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// From the store.
    Yes,
    /// By the handler: the request's directives want it younger.
    Refused,
}

/// Whether a stored response of this age and remaining freshness is good for `request` (RFC 9111, 5.2.1).
pub(crate) fn reuse(
    policy: CachePolicy,
    request: &HeaderMap,
    age: std::time::Duration,
    left: std::time::Duration,
) -> Reuse {
    if policy == CachePolicy::shared() {
        return Reuse::Yes;
    }
    let asked = Directives::of(request);
    let pragma =
        !asked.present && list(request, &http::header::PRAGMA).any(|word| word.eq_ignore_ascii_case(b"no-cache"));
    let is_too_old = asked.max_age.is_some_and(|max| age > max) || asked.min_fresh.is_some_and(|min| left < min);
    if asked.no_cache || pragma || is_too_old { Reuse::Refused } else { Reuse::Yes }
}

/// Whether the client wants no answer rather than the handler's (RFC 9111, 5.2.1.7).
pub(crate) fn is_only_if_cached(policy: CachePolicy, request: &HeaderMap) -> bool {
    policy == CachePolicy::rfc() && Directives::of(request).only_if_cached
}

/// Methods that change nothing; all others invalidate (RFC 9110, 9.2.1; RFC 9111, 4.4).
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

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
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| is_kept(name)) {
        kept.append(name.clone(), value.clone());
    }
    kept
}

/// Adds the moment of receipt to a response without `Date` (RFC 9110, 6.6.1).
pub(crate) fn complete_date(headers: &mut HeaderMap, now: Timestamp) {
    headers.entry(http::header::DATE).or_insert_with(|| {
        let text = httpdate::fmt_http_date(now.to_system_time());
        http::HeaderValue::try_from(text).expect("an http date is visible ascii")
    });
}
