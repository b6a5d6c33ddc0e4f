//! What the store is told when it is back: first what ended, then what changed, then what it has lost.

use std::time::Instant;

use super::{
    Create, FallbackSessionStore, Record, Save, SessionFallback, SessionStore,
    delta::Delta,
    local::{Pending, Revocation, Told},
};
use crate::{Cx, Error, Result, UserId, clock::Timestamp};

/// How many operations of a replay are under way at once.
pub(super) const BATCH: usize = 64;
/// How often a merge is tried while others keep writing the session.
const TRIES: u32 = 5;
/// Of so many sessions that ended here last, a store that may have come back with old data is asked again.
const RING: usize = 10_000;
/// So many copies are compared with what such a store holds.
const COMPARED: usize = 1_000;

/// What became of the store's data while it was away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(any(test, feature = "redis")), expect(dead_code, reason = "only a recovery of Redis doubts"))]
pub(super) enum Data {
    /// It is what it was.
    Kept,
    /// It may be older than what was told here: a server that was restored from a snapshot says nothing about it.
    Unsure,
    /// It is gone.
    Lost,
}

impl Data {
    fn is_lost(self) -> bool {
        self == Self::Lost
    }

    fn is_doubtful(self) -> bool {
        self != Self::Kept
    }
}

/// What a state was made of.
#[derive(Clone, Copy)]
struct Made<'a> {
    base: &'a Record,
    changes: Option<&'a Delta>,
}

impl FallbackSessionStore {
    /// Tells `store`, which is back, what happened without it.
    ///
    /// In this order: ended sessions, revocations, changes, births, and if it lost its data, all other copies.
    ///
    /// # Errors
    /// Unavailable: the store is gone again. What was told is told; the rest is kept for the next time. What the store will never
    /// take, as over another program's value, is dropped and counted, and keeps nothing else from it.
    #[cfg(any(test, feature = "redis"))]
    pub(super) async fn replay(&self, store: &dyn SessionStore, cx: &Cx, data: Data) -> Result<()> {
        self.recall().await;
        let _one_at_a_time = self.0.replaying.lock().await;
        let told = self.replay_all(store, cx, data).await;
        if !self.is_settled() {
            // What came when its turn was over.
            self.tell_later();
        }
        told
    }

    async fn replay_all(&self, store: &dyn SessionStore, cx: &Cx, data: Data) -> Result<()> {
        let now = store.now(cx);
        self.tell_endings(store, cx, data, now).await?;
        let revocations = self.local().revocations(data.is_doubtful(), now);
        for (user, revocation) in revocations {
            unless_refused(revoke_since(store, cx, &user, &revocation).await)?;
            self.local().told_revocation(&user, revocation.at, revocation.except);
        }
        if data.is_doubtful() && !data.is_lost() {
            self.look_back(store, cx, now).await?;
        }
        let changes = self.local().changes();
        for (record, pending) in changes {
            if unless_refused(self.merge(store, cx, &record, pending, data).await)?.is_none() {
                let told = Told { sent: &record, stored: None, is_merged: false };
                self.local().told_change(&told, now);
            }
        }
        let touches = self.local().touches();
        for (id, generation) in touches {
            unless_refused(store.touch(cx, id, generation).await)?;
            self.local().told_touch(id);
        }
        if data.is_lost() {
            self.write_back(store, cx, now).await?;
        }
        self.local().settle();
        Ok(())
    }

    async fn tell_endings(&self, store: &dyn SessionStore, cx: &Cx, data: Data, now: Timestamp) -> Result<()> {
        // While others may still write sessions back, a snapshot may have lost the marks of what ended.
        let all = data.is_lost() || (data.is_doubtful() && self.is_burying(now));
        let endings = self.local().endings(all, now);
        for batch in endings.chunks(BATCH) {
            let told: Vec<_> =
                batch.iter().map(|(id, user, lasting)| store.bury(cx, *id, user.as_ref(), *lasting)).collect();
            for ((id, ..), told) in batch.iter().zip(told) {
                if unless_refused(told.await)?.is_some() {
                    SessionFallback::Ended.count();
                }
                self.local().told_ending(*id);
            }
        }
        Ok(())
    }

