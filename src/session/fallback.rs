//! Sessions while the store is away: a decorator with copies of what this instance has seen.

use std::{
    fmt,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    Create, Record, Save, SessionConfig, SessionId, SessionStore, Stamp,
    local::{Limits, Local},
};
use crate::{Cx, Error, Result, StoreFuture, UserId, clock::Timestamp, outcome::outcomes, telemetry};

outcomes! {
    /// What was done about a session while its store was away, or when it came back; the label of
    /// `towerkeep_session_fallback_total`.
    pub enum SessionFallback {
        /// A copy was served.
        Served => "served",
        /// The session was never seen here; nothing is known of it.
        Unknown => "unknown",
        /// A change, a login or a logout was kept here until the store is back.
        Kept => "kept",
        /// What was kept was stored.
        Merged => "merged",
        /// What was kept did not fit what the store held by then, and was dropped.
        Dropped => "dropped",
        /// The end of a session was told to the store.
        Ended => "ended",
        /// A session was written back to a store that had lost it.
        Restored => "restored",
    }
}

impl SessionFallback {
    pub(super) fn count(self) {
        telemetry::count("towerkeep_session_fallback_total", [("outcome", self.as_str())]);
    }
}

/// Serves sessions from copies while the store behind it is away.
///
/// 1. Each instance keeps a bounded copy of the sessions it has seen, and serves it for at most
///    [`max_stale`](SessionConfig::max_stale), both deadlines enforced.
/// 2. A session never seen here is unavailable, not anonymous: nobody is logged out by an outage.
/// 3. Changes and logins are kept in the copy. They are merged when the store is back, if it still holds the state
///    that they are based on; else they are dropped and counted.
/// 4. A logout holds at once, and is told to the store before anything else: **no session that was logged out here
///    comes back alive.**
/// 5. A store that comes back empty gets the sessions back, after the logouts and revocations of all that were made
///    here lately, and never over a session that is newer.
///
/// Not possible without Redis: a logout on one instance is not seen on another during the outage, and a login on one is
/// not valid on another. An instance that ends during an outage takes what only it knew with it.
///
/// ```
/// use towerkeep::{Cx, clock::Clock, store::OutageSwitch};
/// use towerkeep::session::{FallbackSessionStore, MemorySessionStore, SessionConfig, Sessions};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> towerkeep::Result<()> {
/// let outage = OutageSwitch::default();
/// let store = MemorySessionStore::new(Clock::system()).outage(outage.clone());
/// let sessions = Sessions::new(FallbackSessionStore::new(store, &SessionConfig::default()));
/// outage.set(true);
/// let issued = sessions.issue(42).await?; // a login during the outage
/// outage.set(false);
/// assert!(sessions.revoke(42, &issued.id()).await?); // merged as soon as the store answered
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct FallbackSessionStore(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Arc<dyn SessionStore>,
    local: Mutex<Local>,
    pub(super) max_stale: Duration,
    /// One replay at a time.
    pub(super) replaying: tokio::sync::Mutex<()>,
    /// Until when other instances may still write sessions back, so that ended ones must leave a tombstone.
    bury_until: AtomicU64,
    /// What watches for the store's recovery.
    #[cfg(feature = "redis")]
    helper: std::sync::OnceLock<Arc<dyn std::any::Any + Send + Sync>>,
}

/// A handle that does not keep the copies alive.
#[cfg(feature = "redis")]
pub(super) struct WeakFallback(std::sync::Weak<Inner>);

#[cfg(feature = "redis")]
impl WeakFallback {
    pub(super) fn upgrade(&self) -> Option<FallbackSessionStore> {
        self.0.upgrade().map(FallbackSessionStore)
    }
}

/// How many sessions an instance keeps copies of.
const COPIES: usize = 10_000;
impl FallbackSessionStore {
    /// Copies of the sessions in `store`.
    pub fn new(store: impl SessionStore, config: &SessionConfig) -> Self {
        Self::with_capacity(store, config, COPIES)
    }

    /// As [`new`](Self::new), with copies of at most `copies` sessions instead of 10,000.
    pub fn with_capacity(store: impl SessionStore, config: &SessionConfig, copies: usize) -> Self {
        let max_stale = config.stale_limit();
        let local = Mutex::new(Local::new(Limits { max_stale, copies }));
        let (replaying, bury_until) = (tokio::sync::Mutex::default(), AtomicU64::new(0));
        Self(Arc::new(Inner {
            store: Arc::new(store),
            local,
            max_stale,
            replaying,
            bury_until,
            #[cfg(feature = "redis")]
            helper: std::sync::OnceLock::new(),
        }))
    }

