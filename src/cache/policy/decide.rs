//! May this response be stored, and for how long (RFC 9111, 3).

use std::time::Duration;

use http::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, SET_COOKIE, VARY},
};

use super::{
    CachePolicy, conditional,
    directives::{Directives, list},
    freshness,
};
use crate::{
    clock::{Timestamp, hours, minutes},
    outcome::outcomes,
};

/// What of a request still counts when its response comes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) no_store: bool,
    pub(crate) authorization: bool,
    /// When the handler was asked.
    pub(crate) at: Timestamp,
}

impl Asked {
    pub(crate) fn of(request: &HeaderMap, at: Timestamp) -> Self {
        Self { no_store: is_no_store(request), authorization: request.contains_key(AUTHORIZATION), at }
    }
}

/// Whether the answer to `request` may be stored at all (RFC 9111, 5.2.1.5).
pub(crate) fn is_no_store(request: &HeaderMap) -> bool {
    Directives::of(request).no_store
}

/// What the layer, and the handler's hint, say where the response says nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) policy: CachePolicy,
    /// The entry is for one user or key only.
    pub(crate) is_private: bool,
    pub(crate) ttl: Option<Duration>,
    pub(crate) also: &'a [(StatusCode, Duration)],
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) stale_while_revalidate: Option<Duration>,
    /// The handler's word about our cache alone.
    pub(crate) hint_ttl: Option<Duration>,
}

/// How long a response serves, counted from the moment it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) initial_age: Duration,
    pub(crate) fresh_for: Duration,
    /// How long its freshness was over by then.
    pub(crate) past: Duration,
    /// After its freshness, if the handler fails.
    pub(crate) stale_for: Duration,
    /// After its freshness, while it is refreshed in the background.
    pub(crate) refresh_for: Duration,
    /// After its freshness, to ask the handler whether it still holds, or to stand in for one that is gone.
    pub(crate) kept_for: Duration,
    /// Nothing forbids to serve it stale.
    pub(crate) may_be_stale: bool,
    /// The handler can be asked about it.
    pub(crate) has_validator: bool,
}

/// What is of use after its freshness is kept as long again as it was fresh, within these bounds.
const KEPT_AT_LEAST: Duration = minutes(10);
const KEPT_AT_MOST: Duration = hours(24);

outcomes! {
    /// Why a response is not stored.
    pub(crate) enum Refusal {
        /// 206, 304, 429 and interim responses.
        Status => "status",
        /// `no-store`, of either side.
        NoStore => "no-store",
        /// `no-cache`: it would have to be asked for each time.
        NoCache => "no-cache",
        /// `private` in a cache that everybody shares.
        Private => "private",
        /// The request had `Authorization` and the response does not allow to share it.
        Authorization => "authorization",
        /// It sets a cookie.
        SetCookie => "set-cookie",
        /// `Vary: *`; any `Vary` under a fixed key.
        VaryAny => "vary-any",
        /// Its body is longer than the cache keeps.
        TooLarge => "too-large",
        /// Its `Content-Length` is no number, or told twice.
        Length => "length",
        /// It is not fresh for any time.
        NotFresh => "not-fresh",
    }
}

