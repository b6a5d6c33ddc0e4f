//! Requests of one moment share one fill.

use super::*;

/// A handler that answers when the test lets it, and counts its calls.
fn gated(
    calls: &Arc<AtomicU32>,
    gate: &Arc<tokio::sync::Semaphore>,
    lines: &'static [(&str, &str)],
) -> impl Service<Request<()>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send> + Clone + Send + use<>
{
    let (calls, gate) = (Arc::clone(calls), Arc::clone(gate));
    service_fn(move |_: Request<()>| {
        let (calls, gate) = (Arc::clone(&calls), Arc::clone(&gate));
        async move {
            let call = calls.fetch_add(1, Relaxed) + 1;
            gate.acquire().await.expect("open").forget();
            let mut response = Response::new(Full::from(format!("call {call}")));
            for (name, value) in lines {
                response.headers_mut().append(*name, value.parse().expect("a value"));
            }
            Ok(response)
        }
    })
}

async fn together(n: usize, layer: &CacheLayer, lines: &'static [(&str, &str)]) -> (u32, Vec<Said>) {
    let (calls, gate) = (Arc::default(), Arc::new(tokio::sync::Semaphore::new(0)));
    let service = layer.layer(gated(&calls, &gate, lines));
    let asked: Vec<_> = (0..n).map(|_| tokio::spawn(said(service.clone(), get("/")))).collect();
    // All have asked once the runtime has nothing else to do.
    tokio::time::sleep(Duration::from_millis(1)).await;
    gate.add_permits(n);
    let mut answers = Vec::new();
    for answer in asked {
        answers.push(answer.await.expect("no panic").expect("infallible"));
    }
    (calls.load(Relaxed), answers)
}

