//! What is looked at: counted in Redis, or in memory, and in the database; ranked by what was looked at lately.
//!
//! 1. Counts are gathered for 100 ms, then go to the counters and, as a flush that counts once, to the database. The database is what
//!    is shown: what Redis loses is not lost there.
//! 2. Trends come from the board. While it does not answer, and where it was lost, they come from the database: the sums
//!    of the days of the window, by UTC, none worth less for its age; a day begins with yesterday.

use std::collections::BTreeMap;

use serde::Serialize;
use towerkeep::{
    Error, KeyValue, StoreFuture,
    counter::{Counter, CounterSink, FlushId},
    prelude::*,
    trending::{Trending, Window},
};
use utoipa::ToSchema;

use crate::{
    boards::Source,
    database::{
        counts::{Added, Counts, today},
        items::{Item, Items},
    },
};

/// What one visitor may add to one item: views and downloads each once a minute. The limit of an address alone would let a
/// single visitor add a hundred a minute.
const VIEW: Policy = Policy::sliding_window("view", 1, minutes(1));
const DOWNLOAD: Policy = Policy::sliding_window("download", 1, minutes(1));

/// How many views a download is worth.
const DOWNLOAD_WEIGHT: u32 = 5;

const CONTENT: &str = "item";
const DOWNLOADS: &str = "downloads";

/// What a visitor does with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    View,
    Download,
}

impl Look {
    fn policy(self) -> Policy {
        match self {
            Self::View => VIEW,
            Self::Download => DOWNLOAD,
        }
    }

    fn counter(self, item: i64) -> Counter {
        match self {
            Self::View => Counter::views(CONTENT, item),
            Self::Download => Counter::of(DOWNLOADS, item),
        }
    }

    fn weight(self) -> u32 {
        match self {
            Self::View => 1,
            Self::Download => DOWNLOAD_WEIGHT,
        }
    }
}

/// An item that is looked at lately.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Trend {
    pub(crate) item: Item,
    /// Its views and, with more weight, downloads; on the board older ones count for less.
    pub(crate) score: f64,
}

/// Counts and trends of all items.
#[derive(Clone, Debug)]
pub(crate) struct Market {
    keep: Keep,
    items: Items,
}

impl Market {
    pub(crate) fn new(keep: Keep, items: Items) -> Self {
        Self { keep, items }
    }

    fn board(&self) -> Trending {
        self.keep.trending("marketplace")
    }

    /// Counts a look at an item that there is; whether it was counted.
    pub(crate) async fn count(&self, look: Look, item: i64, visitor: KeyValue) -> bool {
        self.keep.limits().check(look.policy(), (visitor, item)).await.is_ok() && self.add(look, item, 1).await
    }

    /// Counts looks, whoever they are of.
    pub(crate) async fn add(&self, look: Look, item: i64, times: u32) -> bool {
        if let Err(error) = self.keep.counters().add(&look.counter(item), times.into()) {
            tracing::warn!(%error, "a look at an item was not counted");
            return false;
        }
        // A look that a trend lacks changes it little.
        if let Err(error) = self.board().record(item.to_string(), look.weight() * times).await {
            tracing::debug!(%error, "a look at an item is missing from the trends");
        }
        true
    }

    /// The items that are looked at most. A board that shows none of them may have been lost: the database has not.
    pub(crate) async fn trends(&self, window: Window, limit: i64) -> sqlx::Result<(Vec<Trend>, Source)> {
        let trends = match self.board().top(window, usize::try_from(limit).unwrap_or_default()).await {
            Ok(top) => {
                let top = top.into_iter().filter_map(|trend| Some((trend.item.parse().ok()?, trend.score)));
                self.with_items(top.collect()).await?
            }
            Err(error) => {
                tell(&error);
                Vec::new()
            }
        };
        if !trends.is_empty() {
            return Ok((trends, Source::Board));
        }
        let since = today() - days_before(window);
        let most = self.items.most_viewed(since, DOWNLOAD_WEIGHT.into(), limit).await?;
        let trends = most.into_iter().map(|(item, score)| Trend { item, score: score as f64 });
        Ok((trends.collect(), Source::Database))
    }

    /// The board outlives items: those that there are not any more are left out.
    async fn with_items(&self, top: Vec<(i64, f64)>) -> sqlx::Result<Vec<Trend>> {
        if top.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = top.iter().map(|(id, _)| *id).collect();
        let mut items: BTreeMap<_, _> =
            self.items.all_of(&ids).await?.into_iter().map(|item| (item.id, item)).collect();
        Ok(top.into_iter().filter_map(|(id, score)| Some(Trend { item: items.remove(&id)?, score })).collect())
    }
}

/// Days of a window before today.
fn days_before(window: Window) -> i64 {
    match window {
        Window::Day => 1,
        Window::Week => 6,
        Window::Month => 29,
    }
}

fn tell(error: &Error) {
    if !error.is_unavailable() {
        tracing::warn!(%error, "the trends cannot be used; the database answers instead");
    }
}

/// Stores in the database what the counters were added.
pub(crate) struct CountsOfItems(pub(crate) Counts);

impl CounterSink for CountsOfItems {
    fn store(&self, id: &FlushId, additions: &[(Counter, i64)]) -> StoreFuture<()> {
        let (counts, writer, added) = (self.0.clone(), id.writer().to_owned(), of_items(additions));
        let number = i64::try_from(id.number()).unwrap_or(i64::MAX);
        StoreFuture::boxed(async move {
            let stored = counts.store(&writer, number, &added).await;
            stored.map_err(|error| Error::unavailable("the database took no counts").with_source(error))
        })
    }
}

/// What was added to items, each of them once; other counters are none of its business.
fn of_items(additions: &[(Counter, i64)]) -> Vec<(i64, Added)> {
    let mut items = BTreeMap::<i64, Added>::new();
    for (counter, by) in additions {
        let Ok(item) = counter.id().parse() else { continue };
        match (counter.name(), counter.content_type()) {
            ("views", Some(CONTENT)) => items.entry(item).or_default().views += by,
            (DOWNLOADS, None) => items.entry(item).or_default().downloads += by,
            _ => {}
        }
    }
    items.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_counters_of_an_item_are_one_addition() {
        let additions = [
            (Look::Download.counter(7), 2),
            (Look::View.counter(9), 1),
            (Look::View.counter(7), 3),
            (Counter::views("post", 7), 100),
            (Counter::of("views", 7), 100),
            (Counter::of(DOWNLOADS, "seven"), 100),
        ];
        let expected = [(7, Added { views: 3, downloads: 2 }), (9, Added { views: 1, downloads: 0 })];
        assert_eq!(of_items(&additions), expected);
    }
}
