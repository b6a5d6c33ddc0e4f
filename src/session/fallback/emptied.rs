//! A store that is emptied in use, and has its sessions written back while requests are under way.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
};

use super::*;
use crate::{
    clock::ManualClock,
    session::{Create, MemorySessionStore, replay::Data, testing},
    store::OutageSwitch,
};

const START: Timestamp = Timestamp::from_micros(1_900_000_000_000_000);

/// Misses a session once, and has it back by the next question.
#[derive(Clone)]
struct Emptied {
    store: MemorySessionStore,
    is_lost: OutageSwitch,
    comes_back: Arc<Mutex<Option<Record>>>,
}

impl Emptied {
    fn new() -> Self {
        let store = MemorySessionStore::new(ManualClock::at(START).clock());
        Self { store, is_lost: OutageSwitch::default(), comes_back: Arc::default() }
    }

    async fn lose(&self, record: &Record) {
        assert!(self.store.delete(&cx(), record.id(), None).await.expect("memory"));
    }

    /// Loses it until it was missed once.
    async fn lose_for_a_moment(&self, record: &Record) {
        self.lose(record).await;
        *self.comes_back.lock().expect("no panic while held") = Some(record.clone());
    }

    fn answer<T: Send + 'static>(&self, missing: T, verb: StoreFuture<T>) -> StoreFuture<T> {
        let Some(record) = self.comes_back.lock().expect("no panic while held").take() else { return verb };
        let store = self.store.clone();
        StoreFuture::submit(async move {
            assert_eq!(store.create(&cx(), &record, None).await?, Create::Created);
            Ok(missing)
        })
    }
}

impl SessionStore for Emptied {
    fn now(&self, cx: &Cx) -> Timestamp {
        self.store.now(cx)
    }
    fn load(&self, cx: &Cx, id: SessionId) -> StoreFuture<Option<Record>> {
        self.answer(None, self.store.load(cx, id))
    }
    fn create(&self, cx: &Cx, record: &Record, cap: Option<NonZeroU32>) -> StoreFuture<Create> {
        self.store.create(cx, record, cap)
    }
    fn save(&self, cx: &Cx, record: &Record, over: Stamp, cap: Option<NonZeroU32>) -> StoreFuture<Save> {
        self.answer(Save::Gone, self.store.save(cx, record, over, cap))
    }
    fn touch(&self, cx: &Cx, id: SessionId, generation: u32) -> StoreFuture<bool> {
        self.store.touch(cx, id, generation)
    }
    fn delete(&self, cx: &Cx, id: SessionId, user: Option<&UserId>) -> StoreFuture<bool> {
        self.store.delete(cx, id, user)
    }
    fn logout(
        &self,
        cx: &Cx,
        id: SessionId,
        secret: &SecretHash,
        mark: Option<Duration>,
    ) -> Option<StoreFuture<Option<Record>>> {
        self.store.logout(cx, id, secret, mark)
    }
    fn has_lost_data(&self, _: &Cx) -> StoreFuture<bool> {
        StoreFuture::ok(self.is_lost.is_on())
    }
    fn list(&self, cx: &Cx, user: &UserId) -> StoreFuture<Vec<Record>> {
        self.store.list(cx, user)
    }
    fn revoke(&self, cx: &Cx, user: &UserId, id: SessionId) -> StoreFuture<bool> {
        self.store.revoke(cx, user, id)
    }
    fn revoke_all(
        &self,
        cx: &Cx,
        user: &UserId,
        except: Option<SessionId>,
        lasting: Duration,
    ) -> StoreFuture<Vec<SessionId>> {
        self.store.revoke_all(cx, user, except, lasting)
    }
}

fn cx() -> Cx {
    Cx::new().at(START)
}

/// A session of user 1 behind a fallback.
async fn seen() -> (Emptied, FallbackSessionStore, Record) {
    let (emptied, config) = (Emptied::new(), SessionConfig::new());
    let store = FallbackSessionStore::new(emptied.clone(), &config);
    let record = testing::login(&testing::record(&config, START), &UserId::new(1), &config, START);
    assert_eq!(store.create(&cx(), &record, None).await.expect("up"), Create::Created);
    (emptied, store, record)
}

fn changed(record: &Record) -> Record {
    testing::change(record, crate::session::Data::from_json(r#"{"n":1}"#).expect("an object"), START)
}

#[tokio::test]
async fn a_session_that_is_back_by_the_second_look_was_never_gone() {
    let (emptied, store, record) = seen().await;
    emptied.lose_for_a_moment(&record).await;
    assert!(store.load(&cx(), record.id()).await.expect("up").is_some());

    emptied.lose_for_a_moment(&record).await;
    let saved = store.save(&cx(), &changed(&record), record.stamp(), None).await.expect("up");
    let Save::Conflict(stored) = saved else { panic!("to be tried again: {saved:?}") };
    let saved = store.save(&cx(), &changed(&record), stored.stamp(), None).await.expect("up");
    assert!(matches!(saved, Save::Saved), "{saved:?}");
}

#[tokio::test]
async fn a_logout_that_misses_a_session_ends_what_comes_back_meanwhile() {
    let (emptied, store, record) = seen().await;
    emptied.lose(&record).await;
    *emptied.comes_back.lock().expect("no panic while held") = Some(record.clone());
    let ended = store.logout(&cx(), record.id(), &testing::secret(&record), None).expect("a verb").await.expect("up");
    assert!(ended.is_some());
    assert!(emptied.store.load(&cx(), record.id()).await.expect("memory").is_none(), "written back, and ended again");
    assert!(store.load(&cx(), record.id()).await.expect("up").is_none());
}

#[tokio::test]
async fn what_is_lost_is_served_changed_and_written_back() {
    let (emptied, store, record) = seen().await;
    emptied.lose(&record).await;
    emptied.is_lost.set(true);
    assert!(store.load(&cx(), record.id()).await.expect("its copy").is_some());
    let next = changed(&record);
    let saved = store.save(&cx(), &next, record.stamp(), None).await.expect("kept");
    assert!(matches!(saved, Save::Saved), "{saved:?}");
    // A request before the recovery tells the store nothing, and drops nothing.
    assert_eq!(store.load(&cx(), record.id()).await.expect("its copy").expect("there").data(), next.data());
    store.replay(&emptied, &cx(), Data::Lost).await.expect("up");
    emptied.is_lost.set(false);
    let stored = emptied.store.load(&cx(), record.id()).await.expect("memory").expect("written back");
    assert_eq!(stored.data(), next.data());
}
