//! The rate limit layer's own rules, through mocked services.

mod concurrency;
mod counters;
mod grpc;
mod routes;
mod tonic;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::RETRY_AFTER, request::Parts};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use towerkeep::{
    Cx, Key, KeyValue, PeerAddr, Principal, StoreFuture,
    clock::{Clock, ManualClock, Timestamp, minutes, seconds},
    rate_limit::{
        Charge, Denied, LimitHeaders, LimitOutage, MemoryRateStore, Outcome, Policy, Quota, RateLimitLayer,
        RateLimitService, RateLimits, RateStore, ResponseBody, Verdict,
    },
    store::OutageSwitch,
};

const TWO: Policy = Policy::sliding_window("two", 2, minutes(1));
const ONE: Policy = Policy::token_bucket("one", 1, seconds(10));

fn limits() -> RateLimits {
    RateLimits::new(MemoryRateStore::new(Clock::system()))
}

fn from(ip: &str) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    let peer: SocketAddr = format!("{ip}:4711").parse().expect("an address");
    request.extensions_mut().insert(PeerAddr(peer));
    request
}

type Answer = Response<ResponseBody<Full<Bytes>>>;

/// Sends one request through the layer around a service that answers 200.
async fn send(layer: &RateLimitLayer, request: Request<Empty<Bytes>>) -> Answer {
    let service = layer.layer(service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::from("served")))));
    service.oneshot(request).await.expect("infallible")
}

async fn statuses(layer: &RateLimitLayer, times: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        statuses.push(send(layer, from("192.0.2.7")).await.status().as_u16());
    }
    statuses
}

async fn text(answer: Answer) -> String {
    let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn layer_and_service_are_clone_send_sync_static() {
    fn check<T: Clone + Send + Sync + std::fmt::Debug + 'static>(_: &T) {}
    let layer = limits().layer(TWO);
    check(&layer);
    let service: RateLimitService<()> = layer.layer(());
    check(&service);
    check(&limits());
}

#[tokio::test]
async fn rejects_when_the_window_is_full() {
    let layer = limits().layer(TWO);
    assert_eq!(statuses(&layer, 3).await, [200, 200, 429]);
    assert_eq!(send(&layer, from("192.0.2.8")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_refusal_is_a_problem_document_that_nobody_caches() {
    let layer = limits().layer([TWO, ONE]);
    assert_eq!(text(send(&layer, from("192.0.2.7")).await).await, "served");
    let refused = send(&layer, from("192.0.2.7")).await;
    let header = |name: &str| refused.headers()[name].to_str().expect("text").to_owned();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header("retry-after"), "10");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("content-type"), "application/problem+json");
    assert_eq!(header("ratelimit-policy"), "\"two\";q=2;w=60, \"one\";q=1;w=10");
    assert_eq!(header("ratelimit"), "\"two\";r=1;t=60, \"one\";r=0;t=10");
    let document: serde_json::Value = serde_json::from_str(&text(refused).await).expect("json");
    assert_eq!(document["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!((&document["status"], &document["violated-policies"]), (&429.into(), &serde_json::json!(["one"])));
}

#[tokio::test]
async fn an_admitted_response_says_what_remains() {
    let layer = limits().layer(TWO);
    let answer = send(&layer, from("192.0.2.7")).await;
    assert_eq!(answer.headers()["ratelimit"], "\"two\";r=1;t=60");
    let answer = send(&layer.clone().headers(LimitHeaders::XRateLimit), from("192.0.2.7")).await;
    assert_eq!(answer.headers()["x-ratelimit-remaining"], "0");
    let refused = send(&layer.headers(LimitHeaders::RetryAfterOnly), from("192.0.2.7")).await;
    assert!(refused.headers().contains_key(RETRY_AFTER) && !refused.headers().contains_key("ratelimit"));
}

#[tokio::test]
async fn the_inner_service_never_sees_a_refused_request() {
    let calls = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&calls);
    let inner = service_fn(move |_: Request<Empty<Bytes>>| {
        seen.fetch_add(1, SeqCst);
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("served"))) }
    });
    let service = limits().layer(TWO).layer(inner);
    for _ in 0..5 {
        service.clone().oneshot(from("192.0.2.7")).await.expect("infallible");
    }
    assert_eq!(calls.load(SeqCst), 2);
}

/// A store whose answer a test gives when it likes.
struct Slow(tokio::sync::Mutex<Option<tokio::sync::oneshot::Receiver<Verdict>>>);

