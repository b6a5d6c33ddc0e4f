//! The sliding window's log: when requests were admitted, and how many.

use std::collections::VecDeque;

use super::{decide::Reading, policy::Policy};

/// Entries by time. An entry counts until its newest request has left the window, so a window never holds more than
/// its limit; requests of one grain share an entry, so a log has at most 121.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    total: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    at: u64,
    count: u64,
}

impl Log {
    /// What counts at `now`. Entries that have left are dropped by the next charge, as in Redis, so that a look changes nothing.
    pub(super) fn read(&mut self, now: u64, policy: &Policy, cost: u32) -> Reading {
        self.clip(now);
        let (left, gone) = self.left(now, policy.per_micros());
        let used = self.total - gone;
        let over = (used + u64::from(cost)).saturating_sub(u64::from(policy.limit()));
        let oldest = self.entries.get(left).map_or(0, |entry| entry.at);
        Reading::Log { used, oldest, room: self.room(left, over) }
    }

    /// How many entries have left the window (now - per, now], and their sum.
    fn left(&self, now: u64, per: u64) -> (usize, u64) {
        let gone = self.entries.iter().take_while(|entry| entry.at + per <= now);
        gone.fold((0, 0), |(entries, sum), entry| (entries + 1, sum + entry.count))
    }

    /// Moves entries of the future to `now`: the clock was set back.
    fn clip(&mut self, now: u64) {
        let mut count = 0;
        while let Some(newest) = self.entries.back().copied().filter(|entry| entry.at > now) {
            count += newest.count;
            self.entries.pop_back();
        }
        if count > 0 {
            self.total -= count;
            self.push(now, 1, count);
        }
    }

    /// The entry, from the `first` on, whose leaving frees `over`; 0 where nothing must leave, or all of it is not enough.
    fn room(&self, first: usize, over: u64) -> u64 {
        let mut freed = 0;
        let enough = |entry: &&Entry| {
            freed += entry.count;
            freed >= over
        };
        if over == 0 { 0 } else { self.entries.range(first..).find(enough).map_or(0, |entry| entry.at) }
    }

    pub(super) fn charge(&mut self, now: u64, policy: &Policy, cost: u32) {
        let (left, gone) = self.left(now, policy.per_micros());
        self.entries.drain(..left);
        self.total -= gone;
        self.push(now, policy.grain(), u64::from(cost));
    }

    fn push(&mut self, now: u64, grain: u64, count: u64) {
        self.total += count;
        match self.entries.back_mut() {
            Some(newest) if newest.at / grain == now / grain => {
                newest.at = now;
                newest.count += count;
            }
            _ => self.entries.push_back(Entry { at: now, count }),
        }
    }

    /// Drops the oldest entries as long as `limit` stay.
    pub(super) fn keep_newest(&mut self, limit: u32) {
        while let Some(oldest) = self.entries.front().copied() {
            if self.total - oldest.count < u64::from(limit) {
                break;
            }
            self.total -= oldest.count;
            self.entries.pop_front();
        }
    }

    /// Takes `cost` out of the entry that holds what was charged `at`, unless it has left.
    pub(super) fn refund(&mut self, now: u64, policy: &Policy, cost: u32, at: u64) {
        let grain = policy.grain();
        let n = self.entries.partition_point(|entry| entry.at < at);
        let is_it = |entry: &Entry| entry.at / grain == at / grain && entry.at + policy.per_micros() > now;
        if self.entries.get(n).is_some_and(is_it) {
            self.take(n, u64::from(cost));
        }
    }

    pub(super) fn refund_newest(&mut self, cost: u32) {
        let mut left = u64::from(cost);
        while left > 0 && !self.entries.is_empty() {
            left -= self.take(self.entries.len() - 1, left);
        }
    }

    /// Takes up to `count` out of the `n`th entry; how many it held of them.
    fn take(&mut self, n: usize, count: u64) -> u64 {
        let entry = &mut self.entries[n];
        let taken = count.min(entry.count);
        entry.count -= taken;
        self.total -= taken;
        if entry.count == 0 {
            self.entries.remove(n);
        }
        taken
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.entries.len()
    }
}
