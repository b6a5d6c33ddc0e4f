//! The handle: counts at once, or gathers and flushes.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{Counter, CounterSink, CounterStore, Flush, batch::Outlet};
use crate::{Cx, Error, Result, StoreFuture, background::Background};

/// Counters over one store; clones are the same handle.
///
/// 1. [`incr`](Counters::incr), [`incr_by`](Counters::incr_by), [`get`](Counters::get), [`get_many`](Counters::get_many)
///    and [`reset`](Counters::reset) are one trip each.
/// 2. [`add`](Counters::add) waits for nothing, and counts once even where answers are lost.
/// 3. `towerkeep_counter_flushes_total` counts flushes by `to` (`store`, `sink`) and `outcome` (`taken`, `failed`).
///
/// ```
/// use towerkeep::{clock::Clock, counter::{Counter, Counters, MemoryCounterStore}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let counters = Counters::new(MemoryCounterStore::new(Clock::system()));
/// let views = Counter::views("post", 7);
/// assert_eq!(counters.get(&views).await.unwrap(), 0);
/// assert_eq!(counters.incr_by(&views, 5).await.unwrap(), 5);
/// counters.reset(&views).await.unwrap();
/// assert_eq!(counters.get(&views).await.unwrap(), 0);
/// # }
/// ```
#[derive(Clone)]
pub struct Counters(Arc<Inner>);

struct Inner {
    store: Arc<dyn CounterStore>,
    to_store: Arc<Outlet>,
    to_sink: OnceLock<Arc<Outlet>>,
    background: Background,
    /// What somebody else holds weakly and must live as long as this.
    #[cfg(feature = "redis")]
    kept: OnceLock<Arc<dyn std::any::Any + Send + Sync>>,
}

/// Counters that one call may read.
const MOST_READ: usize = 1_000;

impl Counters {
    /// Counters in `store`.
    pub fn new(store: impl CounterStore) -> Self {
        Self::over(store, Background::default())
    }

    /// As [`new`](Counters::new), with flushes in this queue.
    pub(crate) fn over(store: impl CounterStore, background: Background) -> Self {
        let store: Arc<dyn CounterStore> = Arc::new(store);
        let to = Arc::clone(&store);
        let to_store = Outlet::new("store", Box::new(move |flush: &Flush| to.apply(&Cx::new(), flush)));
        Self(Arc::new(Inner {
            store,
            to_store,
            to_sink: OnceLock::new(),
            background,
            #[cfg(feature = "redis")]
            kept: OnceLock::new(),
        }))
    }

    /// Adds one; answers the new value.
    ///
    /// # Errors
    /// As [`incr_by`](Counters::incr_by).
    pub async fn incr(&self, counter: &Counter) -> Result<i64> {
        self.incr_by(counter, 1).await
    }

    /// Adds `by`, which may be negative; answers the new value.
    ///
    /// # Errors
    /// Invalid, when the sum would leave the range of `i64`: nothing is added. Corrupt, when what is stored is no
    /// integer. Unavailable, when the store does not answer: it may have been added or not; where that matters, use
    /// [`add`](Counters::add).
    pub async fn incr_by(&self, counter: &Counter, by: i64) -> Result<i64> {
        self.0.store.add(&Cx::new(), counter, by).await
    }

    /// The value; 0 for a counter that was never added to. What was [`add`](Counters::add)ed lately, here or elsewhere,
    /// may still be missing: 100 ms while all is well.
    ///
    /// # Errors
    /// Corrupt, when what is stored is no integer. Unavailable, when the store does not answer.
    pub async fn get(&self, counter: &Counter) -> Result<i64> {
        let values = self.get_many(std::slice::from_ref(counter)).await?;
        values.first().copied().ok_or_else(|| Error::corrupt("a store of counters answered without a value"))
    }

