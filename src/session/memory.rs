//! Sessions in this process: for development, tests, and one instance without Redis.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Create, Record, Save, SecretHash, SessionId, SessionStore, Stamp};
use crate::{
    Cx, Result, StoreFuture, UserId,
    clock::{Clock, Timestamp},
    store::OutageSwitch,
};

/// Keeps sessions in this process; they end with it. Clones share them.
///
/// ```
/// use towerkeep::{clock::Clock, session::{MemorySessionStore, Sessions}};
/// let sessions = Sessions::new(MemorySessionStore::new(Clock::system()));
/// # let _ = sessions;
/// ```
#[derive(Clone, Default)]
pub struct MemorySessionStore {
    clock: Clock,
    switch: OutageSwitch,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    sessions: HashMap<SessionId, Record>,
    by_user: HashMap<UserId, HashSet<SessionId>>,
    /// At how many sessions the expired ones are looked for again.
    sweep_at: usize,
}

/// Below this many sessions nothing is swept.
const SWEEP_FROM: usize = 1_024;

impl MemorySessionStore {
    /// An empty store by this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, ..Self::default() }
    }

    /// Refuses every verb while `switch` is on.
    #[must_use]
    pub fn outage(mut self, switch: OutageSwitch) -> Self {
        self.switch = switch;
        self
    }

    fn verb<T>(&self, cx: &Cx, verb: impl FnOnce(&mut Kept, Timestamp) -> T) -> StoreFuture<T> {
        let answer = || -> Result<T> {
            self.switch.check()?;
            Ok(verb(&mut self.kept(), self.now(cx)))
        };
        StoreFuture::ready(answer())
    }

    /// No verb panics half-way, so what a poisoned lock holds is whole.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn live(&self, id: SessionId, now: Timestamp) -> Option<&Record> {
        self.sessions.get(&id).filter(|record| record.is_live(now))
    }

    fn put(&mut self, record: &Record) {
        self.sessions.insert(record.id(), record.clone());
    }

    fn create(&mut self, record: &Record, now: Timestamp) -> Create {
        self.sweep(now);
        if self.live(record.id(), now).is_some() {
            return Create::Exists;
        }
        self.remove(record.id());
        self.put(record);
        Create::Created
    }

    /// Puts a session into its user's index, and ends the oldest logins beyond the cap: where it is written back, or was
    /// made during an outage, this one may be among them.
    fn join(&mut self, record: &Record, cap: Option<NonZeroU32>, now: Timestamp) {
        let Some(user) = record.user() else { return };
        self.by_user.entry(user.clone()).or_default().insert(record.id());
        let Some(cap) = cap else { return };
        let mut theirs = self.of_user(user, now);
        // Of logins at one moment this is the latest.
        theirs.sort_by_key(|other| std::cmp::Reverse((other.logged_in, other.id() == record.id())));
        for oldest in theirs.iter().skip(cap.get() as usize) {
            self.remove(oldest.id());
        }
    }

    /// The user's live sessions, the one that ends last first.
    fn of_user(&self, user: &UserId, now: Timestamp) -> Vec<Record> {
        let ids = self.by_user.get(user).into_iter().flatten();
        let mut records: Vec<Record> = ids.filter_map(|id| self.live(*id, now)).cloned().collect();
        records.sort_by_key(|record| (std::cmp::Reverse(record.ends()), record.id()));
        records
    }

    fn remove(&mut self, id: SessionId) -> Option<Record> {
        let record = self.sessions.remove(&id)?;
        if let Some(user) = record.user()
            && let Some(ids) = self.by_user.get_mut(user)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_user.remove(user);
            }
        }
        Some(record)
    }

    /// Costs a walk over all sessions each time their number has doubled.
    fn sweep(&mut self, now: Timestamp) {
        if self.sessions.len() < self.sweep_at.max(SWEEP_FROM) {
            return;
        }
        let ended: Vec<SessionId> =
            self.sessions.values().filter(|record| !record.is_live(now)).map(Record::id).collect();
        for id in ended {
            self.remove(id);
        }
        self.sweep_at = self.sessions.len() * 2;
    }
}

