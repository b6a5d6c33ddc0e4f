//! The contract of `SessionStore`, held by memory and Redis alike.

mod commands_of_a_request;
mod cut_off;
mod fallback;
mod formats;
mod journal;
mod on_a_real_server;
mod over_http;
mod races;

use std::num::NonZeroU32;

use towerkeep::{
    Cx, UserId,
    clock::{Clock, ManualClock, Timestamp, days, hours, minutes, seconds},
    conn::{Redis, RedisConfig},
    session::{
        Create, Data, FallbackSessionStore, MemorySessionStore, Record, RedisSessionStore, Save, SessionConfig,
        SessionStore, testing,
    },
};

use crate::support::RedisServer;

/// Redis takes every time from here as its own; the server's real clock never matters.
const START: Timestamp = Timestamp::from_micros(1_900_000_000_000_000);

fn at(after: std::time::Duration) -> Cx {
    Cx::new().at(START + after)
}

fn config() -> SessionConfig {
    SessionConfig::new().idle(hours(1)).absolute(days(1))
}

/// A handle that does not give up on a server that shares its processor with other tests.
async fn connect(server: &RedisServer, deadline: std::time::Duration) -> Redis {
    let config = RedisConfig::new(&server.user_url()).expect("a url").deadline(deadline);
    let redis = Redis::new(config).expect("in a runtime");
    assert!(redis.ready(seconds(10)).await, "redis is not reached");
    redis
}

fn anonymous() -> Record {
    testing::record(&config(), START)
}

fn of(user: u64, after: std::time::Duration) -> Record {
    testing::login(&testing::record(&config(), START + after), &UserId::new(user), &config(), START + after)
}

fn with(record: &Record, json: &str) -> Record {
    testing::change(record, Data::from_json(json).expect("an object"), START)
}

/// Runs a check against each implementation.
macro_rules! contract {
    ($($name:ident)+) => {
        mod in_memory {
            use super::*;
            $(#[tokio::test] async fn $name() {
                let clock: Clock = ManualClock::at(START).clock();
                super::$name(&MemorySessionStore::new(clock)).await;
            })+
        }
        mod behind_a_fallback {
            use super::*;
            $(#[tokio::test] async fn $name() {
                let store = MemorySessionStore::new(ManualClock::at(START).clock());
                super::$name(&FallbackSessionStore::new(store, &config())).await;
            })+
        }
        mod in_redis_behind_a_fallback {
            use super::*;
            $(#[tokio::test] async fn $name() {
                let server = RedisServer::start();
                super::$name(&RedisSessionStore::with_fallback(&connect(&server, seconds(5)).await, &config())).await;
            })+
        }
        mod in_redis {
            use super::*;
            $(#[tokio::test] async fn $name() {
                let server = RedisServer::start();
                super::$name(&RedisSessionStore::new(&connect(&server, seconds(5)).await)).await;
            })+
        }
    };
}

contract! {
    keeps_what_was_created_and_nothing_else
    an_id_is_taken_once
    a_save_must_name_the_state_it_replaces
    a_save_never_creates
    a_session_ends_by_idleness_and_a_touch_prolongs_it
    no_touch_reaches_beyond_the_absolute_deadline
    a_touch_of_before_a_login_changes_nothing
    a_touch_is_no_conflict_for_a_save
    lists_a_users_live_sessions_newest_first
    a_login_by_save_joins_the_index
    nobody_revokes_anothers_session
    revokes_all_but_one
    a_cap_ends_the_oldest_live_session
    a_login_outlasts_older_ones_that_would_end_later
    of_concurrent_saves_one_wins_each_round
    a_logout_takes_the_secret_that_opens_the_session
    what_is_written_back_keeps_to_the_cap
}

async fn create(store: &impl SessionStore, record: &Record) {
    let after = record.last_seen().since(START);
    assert_eq!(store.create(&at(after), record, None).await.expect("up"), Create::Created);
}

