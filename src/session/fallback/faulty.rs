//! The store that tests of the fallback break.

use std::{num::NonZeroU32, sync::Mutex};

use super::*;
use crate::{
    clock::ManualClock,
    session::{Create, MemorySessionStore},
    store::OutageSwitch,
};

pub(super) const START: Timestamp = Timestamp::from_micros(1_900_000_000_000_000);

/// A store that does what it is asked to, while its answers are lost on the way, or its sessions.
#[derive(Clone)]
pub(super) struct Faulty {
    pub(super) store: MemorySessionStore,
    /// Nothing is done.
    pub(super) outage: OutageSwitch,
    /// Writes are done and answered by an error.
    pub(super) fails: OutageSwitch,
    /// Writes are done and never answered.
    pub(super) hangs: OutageSwitch,
    /// Revocations are not done.
    pub(super) refuses: OutageSwitch,
    /// It says that its data is gone.
    pub(super) is_emptied: OutageSwitch,
    /// Missed by the next load or save, and there again after it.
    away: Arc<Mutex<Option<Record>>>,
    /// All is lost just before the next load.
    doomed: Arc<Mutex<Option<Record>>>,
    /// Of these sessions, and of their users, it holds values of another program.
    spoiled: Arc<Mutex<Vec<Record>>>,
    /// What happens just before the next creation or revocation.
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

type Meanwhile = Box<dyn FnOnce() -> StoreFuture<()> + Send>;

impl Faulty {
    pub(super) fn new() -> Self {
        let outage = OutageSwitch::default();
        Self {
            store: MemorySessionStore::new(ManualClock::at(START).clock()).outage(outage.clone()),
            outage,
            fails: OutageSwitch::default(),
            hangs: OutageSwitch::default(),
            refuses: OutageSwitch::default(),
            is_emptied: OutageSwitch::default(),
            away: Arc::default(),
            doomed: Arc::default(),
            spoiled: Arc::default(),
            meanwhile: Arc::default(),
        }
    }

    pub(super) async fn lose(&self, record: &Record) {
        assert!(self.store.delete(&Cx::new().at(START), record.id(), None).await.expect("memory"));
    }

    /// Loses it until it was missed once.
    pub(super) async fn lose_for_a_moment(&self, record: &Record) {
        self.lose(record).await;
        *self.away.lock().expect("no panic while held") = Some(record.clone());
    }

    /// Loses it, and says so, when it is looked for.
    pub(super) fn lose_when_asked(&self, record: &Record) {
        *self.doomed.lock().expect("no panic while held") = Some(record.clone());
    }

    pub(super) fn meanwhile(&self, meanwhile: impl FnOnce() -> StoreFuture<()> + Send + 'static) {
        *self.meanwhile.lock().expect("no panic while held") = Some(Box::new(meanwhile));
    }

    pub(super) fn spoil(&self, record: &Record) {
        self.spoiled.lock().expect("no panic while held").push(record.clone());
    }

    fn unless_spoiled<T: Send + 'static>(
        &self,
        is_it: impl Fn(&Record) -> bool,
        verb: impl FnOnce() -> StoreFuture<T>,
    ) -> StoreFuture<T> {
        let is_spoiled = self.spoiled.lock().expect("no panic while held").iter().any(is_it);
        if is_spoiled { StoreFuture::err(Error::corrupt("a value of another program")) } else { verb() }
    }

    fn unless_away<T: Send + 'static>(&self, missing: T, verb: StoreFuture<T>) -> StoreFuture<T> {
        let Some(record) = self.away.lock().expect("no panic while held").take() else { return verb };
        let store = self.store.clone();
        StoreFuture::submit(async move {
            assert_eq!(store.create(&Cx::new().at(START), &record, None).await?, Create::Created);
            Ok(missing)
        })
    }

    fn answer<T: Send + 'static>(&self, done: StoreFuture<T>) -> StoreFuture<T> {
        if self.hangs.check().is_err() {
            return StoreFuture::boxed(std::future::pending());
        }
        match self.fails.check() {
            Ok(()) => done,
            Err(error) => StoreFuture::err(error),
        }
    }
}

