//! The seam: what a place that keeps sessions must do.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::{Endings, Record, SecretHash, SessionId, Stamp};
use crate::{Cx, StoreFuture, UserId, clock::Clock, clock::Timestamp};

/// What became of [`SessionStore::save`].
#[derive(Clone, Debug)]
#[must_use]
pub enum Save {
    /// It is stored.
    Saved,
    /// Another state than the one named is stored: this one.
    Conflict(Box<Record>),
    /// There is no such session, or no longer; nothing was stored.
    Gone,
}

/// What became of [`SessionStore::create`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Create {
    /// It is stored.
    Created,
    /// A session of this id is there already; nothing was stored.
    Exists,
    /// All of the user's sessions were revoked meanwhile; nothing is left stored.
    Revoked,
}

/// Keeps sessions.
///
/// 1. One verb is one decision, made by the store alone: two callers never both win.
/// 2. An expired session is no session, whether or not it was removed yet. `Cx::at` sets the time for tests.
/// 3. **Not an error**: a session that is not there. Unavailable is the only error that callers live with; a
///    value that cannot be read is corrupt, and is left alone.
/// 4. A session with a user is in that user's index from before it is written, and the index holds nothing long
///    after it ended.
///
/// # When Redis is down
/// Every verb answers unavailable. What is served then is a decorator's part:
/// [`FallbackSessionStore`](super::FallbackSessionStore).
pub trait SessionStore: Send + Sync + 'static {
    /// The time that this store's deadlines are measured by.
    fn now(&self, cx: &Cx) -> Timestamp {
        cx.now().unwrap_or_else(|| Clock::system().now())
    }

    /// The session of `id`.
    fn load(&self, cx: &Cx, id: SessionId) -> StoreFuture<Option<Record>>;

    /// Stores a session that is not there yet. With a `cap`, ends the user's oldest logins beyond it: those of before, and
    /// never all of those that are made at once.
    fn create(&self, cx: &Cx, record: &Record, cap: Option<NonZeroU32>) -> StoreFuture<Create>;

    /// Replaces the state `over` of a session; never creates one.
    ///
    /// Where [`Record::logs_in_over`] says so, the session joins its user's index as in `create`, and a
    /// revocation of all the user's sessions meanwhile ends it: `Gone`.
    fn save(&self, cx: &Cx, record: &Record, over: Stamp, cap: Option<NonZeroU32>) -> StoreFuture<Save>;

    /// Marks a session as used now, if it is there and still in this generation; whether it was.
    fn touch(&self, cx: &Cx, id: SessionId, generation: u32) -> StoreFuture<bool>;

    /// Ends a session; whether there was one. `user` is whose index it is in, where that is known.
    fn delete(&self, cx: &Cx, id: SessionId, user: Option<&UserId>) -> StoreFuture<bool>;

    /// Ends the session that this secret opens, without a load before it; the session as it was.
    ///
    /// With a `mark` its id stays taken for so long, as by [`bury`](SessionStore::bury). A store that has no such verb
    /// answers nothing, as here, and is then asked to load and to delete.
    fn logout(
        &self,
        cx: &Cx,
        id: SessionId,
        secret: &SecretHash,
        mark: Option<Duration>,
    ) -> Option<StoreFuture<Option<Record>>> {
        let _ = (cx, id, secret, mark);
        None
    }

    /// From now on tells `to` of every session that ends, on this instance or another; whether it does.
    ///
    /// A store that hears nothing answers `false`, as here: whoever waits for an end then looks every 5 seconds.
    fn tell_endings(&self, to: Endings) -> bool {
        let _ = to;
        false
    }

    /// Whether the store is known to be away, without asking it: a fallback then spares the try to tell what was missed,
    /// because it will hear of the recovery. A store that has no such knowledge answers `false`, as here.
    fn is_away(&self) -> bool {
        false
    }

    /// Whether the data that this store has worked with is gone, though it answers: somebody emptied the server.
    ///
    /// Asked where a session is not there and was, and nobody told of its end. A store that answers `true` sees to it
    /// that what can be written back is. One that cannot lose its data answers `false`, as here.
    fn has_lost_data(&self, cx: &Cx) -> StoreFuture<bool> {
        let _ = cx;
        StoreFuture::ok(false)
    }

    /// A user's live sessions, the one that ends last first.
    fn list(&self, cx: &Cx, user: &UserId) -> StoreFuture<Vec<Record>>;

    /// Ends a session if it is this user's; whether it was.
    fn revoke(&self, cx: &Cx, user: &UserId, id: SessionId) -> StoreFuture<bool>;

    /// Ends all of a user's sessions but `except`, those being created now too; which ones it were.
    ///
    /// The revocation is remembered for `lasting`, the longest that any of the sessions could have lived.
    fn revoke_all(
        &self,
        cx: &Cx,
        user: &UserId,
        except: Option<SessionId>,
        lasting: Duration,
    ) -> StoreFuture<Vec<SessionId>>;

    /// Ends a session, whether or not it is there, and keeps its id taken for `lasting`, so that nobody writes it back.
    ///
    /// For a store that cannot lose its data, deleting is enough, as here.
    fn bury(&self, cx: &Cx, id: SessionId, user: Option<&UserId>, lasting: Duration) -> StoreFuture<()> {
        let _ = lasting;
        let deleted = self.delete(cx, id, user);
        StoreFuture::submit(async move { deleted.await.map(drop) })
    }

    /// Writes back a session that the store has lost; not one whose login was revoked since. With a `cap`, ends the
    /// user's oldest logins beyond it, this one if it is among them.
    fn restore(&self, cx: &Cx, record: &Record, cap: Option<NonZeroU32>) -> StoreFuture<Create> {
        self.create(cx, record, cap)
    }

    /// Remembers a revocation made at `at`, when the store could not be told: logins of before are not
    /// [restored](SessionStore::restore). Sessions that are there stay.
    fn revoke_before(
        &self,
        cx: &Cx,
        user: &UserId,
        at: Timestamp,
        except: Option<SessionId>,
        lasting: Duration,
    ) -> StoreFuture<()> {
        let _ = (cx, user, at, except, lasting);
        StoreFuture::ok(())
    }
}

