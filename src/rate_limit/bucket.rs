//! The token bucket as one stamp, when it is full again (GCRA), exact at any rate.

use super::{decide::Reading, policy::Policy};

/// When the bucket is full again: whole microseconds, and a rest in parts of `limit`.
///
/// A token costs `per / limit` microseconds, which is rarely whole. Counted in parts of `1 / limit` microseconds it
/// costs `per` of them: nothing is ever rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    full_at: u64,
    rest: u64,
}

impl Bucket {
    /// The parts that are missing from a full bucket.
    pub(super) fn backlog(full_at: u64, rest: u64, now: u64, policy: &Policy) -> u128 {
        if full_at < now { 0 } else { u128::from(full_at - now) * u128::from(policy.limit()) + u128::from(rest) }
    }

    /// The parts that `cost` tokens take.
    pub(super) fn price(policy: &Policy, cost: u32) -> u128 {
        u128::from(cost) * u128::from(policy.per_micros())
    }

    /// The parts that an empty bucket is missing.
    pub(super) fn room(policy: &Policy) -> u128 {
        Self::price(policy, policy.capacity())
    }

    /// The microseconds that refill `parts`, rounded up.
    pub(super) fn micros(parts: u128, policy: &Policy) -> u64 {
        u64::try_from(parts.div_ceil(u128::from(policy.limit()))).unwrap_or(u64::MAX)
    }

    /// How many tokens are there, and in how many microseconds there is one more.
    pub(super) fn standing(backlog: u128, policy: &Policy) -> (u32, u64) {
        // Without a period (concurrency) a token costs nothing.
        let (per, room) = (u128::from(policy.per_micros()).max(1), Self::room(policy));
        let remaining = u32::try_from(room.saturating_sub(backlog) / per).unwrap_or(u32::MAX);
        let to_next = if backlog == 0 { 0 } else { (backlog - 1) % per + 1 };
        (remaining, Self::micros(to_next, policy))
    }

    /// A bucket emptier than empty was filled by another clock or another policy: it is empty. A look changes nothing else.
    pub(super) fn read(&mut self, now: u64, policy: &Policy) -> Reading {
        let (full_at, rest) = self.whole(policy);
        let backlog = Self::backlog(full_at, rest, now, policy);
        let seen = Self::missing(backlog.min(Self::room(policy)), now, policy);
        if backlog > Self::room(policy) {
            *self = seen;
        }
        Reading::Bucket { full_at: seen.full_at, rest: seen.rest }
    }

    /// The stamp, its rest in parts of this policy's limit: another limit's can be more than one.
    fn whole(&self, policy: &Policy) -> (u64, u64) {
        let is_odd = self.rest >= u64::from(policy.limit());
        if is_odd { (self.full_at.saturating_add(1), 0) } else { (self.full_at, self.rest) }
    }

    pub(super) fn charge(&mut self, now: u64, policy: &Policy, cost: u32) {
        let (full_at, rest) = self.whole(policy);
        let backlog = Self::backlog(full_at, rest, now, policy) + Self::price(policy, cost);
        *self = Self::missing(backlog, now, policy);
    }

    pub(super) fn refund(&mut self, now: u64, policy: &Policy, cost: u32) {
        let (full_at, rest) = self.whole(policy);
        let backlog = Self::backlog(full_at, rest, now, policy).saturating_sub(Self::price(policy, cost));
        *self = if backlog == 0 { Self::default() } else { Self::missing(backlog, now, policy) };
    }

    /// The bucket that is missing `backlog` parts at `now`.
    fn missing(backlog: u128, now: u64, policy: &Policy) -> Self {
        let (micros, rest) = Self::split(backlog, policy);
        Self { full_at: now.saturating_add(micros), rest }
    }

    /// `parts` as whole microseconds and the rest: what the script adds up.
    pub(super) fn split(parts: u128, policy: &Policy) -> (u64, u64) {
        let limit = u128::from(policy.limit());
        let whole = u64::try_from(parts / limit).unwrap_or(u64::MAX);
        let rest = u64::try_from(parts % limit).expect("a rest is under the limit, a u32");
        (whole, rest)
    }
}
