//! One row of a ranking.

use std::cmp::Ordering;

use serde::Serialize;

/// An item, and its views so far as they still count.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// The item, as it was recorded.
    pub item: String,
    /// Its views, the older the less: see [`Window`](super::Window).
    pub score: f64,
}

impl Trend {
    /// The order of a ranking: by score, greatest first, and among equals by the item's bytes.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then_with(|| self.item.cmp(&other.item))
    }
}
