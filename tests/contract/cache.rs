//! The contract of `CacheStore`, held by memory and Redis alike; then what only a real server shows.

mod cluster;
mod on_a_real_server;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use towerkeep::{
    Cx, Result,
    cache::{
        CacheStore, Entry, Lookup, MemoryCacheStore, Place, Purge, Purged, RedisCacheStore, ResponseCache, Stored, Tag,
        Tags, Ticket,
    },
    clock::{ManualClock, Timestamp, minutes, seconds},
    conn::{Redis, RedisConfig},
    store::OutageSwitch,
};

use crate::support::{RedisServer, eventually};

/// 2026-01-01 00:00:00 UTC.
const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// One store, and how to take it down.
struct World {
    store: Arc<dyn CacheStore>,
    cx: Cx,
    down: Box<dyn Fn(bool) + Send + Sync>,
}

impl World {
    fn memory() -> Self {
        let outage = OutageSwitch::default();
        let store = MemoryCacheStore::new(ManualClock::at(START).clock()).outage(outage.clone());
        Self { store: Arc::new(store), cx: Cx::new().at(START), down: Box::new(move |on| outage.set(on)) }
    }

    async fn redis(redis: &Redis) -> Self {
        let store = reached(redis).await;
        let redis = redis.clone();
        Self { store: Arc::new(store), cx: Cx::new().at(START), down: Box::new(move |on| redis.force_outage(on)) }
    }

    /// What is found; what is at hand without a lookup is the same, or nothing.
    async fn lookup(&self, place: &Place, request: &HeaderMap) -> Result<(Option<Arc<Entry>>, Ticket)> {
        let at_hand = self.store.recall(&self.cx, place, request);
        for _ in 0..3 {
            match self.store.lookup(&self.cx, place, request).await? {
                Lookup::Found(entry, ticket) => {
                    assert!(at_hand.is_none_or(|at_hand| at_hand == entry));
                    return Ok((Some(entry), ticket));
                }
                Lookup::Miss(ticket) => {
                    assert!(at_hand.is_none());
                    return Ok((None, ticket));
                }
                Lookup::Again => {}
            }
        }
        panic!("the store learns nothing from its lookups")
    }

    async fn find(&self, place: &Place, request: &HeaderMap) -> Option<Bytes> {
        self.lookup(place, request).await.expect("the store is up").0.map(|entry| entry.body.clone())
    }

    async fn ticket(&self, place: &Place, request: &HeaderMap) -> Ticket {
        self.lookup(place, request).await.expect("the store is up").1
    }

    async fn fill(&self, place: &Place, request: &HeaderMap, entry: Entry) -> Stored {
        let ticket = self.ticket(place, request).await;
        self.fill_with(place, &ticket, entry).await
    }

    async fn kept(&self, place: &Place, request: &HeaderMap, entry: Entry) {
        assert_eq!(self.fill(place, request, entry).await, Stored::Kept);
    }

    async fn fill_with(&self, place: &Place, ticket: &Ticket, mut entry: Entry) -> Stored {
        entry.stamp = ticket.stamp;
        self.store.store(&self.cx, place, ticket, Arc::new(entry)).await.expect("the store is up")
    }

    async fn purge(&self, purge: Purge) -> Purged {
        self.store.purge(&self.cx, purge).await.expect("purges are never lost")
    }

    async fn purge_tag(&self, tag: &str) -> Purged {
        self.purge(Purge::Tags(vec![Tag::from(tag)])).await
    }
}

/// A handle that forgives a busy machine: only the outage tests are about deadlines.
async fn patient(server: &RedisServer) -> Redis {
    let config = RedisConfig::new(&server.user_url()).expect("a valid url").deadline(seconds(2));
    let redis = Redis::new(config).expect("inside a runtime");
    assert!(redis.ready(seconds(10)).await, "redis was not reached");
    redis
}

/// A store that has heard of the purges in Redis.
async fn reached(redis: &Redis) -> RedisCacheStore {
    let store = RedisCacheStore::new(redis);
    eventually("the store answers", async || store.lookup(&Cx::new(), &place(255), &HeaderMap::new()).await.is_ok())
        .await;
    store
}

fn place(n: u8) -> Place {
    Place::new("demo", None, [n; 16])
}

fn entry(body: &'static str) -> Entry {
    let mut headers = HeaderMap::new();
    for value in ["1", "2"] {
        headers.append("x-twice", HeaderValue::from_static(value));
    }
    Entry {
        status: StatusCode::OK,
        headers,
        body: Bytes::from_static(body.as_bytes()),
        stored: START,
        initial_age: seconds(3),
        fresh_until: START + minutes(1),
        stale_until: START + minutes(2),
        refresh_until: START + minutes(1),
        kept_until: START + minutes(2),
        may_be_stale: true,
        has_validator: false,
        tags: Tags::new(&[Tag::from("all"), Tag::from(body)]),
        stamp: Ticket::default().stamp,
        variant: [0; 16],
    }
}