    /// Looks whether the store went back in time: sessions that ended here are ended again, older states of sessions
    /// are replaced. What is not there is not written: another instance may have ended it.
    async fn look_back(&self, store: &dyn SessionStore, cx: &Cx, now: Timestamp) -> Result<()> {
        let ended = self.local().told_endings(RING, now);
        for batch in ended.chunks(BATCH) {
            let loads: Vec<_> = batch.iter().map(|id| store.load(cx, *id)).collect();
            for (id, load) in batch.iter().zip(loads) {
                if let Some(revived) = readable(load.await)?
                    && unless_refused(store.bury(cx, *id, revived.user(), self.max_stale()).await)?.is_some()
                {
                    SessionFallback::Ended.count();
                }
            }
        }
        let (copies, cap) = (self.local().settled(COMPARED, now), self.0.config.max_per_user);
        for batch in copies.chunks(BATCH) {
            let loads: Vec<_> = batch.iter().map(|copy| store.load(cx, copy.id())).collect();
            for (copy, load) in batch.iter().zip(loads) {
                let stored = readable(load.await)?;
                if let Some(older) = stored.filter(|stored| stored.stamp() < copy.stamp() && !stored.read_only)
                    && let Some(Save::Saved) =
                        unless_refused(store.save(cx, &copy.replacing(&older), older.stamp(), cap).await)?
                {
                    SessionFallback::Restored.count();
                }
            }
        }
        Ok(())
    }

    async fn merge(
        &self,
        store: &dyn SessionStore,
        cx: &Cx,
        record: &Record,
        pending: Pending,
        data: Data,
    ) -> Result<()> {
        if self.local().is_ended(record.id()) {
            return Ok(());
        }
        let (stored, is_merged) = match &pending {
            Pending::Over { base, changes } => {
                let made = Made { base, changes: changes.as_deref() };
                let record = record.stored_at(made.changes, store.now(cx));
                if data.is_lost() {
                    self.restore_over(store, cx, &record, made).await?
                } else {
                    self.merge_over(store, cx, &record, made).await?
                }
            }
            Pending::Born => {
                let stored = self.restore(store, cx, record).await?;
                let is_merged = stored.as_ref().is_some_and(|stored| is_same(stored, record));
                (stored, is_merged)
            }
        };
        if is_merged { SessionFallback::Merged } else { SessionFallback::Dropped }.count();
        self.local().told_change(&Told { sent: record, stored: stored.as_ref(), is_merged }, store.now(cx));
        // Ended while it was on its way: told to the store before anybody can load it.
        self.tell_if_ended(store, cx, record).await
    }

    /// Saves a state; where others replaced its base too, and nobody logged in or out, with their changes. Changes that
    /// the store holds already, because only the answer to them was lost, are not made again.
    async fn merge_over(
        &self,
        store: &dyn SessionStore,
        cx: &Cx,
        record: &Record,
        Made { base, changes }: Made<'_>,
    ) -> Result<(Option<Record>, bool)> {
        // Also where the store has the login already: what came after that, and what its index says, was not answered.
        let (mut next, mut replaces) = (record.replacing(base), base.stamp());
        let is_login = next.is_login;
        for _ in 0..TRIES {
            let stored = match store.save(cx, &next, replaces, self.0.config.max_per_user).await? {
                Save::Saved => return Ok((Some(next), true)),
                // Then it is written back, not merged, by the recovery that this brings about.
                Save::Gone if has_lost_data(store, cx).await? => {
                    return Err(Error::unavailable("the session store has lost its data"));
                }
                Save::Gone => return Ok((None, false)),
                Save::Conflict(stored) => *stored,
            };
            // A login or rotation of our own, whose answer was lost, is no reason to drop what came after it.
            let is_ours =
                stored.stamp().generation == record.stamp().generation && stored.secret.matches(&record.secret);
            let is_others = stored.stamp().generation != base.stamp().generation && !is_ours;
            if is_others || stored.read_only {
                return Ok((Some(stored), false));
            }
            replaces = stored.stamp();
            next = match record.rebased(base, changes, &stored, store.now(cx)) {
                Ok(merged) if merged.check_size(self.0.config.max_size).is_ok() => Record { is_login, ..merged },
                _ => return Ok((Some(stored), false)),
            };
        }
        Ok((store.load(cx, record.id()).await?, false))
    }