impl RateStore for Slow {
    fn check(&self, _: &Cx, _: &KeyValue, _: &[Policy], _: u32) -> StoreFuture<Verdict> {
        let receiver = self.0.try_lock().expect("one at a time").take().expect("asked once");
        StoreFuture::boxed(async move { Ok(receiver.await.expect("answered")) })
    }
    fn peek(&self, _: &Cx, _: &KeyValue, _: &[Policy]) -> StoreFuture<Verdict> {
        StoreFuture::ok(Verdict::default())
    }
    fn refund(&self, _: &Cx, _: &KeyValue, _: &[Charge]) -> StoreFuture<()> {
        StoreFuture::ok(())
    }
    fn reset(&self, _: &Cx, _: &KeyValue, _: &[Policy]) -> StoreFuture<()> {
        StoreFuture::ok(())
    }
}

#[tokio::test]
async fn the_inner_service_is_called_only_after_the_verdict() {
    let (give, answer) = tokio::sync::oneshot::channel();
    let limits = RateLimits::new(Slow(tokio::sync::Mutex::new(Some(answer))));
    let called = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&called);
    let mut service = limits.layer(TWO).layer(service_fn(move |_: Request<Empty<Bytes>>| {
        seen.store(true, SeqCst);
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    }));
    let mut future = Box::pin(service.ready().await.expect("ready").call(from("192.0.2.7")));
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(!called.load(SeqCst));
    give.send(Verdict::default()).expect("awaited");
    assert_eq!(future.await.expect("infallible").status(), StatusCode::OK);
    assert!(called.load(SeqCst));
}

#[tokio::test]
async fn the_ready_service_is_the_one_called_and_its_error_passes_through() {
    #[derive(Debug, PartialEq)]
    struct Broken;
    /// Ready only where `poll_ready` was asked; clones are not.
    struct Strict(bool);
    impl Clone for Strict {
        fn clone(&self) -> Self {
            Self(false)
        }
    }
    impl Service<Request<Empty<Bytes>>> for Strict {
        type Response = Response<Full<Bytes>>;
        type Error = Broken;
        type Future = std::future::Ready<Result<Self::Response, Broken>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            self.0 = true;
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
            assert!(self.0, "called a service that was not ready");
            std::future::ready(Err(Broken))
        }
    }
    let mut service = limits().layer(TWO).layer(Strict(false));
    for _ in 0..2 {
        let answer = service.ready().await.expect("ready").call(from("192.0.2.7")).await;
        assert_eq!(answer.map(|_| ()), Err(Broken));
    }
}

#[tokio::test]
async fn the_same_policy_mounted_twice_charges_once() {
    let limits = limits();
    let service = ServiceBuilder::new()
        .layer(limits.layer(TWO))
        .layer(limits.layer([TWO, ONE]))
        .layer(limits.layer(TWO))
        .service(service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))));
    let answer = service.clone().oneshot(from("192.0.2.7")).await.expect("infallible");
    let lines: Vec<_> = answer.headers().get_all("ratelimit").iter().collect();
    assert_eq!(lines, ["\"one\";r=0;t=10", "\"two\";r=1;t=60"]);
}

#[tokio::test]
async fn the_same_policy_by_another_key_charges_both() {
    let limits = limits();
    let service = ServiceBuilder::new()
        .layer(limits.layer(TWO))
        .layer(limits.layer(TWO).by(Key::global()))
        .service(service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))));
    service.clone().oneshot(from("192.0.2.7")).await.expect("infallible");
    let standing = limits.inspect(TWO, "x").await.expect("memory answers");
    assert_eq!(standing[0].remaining(), 2);
    service.clone().oneshot(from("192.0.2.8")).await.expect("infallible");
    let third = service.oneshot(from("192.0.2.9")).await.expect("infallible");
    assert_eq!(third.status(), StatusCode::TOO_MANY_REQUESTS, "the global key is full");
}