async fn keeps_what_was_created_and_nothing_else(store: &impl SessionStore) {
    let (kept, other) = (with(&anonymous(), r#"{"a":[1,"é"]}"#), anonymous());
    create(store, &kept).await;
    let found = store.load(&at(seconds(1)), kept.id()).await.expect("up").expect("it is there");
    assert_eq!(found.encode(), kept.encode());
    assert!(store.load(&at(seconds(1)), other.id()).await.expect("up").is_none());
    assert!(store.delete(&at(seconds(1)), kept.id(), None).await.expect("up"));
    assert!(!store.delete(&at(seconds(1)), kept.id(), None).await.expect("up"));
    assert!(store.load(&at(seconds(1)), kept.id()).await.expect("up").is_none());
}

async fn an_id_is_taken_once(store: &impl SessionStore) {
    let first = of(1, seconds(0));
    create(store, &first).await;
    let second = with(&first, r#"{"mine":true}"#);
    assert_eq!(store.create(&at(seconds(0)), &second, None).await.expect("up"), Create::Exists);
    let found = store.load(&at(seconds(0)), first.id()).await.expect("up").expect("it is there");
    assert_eq!(found.encode(), first.encode());
}

async fn a_save_must_name_the_state_it_replaces(store: &impl SessionStore) {
    let first = anonymous();
    create(store, &first).await;
    let (a, b) = (with(&first, r#"{"a":1}"#), with(&first, r#"{"b":1}"#));
    assert!(matches!(store.save(&at(seconds(0)), &a, first.stamp(), None).await.expect("up"), Save::Saved));
    match store.save(&at(seconds(0)), &b, first.stamp(), None).await.expect("up") {
        Save::Conflict(stored) => assert_eq!(stored.encode(), a.encode()),
        other => panic!("{other:?}"),
    }
}

async fn a_save_never_creates(store: &impl SessionStore) {
    let record = anonymous();
    let next = with(&record, r#"{"a":1}"#);
    assert!(matches!(store.save(&at(seconds(0)), &next, record.stamp(), None).await.expect("up"), Save::Gone));
    create(store, &record).await;
    let late = store.save(&at(hours(1)), &next, record.stamp(), None).await.expect("up");
    assert!(matches!(late, Save::Gone), "{late:?}"); // expired, whether or not it was removed
    assert!(store.load(&at(hours(1)), record.id()).await.expect("up").is_none());
}

async fn a_session_ends_by_idleness_and_a_touch_prolongs_it(store: &impl SessionStore) {
    let record = anonymous();
    create(store, &record).await;
    assert!(store.touch(&at(minutes(30)), record.id(), record.stamp().generation).await.expect("up"));
    let found = store.load(&at(minutes(89)), record.id()).await.expect("up").expect("touched at 30 minutes");
    assert_eq!(found.last_seen(), START + minutes(30));
    assert!(store.load(&at(minutes(90)), record.id()).await.expect("up").is_none());
    assert!(!store.touch(&at(minutes(90)), record.id(), record.stamp().generation).await.expect("up"));
}

async fn no_touch_reaches_beyond_the_absolute_deadline(store: &impl SessionStore) {
    let record = anonymous();
    create(store, &record).await;
    for half_hours in 1..48 {
        let cx = at(minutes(30 * half_hours));
        assert!(store.touch(&cx, record.id(), record.stamp().generation).await.expect("up"));
    }
    assert!(store.load(&at(days(1) - seconds(1)), record.id()).await.expect("up").is_some());
    assert!(store.load(&at(days(1)), record.id()).await.expect("up").is_none());
}

async fn a_touch_of_before_a_login_changes_nothing(store: &impl SessionStore) {
    let record = anonymous();
    create(store, &record).await;
    let login = testing::login(&record, &UserId::new(1), &config(), START + seconds(1));
    let saved = store.save(&at(seconds(1)), &login, record.stamp(), None).await.expect("up");
    assert!(matches!(saved, Save::Saved));
    assert!(!store.touch(&at(minutes(9)), record.id(), record.stamp().generation).await.expect("up"));
    assert!(store.touch(&at(minutes(9)), record.id(), login.stamp().generation).await.expect("up"));
}

async fn a_touch_is_no_conflict_for_a_save(store: &impl SessionStore) {
    let record = anonymous();
    create(store, &record).await;
    assert!(store.touch(&at(minutes(9)), record.id(), record.stamp().generation).await.expect("up"));
    let saved = store.save(&at(minutes(9)), &with(&record, r#"{"a":1}"#), record.stamp(), None).await.expect("up");
    assert!(matches!(saved, Save::Saved));
}

async fn lists_a_users_live_sessions_newest_first(store: &impl SessionStore) {
    let user = UserId::new(1);
    let sessions = [of(1, seconds(0)), of(1, minutes(30)), of(1, minutes(40)), of(2, minutes(40))];
    for record in &sessions {
        create(store, record).await;
    }
    assert!(store.delete(&at(minutes(41)), sessions[1].id(), Some(&user)).await.expect("up"));
    let ids = async |cx: Cx| -> Vec<_> { store.list(&cx, &user).await.expect("up").iter().map(Record::id).collect() };
    assert_eq!(ids(at(minutes(41))).await, [sessions[2].id(), sessions[0].id()]);
    assert_eq!(ids(at(minutes(60))).await, [sessions[2].id()]); // the first one is idle for an hour
    assert!(store.list(&at(seconds(0)), &UserId::new(3)).await.expect("up").is_empty());
}

async fn a_login_by_save_joins_the_index(store: &impl SessionStore) {
    let (record, user) = (anonymous(), UserId::new("sessions:{x}"));
    create(store, &record).await;
    let login = testing::login(&record, &user, &config(), START + seconds(1));
    let saved = store.save(&at(seconds(1)), &login, record.stamp(), None).await.expect("up");
    assert!(matches!(saved, Save::Saved));
    let listed = store.list(&at(seconds(2)), &user).await.expect("up");
    assert_eq!(listed.iter().map(Record::id).collect::<Vec<_>>(), [record.id()]);
    assert!(store.revoke(&at(seconds(2)), &user, record.id()).await.expect("up"));
    let next = with(&login, "{}");
    let saved = store.save(&at(seconds(3)), &next, login.stamp(), None).await.expect("up");
    assert!(matches!(saved, Save::Gone));
}

async fn nobody_revokes_anothers_session(store: &impl SessionStore) {
    let (theirs, nobodys) = (of(1, seconds(0)), anonymous());
    create(store, &theirs).await;
    create(store, &nobodys).await;
    for id in [theirs.id(), nobodys.id(), anonymous().id()] {
        assert!(!store.revoke(&at(seconds(1)), &UserId::new(2), id).await.expect("up"));
    }
    assert!(store.load(&at(seconds(1)), theirs.id()).await.expect("up").is_some());
}

async fn revokes_all_but_one(store: &impl SessionStore) {
    let user = UserId::new(1);
    let sessions = [of(1, seconds(0)), of(1, seconds(1)), of(1, seconds(2)), of(2, seconds(2))];
    for record in &sessions {
        create(store, record).await;
    }
    let kept = Some(sessions[1].id());
    let mut ended = store.revoke_all(&at(seconds(3)), &user, kept, days(1)).await.expect("up");
    ended.sort();
    let mut expected = [sessions[0].id(), sessions[2].id()];
    expected.sort();
    assert_eq!(ended, expected);
    for (record, lives) in sessions.iter().zip([false, true, false, true]) {
        assert_eq!(store.load(&at(seconds(4)), record.id()).await.expect("up").is_some(), lives);
    }
    assert_eq!(store.revoke_all(&at(seconds(5)), &user, None, days(1)).await.expect("up"), [sessions[1].id()]);
    // A revocation is no ban: the next login stands.
    let again = of(1, seconds(6));
    create(store, &again).await;
    assert_eq!(store.list(&at(seconds(7)), &user).await.expect("up").len(), 1);
}

async fn a_cap_ends_the_oldest_live_session(store: &impl SessionStore) {
    let cap = NonZeroU32::new(2);
    let phone = of(1, minutes(0));
    create(store, &phone).await;
    for minute in [1, 2] {
        // Ended without a trace in the index being their own concern.
        let gone = of(1, minutes(minute));
        create(store, &gone).await;
        assert!(store.delete(&at(minutes(minute)), gone.id(), None).await.expect("up"));
    }
    let (laptop, tablet) = (of(1, minutes(3)), of(1, minutes(4)));
    for (record, phone_lives) in [(&laptop, true), (&tablet, false)] {
        let cx = at(record.last_seen().since(START));
        assert_eq!(store.create(&cx, record, cap).await.expect("up"), Create::Created);
        assert_eq!(store.load(&cx, phone.id()).await.expect("up").is_some(), phone_lives);
    }
    assert_eq!(store.list(&at(minutes(5)), &UserId::new(1)).await.expect("up").len(), 2);
}

async fn a_login_outlasts_older_ones_that_would_end_later(store: &impl SessionStore) {
    let (cap, user, longer) = (NonZeroU32::new(1), UserId::new(1), config().absolute(days(9)));
    let older = testing::login(&testing::record(&longer, START), &user, &longer, START);
    create(store, &older).await;
    let login = of(1, minutes(1));
    assert_eq!(store.create(&at(minutes(1)), &login, cap).await.expect("up"), Create::Created);
    let listed = store.list(&at(minutes(2)), &user).await.expect("up");
    assert_eq!(listed.iter().map(Record::id).collect::<Vec<_>>(), [login.id()]);
}

async fn of_concurrent_saves_one_wins_each_round(store: &impl SessionStore) {
    let record = anonymous();
    create(store, &record).await;
    let writers: Vec<Record> = (0..8).map(|n| with(&record, &format!("{{\"n\":{n}}}"))).collect();
    let saves: Vec<_> = writers.iter().map(|next| store.save(&at(seconds(1)), next, record.stamp(), None)).collect();
    let mut won = 0;
    for save in saves {
        won += u32::from(matches!(save.await.expect("up"), Save::Saved));
    }
    assert_eq!(won, 1);
}

async fn a_logout_takes_the_secret_that_opens_the_session(store: &impl SessionStore) {
    let logout = async |cx: Cx, of: &Record, secret: &Record| {
        let ended = store.logout(&cx, of.id(), &testing::secret(secret), None).expect("all of these have the verb");
        ended.await.expect("up").map(|record| record.encode())
    };
    let (record, other) = (of(1, seconds(0)), of(1, seconds(0)));
    create(store, &record).await;
    create(store, &other).await;
    assert_eq!(logout(at(seconds(1)), &record, &other).await, None);
    assert_eq!(logout(at(hours(1)), &record, &record).await, None); // expired
    assert_eq!(logout(at(seconds(1)), &record, &record).await, Some(record.encode()));
    assert_eq!(logout(at(seconds(1)), &record, &record).await, None);
    assert!(store.load(&at(seconds(2)), record.id()).await.expect("up").is_none());
    let listed = store.list(&at(seconds(2)), &UserId::new(1)).await.expect("up");
    assert_eq!(listed.iter().map(Record::id).collect::<Vec<_>>(), [other.id()]);

    // The secret of before a login ends nothing, that of before a renewal does for ten seconds.
    let rotated = testing::login(&other, &UserId::new(1), &config(), START + seconds(5));
    let renewed = testing::renewal(&rotated, START + seconds(5));
    for (next, over) in [(&rotated, &other), (&renewed, &rotated)] {
        let saved = store.save(&at(seconds(5)), next, over.stamp(), None).await.expect("up");
        assert!(matches!(saved, Save::Saved));
    }
    assert_eq!(logout(at(seconds(6)), &other, &other).await, None);
    assert_eq!(logout(at(seconds(15)), &other, &rotated).await, None);
    assert_eq!(logout(at(seconds(14)), &other, &rotated).await, Some(renewed.encode()));
}

async fn what_is_written_back_keeps_to_the_cap(store: &impl SessionStore) {
    let cap = NonZeroU32::new(2);
    let logins = [of(1, minutes(3)), of(1, minutes(1)), of(1, minutes(2))];
    for record in &logins {
        let _either = store.restore(&at(minutes(4)), record, cap).await.expect("up");
    }
    let listed = store.list(&at(minutes(4)), &UserId::new(1)).await.expect("up");
    assert_eq!(listed.iter().map(Record::id).collect::<Vec<_>>(), [logins[0].id(), logins[2].id()]);
    let oldest = of(1, minutes(0));
    let _either = store.restore(&at(minutes(4)), &oldest, cap).await.expect("up");
    assert!(store.load(&at(minutes(4)), oldest.id()).await.expect("up").is_none());
}
