//! The seam: what a store of counters can do.

use std::sync::Arc;

use super::{Counter, Flush};
use crate::{Cx, StoreFuture};

/// Keeps whole numbers by name.
///
/// 1. A counter that was never added to stands at 0, which is not an error.
/// 2. A sum that leaves the range of `i64` is invalid, and changes nothing. A stored value that is no integer is
///    corrupt, and stays until it is [`reset`](CounterStore::reset).
/// 3. A [`Flush`] counts once, however often it is applied. The flushes of one writer come in the order of their
///    numbers, the next after the one before was taken; so a store need only remember the last number of each.
/// 4. Every verb is under way when it returns, whether or not its answer is awaited.
pub trait CounterStore: Send + Sync + 'static {
    /// Adds `by`, which may be negative; answers the new value.
    fn add(&self, cx: &Cx, counter: &Counter, by: i64) -> StoreFuture<i64>;

    /// The values, in the order of `counters`, in one trip.
    fn read(&self, cx: &Cx, counters: &[Counter]) -> StoreFuture<Vec<i64>>;

    /// Removes the counter, whatever is stored under its name: it stands at 0.
    fn reset(&self, cx: &Cx, counter: &Counter) -> StoreFuture<()>;

    /// Adds all that a flush holds, unless that has been done.
    ///
    /// Answers how many of its counters refused: out of range, or no integer. They hold back none of the others, and
    /// are not tried again. An error means that some of it may not be added; the same flush then comes again.
    fn apply(&self, cx: &Cx, flush: &Flush) -> StoreFuture<usize>;
}

const _: Option<&dyn CounterStore> = None;

impl<T: CounterStore + ?Sized> CounterStore for Arc<T> {
    fn add(&self, cx: &Cx, counter: &Counter, by: i64) -> StoreFuture<i64> {
        (**self).add(cx, counter, by)
    }

    fn read(&self, cx: &Cx, counters: &[Counter]) -> StoreFuture<Vec<i64>> {
        (**self).read(cx, counters)
    }

    fn reset(&self, cx: &Cx, counter: &Counter) -> StoreFuture<()> {
        (**self).reset(cx, counter)
    }

    fn apply(&self, cx: &Cx, flush: &Flush) -> StoreFuture<usize> {
        (**self).apply(cx, flush)
    }
}

/// The new value, or nothing where it would leave the range.
pub(super) fn added(value: i64, by: i64) -> Option<i64> {
    value.checked_add(by)
}

pub(super) fn out_of_range() -> crate::Error {
    crate::Error::invalid("the sum leaves the range of a 64-bit integer; nothing was added")
}
