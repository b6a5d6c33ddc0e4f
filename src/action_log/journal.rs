//! What is not in the store for certain: under way, or held until the store is back.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use super::{Held, Record};
use crate::{UserId, clock::Timestamp};

/// Users of whom something is held.
const MOST_USERS: usize = 10_000;
/// Bytes of what is held or under way, for all users.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Records held of one user.
const MOST_RECORDS: usize = 1_000;
/// What a record costs beyond its text.
const OVERHEAD: usize = 160;
/// So many records are brought in by one command.
const CHUNK: usize = 100;
const MICRO: Duration = Duration::from_micros(1);

#[derive(Debug, Default)]
pub(super) struct Journal {
    /// By the time when they were noted; no two are noted at the same.
    flying: BTreeMap<Timestamp, Flying>,
    waiting: HashMap<UserId, Waiting>,
    bytes: usize,
    last: Timestamp,
}

#[derive(Debug)]
struct Flying {
    user: UserId,
    /// Nothing: the log is cleared.
    records: Option<Vec<Arc<Record>>>,
}

#[derive(Debug, Default)]
struct Waiting {
    cleared: Option<Timestamp>,
    records: BTreeMap<Timestamp, Arc<Record>>,
}

/// What became of a write that was told to the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// To be sent; its number.
    Flying(Timestamp),
    /// Earlier writes of this user wait, and so does this one.
    Waiting,
    /// There is no room: to be sent, and if that fails, it has failed.
    Full,
}

impl Journal {
    pub(super) fn append(&mut self, user: &UserId, records: &[Arc<Record>], now: Timestamp, capacity: usize) -> Noted {
        if self.bytes + cost(records) > MOST_BYTES {
            return Noted::Full;
        }
        let first = self.next(now, records.len());
        if !self.waiting.contains_key(user) {
            self.bytes += cost(records);
            self.flying.insert(first, Flying { user: user.clone(), records: Some(records.to_vec()) });
            return Noted::Flying(first);
        }
        if self.wait(user, first, records.to_vec(), capacity) { Noted::Waiting } else { Noted::Full }
    }

    pub(super) fn clear(&mut self, user: &UserId, now: Timestamp) -> Noted {
        let at = self.next(now, 1);
        if self.waiting.contains_key(user) {
            self.wait_cleared(user, at);
            return Noted::Waiting;
        }
        self.flying.insert(at, Flying { user: user.clone(), records: None });
        Noted::Flying(at)
    }

    /// The store has it, or will never have it.
    pub(super) fn land(&mut self, at: Timestamp) {
        let landed = self.take(at);
        if let Some(clear) = landed.filter(|flying| flying.records.is_none()) {
            self.forget_flying(&clear.user, at);
        }
    }

    /// Nobody knows whether the store has it. False where there is no room, and then it is forgotten.
    pub(super) fn hold(&mut self, at: Timestamp, capacity: usize) -> bool {
        // What is not there any more was cleared meanwhile: whether before or after, nobody can tell.
        let Some(Flying { user, records }) = self.take(at) else { return true };
        if !self.waiting.contains_key(&user) && self.waiting.len() >= MOST_USERS {
            return false;
        }
        match records {
            Some(records) => self.wait(&user, at, records, capacity),
            None => {
                self.wait_cleared(&user, at);
                true
            }
        }
    }

