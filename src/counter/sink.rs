//! Where counts go besides the store: the application's database.

use super::{Counter, FlushId};
use crate::StoreFuture;

/// Takes what was [`add`](super::Counters::add)ed, at least once.
///
/// 1. An error means that the same additions come again under the same id, until they are taken. A sink that writes the
///    id in the same transaction, and does nothing where it stands already, counts each of them once.
/// 2. The flushes of one writer come one at a time, in the order of their numbers; so it is enough to keep the last
///    number of each [`writer`](FlushId::writer).
/// 3. A sink has flushes of its own, apart from those to the store: while one of the two is away, the other goes on. The
///    sums are the same in the end.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use towerkeep::{Keep, StoreFuture, counter::{Counter, CounterSink, FlushId}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// #[derive(Clone, Default)]
/// struct Database(Arc<Mutex<Vec<(Counter, i64)>>>);
/// impl CounterSink for Database {
///     fn store(&self, _id: &FlushId, additions: &[(Counter, i64)]) -> StoreFuture<()> {
///         self.0.lock().unwrap().extend_from_slice(additions); // INSERT id; UPDATE .. SET views = views + $1
///         StoreFuture::ok(())
///     }
/// }
///
/// let (keep, database) = (Keep::in_memory(), Database::default());
/// keep.counters().sink(database.clone()).unwrap();
/// let views = Counter::views("post", 7);
/// keep.counters().add(&views, 1).unwrap();
/// keep.counters().add(&views, 1).unwrap();
/// keep.counters().flush().await.unwrap();
/// assert_eq!(*database.0.lock().unwrap(), [(views, 2)]);
/// # }
/// ```
pub trait CounterSink: Send + Sync + 'static {
    /// Writes `additions`, unless it has done so under this id.
    fn store(&self, id: &FlushId, additions: &[(Counter, i64)]) -> StoreFuture<()>;
}

const _: Option<&dyn CounterSink> = None;
