//! The seam: what a store of rate limits can do.

use std::sync::Arc;

use super::{Charge, Policy, Verdict};
use crate::{Cx, KeyValue, StoreFuture};

/// Keeps count of clients.
///
/// The policies of one call have different names: [`RateLimits`](super::RateLimits) sees to that.
///
/// 1. A check of several policies is one atomic step: all admit and are charged, or nothing is.
/// 2. A denied request is not an error: it is a [`Verdict`]. Nor is a value that cannot be read: it heals, and the
///    client begins anew.
/// 3. An error means that nobody knows; [`FallbackRateStore`](super::FallbackRateStore) then asks each policy what to do.
/// 4. A [`concurrency`](Policy::concurrency) policy is no store's business: `RateLimits` keeps its slots. A store that is
///    handed one all the same admits.
/// 5. Every verb is under way when it returns, whether or not its answer is awaited.
pub trait RateStore: Send + Sync + 'static {
    /// Charges `cost` to all `policies` of the client `key`, if all of them admit it.
    ///
    /// The verdict has one decision for each policy, in their order. A cost of 0 is always admitted.
    fn check(&self, cx: &Cx, key: &KeyValue, policies: &[Policy], cost: u32) -> StoreFuture<Verdict>;

    /// How the client stands, without charging anything; all decisions are `uncharged`.
    fn peek(&self, cx: &Cx, key: &KeyValue, policies: &[Policy]) -> StoreFuture<Verdict>;

    /// Gives back what [`check`](RateStore::check) charged. What has left its window already is no error.
    fn refund(&self, cx: &Cx, key: &KeyValue, charges: &[Charge]) -> StoreFuture<()>;

    /// Forgets the client under `policies`: all of the limit is there again.
    fn reset(&self, cx: &Cx, key: &KeyValue, policies: &[Policy]) -> StoreFuture<()>;
}

const _: Option<&dyn RateStore> = None;

impl<T: RateStore + ?Sized> RateStore for Arc<T> {
    fn check(&self, cx: &Cx, key: &KeyValue, policies: &[Policy], cost: u32) -> StoreFuture<Verdict> {
        (**self).check(cx, key, policies, cost)
    }

    fn peek(&self, cx: &Cx, key: &KeyValue, policies: &[Policy]) -> StoreFuture<Verdict> {
        (**self).peek(cx, key, policies)
    }

    fn refund(&self, cx: &Cx, key: &KeyValue, charges: &[Charge]) -> StoreFuture<()> {
        (**self).refund(cx, key, charges)
    }

    fn reset(&self, cx: &Cx, key: &KeyValue, policies: &[Policy]) -> StoreFuture<()> {
        (**self).reset(cx, key, policies)
    }
}