const _: Option<&dyn SessionStore> = None;

impl<T: SessionStore + ?Sized> SessionStore for Arc<T> {
    fn now(&self, cx: &Cx) -> Timestamp {
        (**self).now(cx)
    }

    fn load(&self, cx: &Cx, id: SessionId) -> StoreFuture<Option<Record>> {
        (**self).load(cx, id)
    }

    fn create(&self, cx: &Cx, record: &Record, cap: Option<NonZeroU32>) -> StoreFuture<Create> {
        (**self).create(cx, record, cap)
    }

    fn save(&self, cx: &Cx, record: &Record, over: Stamp, cap: Option<NonZeroU32>) -> StoreFuture<Save> {
        (**self).save(cx, record, over, cap)
    }

    fn touch(&self, cx: &Cx, id: SessionId, generation: u32) -> StoreFuture<bool> {
        (**self).touch(cx, id, generation)
    }

    fn delete(&self, cx: &Cx, id: SessionId, user: Option<&UserId>) -> StoreFuture<bool> {
        (**self).delete(cx, id, user)
    }

    fn list(&self, cx: &Cx, user: &UserId) -> StoreFuture<Vec<Record>> {
        (**self).list(cx, user)
    }

    fn revoke(&self, cx: &Cx, user: &UserId, id: SessionId) -> StoreFuture<bool> {
        (**self).revoke(cx, user, id)
    }

    fn revoke_all(
        &self,
        cx: &Cx,
        user: &UserId,
        except: Option<SessionId>,
        lasting: Duration,
    ) -> StoreFuture<Vec<SessionId>> {
        (**self).revoke_all(cx, user, except, lasting)
    }

    fn bury(&self, cx: &Cx, id: SessionId, user: Option<&UserId>, lasting: Duration) -> StoreFuture<()> {
        (**self).bury(cx, id, user, lasting)
    }

    fn restore(&self, cx: &Cx, record: &Record, cap: Option<NonZeroU32>) -> StoreFuture<Create> {
        (**self).restore(cx, record, cap)
    }

    fn logout(
        &self,
        cx: &Cx,
        id: SessionId,
        secret: &SecretHash,
        mark: Option<Duration>,
    ) -> Option<StoreFuture<Option<Record>>> {
        (**self).logout(cx, id, secret, mark)
    }

    fn tell_endings(&self, to: Endings) -> bool {
        (**self).tell_endings(to)
    }

    fn is_away(&self) -> bool {
        (**self).is_away()
    }

    fn has_lost_data(&self, cx: &Cx) -> StoreFuture<bool> {
        (**self).has_lost_data(cx)
    }

    fn revoke_before(
        &self,
        cx: &Cx,
        user: &UserId,
        at: Timestamp,
        except: Option<SessionId>,
        lasting: Duration,
    ) -> StoreFuture<()> {
        (**self).revoke_before(cx, user, at, except, lasting)
    }
}
