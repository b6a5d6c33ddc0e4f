//! Outages: what is served, what is kept, what is merged, and that nothing ended comes back.

use std::time::Duration;

use towerkeep::{
    session::{SessionId, SessionOutage},
    store::OutageSwitch,
};

use super::*;
use crate::support::eventually;

/// Two instances before one store, each with its own view of an outage.
struct Instances {
    outages: [OutageSwitch; 2],
    stores: [FallbackSessionStore; 2],
    direct: MemorySessionStore,
}

impl Instances {
    fn new() -> Self {
        Self::with(&config())
    }

    fn with(config: &SessionConfig) -> Self {
        let direct = MemorySessionStore::new(ManualClock::at(START).clock());
        let outages = [OutageSwitch::default(), OutageSwitch::default()];
        let stores = [0, 1].map(|n| FallbackSessionStore::new(direct.clone().outage(outages[n].clone()), config));
        Self { outages, stores, direct }
    }

    fn a(&self) -> &FallbackSessionStore {
        &self.stores[0]
    }
}

async fn lives(store: &impl SessionStore, cx: &Cx, id: SessionId) -> bool {
    store.load(cx, id).await.expect("known").is_some()
}

#[tokio::test]
async fn serves_what_it_has_seen_and_says_of_the_rest_that_it_does_not_know() {
    let both = Instances::new();
    let (seen, unseen) = (anonymous(), anonymous());
    create(both.a(), &seen).await;
    create(&both.direct, &unseen).await;
    both.outages[0].set(true);
    assert!(lives(both.a(), &at(seconds(1)), seen.id()).await);
    assert!(both.a().load(&at(seconds(1)), unseen.id()).await.expect_err("never seen").is_unavailable());
    both.outages[0].set(false);
    assert!(lives(both.a(), &at(seconds(1)), unseen.id()).await);
}

#[tokio::test]
async fn copies_keep_to_their_deadlines() {
    let switch = OutageSwitch::default();
    let store = MemorySessionStore::new(ManualClock::at(START).clock()).outage(switch.clone());
    let store = FallbackSessionStore::new(store, &config().max_stale(minutes(50)));
    let (record, idle) = (anonymous(), testing::record(&config().idle(minutes(10)), START));
    create(&store, &record).await;
    create(&store, &idle).await;
    switch.set(true);
    assert!(lives(&store, &at(minutes(9)), idle.id()).await);
    assert!(store.load(&at(minutes(10)), idle.id()).await.is_err());
    assert!(store.touch(&at(minutes(40)), record.id(), 1).await.expect("known"));
    assert!(lives(&store, &at(minutes(49)), record.id()).await);
    assert!(store.load(&at(minutes(50)), record.id()).await.is_err()); // too stale
}

