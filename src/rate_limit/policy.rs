//! Policies: how much in how long, as constants that do not compile when they make no sense.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use crate::{Error, Result, outcome::outcomes};

/// How many requests of one client a route takes in how long.
///
/// 1. [`sliding_window`](Policy::sliding_window) admits at most `limit` in any span of `per`: in (t - per, t] for every t.
/// 2. [`token_bucket`](Policy::token_bucket) admits at most its capacity plus `limit` for each `per` that passes,
///    evenly refilled.
/// 3. [`concurrency`](Policy::concurrency) admits as long as fewer than `limit` requests of the client are under way.
/// 4. A policy is known by its name. The same policy mounted twice charges a request once; two different policies of
///    one name are a mistake, which [`RateLimits::verify`](super::RateLimits::verify) reports.
///
/// Impossible figures in a constant do not compile:
///
/// ```compile_fail
/// # use towerkeep::{rate_limit::Policy, clock::minutes};
/// const NEVER: Policy = Policy::sliding_window("never", 0, minutes(1));
/// # fn main() { let _ = NEVER; }
/// ```
///
/// Figures from configuration go through [`with_limit`](Policy::with_limit), which says what is wrong:
///
/// ```
/// use towerkeep::{rate_limit::Policy, clock::{minutes, seconds}};
/// const GENERAL: Policy = Policy::sliding_window("general", 100, minutes(1));
/// assert_eq!(GENERAL.with_limit(200, seconds(30)).unwrap().limit(), 200);
/// assert!(GENERAL.with_limit(0, seconds(30)).unwrap_err().is_invalid());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Policy {
    name: &'static str,
    algorithm: Algorithm,
    limit: u32,
    burst: Option<u32>,
    per: u64,
    on_outage: LimitOutage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Algorithm {
    SlidingWindow,
    TokenBucket,
    /// Has slots instead of a period; [`RateLimits`](super::RateLimits) keeps them, no store sees them.
    Concurrency,
}

outcomes! {
    /// What a policy does while the store does not answer.
    pub enum LimitOutage {
        /// This instance limits alone, to its share: the limit divided by the instances last seen, rounded up. It has
        /// kept count all along, so an outage gives nobody a fresh quota. The default.
        LocalShare => "local_share",
        /// Requests pass uncounted; one warning is logged when that begins.
        Skip => "skip",
        /// Requests are answered 503 with `Retry-After`: where a share is not safe enough, as for logins.
        Deny => "deny",
    }
}

/// Logs up to this limit hold each request's own time; longer ones hold this many sub-buckets.
pub(super) const EXACT: u32 = 120;
/// The shortest and the longest period, and the longest time a bucket may take to fill, in microseconds.
const SHORTEST: u64 = 1_000;
const LONGEST: u64 = 366 * 86_400 * 1_000_000;

impl Policy {
    /// At most `limit` requests in any span of `per`.
    ///
    /// Up to a limit of 120 each request counts until exactly `per` later; above, up to `per / 120` longer.
    ///
    /// # Panics
    /// When the figures are impossible: at compile time in a constant. `name` is 1 to 32 of a-z, 0-9, `_` and `-`,
    /// `limit` at least 1, `per` between a millisecond and 366 days.
    pub const fn sliding_window(name: &'static str, limit: u32, per: Duration) -> Self {
        Self::new(name, Algorithm::SlidingWindow, limit, micros(per)).checked()
    }

    /// A bucket of `limit` tokens that refills evenly, `limit` tokens in each `per`; a request takes one.
    ///
    /// # Panics
    /// As [`sliding_window`](Policy::sliding_window).
    pub const fn token_bucket(name: &'static str, limit: u32, per: Duration) -> Self {
        Self::new(name, Algorithm::TokenBucket, limit, micros(per)).checked()
    }

    /// At most `limit` requests of one client under way at once, in this instance.
    ///
    /// 1. A request takes one slot whatever it costs, and none where its cost is 0. It is back when the response's body
    ///    has ended or is dropped, and every clone of the request's [`Quota`](super::Quota) with it: move the quota into
    ///    the task of a WebSocket to hold the slot as long as that.
    /// 2. Slots are taken before anything is counted: a refused request costs no trip, and charges nothing.
    /// 3. A refusal has no `Retry-After`, because nobody knows when a slot is free.
    /// 4. Each instance has slots of its own, in an outage too: `on_outage` says nothing here.
    ///
    /// # Panics
    /// When `limit` is 0, or the name no name; at compile time in a constant.
    ///
    /// ```
    /// use towerkeep::{clock::Clock, rate_limit::{MemoryRateStore, Policy, RateLimits}};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// const EXPORTS: Policy = Policy::concurrency("exports", 1);
    /// let limits = RateLimits::new(MemoryRateStore::new(Clock::system()));
    /// let running = limits.check(EXPORTS, "alice").await.unwrap();
    /// assert!(limits.check(EXPORTS, "alice").await.is_err());
    /// drop(running);
    /// assert!(limits.check(EXPORTS, "alice").await.is_ok());
    /// # }
    /// ```
    pub const fn concurrency(name: &'static str, limit: u32) -> Self {
        Self::new(name, Algorithm::Concurrency, limit, 0).checked()
    }

