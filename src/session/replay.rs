//! What the store is told when it is back: first what ended, then what changed, then what it has lost.

use super::{
    Create, FallbackSessionStore, Record, Save, SessionFallback, SessionStore,
    local::{Pending, Revocation},
};
use crate::{Cx, Result, UserId, clock::Timestamp};

/// How many operations of a replay are under way at once.
const BATCH: usize = 64;

impl FallbackSessionStore {
    /// Tells `store`, which is back, what happened without it. With `lost`, it has lost its data.
    ///
    /// In this order: ended sessions, revocations, changes, births, and if it lost its data, all other copies.
    ///
    /// # Errors
    /// Unavailable: the store is gone again. What was told is told; the rest is kept for the next time.
    #[cfg(any(test, feature = "redis"))]
    pub(super) async fn replay(&self, store: &dyn SessionStore, cx: &Cx, lost: bool) -> Result<()> {
        let _one_at_a_time = self.0.replaying.lock().await;
        self.replay_all(store, cx, lost).await
    }

    async fn replay_all(&self, store: &dyn SessionStore, cx: &Cx, lost: bool) -> Result<()> {
        let now = store.now(cx);
        let endings = self.local().endings(lost, now);
        for batch in endings.chunks(BATCH) {
            let told: Vec<_> =
                batch.iter().map(|(id, user, lasting)| store.bury(cx, *id, user.as_ref(), *lasting)).collect();
            for ((id, ..), told) in batch.iter().zip(told) {
                told.await?;
                SessionFallback::Ended.count();
                self.local().told_ending(*id);
            }
        }
        let revocations = self.local().revocations(lost, now);
        for (user, revocation) in revocations {
            revoke_since(store, cx, &user, &revocation).await?;
            self.local().told_revocation(&user);
        }
        let changes = self.local().changes();
        for (record, pending) in changes {
            self.merge(store, cx, &record, pending, lost).await?;
        }
        let touches = self.local().touches();
        for (id, generation) in touches {
            store.touch(cx, id, generation).await?;
            self.local().told_touch(id);
        }
        if lost {
            self.write_back(store, cx, now).await?;
        }
        self.local().settle();
        Ok(())
    }

    async fn merge(
        &self,
        store: &dyn SessionStore,
        cx: &Cx,
        record: &Record,
        pending: Pending,
        lost: bool,
    ) -> Result<()> {
        let (id, sent) = (record.id(), record.stamp());
        if self.local().is_ended(id) {
            return Ok(());
        }
        let stored = match pending {
            Pending::Over(over) if !lost => match store.save(cx, record, over, None).await? {
                Save::Saved => Some(record.clone()),
                Save::Conflict(stored) => Some(*stored),
                Save::Gone => None,
            },
            Pending::Born | Pending::Over(_) => restore(store, cx, record).await?,
        };
        let fits =
            stored.as_ref().is_some_and(|stored| stored.stamp() == sent && stored.secret.matches(&record.secret));
        if fits { SessionFallback::Merged } else { SessionFallback::Dropped }.count();
        self.local().told_change(id, stored.as_ref(), sent, store.now(cx));
        // Ended while it was on its way: told to the store before anybody can load it.
        self.tell_if_ended(store, cx, record).await
    }

    async fn write_back(&self, store: &dyn SessionStore, cx: &Cx, now: Timestamp) -> Result<()> {
        let survivors = self.local().survivors(now);
        for record in &survivors {
            if self.local().is_ended(record.id()) {
                continue;
            }
            let stored = restore(store, cx, record).await?;
            if stored.is_some() {
                SessionFallback::Restored.count();
            }
            self.local().told_change(record.id(), stored.as_ref(), record.stamp(), now);
            self.tell_if_ended(store, cx, record).await?;
        }
        Ok(())
    }

    async fn tell_if_ended(&self, store: &dyn SessionStore, cx: &Cx, record: &Record) -> Result<()> {
        if self.local().is_ended(record.id()) {
            store.bury(cx, record.id(), record.user(), self.0.max_stale).await?;
            self.local().told_ending(record.id());
        }
        Ok(())
    }

    /// Before a verb: tells the store what it has missed, where it was away without a recovery of its own.
    pub(super) async fn settle(&self, cx: &Cx) {
        if !self.local().is_pending() {
            return;
        }
        let Ok(_one_at_a_time) = self.0.replaying.try_lock() else { return };
        if let Err(error) = self.replay_all(&*self.0.store, cx, false).await {
            tracing::debug!(%error, "the session store is still away");
        }
    }
}

/// Makes a revocation of before hold: for what is written back later, and for what has been. Later logins stand.
async fn revoke_since(store: &dyn SessionStore, cx: &Cx, user: &UserId, revocation: &Revocation) -> Result<()> {
    let Revocation { at, except, lasting, .. } = *revocation;
    store.revoke_before(cx, user, at, except, lasting).await?;
    for record in store.list(cx, user).await? {
        if Some(record.id()) != except && record.logged_in.is_none_or(|login| login <= at) {
            store.bury(cx, record.id(), Some(user), lasting).await?;
        }
    }
    Ok(())
}

/// Writes a session to a store that has none of that id, or an older state; what it holds then, nothing if it was ended.
async fn restore(store: &dyn SessionStore, cx: &Cx, record: &Record) -> Result<Option<Record>> {
    match store.restore(cx, record).await? {
        Create::Created => return Ok(Some(record.clone())),
        Create::Revoked => return Ok(None),
        Create::Exists => {}
    }
    let Some(stored) = store.load(cx, record.id()).await? else { return Ok(None) };
    if stored.stamp() >= record.stamp() {
        return Ok(Some(stored));
    }
    Ok(match store.save(cx, record, stored.stamp(), None).await? {
        Save::Saved => Some(record.clone()),
        Save::Conflict(newer) => Some(*newer),
        Save::Gone => None,
    })
}
