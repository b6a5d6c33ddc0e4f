//! A check under way: slots are taken here, everything else is asked of the store.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{
    Decision, FallbackRateStore, Outcome, Policies, Policy, Verdict,
    fallback::Asked,
    slots::{SlotTable, Slots},
};
use crate::{Cx, KeyValue};

/// A check that cannot fail. Dropped before its end it gives its slots back; what was charged stays.
pub(super) struct Check {
    policies: Policies,
    key: KeyValue,
    /// Nothing where no policy is counted, or a slot is refused.
    asked: Option<Asked>,
    slots: TakenSlots,
}

enum TakenSlots {
    /// No policy has any, or the request takes none.
    None,
    Held(Arc<Slots>),
    Refused(Vec<Decision>),
}

impl Check {
    /// Takes the slots, then asks the store if they were there.
    pub(super) fn begin(
        store: &Arc<FallbackRateStore>,
        table: &Arc<SlotTable>,
        cx: Cx,
        key: KeyValue,
        policies: Policies,
        cost: u32,
    ) -> Self {
        if !policies.has_concurrency() {
            let asked = Some(store.begin(cx, &key, policies.clone(), cost));
            return Self { policies, key, asked, slots: TakenSlots::None };
        }
        let slots = if cost == 0 { TakenSlots::None } else { TakenSlots::take(table, &key, &policies) };
        let counted = policies.counted();
        let is_asked = !counted.is_empty() && !matches!(slots, TakenSlots::Refused(_));
        let asked = is_asked.then(|| store.begin(cx, &key, counted, cost));
        Self { policies, key, asked, slots }
    }

    /// Who was charged under what, and what holds the slots.
    pub(super) fn into_parts(self) -> (KeyValue, Policies, Option<Arc<Slots>>) {
        let slots = if let TakenSlots::Held(slots) = self.slots { Some(slots) } else { None };
        (self.key, self.policies, slots)
    }

    /// What slots and store said, in the order of the policies.
    fn merge(&mut self, counted: Verdict) -> Verdict {
        if !self.policies.has_concurrency() {
            return counted;
        }
        if !counted.is_admitted() {
            self.slots = TakenSlots::None;
        }
        let mut counted = counted.into_decisions().into_iter();
        let decide = |policy: &Policy| {
            let said = if policy.is_concurrency() { self.slots.decision(policy) } else { counted.next() };
            said.unwrap_or_else(|| Decision::new(*policy, Outcome::Uncharged))
        };
        self.policies.iter().map(decide).collect()
    }
}

impl TakenSlots {
    fn take(table: &Arc<SlotTable>, key: &KeyValue, policies: &Policies) -> Self {
        match table.take(key, policies) {
            Ok(slots) => Self::Held(Arc::new(slots)),
            Err(refused) => Self::Refused(refused),
        }
    }

    fn decision(&self, policy: &Policy) -> Option<Decision> {
        match self {
            Self::None => None,
            Self::Held(slots) => Some(slots.decision(policy)),
            Self::Refused(decisions) => decisions.iter().find(|decision| decision.policy() == policy).cloned(),
        }
    }
}

impl Future for Check {
    type Output = Verdict;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict> {
        let this = self.get_mut();
        let counted = match &mut this.asked {
            Some(asked) => ready!(Pin::new(asked).poll(cx)),
            None => Verdict::default(),
        };
        Poll::Ready(this.merge(counted))
    }
}