    /// Lets the bucket hold `tokens`, however many refill it. Defaults to the limit.
    ///
    /// # Panics
    /// When `tokens` is 0, takes over 366 days to refill, or the policy is no token bucket: others have no bursts.
    #[must_use]
    pub const fn burst(mut self, tokens: u32) -> Self {
        self.burst = Some(tokens);
        self.checked()
    }

    /// Chooses what happens while the store does not answer. Defaults to [`LimitOutage::LocalShare`].
    #[must_use]
    pub const fn on_outage(mut self, choice: LimitOutage) -> Self {
        self.on_outage = choice;
        self
    }

    /// The same policy with other figures, as they come from configuration; a burst that was set stays. Concurrency has
    /// no period and ignores `per`.
    ///
    /// # Errors
    /// Invalid, naming the policy and what is impossible about the figures.
    pub fn with_limit(mut self, limit: u32, per: Duration) -> Result<Self> {
        (self.limit, self.per) = (limit, if self.is_concurrency() { 0 } else { micros(per) });
        match self.fault() {
            None => Ok(self),
            Some(fault) => Err(Error::invalid(format!("policy {:?}: {fault}", self.name))),
        }
    }

    /// The name, part of keys, headers and metrics.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether both have one name; mostly they are the same constant, which needs no look at its letters.
    pub(super) fn is_named(&self, other: &Self) -> bool {
        std::ptr::eq(self.name, other.name) || self.name == other.name
    }

    /// How many requests each period admits.
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// The period; zero for concurrency, which has none.
    pub const fn per(&self) -> Duration {
        Duration::from_micros(self.per)
    }

    /// How many requests are admitted at once by a client that was idle: the limit, or the burst of a bucket.
    pub const fn capacity(&self) -> u32 {
        match self.burst {
            Some(burst) => burst,
            None => self.limit,
        }
    }

    /// How long it takes until all of the capacity is there again: the period, or as long as a bucket takes to fill.
    pub(super) fn refill(&self) -> Duration {
        let whole = u128::from(self.capacity()) * u128::from(self.per) / u128::from(self.limit);
        Duration::from_micros(u64::try_from(whole).unwrap_or(u64::MAX))
    }

    /// What happens while the store does not answer.
    pub const fn outage(&self) -> LimitOutage {
        self.on_outage
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) const fn is_concurrency(&self) -> bool {
        matches!(self.algorithm, Algorithm::Concurrency)
    }

    /// The period in microseconds.
    pub(super) const fn per_micros(&self) -> u64 {
        self.per
    }

    /// Requests of one grain share one entry of the log.
    pub(super) const fn grain(&self) -> u64 {
        if self.limit <= EXACT { 1 } else { self.per.div_ceil(EXACT as u64) }
    }

    /// What one of `instances` admits when each is alone.
    pub(super) fn share(mut self, instances: u32) -> Self {
        let instances = instances.max(1);
        self.limit = self.limit.div_ceil(instances);
        self.burst = self.burst.map(|burst| burst.div_ceil(instances));
        self
    }

    const fn new(name: &'static str, algorithm: Algorithm, limit: u32, per: u64) -> Self {
        Self { name, algorithm, limit, burst: None, per, on_outage: LimitOutage::LocalShare }
    }

    const fn checked(self) -> Self {
        match self.fault() {
            None => self,
            Some(fault) => panic!("{}", fault),
        }
    }

    const fn fault(&self) -> Option<&'static str> {
        if !is_name(self.name) {
            return Some("a policy's name is 1 to 32 of a-z, 0-9, _ and -");
        }
        if self.limit == 0 {
            return Some("the limit is 0; nothing would ever pass");
        }
        match self.period_fault() {
            Some(fault) => Some(fault),
            None => self.burst_fault(),
        }
    }

    const fn period_fault(&self) -> Option<&'static str> {
        if self.is_concurrency() {
            None
        } else if self.per < SHORTEST {
            Some("the period is under a millisecond")
        } else if self.per > LONGEST {
            Some("the period is over 366 days")
        } else {
            None
        }
    }

    const fn burst_fault(&self) -> Option<&'static str> {
        match (self.algorithm, self.burst) {
            (Algorithm::SlidingWindow, Some(_)) => Some("a sliding window has no burst; use a token bucket"),
            (Algorithm::Concurrency, Some(_)) => Some("concurrency has no burst; its limit is all there is"),
            (_, Some(0)) => Some("the burst is 0; nothing would ever pass"),
            (_, Some(burst)) if burst as u128 * self.per as u128 > LONGEST as u128 * self.limit as u128 => {
                Some("the burst takes over 366 days to refill")
            }
            _ => None,
        }
    }
}

const fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut n = 0;
    while n < bytes.len() {
        if !matches!(bytes[n], b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-') {
            return false;
        }
        n += 1;
    }
    n >= 1 && n <= 32
}

/// Whole microseconds; a longer duration than fits is over the longest period anyway.
const fn micros(duration: Duration) -> u64 {
    let micros = duration.as_micros();
    if micros > u64::MAX as u128 { u64::MAX } else { micros as u64 }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} of {}", self.name, self.algorithm, self.limit)?;
        if self.is_concurrency() {
            return Ok(());
        }
        write!(f, " per {:?}", self.per())?;
        if let Some(burst) = self.burst {
            write!(f, ", burst {burst}")?;
        }
        write!(f, ", on outage {}", self.on_outage)
    }
}

/// One or more policies that a request must pass together, decided in one trip; nothing is charged when one denies.
///
/// ```
/// use towerkeep::{rate_limit::{Policies, Policy}, clock::minutes};
/// const GENERAL: Policy = Policy::sliding_window("general", 100, minutes(1));
/// const SEARCH: Policy = Policy::sliding_window("search", 20, minutes(1));
/// assert_eq!(Policies::from([GENERAL, SEARCH]).len(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct Policies(Repr);

#[derive(Clone, Debug)]
enum Repr {
    /// The usual case needs no allocation.
    One(Policy),
    Many(Arc<[Policy]>),
}

impl Policies {
    /// Those that a store counts.
    pub(super) fn counted(&self) -> Self {
        self.iter().copied().filter(|policy| !policy.is_concurrency()).collect()
    }

    pub(super) fn has_concurrency(&self) -> bool {
        self.iter().any(Policy::is_concurrency)
    }
}

impl Deref for Policies {
    type Target = [Policy];
    fn deref(&self) -> &[Policy] {
        match &self.0 {
            Repr::One(policy) => std::slice::from_ref(policy),
            Repr::Many(policies) => policies,
        }
    }
}

impl From<Policy> for Policies {
    fn from(policy: Policy) -> Self {
        Self(Repr::One(policy))
    }
}

impl<const N: usize> From<[Policy; N]> for Policies {
    fn from(policies: [Policy; N]) -> Self {
        const { assert!(N > 0, "a limit needs at least one policy") };
        policies.into_iter().collect()
    }
}

/// An empty set limits nothing.
impl FromIterator<Policy> for Policies {
    fn from_iter<I: IntoIterator<Item = Policy>>(policies: I) -> Self {
        let mut policies = policies.into_iter();
        match (policies.next(), policies.next()) {
            (Some(only), None) => Self(Repr::One(only)),
            (first, second) => Self(Repr::Many(first.into_iter().chain(second).chain(policies).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{days, minutes, seconds};

    const AI: Policy = Policy::token_bucket("ai", 20, minutes(1)).burst(40).on_outage(LimitOutage::Deny);

    #[test]
    fn figures_from_configuration_name_their_fault() {
        let fault = |limit, per| AI.with_limit(limit, per).expect_err("impossible").to_string();
        assert_eq!(fault(0, minutes(1)), "policy \"ai\": the limit is 0; nothing would ever pass");
        assert!(fault(5, Duration::from_micros(999)).contains("under a millisecond"));
        assert!(fault(5, days(367)).contains("over 366 days"));
        assert!(fault(1, days(300)).contains("to refill"));
    }

    #[test]
    #[should_panic(expected = "has no burst")]
    fn a_window_has_no_burst() {
        let _ = Policy::sliding_window("general", 5, seconds(1)).burst(9);
    }

    #[test]
    #[should_panic(expected = "name is 1 to 32")]
    fn names_are_fit_for_keys_and_headers() {
        let _ = Policy::sliding_window("General \"quoted\"", 5, seconds(1));
    }

    #[test]
    fn concurrency_has_no_period() {
        const UPLOADS: Policy = Policy::concurrency("uploads", 3);
        assert_eq!((UPLOADS.limit(), UPLOADS.capacity(), UPLOADS.per()), (3, 3, Duration::ZERO));
        assert_eq!(UPLOADS.with_limit(5, minutes(1)).expect("possible"), Policy::concurrency("uploads", 5));
        assert!(UPLOADS.with_limit(0, Duration::ZERO).is_err());
        assert_eq!(format!("{UPLOADS:?}"), "uploads: Concurrency of 3");
    }

    #[test]
    fn a_share_is_rounded_up() {
        assert_eq!(AI.share(3).limit(), 7);
        assert_eq!(AI.share(3).capacity(), 14);
        assert_eq!(AI.share(0), AI);
        assert_eq!(AI.share(1_000).limit(), 1);
    }

    #[test]
    fn several_policies_keep_their_order() {
        let policies = Policies::from([AI, AI.share(2)]);
        assert_eq!(&*policies, &[AI, AI.share(2)]);
    }
}