/// An entry chosen by `accept-language`, and the request that chooses it.
fn in_language(language: &'static str) -> (HeaderMap, Entry) {
    let request = HeaderMap::from_iter([(http::header::ACCEPT_LANGUAGE, HeaderValue::from_static(language))]);
    let mut entry = entry(language);
    entry.headers.insert("vary", HeaderValue::from_static("accept-language"));
    entry.variant = Entry::variant_of(&entry.headers, &request).expect("it names what chooses");
    (request, entry)
}

fn none() -> HeaderMap {
    HeaderMap::new()
}

async fn a_stored_response_comes_back_as_it_was(world: World) {
    assert_eq!(world.find(&place(1), &none()).await, None);
    world.kept(&place(1), &none(), entry("a")).await;
    let found = world.lookup(&place(1), &none()).await.expect("up").0.expect("stored");
    let expected = Entry { stamp: found.stamp, ..entry("a") };
    assert_eq!(*found, expected);
    assert_eq!(world.find(&place(2), &none()).await, None);
    let other = Place::new("demo", Some("7".into()), [1; 16]);
    assert_eq!(world.find(&other, &none()).await, None, "another partition");
}

async fn a_stale_response_is_still_answered(mut world: World) {
    world.kept(&place(1), &none(), entry("a")).await;
    world.cx = Cx::new().at(START + seconds(90));
    let found = world.lookup(&place(1), &none()).await.expect("up").0.expect("stored");
    assert!(!found.is_fresh(world.store.now(&world.cx)));
    assert_eq!(found.age(world.store.now(&world.cx)), seconds(93));
}

async fn a_second_fill_replaces_the_first(world: World) {
    world.kept(&place(1), &none(), entry("a")).await;
    world.kept(&place(1), &none(), entry("b")).await;
    assert_eq!(world.find(&place(1), &none()).await.as_deref(), Some(&b"b"[..]));
}

async fn a_purge_of_a_tag_takes_its_responses_only(world: World) {
    world.kept(&place(1), &none(), entry("a")).await;
    world.kept(&place(2), &none(), entry("b")).await;
    assert_eq!(world.purge_tag("a").await, Purged::Everywhere);
    assert_eq!(world.find(&place(1), &none()).await, None);
    assert!(world.find(&place(2), &none()).await.is_some());
    world.purge_tag("all").await;
    assert_eq!(world.find(&place(2), &none()).await, None);
    world.kept(&place(2), &none(), entry("c")).await;
    assert!(world.find(&place(2), &none()).await.is_some(), "what is filled after a purge is not purged by it");
}

async fn a_purge_during_a_fill_wins(world: World) {
    for purge in [Purge::Tags(vec![Tag::from("a")]), Purge::All, Purge::Places(vec![place(1)])] {
        let ticket = world.ticket(&place(1), &none()).await;
        world.purge(purge.clone()).await;
        let _ = world.fill_with(&place(1), &ticket, entry("a")).await;
        assert_eq!(world.find(&place(1), &none()).await, None, "{purge:?}");
    }
    world.kept(&place(1), &none(), entry("a")).await;
}

async fn a_purge_of_a_place_takes_all_of_it(world: World) {
    world.kept(&place(1), &none(), entry("a")).await;
    world.kept(&place(2), &none(), entry("b")).await;
    world.purge(Purge::Places(vec![place(1)])).await;
    assert_eq!(world.find(&place(1), &none()).await, None);
    assert!(world.find(&place(2), &none()).await.is_some());
}

/// What lies under a fixed key has the place's own tag, as the layer gives it.
async fn a_fixed_place_is_kept_and_purged_as_any_other(world: World) {
    let place = place(1).fixed(Some("demo:fixed"));
    let own = place.own_tag().expect("it is fixed");
    let entry = |body| Entry { tags: Tags::new(&[Tag::from(body), own.clone()]), ..entry(body) };
    world.kept(&place, &none(), entry("a")).await;
    assert_eq!(world.find(&place, &none()).await.as_deref(), Some(&b"a"[..]));
    world.kept(&place, &none(), entry("b")).await;
    assert_eq!(world.find(&place, &none()).await.as_deref(), Some(&b"b"[..]));
    for purge in [Purge::Places(vec![place.clone()]), Purge::Tags(vec![Tag::from("b")]), Purge::All] {
        world.kept(&place, &none(), entry("b")).await;
        let ticket = world.ticket(&place, &none()).await;
        assert_eq!(world.purge(purge.clone()).await, Purged::Everywhere);
        assert_eq!(world.find(&place, &none()).await, None, "{purge:?}");
        let _ = world.fill_with(&place, &ticket, entry("b")).await;
        assert_eq!(world.find(&place, &none()).await, None, "a purge during a fill wins: {purge:?}");
    }
}

