//! Stale responses that the handler is asked about (RFC 9111, 4.3).

use super::*;

/// A handler that knows its resource by a tag: 304 to who has it, with `revalidated` beside it.
#[derive(Clone)]
struct Tagged {
    tag: Arc<Mutex<&'static str>>,
    control: &'static str,
    calls: Arc<AtomicU32>,
    asked: Arc<Mutex<Vec<Option<String>>>>,
}

impl Tagged {
    fn new(control: &'static str) -> Self {
        Self { tag: Arc::new(Mutex::new("\"one\"")), control, calls: Arc::default(), asked: Arc::default() }
    }

    fn change(&self, tag: &'static str) {
        *self.tag.lock().expect("no panic while held") = tag;
    }

    /// What the handler was asked about, since the last time.
    fn asked(&self) -> Vec<Option<String>> {
        std::mem::take(&mut *self.asked.lock().expect("no panic while held"))
    }

    async fn ask(&self, layer: &CacheLayer, request: Request<()>) -> Said {
        let this = self.clone();
        let handler = move |request: Request<()>| {
            let (tag, call) = (*this.tag.lock().expect("no panic while held"), this.calls.fetch_add(1, Relaxed) + 1);
            let told = request.headers().get("if-none-match").map(|told| told.to_str().expect("ascii").to_owned());
            let is_known = told.as_deref() == Some(tag);
            this.asked.lock().expect("no panic while held").push(told);
            let body = if is_known { String::new() } else { format!("call {call}") };
            let response = Response::builder()
                .status(if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK })
                .header("etag", tag)
                .header("cache-control", this.control)
                .header("x-call", call)
                .header("content-type", if is_known { "text/wrong" } else { "text/plain" });
            async move { Ok::<_, Infallible>(response.body(Full::from(body)).expect("a response")) }
        };
        said(layer.layer(service_fn(handler)), request).await.expect("infallible")
    }
}

fn rfc(world: &World) -> CacheLayer {
    world.cache.public("demo").policy(CachePolicy::rfc())
}

#[tokio::test]
async fn a_stale_response_that_still_holds_answers_with_the_fields_of_the_304() {
    let (world, handler) = (World::new(), Tagged::new("max-age=60"));
    let layer = world.public();
    handler.ask(&layer, get("/")).await;
    world.clock.advance(minutes(2));
    let validated = handler.ask(&layer, get("/")).await;
    assert_eq!(handler.asked(), [None, Some("\"one\"".to_owned())]);
    assert_eq!((validated.status, &validated.body[..]), (StatusCode::OK, &b"call 1"[..]));
    assert_eq!(validated.cache(), "towerkeep; fwd=stale; fwd-status=304; stored");
    assert_eq!((validated.header("x-call"), validated.header("age")), (Some("2"), Some("0")));
    assert_eq!(validated.header("content-length"), Some("6"));
    world.clock.advance(seconds(59));
    let hit = handler.ask(&layer, get("/")).await;
    assert_eq!(
        (hit.cache(), hit.header("x-call"), &hit.body[..]),
        ("towerkeep; hit; ttl=1", Some("2"), &b"call 1"[..])
    );
    assert_eq!(world.cache.stats().count(CacheOutcome::Validated), 1);
}

#[tokio::test]
async fn a_client_that_has_what_still_holds_gets_304() {
    let (world, handler) = (World::new(), Tagged::new("max-age=60"));
    let layer = world.public();
    handler.ask(&layer, get("/")).await;
    world.clock.advance(minutes(2));
    let known = handler.ask(&layer, with("/", "if-none-match", "\"one\"")).await;
    assert_eq!((known.status, known.body.len()), (StatusCode::NOT_MODIFIED, 0));
    world.clock.advance(minutes(2));
    // One that has another copy gets the whole of what is stored.
    let other = handler.ask(&layer, with("/", "if-none-match", "\"old\"")).await;
    assert_eq!((other.status, &other.body[..]), (StatusCode::OK, &b"call 1"[..]));
    assert_eq!(handler.asked()[1..], [Some("\"one\"".to_owned()), Some("\"one\"".to_owned())]);
}

#[tokio::test]
async fn what_has_changed_replaces_what_was_stored() {
    let (world, handler) = (World::new(), Tagged::new("max-age=60"));
    let layer = world.public();
    handler.ask(&layer, get("/")).await;
    world.clock.advance(minutes(2));
    handler.change("\"two\"");
    let changed = handler.ask(&layer, get("/")).await;
    assert_eq!((changed.cache(), &changed.body[..]), ("towerkeep; fwd=stale; stored", &b"call 2"[..]));
    assert!(handler.ask(&layer, get("/")).await.is_hit());
}