    /// Other instances may write sessions back until `max_stale` after `lost_at`.
    #[cfg(any(test, feature = "redis"))]
    pub(super) fn lost_at(&self, lost_at: Timestamp) {
        self.0.bury_until.store((lost_at + self.0.max_stale).as_micros(), Relaxed);
    }

    fn is_settled(&self) -> bool {
        !self.local().is_pending()
    }

    pub(super) fn local(&self) -> MutexGuard<'_, Local> {
        self.0.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a session without the store.
    fn load_local(&self, id: SessionId, now: Timestamp, error: Error) -> Result<Option<Record>> {
        let found = self.local().find(id, now).cloned();
        if found.is_some() { SessionFallback::Served } else { SessionFallback::Unknown }.count();
        found.map(Some).ok_or(error)
    }

    fn save_local(&self, record: &Record, over: Stamp, now: Timestamp, error: Error) -> Result<Save> {
        let mut local = self.local();
        if local.is_ended(record.id()) {
            return Ok(Save::Gone);
        }
        let Some(copy) = local.find(record.id(), now) else { return Err(error) };
        if copy.stamp() != over {
            return Ok(Save::Conflict(Box::new(copy.clone())));
        }
        local.change(record, over);
        SessionFallback::Kept.count();
        Ok(Save::Saved)
    }

    fn heard(&self, id: SessionId, answer: &Result<Option<Record>>, now: Timestamp) {
        match answer {
            Ok(Some(record)) => self.local().confirm(record, now),
            Ok(None) => self.local().forget(id),
            Err(_) => {}
        }
    }

    /// The store's answer to a load, with what this instance knows put to it.
    fn loaded(&self, id: SessionId, now: Timestamp, answer: Result<Option<Record>>) -> Result<Option<Record>> {
        if self.local().is_ended(id) {
            return Ok(None);
        }
        match answer {
            Err(error) if error.is_unavailable() => self.load_local(id, now, error),
            answer => {
                self.heard(id, &answer, now);
                answer
            }
        }
    }

    /// Keeps `helper` for as long as the copies live.
    #[cfg(feature = "redis")]
    pub(super) fn keep_alive(&self, helper: Arc<dyn std::any::Any + Send + Sync>) {
        // Called once, when the store is made.
        let _ = self.0.helper.set(helper);
    }

    #[cfg(feature = "redis")]
    pub(super) fn downgrade(&self) -> WeakFallback {
        WeakFallback(Arc::downgrade(&self.0))
    }

    fn is_burying(&self, now: Timestamp) -> bool {
        now.as_micros() < self.0.bury_until.load(Relaxed)
    }

    fn end_in_store(&self, cx: &Cx, id: SessionId, user: Option<&UserId>, now: Timestamp) -> StoreFuture<bool> {
        if !self.is_burying(now) {
            return self.0.store.delete(cx, id, user);
        }
        let buried = self.0.store.bury(cx, id, user, self.0.max_stale);
        StoreFuture::submit(async move { buried.await.map(|()| true) })
    }
}

impl SessionStore for FallbackSessionStore {
    fn now(&self, cx: &Cx) -> Timestamp {
        self.0.store.now(cx)
    }

    fn load(&self, cx: &Cx, id: SessionId) -> StoreFuture<Option<Record>> {
        let now = self.now(cx);
        if self.local().is_ended(id) {
            return StoreFuture::ok(None);
        }
        let this = self.clone();
        if self.is_settled() {
            let mut answer = self.0.store.load(cx, id);
            return match answer.take_ready() {
                Some(answer) => StoreFuture::ready(self.loaded(id, now, answer)),
                None => StoreFuture::boxed(async move { this.loaded(id, now, answer.await) }),
            };
        }
        let cx = cx.clone();
        StoreFuture::submit(async move {
            this.settle(&cx).await;
            let pending = this.local().find_pending(id, now).cloned();
            if pending.is_some() {
                SessionFallback::Served.count();
                return Ok(pending);
            }
            let answer = this.0.store.load(&cx, id).await;
            this.loaded(id, now, answer)
        })
    }

    fn create(&self, cx: &Cx, record: &Record, cap: Option<NonZeroU32>) -> StoreFuture<Create> {
        let (this, cx, record) = (self.clone(), cx.clone(), record.clone());
        StoreFuture::submit(async move {
            this.settle(&cx).await;
            let now = this.now(&cx);
            match this.0.store.create(&cx, &record, cap).await {
                Ok(Create::Created) => {
                    this.local().confirm(&record, now);
                    Ok(Create::Created)
                }
                Err(error) if error.is_unavailable() => {
                    this.local().bear(&record, now);
                    SessionFallback::Kept.count();
                    Ok(Create::Created)
                }
                other => other,
            }
        })
    }

