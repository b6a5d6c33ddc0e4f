//! The slots of concurrency policies: which clients have how many requests under way in this process.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::Arc,
};

use super::{Decision, Outcome, Policies, Policy, shards::Shards};
use crate::KeyValue;

/// All slots that are taken; a client without requests takes no memory.
#[derive(Default)]
pub(super) struct SlotTable(Shards<Shard>);

/// Requests under way, for each client and policy.
type Shard = HashMap<(KeyValue, &'static str), u32>;

/// The slots of one request; dropping them gives them back.
pub(super) struct Slots {
    table: Arc<SlotTable>,
    key: KeyValue,
    policies: Policies,
}

impl SlotTable {
    /// Takes a slot under each concurrency policy among `policies`; where one is full takes none, and says which.
    pub(super) fn take(self: &Arc<Self>, key: &KeyValue, policies: &Policies) -> Result<Slots, Vec<Decision>> {
        let mut shard = self.0.of(key);
        if !concurrent(policies).all(|policy| taken(&shard, key, policy) < policy.limit()) {
            return Err(concurrent(policies).map(|policy| stand(&shard, key, policy, true)).collect());
        }
        for policy in concurrent(policies) {
            *shard.entry((key.clone(), policy.name())).or_insert(0) += 1;
        }
        Ok(Slots { table: Arc::clone(self), key: key.clone(), policies: policies.clone() })
    }

    /// How the client stands under one concurrency policy.
    pub(super) fn look(&self, key: &KeyValue, policy: &Policy) -> Decision {
        stand(&self.0.of(key), key, policy, false)
    }
}

fn concurrent(policies: &Policies) -> impl Iterator<Item = &Policy> {
    policies.iter().filter(|policy| policy.is_concurrency())
}

fn taken(shard: &Shard, key: &KeyValue, policy: &Policy) -> u32 {
    shard.get(&(key.clone(), policy.name())).copied().unwrap_or(0)
}

/// What is left; denied where that is nothing and a slot is wanted.
fn stand(shard: &Shard, key: &KeyValue, policy: &Policy, is_wanted: bool) -> Decision {
    let remaining = policy.limit().saturating_sub(taken(shard, key, policy));
    let outcome = if is_wanted && remaining == 0 { Outcome::Denied } else { Outcome::Uncharged };
    Decision::new(*policy, outcome).with_remaining(remaining)
}

impl Slots {
    /// What the request is told of a policy that it holds a slot of.
    pub(super) fn decision(&self, policy: &Policy) -> Decision {
        let taken = taken(&self.table.0.of(&self.key), &self.key, policy);
        Decision::new(*policy, Outcome::Admitted).with_remaining(policy.limit().saturating_sub(taken))
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        let mut shard = self.table.0.of(&self.key);
        for policy in concurrent(&self.policies) {
            if let Entry::Occupied(mut entry) = shard.entry((self.key.clone(), policy.name())) {
                match entry.get() {
                    0 | 1 => drop(entry.remove()),
                    more => *entry.get_mut() = more - 1,
                }
            }
        }
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("policies", &self.policies).finish_non_exhaustive()
    }
}

impl fmt::Debug for SlotTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotTable").field("clients", &self.0.sum(Shard::len)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::minutes;

    const THREE: Policy = Policy::concurrency("three", 3);
    const ONE: Policy = Policy::concurrency("one", 1);

    fn entries(table: &SlotTable) -> usize {
        table.0.sum(Shard::len)
    }

    #[test]
    fn slots_come_back_and_leave_nothing_behind() {
        let (table, key) = (Arc::new(SlotTable::default()), KeyValue::from("alice"));
        let policies = Policies::from([THREE, Policy::sliding_window("window", 9, minutes(1))]);
        let held: Vec<_> = (0..3).map(|_| table.take(&key, &policies).expect("room")).collect();
        assert!(table.take(&key, &policies).is_err());
        assert!(table.take(&"bob".into(), &policies).is_ok(), "another client");
        assert_eq!(held[0].decision(&THREE).remaining(), 0);
        drop(held);
        assert_eq!((entries(&table), table.look(&key, &THREE).remaining()), (0, 3));
    }

    #[test]
    fn where_one_policy_is_full_none_is_taken() {
        let (table, key) = (Arc::new(SlotTable::default()), KeyValue::from("alice"));
        let only = table.take(&key, &ONE.into()).expect("room");
        let refused = table.take(&key, &[THREE, ONE].into()).expect_err("one is full");
        let told: Vec<_> = refused.iter().map(|decision| (decision.outcome(), decision.remaining())).collect();
        assert_eq!(told, [(Outcome::Uncharged, 3), (Outcome::Denied, 0)]);
        assert_eq!((entries(&table), only.decision(&ONE).outcome()), (1, Outcome::Admitted));
    }
}
