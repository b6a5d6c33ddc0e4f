//! Random outages, crashes, losses of data, under way or not, and old snapshots over three instances with journals: what
//! was logged out stays so, and what was not is not lost. A failure prints its steps, and proptest keeps their seed.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    sync::Mutex,
};

use proptest::prelude::*;

use super::*;
use crate::{
    clock::{ManualClock, days, seconds},
    session::{Create, MemoryJournal, MemorySessionStore, replay::Data, testing},
    store::OutageSwitch,
};

const INSTANCES: usize = 3;
const START: Timestamp = Timestamp::from_micros(1_900_000_000_000_000);

/// What Redis does, with tombstones and an epoch, and it can lose everything.
#[derive(Clone)]
struct Server(Arc<Mutex<Stored>>);

struct Stored {
    sessions: MemorySessionStore,
    buried: HashSet<SessionId>,
    revoked: HashMap<UserId, Timestamp>,
    clock: ManualClock,
    epoch: (u32, Timestamp),
}

/// The server's data at some time.
struct Snapshot {
    kept: Vec<Record>,
    buried: HashSet<SessionId>,
    revoked: HashMap<UserId, Timestamp>,
    epoch: (u32, Timestamp),
}

impl Server {
    fn new(clock: &ManualClock) -> Self {
        let sessions = MemorySessionStore::new(clock.clock());
        let (buried, revoked, epoch) = (HashSet::new(), HashMap::new(), (0, clock.clock().now()));
        Self(Arc::new(Mutex::new(Stored { sessions, buried, revoked, clock: clock.clone(), epoch })))
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().expect("no panic while held")
    }

    /// What a snapshot of the data holds.
    async fn snapshot(&self, begun: &[Record]) -> Snapshot {
        let sessions = self.stored().sessions.clone();
        let mut kept = Vec::new();
        for record in begun {
            kept.extend(sessions.load(&Cx::new(), record.id()).await.expect("memory"));
        }
        let stored = self.stored();
        Snapshot { kept, buried: stored.buried.clone(), revoked: stored.revoked.clone(), epoch: stored.epoch }
    }

    async fn restore(&self, snapshot: &Snapshot) {
        let sessions = MemorySessionStore::new(self.stored().clock.clock());
        for record in &snapshot.kept {
            let _new = sessions.create(&Cx::new(), record, None).await.expect("memory");
        }
        let mut stored = self.stored();
        (stored.sessions, stored.epoch) = (sessions, snapshot.epoch);
        (stored.buried, stored.revoked) = (snapshot.buried.clone(), snapshot.revoked.clone());
    }

    fn lose_everything(&self) {
        let mut stored = self.stored();
        let now = stored.clock.clock().now();
        stored.sessions = MemorySessionStore::new(stored.clock.clock());
        stored.buried.clear();
        stored.revoked.clear();
        stored.epoch = (stored.epoch.0 + 1, now);
    }
}

/// One instance's way to the server, and which data it has worked with.
#[derive(Clone)]
struct Link(Server, OutageSwitch, Arc<Mutex<Option<Epoch>>>);

/// The number of the data, and when it began.
type Epoch = (u32, Timestamp);

impl Link {
    fn ask<T: Send + 'static>(
        &self,
        id: Option<SessionId>,
        taken: T,
        verb: impl FnOnce(&Stored) -> StoreFuture<T>,
    ) -> StoreFuture<T> {
        if let Err(error) = self.1.check() {
            return StoreFuture::err(error);
        }
        let stored = self.0.stored();
        if id.is_some_and(|id| stored.buried.contains(&id)) { StoreFuture::ok(taken) } else { verb(&stored) }
    }
}

impl Link {
    fn is_of_other_data(&self) -> bool {
        let current = self.0.stored().epoch;
        self.2.lock().expect("no panic while held").is_some_and(|known| known != current)
    }
}