#[tokio::test]
async fn requests_without_a_key_share_one_bucket() {
    let layer = limits().layer(TWO);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(send(&layer, Request::new(Empty::new())).await.status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test]
async fn counts_by_user_and_by_address_for_the_others() {
    let layer = limits().layer(ONE).by(Key::user().or(Key::client_ip()));
    let by = |user: Option<u32>, ip: &str| {
        let mut request = from(ip);
        request.extensions_mut().insert(user.map_or_else(Principal::anonymous, Principal::user));
        request
    };
    assert_eq!(send(&layer, by(Some(1), "192.0.2.7")).await.status(), 200);
    assert_eq!(send(&layer, by(Some(1), "192.0.2.8")).await.status(), 429);
    assert_eq!(send(&layer, by(Some(2), "192.0.2.7")).await.status(), 200);
    assert_eq!(send(&layer, by(None, "192.0.2.7")).await.status(), 200);
    assert_eq!(send(&layer, by(None, "192.0.2.7")).await.status(), 429);
}

#[tokio::test]
async fn a_user_who_is_looked_up_is_waited_for() {
    struct Later;
    impl towerkeep::Identify for Later {
        fn identify(&self) -> StoreFuture<towerkeep::Identity> {
            StoreFuture::boxed(async {
                tokio::task::yield_now().await;
                Ok(towerkeep::Identity::Known(towerkeep::UserId::new(7)))
            })
        }
    }
    let limits = limits();
    let layer = limits.layer(TWO).by(Key::user());
    let mut request = from("192.0.2.7");
    request.extensions_mut().insert(Principal::lazy(Later));
    assert_eq!(send(&layer, request).await.status(), 200);
    let standing = limits.inspect(TWO, towerkeep::UserId::new(7)).await.expect("memory answers");
    assert_eq!(standing[0].remaining(), 1);
}

#[tokio::test]
async fn skipped_and_disabled_requests_are_not_counted() {
    let limits = limits();
    let skipping = limits.layer(ONE).skip(|parts: &Parts| parts.headers.contains_key("x-internal"));
    for _ in 0..3 {
        let mut request = from("192.0.2.7");
        request.headers_mut().insert("x-internal", "1".parse().expect("value"));
        assert_eq!(send(&skipping, request).await.status(), 200);
    }
    assert_eq!(statuses(&limits.layer(ONE).enabled(false), 3).await, [200, 200, 200]);
    assert_eq!(statuses(&limits.layer(ONE), 2).await, [200, 429]);
}

#[tokio::test]
async fn shadow_mode_lets_everything_pass() {
    let limits = limits();
    assert_eq!(statuses(&limits.layer(ONE).shadow(), 3).await, [200, 200, 200]);
    assert_eq!(statuses(&limits.layer(ONE), 1).await, [429], "what passed in shadow was counted");
}

#[tokio::test]
async fn costs_come_from_the_request() {
    let limits = limits();
    let cost = |parts: &Parts| if parts.headers.contains_key("x-big") { 2 } else { 1 };
    let layer = limits.layer(TWO).cost(cost);
    let big = || {
        let mut request = from("192.0.2.7");
        request.headers_mut().insert("x-big", "1".parse().expect("value"));
        request
    };
    assert_eq!(send(&layer, from("192.0.2.7")).await.status(), 200);
    assert_eq!(send(&layer, big()).await.status(), 429);
    assert_eq!(send(&layer, from("192.0.2.7")).await.status(), 200);

    let refused = send(&limits.layer(ONE).cost(cost), big()).await;
    assert_eq!((refused.status(), refused.headers().get(RETRY_AFTER)), (StatusCode::TOO_MANY_REQUESTS, None));
    assert!(text(refused).await.contains("costs more than its limit ever admits"));
}

#[tokio::test]
async fn refunds_by_the_response() {
    let limits = limits();
    let layer = limits.layer(ONE).refund_if(|response| response.status.is_success());
    assert_eq!(statuses(&layer, 5).await, [200; 5]);
    let failing = layer.layer(service_fn(async |_| {
        let mut response = Response::new(Full::<Bytes>::default());
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        Ok::<_, Infallible>(response)
    }));
    assert_eq!(failing.clone().oneshot(from("192.0.2.7")).await.expect("infallible").status(), 401);
    assert_eq!(failing.oneshot(from("192.0.2.7")).await.expect("infallible").status(), 429);
}

#[tokio::test]
async fn the_application_makes_its_own_refusal() {
    let layer = limits().layer(ONE).deny_with(|denied: &Denied, parts: &Parts| {
        let names: Vec<_> = denied.policies().collect();
        let mut response = Response::new(Bytes::from(format!("{} over {}", parts.uri, names.join(","))));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    });
    assert_eq!(send(&layer, from("192.0.2.7")).await.status(), 200);
    let refused = send(&layer, from("192.0.2.7")).await;
    assert_eq!(refused.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(text(refused).await, "/ over one");
}

#[tokio::test]
async fn policies_can_depend_on_the_request() {
    let limits = limits();
    let layer = limits.layer_with(|parts: &Parts| if parts.headers.contains_key("x-pro") { TWO } else { ONE });
    assert_eq!(statuses(&layer, 2).await, [200, 429]);
    let mut request = from("192.0.2.7");
    request.headers_mut().insert("x-pro", "1".parse().expect("value"));
    assert_eq!(send(&layer, request).await.status(), 200);
}

#[tokio::test]
async fn two_policies_of_one_name_are_told_and_the_first_holds() {
    let limits = limits();
    let first = limits.layer(ONE);
    assert!(limits.verify().is_ok());
    let second = limits.layer(ONE.with_limit(9, seconds(10)).expect("possible"));
    let error = limits.verify().expect_err("a clash");
    assert!(error.is_invalid() && error.to_string().contains("one"), "{error}");
    assert_eq!(statuses(&second, 2).await, [200, 429]);
    assert_eq!(statuses(&first, 1).await, [429]);
}

#[tokio::test]
async fn an_outage_is_a_503_where_the_policy_denies_and_a_share_elsewhere() {
    let outage = OutageSwitch::default();
    let limits = RateLimits::new(MemoryRateStore::new(Clock::system()).outage(outage.clone()));
    let strict = Policy::sliding_window("strict", 9, minutes(1)).on_outage(LimitOutage::Deny);
    let open = Policy::sliding_window("open", 1, minutes(1)).on_outage(LimitOutage::Skip);
    outage.set(true);
    let refused = send(&limits.layer(strict), from("192.0.2.7")).await;
    assert_eq!(
        (refused.status(), &refused.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().expect("value"))
    );
    assert_eq!(refused.headers()["cache-control"], "no-store");
    assert!(text(refused).await.contains("#temporary-reduced-capacity"));

    assert_eq!(statuses(&limits.layer(open), 3).await, [200, 200, 200]);
    assert!(!send(&limits.layer(open), from("192.0.2.7")).await.headers().contains_key("ratelimit"));
    assert_eq!(statuses(&limits.layer(TWO), 3).await, [200, 200, 429]);
}

#[tokio::test]
async fn a_handler_sees_its_quota_and_can_charge_more() {
    let limits = limits();
    let service = limits.layer(TWO).layer(service_fn(async |request: Request<Empty<Bytes>>| {
        let quota = request.extensions().get::<Quota>().expect("the layer put it there");
        let before = quota.remaining();
        let more = quota.charge(1).await.map(|quota| quota.remaining());
        let over = quota.charge(1).await.is_err();
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(format!("{before} {more:?} {over}"))))
    }));
    let answer = service.oneshot(from("192.0.2.7")).await.expect("infallible");
    assert_eq!(text(answer).await, "1 Ok(0) true");
}

