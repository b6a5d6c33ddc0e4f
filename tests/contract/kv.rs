//! The contract of [`KvStore`], held by memory and Redis, and what [`Kv`] makes of it.

mod computing;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use towerkeep::{
    Cx,
    clock::{ManualClock, Timestamp, days, minutes, seconds},
    kv::{Kv, KvStore, MemoryKvStore, RedisKvStore},
    store::OutageSwitch,
};

use crate::support::{Monitor, RedisServer};

const START: Timestamp = Timestamp::from_micros(1_760_000_000_000_000);

/// A store, and how to let its time pass.
struct Subject<'s> {
    name: &'static str,
    store: Arc<dyn KvStore>,
    time: Time<'s>,
}

enum Time<'s> {
    Manual(ManualClock),
    /// A real server's: what is left of every key is shortened.
    Server(&'s RedisServer, Box<redis::aio::MultiplexedConnection>),
}

impl<'s> Subject<'s> {
    async fn all(server: &'s RedisServer) -> [Self; 2] {
        let clock = ManualClock::at(START);
        let memory = Arc::new(MemoryKvStore::new(clock.clock()));
        let redis = Arc::new(RedisKvStore::new(&server.patient_handle().await));
        [
            Self { name: "memory", store: memory, time: Time::Manual(clock) },
            Self { name: "redis", store: redis, time: Time::Server(server, Box::new(server.client().await)) },
        ]
    }

    fn kv(&self) -> Kv {
        Kv::new(Arc::clone(&self.store))
    }

    async fn pass(&self, time: Duration) {
        match &self.time {
            Time::Manual(clock) => clock.advance(time),
            Time::Server(server, client) => server.age(client, "tk:kv:*", time).await,
        }
    }
}

#[tokio::test]
async fn sets_gets_and_deletes() {
    let server = RedisServer::start();
    for subject in Subject::all(&server).await {
        let (kv, name) = (subject.kv(), subject.name);
        assert_eq!(kv.get::<u32>("a").await.expect("up"), None, "{name}");
        kv.set("a", &1, minutes(1)).await.expect("up");
        kv.set("a", &2, minutes(1)).await.expect("up");
        assert_eq!(kv.get::<u32>("a").await.expect("up"), Some(2), "{name}");
        assert!(!kv.set_if_absent("a", &3, minutes(1)).await.expect("up"), "{name}");
        assert!(kv.set_if_absent("b", "text", minutes(1)).await.expect("up"), "{name}");
        assert_eq!(kv.get::<String>("b").await.expect("up").as_deref(), Some("text"), "{name}");
        assert!(kv.delete("a").await.expect("up"), "{name}");
        assert!(!kv.delete("a").await.expect("up"), "{name}");
        assert_eq!(kv.get::<u32>("a").await.expect("up"), None, "{name}");
        assert!(kv.get::<u32>("b").await.expect_err("not a number").is_corrupt(), "{name}");
    }
}

