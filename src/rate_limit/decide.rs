//! The decision: a pure function of (state, now, policy, cost), which the memory store runs and the Lua must equal.

use std::time::Duration;

use super::{
    bucket::Bucket,
    log::Log,
    policy::{Algorithm, Policy},
    verdict::{Decision, Outcome},
};
use crate::clock::Timestamp;

/// What is remembered of one client under one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Log(Log),
    Bucket(Bucket),
}

/// What a state says about one request: all that the decision needs, the same from memory and from Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// How much the window holds, when its oldest entry was made, and the entry that must leave before the request
    /// has room. 0 where there is none.
    Log { used: u64, oldest: u64, room: u64 },
    /// When the bucket is full again: microseconds, and the rest in parts of `limit`.
    Bucket { full_at: u64, rest: u64 },
}

impl State {
    pub(super) fn new(policy: &Policy) -> Self {
        match policy.algorithm() {
            Algorithm::SlidingWindow => Self::Log(Log::default()),
            Algorithm::TokenBucket | Algorithm::Concurrency => Self::Bucket(Bucket::default()),
        }
    }

    /// Whether this is a state of the policy's algorithm; another one's is worth nothing.
    pub(super) fn fits(&self, policy: &Policy) -> bool {
        matches!(self, Self::Log(_)) == (policy.algorithm() == Algorithm::SlidingWindow)
    }

    /// What the state says at `now`. What lies after `now`, because the clock was set back, is made to have happened now.
    pub(super) fn read(&mut self, now: u64, policy: &Policy, cost: u32) -> Reading {
        match self {
            Self::Log(log) => log.read(now, policy, cost),
            Self::Bucket(bucket) => bucket.read(now, policy),
        }
    }

    /// Takes `cost`; the caller has read the state at the same `now`.
    pub(super) fn charge(&mut self, now: u64, policy: &Policy, cost: u32) {
        match self {
            _ if cost == 0 => {}
            Self::Log(log) => log.charge(now, policy, cost),
            Self::Bucket(bucket) => bucket.charge(now, policy, cost),
        }
    }

    /// Takes `cost` that was admitted elsewhere, even beyond the limit; only the newest `capacity` are kept.
    pub(super) fn record(&mut self, now: u64, policy: &Policy, cost: u32) {
        self.read(now, policy, 0);
        self.charge(now, policy, cost);
        match self {
            Self::Log(log) => log.keep_newest(policy.limit()),
            Self::Bucket(bucket) => {
                bucket.read(now, policy);
            }
        }
    }

    /// Gives back `cost`, charged `at`; without `at` from the newest charges.
    pub(super) fn refund(&mut self, now: u64, policy: &Policy, cost: u32, at: Option<u64>) {
        match (self, at) {
            (Self::Log(log), Some(at)) => log.refund(now, policy, cost, at),
            (Self::Log(log), None) => log.refund_newest(cost),
            (Self::Bucket(bucket), _) => bucket.refund(now, policy, cost),
        }
    }

    /// How much of the capacity is taken, in thousandths; 0 is as good as forgotten.
    pub(super) fn fill(&mut self, now: u64, policy: &Policy) -> u64 {
        self.read(now, policy, 0).fill(now, policy)
    }
}

impl Reading {
    pub(super) fn admits(&self, now: u64, policy: &Policy, cost: u32) -> bool {
        match *self {
            // Nothing more is no more than before, even where the limit was lowered since.
            Self::Log { used, .. } => cost == 0 || used + u64::from(cost) <= u64::from(policy.limit()),
            Self::Bucket { full_at, rest } => {
                Bucket::backlog(full_at, rest, now, policy) + Bucket::price(policy, cost) <= Bucket::room(policy)
            }
        }
    }