    /// Writes a state to a store that has lost it. Where another instance was faster, with changes of its own to the same base or
    /// to a newer one, these are made on top of them.
    async fn restore_over(
        &self,
        store: &dyn SessionStore,
        cx: &Cx,
        record: &Record,
        made: Made<'_>,
    ) -> Result<(Option<Record>, bool)> {
        match store.restore(cx, record, self.0.config.max_per_user).await? {
            Create::Created => return Ok((Some(record.clone()), true)),
            Create::Revoked => return Ok((None, false)),
            Create::Exists => {}
        }
        let Some(stored) = store.load(cx, record.id()).await? else { return Ok((ended(store, cx).await?, false)) };
        if is_same(&stored, record) {
            return Ok((Some(stored), true));
        }
        if stored.stamp() >= made.base.stamp() {
            return self.merge_over(store, cx, record, made).await;
        }
        let stored = self.replace(store, cx, record, &stored).await?;
        let is_merged = stored.as_ref().is_some_and(|stored| is_same(stored, record));
        Ok((stored, is_merged))
    }

    async fn write_back(&self, store: &dyn SessionStore, cx: &Cx, now: Timestamp) -> Result<()> {
        let survivors = self.local().survivors(now);
        for record in &survivors {
            if self.local().is_ended(record.id()) {
                continue;
            }
            unless_refused(self.write_back_one(store, cx, record, now).await)?;
        }
        Ok(())
    }

    async fn write_back_one(&self, store: &dyn SessionStore, cx: &Cx, record: &Record, now: Timestamp) -> Result<()> {
        let stored = self.restore(store, cx, record).await?;
        if stored.is_some() {
            SessionFallback::Restored.count();
        }
        self.told_copy(store, cx, record, stored.as_ref(), now).await?;
        self.tell_if_ended(store, cx, record).await
    }

    /// Takes note of what the store holds after a copy was written back: that one, or a newer one. Changes that were kept meanwhile are
    /// merged later; a state that was saved before the data was lost, and confirmed since, is written over the older copy.
    async fn told_copy(
        &self,
        store: &dyn SessionStore,
        cx: &Cx,
        sent: &Record,
        stored: Option<&Record>,
        now: Timestamp,
    ) -> Result<()> {
        match stored.filter(|stored| !is_same(stored, sent)) {
            Some(other) => self.local().confirm(other, now),
            None => self.local().told_change(&Told { sent, stored, is_merged: true }, now),
        }
        let newer = stored.and_then(|stored| Some((self.local().newer_than(stored, now)?, stored)));
        if let Some((newer, older)) = newer {
            self.replace(store, cx, &newer, older).await?;
        }
        Ok(())
    }

    /// Writes a session to a store that has none of that id, or an older state; what it holds then, nothing if it was
    /// ended.
    async fn restore(&self, store: &dyn SessionStore, cx: &Cx, record: &Record) -> Result<Option<Record>> {
        match store.restore(cx, record, self.0.config.max_per_user).await? {
            Create::Created => return Ok(Some(record.clone())),
            Create::Revoked => return Ok(None),
            Create::Exists => {}
        }
        let Some(stored) = store.load(cx, record.id()).await? else { return ended(store, cx).await };
        if stored.stamp() >= record.stamp() {
            return Ok(Some(stored));
        }
        self.replace(store, cx, record, &stored).await
    }

