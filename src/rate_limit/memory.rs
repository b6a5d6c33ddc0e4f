//! Limits counted in this process.

use std::{
    fmt,
    sync::{Arc, MutexGuard},
};

use super::{
    Charge, Policy, RateStore, Verdict,
    decide::State,
    shards::{SHARDS, Shards},
    table::{Hashed, Table},
};
use crate::{Cx, KeyValue, Result, StoreFuture, clock::Clock, store::OutageSwitch};

/// Counts in this process: for one instance, for tests, and for what an outage leaves.
///
/// 1. Decides by the same function that the Redis store's script equals.
/// 2. Holds a bounded number of clients. A new one displaces idle clients first, then the least used of a few: making
///    up client names does not free a client that is over its limit.
/// 3. Never waits; clones share their counts.
///
/// ```
/// use towerkeep::{Cx, clock::{Clock, minutes}, rate_limit::{MemoryRateStore, Policy, RateStore}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// const ONCE: Policy = Policy::sliding_window("once", 1, minutes(1));
/// let store = MemoryRateStore::new(Clock::system());
/// assert!(store.check(&Cx::new(), &"alice".into(), &[ONCE], 1).await.unwrap().is_admitted());
/// assert!(!store.check(&Cx::new(), &"alice".into(), &[ONCE], 1).await.unwrap().is_admitted());
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryRateStore {
    shards: Arc<Shards<Table>>,
    max_clients: usize,
    clock: Clock,
    outage: OutageSwitch,
}

const MAX_CLIENTS: usize = 100_000;

impl MemoryRateStore {
    /// An empty store that takes the time from `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { shards: Arc::default(), max_clients: MAX_CLIENTS, clock, outage: OutageSwitch::default() }
    }

    /// Holds at most about `clients` clients. Defaults to 100,000.
    ///
    /// A client takes some 300 bytes, and each full window of 120 or more up to 2 KB.
    #[must_use]
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.max_clients = clients;
        self
    }

    /// Refuses everything while `switch` is on.
    #[must_use]
    pub fn outage(mut self, switch: OutageSwitch) -> Self {
        self.outage = switch;
        self
    }

    /// How many clients are remembered.
    pub fn clients(&self) -> usize {
        self.shards.sum(Table::len)
    }

    /// As [`check`](RateStore::check), at once and each policy at its own cost.
    pub(super) fn check_now(
        &self,
        cx: &Cx,
        key: &KeyValue,
        policies: &[Policy],
        cost: impl Fn(&Policy) -> u32,
    ) -> Verdict {
        if policies.is_empty() {
            return Verdict::default();
        }
        let (now, key) = (self.now(cx), &self.hashed(key));
        let mut table = self.table(key);
        let states = table.states(key, now, self.per_shard());
        // The usual case, in one look.
        if let [policy] = policies {
            return check_one(states.of(policy), now, policy, cost(policy));
        }
        // Read twice, which gives the same: the first time to know whether all admit.
        let mut read = |policy: &Policy| states.of(policy).read(now, policy, cost(policy));
        let charged = policies.iter().all(|policy| read(policy).admits(now, policy, cost(policy)));
        let decide = |policy: &Policy| read(policy).decide(now, policy, cost(policy), charged);
        let verdict: Verdict = policies.iter().map(decide).collect();
        if charged {
            policies.iter().for_each(|policy| states.of(policy).charge(now, policy, cost(policy)));
        }
        verdict
    }

    pub(super) fn peek_now(&self, cx: &Cx, key: &KeyValue, policies: &[Policy]) -> Verdict {
        let (now, key) = (self.now(cx), &self.hashed(key));
        let mut table = self.table(key);
        let states = table.get(key);
        let look = |policy: &Policy| {
            let state = states.as_ref().and_then(|states| states.get(policy).cloned());
            let reading = state.unwrap_or_else(|| State::new(policy)).read(now, policy, 0);
            reading.decide(now, policy, 0, false)
        };
        policies.iter().map(look).collect()
    }

    /// Keeps count of what was admitted elsewhere.
    pub(super) fn record(&self, cx: &Cx, key: &KeyValue, policies: impl Iterator<Item = (Policy, u32)>) {
        let mut policies = policies.peekable();
        if policies.peek().is_none() {
            return;
        }
        let (now, key) = (self.now(cx), &self.hashed(key));
        let mut table = self.table(key);
        let states = table.states(key, now, self.per_shard());
        policies.for_each(|(policy, cost)| states.of(&policy).record(now, &policy, cost));
    }

    /// Gives back costs; without a time from the newest charges.
    pub(super) fn refund_now(
        &self,
        cx: &Cx,
        key: &KeyValue,
        charges: impl Iterator<Item = (Policy, u32, Option<u64>)>,
    ) {
        let (now, key) = (self.now(cx), &self.hashed(key));
        let mut table = self.table(key);
        let Some(states) = table.get(key) else { return };
        charges.for_each(|(policy, cost, at)| states.of(&policy).refund(now, &policy, cost, at));
    }

    pub(super) fn reset_now(&self, key: &KeyValue, policies: &[Policy]) {
        let key = &self.hashed(key);
        if let Some(states) = self.table(key).get(key) {
            policies.iter().for_each(|policy| states.remove(policy));
        }
    }

    fn now(&self, cx: &Cx) -> u64 {
        cx.now().unwrap_or_else(|| self.clock.now()).as_micros()
    }

    fn per_shard(&self) -> usize {
        self.max_clients.div_ceil(SHARDS).max(1)
    }

    fn hashed(&self, key: &KeyValue) -> Hashed {
        Hashed { hash: self.shards.hash(key), key: key.clone() }
    }

    fn table(&self, key: &Hashed) -> MutexGuard<'_, Table> {
        self.shards.at(key.hash)
    }

    fn up<T>(&self, answer: impl FnOnce() -> T) -> StoreFuture<T> {
        StoreFuture::ready(self.outage.check().map(|()| answer()) as Result<T>)
    }
}

fn check_one(state: &mut State, now: u64, policy: &Policy, cost: u32) -> Verdict {
    let reading = state.read(now, policy, cost);
    let is_charged = reading.admits(now, policy, cost);
    if is_charged {
        state.charge(now, policy, cost);
    }
    Verdict::one(reading.decide(now, policy, cost, is_charged))
}

impl RateStore for MemoryRateStore {
    fn check(&self, cx: &Cx, key: &KeyValue, policies: &[Policy], cost: u32) -> StoreFuture<Verdict> {
        self.up(|| self.check_now(cx, key, policies, |_| cost))
    }

    fn peek(&self, cx: &Cx, key: &KeyValue, policies: &[Policy]) -> StoreFuture<Verdict> {
        self.up(|| self.peek_now(cx, key, policies))
    }

    fn refund(&self, cx: &Cx, key: &KeyValue, charges: &[Charge]) -> StoreFuture<()> {
        let charges = charges.iter().map(|charge| (charge.policy, charge.cost, Some(charge.at.as_micros())));
        self.up(|| self.refund_now(cx, key, charges))
    }

    fn reset(&self, _: &Cx, key: &KeyValue, policies: &[Policy]) -> StoreFuture<()> {
        self.up(|| self.reset_now(key, policies))
    }
}

impl fmt::Debug for MemoryRateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRateStore")
            .field("clients", &self.clients())
            .field("max_clients", &self.max_clients)
            .finish_non_exhaustive()
    }
}