    fn save(&self, cx: &Cx, record: &Record, over: Stamp, cap: Option<NonZeroU32>) -> StoreFuture<Save> {
        let (this, cx, record) = (self.clone(), cx.clone(), record.clone());
        StoreFuture::submit(async move {
            this.settle(&cx).await;
            let (now, id) = (this.now(&cx), record.id());
            let is_pending = this.local().find_pending(id, now).is_some();
            let answer = if is_pending {
                Err(Error::unavailable("the session has changes that the store does not know"))
            } else {
                this.0.store.save(&cx, &record, over, cap).await
            };
            match answer {
                Err(error) if error.is_unavailable() => return this.save_local(&record, over, now, error),
                Ok(Save::Saved) => this.local().confirm(&record, now),
                Ok(Save::Conflict(ref stored)) => this.local().confirm(stored, now),
                Ok(Save::Gone) => this.local().forget(id),
                Err(_) => {}
            }
            answer
        })
    }

    fn touch(&self, cx: &Cx, id: SessionId, generation: u32) -> StoreFuture<bool> {
        let (this, now, touched) = (self.clone(), self.now(cx), self.0.store.touch(cx, id, generation));
        StoreFuture::submit(async move {
            match touched.await {
                Err(error) if error.is_unavailable() => Ok(this.local().touch(id, generation, now)),
                answer => answer,
            }
        })
    }

    fn delete(&self, cx: &Cx, id: SessionId, user: Option<&UserId>) -> StoreFuture<bool> {
        let now = self.now(cx);
        // First here: from now on nothing that is on its way brings it back.
        let was_known = self.local().end(id, user, now, true);
        let (this, deleted) = (self.clone(), self.end_in_store(cx, id, user, now));
        StoreFuture::submit(async move {
            match deleted.await {
                Ok(was) => {
                    this.local().told_ending(id);
                    Ok(was || was_known)
                }
                Err(error) if error.is_unavailable() => {
                    SessionFallback::Kept.count();
                    Ok(was_known)
                }
                Err(error) => Err(error),
            }
        })
    }

    fn bury(&self, cx: &Cx, id: SessionId, user: Option<&UserId>, lasting: Duration) -> StoreFuture<()> {
        self.local().end(id, user, self.now(cx), true);
        let (this, buried) = (self.clone(), self.0.store.bury(cx, id, user, lasting));
        StoreFuture::submit(async move {
            buried.await?;
            this.local().told_ending(id);
            Ok(())
        })
    }

    fn restore(&self, cx: &Cx, record: &Record) -> StoreFuture<Create> {
        self.0.store.restore(cx, record)
    }

    /// Unavailable during an outage: what this instance knows is not the whole list.
    fn list(&self, cx: &Cx, user: &UserId) -> StoreFuture<Vec<Record>> {
        let (this, cx, user) = (self.clone(), cx.clone(), user.clone());
        StoreFuture::submit(async move {
            this.settle(&cx).await;
            let mut records = this.0.store.list(&cx, &user).await?;
            let local = this.local();
            records.retain(|record| !local.is_ended(record.id()));
            Ok(records)
        })
    }

    fn revoke(&self, cx: &Cx, user: &UserId, id: SessionId) -> StoreFuture<bool> {
        let (this, cx, user) = (self.clone(), cx.clone(), user.clone());
        StoreFuture::submit(async move {
            match this.load(&cx, id).await? {
                Some(record) if record.user() == Some(&user) => this.delete(&cx, id, Some(&user)).await,
                _ => Ok(false),
            }
        })
    }

    fn revoke_all(
        &self,
        cx: &Cx,
        user: &UserId,
        except: Option<SessionId>,
        lasting: Duration,
    ) -> StoreFuture<Vec<SessionId>> {
        let known = self.local().revoke_all(user, except, lasting, self.now(cx), true);
        let revoked = self.0.store.revoke_all(cx, user, except, lasting);
        let (this, cx, user) = (self.clone(), cx.clone(), user.clone());
        StoreFuture::submit(async move {
            match revoked.await {
                Ok(ended) => {
                    let now = this.now(&cx);
                    let mut local = this.local();
                    local.told_revocation(&user);
                    for id in &ended {
                        local.end(*id, Some(&user), now, false);
                    }
                    known.iter().for_each(|id| local.told_ending(*id));
                    Ok(ended)
                }
                Err(error) if error.is_unavailable() => {
                    SessionFallback::Kept.count();
                    Ok(known)
                }
                Err(error) => Err(error),
            }
        })
    }
}

impl fmt::Debug for FallbackSessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackSessionStore").field("pending", &!self.is_settled()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod simulation;