    /// The values in the order of `counters`, at most 1,000, in one trip.
    ///
    /// # Errors
    /// Invalid, with more than 1,000. Corrupt, when one of them is no integer. Unavailable, when the store does not
    /// answer.
    pub async fn get_many(&self, counters: &[Counter]) -> Result<Vec<i64>> {
        if counters.len() > MOST_READ {
            let asked = counters.len();
            return Err(Error::invalid(format!("{asked} counters at once are too many: ask for at most {MOST_READ}")));
        }
        if counters.is_empty() {
            return Ok(Vec::new());
        }
        self.0.store.read(&Cx::new(), counters).await
    }

    /// Sets the counter back to 0, whatever is stored in its place. What was [`add`](Counters::add)ed and is not flushed
    /// is added afterwards.
    ///
    /// # Errors
    /// Unavailable, when the store does not answer.
    pub async fn reset(&self, counter: &Counter) -> Result<()> {
        self.0.store.reset(&Cx::new(), counter).await
    }

    /// Adds `by`, which may be negative, soon and once: gathered here, and flushed with others within 100 ms, or as soon
    /// as the store is there again.
    ///
    /// Flushing needs a Tokio runtime; outside of one, increments wait for the next call inside of one. A sum that leaves
    /// the counter's range is found when it is flushed: it is dropped then, with an error in the log.
    ///
    /// # Errors
    /// Invalid, when the increments that wait for one counter leave the range of `i64`. Unavailable, when 10,000 other
    /// counters wait, or after [`Keep::shutdown`](crate::Keep::shutdown). Nothing is added then.
    pub fn add(&self, counter: &Counter, by: i64) -> Result<()> {
        let Inner { to_store, to_sink, background, .. } = &*self.0;
        let mut store = to_store.waiting();
        let mut sink = to_sink.get().map(|outlet| (outlet, outlet.waiting()));
        let planned = sink.as_ref().map(|(_, waiting)| waiting.plan(counter, by)).transpose()?;
        let sum = store.plan(counter, by)?;
        // Both or neither: from here on nothing fails.
        let is_due = store.put(counter, sum);
        drop(store);
        go_on(to_store, is_due, background);
        if let (Some((outlet, mut waiting)), Some(sum)) = (sink.take(), planned) {
            let is_due = waiting.put(counter, sum);
            drop(waiting);
            go_on(outlet, is_due, background);
        }
        Ok(())
    }

    /// Hands what is added from now on to `sink` as well; once for each handle.
    ///
    /// # Errors
    /// Invalid, when there is a sink already.
    pub fn sink(&self, sink: impl CounterSink) -> Result<()> {
        let sink = Arc::new(sink);
        let deliver = move |flush: &Flush| {
            let stored = sink.store(flush.id(), flush.additions());
            StoreFuture::boxed(async move { stored.await.map(|()| 0) })
        };
        let outlet = Outlet::new("sink", Box::new(deliver));
        self.0.to_sink.set(outlet).map_err(|_| Error::invalid("the counters have a sink already; they take one"))
    }

    /// Flushes now what was added here before.
    ///
    /// # Errors
    /// What the store or the sink answered; what was not taken waits on.
    pub async fn flush(&self) -> Result<()> {
        let stored = self.0.to_store.flush().await;
        if let Some(sink) = self.0.to_sink.get() {
            sink.flush().await?;
        }
        stored
    }

    /// Takes no more increments and flushes those that wait, at most `within`; what is left is told in one warning.
    pub(crate) async fn close(&self, within: Duration) {
        let sink = async {
            if let Some(sink) = self.0.to_sink.get() {
                sink.close(within).await;
            }
        };
        tokio::join!(self.0.to_store.close(within), sink);
    }

    #[cfg(feature = "redis")]
    pub(super) fn outlet(&self) -> &Arc<Outlet> {
        &self.0.to_store
    }

    #[cfg(feature = "redis")]
    pub(super) fn keep_alive(&self, kept: Arc<dyn std::any::Any + Send + Sync>) {
        // Set once, where the handle is made.
        self.0.kept.set(kept).ok();
    }
}

fn go_on(outlet: &Arc<Outlet>, is_due: bool, background: &Background) {
    outlet.schedule(background);
    if is_due {
        outlet.hurry();
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters").field("has_sink", &self.0.to_sink.get().is_some()).finish_non_exhaustive()
    }
}
