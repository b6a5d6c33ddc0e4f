//! What a check answers: one decision for each policy, with its one word.

use std::time::Duration;

use smallvec::SmallVec;

use super::Policy;
use crate::{clock::Timestamp, outcome::outcomes};

outcomes! {
    /// What became of a request under one policy.
    pub enum Outcome {
        /// Within the limit, and charged.
        Admitted => "admitted",
        /// Over the limit; [`Decision::retry_after`] says when there is room.
        Denied => "denied",
        /// Costs more than the policy ever admits at once; no waiting helps.
        TooCostly => "too_costly",
        /// Within this limit and not charged, because another policy of the same call denied, or it was only a look.
        Uncharged => "uncharged",
        /// The store did not answer, the policy lets requests pass.
        Skipped => "skipped",
        /// The store did not answer; within this instance's share.
        Local => "local",
        /// The store did not answer; over this instance's share.
        LocalDenied => "local_denied",
        /// The store did not answer, and the policy refuses without it.
        Unavailable => "unavailable",
        /// Over the limit, in shadow mode: passed.
        Shadowed => "shadowed",
    }
}

impl Outcome {
    /// Whether this policy lets the request pass.
    pub const fn admits(self) -> bool {
        !matches!(self, Self::Denied | Self::TooCostly | Self::LocalDenied | Self::Unavailable)
    }
}

/// What one policy said about one request.
///
/// ```
/// use towerkeep::{rate_limit::{Decision, Outcome, Policy}, clock::{minutes, seconds}};
/// const GENERAL: Policy = Policy::sliding_window("general", 100, minutes(1));
/// let denied = Decision::new(GENERAL, Outcome::Denied).with_retry_after(seconds(7));
/// assert!(!denied.outcome().admits());
/// assert_eq!(denied.retry_after(), Some(seconds(7)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    policy: Policy,
    outcome: Outcome,
    remaining: Option<u32>,
    reset_after: Duration,
    retry_after: Option<Duration>,
    charge: Option<(u32, Timestamp)>,
}

impl Decision {
    /// A decision without figures.
    pub fn new(policy: Policy, outcome: Outcome) -> Self {
        Self { policy, outcome, remaining: None, reset_after: Duration::ZERO, retry_after: None, charge: None }
    }

    /// Sets how many more requests of cost 1 would pass now.
    #[must_use]
    pub fn with_remaining(mut self, remaining: u32) -> Self {
        self.remaining = Some(remaining);
        self
    }

    /// Sets in how long that grows.
    #[must_use]
    pub fn with_reset_after(mut self, after: Duration) -> Self {
        self.reset_after = after;
        self
    }

    /// Sets when the same request has room.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Sets what was charged, and when by the store's clock, so that it can be given back.
    #[must_use]
    pub fn with_charge(mut self, cost: u32, at: Timestamp) -> Self {
        self.charge = Some((cost, at));
        self
    }

    /// The policy that decided.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What it said.
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// How many more requests of cost 1 would pass now; `u32::MAX` where nobody counts.
    pub fn remaining(&self) -> u32 {
        self.remaining.unwrap_or(u32::MAX)
    }

    /// Whether the figures are known; nobody counts while a policy is skipped.
    pub(super) const fn counts(&self) -> bool {
        self.remaining.is_some()
    }

    /// In how long [`remaining`](Decision::remaining) grows; zero when all of the limit is there.
    pub const fn reset_after(&self) -> Duration {
        self.reset_after
    }

    /// When the same request has room, if nobody else comes; only for refusals that waiting helps.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What a refund gives back; nothing where nothing was charged.
    pub fn charge(&self) -> Option<Charge> {
        self.charge.map(|(cost, at)| Charge { policy: self.policy, cost, at, is_local: self.outcome == Outcome::Local })
    }

    /// The same figures under another outcome and the policy that was asked.
    pub(super) fn seen_as(mut self, policy: Policy, outcome: Outcome) -> Self {
        (self.policy, self.outcome) = (policy, outcome);
        self
    }
}

/// What was charged to one policy: a receipt, to give it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The policy.
    pub policy: Policy,
    /// How much.
    pub cost: u32,
    /// When, by the clock of who charged it.
    pub at: Timestamp,
    /// Whether this instance charged it alone, during an outage.
    pub is_local: bool,
}

/// The decisions of one call, in the order of its policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict(Decisions);

/// Most checks ask one policy, and need no allocation for what it says.
pub(super) type Decisions = SmallVec<[Decision; 1]>;

impl Verdict {
    pub(super) fn one(decision: Decision) -> Self {
        Self(Decisions::from_buf([decision]))
    }

    /// Whether all policies let the request pass.
    pub fn is_admitted(&self) -> bool {
        self.0.iter().all(|decision| decision.outcome.admits())
    }

    /// The decisions.
    pub fn decisions(&self) -> &[Decision] {
        &self.0
    }

    pub(super) fn into_decisions(self) -> Decisions {
        self.0
    }
}

impl FromIterator<Decision> for Verdict {
    fn from_iter<I: IntoIterator<Item = Decision>>(decisions: I) -> Self {
        Self(decisions.into_iter().collect())
    }
}
