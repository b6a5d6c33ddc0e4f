//! One board in memory: its rows in order, and the decisions on them.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use super::{
    Change, Query, Ranking, Reading, RecordOutcome, Recorded, Rules, SourceRow, Standing, TieBreak,
    decide::{self, Decision, decide},
    order::SortedList,
};
use crate::clock::Timestamp;

/// A score in the order of the board: the first one is the least.
#[derive(Clone, Copy, Debug)]
struct Sort(f64);

impl Sort {
    fn of(rules: &Rules, score: f64) -> Self {
        Self(if rules.is_lowest_first() { score } else { -score } + 0.0)
    }

    fn score(self, rules: &Rules) -> f64 {
        Self::of(rules, self.0).0
    }
}

impl Ord for Sort {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Sort {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sort {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Sort {}

/// A place: by score, then by when it was reached where that counts, then by member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    sort: Sort,
    stamp: u64,
    member: Arc<str>,
}

/// When a change is made, in milliseconds.
pub(super) type Millis = u64;

/// The latest time that ties tell from later ones, in the year 2286: what 13 digits hold in Redis.
const LAST: Millis = 9_999_999_999_999;

#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    rows: SortedList<Row>,
    scores: SortedList<Sort>,
    members: HashMap<Arc<str>, Row>,
    events: HashMap<String, Millis>,
}

/// Members taken out by one change when the cap was lowered.
const TRIM: usize = 100;

impl Table {
    /// Makes a change; nothing where a sum would not be exact any more, and then nothing is changed.
    pub(super) fn change(&mut self, rules: &Rules, change: &Change, now: Millis) -> Option<Recorded> {
        self.make(rules, change, now, now)
    }

    /// As [`change`](Self::change), of something that was reached at `at`.
    pub(super) fn make(&mut self, rules: &Rules, change: &Change, at: Millis, now: Millis) -> Option<Recorded> {
        let member = change.member();
        let before = self.find(rules, member);
        let is_repeated = matches!(change, Change::Add { event, .. } if self.is_known(rules, event, now));
        let old = before.as_ref().map(|standing| standing.score);
        let (new, outcome) = match decide(rules, change, old, is_repeated) {
            Decision::Overflow => return None,
            Decision::Repeated => (old, RecordOutcome::Repeated),
            Decision::To(new) if new == old => (new, RecordOutcome::Unchanged),
            Decision::To(new) => (new, RecordOutcome::Recorded),
        };
        if let (Change::Add { event, .. }, false) = (change, is_repeated) {
            self.note(rules, event, now);
        }
        if new != old {
            self.place(rules, member, new, at);
        }
        let after = self.find(rules, member);
        let previous_rank = before.map(|standing| standing.rank);
        let (new, rank) = (after.as_ref().map(|standing| standing.score), after.map(|standing| standing.rank));
        Some(Recorded { outcome, old, new, rank, previous_rank })
    }

    /// Whether a change would be made: a sum must stay exact.
    pub(super) fn fits(&self, rules: &Rules, change: &Change, now: Millis) -> bool {
        let old = self.members.get(change.member()).map(|row| row.sort.score(rules));
        let is_repeated = matches!(change, Change::Add { event, .. } if self.is_known(rules, event, now));
        decide(rules, change, old, is_repeated) != Decision::Overflow
    }

    /// A row of the source.
    pub(super) fn load(&mut self, rules: &Rules, row: &SourceRow, now: Millis) {
        self.place(rules, &row.member, Some(row.score), row.reached.map_or(now, Timestamp::as_millis));
        self.events.extend(row.events.iter().map(|event| (event.clone(), now)));
    }

    /// Takes over the events that were counted: they outlive the scores.
    pub(super) fn emptied(&mut self) -> Self {
        Self { events: std::mem::take(&mut self.events), ..Self::default() }
    }

    fn is_known(&self, rules: &Rules, event: &str, now: Millis) -> bool {
        self.events.get(event).is_some_and(|seen| is_fresh(rules, *seen, now))
    }

