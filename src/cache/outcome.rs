//! What became of a request, in one word and in one header (RFC 9211).

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{figures::Figures, policy::Refusal};
use crate::outcome::outcomes;

outcomes! {
    /// What became of a request; the label of `towerkeep_cache_requests_total`.
    pub enum CacheOutcome {
        /// Answered from the store.
        Hit => "hit",
        /// Answered from what another request of the same moment got.
        Collapsed => "collapsed",
        /// The handler failed; answered from the store past its time.
        Stale => "stale",
        /// The handler said that what is stored still holds, and that answered.
        Validated => "validated",
        /// Answered by the handler, and kept.
        Miss => "miss",
        /// Answered by the handler; the answer may not be kept.
        Uncacheable => "uncacheable",
        /// Not looked up: nobody's partition, a precondition.
        Bypass => "bypass",
        /// Not looked up: a method that is not answered from a store.
        Method => "method",
        /// Not looked up: Redis is down.
        Unavailable => "unavailable",
    }
}

outcomes! {
    /// Why the handler was asked (RFC 9211, 2.2).
    pub(crate) enum WhyAsked {
        /// Nothing is stored.
        Miss => "miss",
        /// What is stored is stale.
        Stale => "stale",
        /// What is stored is fresh, and the request wants it younger.
        Request => "request",
    }
}

/// How one request was answered, with what the header says about it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answered {
    Hit {
        left: Duration,
    },
    /// From the store, past its time: it is being refreshed, or the request puts up with it.
    HitStale {
        past: Duration,
    },
    Collapsed,
    /// The handler has failed, and the response or the layer says that it may stand in then.
    Stale,
    /// The handler has failed, and nothing forbids that it stands in.
    Disconnected,
    Validated {
        why_asked: WhyAsked,
        is_kept: bool,
    },
    Kept {
        why_asked: WhyAsked,
    },
    Refused {
        why: Refusal,
        why_asked: WhyAsked,
    },
    /// Known to the store, or not, and none of this cache's business: HEAD, a wait that was too long.
    NotKept(&'static str),
    Bypassed(&'static str),
    Method,
    Unavailable,
}

/// `Cache-Status` (RFC 9211).
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

impl Answered {
    pub(crate) fn outcome(self) -> CacheOutcome {
        match self {
            Self::Hit { .. } | Self::HitStale { .. } => CacheOutcome::Hit,
            Self::Collapsed => CacheOutcome::Collapsed,
            Self::Stale | Self::Disconnected => CacheOutcome::Stale,
            Self::Validated { .. } => CacheOutcome::Validated,
            Self::Kept { .. } => CacheOutcome::Miss,
            Self::Refused { .. } | Self::NotKept(_) => CacheOutcome::Uncacheable,
            Self::Bypassed(_) => CacheOutcome::Bypass,
            Self::Method => CacheOutcome::Method,
            Self::Unavailable => CacheOutcome::Unavailable,
        }
    }

    /// Adds our word; caches nearer to the handler have said theirs before.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        let value = match self {
            Self::Hit { left } => Figures::of(0, left.as_secs()).status,
            // Rounded away from zero, as what is left is rounded towards it.
            Self::HitStale { past } => {
                written(format!("towerkeep; hit; ttl=-{}", past.as_micros().div_ceil(1_000_000)))
            }
            Self::Collapsed => HeaderValue::from_static("towerkeep; fwd=miss; collapsed"),
            Self::Stale => HeaderValue::from_static("towerkeep; fwd=stale; detail=stale-if-error"),
            Self::Disconnected => HeaderValue::from_static("towerkeep; fwd=stale; detail=disconnected"),
            Self::Validated { why_asked, is_kept } => {
                let stored = if is_kept { "; stored" } else { "" };
                written(format!("towerkeep; fwd={why_asked}; fwd-status=304{stored}"))
            }
            Self::Kept { why_asked: WhyAsked::Miss } => HeaderValue::from_static("towerkeep; fwd=miss; stored"),
            Self::Kept { why_asked } => written(format!("towerkeep; fwd={why_asked}; stored")),
            Self::Refused { why, why_asked } => written(format!("towerkeep; fwd={why_asked}; detail={why}")),
            Self::NotKept(why) => written(format!("towerkeep; fwd=miss; detail={why}")),
            Self::Bypassed(why) => written(format!("towerkeep; fwd=bypass; detail={why}")),
            Self::Method => HeaderValue::from_static("towerkeep; fwd=method"),
            Self::Unavailable => HeaderValue::from_static("towerkeep; fwd=bypass; detail=unavailable"),
        };
        headers.append(CACHE_STATUS, value);
    }
}

fn written(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("words and numbers are visible ascii")
}

/// How often each outcome was, since the cache was made.
///
/// ```
/// use towerkeep::{cache::{CacheOutcome, MemoryCacheStore, ResponseCache}, clock::Clock};
/// let cache = ResponseCache::new(MemoryCacheStore::new(Clock::system()));
/// assert_eq!(cache.stats().count(CacheOutcome::Hit), 0);
/// assert_eq!(cache.stats().hit_ratio(), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats([u64; 9]);

impl CacheStats {
    /// How often `outcome` was.
    pub fn count(&self, outcome: CacheOutcome) -> u64 {
        self.0[outcome as usize]
    }

    /// The share of answers without the handler, of all requests that were looked up; nothing before the first.
    pub fn hit_ratio(&self) -> Option<f64> {
        use CacheOutcome::{Collapsed, Hit, Miss, Stale, Uncacheable, Validated};
        let served = self.count(Hit) + self.count(Collapsed);
        let all = served + self.count(Stale) + self.count(Validated) + self.count(Miss) + self.count(Uncacheable);
        #[allow(clippy::cast_precision_loss, reason = "a ratio needs no more than 52 bits")]
        (all > 0).then(|| served as f64 / all as f64)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; 9]);

impl Counters {
    pub(crate) fn add(&self, cache: &'static str, outcome: CacheOutcome) {
        self.0[outcome as usize].fetch_add(1, Relaxed);
        crate::telemetry::count("towerkeep_cache_requests_total", [("cache", cache), ("outcome", outcome.as_str())]);
    }

    /// Counts what became of a refresh, which is no request of a client's.
    pub(crate) fn add_refresh(cache: &'static str, outcome: CacheOutcome) {
        crate::telemetry::count("towerkeep_cache_refreshes_total", [("cache", cache), ("outcome", outcome.as_str())]);
    }

    pub(crate) fn read(&self) -> CacheStats {
        CacheStats(std::array::from_fn(|n| self.0[n].load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_appended() {
        let mut headers = HeaderMap::new();
        headers.append(CACHE_STATUS, HeaderValue::from_static("inner; hit"));
        Answered::Hit { left: Duration::from_millis(1_900) }.write(&mut headers);
        Answered::HitStale { past: Duration::from_millis(1_100) }.write(&mut headers);
        let lines: Vec<_> = headers.get_all(CACHE_STATUS).iter().collect();
        assert_eq!(lines, ["inner; hit", "towerkeep; hit; ttl=1", "towerkeep; hit; ttl=-2"]);
    }

    #[test]
    fn the_ratio_counts_what_was_looked_up() {
        let counters = Counters::default();
        for outcome in [CacheOutcome::Hit, CacheOutcome::Miss, CacheOutcome::Bypass, CacheOutcome::Unavailable] {
            counters.add("a", outcome);
        }
        assert_eq!(counters.read().hit_ratio(), Some(0.5));
    }
}
