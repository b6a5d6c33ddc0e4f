//! Answers that are lost or late: what was done without anybody knowing comes out right.

use super::{
    faulty::{Faulty, START},
    *,
};
use crate::{
    clock::{ManualClock, days, minutes, seconds},
    session::{
        Create, Data as Values, MemorySessionStore,
        data::read,
        delta::{Delta, write},
        local::Pending,
        replay::Data,
        testing,
    },
    store::OutageSwitch,
};

pub(super) fn config() -> SessionConfig {
    SessionConfig::new().idle(minutes(60)).absolute(days(1))
}

pub(super) fn at(after: Duration) -> Cx {
    Cx::new().at(START + after)
}

pub(super) fn of(user: u64) -> Record {
    testing::login(&testing::record(&config(), START), &UserId::new(user), &config(), START)
}

pub(super) async fn create(store: &impl SessionStore, record: &Record) {
    assert_eq!(store.create(&at(seconds(0)), record, None).await.expect("kept"), Create::Created);
}

pub(super) async fn save(store: &impl SessionStore, next: &Record, over: &Record) {
    let saved = store.save(&at(seconds(1)), next, over.stamp(), None).await.expect("kept");
    assert!(matches!(saved, Save::Saved), "{saved:?}");
}

pub(super) fn logout(store: &impl SessionStore, record: &Record) -> StoreFuture<Option<Record>> {
    store.logout(&at(seconds(2)), record.id(), &testing::secret(record), None).expect("it has the verb")
}

#[tokio::test]
async fn a_logout_from_a_store_that_just_lost_its_data_is_a_logout() {
    let faulty = Faulty::new();
    let store = FallbackSessionStore::new(faulty.clone(), &config());
    let record = of(1);
    create(&store, &record).await;
    assert!(faulty.store.delete(&at(seconds(1)), record.id(), None).await.expect("memory"), "lost, and nobody knows");

    let _ = logout(&store, &record).await.expect("up");
    store.replay(&faulty, &at(seconds(3)), Data::Lost).await.expect("up");
    assert!(faulty.store.load(&at(seconds(4)), record.id()).await.expect("up").is_none());
    assert!(store.load(&at(seconds(4)), record.id()).await.expect("up").is_none());
}

#[tokio::test]
async fn an_old_secret_ends_neither_the_session_nor_its_later_copies() {
    let faulty = Faulty::new();
    let store = FallbackSessionStore::new(faulty.clone(), &config());
    let record = of(1);
    create(&store, &record).await;
    let elsewhere = testing::login(&record, &UserId::new(1), &config(), START + seconds(1));
    save(&faulty, &elsewhere, &record).await;

    assert!(logout(&store, &record).await.expect("up").is_none());
    assert!(store.load(&at(seconds(3)), record.id()).await.expect("up").is_some());
}

#[tokio::test]
async fn a_logout_that_nobody_waited_for_is_a_logout() {
    let faulty = Faulty::new();
    let store = FallbackSessionStore::new(faulty.clone(), &config());
    let record = of(1);
    create(&store, &record).await;
    faulty.hangs.set(true);
    drop(logout(&store, &record)); // the client has hung up
    faulty.hangs.set(false);
    store.replay(&faulty, &at(seconds(3)), Data::Lost).await.expect("up");
    assert!(faulty.store.load(&at(seconds(4)), record.id()).await.expect("up").is_none());
}

