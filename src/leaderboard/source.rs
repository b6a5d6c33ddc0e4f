//! Where a lost board is rebuilt from.

use std::sync::Arc;

use super::BoardId;
use crate::{StoreFuture, clock::Timestamp};

/// The truth about a board, as a database knows it.
///
/// 1. Commit first, then call the board. That is all it takes for a board to be rebuilt exactly while it is written to.
/// 2. Pages must follow something that does not change, such as the member, not the score or an offset: a member who is there
///    from the first page to the last must come once.
/// 3. A row is read in one statement: the score, and the events that are in it, of one moment. Rows need not be of one moment.
/// 4. It reads what was committed: from the primary, not from a replica that lags behind.
/// 5. A board that is asked for is read, whether or not there is such a thing: check that a challenge exists before you ask for
///    its board. An empty one is read again after a day at most.
/// 6. A page may take a minute; after that the source counts as unavailable. An error ends the rebuild. Unavailable, it is tried again some times at once; after that, by the next request for the
///    board, after a second at the earliest.
///
/// ```
/// use std::{collections::BTreeMap, sync::Mutex};
/// use towerkeep::{Keep, StoreFuture, leaderboard::{BoardId, BoardSource, SourcePage, SourceRow}};
///
/// /// What a database would be.
/// struct Scores(Mutex<BTreeMap<String, f64>>);
///
/// impl BoardSource for Scores {
///     fn read(&self, _: &BoardId, after: Option<&str>, limit: usize) -> StoreFuture<SourcePage> {
///         let scores = self.0.lock().unwrap();
///         let later = scores.iter().filter(|(member, _)| after.is_none_or(|after| member.as_str() > after));
///         let rows: Vec<_> = later.take(limit).map(|(member, score)| SourceRow::new(member, *score)).collect();
///         let next = rows.last().map(|row| row.member.clone());
///         StoreFuture::ok(SourcePage { rows, next })
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let scores = Scores(Mutex::new(BTreeMap::from([("alice".into(), 1500.0)])));
/// let board = Keep::in_memory().leaderboard(("challenge", 42)).source(scores);
/// assert_eq!(board.top(10).await.unwrap()[0].member, "alice");
/// # }
/// ```
pub trait BoardSource: Send + Sync + 'static {
    /// The rows after `after`, what the page before named as [`next`](SourcePage::next); at most about `limit` of them.
    fn read(&self, board: &BoardId, after: Option<&str>, limit: usize) -> StoreFuture<SourcePage>;
}

const _: Option<&dyn BoardSource> = None;

impl<T: BoardSource + ?Sized> BoardSource for Arc<T> {
    fn read(&self, board: &BoardId, after: Option<&str>, limit: usize) -> StoreFuture<SourcePage> {
        (**self).read(board, after, limit)
    }
}

/// Some rows, and where to go on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourcePage {
    /// Members in any order.
    pub rows: Vec<SourceRow>,
    /// Where the next page begins; nothing after the last.
    pub next: Option<String>,
}

/// One member as the truth knows them.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRow {
    /// Who, 1 to 128 bytes.
    pub member: String,
    /// Their score, finite.
    pub score: f64,
    /// When they reached it; asked for by ties by time. Now, if it is not known.
    pub reached: Option<Timestamp>,
    /// The ids of the events that are in the score, those of the last 24 hours at least (see
    /// [`remember`](super::Leaderboard::remember)); for boards that [`add`](super::Leaderboard::add).
    pub events: Vec<String>,
}

impl SourceRow {
    /// A member with a score and without events.
    pub fn new(member: impl std::fmt::Display, score: f64) -> Self {
        Self { member: member.to_string(), score, reached: None, events: Vec::new() }
    }

    /// Sets when the score was reached.
    #[must_use]
    pub fn reached(mut self, at: Timestamp) -> Self {
        self.reached = Some(at);
        self
    }

    /// Names the events that are in the score.
    #[must_use]
    pub fn events(mut self, events: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.events = events.into_iter().map(Into::into).collect();
        self
    }
}