/// Decides by status, directives and freshness; the numbers are what a hit is compared with.
pub(crate) fn decide(
    terms: &Terms<'_>,
    asked: Asked,
    status: StatusCode,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Span, Refusal> {
    let said = Directives::of_response(headers);
    refuse(terms, asked, status, headers, &said)?;
    let delay = now.since(asked.at);
    let initial_age = freshness::initial_age(headers, delay, now);
    let lifetime = lifetime(terms, status, headers, &said, delay, now);
    let span = span(terms, status, headers, &said, lifetime, initial_age, now);
    let is_rfc = terms.policy == CachePolicy::rfc();
    // To be asked about each time is worth a place only where the handler is far away.
    if span.fresh_for.is_zero() && span.refresh_for <= span.past && !(span.has_validator && is_rfc) {
        return Err(if said.no_cache { Refusal::NoCache } else { Refusal::NotFresh });
    }
    Ok(span)
}

/// The numbers, from a freshness that began `initial_age` ago.
fn span(
    terms: &Terms<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    said: &Directives,
    lifetime: Option<Duration>,
    initial_age: Duration,
    now: Timestamp,
) -> Span {
    // What has none has no window after it; where the handler says zero, only the handler can open one.
    let lasting = terms.stale_while_revalidate.filter(|_| lifetime.is_some_and(|lifetime| !lifetime.is_zero()));
    let refresh = said.stale_while_revalidate.filter(|_| lifetime.is_some()).or(lasting);
    let lifetime = lifetime.filter(|_| !said.no_cache).unwrap_or_default();
    let fresh_for = lifetime.saturating_sub(initial_age);
    let has_validator = status == StatusCode::OK && conditional::has_validator(headers, now);
    // s-maxage implies proxy-revalidate (RFC 9111, 5.2.2.10); with either nothing stale may be served.
    let may_be_stale = !said.no_cache
        && !said.must_revalidate
        && !said.proxy_revalidate
        && (terms.is_private || said.s_maxage.is_none());
    let window = |length: Option<Duration>| length.filter(|_| may_be_stale).unwrap_or_default();
    let is_kept = has_validator || may_be_stale && terms.policy == CachePolicy::rfc();
    Span {
        initial_age,
        fresh_for,
        past: initial_age.saturating_sub(lifetime),
        stale_for: window(said.stale_if_error.or(terms.stale_if_error)),
        refresh_for: window(refresh),
        kept_for: if is_kept { fresh_for.clamp(KEPT_AT_LEAST, KEPT_AT_MOST) } else { Duration::ZERO },
        may_be_stale,
        has_validator,
    }
}

fn refuse(
    terms: &Terms<'_>,
    asked: Asked,
    status: StatusCode,
    headers: &HeaderMap,
    said: &Directives,
) -> Result<(), Refusal> {
    let is_rfc = terms.policy == CachePolicy::rfc();
    // RFC 9111, 3.5 names these three; proxy-revalidate is none of them.
    let shares_authorized = said.public || said.must_revalidate || said.s_maxage.is_some();
    if !is_storable(status) || said.must_understand && !is_understood(status) {
        Err(Refusal::Status)
    } else if said.no_store && !said.must_understand || asked.no_store {
        Err(Refusal::NoStore)
    } else if said.private && !terms.is_private {
        Err(Refusal::Private)
    } else if asked.authorization && !terms.is_private && !shares_authorized {
        Err(Refusal::Authorization)
    } else if headers.contains_key(SET_COOKIE) && !is_rfc {
        Err(Refusal::SetCookie)
    } else if list(headers, &VARY).any(|name| name == b"*") {
        Err(Refusal::VaryAny)
    } else {
        Ok(())
    }
}

/// The handler's hint, then what the response states, then what the layer says.
///
/// What is said to this cache alone begins when the response is here: a handler may take longer than it is kept.
fn lifetime(
    terms: &Terms<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    said: &Directives,
    delay: Duration,
    now: Timestamp,
) -> Option<Duration> {
    let also = || terms.also.iter().find(|(also, _)| *also == status).map(|(_, ttl)| *ttl);
    let ttl = || terms.ttl.filter(|_| is_ordinary(status));
    let from_here = |ttl: Duration| ttl.saturating_add(delay);
    let guess = || freshness::heuristic(headers, now).filter(|_| may_guess(terms, status, said));
    terms
        .hint_ttl
        .map(from_here)
        .or_else(|| freshness::stated(headers, said, terms.is_private, now))
        .or_else(|| also().or_else(ttl).map(from_here))
        .or_else(guess)
}

/// RFC 9111, 4.2.2: heuristically cacheable, or marked as public.
fn may_guess(terms: &Terms<'_>, status: StatusCode, said: &Directives) -> bool {
    let is_cacheable = matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501);
    terms.policy == CachePolicy::rfc() && (is_cacheable || said.public)
}

/// What `.ttl(..)` speaks of; other statuses need the handler's word or `.also_cache(..)`.
fn is_ordinary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 301 | 308)
}

/// Final and whole. 304 updates what is stored and is no answer by itself; 429 is about the one who asked.
fn is_storable(status: StatusCode) -> bool {
    !status.is_informational() && !matches!(status.as_u16(), 206 | 304 | 429)
}

/// The statuses whose caching rules we know, for `must-understand` (RFC 9111, 5.2.2.3).
fn is_understood(status: StatusCode) -> bool {
    status.canonical_reason().is_some()
}
