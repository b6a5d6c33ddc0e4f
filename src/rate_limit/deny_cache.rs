//! Clients that are known to be over a limit, so that asking again costs nothing.

use std::{
    collections::HashMap,
    sync::{
        Arc, MutexGuard,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use super::{Decision, Outcome, Policy, Verdict, shards::Shards};
use crate::{
    KeyValue,
    clock::{Clock, Timestamp},
};

/// Remembers refusals until their `Retry-After`, by this process' monotonic clock. Clones share their memory.
///
/// A refusal holds until then whatever others do, except for a refund or a reset: those forget the client here, and
/// answers that were under way meanwhile are not remembered.
#[derive(Clone)]
pub(super) struct DenyCache {
    shared: Arc<Shared>,
    clock: Clock,
}

#[derive(Default)]
struct Shared {
    shards: Shards<Shard>,
    /// How often anything was forgotten.
    epoch: AtomicU64,
}

#[derive(Default)]
struct Shard {
    clients: HashMap<KeyValue, Vec<Refusal>>,
    /// When a full shard is looked through again.
    sweep_at: Timestamp,
}

struct Refusal {
    policy: Policy,
    cost: u32,
    until: Timestamp,
}

/// Clients remembered in each shard; a full shard drops those whose time has come, else remembers no more.
const MAX_CLIENTS: usize = 1_024;
/// Refusals of one client: policies times costs.
const MAX_REFUSALS: usize = 8;
/// How often a full shard is looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl DenyCache {
    pub(super) fn new(clock: Clock) -> Self {
        Self { shared: Arc::default(), clock }
    }

    /// The refusal that still holds; the policies that would admit are told without figures.
    pub(super) fn find(&self, key: &KeyValue, policies: &[Policy], cost: u32) -> Option<Verdict> {
        let shard = self.shard(key);
        let refusals = shard.clients.get(key)?;
        let now = self.clock.now();
        let decide = |policy: &Policy| match refusals.iter().find(|refusal| refusal.holds(policy, cost, now)) {
            Some(refusal) => refusal.decision(now),
            None => Decision::new(*policy, Outcome::Uncharged),
        };
        let verdict: Verdict = policies.iter().map(decide).collect();
        (!verdict.is_admitted()).then_some(verdict)
    }

    /// What [`note`](Self::note) needs from before the question.
    pub(super) fn epoch(&self) -> u64 {
        self.shared.epoch.load(SeqCst)
    }

    /// Remembers the refusals of a verdict, unless something was forgotten since `epoch`.
    pub(super) fn note(&self, key: &KeyValue, cost: u32, verdict: &Verdict, epoch: u64) {
        if verdict.is_admitted() {
            return;
        }
        let now = self.clock.now();
        let mut shard = self.shard(key);
        if self.epoch() != epoch || !shard.has_place(key, now) {
            return;
        }
        let refusals = shard.clients.entry(key.clone()).or_default();
        refusals.retain(|refusal| refusal.until > now);
        for decision in verdict.decisions() {
            if let Some(after) = decision.retry_after().filter(|_| refusals.len() < MAX_REFUSALS) {
                refusals.push(Refusal { policy: *decision.policy(), cost, until: now + after });
            }
        }
    }

    pub(super) fn forget(&self, key: &KeyValue) {
        let mut shard = self.shard(key);
        self.shared.epoch.fetch_add(1, SeqCst);
        shard.clients.remove(key);
    }

    fn shard(&self, key: &KeyValue) -> MutexGuard<'_, Shard> {
        self.shared.shards.of(key)
    }
}

impl Shard {
    /// Whether the client is known or a place is free, after dropping what has ended if need be.
    fn has_place(&mut self, key: &KeyValue, now: Timestamp) -> bool {
        let is_known = self.clients.contains_key(key);
        if self.clients.len() >= MAX_CLIENTS && !is_known && now >= self.sweep_at {
            self.sweep_at = now + SWEEP_EVERY;
            self.clients.retain(|_, refusals| refusals.iter().any(|refusal| refusal.until > now));
        }
        is_known || self.clients.len() < MAX_CLIENTS
    }
}

impl Refusal {
    /// A changed policy was never asked.
    fn holds(&self, policy: &Policy, cost: u32, now: Timestamp) -> bool {
        self.policy == *policy && self.cost == cost && self.until > now
    }

    fn decision(&self, now: Timestamp) -> Decision {
        let after: Duration = self.until.since(now);
        let decision = Decision::new(self.policy, Outcome::Denied).with_remaining(0);
        decision.with_reset_after(after).with_retry_after(after)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::shards::SHARDS, *};
    use crate::clock::{ManualClock, seconds};

    const POLICY: Policy = Policy::sliding_window("p", 4, seconds(9));

    fn denied() -> Verdict {
        [Decision::new(POLICY, Outcome::Denied).with_retry_after(seconds(5))].into_iter().collect()
    }

    fn cache() -> (DenyCache, ManualClock, KeyValue) {
        let manual = ManualClock::at(Timestamp::from_micros(1));
        (DenyCache::new(manual.clock()), manual, KeyValue::from("alice"))
    }

    #[test]
    fn a_refusal_holds_until_its_retry_after() {
        let (cache, manual, key) = cache();
        cache.note(&key, 1, &denied(), cache.epoch());
        manual.advance(seconds(2));
        let verdict = cache.find(&key, &[POLICY], 1).expect("remembered");
        assert_eq!(verdict.decisions()[0].retry_after(), Some(seconds(3)));
        manual.advance(seconds(3));
        assert!(cache.find(&key, &[POLICY], 1).is_none());
    }

    #[test]
    fn another_cost_client_or_limit_is_asked_anew() {
        let (cache, _, key) = cache();
        cache.note(&key, 2, &denied(), cache.epoch());
        let raised = POLICY.with_limit(5, seconds(9)).expect("possible");
        assert!(cache.find(&key, &[POLICY], 1).is_none());
        assert!(cache.find(&key, &[raised], 2).is_none());
        assert!(cache.find(&KeyValue::from("bob"), &[POLICY], 2).is_none());
        assert!(cache.find(&key, &[POLICY], 2).is_some());
    }

    #[test]
    fn a_refund_forgets_and_an_answer_from_before_it_is_not_remembered() {
        let (cache, _, key) = cache();
        let before = cache.epoch();
        cache.note(&key, 1, &denied(), before);
        cache.forget(&key);
        assert!(cache.find(&key, &[POLICY], 1).is_none());
        cache.note(&key, 1, &denied(), before);
        assert!(cache.find(&key, &[POLICY], 1).is_none());
    }

    #[test]
    fn is_bounded() {
        let (cache, manual, key) = cache();
        for n in 0..40_000 {
            cache.note(&KeyValue::from(n.to_string()), 1, &denied(), cache.epoch());
        }
        assert_eq!(cache.shared.shards.sum(|shard| shard.clients.len()), SHARDS * MAX_CLIENTS);
        manual.advance(seconds(6));
        cache.note(&key, 1, &denied(), cache.epoch());
        assert!(cache.find(&key, &[POLICY], 1).is_some(), "ended refusals made place");
    }
}
