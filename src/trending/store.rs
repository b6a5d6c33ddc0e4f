//! The seam: what a store of trends can do.

use std::sync::Arc;

use super::{Trend, Window};
use crate::{Cx, StoreFuture};

/// Counts views of items on boards, by the hour and by the day.
///
/// 1. A board or an item that was never recorded is not an error: its ranking is empty.
/// 2. Each bucket keeps the items with the most views: it is cut to 1,000 whenever it has more than 1,250.
/// 3. Every verb is under way when it returns, whether or not its answer is awaited.
pub trait TrendingStore: Send + Sync + 'static {
    /// Adds `weight` views to the current buckets.
    fn record(&self, cx: &Cx, board: &str, item: &str, weight: u32) -> StoreFuture<()>;

    /// At most `count` items, by score and then by name. A store may answer what held a few seconds ago.
    fn top(&self, cx: &Cx, board: &str, window: Window, count: usize) -> StoreFuture<Vec<Trend>>;

    /// Takes the item out of all windows; whether it was there. Later views count anew.
    fn remove(&self, cx: &Cx, board: &str, item: &str) -> StoreFuture<bool>;
}

const _: Option<&dyn TrendingStore> = None;

impl<T: TrendingStore + ?Sized> TrendingStore for Arc<T> {
    fn record(&self, cx: &Cx, board: &str, item: &str, weight: u32) -> StoreFuture<()> {
        (**self).record(cx, board, item, weight)
    }

    fn top(&self, cx: &Cx, board: &str, window: Window, count: usize) -> StoreFuture<Vec<Trend>> {
        (**self).top(cx, board, window, count)
    }

    fn remove(&self, cx: &Cx, board: &str, item: &str) -> StoreFuture<bool> {
        (**self).remove(cx, board, item)
    }
}
