//! Responses past their freshness: served while they are refreshed (RFC 5861, 3), or where the handler is gone.

use super::*;
use crate::support::eventually;

/// What a handler saw of a request: its fields, and whether it carried the test's extension.
type Seen = Arc<Mutex<Vec<(http::HeaderMap, bool)>>>;

/// The fields of a response.
type Lines = &'static [(&'static str, &'static str)];

#[derive(Clone)]
struct Mark;

fn lasting(world: &World) -> CacheLayer {
    world.public().stale_while_revalidate(minutes(5))
}

/// A handler that notes what it is asked, and answers 304 to who has `"a"`.
fn watching(
    seen: &Seen,
) -> impl Service<Request<()>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send> + Clone + use<> {
    let seen = Arc::clone(seen);
    service_fn(move |request: Request<()>| {
        let is_known = request.headers().get("if-none-match").is_some_and(|tag| tag == "\"a\"");
        let is_marked = request.extensions().get::<Mark>().is_some();
        seen.lock().expect("no panic while held").push((request.headers().clone(), is_marked));
        let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        let body = if is_known { "" } else { "whole" };
        let response = Response::builder().status(status).header("etag", "\"a\"").body(Full::from(body));
        async move { Ok(response.expect("a response")) }
    })
}

fn count(seen: &Seen) -> usize {
    seen.lock().expect("no panic while held").len()
}