impl SessionStore for MemorySessionStore {
    fn now(&self, cx: &Cx) -> Timestamp {
        cx.now().unwrap_or_else(|| self.clock.now())
    }

    fn load(&self, cx: &Cx, id: SessionId) -> StoreFuture<Option<Record>> {
        self.verb(cx, |kept, now| kept.live(id, now).cloned())
    }

    fn create(&self, cx: &Cx, record: &Record, cap: Option<NonZeroU32>) -> StoreFuture<Create> {
        self.verb(cx, |kept, now| {
            let created = kept.create(record, now);
            if created == Create::Created {
                kept.join(record, cap, now);
            }
            created
        })
    }

    fn restore(&self, cx: &Cx, record: &Record, cap: Option<NonZeroU32>) -> StoreFuture<Create> {
        self.verb(cx, |kept, now| {
            let created = kept.create(record, now);
            if created == Create::Created {
                kept.join(record, cap, now);
            }
            created
        })
    }

    fn save(&self, cx: &Cx, record: &Record, over: Stamp, cap: Option<NonZeroU32>) -> StoreFuture<Save> {
        self.verb(cx, |kept, now| match kept.live(record.id(), now) {
            None => Save::Gone,
            Some(stored) if stored.stamp() != over => Save::Conflict(Box::new(stored.clone())),
            Some(_) => {
                kept.put(record);
                if record.logs_in_over(over) {
                    kept.join(record, cap, now);
                }
                Save::Saved
            }
        })
    }

    fn touch(&self, cx: &Cx, id: SessionId, generation: u32) -> StoreFuture<bool> {
        self.verb(cx, |kept, now| {
            let stored = kept.sessions.get_mut(&id).filter(|record| record.is_live(now));
            let Some(record) = stored.filter(|record| record.stamp().generation == generation) else { return false };
            record.touch(now);
            true
        })
    }

    fn delete(&self, cx: &Cx, id: SessionId, _: Option<&UserId>) -> StoreFuture<bool> {
        self.verb(cx, |kept, now| kept.remove(id).is_some_and(|record| record.is_live(now)))
    }

    fn logout(
        &self,
        cx: &Cx,
        id: SessionId,
        secret: &SecretHash,
        _: Option<Duration>,
    ) -> Option<StoreFuture<Option<Record>>> {
        Some(self.verb(cx, |kept, now| {
            let is_theirs = kept.live(id, now).is_some_and(|record| record.opens(secret, now));
            is_theirs.then(|| kept.remove(id)).flatten()
        }))
    }

    fn list(&self, cx: &Cx, user: &UserId) -> StoreFuture<Vec<Record>> {
        self.verb(cx, |kept, now| kept.of_user(user, now))
    }

    fn revoke(&self, cx: &Cx, user: &UserId, id: SessionId) -> StoreFuture<bool> {
        self.verb(cx, |kept, now| {
            let is_theirs = kept.live(id, now).is_some_and(|record| record.user() == Some(user));
            is_theirs && kept.remove(id).is_some()
        })
    }

    /// Creating is one step here, so there is nothing that a remembered revocation would have to catch.
    fn revoke_all(
        &self,
        cx: &Cx,
        user: &UserId,
        except: Option<SessionId>,
        _: Duration,
    ) -> StoreFuture<Vec<SessionId>> {
        self.verb(cx, |kept, now| {
            let all = kept.of_user(user, now).into_iter().map(|record| record.id());
            let ended: Vec<SessionId> = all.filter(|id| Some(*id) != except).collect();
            for id in &ended {
                kept.remove(*id);
            }
            ended
        })
    }
}

impl fmt::Debug for MemorySessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySessionStore").field("sessions", &self.kept().sessions.len()).finish_non_exhaustive()
    }
}
