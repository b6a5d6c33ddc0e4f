//! Trends counted in this process.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Trend, TrendingStore, Window, board::Board};
use crate::{
    Cx, StoreFuture,
    clock::{Clock, Timestamp},
    store::OutageSwitch,
};

/// Counts in this process: for one instance, and for tests. Clones share their counts.
///
/// Holds up to 1,000 boards; a further one displaces the board that was recorded on least lately.
///
/// ```
/// use towerkeep::{Cx, clock::Clock, trending::{MemoryTrendingStore, TrendingStore, Window}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> towerkeep::Result<()> {
/// let store = MemoryTrendingStore::new(Clock::system());
/// store.record(&Cx::new(), "marketplace", "lamp", 2).await?;
/// assert_eq!(store.top(&Cx::new(), "marketplace", Window::Day, 10).await?[0].score, 2.0);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryTrendingStore {
    boards: Arc<Mutex<Boards>>,
    clock: Clock,
    outage: OutageSwitch,
}

type Boards = HashMap<Box<str>, (Timestamp, Board)>;

const MOST_BOARDS: usize = 1_000;

impl MemoryTrendingStore {
    /// An empty store that takes the time from `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { boards: Arc::default(), clock, outage: OutageSwitch::default() }
    }

    /// Refuses everything while `switch` is on.
    #[must_use]
    pub fn outage(mut self, switch: OutageSwitch) -> Self {
        self.outage = switch;
        self
    }

    fn with<T>(&self, cx: &Cx, work: impl FnOnce(&mut Boards, Timestamp) -> T) -> StoreFuture<T> {
        let now = cx.now().unwrap_or_else(|| self.clock.now());
        StoreFuture::ready(self.outage.check().map(|()| work(&mut self.boards(), now)))
    }

    fn boards(&self) -> MutexGuard<'_, Boards> {
        self.boards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The board, for writing.
fn board<'b>(boards: &'b mut Boards, name: &str, now: Timestamp) -> &'b mut Board {
    if boards.len() >= MOST_BOARDS && !boards.contains_key(name) {
        let idle = boards.iter().min_by_key(|(_, (last, _))| *last).map(|(name, _)| name.clone());
        idle.and_then(|idle| boards.remove(&idle));
    }
    let (last, board) = boards.entry(name.into()).or_default();
    *last = now;
    board
}

impl TrendingStore for MemoryTrendingStore {
    fn record(&self, cx: &Cx, name: &str, item: &str, weight: u32) -> StoreFuture<()> {
        self.with(cx, |boards, now| board(boards, name, now).record(item, weight, now))
    }

    fn top(&self, cx: &Cx, name: &str, window: Window, count: usize) -> StoreFuture<Vec<Trend>> {
        self.with(cx, |boards, now| {
            boards.get(name).map(|(_, board)| board.top(window, count, now)).unwrap_or_default()
        })
    }

    fn remove(&self, cx: &Cx, name: &str, item: &str) -> StoreFuture<bool> {
        self.with(cx, |boards, now| boards.get_mut(name).is_some_and(|(_, board)| board.remove(item, now)))
    }
}

impl fmt::Debug for MemoryTrendingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTrendingStore").field("boards", &self.boards().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn boards_are_bounded_and_the_idle_go_first() {
        let store = MemoryTrendingStore::new(Clock::system());
        for n in 0..=MOST_BOARDS as u64 {
            let cx = Cx::new().at(Timestamp::from_micros(1_000 + n));
            store.record(&cx, &n.to_string(), "a", 1).await.expect("up");
        }
        let boards = store.boards();
        assert_eq!((boards.len(), boards.contains_key("0"), boards.contains_key("1")), (MOST_BOARDS, false, true));
    }
}