#[tokio::test]
async fn a_rotation_whose_answer_was_lost_keeps_the_changes_made_after_it() {
    let faulty = Faulty::new();
    let store = FallbackSessionStore::new(faulty.clone(), &config());
    let record = of(1);
    create(&store, &record).await;
    let rotated = testing::login(&record, &UserId::new(1), &config(), START + seconds(1));
    let changed = testing::change(&rotated, Values::from_json(r#"{"a":1}"#).expect("an object"), START + seconds(1));
    faulty.fails.set(true);
    save(&store, &rotated, &record).await;
    save(&store, &changed, &rotated).await;
    faulty.fails.set(false);
    let found = store.load(&at(seconds(2)), record.id()).await.expect("up").expect("it is there");
    assert_eq!(found.data().get::<u8>("a").expect("a number"), Some(1));
    assert!(testing::secret(&found).matches(&testing::secret(&rotated)));
}

#[tokio::test]
async fn a_revocation_that_the_store_does_not_know_holds_for_what_is_loaded() {
    let faulty = Faulty::new();
    let store = FallbackSessionStore::new(faulty.clone(), &config());
    let (unseen, kept) = (of(1), of(1));
    create(&faulty, &unseen).await;
    create(&faulty, &kept).await;
    faulty.refuses.set(true);
    let ended = store.revoke_all(&at(seconds(1)), &UserId::new(1), Some(kept.id()), days(1)).await.expect("kept");
    assert!(ended.is_empty(), "nothing was seen here: {ended:?}");
    assert!(store.load(&at(seconds(2)), unseen.id()).await.expect("up").is_none());
    assert!(store.load(&at(seconds(2)), kept.id()).await.expect("up").is_some());
    faulty.refuses.set(false);
    assert!(store.load(&at(seconds(3)), unseen.id()).await.expect("up").is_none());
    assert!(faulty.store.load(&at(seconds(3)), unseen.id()).await.expect("up").is_none(), "told");
}

#[tokio::test]
async fn sessions_that_begin_during_an_outage_are_bounded() {
    let outage = OutageSwitch::default();
    let store = MemorySessionStore::new(ManualClock::at(START).clock()).outage(outage.clone());
    let store = FallbackSessionStore::with_capacity(store, &config(), 8);
    let seen: Vec<_> = (0..8).map(|_| of(2)).collect();
    for record in &seen {
        assert_eq!(store.create(&at(seconds(0)), record, None).await.expect("up"), Create::Created);
    }
    outage.set(true);
    let mut kept = 0;
    for _ in 0..20 {
        kept += usize::from(store.create(&at(seconds(0)), &of(1), None).await.is_ok());
    }
    assert_eq!(kept, 8);
    for record in &seen {
        let served = store.load(&at(seconds(1)), record.id()).await.expect("no login pushes out what was seen before");
        assert!(served.is_some());
    }
    outage.set(false);
    assert_eq!(store.list(&at(seconds(1)), &UserId::new(1)).await.expect("up").len(), 8);
    assert_eq!(store.local().births(), 0);
}

#[tokio::test]
async fn what_ends_elsewhere_is_heard_of_once_and_drops_what_was_pending() {
    let outage = OutageSwitch::default();
    let store = MemorySessionStore::new(ManualClock::at(START).clock()).outage(outage.clone());
    let store = FallbackSessionStore::new(store, &config());
    let record = of(1);
    assert_eq!(store.create(&at(seconds(0)), &record, None).await.expect("up"), Create::Created);
    outage.set(true);
    assert!(store.load(&at(seconds(1)), record.id()).await.expect("served").is_some());
    store.heard_of_ending(record.id());
    store.heard_of_ending(record.id());
    assert!(store.load(&at(seconds(1)), record.id()).await.expect("ended").is_none());
    assert!(store.is_settled(), "the store knows");
}

#[tokio::test]
async fn after_a_gap_the_copies_of_what_is_gone_are_forgotten_and_no_others() {
    let outage = OutageSwitch::default();
    let memory = MemorySessionStore::new(ManualClock::at(START).clock());
    let store = FallbackSessionStore::new(memory.clone().outage(outage.clone()), &config());
    let records: Vec<_> = (0..200).map(|_| of(1)).collect();
    for record in &records {
        assert_eq!(store.create(&at(seconds(0)), record, None).await.expect("up"), Create::Created);
    }
    for record in &records[..100] {
        assert!(memory.delete(&at(seconds(0)), record.id(), None).await.expect("up"), "by another instance");
    }
    outage.set(true);
    store.look_again(&Cx::new()).await;
    assert!(store.load(&at(seconds(1)), records[0].id()).await.is_ok(), "an outage ends nothing");
    outage.set(false);
    store.look_again(&Cx::new()).await;
    outage.set(true);
    for (n, record) in records.iter().enumerate() {
        let served = store.load(&at(seconds(1)), record.id()).await;
        assert_eq!(served.is_ok(), n >= 100, "{n}: unknown, or the copy");
    }
}

#[tokio::test]
async fn after_a_gap_the_copies_are_what_others_stored_meanwhile() {
    let outage = OutageSwitch::default();
    let memory = MemorySessionStore::new(ManualClock::at(START).clock());
    let store = FallbackSessionStore::new(memory.clone().outage(outage.clone()), &config());
    let record = of(1);
    create(&store, &record).await;
    let renewed = testing::renewal(&record, START + seconds(1));
    save(&memory, &renewed, &record).await; // by another instance
    store.look_again(&Cx::new()).await;
    outage.set(true);
    let served = store.load(&at(seconds(2)), record.id()).await.expect("served").expect("it is there");
    assert!(testing::secret(&served).matches(&testing::secret(&renewed)));
}

/// One more of what is counted under `n`.
pub(super) fn one_more() -> Arc<Delta> {
    let add =
        |old: Option<&serde_json::value::RawValue>| write(&(old.map(read::<u64>).transpose()?.unwrap_or_default() + 1));
    let mut delta = Delta::default();
    delta.update("n", write(&1).expect("a number"), Arc::new(add));
    delta.name();
    Arc::new(delta)
}

pub(super) fn counted(record: &Record, changes: &Arc<Delta>) -> Record {
    record.changed(changes, START + seconds(1)).expect("a number").expect("it counts")
}

pub(super) async fn count_in(store: &impl SessionStore, id: SessionId) -> Option<u64> {
    let found = store.load(&at(seconds(2)), id).await.expect("up").expect("it is there");
    found.data().get("n").expect("a number")
}

#[tokio::test]
async fn an_update_whose_answer_was_lost_is_made_once_and_undoes_no_other() {
    let faulty = Faulty::new();
    let store = FallbackSessionStore::new(faulty.clone(), &config());
    let record = of(1);
    create(&store, &record).await;
    faulty.fails.set(true);
    let first = counted(&record, &one_more());
    save(&store, &first, &record).await;
    let second = counted(&first, &one_more());
    save(&store, &second, &first).await; // kept here only
    let stored = faulty.load(&at(seconds(1)), record.id()).await.expect("up").expect("the first was done");
    save(&faulty.store, &counted(&stored, &one_more()), &stored).await; // by another instance
    faulty.fails.set(false);
    assert_eq!(count_in(&store, record.id()).await, Some(3));
    assert_eq!(count_in(&faulty, record.id()).await, Some(3));
}

/// What is merged was made long before: its name was forgotten as soon as somebody else wrote the session.
#[tokio::test]
async fn an_old_update_that_is_merged_again_is_made_once() {
    let faulty = Faulty::new();
    let store = FallbackSessionStore::new(faulty.clone(), &config());
    let record = of(1);
    create(&store, &record).await;
    faulty.outage.set(true);
    save(&store, &counted(&record, &one_more()), &record).await;
    faulty.outage.set(false);
    faulty.fails.set(true);
    let cut_short = store.replay(&faulty, &at(minutes(10)), Data::Kept).await;
    assert!(cut_short.is_err(), "done, and nobody knows");
    faulty.fails.set(false);
    let stored = faulty.load(&at(minutes(10)), record.id()).await.expect("up").expect("the merge was done");
    let elsewhere = stored.changed(&one_more(), START + minutes(10)).expect("a number").expect("it counts");
    save(&faulty.store, &elsewhere, &stored).await;
    store.replay(&faulty, &at(minutes(11)), Data::Kept).await.expect("up");
    assert_eq!(count_in(&faulty, record.id()).await, Some(2));
}

#[tokio::test]
async fn updates_of_an_outage_are_added_to_those_of_other_instances() {
    let outage = OutageSwitch::default();
    let memory = MemorySessionStore::new(ManualClock::at(START).clock());
    let store = FallbackSessionStore::new(memory.clone().outage(outage.clone()), &config());
    let record = of(1);
    create(&store, &record).await;
    outage.set(true);
    let mut here = record.clone();
    for _ in 0..3 {
        let next = counted(&here, &one_more());
        save(&store, &next, &here).await;
        here = next;
    }
    let elsewhere = counted(&record, &one_more());
    save(&memory, &elsewhere, &record).await;
    outage.set(false);
    assert_eq!(count_in(&store, record.id()).await, Some(4));
    assert_eq!(count_in(&memory, record.id()).await, Some(4));
}

/// The later of two instances wrote its own state over that of the other, or dropped its changes for it.
#[tokio::test]
async fn updates_made_on_two_instances_without_a_store_survive_the_loss_of_its_data() {
    for first in 0..2 {
        let faulty = Faulty::new();
        let instances = [(); 2].map(|()| FallbackSessionStore::new(faulty.clone(), &config()));
        let record = of(1);
        create(&instances[0], &record).await;
        assert!(instances[1].load(&at(seconds(1)), record.id()).await.expect("up").is_some());
        faulty.fails.set(true);
        for (instance, updates) in instances.iter().zip(1..) {
            let mut here = record.clone();
            for _ in 0..updates {
                let next = counted(&here, &one_more());
                save(instance, &next, &here).await;
                here = next;
            }
        }
        faulty.fails.set(false);
        faulty.lose(&record).await;
        for instance in [&instances[first], &instances[1 - first]] {
            instance.replay(&faulty, &at(seconds(2)), Data::Lost).await.expect("up");
        }
        assert_eq!(count_in(&faulty, record.id()).await, Some(3), "instance {first} first");
    }
}

#[tokio::test]
async fn a_closure_that_panics_in_a_merge_drops_its_changes_and_nothing_else() {
    let outage = OutageSwitch::default();
    let memory = MemorySessionStore::new(ManualClock::at(START).clock());
    let store = FallbackSessionStore::new(memory.clone().outage(outage.clone()), &config());
    let (record, other) = (of(1), of(2));
    create(&store, &record).await;
    create(&store, &other).await;
    let mut delta = Delta::default();
    let only_once = AtomicBool::new(false);
    let replay = move |_: Option<&serde_json::value::RawValue>| {
        assert!(!only_once.swap(true, Relaxed), "run twice");
        write(&7)
    };
    delta.update("n", write(&7).expect("a number"), Arc::new(replay));
    delta.name();
    outage.set(true);
    save(&store, &counted(&record, &Arc::new(delta)), &record).await;
    save(&store, &counted(&other, &one_more()), &other).await;
    save(&memory, &counted(&record, &one_more()), &record).await; // by another instance
    outage.set(false);
    assert_eq!(count_in(&store, record.id()).await, Some(1));
    assert_eq!(count_in(&memory, other.id()).await, Some(1));
    assert!(store.is_settled());
}

#[tokio::test]
async fn a_renewal_that_an_outage_came_upon_keeps_the_updates_made_in_it() {
    use tower::{Layer, ServiceExt, service_fn};
    let outage = OutageSwitch::default();
    let memory = MemorySessionStore::new(ManualClock::at(START).clock());
    let config = config().renew_every(seconds(0));
    let store = FallbackSessionStore::new(memory.clone().outage(outage.clone()), &config);
    let sessions = crate::session::Sessions::new(store.clone()).config(config);
    let issued = sessions.issue(1).await.expect("up");
    let switch = outage.clone();
    let app = sessions.layer().layer(service_fn(move |request: http::Request<()>| {
        let switch = switch.clone();
        async move {
            let session = crate::session::Session::of(&request).expect("the layer is mounted");
            match request.uri().path() {
                "/count" => drop(session.update("n", |n: &mut u64| *n += 1).await?),
                _ => drop(session.user().await?),
            }
            switch.set(true);
            Ok::<_, Error>(http::Response::new(()))
        }
    }));
    let before = memory.load(&at(seconds(0)), issued.id()).await.expect("up").expect("issued");
    let mut cookie = issued.cookie();
    for (path, renews) in [("/read", true), ("/count", false)] {
        let request = http::Request::get(path).header("cookie", &cookie).body(()).expect("a request");
        let response = app.clone().oneshot(request).await.expect("kept");
        let set = response.headers().get("set-cookie").map(|set| set.to_str().expect("ASCII").to_owned());
        assert_eq!(set.is_some(), renews, "{path}");
        let pair = set.map(|set| set.split(';').next().expect("a pair").parse().expect("a header's value"));
        cookie = pair.unwrap_or(cookie);
    }
    save(&memory, &counted(&before, &one_more()), &before).await; // by another instance
    outage.set(false);
    assert_eq!(count_in(&store, issued.id()).await, Some(2));
}

#[tokio::test]
async fn a_save_that_is_tried_again_counts_once() {
    use tower::{Layer, ServiceExt, service_fn};
    let faulty = Faulty::new();
    let sessions = crate::session::Sessions::new(faulty.clone());
    let issued = sessions.issue(1).await.expect("up");
    let switch = faulty.fails.clone();
    let app = sessions.layer().layer(service_fn(move |request: http::Request<()>| {
        let switch = switch.clone();
        async move {
            let session = crate::session::Session::of(&request).expect("the layer is mounted");
            session.update("n", |n: &mut u64| *n += 1).await?;
            switch.set(true);
            assert!(session.save().await.is_err(), "done, and nobody knows");
            switch.set(false);
            session.update("n", |n: &mut u64| *n += 1).await?;
            Ok::<_, Error>(http::Response::new(()))
        }
    }));
    let request = http::Request::builder().header("cookie", issued.cookie()).body(()).expect("a request");
    app.oneshot(request).await.expect("up");
    assert_eq!(count_in(&faulty, issued.id()).await, Some(2));
}

#[tokio::test]
async fn an_id_that_is_taken_is_not_begun_again_in_an_outage() {
    let faulty = Faulty::new();
    let store = FallbackSessionStore::new(faulty.clone(), &config());
    let (seen, ended) = (of(1), of(1));
    create(&store, &seen).await;
    create(&store, &ended).await;
    assert!(store.delete(&at(seconds(0)), ended.id(), None).await.expect("up"));
    faulty.fails.set(true);
    let born = of(2);
    create(&store, &born).await;
    for taken in [&seen, &ended, &born] {
        assert_eq!(store.create(&at(seconds(0)), taken, None).await.expect("known"), Create::Exists);
    }
    assert_eq!(store.local().births(), 1);
}

/// How many changes, and how many bytes of values, are kept for the one session that has any.
fn kept_changes(store: &FallbackSessionStore) -> (usize, usize) {
    let changes = store.local().changes();
    let [(_, Pending::Over { changes, .. })] = &*changes else { panic!("of one session") };
    changes.as_ref().map_or((0, 0), |changes| (changes.len(), changes.weight()))
}

/// The `n`th change of a kind that piles up.
fn piling(kind: &str, n: usize) -> Arc<Delta> {
    let (mut delta, large) = (Delta::default(), "x".repeat(60_000));
    let (key, large) = (n.to_string(), write(&large).expect("text"));
    match kind {
        "update" => delta.update("n", large, Arc::new(|_| write(&1))),
        "insert and update" => {
            delta.insert(&key, large);
            delta.update(&key, write(&1).expect("a number"), Arc::new(|_| write(&1)));
        }
        _ if n.is_multiple_of(2) => delta.insert(&key, large),
        _ => delta.remove(&(n - 1).to_string()),
    }
    delta.name();
    Arc::new(delta)
}

#[tokio::test]
async fn the_changes_kept_for_a_session_are_bounded() {
    for kind in ["update", "insert and update", "insert and remove"] {
        let faulty = Faulty::new();
        let store = FallbackSessionStore::new(faulty.clone(), &config());
        let record = of(1);
        create(&store, &record).await;
        faulty.outage.set(true);
        let mut here = record.clone();
        for n in 0..1_000 {
            let data = Values::from_json(&format!("{{\"at\":{n}}}")).expect("an object");
            let next = Record { changes: Some(piling(kind, n)), ..here.next(data, START + seconds(1)) };
            save(&store, &next, &here).await;
            let (changes, bytes) = kept_changes(&store);
            assert!(changes <= 256 && bytes <= 128 * 1_024, "{kind}: {changes} changes, {bytes} bytes, after {n}");
            here = next;
        }
        faulty.outage.set(false);
        let found = store.load(&at(seconds(2)), record.id()).await.expect("up").expect("it is there");
        assert_eq!(found.data().get::<u64>("at").expect("a number"), Some(999), "{kind}: the values stand");
    }
}
