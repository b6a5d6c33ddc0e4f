//! Sessions while the store is away: a decorator with copies of what this instance has seen.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use self::retry::Retry;
use super::{
    CONCERN, Create, Record, Save, SecretHash, SessionConfig, SessionId, SessionOutage, SessionStore, Stamp,
    journal::{Ended, JournalEntry},
    local::{Limits, Local},
    replay::has_lost_data,
};
use crate::{Cx, Detour, Error, Result, StoreFuture, UserId, clock::Timestamp, outcome::outcomes, telemetry};

#[cfg(any(test, feature = "redis"))]
mod elsewhere;
mod retry;
mod verbs;

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

    /// Counts it, and notes for the request that it was done here.
    fn note(self, cx: &Cx) {
        self.count();
        cx.note(CONCERN, Detour::Memory);
    }
}

/// Serves sessions from copies while the store behind it is away.
///
/// 1. Each instance keeps a bounded copy of the sessions it has seen, and serves it for at most
///    [`max_stale`](SessionConfig::max_stale), both deadlines enforced.
/// 2. A session never seen here is unavailable, not anonymous: nobody is logged out by an outage.
/// 3. Changes and logins are kept in the copy, and merged when the store is back: made again on what another instance
///    stored meanwhile, each `update` once, also where only the answer to it was lost. Of two values set to one key
///    the one set here stands. After a login or logout elsewhere they are dropped and counted.
/// 4. A logout holds at once, and is told to the store before anything else: **no session that was logged out here
///    comes back alive.** Nor by a store that comes back with old data: what ended here lately is looked for.
/// 5. A store that comes back empty gets the sessions back, after the logouts and revocations of all that were made
///    here lately, and never over a session that is newer; so does one that is emptied in use, as soon as a session
///    is missed.
/// 6. With a [journal](SessionConfig::journal) logouts survive a crash of this instance, too.
/// 7. What of this an application wants is its choice: [`SessionConfig::on_outage`].
///
/// Not possible without Redis: a logout on one instance is not seen on another during the outage, and a login on one is
/// not valid on another. An instance that ends during an outage takes the logins and changes with it that only it knew.
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
    pub(super) config: SessionConfig,
    /// Whether the journal has been read.
    is_recalled: AtomicBool,
    /// One reading of the journal at a time.
    recalling: tokio::sync::Mutex<()>,
    /// One replay at a time.
    pub(super) replaying: tokio::sync::Mutex<()>,
    /// Until when other instances may still write sessions back, so that ended ones must leave a tombstone.
    bury_until: AtomicU64,
    /// What watches for the store's recovery.
    #[cfg(feature = "redis")]
    helper: std::sync::OnceLock<Arc<dyn std::any::Any + Send + Sync>>,
    /// Tells the store what it was not told, where its recovery does not.
    retry: Retry,
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

/// Forgets a copy, unless what was asked about it is answered.
struct Doubt<'a> {
    store: &'a FallbackSessionStore,
    id: SessionId,
    is_answered: bool,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.store.local().forget(self.id);
        }
    }
}

/// How many sessions an instance keeps copies of. Of those that begin during an outage it takes no more either.
const COPIES: usize = 10_000;

impl FallbackSessionStore {
    /// Copies of the sessions in `store`.
    pub fn new(store: impl SessionStore, config: &SessionConfig) -> Self {
        Self::with_capacity(store, config, COPIES)
    }

    /// As [`new`](Self::new), with copies of at most `copies` sessions instead of 10,000.
    pub fn with_capacity(store: impl SessionStore, config: &SessionConfig, copies: usize) -> Self {
        let local = Mutex::new(Local::new(Limits { max_stale: config.stale_limit(), copies }));
        Self(Arc::new(Inner {
            store: Arc::new(store),
            local,
            is_recalled: AtomicBool::new(!config.journal.is_there()),
            config: config.clone(),
            recalling: tokio::sync::Mutex::default(),
            replaying: tokio::sync::Mutex::default(),
            bury_until: AtomicU64::new(0),
            #[cfg(feature = "redis")]
            helper: std::sync::OnceLock::new(),
            retry: Retry::default(),
        }))
    }

    /// Other instances may write sessions back until `max_stale` after `lost_at`.
    #[cfg(any(test, feature = "redis"))]
    pub(super) fn lost_at(&self, lost_at: Timestamp) {
        self.0.bury_until.store((lost_at + self.max_stale()).as_micros(), Relaxed);
    }

    pub(super) fn max_stale(&self) -> Duration {
        self.0.config.stale_limit()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.0.is_recalled.load(Relaxed) && !self.local().is_pending()
    }

    /// Reads the journal, once: before anything is served, what ended before a crash has ended here.
    pub(super) async fn recall(&self) {
        if self.0.is_recalled.load(Relaxed) {
            return;
        }
        let _one_at_a_time = self.0.recalling.lock().await;
        if self.0.is_recalled.load(Relaxed) {
            return;
        }
        match self.0.config.journal.entries().await {
            Ok(entries) => {
                entries.into_iter().for_each(|entry| self.local().recall(entry));
                self.0.is_recalled.store(true, Relaxed);
            }
            Err(error) => {
                telemetry::warn_once!(%error, "the journal of logouts cannot be read yet, and is tried again");
            }
        }
    }

