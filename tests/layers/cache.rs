//! The layer's own rules, through mocked services.

mod bodies;
mod fixed;
mod hosts;
mod partitions;
mod purges;
mod ranges;
mod stale;
mod table;
mod together;
mod validation;

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use tower::{Layer, Service, ServiceExt, service_fn};
use towerkeep::{
    Identify, Identity, Key, Principal, StoreFuture,
    cache::{
        CacheHint, CacheLayer, CacheOutcome, CachePolicy, CacheService, MemoryCacheStore, ResponseBody, ResponseCache,
        ResponseFuture,
    },
    clock::{ManualClock, Timestamp, minutes, seconds},
    store::OutageSwitch,
};

/// 2026-01-01 00:00:00 UTC.
const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

struct World {
    clock: ManualClock,
    outage: OutageSwitch,
    cache: ResponseCache,
    calls: Arc<AtomicU32>,
}

struct Said {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Said {
    fn cache(&self) -> &str {
        self.header("cache-status").unwrap_or("none")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("visible ascii"))
    }

    fn is_hit(&self) -> bool {
        self.cache().starts_with("towerkeep; hit")
    }
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::at(START);
        let outage = OutageSwitch::default();
        let cache = ResponseCache::new(MemoryCacheStore::new(clock.clock()).outage(outage.clone()));
        Self { clock, outage, cache, calls: Arc::default() }
    }

    fn public(&self) -> CacheLayer {
        self.cache.public("demo").ttl(minutes(1))
    }

    fn calls(&self) -> u32 {
        self.calls.load(Relaxed)
    }

    /// Asks a handler that answers with `lines`, `call n` as its body, through `layer`.
    async fn ask(&self, layer: &CacheLayer, request: Request<()>, lines: &'static [(&str, &str)]) -> Said {
        let calls = Arc::clone(&self.calls);
        let handler = move |_: Request<()>| {
            let call = calls.fetch_add(1, Relaxed) + 1;
            let mut response = Response::new(Full::from(format!("call {call}")));
            for (name, value) in lines {
                if *name == ":status" {
                    *response.status_mut() = value.parse().expect("a status");
                } else {
                    response.headers_mut().append(*name, value.parse().expect("a value"));
                }
            }
            async move { Ok::<_, Infallible>(response) }
        };
        said(layer.layer(service_fn(handler)), request).await.expect("infallible")
    }

    async fn get(&self, layer: &CacheLayer, path: &str) -> Said {
        self.ask(layer, get(path), &[]).await
    }
}

async fn said<S, B, E>(service: S, request: Request<()>) -> Result<Said, E>
where
    S: Service<Request<()>, Response = Response<B>, Error = E>,
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let (parts, body) = service.oneshot(request).await?.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Ok(Said { status: parts.status, headers: parts.headers, body })
}

fn get(path: &str) -> Request<()> {
    Request::get(path).body(()).expect("a request")
}

fn with(path: &str, name: &'static str, value: &str) -> Request<()> {
    Request::get(path).header(name, value).body(()).expect("a request")
}

fn by(path: &str, principal: Principal) -> Request<()> {
    let mut request = get(path);
    request.extensions_mut().insert(principal);
    request
}

#[tokio::test]
async fn the_second_request_is_a_hit_until_the_ttl_ends() {
    let world = World::new();
    let layer = world.public();
    let first = world.get(&layer, "/a").await;
    assert_eq!((first.cache(), first.header("age")), ("towerkeep; fwd=miss; stored", None));
    world.clock.advance(seconds(59));
    let second = world.get(&layer, "/a").await;
    assert_eq!(second.cache(), "towerkeep; hit; ttl=1");
    assert_eq!(
        (second.header("age"), second.header("content-length"), &second.body[..]),
        (Some("59"), Some("6"), &b"call 1"[..])
    );
    world.clock.advance(seconds(1));
    assert_eq!(world.get(&layer, "/a").await.cache(), "towerkeep; fwd=stale; stored");
    assert_eq!(world.calls(), 2);
    assert_eq!(world.cache.stats().count(CacheOutcome::Hit), 1);
}

#[tokio::test]
async fn paths_queries_and_hosts_are_apart_and_ignored_parameters_are_not() {
    let world = World::new();
    let layer = world.public().ignore_query(["utm"]);
    world.get(&layer, "/a?x=1").await;
    assert!(world.get(&layer, "/a?utm=9&x=1").await.is_hit());
    for other in ["/a?x=2", "/b?x=1", "http://other.example/a?x=1"] {
        assert!(!world.get(&layer, other).await.is_hit(), "{other}");
    }
}