    fn note(&mut self, rules: &Rules, event: &str, now: Millis) {
        if self.events.len() == self.events.capacity() {
            self.events.retain(|_, seen| is_fresh(rules, *seen, now));
        }
        self.events.insert(event.to_owned(), now);
    }

    fn place(&mut self, rules: &Rules, member: &str, score: Option<f64>, at: Millis) {
        if let Some(row) = self.members.remove(member) {
            self.take_out(&row);
        }
        let Some(score) = score else { return };
        let at = at.min(LAST);
        let stamp = match rules.ties {
            TieBreak::Member => 0,
            TieBreak::FirstToReach => at,
            TieBreak::LastToReach => LAST - at,
        };
        let row = Row { sort: Sort::of(rules, score), stamp, member: member.into() };
        self.scores.insert(row.sort);
        self.rows.insert(row.clone());
        self.members.insert(Arc::clone(&row.member), row);
        self.trim(rules);
    }

    fn take_out(&mut self, row: &Row) {
        self.rows.remove(row);
        if self.rows.before(|other| other.sort < row.sort) == self.rows.before(|other| other.sort <= row.sort) {
            self.scores.remove(&row.sort);
        }
    }

    fn trim(&mut self, rules: &Rules) {
        let Some(cap) = rules.cap else { return };
        let over: Vec<_> = self.rows.from(cap.get() as usize).take(TRIM).cloned().collect();
        for row in over {
            self.members.remove(&row.member);
            self.take_out(&row);
        }
    }

    fn find(&self, rules: &Rules, member: &str) -> Option<Standing> {
        let row = self.members.get(member)?;
        Some(Standing { member: member.to_owned(), score: row.sort.score(rules), rank: self.rank(rules, row) })
    }

    fn rank(&self, rules: &Rules, row: &Row) -> u64 {
        let before = match rules.ranking {
            Ranking::Ordinal => self.rows.before(|other| other < row),
            Ranking::Competition => self.rows.before(|other| other.sort < row.sort),
            Ranking::Dense => self.scores.before(|other| *other < row.sort),
        };
        before as u64 + 1
    }

    pub(super) fn read(&self, rules: &Rules, query: &Query) -> Reading {
        let mut reading = Reading { total: self.rows.len() as u64, ..Reading::default() };
        match query {
            Query::Page { offset, limit } => reading.rows = self.page(rules, *offset, *limit),
            Query::Around { member, rows } => {
                let Some(row) = self.members.get(&**member) else { return reading };
                let at = self.rows.before(|other| other < row) as u64;
                reading.rows = self.page(rules, decide::window(at, u64::from(*rows), reading.total), *rows);
            }
            Query::Members(members) => {
                reading.rows = members.iter().map(|member| self.find(rules, member)).collect();
            }
            Query::Percentile(member) => {
                reading.rows.push(self.find(rules, member));
                let sort = self.members.get(&**member).map(|row| row.sort);
                let better = sort.map_or(self.rows.len(), |sort| self.rows.before(|other| other.sort <= sort));
                reading.worse = (self.rows.len() - better) as u64;
            }
        }
        reading
    }

    fn page(&self, rules: &Rules, offset: u64, limit: u32) -> Vec<Option<Standing>> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rows: Vec<_> = self.rows.from(from).take(limit as usize).collect();
        let first = rows.first().map_or(0, |row| self.rank(rules, row));
        let rows = rows.into_iter().map(|row| (row.member.to_string(), row.sort.score(rules)));
        decide::ranked(rules.ranking, offset, first, rows).into_iter().map(Some).collect()
    }
}

fn is_fresh(rules: &Rules, seen: Millis, now: Millis) -> bool {
    let remember = u64::try_from(rules.remember.as_millis()).unwrap_or(u64::MAX);
    u128::from(seen) + u128::from(remember) > u128::from(now)
}
