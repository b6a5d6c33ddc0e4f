//! Logs kept in this process.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{ActionStore, Entry, Held, Record, Retention, log::Log};
use crate::{Cx, StoreFuture, UserId, clock::Clock, clock::Timestamp, store::OutageSwitch};

/// Keeps logs in this process: for one instance, and for tests. Clones share them.
///
/// Of more users than fit, those who did nothing for longest are forgotten.
///
/// ```
/// use std::sync::Arc;
/// use towerkeep::{Cx, UserId, clock::Clock};
/// use towerkeep::action_log::{Action, ActionStore, MemoryActionStore, Record, Retention};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> towerkeep::Result<()> {
/// let (store, user) = (MemoryActionStore::new(Clock::system()), UserId::new(42));
/// let record = Arc::new(Record::new(&Action::new("login"), 1)?);
/// store.append(&Cx::new(), &user, &[record], Retention::default()).await?;
/// assert_eq!(store.recent(&Cx::new(), &user, 10).await?[0].action(), "login");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryActionStore {
    table: Arc<Mutex<Table>>,
    max_users: usize,
    clock: Clock,
    outage: OutageSwitch,
}

#[derive(Default)]
struct Table {
    users: HashMap<UserId, Kept>,
    /// Who wrote when, by number.
    order: BTreeMap<u64, UserId>,
    last: u64,
}

#[derive(Default)]
struct Kept {
    log: Log,
    number: u64,
    ends: Timestamp,
}

const MAX_USERS: usize = 10_000;

impl MemoryActionStore {
    /// An empty store that takes the time from `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { table: Arc::default(), max_users: MAX_USERS, clock, outage: OutageSwitch::default() }
    }

    /// Holds the logs of at most so many users, at least 1. Defaults to 10,000.
    #[must_use]
    pub fn max_users(mut self, users: usize) -> Self {
        self.max_users = users.max(1);
        self
    }

    /// Refuses everything while `switch` is on.
    #[must_use]
    pub fn outage(mut self, switch: OutageSwitch) -> Self {
        self.outage = switch;
        self
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T>(
        &self,
        cx: &Cx,
        user: &UserId,
        keep: Retention,
        change: impl FnOnce(&mut Log, Timestamp) -> T,
    ) -> StoreFuture<T> {
        if let Err(error) = self.outage.check() {
            return StoreFuture::err(error);
        }
        let now = self.now(cx);
        let mut table = self.table();
        let answer = change(&mut table.renew(user, now, keep).log, now);
        table.shrink(self.max_users);
        StoreFuture::ok(answer)
    }
}

impl Table {
    /// The user's log, for writing.
    fn renew(&mut self, user: &UserId, now: Timestamp, keep: Retention) -> &mut Kept {
        self.last += 1;
        let kept = self.users.entry(user.clone()).or_default();
        if kept.ends <= now {
            kept.log = Log::default();
        }
        self.order.remove(&kept.number);
        self.order.insert(self.last, user.clone());
        (kept.number, kept.ends) = (self.last, now + keep.keep_for);
        kept
    }

    fn shrink(&mut self, max_users: usize) {
        while self.users.len() > max_users {
            let Some((_, user)) = self.order.pop_first() else { return };
            self.users.remove(&user);
        }
    }
}

impl ActionStore for MemoryActionStore {
    fn now(&self, cx: &Cx) -> Timestamp {
        cx.now().unwrap_or_else(|| self.clock.now())
    }

    fn is_up(&self) -> bool {
        !self.outage.is_on()
    }

    fn append(&self, cx: &Cx, user: &UserId, records: &[Arc<Record>], keep: Retention) -> StoreFuture<usize> {
        self.write(cx, user, keep, |log, now| {
            log.append(records, now, keep.capacity);
            records.len()
        })
    }

    fn merge(&self, cx: &Cx, user: &UserId, held: &Held, keep: Retention) -> StoreFuture<usize> {
        self.write(cx, user, keep, |log, _| log.merge(held, keep.capacity))
    }

    fn recent(&self, cx: &Cx, user: &UserId, limit: usize) -> StoreFuture<Vec<Entry>> {
        if let Err(error) = self.outage.check() {
            return StoreFuture::err(error);
        }
        let (now, table) = (self.now(cx), self.table());
        let kept = table.users.get(user).filter(|kept| kept.ends > now);
        let texts = kept.into_iter().flat_map(|kept| kept.log.recent(limit));
        StoreFuture::ok(texts.filter_map(|text| Entry::decode(&text)).collect())
    }

    fn clear(&self, cx: &Cx, user: &UserId, keep: Retention) -> StoreFuture<()> {
        self.write(cx, user, keep, Log::clear)
    }
}

impl fmt::Debug for MemoryActionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryActionStore").field("users", &self.table().users.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action_log::Action;

    #[tokio::test]
    async fn users_are_bounded_and_the_idle_go_first() {
        let store = MemoryActionStore::new(Clock::system()).max_users(2);
        let record = [Arc::new(Record::new(&Action::new("a"), 1).expect("fit"))];
        for user in ["a", "b", "a", "c"] {
            store.append(&Cx::new(), &UserId::new(user), &record, Retention::default()).await.expect("up");
        }
        for (user, count) in [("a", 2), ("b", 0), ("c", 1)] {
            assert_eq!(store.recent(&Cx::new(), &UserId::new(user), 9).await.expect("up").len(), count, "{user}");
        }
        assert_eq!(store.table().order.len(), 2);
    }
}
