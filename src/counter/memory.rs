//! Counters in this process.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    Counter, CounterStore, Flush,
    store::{added, out_of_range},
};
use crate::{
    Cx, Error, Result, StoreFuture,
    clock::{Clock, Timestamp, days},
    store::OutageSwitch,
};

/// How long the last number of a writer is remembered, as in Redis.
const MARK_LIFE: std::time::Duration = days(7);
/// A counter takes some 150 bytes.
const MAX_COUNTERS: usize = 1_000_000;
/// Above so many writers, those that are past their time are looked for.
const SWEEP_FROM: usize = 1_024;

/// Counts in this process: for tests, development, and one instance without Redis. Clones share their counters.
///
/// Holds a bounded number of counters; past it, adding to a new one is unavailable. Forgetting one would be a wrong
/// count.
///
/// ```
/// use towerkeep::{clock::Clock, counter::{Counter, Counters, MemoryCounterStore}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let counters = Counters::new(MemoryCounterStore::new(Clock::system()).max_counters(1));
/// assert_eq!(counters.incr_by(&Counter::of("downloads", 1), 5).await.unwrap(), 5);
/// assert!(counters.incr(&Counter::of("downloads", 2)).await.unwrap_err().is_unavailable());
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryCounterStore {
    kept: Arc<Mutex<Kept>>,
    max_counters: usize,
    clock: Clock,
    outage: OutageSwitch,
}

#[derive(Default)]
struct Kept {
    values: HashMap<Counter, i64>,
    /// The last number of each writer, and when it may be forgotten.
    marks: HashMap<Arc<str>, (u64, Timestamp)>,
}

impl MemoryCounterStore {
    /// An empty store; `clock` says when a writer that went away is forgotten.
    pub fn new(clock: Clock) -> Self {
        Self { kept: Arc::default(), max_counters: MAX_COUNTERS, clock, outage: OutageSwitch::default() }
    }

    /// Holds at most so many counters. Defaults to 1,000,000, of some 150 bytes each.
    #[must_use]
    pub fn max_counters(mut self, counters: usize) -> Self {
        self.max_counters = counters;
        self
    }

    /// Refuses every verb while `switch` is on.
    #[must_use]
    pub fn outage(mut self, switch: OutageSwitch) -> Self {
        self.outage = switch;
        self
    }

    /// A panic elsewhere leaves the counts usable.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verb<T>(&self, verb: impl FnOnce(&mut Kept) -> Result<T>) -> StoreFuture<T> {
        StoreFuture::ready(self.outage.check().and_then(|()| verb(&mut self.kept())))
    }
}

impl Kept {
    fn add(&mut self, counter: &Counter, by: i64, most: usize) -> Result<i64> {
        if let Some(value) = self.values.get_mut(counter) {
            *value = added(*value, by).ok_or_else(out_of_range)?;
            return Ok(*value);
        }
        if self.values.len() >= most {
            return Err(Error::unavailable("the counters in memory are full; count in Redis, or raise max_counters"));
        }
        self.values.insert(counter.clone(), by);
        Ok(by)
    }

    /// Whether a flush is new, and from now on is not.
    fn mark(&mut self, flush: &Flush, now: Timestamp) -> bool {
        if self.marks.len() >= SWEEP_FROM {
            self.marks.retain(|_, (_, until)| *until > now);
        }
        let last = self.marks.get(flush.id().writer()).filter(|(_, until)| *until > now);
        let is_new = last.is_none_or(|(number, _)| *number < flush.id().number());
        if is_new {
            self.marks.insert(flush.id().writer().into(), (flush.id().number(), now + MARK_LIFE));
        }
        is_new
    }
}

impl CounterStore for MemoryCounterStore {
    fn add(&self, _: &Cx, counter: &Counter, by: i64) -> StoreFuture<i64> {
        self.verb(|kept| kept.add(counter, by, self.max_counters))
    }

    fn read(&self, _: &Cx, counters: &[Counter]) -> StoreFuture<Vec<i64>> {
        self.verb(|kept| Ok(counters.iter().map(|counter| kept.values.get(counter).copied().unwrap_or(0)).collect()))
    }

    fn reset(&self, _: &Cx, counter: &Counter) -> StoreFuture<()> {
        self.verb(|kept| {
            kept.values.remove(counter);
            Ok(())
        })
    }

    fn apply(&self, cx: &Cx, flush: &Flush) -> StoreFuture<usize> {
        let now = cx.now().unwrap_or_else(|| self.clock.now());
        self.verb(|kept| {
            if !kept.mark(flush, now) {
                return Ok(0);
            }
            let results = flush.additions().iter().map(|(counter, by)| kept.add(counter, *by, self.max_counters));
            Ok(results.filter(Result::is_err).count())
        })
    }
}

impl fmt::Debug for MemoryCounterStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counters = self.kept().values.len();
        f.debug_struct("MemoryCounterStore").field("counters", &counters).finish_non_exhaustive()
    }
}
