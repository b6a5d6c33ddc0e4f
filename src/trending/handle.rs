//! The handle: one board.

use std::{fmt, sync::Arc};

use super::{Trend, TrendingStore, Window, board::LONGEST};
use crate::{Cx, Error, Result};

/// One board of trends; from a `Keep` it is `keep.trending("marketplace")`. Cheap to clone.
///
/// ```
/// use towerkeep::{Keep, OnOutage as _, trending::Window};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> towerkeep::Result<()> {
/// let keep = Keep::in_memory();
/// let market = keep.trending("marketplace");
/// market.record("lamp", 1).await?;
/// market.record("sofa", 3).await?;
/// assert_eq!(market.top(Window::Week, 1).await?[0].item, "sofa");
///
/// keep.force_outage(true);
/// assert!(market.top(Window::Week, 1).await.on_outage(Vec::new)?.is_empty());
/// assert!(market.top(Window::Week, 101).await.unwrap_err().is_invalid());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Trending {
    store: Arc<dyn TrendingStore>,
    board: Arc<str>,
}

/// The longest name of an item, in bytes.
const LONGEST_ITEM: usize = 128;
/// The most views that are recorded at once.
const MOST_WEIGHT: u32 = 1_000;

impl Trending {
    /// The board `name` in `store`.
    pub fn new(store: impl TrendingStore, name: impl Into<Arc<str>>) -> Self {
        Self::over(Arc::new(store), name)
    }

    pub(crate) fn over(store: Arc<dyn TrendingStore>, name: impl Into<Arc<str>>) -> Self {
        Self { store, board: name.into() }
    }

    /// Counts `weight` views of `item`, or what stands for a view: 1 for a look, 20 for a purchase.
    ///
    /// # Errors
    /// Invalid, when the item is empty or over 128 bytes, or the weight is not from 1 to 1,000. Corrupt, when
    /// another program's value is under a key; nothing is counted then. Unavailable in an outage; it may still have counted.
    pub async fn record(&self, item: impl AsRef<str>, weight: u32) -> Result<()> {
        let item = fit(item.as_ref())?;
        if !(1..=MOST_WEIGHT).contains(&weight) {
            return Err(Error::invalid(format!("a weight of {weight} was given; give 1 to {MOST_WEIGHT}")));
        }
        self.store.record(&Cx::new(), &self.board, item, weight).await
    }

    /// The best `count` items, from 1 to 100: by score, greatest first, and among equals by name.
    ///
    /// # Errors
    /// Invalid, when the count is not from 1 to 100. Corrupt, when another program's value is under a key. Unavailable
    /// in an outage.
    pub async fn top(&self, window: Window, count: usize) -> Result<Vec<Trend>> {
        if !(1..=LONGEST).contains(&count) {
            return Err(Error::invalid(format!("{count} items were asked for; ask for 1 to {LONGEST}")));
        }
        self.store.top(&Cx::new(), &self.board, window, count).await
    }

    /// Takes an item out of all windows, as when it is sold or hidden; whether it was there. Later views count anew.
    ///
    /// # Errors
    /// As for [`record`](Self::record).
    pub async fn remove(&self, item: impl AsRef<str>) -> Result<bool> {
        self.store.remove(&Cx::new(), &self.board, fit(item.as_ref())?).await
    }
}

fn fit(item: &str) -> Result<&str> {
    if item.is_empty() || item.len() > LONGEST_ITEM {
        let bytes = item.len();
        return Err(Error::invalid(format!(
            "an item's name has {bytes} bytes; give it 1 to {LONGEST_ITEM}, as an id has"
        )));
    }
    Ok(item)
}

impl fmt::Debug for Trending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trending").field("board", &self.board).finish_non_exhaustive()
    }
}