#[tokio::test]
async fn a_refund_counts_once() {
    let limits = limits();
    let first = limits.check(TWO, "alice").await.expect("admitted");
    limits.check(TWO, "alice").await.expect("admitted");
    first.refund().await;
    first.clone().refund().await;
    assert_eq!(limits.inspect(TWO, "alice").await.expect("memory answers")[0].remaining(), 1);
}

#[tokio::test]
async fn time_gives_the_limit_back() {
    let manual = ManualClock::at(Timestamp::from_micros(1_760_000_000_000_000));
    let limits = RateLimits::new(MemoryRateStore::new(manual.clock()));
    let layer = limits.layer(TWO);
    assert_eq!(statuses(&layer, 3).await, [200, 200, 429]);
    manual.advance(minutes(1) - Duration::from_micros(1));
    let denied = limits.inspect(TWO, std::net::IpAddr::from([192, 0, 2, 7])).await.expect("memory answers");
    assert_eq!((denied[0].remaining(), denied[0].outcome()), (0, Outcome::Uncharged));
    assert_eq!(statuses(&layer, 1).await, [429]);
    manual.advance(Duration::from_micros(1));
    assert_eq!(statuses(&layer, 1).await, [200]);
}

#[tokio::test]
async fn a_request_that_nobody_counts_has_a_quota_too() {
    let limits = limits();
    let echo = service_fn(async |request: Request<Empty<Bytes>>| {
        let quota = request.extensions().get::<Quota>().expect("every layer puts one there").clone();
        assert!(quota.charge(9).await.is_ok() || quota.decision().is_some());
        quota.refund().await;
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(quota.remaining().to_string())))
    });
    let left =
        async |layer: RateLimitLayer| text(layer.layer(echo).oneshot(from("192.0.2.7")).await.expect("served")).await;
    assert_eq!(left(limits.layer(ONE).enabled(false)).await, u32::MAX.to_string());
    assert_eq!(left(limits.layer(ONE).skip(|_| true)).await, u32::MAX.to_string());
    assert_eq!(left(limits.layer(TWO)).await, "1");
    limits.check(ONE, std::net::IpAddr::from([192, 0, 2, 7])).await.expect("admitted");
    assert_eq!(left(limits.layer(ONE).shadow()).await, u32::MAX.to_string());
}

#[tokio::test]
async fn an_outage_is_one_line_in_the_log() {
    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("whole").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // Another test may just be registering the same line as one that nobody listens to.
    tokio::time::sleep(Duration::from_millis(5)).await;
    tracing::callsite::rebuild_interest_cache();
    let outage = OutageSwitch::default();
    let limits = RateLimits::new(MemoryRateStore::new(Clock::system()).outage(outage.clone()));
    let skipped = limits.layer(Policy::sliding_window("skipped", 1, minutes(1)).on_outage(LimitOutage::Skip));
    for on in [true, false, true] {
        outage.set(on);
        send(&skipped, from("192.0.2.7")).await;
        send(&skipped, from("192.0.2.8")).await;
    }
    let text = String::from_utf8(lines.0.lock().expect("whole").clone()).expect("text");
    assert_eq!(text.matches("the store does not answer").count(), 1, "{text}");
}
