//! The handle: makes layers, and answers handlers that ask for themselves.

use std::{fmt, sync::Arc};

use http::request::Parts;

use super::{
    Decision, Denied, FallbackRateStore, Outcome, Policies, Policy, Quota, RateLimitLayer, RateStore, Verdict,
    check::Check, registry::Registry, slots::SlotTable,
};
use crate::{Cx, KeyValue, Result, StoreFuture, background::Background, telemetry::count};

/// Limits over one store; clones are the same handle.
///
/// ```
/// use towerkeep::{clock::{Clock, minutes}, rate_limit::{MemoryRateStore, Policy, RateLimits}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// const LOGIN: Policy = Policy::sliding_window("login", 2, minutes(5));
/// let limits = RateLimits::new(MemoryRateStore::new(Clock::system()));
///
/// let attempt = limits.check(LOGIN, "alice").await.unwrap();
/// attempt.refund().await; // the password was right: only failures count
/// for _ in 0..2 {
///     limits.check(LOGIN, "alice").await.unwrap();
/// }
/// let denied = limits.check(LOGIN, "alice").await.unwrap_err();
/// assert_eq!(denied.policies().collect::<Vec<_>>(), ["login"]);
/// # }
/// ```
#[derive(Clone)]
pub struct RateLimits(Arc<Shared>);

struct Shared {
    store: Arc<FallbackRateStore>,
    registry: Registry,
    slots: Arc<SlotTable>,
    background: Background,
}

impl RateLimits {
    /// Limits counted in `store`; in an outage this instance's share is the whole limit.
    pub fn new(store: impl RateStore) -> Self {
        Self::over(FallbackRateStore::new(store, || 1))
    }

    /// Limits over a fallback that knows how many instances there are.
    pub fn over(store: FallbackRateStore) -> Self {
        Self::with_background(store, Background::default())
    }

    /// As [`over`](Self::over); puts work that nobody waits for into this queue.
    pub(crate) fn with_background(store: FallbackRateStore, background: Background) -> Self {
        let (store, registry, slots) = (Arc::new(store), Registry::default(), Arc::default());
        Self(Arc::new(Shared { store, registry, slots, background }))
    }

    /// Sees a refund through that nobody waits for.
    pub(super) fn complete(&self, refund: StoreFuture<()>) {
        self.0.background.push(async move {
            if let Err(error) = refund.await {
                tracing::debug!(%error, "a refund was lost");
            }
        });
    }

    /// A layer that holds requests to `policies`, by the client's IP address.
    pub fn layer(&self, policies: impl Into<Policies>) -> RateLimitLayer {
        RateLimitLayer::fixed(self.clone(), self.0.registry.resolve(policies.into()))
    }

    /// A layer that asks for each request which policies hold: plans, tenants, methods.
    ///
    /// ```
    /// use http::request::Parts;
    /// use towerkeep::{clock::{Clock, minutes}, rate_limit::{MemoryRateStore, Policy, RateLimits}};
    /// const FREE: Policy = Policy::sliding_window("api-free", 60, minutes(1));
    /// const PRO: Policy = Policy::sliding_window("api-pro", 1_000, minutes(1));
    /// #[derive(Clone)] struct Pro;
    /// fn by_plan(parts: &Parts) -> Policy {
    ///     if parts.extensions.get::<Pro>().is_some() { PRO } else { FREE }
    /// }
    /// let limits = RateLimits::new(MemoryRateStore::new(Clock::system()));
    /// let layer = limits.layer_with(by_plan);
    /// ```
    pub fn layer_with<P, F>(&self, choose: F) -> RateLimitLayer
    where
        P: Into<Policies>,
        F: Fn(&Parts) -> P + Send + Sync + 'static,
    {
        RateLimitLayer::chosen(self.clone(), Arc::new(move |parts: &Parts| choose(parts).into()))
    }

    /// Charges one to `policies` of the client `key`, which can be anything: `(ip, account)`.
    ///
    /// # Errors
    /// [`Denied`], when a policy is over its limit, or refuses because its store does not answer.
    pub async fn check(&self, policies: impl Into<Policies>, key: impl Into<KeyValue>) -> Result<Quota, Denied> {
        self.charge(self.0.registry.resolve(policies.into()), key.into(), 1).await
    }

    /// How the client stands, charging nothing.
    ///
    /// # Errors
    /// Unavailable, when the store does not answer.
    pub async fn inspect(&self, policies: impl Into<Policies>, key: impl Into<KeyValue>) -> Result<Vec<Decision>> {
        let (policies, key) = (self.0.registry.resolve(policies.into()), key.into());
        let counted = policies.counted();
        let verdict =
            if counted.is_empty() { Verdict::default() } else { self.0.store.peek(&Cx::new(), &key, &counted).await? };
        let mut counted = verdict.into_decisions().into_iter();
        let look = |policy: &Policy| match policy.is_concurrency() {
            true => self.0.slots.look(&key, policy),
            false => counted.next().unwrap_or_else(|| Decision::new(*policy, Outcome::Uncharged)),
        };
        Ok(policies.iter().map(look).collect())
    }

    /// Forgets what the client was charged; slots of requests under way stay taken.
    ///
    /// # Errors
    /// Unavailable, when the store does not answer; this instance's own count is forgotten all the same.
    pub async fn reset(&self, policies: impl Into<Policies>, key: impl Into<KeyValue>) -> Result<()> {
        let counted = self.0.registry.resolve(policies.into()).counted();
        if counted.is_empty() { Ok(()) } else { self.0.store.reset(&Cx::new(), &key.into(), &counted).await }
    }

    /// Checks that no two different policies share a name: call it before listening.
    ///
    /// Policies count from when their layer was made, or they were first checked. If nobody asks, one error is logged.
    ///
    /// # Errors
    /// Invalid, naming the policies.
    pub fn verify(&self) -> Result<()> {
        self.0.registry.verify()
    }

    pub(super) async fn charge(&self, policies: Policies, key: KeyValue, cost: u32) -> Result<Quota, Denied> {
        if policies.is_empty() {
            return Ok(Quota::uncounted());
        }
        let mut check = self.begin(Cx::new(), key, policies, cost);
        let verdict = (&mut check).await;
        self.tell(&verdict);
        if verdict.is_admitted() { Ok(Quota::new(self, check, verdict, None)) } else { Err(Denied::new(verdict)) }
    }

    pub(super) fn resolve(&self, policies: Policies) -> Policies {
        self.0.registry.resolve(policies)
    }

    pub(super) fn begin(&self, cx: Cx, key: KeyValue, policies: Policies, cost: u32) -> Check {
        self.0.registry.tell();
        Check::begin(&self.0.store, &self.0.slots, cx, key, policies, cost)
    }

    /// Counts a verdict.
    pub(super) fn tell(&self, verdict: &Verdict) {
        for decision in verdict.decisions() {
            tell(decision.policy().name(), decision.outcome());
        }
    }

    pub(super) fn store(&self) -> &FallbackRateStore {
        &self.0.store
    }

    /// Tells handles apart: what one charged says nothing about another.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

pub(super) fn tell(policy: &'static str, outcome: Outcome) {
    count("towerkeep_rate_limit_decisions_total", [("policy", policy), ("outcome", outcome.as_str())]);
}

impl fmt::Debug for RateLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimits").field("store", &self.0.store).finish_non_exhaustive()
    }
}
