//! Logs while the store is away: what could not be written is held, and brought in later, once.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    ActionStore, Appended, Cleared, Entry, Held, Record, Retention,
    journal::{Journal, Noted},
    outcome::Kept,
};
use crate::{
    Cx, Error, OnOutage as _, Result, StoreFuture, UserId, background::Background, clock::Timestamp,
    telemetry::warn_once,
};

/// A store, and what it may have missed.
#[derive(Clone)]
pub(super) struct Fallback(pub(super) Arc<Inner>);

pub(super) struct Inner {
    /// Handed to work that outlives a call.
    pub(super) myself: Weak<Inner>,
    store: Arc<dyn ActionStore>,
    journal: Mutex<Journal>,
    retention: Retention,
    background: Background,
    /// Whether something in the background tries again.
    is_trying: AtomicBool,
}

/// How long what is held waits for another try.
const AGAIN: Duration = Duration::from_secs(1);
/// As long, when the process is about to end.
const SOON: Duration = Duration::from_millis(50);
/// Users whose logs are brought in at once.
const AT_ONCE: usize = 64;

impl Fallback {
    pub(super) fn new(store: impl ActionStore, retention: Retention, background: Background) -> Self {
        Self(Arc::new_cyclic(|myself| Inner {
            myself: myself.clone(),
            store: Arc::new(store),
            journal: Mutex::default(),
            retention,
            background,
            is_trying: AtomicBool::new(false),
        }))
    }

    pub(super) async fn append(&self, cx: &Cx, user: &UserId, records: Vec<Arc<Record>>) -> Result<Appended> {
        let Inner { store, retention, .. } = &*self.0;
        let count = records.len();
        let noted = self.0.journal().append(user, &records, store.now(cx), retention.capacity);
        let flight = match noted {
            Noted::Flying(at) => Some(Flight { fallback: self, at, has_landed: false }),
            Noted::Waiting => {
                Kept::Held.count();
                let is_told = self.is_told(cx, user).await?;
                return Ok(if is_told { Appended::Everywhere(count) } else { Appended::Local(count) });
            }
            Noted::Full => {
                self.catch_up(cx, user).await?;
                None
            }
        };
        match (store.append(cx, user, &records, *retention).await, flight) {
            (Err(error), Some(flight)) if error.is_unavailable() => {
                flight.hold().then_some(Appended::Local(count)).ok_or(error)
            }
            (answer, flight) => {
                flight.into_iter().for_each(Flight::land);
                answer.map(Appended::Everywhere)
            }
        }
    }

    pub(super) async fn clear(&self, cx: &Cx, user: &UserId) -> Result<Cleared> {
        let Inner { store, retention, .. } = &*self.0;
        let noted = self.0.journal().clear(user, store.now(cx));
        let Noted::Flying(at) = noted else {
            let is_told = self.is_told(cx, user).await?;
            return Ok(if is_told { Cleared::Everywhere } else { Cleared::Pending });
        };
        let flight = Flight { fallback: self, at, has_landed: false };
        match store.clear(cx, user, *retention).await {
            Err(error) if error.is_unavailable() => flight.hold().then_some(Cleared::Pending).ok_or(error),
            answer => {
                flight.land();
                answer.map(|()| Cleared::Everywhere)
            }
        }
    }

    pub(super) async fn recent(&self, cx: &Cx, user: &UserId, limit: usize) -> Result<Vec<Entry>> {
        // Without what is held here the answer would lack what this instance has accepted.
        self.catch_up(cx, user).await?;
        self.0.store.recent(cx, user, limit).await
    }

    /// What is held of the user's log, newest first.
    pub(super) fn pending(&self, user: &UserId) -> Vec<Entry> {
        let newest = self.0.journal().newest(user, self.0.retention.capacity);
        newest.iter().filter_map(|(noted, record)| Entry::decode(&record.encode(*noted))).collect()
    }

    /// Of how many users something is held.
    pub(super) fn users_held(&self) -> usize {
        self.0.journal().users().len()
    }

    /// Whether the store has all that was held of one user; an outage is no error here.
    async fn is_told(&self, cx: &Cx, user: &UserId) -> Result<bool> {
        self.catch_up(cx, user).await.map(|()| true).on_outage(|| false)
    }

    /// Brings in what is held of one user.
    async fn catch_up(&self, cx: &Cx, user: &UserId) -> Result<()> {
        if !self.0.journal().is_waiting(user) {
            return Ok(());
        }
        if !self.0.store.is_up() {
            self.try_again();
            return Err(Error::unavailable("the store of action logs is down"));
        }
        let told = self.0.tell(&*self.0.store, cx, user).await;
        if told.as_ref().is_err_and(Error::is_unavailable) {
            self.try_again();
        }
        told
    }