impl SessionStore for Link {
    fn now(&self, cx: &Cx) -> Timestamp {
        self.0.stored().sessions.now(cx)
    }
    fn load(&self, cx: &Cx, id: SessionId) -> StoreFuture<Option<Record>> {
        self.ask(Some(id), None, |stored| stored.sessions.load(cx, id))
    }
    fn create(&self, cx: &Cx, record: &Record, cap: Option<NonZeroU32>) -> StoreFuture<Create> {
        self.ask(Some(record.id()), Create::Exists, |stored| stored.sessions.create(cx, record, cap))
    }
    fn save(&self, cx: &Cx, record: &Record, over: Stamp, cap: Option<NonZeroU32>) -> StoreFuture<Save> {
        self.ask(Some(record.id()), Save::Gone, |stored| stored.sessions.save(cx, record, over, cap))
    }
    fn touch(&self, cx: &Cx, id: SessionId, generation: u32) -> StoreFuture<bool> {
        self.ask(Some(id), false, |stored| stored.sessions.touch(cx, id, generation))
    }
    fn delete(&self, cx: &Cx, id: SessionId, user: Option<&UserId>) -> StoreFuture<bool> {
        self.ask(Some(id), false, |stored| stored.sessions.delete(cx, id, user))
    }
    fn logout(
        &self,
        cx: &Cx,
        id: SessionId,
        secret: &SecretHash,
        mark: Option<Duration>,
    ) -> Option<StoreFuture<Option<Record>>> {
        let ended =
            self.ask(Some(id), None, |stored| stored.sessions.logout(cx, id, secret, None).expect("memory has it"));
        let server = self.0.clone();
        Some(StoreFuture::submit(async move {
            let ended = ended.await?;
            if ended.is_some() && mark.is_some() {
                server.stored().buried.insert(id);
            }
            Ok(ended)
        }))
    }
    fn has_lost_data(&self, _: &Cx) -> StoreFuture<bool> {
        let known = *self.2.lock().expect("no panic while held");
        self.ask(None, false, |stored| StoreFuture::ok(known.is_some_and(|known| known != stored.epoch)))
    }
    fn list(&self, cx: &Cx, user: &UserId) -> StoreFuture<Vec<Record>> {
        self.ask(None, Vec::new(), |stored| stored.sessions.list(cx, user))
    }
    fn revoke(&self, cx: &Cx, user: &UserId, id: SessionId) -> StoreFuture<bool> {
        self.ask(Some(id), false, |stored| stored.sessions.revoke(cx, user, id))
    }
    fn revoke_all(
        &self,
        cx: &Cx,
        user: &UserId,
        except: Option<SessionId>,
        lasting: Duration,
    ) -> StoreFuture<Vec<SessionId>> {
        let now = self.now(cx);
        if !self.1.is_on() {
            self.0.stored().revoked.insert(user.clone(), now);
        }
        self.ask(None, Vec::new(), |stored| stored.sessions.revoke_all(cx, user, except, lasting))
    }
    fn bury(&self, cx: &Cx, id: SessionId, user: Option<&UserId>, _: Duration) -> StoreFuture<()> {
        let deleted = self.delete(cx, id, user);
        if !self.1.is_on() {
            self.0.stored().buried.insert(id);
        }
        StoreFuture::submit(async move { deleted.await.map(drop) })
    }
    fn restore(&self, cx: &Cx, record: &Record, cap: Option<NonZeroU32>) -> StoreFuture<Create> {
        let mark = record.user().and_then(|user| self.0.stored().revoked.get(user).copied());
        if mark.is_some_and(|mark| record.logged_in.is_some_and(|login| login <= mark)) {
            return StoreFuture::ok(Create::Revoked);
        }
        self.create(cx, record, cap)
    }
    fn revoke_before(
        &self,
        _: &Cx,
        user: &UserId,
        at: Timestamp,
        _: Option<SessionId>,
        _: Duration,
    ) -> StoreFuture<()> {
        if self.1.is_on() {
            return StoreFuture::err(Error::unavailable("an outage"));
        }
        let mut stored = self.0.stored();
        let mark = stored.revoked.entry(user.clone()).or_default();
        *mark = at.max(*mark);
        StoreFuture::ok(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Login(usize, u8),
    Read(usize, usize),
    Change(usize, usize),
    Rotate(usize, usize),
    Logout(usize, usize),
    RevokeAll(usize, u8),
    Down(usize),
    Up(usize),
    Lose,
    /// The same, and the server goes on: an instance knows when it misses something.
    Flush,
    /// An instance does not hear what ends elsewhere, until it looks.
    Gap(usize),
    /// The instance dies; what is left of it is its journal.
    Crash(usize),
    Snapshot,
    /// The server dies, and comes back with the data of the snapshot.
    Rewind,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (on, which) = (0..INSTANCES, 0..12usize);
    let step = prop_oneof![
        3 => (on.clone(), 0..3u8).prop_map(|(on, user)| Step::Login(on, user)),
        8 => (on.clone(), which.clone()).prop_map(|(on, which)| Step::Read(on, which)),
        3 => (on.clone(), which.clone()).prop_map(|(on, which)| Step::Change(on, which)),
        1 => (on.clone(), which.clone()).prop_map(|(on, which)| Step::Rotate(on, which)),
        3 => (on.clone(), which).prop_map(|(on, which)| Step::Logout(on, which)),
        1 => (on.clone(), 0..3u8).prop_map(|(on, user)| Step::RevokeAll(on, user)),
        2 => on.clone().prop_map(Step::Down),
        3 => on.clone().prop_map(Step::Up),
        1 => Just(Step::Lose),
        1 => Just(Step::Flush),
        1 => on.clone().prop_map(Step::Gap),
        1 => on.prop_map(Step::Crash),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Rewind),
    ];
    proptest::collection::vec(step, 1..60)
}

struct Instance {
    store: FallbackSessionStore,
    link: Link,
    journal: MemoryJournal,
    /// Whether it hears what ends elsewhere.
    listens: bool,
    /// What it has heard of: it may not serve them in any outage.
    heard: HashSet<SessionId>,
}

impl Instance {
    fn new(link: Link, journal: MemoryJournal) -> Self {
        let config = SessionConfig::new().journal(journal.clone());
        Self {
            store: FallbackSessionStore::new(link.clone(), &config),
            link,
            journal,
            listens: true,
            heard: HashSet::new(),
        }
    }
}

struct World {
    clock: ManualClock,
    server: Server,
    instances: Vec<Instance>,
    begun: Vec<Record>,
    /// Ended for good: by a logout, or by a revocation of a session that the instance had seen or could see.
    ended: HashSet<SessionId>,
    snapshot: Option<Snapshot>,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::at(START);
        let server = Server::new(&clock);
        let instance = |_| {
            let epoch = server.stored().epoch;
            let link = Link(server.clone(), OutageSwitch::default(), Arc::new(Mutex::new(Some(epoch))));
            let instance = Instance::new(link, MemoryJournal::default());
            instance.store.lost_at(epoch.1);
            instance
        };
        let instances = (0..INSTANCES).map(instance).collect();
        Self { clock, server, instances, begun: Vec::new(), ended: HashSet::new(), snapshot: None }
    }