    /// Begins to write into the journal that a session ended; what fails is logged. A store that was told may forget it
    /// again, and copies are written back to it; one that was not may keep the session for as long as any can live.
    fn note_end(&self, id: SessionId, user: Option<&UserId>, now: Timestamp, is_told: bool) -> StoreFuture<()> {
        let config = &self.0.config;
        let matters = if is_told { config.idle } else { config.absolute }.max(self.max_stale());
        config.journal.note(|| JournalEntry::new(Ended::Session { id, user: user.cloned() }, now, matters))
    }

    pub(super) fn local(&self) -> MutexGuard<'_, Local> {
        self.0.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a session without the store.
    fn load_local(&self, cx: &Cx, id: SessionId, now: Timestamp, error: Error) -> Result<Option<Record>> {
        let found =
            self.local().find(id, now).filter(|_| self.0.config.outage != SessionOutage::Deny).map(Record::as_copy);
        match found {
            Some(_) => SessionFallback::Served.note(cx),
            None => SessionFallback::Unknown.count(),
        }
        found.map(Some).ok_or(error)
    }

    fn create_local(&self, cx: &Cx, record: &Record, now: Timestamp, error: Error) -> Result<Create> {
        let mut local = self.local();
        if local.is_taken(record.id()) {
            return Ok(Create::Exists);
        }
        if !local.bear(record, now) {
            return Err(error);
        }
        self.kept(cx);
        Ok(Create::Created)
    }

    fn save_local(&self, cx: &Cx, record: &Record, over: Stamp, now: Timestamp, error: Error) -> Result<Save> {
        let mut local = self.local();
        if local.is_ended(record.id()) {
            return Ok(Save::Gone);
        }
        let Some(copy) = local.find(record.id(), now).filter(|_| self.keeps_changes()) else { return Err(error) };
        if copy.stamp() != over {
            return Ok(Save::Conflict(Box::new(copy.as_copy())));
        }
        local.change(record);
        self.kept(cx);
        Ok(Save::Saved)
    }

    fn kept(&self, cx: &Cx) {
        SessionFallback::Kept.note(cx);
        self.tell_later();
    }

    fn keeps_changes(&self) -> bool {
        self.0.config.outage == SessionOutage::Serve
    }

    fn heard(&self, id: SessionId, answer: &Result<Option<Record>>, now: Timestamp) {
        match answer {
            Ok(Some(record)) => self.local().confirm(record, now),
            Ok(None) => self.local().forget(id),
            Err(_) => {}
        }
    }

    /// Looks once more for a session that is not there, and was: an outage where the store has lost its data. Where it
    /// has them again by now, the session is there.
    async fn second_look(&self, cx: &Cx, id: SessionId) -> Result<Option<Record>> {
        if has_lost_data(&*self.0.store, cx).await? {
            return Err(Error::unavailable("the session store has lost its data"));
        }
        self.0.store.load(cx, id).await
    }

    /// Whether the store should have more than it says.
    fn is_odd(&self, id: SessionId, cx: &Cx, answer: &Result<Option<Record>>) -> bool {
        match answer {
            Ok(None) => self.is_missed(id, cx),
            Ok(Some(stored)) => self.local().newer_than(stored, self.now(cx)).is_some(),
            Err(_) => false,
        }
    }

    /// Whether a copy could be served of a session that is not there.
    fn is_missed(&self, id: SessionId, cx: &Cx) -> bool {
        self.local().find(id, self.now(cx)).is_some()
    }

    /// The store's answer to a load, with what this instance knows put to it.
    fn loaded(&self, cx: &Cx, id: SessionId, now: Timestamp, answer: Result<Option<Record>>) -> Result<Option<Record>> {
        if self.local().is_ended(id) {
            return Ok(None);
        }
        match answer {
            Err(error) if error.is_unavailable() => self.load_local(cx, id, now, error),
            Ok(Some(record)) if self.local().is_revoked(&record) => Ok(None),
            answer => {
                self.heard(id, &answer, now);
                answer
            }
        }
    }

    /// The same, with a second look for what is missed.
    async fn loaded_at_last(
        &self,
        cx: &Cx,
        id: SessionId,
        now: Timestamp,
        answer: Result<Option<Record>>,
    ) -> Result<Option<Record>> {
        let answer = match answer {
            Ok(None) if self.is_missed(id, cx) => self.second_look(cx, id).await,
            Ok(Some(stored)) if self.local().newer_than(&stored, now).is_some() => {
                self.brought_forward(cx, id, now).await
            }
            answer => answer,
        };
        self.loaded(cx, id, now, answer)
    }

