//! What the layers allocate and send for one request, counted exactly.
//!
//! One test, because the counter is the process': nothing else may run beside it.

use std::{alloc::System, convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service, ServiceExt, service_fn};
use towerkeep::{Keep, PeerAddr, clock::minutes, rate_limit::Policy, session::Session};

mod memory;
#[path = "../support/mod.rs"]
mod support;
use support::RedisServer;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BUCKET: Policy = Policy::token_bucket("bucket", 1_000_000, minutes(1));
const WINDOW: Policy = Policy::sliding_window("window", 100_000, minutes(1));

type Body = Full<Bytes>;

fn request(cookie: Option<&HeaderValue>) -> Request<Body> {
    let mut request =
        Request::get("/items?page=2").header(header::HOST, "a.example").body(Body::default()).expect("valid");
    request.extensions_mut().insert(PeerAddr(SocketAddr::from(([203, 0, 113, 7], 9))));
    if let Some(cookie) = cookie {
        request.headers_mut().insert(header::COOKIE, cookie.clone());
    }
    request
}

/// The fewest allocations of 50 calls: the runtime's own now and then come on top of some.
async fn allocations<S, B>(service: &mut S, cookie: Option<&HeaderValue>) -> usize
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    let mut fewest = usize::MAX;
    for _ in 0..50 {
        let request = request(cookie);
        let region = Region::new(ALLOCATOR);
        let response = service.ready().await.expect("ready").call(request).await.expect("infallible");
        fewest = fewest.min(region.change().allocations);
        assert!(response.status().is_success());
    }
    fewest
}

/// Says what it sends, as every handler does: a map of fields without any would be one more allocation of the layer's.
async fn ok(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Body::default());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

async fn read(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let session = Session::of(&request).expect("mounted");
    assert_eq!(session.get::<i64>("n").await.expect("redis is up"), Some(7));
    ok(request).await
}

/// A session of three values; its cookie.
async fn session_cookie(keep: &Keep) -> HeaderValue {
    let fill = service_fn(async |request: Request<Body>| {
        let session = Session::of(&request).expect("mounted");
        for name in ["n", "theme", "language"] {
            session.insert(name, 7).expect("fits");
        }
        ok(request).await
    });
    let response = keep.sessions().layer().layer(fill).oneshot(request(None)).await.expect("infallible");
    let cookie = response.headers()[header::SET_COOKIE].to_str().expect("ascii");
    HeaderValue::from_str(cookie.split(';').next().expect("a pair")).expect("ascii")
}

#[tokio::test(flavor = "current_thread")]
async fn layers_allocate_and_send_no_more_than_promised() {
    let server = RedisServer::start();
    let keep = Keep::builder()
        .redis(&server.url())
        .deadline(Duration::from_secs(5))
        .budget(Duration::from_secs(50))
        .build()
        .expect("valid");
    assert!(keep.ready(Duration::from_secs(10)).await);
    let cookie = session_cookie(&keep).await;
    let plain = allocations(&mut service_fn(ok), None).await;

    let untouched = allocations(&mut keep.sessions().layer().layer(service_fn(ok)), Some(&cookie)).await - plain;
    println!("untouched session: {untouched} allocations over no layer");
    assert!(untouched <= 4, "the session, its principal, and their places in the extensions: {untouched}");

    let client = server.client().await;
    redis::cmd("SET")
        .arg("floor")
        .arg(r#"{"n":7,"theme":7,"language":7}"#)
        .exec_async(&mut client.clone())
        .await
        .expect("stored");
    let mut floor = service_fn(move |request| {
        let mut client = client.clone();
        async move {
            let value: Vec<u8> = redis::cmd("GET").arg("floor").query_async(&mut client).await.expect("redis is up");
            let value: std::collections::HashMap<&str, i64> = serde_json::from_slice(&value).expect("json");
            assert_eq!(value["n"], 7);
            ok(request).await
        }
    });
    let floor = allocations(&mut floor, None).await;
    let reading = allocations(&mut keep.sessions().layer().layer(service_fn(read)), Some(&cookie)).await;
    println!("session read: {reading} allocations, {floor} of a bare GET and its parsing");
    assert!(reading <= floor + 8, "{reading} against {floor}");

    let memory = Keep::in_memory();
    for policy in [BUCKET, WINDOW] {
        let limited = allocations(&mut memory.limits().layer(policy).layer(service_fn(ok)), None).await - plain;
        println!("{} in memory: {limited} allocations over no layer", policy.name());
        assert!(limited <= 4, "{limited}");
    }
    let bare = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::default())));
    let hit = allocations(&mut memory.cache().public("items").ttl(minutes(5)).layer(bare), None).await;
    println!("cache hit in memory: {hit} allocations");
    assert!(hit <= 2, "the map of fields, which is two pieces: {hit}");
    memory::a_gibibyte_streams_through_the_cache().await;
}
