//! A store that is emptied in use, and has its sessions written back while requests are under way.

use super::{
    faulty::{Faulty, START},
    *,
};
use crate::session::{Create, replay::Data, testing};

fn cx() -> Cx {
    Cx::new().at(START)
}

/// A session of user 1 behind a fallback.
async fn seen() -> (Faulty, FallbackSessionStore, Record) {
    let (emptied, config) = (Faulty::new(), SessionConfig::new());
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
    emptied.lose_for_a_moment(&record).await;
    let ended = store.logout(&cx(), record.id(), &testing::secret(&record), None).expect("a verb").await.expect("up");
    assert!(ended.is_some());
    assert!(emptied.store.load(&cx(), record.id()).await.expect("memory").is_none(), "written back, and ended again");
    assert!(store.load(&cx(), record.id()).await.expect("up").is_none());
}

#[tokio::test]
async fn what_is_lost_is_served_changed_and_written_back() {
    let (emptied, store, record) = seen().await;
    emptied.lose(&record).await;
    emptied.is_emptied.set(true);
    assert!(store.load(&cx(), record.id()).await.expect("its copy").is_some());
    let next = changed(&record);
    let saved = store.save(&cx(), &next, record.stamp(), None).await.expect("kept");
    assert!(matches!(saved, Save::Saved), "{saved:?}");
    // A request before the recovery tells the store nothing, and drops nothing.
    assert_eq!(store.load(&cx(), record.id()).await.expect("its copy").expect("there").data(), next.data());
    store.replay(&emptied, &cx(), Data::Lost).await.expect("up");
    emptied.is_emptied.set(false);
    let stored = emptied.store.load(&cx(), record.id()).await.expect("memory").expect("written back");
    assert_eq!(stored.data(), next.data());
}

/// It was taken for one that had ended, and its copy was dropped: the only one, perhaps.
#[tokio::test]
async fn what_is_lost_again_while_it_is_written_back_is_written_back_again() {
    let (emptied, store, record) = seen().await;
    // Another instance has written it back.
    emptied.lose_when_asked(&record);
    let cut_short = store.replay(&emptied, &cx(), Data::Lost).await;
    assert!(cut_short.is_err_and(|error| error.is_unavailable()));
    emptied.is_emptied.set(false);
    store.replay(&emptied, &cx(), Data::Lost).await.expect("up");
    assert!(emptied.store.load(&cx(), record.id()).await.expect("memory").is_some());
}

/// The answer to a save came so late that an older copy was written back before it: the next request counted from that one.
#[tokio::test]
async fn what_was_saved_just_before_the_loss_is_not_older_after_it() {
    let (emptied, store, record) = seen().await;
    let next = changed(&record);
    let saved = store.save(&cx(), &next, record.stamp(), None).await.expect("up");
    assert!(matches!(saved, Save::Saved), "{saved:?}");
    emptied.lose(&record).await;
    assert_eq!(emptied.create(&cx(), &record, None).await.expect("memory"), Create::Created);
    assert_eq!(store.load(&cx(), record.id()).await.expect("up").expect("there").data(), next.data());
    let stored = emptied.store.load(&cx(), record.id()).await.expect("memory").expect("there");
    assert_eq!(stored.data(), next.data(), "written over what is older");
}

/// The state from before it was taken for a change that the store had yet to hear of, and made on top of what was saved later.
#[tokio::test]
async fn what_is_saved_while_an_older_copy_is_written_back_is_not_undone() {
    let (emptied, store, record) = seen().await;
    let (next, user) = (changed(&record), store.clone());
    let (sent, over) = (next.clone(), record.stamp());
    emptied.meanwhile(move || {
        StoreFuture::boxed(async move {
            user.save(&cx(), &sent, over, None).await.map(|saved| assert!(matches!(saved, Save::Saved)))
        })
    });
    store.replay(&emptied, &cx(), Data::Lost).await.expect("up");
    assert!(store.is_settled(), "nothing is left to be merged");
    let last = testing::change(&next, crate::session::Data::from_json(r#"{"n":2}"#).expect("an object"), START);
    assert!(matches!(store.save(&cx(), &last, next.stamp(), None).await.expect("up"), Save::Saved));
    assert_eq!(store.load(&cx(), record.id()).await.expect("up").expect("there").data(), last.data());
}
