//! One user's log, as pure functions of its state: what the scripts do in Redis.

use std::{collections::VecDeque, sync::Arc};

use super::{Held, Record};
use crate::clock::Timestamp;

/// The entries, newest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Stored>,
    cleared: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Stored {
    at: Timestamp,
    record: Arc<Record>,
}

impl Stored {
    fn new(record: &Arc<Record>, now: Timestamp) -> Self {
        Self { at: record.at().unwrap_or(now), record: Arc::clone(record) }
    }
}

impl Log {
    /// Puts records on top, the last one uppermost.
    pub(super) fn append(&mut self, records: &[Arc<Record>], now: Timestamp, capacity: usize) {
        for record in records {
            self.entries.push_front(Stored::new(record, now));
        }
        self.entries.truncate(capacity);
    }

    /// Brings in what was held back; how many entries were not there yet. Doing it again changes nothing.
    pub(super) fn merge(&mut self, held: &Held, capacity: usize) -> usize {
        let before = self.cleared;
        if let Some(cleared) = held.cleared {
            self.entries.retain(|stored| stored.at > cleared);
            self.cleared = before.max(Some(cleared));
        }
        let mut merged = 0;
        // The newest first, and each below its equals: so an entry that falls out does so every time.
        for (noted, record) in held.records.iter().rev() {
            let is_there = self.entries.iter().any(|stored| stored.record.id() == record.id());
            if Some(*noted) > before && !is_there {
                let stored = Stored::new(record, *noted);
                let below = self.entries.iter().position(|other| other.at < stored.at);
                self.entries.insert(below.unwrap_or(self.entries.len()), stored);
                merged += 1;
            }
        }
        self.entries.truncate(capacity);
        merged
    }

    pub(super) fn clear(&mut self, now: Timestamp) {
        self.entries.clear();
        self.cleared = Some(now);
    }

    /// The newest entries as they are stored.
    pub(super) fn recent(&self, limit: usize) -> impl Iterator<Item = String> {
        self.entries.iter().take(limit).map(|stored| stored.record.encode(stored.at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::action_log::Action;

    fn record(id: u64, at: Option<u64>) -> Arc<Record> {
        let action = Action::new("a");
        let action = if let Some(at) = at { action.at(Timestamp::from_micros(at)) } else { action };
        Arc::new(Record::new(&action, id).expect("fit"))
    }

    fn ids(log: &Log) -> Vec<u64> {
        log.entries.iter().map(|stored| stored.record.id()).collect()
    }

    fn held(cleared: Option<u64>, noted: &[u64]) -> Held {
        let records = noted.iter().map(|at| (Timestamp::from_micros(*at), record(*at, None))).collect();
        Held { cleared: cleared.map(Timestamp::from_micros), records }
    }

    fn log(times: &[u64]) -> Log {
        let mut log = Log::default();
        times.iter().for_each(|at| log.append(&[record(*at, None)], Timestamp::from_micros(*at), 100));
        log
    }

    #[test]
    fn what_was_held_comes_in_by_its_time() {
        let mut log = log(&[10, 30]);
        assert_eq!(log.merge(&held(None, &[5, 20, 40]), 4), 3);
        assert_eq!(ids(&log), [40, 30, 20, 10]);
    }

    #[test]
    fn a_clear_that_was_held_spares_what_others_wrote_after_it() {
        let mut log = log(&[10, 30]);
        log.merge(&held(Some(20), &[25]), 100);
        assert_eq!(ids(&log), [30, 25]);
    }

    #[test]
    fn what_was_noted_before_a_clear_does_not_come_back() {
        let mut log = log(&[10]);
        log.clear(Timestamp::from_micros(20));
        assert_eq!(log.merge(&held(None, &[15, 20, 21]), 100), 1);
        assert_eq!(ids(&log), [21]);
    }

    #[test]
    fn of_equal_times_the_same_fall_out_every_time() {
        let mut log = Log::default();
        let records = (1..=3).map(|n| (Timestamp::from_micros(n), record(n, Some(13)))).collect();
        let held = Held { cleared: None, records };
        for _ in 0..2 {
            log.merge(&held, 2);
            assert_eq!(ids(&log), [3, 2]);
        }
    }

    proptest! {
        #[test]
        fn merging_twice_is_merging_once(
            there in prop::collection::vec((0u64..30, prop::option::of(0u64..30)), 0..12),
            // Noted times are unique, and later than the clear among them.
            first in 0u64..30, gaps in prop::collection::vec((1u64..4, prop::option::of(0u64..30)), 0..6),
            cleared in prop::bool::ANY, was_cleared in prop::option::of(0u64..30), capacity in 1usize..12,
        ) {
            let mut log = Log { cleared: was_cleared.map(Timestamp::from_micros), ..Log::default() };
            for (n, (now, at)) in there.iter().enumerate() {
                log.append(&[record(1_000 + n as u64, *at)], Timestamp::from_micros(*now), capacity);
            }
            let mut noted = first;
            let records = gaps.iter().enumerate().map(|(n, (gap, at))| {
                noted += gap;
                (Timestamp::from_micros(noted), record(n as u64, *at))
            });
            let held = Held { records: records.collect(), cleared: cleared.then_some(Timestamp::from_micros(first)) };
            log.merge(&held, capacity);
            let once = ids(&log);
            log.merge(&held, capacity);
            prop_assert_eq!(ids(&log), once);
        }
    }
}
