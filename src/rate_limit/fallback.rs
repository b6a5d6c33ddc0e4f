//! What limits do while their store does not answer.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use super::{Charge, Decision, LimitOutage, MemoryRateStore, Outcome, Policies, Policy, RateStore, Verdict};
use crate::{Cx, Detour, Error, KeyValue, Result, StoreFuture, clock::Clock};

/// Asks a store, and where it does not answer does what each policy's `on_outage` says.
///
/// # When Redis is down
/// 1. [`LimitOutage::LocalShare`]: this instance admits its share, the limit divided by the instances last seen.
///    It counts along while the store answers, so an outage hands nobody a fresh quota.
/// 2. [`LimitOutage::Skip`]: requests pass.
/// 3. [`LimitOutage::Deny`]: requests are refused as unavailable (503), never as over the limit (429).
///
/// A check never fails and never waits longer than the store's own deadline. For each policy that is
/// skipped one warning says so.
///
/// ```
/// use towerkeep::{Cx, clock::{Clock, minutes}, rate_limit::{FallbackRateStore, MemoryRateStore, Outcome, Policy, RateStore}};
/// use towerkeep::store::OutageSwitch;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// const FOUR: Policy = Policy::sliding_window("four", 4, minutes(1));
/// let outage = OutageSwitch::default();
/// let store = MemoryRateStore::new(Clock::system()).outage(outage.clone());
/// let store = FallbackRateStore::new(store, || 2); // two instances: a share is 2
///
/// let ask = || store.check(&Cx::new(), &"alice".into(), &[FOUR], 1);
/// assert_eq!(ask().await.unwrap().decisions()[0].outcome(), Outcome::Admitted);
/// outage.set(true);
/// assert_eq!(ask().await.unwrap().decisions()[0].outcome(), Outcome::Local);
/// assert_eq!(ask().await.unwrap().decisions()[0].outcome(), Outcome::LocalDenied);
/// # }
/// ```
#[derive(Clone)]
pub struct FallbackRateStore {
    inner: Arc<dyn RateStore>,
    local: MemoryRateStore,
    /// Whether `local` is `inner` itself, which has counted already what it admitted.
    is_one: bool,
    instances: Arc<dyn Fn() -> u32 + Send + Sync>,
    log: Arc<OutageLog>,
}

impl FallbackRateStore {
    /// Falls back from `inner`; `instances` tells how many share the limits, this one included.
    pub fn new(inner: impl RateStore, instances: impl Fn() -> u32 + Send + Sync + 'static) -> Self {
        let local = MemoryRateStore::new(Clock::system());
        Self { inner: Arc::new(inner), local, is_one: false, instances: Arc::new(instances), log: Arc::default() }
    }

    /// Falls back from a store of this process to itself: a forced outage goes on with its counts, and nothing is
    /// counted twice.
    pub fn in_memory(store: MemoryRateStore) -> Self {
        Self { local: store.clone(), is_one: true, ..Self::new(store, || 1) }
    }

    /// Counts by `clock` during outages. Defaults to the system's; a store in memory keeps its own.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        if !self.is_one {
            self.local = MemoryRateStore::new(clock);
        }
        self
    }

    /// Starts a check that cannot fail; nothing is boxed but what the store itself boxes.
    pub(super) fn begin(self: &Arc<Self>, cx: Cx, key: &KeyValue, policies: &Policies, cost: u32) -> Counted {
        let mut answer = self.inner.check(&cx, key, policies, cost);
        match answer.take_ready() {
            Some(answer) => Counted::Known(self.settle(answer, &cx, key, policies, cost)),
            None => Counted::Asked(Asked {
                answer,
                store: Arc::clone(self),
                cx,
                key: key.clone(),
                policies: policies.clone(),
                cost,
            }),
        }
    }

    /// Turns what the store answered, or did not, into a verdict.
    fn settle(&self, answer: Result<Verdict>, cx: &Cx, key: &KeyValue, policies: &[Policy], cost: u32) -> Verdict {
        match answer {
            Ok(verdict) => {
                if verdict.is_admitted() {
                    self.log.up();
                    if !self.is_one {
                        self.count_along(cx, key, policies, cost);
                    }
                }
                verdict
            }
            Err(error) => {
                self.log.down(&error, policies);
                let verdict = self.decide_alone(&error, cx, key, policies, cost);
                verdict.decisions().iter().filter_map(detour).for_each(|detour| cx.note("rate-limit", detour));
                verdict
            }
        }
    }

    fn count_along(&self, cx: &Cx, key: &KeyValue, policies: &[Policy], cost: u32) {
        let shares = policies.iter().filter(|policy| policy.outage() == LimitOutage::LocalShare);
        self.local.record(cx, key, shares.map(|policy| self.share(policy)).map(|share| (share, fit(&share, cost))));
    }

    fn decide_alone(&self, error: &Error, cx: &Cx, key: &KeyValue, policies: &[Policy], cost: u32) -> Verdict {
        if policies.iter().any(|policy| policy.outage() == LimitOutage::Deny) {
            let after = error.retry_after().unwrap_or(Duration::from_secs(1));
            return policies.iter().map(|policy| refuse(policy, after)).collect();
        }
        let counted = policies.iter().filter(|policy| policy.outage() == LimitOutage::LocalShare);
        let shares: Vec<_> = counted.map(|policy| self.share(policy)).collect();
        let local = self.local.check_now(cx, key, &shares, |share| fit(share, cost));
        let mut local = local.into_decisions().into_iter();
        let decide = |policy: &Policy| match policy.outage() {
            LimitOutage::LocalShare => by_share(*policy, local.next().expect("one decision for each share")),
            _ => Decision::new(*policy, Outcome::Skipped),
        };
        policies.iter().map(decide).collect()
    }

    fn share(&self, policy: &Policy) -> Policy {
        policy.share((self.instances)())
    }

    /// Gives back what was counted along, and what this instance charged alone.
    fn refund_local(&self, cx: &Cx, key: &KeyValue, charges: &[Charge]) {
        let own = charges.iter().filter(|charge| !self.is_one || charge.is_local);
        let shares = own.map(|charge| (self.share(&charge.policy), charge.cost));
        self.local.refund_now(cx, key, shares.map(|(share, cost)| (share, fit(&share, cost), None)));
    }
}