#[tokio::test]
async fn what_must_be_asked_about_each_time_is_kept_where_rfc_9111_is_followed() {
    let (world, handler) = (World::new(), Tagged::new("no-cache"));
    let layer = rfc(&world);
    handler.ask(&layer, get("/")).await;
    for call in 2..5 {
        let validated = handler.ask(&layer, get("/")).await;
        assert_eq!((validated.status, &validated.body[..]), (StatusCode::OK, &b"call 1"[..]), "{call}");
        assert_eq!(validated.cache(), "towerkeep; fwd=stale; fwd-status=304; stored");
    }
    let safe = world.cache.public("safe");
    assert_eq!(handler.ask(&safe, get("/")).await.cache(), "towerkeep; fwd=miss; detail=no-cache");
}

#[tokio::test]
async fn a_304_that_forbids_to_keep_it_answers_and_is_not_kept() {
    let (world, mut handler) = (World::new(), Tagged::new("max-age=60"));
    let layer = world.public();
    handler.ask(&layer, get("/")).await;
    world.clock.advance(minutes(2));
    handler.control = "no-store";
    for _ in 0..2 {
        let validated = handler.ask(&layer, get("/")).await;
        assert_eq!((validated.status, &validated.body[..]), (StatusCode::OK, &b"call 1"[..]));
        assert_eq!(validated.cache(), "towerkeep; fwd=stale; fwd-status=304");
    }
}

#[tokio::test]
async fn nobody_is_asked_about_what_was_kept_for_too_long_or_purged() {
    let (world, handler) = (World::new(), Tagged::new("max-age=60"));
    let layer = world.public();
    handler.ask(&layer, get("/")).await;
    // Fresh for one minute, and kept for the ten that everything with a validator is kept.
    world.clock.advance(minutes(11));
    assert_eq!(handler.ask(&layer, get("/")).await.cache(), "towerkeep; fwd=stale; stored");
    world.clock.advance(minutes(11) - Duration::from_micros(1));
    assert_eq!(handler.ask(&layer, get("/")).await.cache(), "towerkeep; fwd=stale; fwd-status=304; stored");
    world.clock.advance(minutes(2));
    world.cache.purge_all().await;
    assert_eq!(handler.ask(&layer, get("/")).await.cache(), "towerkeep; fwd=miss; stored");
    assert_eq!(handler.asked(), [None, None, Some("\"one\"".to_owned()), None]);
}

/// A 304 with a `Vary` of its own took away what the layer chooses by, and one plan's response answered another's.
#[tokio::test]
async fn a_304_changes_nothing_about_what_the_layer_chooses_by() {
    let world = World::new();
    let layer = world.public().vary_on(http::HeaderName::from_static("x-plan"));
    let tagged: &[(&str, &str)] = &[("etag", "\"a\""), ("vary", "accept")];
    let not_modified: &[(&str, &str)] = &[(":status", "304"), ("etag", "\"a\""), ("vary", "accept")];
    world.ask(&layer, with("/", "x-plan", "free"), tagged).await;
    world.clock.advance(minutes(2));
    let validated = world.ask(&layer, with("/", "x-plan", "free"), not_modified).await;
    assert_eq!(validated.cache(), "towerkeep; fwd=stale; fwd-status=304; stored");
    let vary: Vec<_> = validated.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["accept", "x-plan"]);
    assert!(!world.ask(&layer, with("/", "x-plan", "paid"), tagged).await.is_hit());
    assert!(world.ask(&layer, with("/", "x-plan", "free"), tagged).await.is_hit());
}

/// Its tags are those of the response and those that the 304 brings.
#[tokio::test]
async fn a_304_may_bring_tags() {
    let world = World::new();
    let layer = world.public();
    let service = |status: StatusCode, tag: &'static str| {
        layer.layer(service_fn(move |_: Request<()>| {
            let mut response = Response::new(Full::from("x"));
            *response.status_mut() = status;
            response.headers_mut().insert("etag", "\"a\"".parse().expect("a value"));
            response.extensions_mut().insert(CacheHint::new().tag(tag));
            async move { Ok::<_, Infallible>(response) }
        }))
    };
    for purged in ["first", "second"] {
        said(service(StatusCode::OK, "first"), get("/")).await.expect("infallible");
        world.clock.advance(minutes(2));
        said(service(StatusCode::NOT_MODIFIED, "second"), get("/")).await.expect("infallible");
        assert!(world.get(&layer, "/").await.is_hit());
        world.cache.purge_tags([purged]).await;
        assert!(!world.get(&layer, "/").await.is_hit(), "{purged}");
        world.cache.purge_all().await;
    }
}