#[tokio::test]
async fn what_cannot_work_is_refused_before_anything_is_asked() {
    let switch = OutageSwitch::default();
    switch.set(true);
    let kv = Kv::new(MemoryKvStore::new(ManualClock::at(START).clock()).outage(switch)).max_value(10);
    let long = "k".repeat(1_025);
    for key in ["", &long] {
        assert!(kv.set(key, &1, minutes(1)).await.expect_err("a key").is_invalid());
        assert!(kv.get::<u32>(key).await.expect_err("a key").is_invalid());
        assert!(kv.delete(key).await.expect_err("a key").is_invalid());
    }
    for ttl in [Duration::ZERO, Duration::from_millis(999), days(365) + Duration::from_nanos(1), Duration::MAX] {
        assert!(kv.set("a", &1, ttl).await.expect_err("a time").is_invalid(), "{ttl:?}");
        assert!(kv.set_if_absent("a", &1, ttl).await.expect_err("a time").is_invalid(), "{ttl:?}");
    }
    assert!(kv.set("a", "123456789", minutes(1)).await.expect_err("11 bytes").is_invalid());
    let odd = BTreeMap::from([((1, 2), 3)]);
    assert!(kv.set("a", &odd, minutes(1)).await.expect_err("no JSON").is_invalid());
    for (key, value, ttl) in [("a", "12345678", seconds(1)), (&long[1..], "", days(365))] {
        assert!(kv.set(key, value, ttl).await.expect_err("an outage").is_unavailable());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Save(u8, u8, u64),
    SaveIfAbsent(u8, u8, u64),
    Delete(u8),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ttl = 1..40_u64;
    let step = prop_oneof![
        3 => (0..5_u8, any::<u8>(), ttl.clone()).prop_map(|(key, value, ttl)| Step::Save(key, value, ttl)),
        3 => (0..5_u8, any::<u8>(), ttl).prop_map(|(key, value, ttl)| Step::SaveIfAbsent(key, value, ttl)),
        1 => (0..5_u8).prop_map(Step::Delete),
        2 => (1..30_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..40)
}

/// A value and the second at which it ends, by key.
#[derive(Default)]
struct Model {
    values: BTreeMap<u8, (u8, u64)>,
    now: u64,
}

impl Model {
    /// What a step answers, where it answers anything.
    fn step(&mut self, step: &Step) -> bool {
        let now = self.now;
        self.values.retain(|_, (_, ends)| now < *ends);
        match *step {
            Step::Save(key, value, ttl) => {
                self.values.insert(key, (value, now + ttl));
                true
            }
            Step::SaveIfAbsent(key, value, ttl) => {
                let is_absent = !self.values.contains_key(&key);
                self.values.entry(key).or_insert((value, now + ttl));
                is_absent
            }
            Step::Delete(key) => self.values.remove(&key).is_some(),
            Step::Pass(time) => {
                self.now += time;
                true
            }
        }
    }

    fn read(&self, key: u8) -> Option<Bytes> {
        let value = self.values.get(&key).filter(|(_, ends)| self.now < *ends);
        value.map(|(value, _)| Bytes::from(vec![*value]))
    }
}

async fn take(subject: &Subject<'_>, step: &Step) -> bool {
    let (cx, store) = (Cx::new(), Arc::clone(&subject.store));
    match *step {
        Step::Save(key, value, ttl) => {
            store.save(&cx, &key.to_string(), vec![value].into(), seconds(ttl)).await.map(|()| true).expect("up")
        }
        Step::SaveIfAbsent(key, value, ttl) => {
            store.save_if_absent(&cx, &key.to_string(), vec![value].into(), seconds(ttl)).await.expect("up")
        }
        Step::Delete(key) => store.delete(&cx, &key.to_string()).await.expect("up"),
        Step::Pass(time) => {
            subject.pass(seconds(time)).await;
            true
        }
    }
}

#[tokio::test]
async fn redis_and_memory_keep_values_as_a_map_with_ends_does() {
    let server = RedisServer::start();
    let mut runner = TestRunner::default();
    for _ in 0..25 {
        let steps = steps().new_tree(&mut runner).expect("a trace").current();
        server.flush().await;
        for subject in Subject::all(&server).await {
            let mut model = Model::default();
            for (n, step) in steps.iter().enumerate() {
                let expected = model.step(step);
                assert_eq!(take(&subject, step).await, expected, "{}, step {n} of {steps:#?}", subject.name);
                for key in 0..5 {
                    let found = subject.store.load(&Cx::new(), &key.to_string()).await.expect("up");
                    assert_eq!(found, model.read(key), "{}, key {key}, step {n} of {steps:#?}", subject.name);
                }
            }
        }
    }
}

#[tokio::test]
async fn values_are_plain_json_that_others_read_and_write() {
    let server = RedisServer::start();
    let kv = Kv::new(RedisKvStore::new(&server.patient_handle().await));
    let mut client = server.client().await;
    kv.set("a:b", &("x", 1), Duration::from_micros(1_000_500)).await.expect("up");
    let stored: String = redis::cmd("GET").arg("tk:kv:a%3ab").query_async(&mut client).await.expect("up");
    assert_eq!(stored, r#"["x",1]"#);
    let life: u64 = redis::cmd("PTTL").arg("tk:kv:a%3ab").query_async(&mut client).await.expect("it has a life");
    assert!(life <= 1_001, "{life}");
    redis::cmd("SET").arg("tk:kv:theirs").arg(" {\"n\": 5} ").exec_async(&mut client).await.expect("up");
    assert_eq!(kv.get::<BTreeMap<String, u8>>("theirs").await.expect("up"), Some([("n".into(), 5)].into()));
}

#[tokio::test]
async fn another_type_is_corrupt_and_can_be_replaced() {
    let server = RedisServer::start();
    let kv = Kv::new(RedisKvStore::new(&server.patient_handle().await));
    let mut client = server.client().await;
    for _ in 0..2 {
        redis::cmd("DEL").arg("tk:kv:a").exec_async(&mut client).await.expect("up");
        redis::cmd("RPUSH").arg("tk:kv:a").arg(1).exec_async(&mut client).await.expect("up");
        assert!(kv.get::<u8>("a").await.expect_err("a list").is_corrupt());
        assert!(!kv.set_if_absent("a", &1, minutes(1)).await.expect("it is taken"));
        let computed = kv.get_or_compute("a", minutes(1), async || Ok::<u8, towerkeep::Error>(7)).await;
        assert_eq!(computed.expect("replaced"), 7);
        assert_eq!(kv.get::<u8>("a").await.expect("a number now"), Some(7));
    }
    redis::cmd("SET").arg("tk:kv:b").arg("{").exec_async(&mut client).await.expect("up");
    assert!(kv.get::<u8>("b").await.expect_err("no JSON").is_corrupt());
    assert!(kv.delete("b").await.expect("up"));
}

#[tokio::test]
async fn a_verb_is_one_command() {
    let server = RedisServer::start();
    let kv = Kv::new(RedisKvStore::new(&server.patient_handle().await));
    let mut lines = Monitor::start(&server).await;
    kv.set("a", &1, minutes(1)).await.expect("up");
    kv.set_if_absent("a", &1, minutes(1)).await.expect("up");
    kv.get::<u8>("a").await.expect("up");
    kv.delete("a").await.expect("up");
    assert_eq!(lines.seen("tk:kv:").await, ["EVALSHA", "EVALSHA", "GET", "EVALSHA"]);
    let compute = async || Ok::<u8, towerkeep::Error>(1);
    kv.get_or_compute("a", minutes(1), compute).await.expect("up");
    assert_eq!(lines.seen("tk:kv:").await, ["GET", "EVALSHA"]);
    kv.get_or_compute("a", minutes(1), compute).await.expect("up");
    assert_eq!(lines.seen("tk:kv:").await, ["GET"]);
}

#[tokio::test]
async fn a_value_over_a_mebibyte_goes_its_own_way() {
    let server = RedisServer::start();
    let kv = Kv::new(RedisKvStore::new(&server.patient_handle().await)).max_value(8 * 1024 * 1024);
    let large = "x".repeat(3 * 1024 * 1024);
    kv.set("large", &large, minutes(1)).await.expect("up");
    assert_eq!(kv.get::<String>("large").await.expect("up"), Some(large));
}

#[tokio::test]
async fn handlers_get_the_handles_from_a_keep() {
    use axum::{Router, body::Body, http::Request, routing::get};
    use tower::ServiceExt as _;
    use towerkeep::{Keep, counter::Counter, counter::Counters, token::Tokens};

    async fn handler(counters: Counters, kv: Kv, tokens: Tokens) -> towerkeep::Result<()> {
        counters.incr(&Counter::of("calls", 1)).await?;
        kv.set("called", &true, minutes(1)).await?;
        tokens.redeem("call", "").await.map(drop)
    }
    let keep = Keep::in_memory();
    let router = Router::new().route("/", get(handler)).with_state(keep.clone());
    let answer = async || {
        let request = Request::get("/").body(Body::empty()).expect("a request");
        router.clone().oneshot(request).await.expect("infallible").status().as_u16()
    };
    assert_eq!(answer().await, 200);
    assert_eq!(keep.kv().get::<bool>("called").await.expect("up"), Some(true));
    keep.force_outage(true);
    assert_eq!(answer().await, 503);
}

#[tokio::test]
async fn an_outage_makes_every_verb_unavailable_but_one() {
    let server = RedisServer::start();
    let redis = server.patient_handle().await;
    let kv = Kv::new(RedisKvStore::new(&redis));
    kv.set("a", &1, minutes(1)).await.expect("up");
    redis.force_outage(true);
    assert!(kv.set("a", &2, minutes(1)).await.expect_err("an outage").is_unavailable());
    assert!(kv.set_if_absent("a", &2, minutes(1)).await.expect_err("an outage").is_unavailable());
    assert!(kv.get::<u8>("a").await.expect_err("an outage").is_unavailable());
    assert!(kv.delete("a").await.expect_err("an outage").is_unavailable());
    let computed = kv.get_or_compute("a", minutes(1), async || Ok::<u8, towerkeep::Error>(9)).await;
    assert_eq!(computed.expect("computed"), 9);
    redis.force_outage(false);
    assert!(redis.ready(seconds(10)).await);
    assert_eq!(kv.get::<u8>("a").await.expect("up"), Some(1));
}

#[test]
fn handles_are_fit_to_be_shared() {
    fn check<T: Send + Sync + Clone + 'static>() {}
    check::<Kv>();
    check::<MemoryKvStore>();
    check::<RedisKvStore>();
}
