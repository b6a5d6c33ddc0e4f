//! The seam: what a store of action logs can do.

use std::sync::Arc;

use super::{Entry, Record, Retention};
use crate::{Cx, StoreFuture, UserId, clock::Timestamp};

/// Keeps one log for each user.
///
/// 1. A log that is not there is empty, which is no error. Nor is an entry that cannot be read: it is left out.
/// 2. Appending is all or nothing. More than the capacity drops the oldest.
/// 3. An error that is unavailable means that nobody knows whether the verb was carried out. It is then repeated as
///    [`merge`](ActionStore::merge), which takes no entry twice.
/// 4. Every verb is under way when it returns, whether or not its answer is awaited.
pub trait ActionStore: Send + Sync + 'static {
    /// The time by which the store judges.
    fn now(&self, cx: &Cx) -> Timestamp;

    /// Whether asking makes sense now. Never waits; saying yes in vain costs only time.
    fn is_up(&self) -> bool {
        true
    }

    /// Puts `records`, the oldest first, on top of the user's log; how many.
    fn append(&self, cx: &Cx, user: &UserId, records: &[Arc<Record>], keep: Retention) -> StoreFuture<usize>;

    /// Brings in what was held back; how many entries were not there yet.
    ///
    /// 1. With `cleared`, everything that bears a time up to then is dropped.
    /// 2. A record that was noted before the user's last clear, or is in the log, is left out.
    /// 3. Any other comes above the first entry that is older.
    fn merge(&self, cx: &Cx, user: &UserId, held: &Held, keep: Retention) -> StoreFuture<usize>;

    /// The newest `limit` entries, newest first.
    fn recent(&self, cx: &Cx, user: &UserId, limit: usize) -> StoreFuture<Vec<Entry>>;

    /// Empties the user's log, and remembers for `keep.keep_for` when.
    fn clear(&self, cx: &Cx, user: &UserId, keep: Retention) -> StoreFuture<()>;
}

const _: Option<&dyn ActionStore> = None;

/// What one instance held back of one user's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// When the log was cleared; all records were noted after that.
    pub cleared: Option<Timestamp>,
    /// The records and when each was noted, the oldest first. No two were noted in the same microsecond.
    pub records: Vec<(Timestamp, Arc<Record>)>,
}

impl<T: ActionStore + ?Sized> ActionStore for Arc<T> {
    fn now(&self, cx: &Cx) -> Timestamp {
        (**self).now(cx)
    }

    fn is_up(&self) -> bool {
        (**self).is_up()
    }

    fn append(&self, cx: &Cx, user: &UserId, records: &[Arc<Record>], keep: Retention) -> StoreFuture<usize> {
        (**self).append(cx, user, records, keep)
    }

    fn merge(&self, cx: &Cx, user: &UserId, held: &Held, keep: Retention) -> StoreFuture<usize> {
        (**self).merge(cx, user, held, keep)
    }

    fn recent(&self, cx: &Cx, user: &UserId, limit: usize) -> StoreFuture<Vec<Entry>> {
        (**self).recent(cx, user, limit)
    }

    fn clear(&self, cx: &Cx, user: &UserId, keep: Retention) -> StoreFuture<()> {
        (**self).clear(cx, user, keep)
    }
}