    /// What the caller is told; `charged` when all policies of the call admitted.
    pub(super) fn decide(&self, now: u64, policy: &Policy, cost: u32, charged: bool) -> Decision {
        let spent = if charged { cost } else { 0 };
        let (remaining, reset_after) = self.standing(now, policy, spent);
        let decision = Decision::new(*policy, self.outcome(now, policy, cost, charged));
        let decision = decision.with_remaining(remaining).with_reset_after(Duration::from_micros(reset_after));
        match decision.outcome() {
            Outcome::Admitted if cost > 0 => decision.with_charge(cost, Timestamp::from_micros(now)),
            Outcome::Denied => decision.with_retry_after(Duration::from_micros(self.wait(now, policy, cost))),
            _ => decision,
        }
    }

    fn outcome(&self, now: u64, policy: &Policy, cost: u32, charged: bool) -> Outcome {
        match self.admits(now, policy, cost) {
            true if charged => Outcome::Admitted,
            true => Outcome::Uncharged,
            false if cost > policy.capacity() => Outcome::TooCostly,
            false => Outcome::Denied,
        }
    }

    /// What remains after `spent`, and in how many microseconds that grows.
    fn standing(&self, now: u64, policy: &Policy, spent: u32) -> (u32, u64) {
        match *self {
            Self::Log { used, oldest, .. } => {
                let used = used + u64::from(spent);
                let oldest = if oldest == 0 { now } else { oldest };
                let reset = if used == 0 { 0 } else { (oldest + policy.per_micros()).saturating_sub(now) };
                (clamp(u64::from(policy.limit()).saturating_sub(used)), reset)
            }
            Self::Bucket { full_at, rest } => {
                let backlog = Bucket::backlog(full_at, rest, now, policy) + Bucket::price(policy, spent);
                Bucket::standing(backlog, policy)
            }
        }
    }

    /// In how many microseconds a denied request has room, if nobody else comes.
    fn wait(&self, now: u64, policy: &Policy, cost: u32) -> u64 {
        match *self {
            Self::Log { room, .. } => (room + policy.per_micros()).saturating_sub(now),
            Self::Bucket { full_at, rest } => {
                let wanted = Bucket::backlog(full_at, rest, now, policy) + Bucket::price(policy, cost);
                Bucket::micros(wanted.saturating_sub(Bucket::room(policy)), policy)
            }
        }
    }

    fn fill(&self, now: u64, policy: &Policy) -> u64 {
        match *self {
            Self::Log { used, .. } => (used * 1_000).div_ceil(u64::from(policy.limit())),
            Self::Bucket { full_at, rest } => {
                let backlog = Bucket::backlog(full_at, rest, now, policy);
                u64::try_from((backlog * 1_000).div_ceil(Bucket::room(policy).max(1))).unwrap_or(u64::MAX)
            }
        }
    }
}

/// The verdict on a cost that a policy never admits: it needs no state, so the figures are left out.
#[cfg(feature = "redis")]
pub(super) fn too_costly(policies: &[Policy], cost: u32) -> Option<super::Verdict> {
    let outcome = |policy: &Policy| if cost > policy.capacity() { Outcome::TooCostly } else { Outcome::Uncharged };
    let verdict: super::Verdict = policies.iter().map(|policy| Decision::new(*policy, outcome(policy))).collect();
    (!verdict.is_admitted()).then_some(verdict)
}