    pub(super) fn is_waiting(&self, user: &UserId) -> bool {
        self.waiting.contains_key(user)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn users(&self) -> Vec<UserId> {
        self.waiting.keys().cloned().collect()
    }

    /// The oldest of what waits: as much as one command brings in.
    pub(super) fn held(&self, user: &UserId) -> Option<Held> {
        let waiting = self.waiting.get(user)?;
        let records = waiting.records.iter().take(CHUNK).map(|(noted, record)| (*noted, Arc::clone(record)));
        Some(Held { cleared: waiting.cleared, records: records.collect() })
    }

    /// The newest of what waits, newest first.
    pub(super) fn newest(&self, user: &UserId, limit: usize) -> Vec<(Timestamp, Arc<Record>)> {
        let waiting = self.waiting.get(user).into_iter().flat_map(|waiting| waiting.records.iter().rev());
        waiting.take(limit).map(|(noted, record)| (*noted, Arc::clone(record))).collect()
    }

    /// The store has this now.
    pub(super) fn settle(&mut self, user: &UserId, held: &Held) {
        let Some(waiting) = self.waiting.get_mut(user) else { return };
        if waiting.cleared == held.cleared {
            waiting.cleared = None;
        }
        for (noted, record) in &held.records {
            if waiting.records.remove(noted).is_some() {
                self.bytes -= cost_of(record);
            }
        }
        if waiting.cleared.is_none() && waiting.records.is_empty() {
            self.waiting.remove(user);
        }
    }

    /// The first of `count` numbers; times that never stand still and never go back.
    fn next(&mut self, now: Timestamp, count: usize) -> Timestamp {
        let first = now.max(self.last + MICRO);
        self.last = first + MICRO * u32::try_from(count.saturating_sub(1)).unwrap_or(0);
        first
    }

    fn take(&mut self, at: Timestamp) -> Option<Flying> {
        let flying = self.flying.remove(&at)?;
        self.bytes -= flying.records.as_deref().map_or(0, cost);
        Some(flying)
    }

    fn wait(&mut self, user: &UserId, first: Timestamp, records: Vec<Arc<Record>>, capacity: usize) -> bool {
        let waiting = self.waiting.entry(user.clone()).or_default();
        if waiting.cleared.is_some_and(|cleared| cleared > first) {
            return true;
        }
        // What is beyond the capacity would be dropped anyway; what is beyond our own bound may not be.
        let beyond = (waiting.records.len() + records.len()).saturating_sub(capacity);
        if waiting.records.len() + records.len() - beyond.min(waiting.records.len()) > MOST_RECORDS {
            return false;
        }
        for _ in 0..beyond {
            if let Some((_, oldest)) = waiting.records.pop_first() {
                self.bytes -= cost_of(&oldest);
            }
        }
        for (n, record) in (0u32..).zip(records) {
            self.bytes += cost_of(&record);
            waiting.records.insert(first + MICRO * n, record);
        }
        true
    }

    fn wait_cleared(&mut self, user: &UserId, at: Timestamp) {
        self.forget_flying(user, at);
        let waiting = self.waiting.entry(user.clone()).or_default();
        let later = waiting.records.split_off(&at);
        let gone = std::mem::replace(&mut waiting.records, later);
        self.bytes -= gone.values().map(cost_of).sum::<usize>();
        waiting.cleared = waiting.cleared.max(Some(at));
    }

    /// What was under way when the log was cleared is not to be repeated.
    fn forget_flying(&mut self, user: &UserId, before: Timestamp) {
        let is_gone = |flying: &Flying| flying.records.is_some() && flying.user == *user;
        let gone: Vec<_> =
            self.flying.range(..before).filter(|(_, flying)| is_gone(flying)).map(|(at, _)| *at).collect();
        for at in gone {
            self.take(at);
        }
    }
}

fn cost(records: &[Arc<Record>]) -> usize {
    records.iter().map(cost_of).sum()
}

fn cost_of(record: &Arc<Record>) -> usize {
    record.size() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action_log::Action;

    const CAPACITY: usize = 100;

    fn record(id: u64) -> Arc<Record> {
        Arc::new(Record::new(&Action::new("a"), id).expect("fit"))
    }

    fn user() -> UserId {
        UserId::new(1)
    }

    fn now() -> Timestamp {
        Timestamp::from_micros(1_000)
    }

    fn flying(journal: &mut Journal, id: u64) -> Timestamp {
        match journal.append(&user(), &[record(id)], now(), CAPACITY) {
            Noted::Flying(at) => at,
            other => panic!("{other:?}"),
        }
    }

    fn ids(journal: &Journal) -> Vec<u64> {
        let held = journal.held(&user()).unwrap_or_default();
        held.records.iter().map(|(_, record)| record.id()).collect()
    }

    #[test]
    fn what_failed_waits_in_the_order_in_which_it_was_noted() {
        let mut journal = Journal::default();
        let (first, second) = (flying(&mut journal, 1), flying(&mut journal, 2));
        assert!(journal.hold(second, CAPACITY) && journal.hold(first, CAPACITY));
        assert_eq!(journal.append(&user(), &[record(3)], now(), CAPACITY), Noted::Waiting);
        assert_eq!(ids(&journal), [1, 2, 3]);
        let held = journal.held(&user()).expect("held");
        journal.settle(&user(), &held);
        assert!(journal.is_empty() && journal.bytes == 0);
    }

    #[test]
    fn a_clear_ends_what_was_noted_before_it_wherever_that_is() {
        let mut journal = Journal::default();
        let (held, late) = (flying(&mut journal, 1), flying(&mut journal, 2));
        journal.hold(held, CAPACITY);
        assert_eq!(journal.clear(&user(), now()), Noted::Waiting);
        assert!(journal.hold(late, CAPACITY));
        assert_eq!(journal.append(&user(), &[record(3)], now(), CAPACITY), Noted::Waiting);
        assert_eq!(ids(&journal), [3]);
    }

    #[test]
    fn a_clear_that_the_store_has_ends_what_was_under_way() {
        let mut journal = Journal::default();
        let append = flying(&mut journal, 1);
        let Noted::Flying(clear) = journal.clear(&user(), now()) else { panic!("nothing waits") };
        journal.land(clear);
        assert!(journal.hold(append, CAPACITY));
        assert!(journal.is_empty() && journal.bytes == 0);
    }

    #[test]
    fn a_clear_during_a_replay_is_not_settled_by_it() {
        let mut journal = Journal::default();
        let at = flying(&mut journal, 1);
        journal.hold(at, CAPACITY);
        let replayed = journal.held(&user()).expect("held");
        assert_eq!(journal.clear(&user(), now()), Noted::Waiting);
        journal.settle(&user(), &replayed);
        assert!(journal.held(&user()).expect("still held").cleared.is_some());
    }

    #[test]
    fn it_is_bounded() {
        let mut journal = Journal::default();
        for n in 0..250 {
            let noted = journal.append(&user(), &[record(n)], now(), CAPACITY);
            if let Noted::Flying(at) = noted {
                assert!(journal.hold(at, CAPACITY));
            }
        }
        let newest = journal.newest(&user(), 1_000);
        assert_eq!((newest.len(), newest[0].1.id(), newest[99].1.id()), (100, 249, 150));
        for n in 250..2_000 {
            let is_full = journal.newest(&user(), 9_999).len() == MOST_RECORDS;
            let noted = journal.append(&user(), &[record(n)], now(), 10_000);
            assert_eq!(noted, if is_full { Noted::Full } else { Noted::Waiting }, "{n}");
        }
        assert_eq!(journal.newest(&user(), 9_999).len(), MOST_RECORDS);

        let mut journal = Journal::default();
        for n in 0..MOST_USERS + 5 {
            let Noted::Flying(at) = journal.append(&UserId::new(n), &[record(1)], now(), 1) else { panic!("room") };
            assert_eq!(journal.hold(at, 1), n < MOST_USERS);
        }
        assert_eq!(journal.bytes, MOST_USERS * cost_of(&record(1)));
    }
}