/// What has to be asked about each time was served as stale to those who waited for it, though nothing had failed.
#[tokio::test(start_paused = true)]
async fn nobody_gets_what_another_request_was_told_must_be_asked_about() {
    let world = World::new();
    let layer = rfc(&world);
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let service = layer.layer(service_fn(move |_: Request<()>| {
        let call = counted.fetch_add(1, Relaxed) + 1;
        async move {
            tokio::time::sleep(seconds(1)).await;
            let response = Response::builder()
                .header("etag", "\"a\"")
                .header("cache-control", "max-age=0, stale-if-error=60")
                .body(Full::from(format!("call {call}")));
            Ok::<_, Infallible>(response.expect("a response"))
        }
    }));
    let (first, second) = tokio::join!(said(service.clone(), get("/")), said(service.clone(), get("/")));
    let (first, second) = (first.expect("infallible"), second.expect("infallible"));
    assert_eq!(first.cache(), "towerkeep; fwd=miss; stored");
    assert!(!second.cache().contains("stale-if-error"), "{}", second.cache());
    assert_eq!((calls.load(Relaxed), &second.body[..]), (2, &b"call 2"[..]));
}

/// RFC 9111, 4.2.3: the time that the handler took is part of the response's age.
#[tokio::test]
async fn a_slow_handlers_response_is_older_when_it_comes() {
    let world = World::new();
    let clock = world.clock.clone();
    let slow = world.public().layer(service_fn(move |request: Request<()>| {
        clock.advance(seconds(5));
        let mut response = Response::builder().header("age", "10");
        if request.uri().path() == "/said" {
            response = response.header("cache-control", "max-age=60");
        }
        let response = response.body(Full::from("x")).expect("a response");
        async move { Ok::<_, Infallible>(response) }
    }));
    // The layer's own time begins when the response is there.
    for (path, cache) in [("/said", "towerkeep; hit; ttl=45"), ("/silent", "towerkeep; hit; ttl=50")] {
        said(slow.clone(), get(path)).await.expect("infallible");
        let hit = said(slow.clone(), get(path)).await.expect("infallible");
        assert_eq!((hit.cache(), hit.header("age")), (cache, Some("15")));
    }
}

/// A tag that the cache made for a partition's copy means nothing to the handler.
#[tokio::test]
async fn the_handler_is_asked_about_its_own_tags_only() {
    let world = World::new();
    let layer = world.cache.per("demo", Key::header(http::HeaderName::from_static("x-key"))).ttl(minutes(1));
    let request = || with("/", "x-key", "a");
    let first = world.ask(&layer, request(), &[]).await;
    assert_eq!(first.cache(), "towerkeep; fwd=miss; stored");
    world.clock.advance(minutes(2));
    let seen = Arc::new(AtomicU32::new(0));
    let (counts, handler) = (Arc::clone(&seen), layer);
    let handler = handler.layer(service_fn(move |request: Request<()>| {
        counts.fetch_add(u32::from(request.headers().contains_key("if-none-match")), Relaxed);
        async { Ok::<_, Infallible>(Response::new(Full::from("whole"))) }
    }));
    let again = said(handler, request()).await.expect("infallible");
    assert_eq!((again.cache(), seen.load(Relaxed)), ("towerkeep; fwd=stale; stored", 0));
}

#[tokio::test]
async fn a_request_that_wants_a_fresh_response_younger_says_so() {
    let (world, handler) = (World::new(), Tagged::new("max-age=60"));
    let layer = rfc(&world);
    handler.ask(&layer, get("/")).await;
    let younger = handler.ask(&layer, with("/", "cache-control", "no-cache")).await;
    assert_eq!(younger.cache(), "towerkeep; fwd=request; fwd-status=304; stored");
}

/// The handler answered 304 to a condition of ours, and the client, who had none, got it.
#[tokio::test]
async fn what_is_kept_no_longer_when_the_304_comes_still_answers() {
    let world = World::new();
    let layer = world.public();
    world.ask(&layer, get("/"), &[("etag", "\"one\"")]).await;
    // A minute fresh, and kept for ten more.
    world.clock.advance(minutes(11) - Duration::from_micros(1));
    let clock = world.clock.clone();
    let slow = service_fn(move |request: Request<()>| {
        assert!(request.headers().contains_key("if-none-match"), "it is asked about");
        clock.advance(seconds(1));
        let response = Response::builder().status(StatusCode::NOT_MODIFIED).header("etag", "\"one\"");
        async move { Ok::<_, Infallible>(response.body(Full::from("")).expect("a response")) }
    });
    let answer = said(layer.layer(slow), get("/")).await.expect("infallible");
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"call 1"[..]));
    assert_eq!(answer.cache(), "towerkeep; fwd=stale; fwd-status=304; stored");
}