#[tokio::test(start_paused = true)]
async fn many_requests_of_one_moment_are_one_fill() {
    let (calls, answers) = together(50, &World::new().public(), &[]).await;
    assert_eq!(calls, 1);
    assert!(answers.iter().all(|said| &said.body[..] == b"call 1"));
    let collapsed = answers.iter().filter(|said| said.cache() == "towerkeep; fwd=miss; collapsed");
    assert_eq!(collapsed.count(), 49);
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_what_may_not_be_shared() {
    let world = World::new();
    let (calls, answers) = together(20, &world.public(), &[("set-cookie", "sid=1")]).await;
    assert_eq!(calls, 20);
    let bodies: std::collections::HashSet<_> = answers.iter().map(|said| said.body.clone()).collect();
    assert_eq!(bodies.len(), 20);
    assert!(answers.iter().all(|said| !said.is_hit()));
}

#[tokio::test(start_paused = true)]
async fn an_uncacheable_url_is_not_waited_for_again() {
    let world = World::new();
    let layer = world.public();
    world.ask(&layer, get("/"), &[("cache-control", "no-store")]).await;
    let (calls, gate) = (Arc::default(), Arc::new(tokio::sync::Semaphore::new(0)));
    let service = layer.layer(gated(&calls, &gate, &[]));
    let asked: Vec<_> = (0..5).map(|_| tokio::spawn(said(service.clone(), get("/")))).collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(calls.load(Relaxed), 5, "all five run at once");
    gate.add_permits(5);
    for answer in asked {
        answer.await.expect("no panic").expect("infallible");
    }
}

/// A client must not be able to switch the protection of the handler off.
#[tokio::test(start_paused = true)]
async fn a_clients_no_store_does_not_mark_the_url() {
    let world = World::new();
    let layer = world.public();
    world.ask(&layer, with("/", "cache-control", "no-store"), &[]).await;
    let (calls, answers) = together(10, &layer, &[]).await;
    assert_eq!((calls, answers.len()), (1, 10));
}

/// Ten seconds of it, on all instances, switched the protection of a URL off.
#[tokio::test(start_paused = true)]
async fn a_clients_authorization_does_not_mark_the_url() {
    let world = World::new();
    let layer = world.public();
    let asked = world.ask(&layer, with("/", "authorization", "x"), &[]).await;
    assert_eq!(asked.cache(), "towerkeep; fwd=miss; detail=authorization");
    let (calls, answers) = together(10, &layer, &[]).await;
    assert_eq!((calls, answers.len()), (1, 10));
}

/// They would be served one after the other.
#[tokio::test(start_paused = true)]
async fn those_with_authorization_wait_for_each_other_once() {
    let world = World::new();
    let (calls, gate) = (Arc::default(), Arc::new(tokio::sync::Semaphore::new(0)));
    let service = world.public().layer(gated(&calls, &gate, &[]));
    let ask = || tokio::spawn(said(service.clone(), with("/", "authorization", "x")));
    let asked: Vec<_> = (0..5).map(|_| ask()).collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(calls.load(Relaxed), 1, "it could be for all");
    gate.add_permits(1);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(calls.load(Relaxed), 5, "it was not");
    gate.add_permits(4);
    for answer in asked {
        assert_eq!(
            answer.await.expect("no panic").expect("infallible").cache(),
            "towerkeep; fwd=miss; detail=authorization"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_asks_the_handler() {
    let world = World::new();
    let (calls, gate) = (Arc::default(), Arc::new(tokio::sync::Semaphore::new(0)));
    let service = world.public().layer(gated(&calls, &gate, &[]));
    let _first = tokio::spawn(said(service.clone(), get("/")));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let second = tokio::spawn(said(service, get("/")));
    tokio::time::sleep(Duration::from_millis(1_990)).await;
    assert_eq!(calls.load(Relaxed), 1);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(calls.load(Relaxed), 2);
    gate.add_permits(2);
    let second = second.await.expect("no panic").expect("infallible");
    assert_eq!(second.cache(), "towerkeep; fwd=miss; detail=collapse-timeout");
}

#[tokio::test(start_paused = true)]
async fn when_the_leader_goes_away_somebody_else_leads() {
    let world = World::new();
    let (calls, gate) = (Arc::default(), Arc::new(tokio::sync::Semaphore::new(0)));
    let service = world.public().layer(gated(&calls, &gate, &[]));
    let first = tokio::spawn(said(service.clone(), get("/")));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let waiting: Vec<_> = (0..5).map(|_| tokio::spawn(said(service.clone(), get("/")))).collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    first.abort();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(calls.load(Relaxed), 2, "one of the five, not all");
    gate.add_permits(1);
    for answer in waiting {
        assert_eq!(&answer.await.expect("no panic").expect("infallible").body[..], b"call 2");
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_after_a_purge_does_not_get_what_was_under_way_before() {
    let world = World::new();
    let (calls, gate) = (Arc::default(), Arc::new(tokio::sync::Semaphore::new(0)));
    let service = world.public().tags(["x"]).layer(gated(&calls, &gate, &[]));
    let before = tokio::spawn(said(service.clone(), get("/")));
    tokio::time::sleep(Duration::from_millis(1)).await;
    world.cache.purge_tags(["x"]).await;
    let after = tokio::spawn(said(service.clone(), get("/")));
    tokio::time::sleep(Duration::from_millis(1)).await;
    gate.add_permits(2);
    assert_eq!(&before.await.expect("no panic").expect("infallible").body[..], b"call 1");
    assert_eq!(&after.await.expect("no panic").expect("infallible").body[..], b"call 2");
    assert_eq!(&said(service, get("/")).await.expect("infallible").body[..], b"call 2");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_failing_handler_gets_the_stale_response_too() {
    let world = World::new();
    let layer = world.public().stale_if_error(minutes(5));
    world.get(&layer, "/").await;
    world.clock.advance(minutes(2));
    let (calls, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(tokio::sync::Semaphore::new(0)));
    let (counted, closed) = (Arc::clone(&calls), Arc::clone(&gate));
    let failing = service_fn(move |_: Request<()>| {
        let (counted, closed) = (Arc::clone(&counted), Arc::clone(&closed));
        async move {
            counted.fetch_add(1, Relaxed);
            closed.acquire().await.expect("open").forget();
            Err::<Response<Full<Bytes>>, _>("broken")
        }
    });
    let service = layer.layer(failing);
    let asked: Vec<_> = (0..10).map(|_| tokio::spawn(said(service.clone(), get("/")))).collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    gate.add_permits(10);
    for answer in asked {
        let said = answer.await.expect("no panic").expect("covered");
        assert_eq!(said.cache(), "towerkeep; fwd=stale; detail=stale-if-error");
    }
    assert_eq!(calls.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_another_variant_ends_in_a_fill_of_ones_own() {
    let world = World::new();
    let (calls, gate) = (Arc::default(), Arc::new(tokio::sync::Semaphore::new(0)));
    let service = world.public().layer(gated(&calls, &gate, &[("vary", "accept-language")]));
    let languages = ["de", "en", "de", "en"];
    let asked = languages.map(|language| tokio::spawn(said(service.clone(), with("/", "accept-language", language))));
    tokio::time::sleep(Duration::from_millis(1)).await;
    gate.add_permits(4);
    let mut bodies = Vec::new();
    for answer in asked {
        bodies.push(answer.await.expect("no panic").expect("infallible").body);
    }
    assert_eq!(calls.load(Relaxed), 2);
    assert_eq!((&bodies[0], &bodies[1]), (&bodies[2], &bodies[3]));
    assert_ne!(bodies[0], bodies[1]);
}

/// What is fresh and at hand answers everybody, also while a request that wants it younger asks the handler.
#[tokio::test(start_paused = true)]
async fn a_fresh_response_in_memory_waits_for_nobody() {
    let world = World::new();
    let layer = world.public().policy(CachePolicy::rfc());
    world.get(&layer, "/").await;
    let (calls, gate) = (Arc::default(), Arc::new(tokio::sync::Semaphore::new(0)));
    let service = layer.layer(gated(&calls, &gate, &[]));
    let younger = tokio::spawn(said(service.clone(), with("/", "cache-control", "no-cache")));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(said(service, get("/")).await.expect("infallible").cache(), "towerkeep; hit; ttl=60");
    gate.add_permits(1);
    assert_eq!(younger.await.expect("no panic").expect("infallible").cache(), "towerkeep; fwd=request; stored");
}
