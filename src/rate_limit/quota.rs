//! What an admitted request knows about its limits.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{
    Decision, Denied, Policies, Policy, RateLimits, RateStore, Verdict, check::Check, slots::Slots, verdict::Decisions,
};
use crate::{Cx, KeyValue, StoreFuture};

/// An admission: what is left, more to charge, and the way to give it back.
///
/// 1. A layer puts the one of its request into the extensions; as an axum extractor it is that of the innermost layer
///    that counted, and 500 where no layer is mounted.
/// 2. A request that nobody counts (skipped, a disabled layer, passed in shadow mode, an outage under
///    [`Skip`](super::LimitOutage::Skip)) has a quota too: `u32::MAX` remain, and charging it does nothing.
/// 3. Clones are the same admission; the slots of a [`concurrency`](Policy::concurrency) policy are taken until the last
///    one is dropped.
#[derive(Clone)]
pub struct Quota(Option<Arc<Admission>>);

struct Admission {
    limits: RateLimits,
    key: KeyValue,
    policies: Policies,
    decisions: Decisions,
    is_refunded: AtomicBool,
    /// What an outer layer admitted, so that the same policy is not charged again.
    outer: Option<Quota>,
    slots: Option<Arc<Slots>>,
}

impl Quota {
    pub(super) fn new(limits: &RateLimits, check: Check, verdict: Verdict, outer: Option<Self>) -> Self {
        let (key, policies, slots) = check.into_parts();
        let (limits, decisions, is_refunded) = (limits.clone(), verdict.into_decisions(), AtomicBool::new(false));
        Self(Some(Arc::new(Admission { limits, key, policies, decisions, is_refunded, outer, slots })))
    }

    /// The quota of a request that nobody counts.
    pub(super) fn uncounted() -> Self {
        Self(None)
    }

    /// How many more requests would pass now, by the policy that has least; `u32::MAX` where nobody counts.
    pub fn remaining(&self) -> u32 {
        self.decision().map_or(u32::MAX, Decision::remaining)
    }

    /// The decision of the policy that has least left; nothing where nobody counts.
    pub fn decision(&self) -> Option<&Decision> {
        tightest(self.decisions())
    }

    /// The decisions of all policies.
    pub fn decisions(&self) -> &[Decision] {
        self.0.as_ref().map_or(&[], |admission| &admission.decisions)
    }

    /// Charges `cost` more to the same client under the same policies, once it is known what a request costs. Concurrency
    /// has nothing to charge.
    ///
    /// # Errors
    /// [`Denied`], when there is not that much left; nothing is charged then.
    pub async fn charge(&self, cost: u32) -> Result<Self, Denied> {
        let Some(admission) = &self.0 else { return Ok(self.clone()) };
        let counted = admission.policies.counted();
        if counted.is_empty() {
            Ok(self.clone())
        } else {
            admission.limits.charge(counted, admission.key.clone(), cost).await
        }
    }

    /// Gives back what this admission charged; a second time does nothing.
    ///
    /// A refund that does not reach the store is lost: the client keeps the charge until it leaves the window.
    pub async fn refund(&self) {
        if let Err(error) = self.give_back(&Cx::new()).await {
            tracing::debug!(%error, "a refund was lost");
        }
    }

    /// Whether this admission, or that of an outer layer, charged the client under the policy of that name.
    pub(super) fn covers(&self, limits: &RateLimits, key: &KeyValue, policy: &str) -> bool {
        let Some(admission) = &self.0 else { return false };
        let mut names = admission.policies.iter().map(Policy::name);
        let is_own = admission.limits.is(limits) && admission.key == *key && names.any(|name| name == policy);
        is_own || admission.outer.as_ref().is_some_and(|outer| outer.covers(limits, key, policy))
    }

    /// What the response's body keeps until it ends.
    pub(super) fn slots(&self) -> Option<Arc<Slots>> {
        self.0.as_ref()?.slots.clone()
    }

    /// Starts the refund, once; it must be seen through.
    pub(super) fn give_back(&self, cx: &Cx) -> StoreFuture<()> {
        let Some(admission) = &self.0 else { return StoreFuture::ok(()) };
        let charges: Vec<_> = admission.decisions.iter().filter_map(Decision::charge).collect();
        if charges.is_empty() || admission.is_refunded.swap(true, Relaxed) {
            return StoreFuture::ok(());
        }
        admission.limits.store().refund(cx, &admission.key, &charges)
    }
}

/// The decision with least remaining, of those that count.
pub(super) fn tightest(decisions: &[Decision]) -> Option<&Decision> {
    decisions.iter().filter(|decision| decision.counts()).min_by_key(|decision| decision.remaining())
}

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quota").field("decisions", &self.decisions()).finish_non_exhaustive()
    }
}

#[cfg(feature = "axum")]
impl<S: Sync> axum::extract::FromRequestParts<S> for Quota {
    type Rejection = (http::StatusCode, &'static str);
    async fn from_request_parts(parts: &mut http::request::Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            tracing::error!("a handler asks for its Quota and no rate limit is mounted around it");
            (http::StatusCode::INTERNAL_SERVER_ERROR, "no rate limit is mounted here")
        })
    }
}

#[cfg(feature = "axum")]
impl<S: Sync> axum::extract::OptionalFromRequestParts<S> for Quota {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut http::request::Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}