    /// What the Redis handle does: recovery before anything else, or where the data turned out to be lost.
    async fn up(&mut self, on: usize) {
        let instance = &mut self.instances[on];
        let is_lost = instance.link.is_of_other_data();
        let was_down = instance.link.1.is_on();
        if was_down || is_lost {
            instance.link.1.set(false);
            let epoch = self.server.stored().epoch;
            instance.store.lost_at(epoch.1);
            let data = if is_lost { Data::Lost } else { Data::Unsure };
            // What is lost from here on would be lost again.
            let recovering = Link(instance.link.0.clone(), instance.link.1.clone(), Arc::new(Mutex::new(Some(epoch))));
            instance.store.replay(&recovering, &Cx::new(), data).await.expect("the server is up");
            *instance.link.2.lock().expect("no panic while held") = Some(epoch);
        }
        if was_down || !instance.listens {
            instance.store.look_again(&Cx::new()).await;
            instance.listens = true;
        }
    }

    /// The others hear of it that can.
    fn tell(&mut self, by: usize, ended: &[SessionId]) {
        if self.instances[by].link.1.is_on() {
            return;
        }
        for instance in self.instances.iter_mut().filter(|instance| !instance.link.1.is_on() && instance.listens) {
            ended.iter().for_each(|id| instance.store.heard_of_ending(*id));
            instance.heard.extend(ended);
        }
    }

    fn disconnect(&self) {
        self.instances.iter().for_each(|instance| instance.link.1.set(true));
    }

    async fn load(&self, on: usize, which: usize) -> Option<Record> {
        let id = self.begun.get(which)?.id();
        let loaded = self.instances[on].store.load(&Cx::new(), id).await.ok().flatten();
        assert!(loaded.is_none() || !self.instances[on].heard.contains(&id), "served, and heard to have ended");
        loaded
    }

    async fn step(&mut self, step: Step) {
        self.clock.advance(seconds(1));
        match step {
            Step::Down(on) => self.instances[on].link.1.set(true),
            Step::Up(on) => self.up(on).await,
            Step::Lose | Step::Flush | Step::Gap(_) | Step::Crash(_) | Step::Snapshot | Step::Rewind => {
                self.fail(step).await;
            }
            step => self.live(step).await,
        }
    }