    /// What is stored then.
    async fn replace(
        &self,
        store: &dyn SessionStore,
        cx: &Cx,
        record: &Record,
        older: &Record,
    ) -> Result<Option<Record>> {
        let cap = self.0.config.max_per_user;
        Ok(match store.save(cx, &record.replacing(older), older.stamp(), cap).await? {
            Save::Saved => Some(record.clone()),
            Save::Conflict(newer) => Some(*newer),
            Save::Gone => ended(store, cx).await?,
        })
    }

    async fn tell_if_ended(&self, store: &dyn SessionStore, cx: &Cx, record: &Record) -> Result<()> {
        if self.local().is_ended(record.id()) {
            store.bury(cx, record.id(), record.user(), self.max_stale()).await?;
            self.local().told_ending(record.id());
        }
        Ok(())
    }

    /// Before a verb: tells the store what it has missed, where it was away without a recovery of its own.
    pub(super) async fn settle(&self, cx: &Cx) {
        if self.is_settled() {
            return;
        }
        self.recall().await;
        // Each try looks at all that is kept: not for every request of an outage.
        if self.0.store.is_away() {
            return;
        }
        let Ok(_one_at_a_time) = self.0.replaying.try_lock() else { return };
        let began = Instant::now();
        if let Err(error) = self.replay_all(&*self.0.store, &cx.apart(), Data::Kept).await {
            tracing::debug!(%error, "the session store is still away");
        }
        cx.charge(began.elapsed());
    }
}

/// What is there no more has ended, unless the store has lost its data once more meanwhile: then all of it is to be told anew.
async fn ended(store: &dyn SessionStore, cx: &Cx) -> Result<Option<Record>> {
    match has_lost_data(store, cx).await? {
        true => Err(Error::unavailable("the session store has lost its data again")),
        false => Ok(None),
    }
}

/// Whether what is stored is this state.
fn is_same(stored: &Record, record: &Record) -> bool {
    stored.stamp() == record.stamp() && stored.secret.matches(&record.secret) && stored.data() == record.data()
}

/// Whether what is not there was lost; where that cannot be told, it was not.
pub(super) async fn has_lost_data(store: &dyn SessionStore, cx: &Cx) -> Result<bool> {
    match store.has_lost_data(cx).await {
        Err(error) if !error.is_unavailable() => Ok(false),
        answer => answer,
    }
}

/// Nothing where the store will never take it, however often it is asked: it is dropped, and the rest goes on.
fn unless_refused<T>(told: Result<T>) -> Result<Option<T>> {
    match told {
        Err(error) if !error.is_unavailable() => {
            SessionFallback::Dropped.count();
            tracing::debug!(%error, "the session store refuses what an outage left to tell");
            Ok(None)
        }
        told => told.map(Some),
    }
}

/// What cannot be read is left alone, here as everywhere.
fn readable(load: Result<Option<Record>>) -> Result<Option<Record>> {
    match load {
        Err(error) if error.is_corrupt() => Ok(None),
        load => load,
    }
}

/// Makes a revocation of before hold: for what is written back later, and for what has been. Later logins stand.
async fn revoke_since(store: &dyn SessionStore, cx: &Cx, user: &UserId, revocation: &Revocation) -> Result<()> {
    let Revocation { at, except, lasting, .. } = *revocation;
    store.revoke_before(cx, user, at, except, lasting).await?;
    let listed = match store.list(cx, user).await {
        // An index of somebody else's making: the next login replaces it.
        Err(error) if error.is_corrupt() => Vec::new(),
        listed => listed?,
    };
    for record in listed {
        if revocation.covers(&record) {
            store.bury(cx, record.id(), Some(user), lasting).await?;
        }
    }
    Ok(())
}