#[tokio::test]
async fn what_the_handler_says_wins() {
    let world = World::new();
    let layer = world.public();
    let no_store: &[(&str, &str)] = &[("cache-control", "No-Store, max-age=60")];
    for _ in 0..2 {
        let said = world.ask(&layer, get("/no"), no_store).await;
        assert_eq!(said.cache(), "towerkeep; fwd=miss; detail=no-store");
    }
    world.ask(&layer, get("/short"), &[("cache-control", "max-age=5")]).await;
    world.clock.advance(seconds(5));
    assert!(!world.get(&layer, "/short").await.is_hit());
}

#[tokio::test]
async fn cookies_limits_and_private_responses_are_not_shared() {
    let world = World::new();
    let layer = world.public();
    let refused: [(&'static [(&str, &str)], &str); 4] = [
        (&[("set-cookie", "sid=1")], "set-cookie"),
        (&[("cache-control", "private, max-age=60")], "private"),
        (&[(":status", "429"), ("cache-control", "max-age=60")], "status"),
        (&[("vary", "*")], "vary-any"),
    ];
    for (lines, why) in refused {
        let said = world.ask(&layer, get("/x"), lines).await;
        assert_eq!(said.cache(), format!("towerkeep; fwd=miss; detail={why}"));
    }
    world.ask(&layer, get("/limited"), &[("ratelimit", "r=1"), ("x-ratelimit-limit", "9"), ("x-kept", "1")]).await;
    let hit = world.get(&layer, "/limited").await;
    assert!(hit.is_hit() && hit.header("ratelimit").is_none() && hit.header("x-ratelimit-limit").is_none());
    assert_eq!(hit.header("x-kept"), Some("1"));
}

#[tokio::test]
async fn client_ttl_counts_from_each_answer() {
    let world = World::new();
    let layer = world.public().client_ttl(seconds(10));
    assert_eq!(world.get(&layer, "/").await.header("cache-control"), Some("max-age=10"));
    world.clock.advance(seconds(30));
    let hit = world.get(&layer, "/").await;
    assert_eq!((hit.header("cache-control"), hit.header("age")), (Some("max-age=40"), Some("30")));
    world.clock.advance(seconds(25));
    assert_eq!(world.get(&layer, "/").await.header("cache-control"), Some("max-age=60"), "not past our own freshness");
}

#[tokio::test]
async fn variants_are_chosen_by_what_the_response_names() {
    let world = World::new();
    let layer = world.public();
    let vary: &[(&str, &str)] = &[("vary", "Accept-Language")];
    world.ask(&layer, with("/", "accept-language", "de"), vary).await;
    world.ask(&layer, with("/", "accept-language", "en"), vary).await;
    assert_eq!(&world.ask(&layer, with("/", "accept-language", "de"), vary).await.body[..], b"call 1");
    assert_eq!(&world.ask(&layer, with("/", "accept-language", "en"), vary).await.body[..], b"call 2");
    assert!(!world.ask(&layer, get("/"), vary).await.is_hit());
}

#[tokio::test]
async fn vary_on_chooses_and_says_so() {
    let world = World::new();
    let layer = world.public().vary_on(http::HeaderName::from_static("x-plan"));
    let free = world.ask(&layer, with("/", "x-plan", "free"), &[]).await;
    assert_eq!(free.header("vary"), Some("x-plan"));
    assert!(!world.ask(&layer, with("/", "x-plan", "pro"), &[]).await.is_hit());
    assert!(world.ask(&layer, with("/", "x-plan", "free"), &[]).await.is_hit());
}

#[tokio::test]
async fn head_and_conditional_requests_are_answered_from_the_entry() {
    let world = World::new();
    let layer = world.public();
    let lines: &[(&str, &str)] = &[("etag", "\"v1\""), ("last-modified", "Wed, 31 Dec 2025 00:00:00 GMT")];
    let head = || Request::head("/").body(()).expect("a request");
    let early = world.ask(&layer, head(), lines).await;
    assert_eq!(early.cache(), "towerkeep; fwd=miss; detail=head");
    world.ask(&layer, get("/"), lines).await;

    let hit = world.ask(&layer, head(), lines).await;
    assert_eq!((hit.is_hit(), hit.body.len(), hit.header("content-length")), (true, 0, Some("6")));
    let known = world.ask(&layer, with("/", "if-none-match", "W/\"v1\""), lines).await;
    assert_eq!(
        (known.status, known.header("etag"), known.header("content-length")),
        (StatusCode::NOT_MODIFIED, Some("\"v1\""), None)
    );
    let since = world.ask(&layer, with("/", "if-modified-since", "Wed, 31 Dec 2025 00:00:00 GMT"), lines).await;
    assert_eq!(since.status, StatusCode::NOT_MODIFIED);
    let other = world.ask(&layer, with("/", "if-none-match", "\"v0\""), lines).await;
    assert_eq!((other.status, other.is_hit()), (StatusCode::OK, true));
    let precondition = world.ask(&layer, with("/", "if-match", "\"v1\""), lines).await;
    assert_eq!(precondition.cache(), "towerkeep; fwd=bypass; detail=conditional");
}

#[tokio::test]
async fn a_fill_asks_the_handler_for_the_whole_response() {
    let world = World::new();
    let handler = service_fn(async |request: Request<()>| {
        let is_known = request.headers().contains_key("if-none-match");
        let mut response = Response::new(Full::from(if is_known { "" } else { "whole" }));
        *response.status_mut() = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        Ok::<_, Infallible>(response)
    });
    let service = world.public().layer(handler);
    let first = said(service.clone(), with("/", "if-none-match", "\"old\"")).await.expect("infallible");
    assert_eq!((first.status, &first.body[..]), (StatusCode::OK, &b"whole"[..]));
    assert!(said(service, get("/")).await.expect("infallible").is_hit());
}

#[tokio::test]
async fn a_hint_tags_times_and_forbids_and_never_leaves() {
    let world = World::new();
    let hinted = |hint: CacheHint| {
        service_fn(move |_: Request<()>| {
            let mut response = Response::new(Full::from("x"));
            response.extensions_mut().insert(hint.clone());
            async move { Ok::<_, Infallible>(response) }
        })
    };
    let layer = world.public();
    let service = layer.layer(hinted(CacheHint::new().tag(("shop", 7)).ttl(seconds(5))));
    let response = service.clone().oneshot(get("/")).await.expect("infallible");
    assert!(response.extensions().get::<CacheHint>().is_none());
    response.into_body().collect().await.expect("whole");
    assert_eq!(said(service.clone(), get("/")).await.expect("infallible").cache(), "towerkeep; hit; ttl=5");
    world.cache.purge_tags(["shop:7"]).await;
    assert!(!said(service, get("/")).await.expect("infallible").is_hit());
    let never = layer.layer(hinted(CacheHint::new().no_store()));
    assert_eq!(said(never, get("/n")).await.expect("infallible").cache(), "towerkeep; fwd=miss; detail=no-store");
}

#[tokio::test]
async fn also_cache_keeps_what_the_ttl_does_not_speak_of() {
    let world = World::new();
    let missing: &[(&str, &str)] = &[(":status", "404")];
    let layer = world.public();
    assert_eq!(world.ask(&layer, get("/"), missing).await.cache(), "towerkeep; fwd=miss; detail=not-fresh");
    let layer = world.public().also_cache(StatusCode::NOT_FOUND, seconds(10));
    world.ask(&layer, get("/"), missing).await;
    let hit = world.ask(&layer, get("/"), missing).await;
    assert_eq!((hit.status, hit.cache()), (StatusCode::NOT_FOUND, "towerkeep; hit; ttl=10"));
}

#[tokio::test]
async fn a_failing_handler_is_covered_by_the_stale_response() {
    let world = World::new();
    let layer = world.public().stale_if_error(minutes(5));
    world.get(&layer, "/").await;
    world.clock.advance(seconds(61));
    let failing: &[(&str, &str)] = &[(":status", "503")];
    let stale = world.ask(&layer, get("/"), failing).await;
    assert_eq!((stale.status, &stale.body[..]), (StatusCode::OK, &b"call 1"[..]));
    assert_eq!(stale.cache(), "towerkeep; fwd=stale; detail=stale-if-error");

    let broken = layer.layer(service_fn(async |_: Request<()>| Err::<Response<Full<Bytes>>, _>("broken")));
    assert_eq!(said(broken.clone(), get("/")).await.expect("covered").status, StatusCode::OK);
    assert_eq!(said(broken.clone(), get("/other")).await.err(), Some("broken"));
    world.clock.advance(minutes(5));
    assert_eq!(said(broken, get("/")).await.err(), Some("broken"));
}

#[tokio::test]
async fn when_the_store_is_down_the_handler_answers() {
    let world = World::new();
    let layer = world.public();
    world.get(&layer, "/").await;
    world.outage.set(true);
    let said = world.get(&layer, "/").await;
    assert_eq!((said.cache(), &said.body[..]), ("towerkeep; fwd=bypass; detail=unavailable", &b"call 2"[..]));
    world.cache.purge_all().await;
    world.outage.set(false);
    assert!(!world.get(&layer, "/").await.is_hit(), "the purge made meanwhile counts");
    assert_eq!(world.cache.stats().count(CacheOutcome::Unavailable), 1);
}

#[tokio::test]
async fn a_request_cannot_weaken_the_servers_word_unless_asked_by_the_rfc_profile() {
    let world = World::new();
    let (shared, rfc) = (world.public(), world.public().policy(CachePolicy::rfc()));
    world.get(&shared, "/").await;
    for asked in ["no-cache", "max-age=0", "max-stale=99", "only-if-cached"] {
        assert!(world.ask(&shared, with("/", "cache-control", asked), &[]).await.is_hit(), "{asked}");
    }
    assert!(!world.ask(&rfc, with("/", "cache-control", "no-cache"), &[]).await.is_hit());
    let none = world.ask(&rfc, with("/none", "cache-control", "only-if-cached"), &[]).await;
    assert_eq!(none.status, StatusCode::GATEWAY_TIMEOUT);
    let kept_out = world.ask(&shared, with("/secret", "cache-control", "no-store"), &[]).await;
    assert_eq!(kept_out.cache(), "towerkeep; fwd=miss; detail=no-store");
}

#[tokio::test]
async fn a_hit_copies_no_body() {
    static BODY: &[u8] = &[7; 100_000];
    let world = World::new();
    let handler =
        service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(BODY)))));
    let service = world.public().layer(handler);
    said(service.clone(), get("/")).await.expect("infallible");
    let mut hit = service.oneshot(get("/")).await.expect("infallible").into_body();
    let data = hit.frame().await.expect("one").expect("whole").into_data().expect("data");
    assert_eq!(data.as_ptr(), BODY.as_ptr());
}