#[tokio::test]
async fn changes_and_logins_are_kept_and_merged() {
    let both = Instances::new();
    let (record, user) = (anonymous(), UserId::new(1));
    create(both.a(), &record).await;
    both.outages[0].set(true);
    let changed = with(&record, r#"{"a":1}"#);
    let login = testing::login(&changed, &user, &config(), START + seconds(2));
    for (next, over) in [(&changed, &record), (&login, &changed)] {
        let saved = both.a().save(&at(seconds(2)), next, over.stamp(), None).await.expect("kept");
        assert!(matches!(saved, Save::Saved));
    }
    let born = of(1, seconds(3));
    create(both.a(), &born).await;
    let mine = both.a().load(&at(seconds(4)), record.id()).await.expect("known").expect("its own change");
    assert_eq!(mine.encode(), login.encode());
    assert!(both.direct.list(&at(seconds(4)), &user).await.expect("up").is_empty());

    both.outages[0].set(false);
    assert_eq!(both.a().list(&at(seconds(5)), &user).await.expect("up").len(), 2);
    let merged = both.direct.load(&at(seconds(5)), record.id()).await.expect("up").expect("merged");
    assert_eq!(merged.encode(), login.encode());
    assert!(lives(&both.direct, &at(seconds(5)), born.id()).await);
}

/// Both instances change one session while the first is cut off; the two states, and what is stored in the end.
async fn both_change(ours: impl Fn(&Record) -> Record, theirs: impl Fn(&Record) -> Record) -> (Record, Record, Record) {
    let both = Instances::new();
    let record = with(&anonymous(), r#"{"a":1,"b":1}"#);
    create(both.a(), &record).await;
    both.outages[0].set(true);
    let (ours, theirs) = (ours(&record), theirs(&record));
    for (store, next) in [(both.a(), &ours), (&both.stores[1], &theirs)] {
        let saved = store.save(&at(seconds(1)), next, record.stamp(), None).await.expect("kept");
        assert!(matches!(saved, Save::Saved));
    }
    both.outages[0].set(false);
    let found = both.a().load(&at(seconds(2)), record.id()).await.expect("up").expect("it is there");
    let stored = both.direct.load(&at(seconds(2)), record.id()).await.expect("up").expect("it is there");
    assert_eq!(found.encode(), stored.encode());
    (ours, theirs, stored)
}

#[tokio::test]
async fn changes_of_a_session_that_others_changed_are_merged_value_by_value() {
    let ours = |record: &Record| with(record, r#"{"a":2,"ours":[1]}"#);
    let theirs = |record: &Record| with(record, r#"{"a":3,"b":3,"theirs":"x"}"#);
    let (_, theirs, stored) = both_change(ours, theirs).await;
    // Both changed `a`: ours is told later. We removed `b` and they changed it: it stays removed.
    assert_eq!(stored.data().as_json(), r#"{"a":2,"ours":[1],"theirs":"x"}"#);
    assert!(stored.stamp() > theirs.stamp());
}

#[tokio::test]
async fn a_merge_keeps_the_secret_that_the_others_renewed() {
    let ours = |record: &Record| with(record, r#"{"a":2,"b":1}"#);
    let (_, theirs, stored) = both_change(ours, |record| testing::renewal(record, START)).await;
    assert!(testing::secret(&stored).matches(&testing::secret(&theirs)));
    assert_eq!(stored.data().get::<u8>("a").expect("a number"), Some(2));
}

#[tokio::test]
async fn changes_of_before_a_login_elsewhere_are_dropped() {
    let ours = |record: &Record| with(record, r#"{"a":2}"#);
    let theirs = |record: &Record| testing::login(record, &UserId::new(1), &config(), START + seconds(1));
    let (_, theirs, stored) = both_change(ours, theirs).await;
    assert_eq!(stored.encode(), theirs.encode());
}

#[tokio::test]
async fn merged_values_keep_to_the_size() {
    let (switch, direct) = (OutageSwitch::default(), MemorySessionStore::new(ManualClock::at(START).clock()));
    let small = config().max_size(40);
    let store = FallbackSessionStore::new(direct.clone().outage(switch.clone()), &small);
    let record = anonymous();
    create(&store, &record).await;
    switch.set(true);
    let (ours, theirs) =
        (with(&record, r#"{"ours":"xxxxxxxxxxxxxx"}"#), with(&record, r#"{"theirs":"xxxxxxxxxxxxxx"}"#));
    for (store, next) in [(&store as &dyn SessionStore, &ours), (&direct, &theirs)] {
        let saved = store.save(&at(seconds(1)), next, record.stamp(), None).await.expect("kept");
        assert!(matches!(saved, Save::Saved));
    }
    switch.set(false);
    let found = store.load(&at(seconds(2)), record.id()).await.expect("up").expect("it is there");
    assert_eq!(found.encode(), theirs.encode());
}

#[tokio::test]
async fn what_is_served_without_the_store_is_the_applications_choice() {
    for (choice, serves, keeps) in [
        (SessionOutage::Serve, true, true),
        (SessionOutage::ReadOnly, true, false),
        (SessionOutage::Deny, false, false),
    ] {
        let (switch, direct) = (OutageSwitch::default(), MemorySessionStore::new(ManualClock::at(START).clock()));
        let store = FallbackSessionStore::new(direct.clone().outage(switch.clone()), &config().on_outage(choice));
        let (record, other) = (of(1, seconds(0)), of(1, seconds(0)));
        create(&store, &record).await;
        create(&store, &other).await;
        switch.set(true);
        assert_eq!(store.load(&at(seconds(1)), record.id()).await.is_ok(), serves, "{choice:?}");
        assert_eq!(store.touch(&at(seconds(1)), record.id(), 2).await.is_ok(), serves, "{choice:?}");
        let saved = store.save(&at(seconds(1)), &with(&record, "{}"), record.stamp(), None).await;
        assert_eq!(saved.is_ok(), keeps, "{choice:?}");
        assert_eq!(store.create(&at(seconds(1)), &of(1, seconds(1)), None).await.is_ok(), keeps, "{choice:?}");
        // A logout holds with each of them.
        let ended =
            store.logout(&at(seconds(2)), record.id(), &testing::secret(&record), None).expect("it has the verb");
        assert!(ended.await.expect("kept").is_some());
        assert!(store.delete(&at(seconds(2)), other.id(), other.user()).await.expect("kept"));
        assert!(!lives(&store, &at(seconds(3)), record.id()).await);
        switch.set(false);
        let left = store.list(&at(seconds(4)), &UserId::new(1)).await.expect("up");
        assert_eq!(left.len(), usize::from(keeps), "{choice:?}");
    }
}

#[tokio::test]
async fn a_logout_holds_at_once_and_after_the_outage() {
    let both = Instances::new();
    let record = of(1, seconds(0));
    create(both.a(), &record).await;
    assert!(lives(&both.stores[1], &at(seconds(1)), record.id()).await);
    both.outages[0].set(true);
    let changed = with(&record, r#"{"a":1}"#);
    let saved = both.a().save(&at(seconds(1)), &changed, record.stamp(), None).await.expect("kept");
    assert!(matches!(saved, Save::Saved));
    assert!(both.a().delete(&at(seconds(2)), record.id(), record.user()).await.expect("kept"));
    assert!(!lives(both.a(), &at(seconds(3)), record.id()).await);
    let late = both.a().save(&at(seconds(3)), &changed, record.stamp(), None).await.expect("known");
    assert!(matches!(late, Save::Gone));
    both.outages[0].set(false);
    assert!(!lives(both.a(), &at(seconds(4)), record.id()).await);
    let _ = both.a().list(&at(seconds(4)), &UserId::new(1)).await.expect("up"); // any verb tells the store
    assert!(!lives(&both.direct, &at(seconds(4)), record.id()).await);
    assert!(!lives(&both.stores[1], &at(seconds(4)), record.id()).await);
}

#[tokio::test]
async fn a_revocation_during_an_outage_ends_what_was_there_and_not_the_next_login() {
    let both = Instances::new();
    let (mine, elsewhere, later) = (of(1, seconds(0)), of(1, seconds(0)), of(1, seconds(9)));
    create(both.a(), &mine).await;
    create(&both.direct, &elsewhere).await;
    both.outages[0].set(true);
    let ended = both.a().revoke_all(&at(seconds(5)), &UserId::new(1), None, days(1)).await.expect("kept");
    assert_eq!(ended, [mine.id()]);
    create(&both.stores[1], &later).await;
    both.outages[0].set(false);
    let listed = both.a().list(&at(seconds(10)), &UserId::new(1)).await.expect("up");
    assert_eq!(listed.iter().map(Record::id).collect::<Vec<_>>(), [later.id()]);
}

#[tokio::test]
async fn logins_made_without_the_store_keep_to_the_cap_when_it_is_back() {
    let switch = OutageSwitch::default();
    let direct = MemorySessionStore::new(ManualClock::at(START).clock());
    let capped = config().max_per_user(NonZeroU32::new(2).expect("not zero"));
    let store = FallbackSessionStore::new(direct.clone().outage(switch.clone()), &capped);
    create(&store, &of(1, seconds(0))).await;
    switch.set(true);
    let logins: Vec<Record> = (1..5).map(|n| of(1, seconds(n))).collect();
    for record in &logins {
        create(&store, record).await;
    }
    switch.set(false);
    let mut listed = store.list(&at(seconds(9)), &UserId::new(1)).await.expect("up");
    listed.reverse();
    assert_eq!(listed.iter().map(Record::id).collect::<Vec<_>>(), [logins[2].id(), logins[3].id()]);
}

#[tokio::test]
async fn logins_over_sessions_of_before_the_outage_keep_to_the_cap_whoever_is_back_first() {
    for first in 0..2 {
        let both = Instances::with(&config().max_per_user(NonZeroU32::MIN));
        let mut logins = Vec::new();
        for (n, (store, outage)) in (1..).zip(both.stores.iter().zip(&both.outages)) {
            let before = anonymous();
            create(store, &before).await;
            outage.set(true);
            let login = testing::login(&before, &UserId::new(1), &config(), START + seconds(n));
            let saved = store.save(&at(seconds(n)), &login, before.stamp(), NonZeroU32::new(1)).await.expect("kept");
            assert!(matches!(saved, Save::Saved));
            logins.push(login.id());
        }
        for n in [first, 1 - first] {
            both.outages[n].set(false);
            let _ = both.stores[n].list(&at(seconds(9)), &UserId::new(1)).await.expect("up"); // any verb tells the store
        }
        let listed = both.direct.list(&at(seconds(9)), &UserId::new(1)).await.expect("up");
        assert_eq!(listed.iter().map(Record::id).collect::<Vec<_>>(), [logins[1]], "{first} was first");
    }
}

#[tokio::test]
async fn an_unread_session_is_ended_without_the_store_by_its_own_secret_only() {
    let both = Instances::new();
    let (record, unseen) = (of(1, seconds(0)), of(1, seconds(0)));
    create(both.a(), &record).await;
    create(&both.direct, &unseen).await;
    both.outages[0].set(true);
    let logout = async |of: &Record, secret: &Record| {
        both.a().logout(&at(seconds(1)), of.id(), &testing::secret(secret), None).expect("settled").await
    };
    assert!(logout(&record, &unseen).await.expect_err("not known to be its own").is_unavailable());
    assert!(logout(&unseen, &unseen).await.expect_err("never seen").is_unavailable());
    assert!(logout(&record, &record).await.expect("kept").is_some());
    assert!(!lives(both.a(), &at(seconds(2)), record.id()).await);
    both.outages[0].set(false);
    let _ = both.a().list(&at(seconds(3)), &UserId::new(1)).await.expect("up"); // any verb tells the store
    assert!(!lives(&both.direct, &at(seconds(3)), record.id()).await);
}

#[tokio::test]
async fn copies_are_bounded() {
    let switch = OutageSwitch::default();
    let store = MemorySessionStore::new(ManualClock::at(START).clock()).outage(switch.clone());
    let store = FallbackSessionStore::with_capacity(store, &config(), 8);
    let records: Vec<Record> = (0..20).map(|n| testing::record(&config(), START + seconds(n))).collect();
    for record in &records {
        create(&store, record).await;
    }
    switch.set(true);
    let mut served = 0;
    for record in &records {
        served += u32::from(store.load(&at(seconds(30)), record.id()).await.is_ok());
    }
    assert!((1..=8).contains(&served), "{served}");
    assert!(lives(&store, &at(seconds(30)), records[19].id()).await);
}

/// Redis with two instances before it, which can be killed and starts empty.
struct Fragile {
    server: RedisServer,
    redis: [Redis; 2],
    stores: [FallbackSessionStore; 2],
}

impl Fragile {
    async fn start() -> Self {
        Self::before(RedisServer::start()).await
    }

    async fn before(server: RedisServer) -> Self {
        let config = || RedisConfig::new(&server.user_url()).expect("a url").deadline(Duration::from_millis(250));
        let connect = || Redis::new(config()).expect("in a runtime");
        let redis = [connect(), connect()];
        let stores = [0, 1].map(|n| RedisSessionStore::with_fallback(&redis[n], &super::config()));
        let fragile = Self { server, redis, stores };
        fragile.wait_until(true).await;
        fragile
    }

    async fn wait_until(&self, up: bool) {
        for redis in &self.redis {
            eventually("the handle notices", async || redis.status().is_up() == up).await;
        }
    }

    async fn kill(&mut self) {
        self.server.kill();
        self.wait_until(false).await;
    }

    async fn launch(&mut self) {
        self.server.launch();
        self.wait_until(true).await;
    }

    async fn see(&self, record: &Record) {
        for store in &self.stores {
            assert!(lives(store, &Cx::new(), record.id()).await);
        }
    }
}

fn real() -> Timestamp {
    Clock::system().now()
}

fn login_now(user: u64) -> Record {
    testing::login(&testing::record(&config(), real()), &UserId::new(user), &config(), real())
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_gets_its_sessions_back() {
    let mut fragile = Fragile::start().await;
    let record = login_now(1);
    assert_eq!(fragile.stores[0].create(&Cx::new(), &record, None).await.expect("up"), Create::Created);
    fragile.kill().await;
    assert!(lives(&fragile.stores[0], &Cx::new(), record.id()).await);
    assert!(fragile.stores[1].load(&Cx::new(), record.id()).await.expect_err("never seen").is_unavailable());
    fragile.launch().await;
    for store in &fragile.stores {
        assert!(lives(store, &Cx::new(), record.id()).await);
        assert_eq!(store.list(&Cx::new(), &UserId::new(1)).await.expect("up").len(), 1);
    }
}

#[tokio::test]
async fn no_session_that_was_logged_out_comes_back_with_lost_data() {
    let mut fragile = Fragile::start().await;
    let (before, during, after, kept) = (login_now(1), login_now(1), login_now(1), login_now(1));
    let (cx, user) = (Cx::new(), UserId::new(1));
    for record in [&before, &during, &after, &kept] {
        assert_eq!(fragile.stores[0].create(&cx, record, None).await.expect("up"), Create::Created);
        fragile.see(record).await;
    }
    // Logged out on one instance just before the loss: the other one still has its copy.
    assert!(fragile.stores[0].delete(&cx, before.id(), Some(&user)).await.expect("up"));
    fragile.kill().await;
    assert!(fragile.stores[0].delete(&cx, during.id(), Some(&user)).await.expect("kept"));
    // The second instance stays away while the first recovers and logs somebody out.
    fragile.redis[1].force_outage(true);
    fragile.server.launch();
    eventually("the first instance is back", async || fragile.redis[0].status().is_up()).await;
    assert!(fragile.stores[0].delete(&cx, after.id(), Some(&user)).await.expect("up"));
    fragile.redis[1].force_outage(false);
    fragile.wait_until(true).await;
    for store in &fragile.stores {
        for ended in [&before, &during, &after] {
            assert!(!lives(store, &cx, ended.id()).await);
        }
        assert!(lives(store, &cx, kept.id()).await);
        let listed = store.list(&cx, &user).await.expect("up");
        assert_eq!(listed.iter().map(Record::id).collect::<Vec<_>>(), [kept.id()]);
    }
}

#[tokio::test]
async fn a_revocation_outlives_lost_data_and_spares_the_session_that_stays() {
    let mut fragile = Fragile::start().await;
    let (phone, laptop) = (login_now(1), login_now(1));
    let (cx, user) = (Cx::new(), UserId::new(1));
    for record in [&phone, &laptop] {
        assert_eq!(fragile.stores[0].create(&cx, record, None).await.expect("up"), Create::Created);
        fragile.see(record).await;
    }
    fragile.kill().await;
    let ended = fragile.stores[0].revoke_all(&cx, &user, Some(laptop.id()), days(1)).await.expect("kept");
    assert_eq!(ended, [phone.id()]);
    fragile.launch().await;
    for store in &fragile.stores {
        assert!(!lives(store, &cx, phone.id()).await);
        assert!(lives(store, &cx, laptop.id()).await);
    }
    let again = login_now(1);
    assert_eq!(fragile.stores[1].create(&cx, &again, None).await.expect("up"), Create::Created);
    fragile.see(&again).await;
}

#[tokio::test]
async fn an_outage_without_loss_writes_nothing_back() {
    let mut fragile = Fragile::start().await;
    let (cx, record) = (Cx::new(), login_now(1));
    assert_eq!(fragile.stores[0].create(&cx, &record, None).await.expect("up"), Create::Created);
    fragile.see(&record).await;
    fragile.server.freeze();
    // Something must be asked for a frozen server to be noticed.
    eventually("the outage is noticed", async || {
        let _ = fragile.stores[0].list(&cx, &UserId::new(9)).await;
        let _ = fragile.stores[1].list(&cx, &UserId::new(9)).await;
        fragile.redis.iter().all(|redis| !redis.status().is_up())
    })
    .await;
    let mut client = {
        fragile.server.thaw();
        fragile.server.client().await
    };
    let key = format!("tk:session:{}", record.id());
    let _: i64 = redis::cmd("DEL").arg(&key).query_async(&mut client).await.expect("up");
    fragile.wait_until(true).await;
    assert!(!lives(&fragile.stores[0], &cx, record.id()).await);
    assert!(!lives(&fragile.stores[1], &cx, record.id()).await);
    fragile.kill().await; // and it is not served from a copy any more
    assert!(fragile.stores[0].load(&cx, record.id()).await.is_err());
}

/// Emptied between the load and the logout of one request: the instance missed nothing, and the other one wrote the session back.
#[tokio::test]
async fn a_session_that_is_ended_just_after_it_was_lost_is_not_written_back() {
    let server = RedisServer::start();
    let mut client = server.client().await;
    // Data that was not lost lately: no mark is left by each logout.
    let () = redis::cmd("SET").arg("tk:session:epoch").arg("old:1").query_async(&mut client).await.expect("up");
    let fragile = Fragile::before(server).await;
    let (cx, user, ended, kept) = (Cx::new(), UserId::new(1), login_now(1), login_now(1));
    for record in [&ended, &kept] {
        assert_eq!(fragile.stores[0].create(&cx, record, None).await.expect("up"), Create::Created);
        fragile.see(record).await;
    }
    let () = redis::cmd("FLUSHALL").query_async(&mut client).await.expect("up");
    assert!(fragile.stores[0].delete(&cx, ended.id(), Some(&user)).await.expect("up"));
    eventually("the other instance hears of it, and writes back the rest", async || {
        let _served = fragile.stores[1].load(&cx, kept.id()).await;
        let listed = RedisSessionStore::new(&fragile.redis[1]).list(&cx, &user).await;
        let is_back = listed.is_ok_and(|listed| listed.iter().any(|record| record.id() == kept.id()));
        is_back && fragile.stores[1].load(&cx, ended.id()).await.is_ok_and(|found| found.is_none())
    })
    .await;
    fragile.wait_until(true).await;
    fragile.see(&kept).await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_in_an_outage_says_what_it_could_not_tell() {
    use std::{io::Seek, sync::Arc};
    let keep = towerkeep::Keep::in_memory();
    let seen = keep.sessions().issue(1).await.expect("up");
    keep.force_outage(true);
    let _login = keep.sessions().issue(2).await.expect("kept");
    assert!(keep.sessions().revoke(1, &seen.id()).await.expect("kept"));
    let begin = tokio::time::Instant::now();
    let file = Arc::new(tempfile::tempfile().expect("a file"));
    let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(Arc::clone(&file)).finish();
    {
        let _guard = tracing::subscriber::set_default(lines);
        tracing::callsite::rebuild_interest_cache();
        keep.shutdown(seconds(2)).await;
    }
    assert!(begin.elapsed() <= Duration::from_millis(2_100), "{:?}", begin.elapsed());
    (&*file).rewind().expect("a file");
    let told = std::io::read_to_string(&*file).expect("text");
    let lost: Vec<_> = told.lines().filter(|line| line.contains("was not told")).collect();
    assert_eq!(lost.len(), 1, "{told}");
    assert!(lost[0].contains("endings=1 changes=1 journal=false"), "{told}");
}