    /// A state older than one that the store has confirmed was read just before that one, or the store has lost its data, and an
    /// older copy was written back while the confirmation was on its way: then the newer one is written over it.
    async fn brought_forward(&self, cx: &Cx, id: SessionId, now: Timestamp) -> Result<Option<Record>> {
        let Some(stored) = self.0.store.load(cx, id).await? else { return self.second_look(cx, id).await };
        let Some(newer) = self.local().newer_than(&stored, now) else { return Ok(Some(stored)) };
        let cap = self.0.config.max_per_user;
        match self.0.store.save(cx, &newer.replacing(&stored), stored.stamp(), cap).await? {
            Save::Saved => {
                SessionFallback::Restored.count();
                Ok(Some(newer))
            }
            Save::Conflict(stored) => Ok(Some(*stored)),
            Save::Gone => self.second_look(cx, id).await,
        }
    }

    /// The answer to what may end or replace a session. When nobody waits for it any more, the copy is forgotten: it may
    /// be of a session that has ended.
    async fn sure_of<T>(&self, id: SessionId, asked: StoreFuture<T>) -> Result<T> {
        let mut doubt = Doubt { store: self, id, is_answered: false };
        let answer = asked.await;
        doubt.is_answered = true;
        answer
    }

    /// Ends the session that this secret opens; without an answer of the store the copy decides, and the store hears
    /// of it later.
    async fn end_by_secret(self, cx: Cx, id: SessionId, secret: SecretHash) -> Result<Option<Record>> {
        self.settle(&cx).await;
        let now = self.now(&cx);
        if self.local().is_ended(id) {
            return Ok(None);
        }
        let copy = self.local().find(id, now).filter(|copy| copy.opens(&secret, now)).cloned();
        let mut answer = self.ask_to_end(&cx, id, &secret, now).await;
        let mut is_lost = false;
        if let (Ok(None), Some(copy)) = (&answer, &copy) {
            is_lost = true;
            answer = self.end_lost(&cx, copy, &secret, now).await;
        }
        let (ended, is_told) = match answer {
            Ok(ended) => (ended, !is_lost),
            Err(error) if error.is_unavailable() => {
                let copy = copy.ok_or(error)?;
                self.kept(&cx);
                (Some(copy), false)
            }
            Err(error) => return Err(error),
        };
        if let Some(record) = &ended {
            self.local().end(id, record.user(), now, !is_told);
            self.note_end(id, record.user(), now, is_told).await?;
        }
        if let Some(record) = ended.as_ref().filter(|_| is_lost) {
            self.bury_missed(&cx, id, record.user()).await;
        }
        Ok(ended)
    }

    /// The store missed what has ended here: nobody writes it back over this; unavailable, it is told later.
    async fn bury_missed(&self, cx: &Cx, id: SessionId, user: Option<&UserId>) {
        if self.0.store.bury(cx, id, user, self.max_stale()).await.is_ok() {
            self.local().told_ending(id);
        } else {
            self.tell_later();
        }
        // If it has lost more than this one, that is found out now.
        let _ = self.0.store.has_lost_data(cx).await;
    }

    /// The store knows of no session that this secret opens, and the copy says there was one: the store has lost it, and
    /// nobody may write it back, or it has got another secret elsewhere, and goes on.
    async fn end_lost(&self, cx: &Cx, copy: &Record, secret: &SecretHash, now: Timestamp) -> Result<Option<Record>> {
        let stored = self.0.store.load(cx, copy.id()).await?;
        match stored {
            None => Ok(Some(copy.clone())),
            Some(back) if back.opens(secret, now) => {
                self.end_in_store(cx, back.id(), back.user(), now).await?;
                Ok(Some(back))
            }
            Some(other) => {
                self.local().confirm(&other, now);
                Ok(None)
            }
        }
    }

    async fn ask_to_end(&self, cx: &Cx, id: SessionId, secret: &SecretHash, now: Timestamp) -> Result<Option<Record>> {
        if self.local().find_pending(id, now).is_some() {
            return Err(Error::unavailable("the session has changes that the store does not know"));
        }
        let mark = self.is_burying(now).then(|| self.max_stale());
        if let Some(asked) = self.0.store.logout(cx, id, secret, mark) {
            return self.sure_of(id, asked).await;
        }
        let Some(record) = self.0.store.load(cx, id).await?.filter(|record| record.opens(secret, now)) else {
            return Ok(None);
        };
        let was = self.end_in_store(cx, id, record.user(), now).await?;
        Ok(was.then_some(record))
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

    pub(super) fn is_burying(&self, now: Timestamp) -> bool {
        now.as_micros() < self.0.bury_until.load(Relaxed)
    }

    fn end_in_store(&self, cx: &Cx, id: SessionId, user: Option<&UserId>, now: Timestamp) -> StoreFuture<bool> {
        if !self.is_burying(now) {
            return self.0.store.delete(cx, id, user);
        }
        let buried = self.0.store.bury(cx, id, user, self.max_stale());
        StoreFuture::submit(async move { buried.await.map(|()| true) })
    }
}

impl fmt::Debug for FallbackSessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackSessionStore").field("pending", &!self.is_settled()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod emptied;
#[cfg(test)]
mod faulty;
#[cfg(test)]
mod replays;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
