//! The verbs of a store, with what this instance knows put to each.

use std::{num::NonZeroU32, time::Duration};

use super::{FallbackSessionStore, SessionFallback, retry::Later};
use crate::{
    Cx, Error, StoreFuture, UserId,
    clock::Timestamp,
    session::{
        Create, Endings, Record, Save, SecretHash, SessionId, SessionOutage, SessionStore, Stamp,
        journal::{Ended, JournalEntry},
    },
};

impl FallbackSessionStore {
    /// Ends sessions that are known here, that the store has not listed, and that still are this user's; whether all of this was
    /// answered.
    async fn end_unlisted(&self, cx: &Cx, user: &UserId, ids: impl Iterator<Item = &SessionId>) -> bool {
        let asked: Vec<_> = ids.map(|id| (*id, self.0.store.revoke(cx, user, *id))).collect();
        let mut are_told = true;
        for (id, asked) in asked {
            match asked.await {
                Ok(_) => self.local().told_ending(id),
                Err(_) => are_told = false,
            }
        }
        are_told
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
                Some(answer) if !self.is_odd(id, cx, &answer) => StoreFuture::ready(self.loaded(cx, id, now, answer)),
                known => {
                    let cx = cx.clone();
                    StoreFuture::boxed(async move {
                        let answer = match known {
                            Some(answer) => answer,
                            None => answer.await,
                        };
                        this.loaded_at_last(&cx, id, now, answer).await
                    })
                }
            };
        }
        let cx = cx.clone();
        StoreFuture::submit(async move {
            this.settle(&cx).await;
            let pending = this.local().find_pending(id, now).map(Record::as_copy);
            if pending.is_some() {
                SessionFallback::Served.note(&cx);
                return Ok(pending);
            }
            let answer = this.0.store.load(&cx, id).await;
            this.loaded_at_last(&cx, id, now, answer).await
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
                Err(error) if error.is_unavailable() && this.keeps_changes() => {
                    this.create_local(&cx, &record, now, error)
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
                match this.sure_of(id, this.0.store.save(&cx, &record, over, cap)).await {
                    Ok(Save::Gone) if this.is_missed(id, &cx) => {
                        let stored = this.second_look(&cx, id).await;
                        stored.map(|stored| stored.map_or(Save::Gone, |stored| Save::Conflict(Box::new(stored))))
                    }
                    saved => saved,
                }
            };
            match answer {
                Err(error) if error.is_unavailable() => return this.save_local(&cx, &record, over, now, error),
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
                Err(error) if error.is_unavailable() && this.0.config.outage != SessionOutage::Deny => {
                    let was_known = this.local().touch(id, generation, now);
                    this.tell_later();
                    Ok(was_known)
                }
                answer => answer,
            }
        })
    }

    fn delete(&self, cx: &Cx, id: SessionId, user: Option<&UserId>) -> StoreFuture<bool> {
        let now = self.now(cx);
        // First here: from now on nothing that is on its way brings it back.
        let was_known = self.local().end(id, user, now, true);
        let noted = self.note_end(id, user, now, true);
        let deleted = self.end_in_store(cx, id, user, now);
        let (this, cx, user) = (self.clone(), cx.clone(), user.cloned());
        StoreFuture::submit(async move {
            let mut later = Later::of(&this);
            let deleted = deleted.await;
            noted.await?;
            if deleted.is_err() {
                this.note_end(id, user.as_ref(), now, false).await?;
            }
            match deleted {
                Ok(false) if was_known => {
                    this.bury_missed(&cx, id, user.as_ref()).await;
                    later.is_told = true;
                    Ok(true)
                }
                Ok(was) => {
                    this.local().told_ending(id);
                    later.is_told = true;
                    Ok(was || was_known)
                }
                Err(error) if error.is_unavailable() => {
                    SessionFallback::Kept.note(&cx);
                    Ok(was_known)
                }
                Err(error) => Err(error),
            }
        })
    }

    fn bury(&self, cx: &Cx, id: SessionId, user: Option<&UserId>, lasting: Duration) -> StoreFuture<()> {
        let now = self.now(cx);
        self.local().end(id, user, now, true);
        let noted = self.note_end(id, user, now, true);
        let (this, user, buried) = (self.clone(), user.cloned(), self.0.store.bury(cx, id, user, lasting));
        StoreFuture::submit(async move {
            let mut later = Later::of(&this);
            let buried = buried.await;
            noted.await?;
            if buried.is_err() {
                this.note_end(id, user.as_ref(), now, false).await?;
            }
            buried?;
            this.local().told_ending(id);
            later.is_told = true;
            Ok(())
        })
    }

    fn restore(&self, cx: &Cx, record: &Record, cap: Option<NonZeroU32>) -> StoreFuture<Create> {
        self.0.store.restore(cx, record, cap)
    }

    fn logout(
        &self,
        cx: &Cx,
        id: SessionId,
        secret: &SecretHash,
        _: Option<Duration>,
    ) -> Option<StoreFuture<Option<Record>>> {
        Some(StoreFuture::submit(self.clone().end_by_secret(cx.clone(), id, *secret)))
    }

    fn tell_endings(&self, to: Endings) -> bool {
        self.0.store.tell_endings(to)
    }

    fn is_away(&self) -> bool {
        self.0.store.is_away()
    }

    fn has_lost_data(&self, cx: &Cx) -> StoreFuture<bool> {
        self.0.store.has_lost_data(cx)
    }

    /// Unavailable during an outage: what this instance knows is not the whole list.
    fn list(&self, cx: &Cx, user: &UserId) -> StoreFuture<Vec<Record>> {
        let (this, cx, user) = (self.clone(), cx.clone(), user.clone());
        StoreFuture::submit(async move {
            this.settle(&cx).await;
            let mut records = this.0.store.list(&cx, &user).await?;
            let local = this.local();
            records.retain(|record| !local.is_ended(record.id()) && !local.is_revoked(record));
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
        let now = self.now(cx);
        let known = self.local().revoke_all(user, except, lasting, now, true);
        let ended = || Ended::User { user: user.clone(), except, lasting };
        let matters = lasting.max(self.max_stale());
        let noted = self.0.config.journal.note(|| JournalEntry::new(ended(), now, matters));
        let revoked = self.0.store.revoke_all(cx, user, except, lasting);
        let (this, cx, user) = (self.clone(), cx.clone(), user.clone());
        StoreFuture::submit(async move {
            let mut later = Later::of(&this);
            let revoked = revoked.await;
            noted.await?;
            match revoked {
                Ok(ended) => {
                    this.local().told_revocation(&user, now, except);
                    let now = this.now(&cx);
                    for id in &ended {
                        this.local().end(*id, Some(&user), now, false);
                    }
                    let unlisted = known.iter().filter(|id| !ended.contains(id));
                    later.is_told = this.end_unlisted(&cx, &user, unlisted).await;
                    Ok(ended)
                }
                Err(error) if error.is_unavailable() => {
                    SessionFallback::Kept.note(&cx);
                    Ok(known)
                }
                Err(error) => Err(error),
            }
        })
    }
}