async fn a_purge_of_everything_takes_everything(world: World) {
    world.kept(&place(1), &none(), entry("a")).await;
    world.purge(Purge::All).await;
    assert_eq!(world.find(&place(1), &none()).await, None);
    world.kept(&place(1), &none(), entry("a")).await;
    assert!(world.find(&place(1), &none()).await.is_some());
}

async fn variants_lie_beside_each_other(world: World) {
    let languages = ["de", "en", "fr"].map(in_language);
    for (request, entry) in &languages {
        world.kept(&place(1), request, entry.clone()).await;
    }
    for (request, entry) in &languages {
        assert_eq!(world.find(&place(1), request).await.as_ref(), Some(&entry.body));
    }
    assert_eq!(world.find(&place(1), &none()).await, None);
    world.purge(Purge::Places(vec![place(1)])).await;
    for (request, _) in &languages {
        assert_eq!(world.find(&place(1), request).await, None);
    }
}

async fn a_response_that_chooses_by_other_fields_replaces_all_variants(world: World) {
    let (request, german) = in_language("de");
    world.kept(&place(1), &request, german).await;
    world.kept(&place(1), &request, entry("for all")).await;
    assert_eq!(world.find(&place(1), &none()).await.as_deref(), Some(&b"for all"[..]));
    assert_eq!(world.find(&place(1), &request).await.as_deref(), Some(&b"for all"[..]));
}

async fn when_down_lookups_are_unavailable_and_purges_count_afterwards(world: World) {
    world.kept(&place(1), &none(), entry("a")).await;
    world.kept(&place(2), &none(), entry("b")).await;
    world.kept(&place(3), &none(), entry("c")).await;
    let ticket = world.ticket(&place(1), &none()).await;
    (world.down)(true);
    assert!(world.store.recall(&world.cx, &place(1), &none()).is_none());
    assert!(world.store.lookup(&world.cx, &place(1), &none()).await.is_err_and(|error| error.is_unavailable()));
    let late = Arc::new(Entry { stamp: ticket.stamp, ..entry("late") });
    assert!(world.store.store(&world.cx, &place(1), &ticket, late).await.is_err_and(|error| error.is_unavailable()));
    assert_eq!(world.purge_tag("a").await, Purged::Pending);
    assert_eq!(world.purge(Purge::Places(vec![place(2)])).await, Purged::Pending);
    (world.down)(false);
    eventually("the store answers again", async || world.store.lookup(&world.cx, &place(9), &none()).await.is_ok())
        .await;
    assert_eq!(world.find(&place(1), &none()).await, None);
    assert_eq!(world.find(&place(2), &none()).await, None);
    assert!(world.find(&place(3), &none()).await.is_some());
}

macro_rules! contract {
    ($($rule:ident)+) => {
        mod memory {
            $(#[tokio::test] async fn $rule() { super::$rule(super::World::memory()).await; })+
        }
        mod redis {
            $(#[tokio::test] async fn $rule() {
                let server = crate::support::RedisServer::start();
                let redis = super::patient(&server).await;
                super::$rule(super::World::redis(&redis).await).await;
            })+
        }
    };
}

contract! {
    a_stored_response_comes_back_as_it_was
    a_stale_response_is_still_answered
    a_second_fill_replaces_the_first
    a_purge_of_a_tag_takes_its_responses_only
    a_purge_during_a_fill_wins
    a_purge_of_a_place_takes_all_of_it
    a_purge_of_everything_takes_everything
    a_fixed_place_is_kept_and_purged_as_any_other
    variants_lie_beside_each_other
    a_response_that_chooses_by_other_fields_replaces_all_variants
    when_down_lookups_are_unavailable_and_purges_count_afterwards
}

#[tokio::test]
async fn memory_is_bounded_by_bytes() {
    let store = MemoryCacheStore::new(ManualClock::at(START).clock()).max_bytes(100_000);
    let world = World { store: Arc::new(store.clone()), cx: Cx::new().at(START), down: Box::new(|_| ()) };
    for n in 0..100 {
        world.kept(&place(n), &none(), Entry { body: vec![n; 10_000].into(), ..entry("x") }).await;
    }
    let mut kept = 0;
    for n in 0..100 {
        kept += u32::from(world.find(&place(n), &none()).await.is_some());
    }
    assert!((1..=10).contains(&kept), "{kept} of 10,000 bytes each");
}

// What only a real server shows.

#[test]
fn stores_are_clone_send_sync_and_static() {
    fn check<T: CacheStore + Clone + std::fmt::Debug>() {}
    check::<MemoryCacheStore>();
    check::<RedisCacheStore>();
}