    /// What users do.
    async fn live(&mut self, step: Step) {
        let (cx, now, config) = (Cx::new(), self.clock.clock().now(), SessionConfig::new());
        match step {
            Step::Login(on, user) => {
                let record = testing::login(&testing::record(&config, now), &UserId::new(user), &config, now);
                let created = self.instances[on].store.create(&cx, &record, None).await;
                assert_eq!(created.expect("kept"), Create::Created);
                self.begun.push(record);
            }
            Step::Read(on, which) => drop(self.load(on, which).await),
            Step::Change(on, which) | Step::Rotate(on, which) => {
                let Some(record) = self.load(on, which).await else { return };
                let text = format!("{{\"at\":{}}}", now.as_micros());
                let mut next = record.next(crate::session::Data::from_json(&text).expect("an object"), now);
                if matches!(step, Step::Rotate(..)) {
                    next.rotate(record.secret, now);
                }
                let _any = self.instances[on].store.save(&cx, &next, record.stamp(), None).await.expect("known");
            }
            Step::Logout(on, which) => {
                let Some(record) = self.load(on, which).await else { return };
                let store = &self.instances[on].store;
                match store.logout(&cx, record.id(), &record.secret, None) {
                    Some(ended) => assert!(ended.await.expect("kept").is_some()),
                    None => assert!(store.delete(&cx, record.id(), record.user()).await.expect("kept")),
                }
                self.ended.insert(record.id());
                self.tell(on, &[record.id()]);
            }
            Step::RevokeAll(on, user) => {
                let user = UserId::new(user);
                let ended = self.instances[on].store.revoke_all(&cx, &user, None, days(30)).await.expect("kept");
                self.ended.extend(&ended);
                self.tell(on, &ended);
            }
            _ => {}
        }
    }

    /// What befalls the server and the instances.
    async fn fail(&mut self, step: Step) {
        match step {
            Step::Lose => {
                self.disconnect();
                self.server.lose_everything();
            }
            Step::Flush => self.server.lose_everything(),
            Step::Gap(on) => self.instances[on].listens = false,
            Step::Crash(on) => {
                // It begins without a connection, and with nothing but its journal.
                let Instance { link, journal, .. } = &self.instances[on];
                let (link, journal) = (Link(link.0.clone(), OutageSwitch::default(), Arc::default()), journal.clone());
                link.1.set(true);
                self.instances[on] = Instance::new(link, journal);
            }
            Step::Snapshot => self.snapshot = Some(self.server.snapshot(&self.begun).await),
            Step::Rewind => {
                let Some(snapshot) = &self.snapshot else { return };
                self.disconnect();
                self.server.restore(snapshot).await;
            }
            _ => {}
        }
    }

    /// Where a connection is up and settled, no ended session is alive; nor is one anywhere when all are back.
    async fn finish(&mut self) {
        for on in 0..INSTANCES {
            self.up(on).await;
        }
        for record in &self.begun {
            let stored = self.server.stored().sessions.clone();
            let is_stored = stored.load(&Cx::new(), record.id()).await.expect("up").is_some();
            assert!(!(is_stored && self.ended.contains(&record.id())), "an ended session is alive in the store");
            for instance in &self.instances {
                let is_alive = instance.store.load(&Cx::new(), record.id()).await.expect("up").is_some();
                assert!(!(is_alive && self.ended.contains(&record.id())), "an ended session is alive");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    #[test]
    fn nothing_that_was_ended_comes_back(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                world.step(step).await;
            }
            world.finish().await;
        });
    }

    #[test]
    fn a_session_that_nobody_ended_survives_outages_and_one_loss(
        before in proptest::collection::vec(steps_of_life(), 1..20),
        during in proptest::collection::vec(steps_of_life(), 0..20),
        order in Just(vec![0, 1, 2]).prop_shuffle(),
        loss in prop_oneof![Just(Step::Lose), Just(Step::Flush)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = World::new();
            for step in before {
                world.step(step).await;
            }
            world.step(loss).await;
            for step in during {
                world.step(step).await;
            }
            for on in order {
                world.up(on).await;
            }
            for record in &world.begun {
                for instance in &world.instances {
                    let found = instance.store.load(&Cx::new(), record.id()).await.expect("up");
                    assert!(found.is_some(), "a session is lost");
                }
            }
        });
    }
}

fn steps_of_life() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..INSTANCES, 0..3u8).prop_map(|(on, user)| Step::Login(on, user)),
        (0..INSTANCES, 0..12usize).prop_map(|(on, which)| Step::Read(on, which)),
        (0..INSTANCES, 0..12usize).prop_map(|(on, which)| Step::Change(on, which)),
    ]
}