fn clamp(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::policy::EXACT, *};
    use crate::clock::micros;

    /// One policy, one client: the whole of a memory store without its table.
    fn decide(state: &mut State, now: u64, policy: &Policy, cost: u32) -> Decision {
        let reading = state.read(now, policy, cost);
        let admits = reading.admits(now, policy, cost);
        if admits {
            state.charge(now, policy, cost);
        }
        reading.decide(now, policy, cost, admits)
    }

    fn window(limit: u32, per: u64) -> Policy {
        Policy::sliding_window("p", limit, Duration::from_micros(per))
    }

    fn bucket(limit: u32, per: u64, burst: u32) -> Policy {
        Policy::token_bucket("p", limit, Duration::from_micros(per)).burst(burst)
    }

    fn policies() -> impl Strategy<Value = Policy> {
        let windows = (1u32..300, 1_000u64..5_000_000).prop_map(|(limit, per)| window(limit, per));
        let buckets = (1u32..300, 1_000u64..5_000_000, 1u32..400).prop_map(|(n, per, burst)| bucket(n, per, burst));
        prop_oneof![windows, buckets]
    }

    /// Steps between requests as thousandths of the period, and costs.
    fn traces() -> impl Strategy<Value = Vec<(u64, u32)>> {
        let step = prop_oneof![4 => 0u64..3, 2 => 0u64..40, 1 => 200u64..1_500];
        prop::collection::vec((step, prop_oneof![4 => Just(1u32), 1 => 1u32..9]), 1..200)
    }

    const START: u64 = 1_700_000_000_000_000;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_window_never_holds_more_than_its_limit(limit in 1u32..300, per in 1_000u64..5_000_000, trace in traces()) {
            let (policy, mut state, mut now) = (window(limit, per), State::new(&window(limit, per)), START);
            let mut admitted: Vec<(u64, u32)> = Vec::new();
            for (step, cost) in trace {
                now += step * per / 1_000;
                if decide(&mut state, now, &policy, cost).outcome() == Outcome::Admitted {
                    admitted.push((now, cost));
                    let in_window = admitted.iter().rev().take_while(|(at, _)| at + per > now);
                    let sum: u32 = in_window.map(|(_, cost)| cost).sum();
                    prop_assert!(sum <= limit, "{sum} of {limit}");
                }
            }
        }

        #[test]
        fn an_exact_window_denies_only_what_would_exceed_it(limit in 1u32..=EXACT, per in 1_000u64..5_000_000, trace in traces()) {
            let (policy, mut state, mut now) = (window(limit, per), State::new(&window(limit, per)), START);
            let mut admitted: Vec<(u64, u32)> = Vec::new();
            for (step, cost) in trace {
                now += step * per / 1_000;
                let used: u32 = admitted.iter().filter(|(at, _)| at + per > now).map(|(_, cost)| cost).sum();
                let decision = decide(&mut state, now, &policy, cost);
                prop_assert_eq!(decision.outcome() == Outcome::Admitted, used + cost <= limit);
                if decision.outcome() == Outcome::Admitted {
                    prop_assert_eq!(decision.remaining(), limit - used - cost);
                    admitted.push((now, cost));
                }
            }
        }

        #[test]
        fn a_bucket_never_gives_more_than_capacity_and_rate(limit in 1u32..300, per in 1_000u64..5_000_000, burst in 1u32..400, trace in traces()) {
            let (policy, mut now) = (bucket(limit, per, burst), START);
            let mut state = State::new(&policy);
            let mut admitted: Vec<(u64, u32)> = Vec::new();
            for (step, cost) in trace {
                now += step * per / 1_000;
                if decide(&mut state, now, &policy, cost).outcome() == Outcome::Admitted {
                    admitted.push((now, cost));
                    let mut sum = 0u128;
                    for (at, cost) in admitted.iter().rev() {
                        sum += u128::from(*cost) * u128::from(per);
                        let allowed = u128::from(burst) * u128::from(per) + u128::from(now - at) * u128::from(limit);
                        prop_assert!(sum <= allowed, "{sum} of {allowed} in units of 1/per");
                    }
                }
            }
        }

        #[test]
        fn retry_after_is_never_too_early_and_never_idle_time(policy in policies(), trace in traces()) {
            let (mut state, mut now) = (State::new(&policy), START);
            for (step, cost) in trace {
                now += step * policy.per_micros() / 1_000;
                let decision = decide(&mut state, now, &policy, cost);
                if let Some(wait) = decision.retry_after() {
                    let then = now + micros(wait);
                    prop_assert!(state.clone().read(then, &policy, cost).admits(then, &policy, cost));
                    prop_assert!(!state.clone().read(then - 1, &policy, cost).admits(then - 1, &policy, cost));
                }
            }
        }

        #[test]
        fn a_clock_set_back_neither_admits_more_nor_locks_out(policy in policies(), trace in traces(), back in 0u64..10_000_000_000) {
            let (mut state, mut now) = (State::new(&policy), START);
            for (step, cost) in trace {
                now += step * policy.per_micros() / 1_000;
                decide(&mut state, now, &policy, cost);
            }
            let before = state.clone().read(now, &policy, 1).fill(now, &policy);
            let earlier = now - back;
            let reading = state.read(earlier, &policy, 1);
            prop_assert!(reading.fill(earlier, &policy) >= before);
            let room = u128::from(policy.capacity()) * u128::from(policy.per_micros()) / u128::from(policy.limit());
            let longest = u64::try_from(room).expect("under a year").max(policy.per_micros());
            prop_assert!(micros(reading.decide(earlier, &policy, 1, false).retry_after().unwrap_or_default()) <= longest);
            let later = earlier + longest + 1;
            prop_assert!(state.read(later, &policy, 1).admits(later, &policy, 1));
        }

        #[test]
        fn a_refund_restores_what_was_charged(policy in policies(), trace in traces(), cost in 1u32..5) {
            let (mut state, mut now) = (State::new(&policy), START);
            for (step, cost) in trace {
                now += step * policy.per_micros() / 1_000;
                decide(&mut state, now, &policy, cost);
            }
            let before = state.read(now, &policy, 0);
            if decide(&mut state, now, &policy, cost).outcome() == Outcome::Admitted {
                state.refund(now, &policy, cost, Some(now));
                let after = state.read(now, &policy, 0);
                prop_assert_eq!(before.standing(now, &policy, 0).0, after.standing(now, &policy, 0).0);
            }
        }

        #[test]
        fn a_log_stays_small(limit in 1u32..5_000, trace in traces()) {
            let (policy, mut now) = (window(limit, 1_000_000), START);
            let mut state = State::new(&policy);
            for (step, cost) in trace {
                now += step * 1_000;
                decide(&mut state, now, &policy, cost);
                let State::Log(log) = &state else { unreachable!("a window has a log") };
                prop_assert!(log.entries() <= 121);
            }
        }
    }

    #[test]
    fn a_bucket_whose_interval_is_no_whole_microsecond_is_exact() {
        let policy = bucket(3, 1_000_000, 3);
        let mut state = State::new(&policy);
        for _ in 0..3 {
            assert_eq!(decide(&mut state, START, &policy, 1).outcome(), Outcome::Admitted);
        }
        let denied = decide(&mut state, START, &policy, 1);
        assert_eq!(denied.retry_after(), Some(Duration::from_micros(333_334)));
        let admitted =
            (0..3_000_000).filter(|n| decide(&mut state, START + n * 10, &policy, 1).outcome().admits()).count();
        assert_eq!(admitted, 89, "3 per second over 30 s, less the last, which comes 10 us later");
    }

    #[test]
    fn a_cost_over_the_capacity_is_an_error_of_its_own() {
        let policy = window(5, 1_000_000);
        let decision = decide(&mut State::new(&policy), START, &policy, 6);
        assert_eq!((decision.outcome(), decision.retry_after()), (Outcome::TooCostly, None));
    }

    #[test]
    fn a_cost_of_nothing_passes_a_full_window_and_charges_nothing() {
        let policy = window(1, 1_000_000);
        let mut state = State::new(&policy);
        decide(&mut state, START, &policy, 1);
        let before = state.clone();
        assert_eq!(decide(&mut state, START, &policy, 0).outcome(), Outcome::Admitted);
        assert_eq!(state, before);
    }

    #[test]
    fn recording_beyond_the_limit_keeps_the_newest() {
        let policy = window(2, 1_000);
        let mut state = State::new(&policy);
        for n in 0..5 {
            state.record(START + n * 100, &policy, 1);
        }
        assert_eq!(
            state.read(START + 400, &policy, 1),
            Reading::Log { used: 2, oldest: START + 300, room: START + 300 }
        );
    }

    #[test]
    fn a_refund_gives_back_its_own_entry() {
        let policy = window(2, 1_000);
        let mut state = State::new(&policy);
        decide(&mut state, START, &policy, 1);
        decide(&mut state, START + 900, &policy, 1);
        state.refund(START + 950, &policy, 1, Some(START));
        assert_eq!(state.read(START + 999, &policy, 1), Reading::Log { used: 1, oldest: START + 900, room: 0 });
    }
}
