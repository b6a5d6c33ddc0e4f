//! A check under way: slots are taken here, everything else is asked of the store.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{
    Decision, FallbackRateStore, Outcome, Policies, Policy, Verdict,
    fallback::Counted,
    slots::{SlotTable, Slots},
};
use crate::{Cx, KeyValue};

/// A check that cannot fail. Dropped before its end it gives its slots back; what was charged stays.
pub(super) struct Check {
    policies: Policies,
    key: KeyValue,
    counted: Counted,
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
            let counted = store.begin(cx, &key, &policies, cost);
            return Self { policies, key, counted, slots: TakenSlots::None };
        }
        let slots = if cost == 0 { TakenSlots::None } else { TakenSlots::take(table, &key, &policies) };
        let asked = policies.counted();
        // No policy is counted, or a slot is refused: nothing to ask.
        let counted = match slots {
            TakenSlots::None | TakenSlots::Held(_) if !asked.is_empty() => store.begin(cx, &key, &asked, cost),
            _ => Counted::Known(Verdict::default()),
        };
        Self { policies, key, counted, slots }
    }

    /// The verdict, if it is known already.
    pub(super) fn take_ready(&mut self) -> Option<Verdict> {
        let Counted::Known(verdict) = &mut self.counted else { return None };
        let counted = std::mem::take(verdict);
        Some(self.merge(counted))
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
        let counted = match &mut this.counted {
            Counted::Known(verdict) => std::mem::take(verdict),
            Counted::Asked(asked) => ready!(Pin::new(asked).poll(cx)),
        };
        Poll::Ready(this.merge(counted))
    }
}