    /// Brings in all that is held, however long it takes.
    pub(super) async fn tell_to_the_end(&self) {
        let store = &*self.0.store;
        while !self.0.journal().is_empty() {
            if !store.is_up() || self.0.tell_all(store).await.is_err() {
                tokio::time::sleep(SOON).await;
            }
        }
    }

    /// Has what is held brought in later, even if nobody asks for this user again.
    fn try_again(&self) {
        if self.0.is_trying.swap(true, Relaxed) {
            return;
        }
        let trying = Trying(self.0.myself.clone());
        // Work that is refused, or ends with its runtime, is dropped, and with it the mark that somebody is trying.
        self.0.background.push(async move {
            loop {
                tokio::time::sleep(AGAIN).await;
                let Some(inner) = trying.0.upgrade() else { return };
                if inner.store.is_up() && inner.tell_all(&*inner.store).await.is_ok() {
                    drop(trying);
                    // What was held since then has seen the mark, or is seen here.
                    if !inner.journal().is_empty() {
                        Self(inner).try_again();
                    }
                    return;
                }
            }
        });
    }
}

/// The mark that somebody is trying again.
struct Trying(Weak<Inner>);

impl Drop for Trying {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            inner.is_trying.store(false, Relaxed);
        }
    }
}

impl Inner {
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells `store` everything that is held.
    ///
    /// # Errors
    /// Unavailable: the store is gone again. What was told is told; the rest is held on.
    pub(super) async fn tell_all(&self, store: &dyn ActionStore) -> Result<()> {
        let (users, cx) = (self.journal().users(), Cx::new());
        for some in users.chunks(AT_ONCE) {
            let firsts: Vec<_> = some.iter().map(|user| self.begin_telling(store, &cx, user)).collect();
            for (user, first) in some.iter().zip(firsts) {
                let told = async {
                    self.finish_telling(user, first).await?;
                    self.tell(store, &cx, user).await
                };
                match told.await {
                    Err(error) if error.is_unavailable() => return Err(error),
                    Err(error) => tracing::error!(%error, "entries of an action log that an outage held are dropped"),
                    Ok(()) => {}
                }
            }
        }
        Ok(())
    }

    /// Tells `store` what is held of one user. An error that is not unavailable is told once: what it is about is dropped.
    async fn tell(&self, store: &dyn ActionStore, cx: &Cx, user: &UserId) -> Result<()> {
        while let Some(told) = self.begin_telling(store, cx, user) {
            self.finish_telling(user, Some(told)).await?;
        }
        Ok(())
    }

    fn begin_telling(&self, store: &dyn ActionStore, cx: &Cx, user: &UserId) -> Option<Telling> {
        let held = self.journal().held(user)?;
        let answer = store.merge(cx, user, &held, self.retention);
        Some(Telling { held, answer })
    }

    async fn finish_telling(&self, user: &UserId, telling: Option<Telling>) -> Result<()> {
        let Some(Telling { held, answer }) = telling else { return Ok(()) };
        let told = answer.await;
        match &told {
            Ok(_) => Kept::Merged.count(),
            Err(error) if error.is_unavailable() => return told.map(drop),
            Err(_) => Kept::Dropped.count(),
        }
        self.journal().settle(user, &held);
        told.map(drop)
    }
}

/// Something held, on its way into the store.
struct Telling {
    held: Held,
    answer: StoreFuture<usize>,
}

/// A write under way. If nobody waits for its end, it counts as failed, and is repeated.
struct Flight<'f> {
    fallback: &'f Fallback,
    at: Timestamp,
    has_landed: bool,
}

impl Flight<'_> {
    fn land(mut self) {
        self.has_landed = true;
        self.fallback.0.journal().land(self.at);
    }

    /// Whether there was room.
    fn hold(mut self) -> bool {
        self.has_landed = true;
        self.fail()
    }

    fn fail(&self) -> bool {
        let inner = &self.fallback.0;
        let is_held = inner.journal().hold(self.at, inner.retention.capacity);
        if is_held {
            Kept::Held.count();
            self.fallback.try_again();
        } else {
            Kept::Refused.count();
            warn_once!("what is held of action logs has reached its bound; further writes fail until Redis is back");
        }
        is_held
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.has_landed {
            self.fail();
        }
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback").field("pending_users", &self.users_held()).finish_non_exhaustive()
    }
}