#[tokio::test]
async fn a_stale_response_serves_at_once_and_is_refreshed_once() {
    let world = World::new();
    let layer = lasting(&world);
    world.get(&layer, "/").await;
    world.clock.advance(seconds(63));
    for _ in 0..10 {
        let stale = world.get(&layer, "/").await;
        assert_eq!((stale.cache(), &stale.body[..]), ("towerkeep; hit; ttl=-3", &b"call 1"[..]));
        assert_eq!(stale.header("age"), Some("63"));
    }
    eventually("it is refreshed", async || world.get(&layer, "/").await.cache() == "towerkeep; hit; ttl=60").await;
    assert_eq!((world.calls(), &world.get(&layer, "/").await.body[..]), (2, &b"call 2"[..]));
    assert_eq!(world.cache.stats().count(CacheOutcome::Miss), 1, "a refresh is no client's request");
    world.clock.advance(minutes(7));
    assert_eq!(world.get(&layer, "/").await.cache(), "towerkeep; fwd=stale; stored");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_refresh() {
    let world = World::new();
    let layer = lasting(&world);
    world.get(&layer, "/").await;
    world.clock.advance(seconds(61));
    let hanging = layer.layer(service_fn(async |_: Request<()>| {
        tokio::time::sleep(seconds(10)).await;
        Ok::<_, Infallible>(Response::new(Full::from("late")))
    }));
    let begun = tokio::time::Instant::now();
    for _ in 0..20 {
        assert!(said(hanging.clone(), get("/")).await.expect("infallible").is_hit());
    }
    assert_eq!(begun.elapsed(), seconds(0));
    eventually("it is refreshed", async || said(hanging.clone(), get("/")).await.expect("infallible").body == "late")
        .await;
}

/// A client sends its own conditions and ranges; the refresh asks about what is stored.
#[tokio::test]
async fn the_arriving_request_asks_about_the_stored_response() {
    let world = World::new();
    let (layer, seen) = (lasting(&world), Seen::default());
    let service = layer.layer(watching(&seen));
    said(service.clone(), get("/")).await.expect("infallible");
    world.clock.advance(seconds(61));
    let mut request = Request::get("/").header("range", "bytes=1-2").header("if-range", "\"a\"").header("x-own", "1");
    request = request.header("if-modified-since", "Wed, 31 Dec 2025 00:00:00 GMT");
    let mut request = request.body(()).expect("a request");
    request.extensions_mut().insert(Mark);
    let part = said(service.clone(), request).await.expect("infallible");
    assert_eq!(
        (part.status, part.cache(), &part.body[..]),
        (StatusCode::PARTIAL_CONTENT, "towerkeep; hit; ttl=-1", &b"ho"[..])
    );
    eventually("it is refreshed", async || {
        said(service.clone(), get("/")).await.expect("infallible").cache() == "towerkeep; hit; ttl=60"
    })
    .await;
    let seen = seen.lock().expect("no panic while held");
    let (fields, is_marked) = &seen[1];
    assert!(*is_marked && fields["x-own"] == "1" && fields["if-none-match"] == "\"a\"", "{fields:?}");
    for name in ["range", "if-range", "if-modified-since"] {
        assert!(!fields.contains_key(name), "{name}");
    }
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_the_response_until_its_window_ends() {
    let world = World::new();
    let layer = lasting(&world);
    world.get(&layer, "/").await;
    world.clock.advance(seconds(61));
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let failing = layer.layer(service_fn(move |_: Request<()>| {
        let call = counted.fetch_add(1, Relaxed);
        let mut broken = Response::new(Full::from("broken"));
        *broken.status_mut() = StatusCode::BAD_GATEWAY;
        broken.headers_mut().insert("cache-control", "max-age=60".parse().expect("a value"));
        async move { if call.is_multiple_of(2) { Ok(broken) } else { Err("gone") } }
    }));
    eventually("it failed both ways", async || {
        assert_eq!(&said(failing.clone(), get("/")).await.expect("served").body[..], b"call 1");
        calls.load(Relaxed) >= 4
    })
    .await;
    world.clock.advance(minutes(5));
    let after = said(failing, get("/")).await;
    assert!(after.is_err() || after.is_ok_and(|after| after.status == StatusCode::BAD_GATEWAY));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_is_given_up_after_30_seconds() {
    let world = World::new();
    let layer = lasting(&world);
    world.get(&layer, "/").await;
    world.clock.advance(seconds(61));
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let hanging = layer.layer(service_fn(move |_: Request<()>| {
        counted.fetch_add(1, Relaxed);
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
    }));
    assert!(said(hanging.clone(), get("/")).await.expect("infallible").is_hit());
    tokio::time::sleep(seconds(29)).await;
    assert!(said(hanging.clone(), get("/")).await.expect("infallible").is_hit());
    assert_eq!(calls.load(Relaxed), 1);
    tokio::time::sleep(seconds(2)).await;
    assert!(said(hanging, get("/")).await.expect("infallible").is_hit());
    assert_eq!(calls.load(Relaxed), 2);
}

/// What the handler does not want stored any more does not serve until the end of its window.
#[tokio::test]
async fn a_refresh_that_may_not_be_stored_purges() {
    let refused: [(&str, Lines, bool); 8] = [
        ("accept", &[("cache-control", "no-store")], true),
        ("accept", &[("cache-control", "private")], true),
        ("accept", &[(":status", "404")], true),
        ("accept", &[(":status", "304"), ("cache-control", "private")], true),
        ("accept", &[(":status", "429")], false),
        ("accept", &[("set-cookie", "sid=1")], false),
        ("accept", &[(":status", "304"), ("set-cookie", "sid=1")], false),
        ("authorization", &[(":status", "304")], false),
    ];
    for (field, lines, is_purged) in refused {
        let request = || Request::get("/").header(field, "x").body(()).expect("a request");
        let world = World::new();
        let layer = lasting(&world);
        world.ask(&layer, get("/"), &[("etag", "\"a\"")]).await;
        world.clock.advance(seconds(61));
        assert!(world.ask(&layer, request(), lines).await.is_hit());
        eventually("it is asked", async || world.calls() == 2).await;
        // Asked once more: because it is gone, or to refresh it again.
        eventually("it is decided", async || {
            world.ask(&layer, request(), lines).await;
            world.calls() >= 3
        })
        .await;
        assert_eq!(world.ask(&layer, request(), lines).await.is_hit(), !is_purged, "{field}: {lines:?}");
    }
}

#[tokio::test]
async fn what_forbids_a_stale_answer_forbids_it_here() {
    for forbids in ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"] {
        let world = World::new();
        let said = format!("max-age=60, stale-while-revalidate=60, {forbids}");
        let lines: &'static [(&str, &str)] = Box::leak(Box::new([("cache-control", &*said.leak()), ("etag", "\"a\"")]));
        let layer = lasting(&world);
        world.ask(&layer, get("/"), lines).await;
        world.clock.advance(seconds(61));
        assert!(!world.ask(&layer, get("/"), lines).await.is_hit(), "{forbids}");
    }
}

#[tokio::test]
async fn head_and_no_store_are_served_and_refresh_nothing() {
    let world = World::new();
    let (layer, seen) = (lasting(&world), Seen::default());
    let service = layer.layer(watching(&seen));
    said(service.clone(), get("/")).await.expect("infallible");
    world.clock.advance(seconds(61));
    let head = Request::head("/").body(()).expect("a request");
    for request in [head, with("/", "cache-control", "no-store")] {
        assert_eq!(said(service.clone(), request).await.expect("infallible").cache(), "towerkeep; hit; ttl=-1");
    }
    assert_eq!(count(&seen), 1);
    said(service, get("/")).await.expect("infallible");
    assert_eq!(count(&seen), 2, "the handler is called before the answer leaves, and not waited for");
}

#[tokio::test]
async fn each_variant_is_refreshed() {
    let world = World::new();
    let layer = lasting(&world);
    let vary: &[(&str, &str)] = &[("vary", "accept-language")];
    for language in ["de", "en"] {
        world.ask(&layer, with("/", "accept-language", language), vary).await;
    }
    world.clock.advance(seconds(61));
    for language in ["de", "en"] {
        eventually("it is refreshed", async || {
            world.ask(&layer, with("/", "accept-language", language), vary).await.cache() == "towerkeep; hit; ttl=60"
        })
        .await;
    }
    assert_eq!(world.calls(), 4);
}

/// A request's budget for Redis is spent by the time of the refresh; it is for those who wait.
#[tokio::test]
async fn a_refresh_has_no_part_in_the_requests_budget() {
    use towerkeep::Cx;
    let world = World::new();
    let layer = lasting(&world);
    world.get(&layer, "/").await;
    world.clock.advance(seconds(61));
    let allowance = Arc::new(Mutex::new(None));
    let told = Arc::clone(&allowance);
    let service = layer.layer(service_fn(move |request: Request<()>| {
        *told.lock().expect("no panic while held") = Some(Cx::of(request.extensions()).allowance(seconds(1)));
        async { Ok::<_, Infallible>(Response::new(Full::from("x"))) }
    }));
    let mut request = get("/");
    request.extensions_mut().insert(Cx::new().with_budget(seconds(0)));
    assert!(said(service, request).await.expect("infallible").is_hit());
    assert_eq!(*allowance.lock().expect("no panic while held"), Some(seconds(1)));
}

#[tokio::test]
async fn the_refresh_is_made_by_the_service_that_is_ready() {
    #[derive(Clone)]
    struct Picky(Option<Arc<Mutex<Vec<bool>>>>, bool);
    impl Service<Request<()>> for Picky {
        type Response = Response<Full<Bytes>>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Self::Response, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.1 = true;
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<()>) -> Self::Future {
            let was_ready = std::mem::take(&mut self.1);
            self.0.iter().for_each(|calls| calls.lock().expect("no panic while held").push(was_ready));
            std::future::ready(Ok(Response::new(Full::from("x"))))
        }
    }
    let (world, calls) = (World::new(), Arc::<Mutex<Vec<bool>>>::default());
    let mut service = lasting(&world).layer(Picky(Some(Arc::clone(&calls)), false));
    for _ in 0..2 {
        let response = service.ready().await.expect("infallible").call(get("/")).await.expect("infallible");
        response.into_body().collect().await.expect("whole");
        world.clock.advance(seconds(61));
    }
    assert_eq!(*calls.lock().expect("no panic while held"), [true, true]);
}

/// RFC 9111, 4.2.4: a cache that is cut off may serve what nothing forbids; the safe profile wants to be told.
#[tokio::test]
async fn a_handler_that_is_gone_is_stood_in_for_where_rfc_9111_is_followed() {
    let world = World::new();
    let layers = [world.cache.public("safe"), world.cache.public("rfc").policy(CachePolicy::rfc())];
    let cases: [(&'static [(&str, &str)], bool); 5] = [
        (&[("cache-control", "max-age=60")], true),
        (&[("cache-control", "max-age=60"), ("etag", "\"a\"")], true),
        (&[("cache-control", "max-age=60, must-revalidate")], false),
        (&[("cache-control", "max-age=60, proxy-revalidate")], false),
        (&[("cache-control", "s-maxage=60")], false),
    ];
    for (n, (lines, may_be_stale)) in cases.into_iter().enumerate() {
        let path = format!("/{n}");
        for (layer, may) in layers.iter().zip([false, may_be_stale]) {
            world.ask(layer, get(&path), lines).await;
            world.clock.advance(seconds(61));
            let gone = layer.layer(service_fn(async |_: Request<()>| Err::<Response<Full<Bytes>>, _>("gone")));
            let answer = said(gone, get(&path)).await;
            assert_eq!(answer.is_ok(), may, "{lines:?} {layer:?}");
            answer.iter().for_each(|said| assert_eq!(said.cache(), "towerkeep; fwd=stale; detail=disconnected"));
            let failing = world.ask(layer, get(&path), &[(":status", "503")]).await;
            assert_eq!(failing.status, StatusCode::SERVICE_UNAVAILABLE, "an answer is an answer");
        }
    }
}

#[tokio::test]
async fn what_stands_in_is_kept_for_ten_minutes_at_least() {
    let world = World::new();
    let layer = world.cache.public("rfc").policy(CachePolicy::rfc());
    world.ask(&layer, get("/"), &[("cache-control", "max-age=60")]).await;
    let gone = layer.layer(service_fn(async |_: Request<()>| Err::<Response<Full<Bytes>>, _>("gone")));
    world.clock.advance(minutes(11) - Duration::from_micros(1));
    assert!(said(gone.clone(), get("/")).await.is_ok());
    world.clock.advance(Duration::from_micros(1));
    assert_eq!(said(gone, get("/")).await.err(), Some("gone"));
}

/// RFC 9111, 5.2.1.2.
#[tokio::test]
async fn a_request_that_puts_up_with_it_gets_a_stale_response_where_rfc_9111_is_followed() {
    let world = World::new();
    let layer = world.cache.public("rfc").policy(CachePolicy::rfc());
    world.ask(&layer, get("/"), &[("cache-control", "max-age=60")]).await;
    world.clock.advance(seconds(65));
    let stale = world.ask(&layer, with("/", "cache-control", "max-stale=5"), &[]).await;
    assert_eq!((stale.cache(), world.calls()), ("towerkeep; hit; ttl=-5", 1));
    assert!(!world.ask(&layer, with("/", "cache-control", "max-stale=4"), &[]).await.is_hit());
}