#[tokio::test]
async fn switched_off_it_touches_nothing() {
    let world = World::new();
    let layer = world.public().enabled(false);
    for _ in 0..2 {
        assert_eq!(world.get(&layer, "/").await.cache(), "none");
    }
    assert_eq!(world.calls(), 2);
}

#[test]
fn two_caches_of_one_name_are_told() {
    let world = World::new();
    let inner = || service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())));
    let (one, same) = (world.public(), world.public());
    let _ = (one.layer(inner()), same.layer(inner()));
    assert!(world.cache.verify().is_ok());
    let _ = world.cache.per_user("demo").layer(inner());
    let error = world.cache.verify().expect_err("another sharing under the same name");
    assert!(error.is_invalid() && error.to_string().contains("demo"), "{error}");
}

/// `tower::Service`: the service that was polled ready is the one that is called.
#[tokio::test]
async fn calls_the_service_that_is_ready() {
    #[derive(Default)]
    struct Picky(bool, Arc<Mutex<Vec<&'static str>>>);
    impl Clone for Picky {
        fn clone(&self) -> Self {
            Self(false, Arc::clone(&self.1))
        }
    }
    impl Service<Request<()>> for Picky {
        type Response = Response<Empty<Bytes>>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Self::Response, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.0 = true;
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<()>) -> Self::Future {
            self.1.lock().expect("not poisoned").push(if self.0 { "ready" } else { "not ready" });
            std::future::ready(Ok(Response::new(Empty::new())))
        }
    }
    let picky = Picky::default();
    let mut service = World::new().public().layer(picky.clone());
    service.ready().await.expect("infallible").call(get("/")).await.expect("infallible");
    assert_eq!(*picky.1.lock().expect("not poisoned"), ["ready"]);
}