/// Says that a limit is skipped: once for each policy and outage, not for each request, and not for each slow answer.
#[derive(Default)]
struct OutageLog {
    /// Whether this outage was told of, for any policy.
    is_told: AtomicBool,
    skipped: Mutex<Vec<Skipped>>,
}

/// When a policy was last told to be skipped, and whether in this outage.
struct Skipped {
    policy: &'static str,
    at: Instant,
    is_now: bool,
}

/// How long after a warning another outage is no news.
const QUIET: Duration = Duration::from_secs(10);

impl OutageLog {
    fn up(&self) {
        if self.is_told.load(Relaxed) && self.is_told.swap(false, Relaxed) {
            self.skipped().iter_mut().for_each(|skipped| skipped.is_now = false);
            tracing::debug!("rate limits: the store answers again");
        }
    }

    /// The connection's own warning tells the outage; a further one is due only where a limit is gone with it.
    fn down(&self, error: &Error, policies: &[Policy]) {
        let skipped = policies.iter().filter(|policy| policy.outage() == LimitOutage::Skip);
        for policy in skipped.filter(|policy| self.is_news(policy.name())) {
            tracing::warn!(%error, policy = policy.name(), "a rate limit is skipped: the store does not answer");
        }
    }

    fn is_news(&self, policy: &'static str) -> bool {
        let (mut all, at) = (self.skipped(), Instant::now());
        match all.iter_mut().find(|skipped| skipped.policy == policy) {
            Some(skipped) if skipped.is_now || at.duration_since(skipped.at) < QUIET => return false,
            Some(skipped) => (skipped.at, skipped.is_now) = (at, true),
            None => all.push(Skipped { policy, at, is_now: true }),
        }
        self.is_told.store(true, Relaxed);
        true
    }

    fn skipped(&self) -> MutexGuard<'_, Vec<Skipped>> {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A share can be smaller than one request's cost; such a request takes all of it.
fn fit(share: &Policy, cost: u32) -> u32 {
    cost.min(share.capacity())
}

fn refuse(policy: &Policy, after: Duration) -> Decision {
    match policy.outage() {
        LimitOutage::Deny => Decision::new(*policy, Outcome::Unavailable).with_retry_after(after),
        _ => Decision::new(*policy, Outcome::Uncharged),
    }
}

/// The word for what this decision was made by in the store's place.
fn detour(decision: &Decision) -> Option<Detour> {
    match decision.outcome() {
        Outcome::Local | Outcome::LocalDenied => Some(Detour::Local),
        Outcome::Skipped => Some(Detour::Skipped),
        Outcome::Unavailable => Some(Detour::Denied),
        _ => None,
    }
}

fn by_share(policy: Policy, decision: Decision) -> Decision {
    let outcome = match decision.outcome() {
        Outcome::Admitted => Outcome::Local,
        Outcome::Denied => Outcome::LocalDenied,
        other => other,
    };
    decision.seen_as(policy, outcome)
}

impl RateStore for FallbackRateStore {
    fn check(&self, cx: &Cx, key: &KeyValue, policies: &[Policy], cost: u32) -> StoreFuture<Verdict> {
        let mut answer = self.inner.check(cx, key, policies, cost);
        if let Some(answer) = answer.take_ready() {
            return StoreFuture::ok(self.settle(answer, cx, key, policies, cost));
        }
        let policies = policies.iter().copied().collect();
        let asked = Asked { answer, store: Arc::new(self.clone()), cx: cx.clone(), key: key.clone(), policies, cost };
        StoreFuture::boxed(async move { Ok(asked.await) })
    }

    fn peek(&self, cx: &Cx, key: &KeyValue, policies: &[Policy]) -> StoreFuture<Verdict> {
        self.inner.peek(cx, key, policies)
    }

    fn refund(&self, cx: &Cx, key: &KeyValue, charges: &[Charge]) -> StoreFuture<()> {
        self.refund_local(cx, key, charges);
        if charges.iter().all(|charge| charge.is_local) {
            return StoreFuture::ok(());
        }
        let shared: Vec<_> = charges.iter().copied().filter(|charge| !charge.is_local).collect();
        self.inner.refund(cx, key, &shared)
    }

    fn reset(&self, cx: &Cx, key: &KeyValue, policies: &[Policy]) -> StoreFuture<()> {
        self.local.reset_now(key, policies);
        self.inner.reset(cx, key, policies)
    }
}

/// What the store said at once, or is still asked.
pub(super) enum Counted {
    Known(Verdict),
    Asked(Asked),
}

/// A question under way to the store; it cannot fail.
pub(super) struct Asked {
    answer: StoreFuture<Verdict>,
    store: Arc<FallbackRateStore>,
    cx: Cx,
    key: KeyValue,
    policies: Policies,
    cost: u32,
}

impl Future for Asked {
    type Output = Verdict;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict> {
        let this = self.get_mut();
        let answer = ready!(Pin::new(&mut this.answer).poll(cx));
        Poll::Ready(this.store.settle(answer, &this.cx, &this.key, &this.policies, this.cost))
    }
}

impl fmt::Debug for FallbackRateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackRateStore")
            .field("local", &self.local)
            .field("instances", &(self.instances)())
            .finish_non_exhaustive()
    }
}