/// What a trip to a server costs the request that makes it, if there is one.
fn charged(cx: &Cx) -> Result<(), Error> {
    let is_spent = cx.allowance(Duration::MAX).is_zero();
    cx.charge(Duration::from_millis(1));
    if is_spent { Err(Error::unavailable("the request has spent its time")) } else { Ok(()) }
}

impl SessionStore for Faulty {
    fn now(&self, cx: &Cx) -> Timestamp {
        self.store.now(cx)
    }
    fn load(&self, cx: &Cx, id: SessionId) -> StoreFuture<Option<Record>> {
        if let Err(error) = charged(cx) {
            return StoreFuture::err(error);
        }
        let Some(doomed) = self.doomed.lock().expect("no panic while held").take() else {
            return self.unless_spoiled(|it| it.id() == id, || self.unless_away(None, self.store.load(cx, id)));
        };
        let this = self.clone();
        StoreFuture::submit(async move {
            this.lose(&doomed).await;
            this.is_emptied.set(true);
            Ok(None)
        })
    }
    fn create(&self, cx: &Cx, record: &Record, cap: Option<NonZeroU32>) -> StoreFuture<Create> {
        let Some(meanwhile) = self.meanwhile.lock().expect("no panic while held").take() else {
            return self
                .unless_spoiled(|it| it.id() == record.id(), || self.answer(self.store.create(cx, record, cap)));
        };
        let (this, cx, record) = (self.clone(), cx.clone(), record.clone());
        StoreFuture::boxed(async move {
            meanwhile().await?;
            this.store.create(&cx, &record, cap).await
        })
    }
    fn save(&self, cx: &Cx, record: &Record, over: Stamp, cap: Option<NonZeroU32>) -> StoreFuture<Save> {
        self.unless_spoiled(
            |it| it.id() == record.id(),
            || self.unless_away(Save::Gone, self.answer(self.store.save(cx, record, over, cap))),
        )
    }
    fn touch(&self, cx: &Cx, id: SessionId, generation: u32) -> StoreFuture<bool> {
        self.unless_spoiled(|it| it.id() == id, || self.store.touch(cx, id, generation))
    }
    fn delete(&self, cx: &Cx, id: SessionId, user: Option<&UserId>) -> StoreFuture<bool> {
        if let Err(error) = charged(cx) {
            return StoreFuture::err(error);
        }
        self.unless_spoiled(|it| it.id() == id, || self.answer(self.store.delete(cx, id, user)))
    }
    fn logout(
        &self,
        cx: &Cx,
        id: SessionId,
        secret: &SecretHash,
        mark: Option<Duration>,
    ) -> Option<StoreFuture<Option<Record>>> {
        self.store.logout(cx, id, secret, mark).map(|done| self.answer(done))
    }
    fn has_lost_data(&self, _: &Cx) -> StoreFuture<bool> {
        StoreFuture::ok(self.is_emptied.is_on())
    }
    fn list(&self, cx: &Cx, user: &UserId) -> StoreFuture<Vec<Record>> {
        self.store.list(cx, user)
    }
    fn revoke(&self, cx: &Cx, user: &UserId, id: SessionId) -> StoreFuture<bool> {
        self.answer(self.store.revoke(cx, user, id))
    }
    fn revoke_all(
        &self,
        cx: &Cx,
        user: &UserId,
        except: Option<SessionId>,
        lasting: Duration,
    ) -> StoreFuture<Vec<SessionId>> {
        match self.refuses.check() {
            Ok(()) => self.store.revoke_all(cx, user, except, lasting),
            Err(error) => StoreFuture::err(error),
        }
    }
    fn revoke_before(&self, _: &Cx, user: &UserId, _: Timestamp, _: Option<SessionId>, _: Duration) -> StoreFuture<()> {
        if let Some(meanwhile) = self.meanwhile.lock().expect("no panic while held").take() {
            return meanwhile();
        }
        self.unless_spoiled(
            |it| it.user() == Some(user),
            || self.refuses.check().map_or_else(StoreFuture::err, StoreFuture::ok),
        )
    }
}