#[test]
fn layer_service_and_handle_are_clone_send_sync_and_static() {
    fn check<T: Clone + Send + Sync + 'static>() {}
    check::<CacheLayer>();
    check::<CacheService<Full<Bytes>>>();
    check::<ResponseCache>();
    check::<MemoryCacheStore>();
    fn is_send<T: Send>() {}
    // A body that is not Sync is fine.
    is_send::<ResponseBody<UnsyncBoxBody<Bytes, Infallible>>>();
    #[derive(Clone)]
    struct Inner;
    impl Service<Request<()>> for Inner {
        type Response = Response<Empty<Bytes>>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Self::Response, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<()>) -> Self::Future {
            std::future::ready(Ok(Response::new(Empty::new())))
        }
    }
    is_send::<ResponseFuture<Inner, ()>>();
}

/// A nested router shows its routes a part of the path only; the entries are told apart by the whole.
#[tokio::test]
async fn nested_axum_routers_do_not_share_entries() {
    use axum::{Router, routing::get as route};
    let world = World::new();
    let layer = world.public();
    let inner = |text: &'static str| {
        Router::new().route("/x", route(async move || (CacheHint::new().tag("t"), text)).layer(layer.clone()))
    };
    let app = Router::new().nest("/a", inner("of a")).nest("/b", inner("of b"));
    for _ in 0..2 {
        for (path, text) in [("/a/x", "of a"), ("/b/x", "of b")] {
            let request = Request::get(path).body(axum::body::Body::empty()).expect("a request");
            let response = app.clone().oneshot(request).await.expect("infallible");
            assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), text);
        }
    }
    assert_eq!(world.cache.stats().count(CacheOutcome::Hit), 2);
}
