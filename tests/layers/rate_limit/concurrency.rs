//! Policies of concurrency: slots that last as long as the response.

use std::pin::Pin;

use http_body::{Body, Frame};
use tokio::sync::{mpsc, oneshot};
use tokio_test::{assert_pending, task::spawn};

use super::*;

const PAIR: Policy = Policy::concurrency("pair", 2);

/// A body that waits for its end; without one it fails.
#[derive(Debug)]
struct Open(oneshot::Receiver<()>);

impl Body for Open {
    type Data = Bytes;
    type Error = &'static str;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Pin::new(&mut self.0).poll(cx).map(|ended| ended.err().map(|_| Err("cut")))
    }
}

type Opened = (Response<ResponseBody<Open>>, Option<oneshot::Sender<()>>);

/// What one request got, and what ends its body if it was served.
async fn open(layer: &RateLimitLayer, request: Request<Empty<Bytes>>) -> Opened {
    let (ends, mut ending) = mpsc::unbounded_channel();
    let service = service_fn(move |_| {
        let (end, ended) = oneshot::channel();
        ends.send(end).expect("the test waits");
        async { Ok::<_, Infallible>(Response::new(Open(ended))) }
    });
    let answer = layer.layer(service).oneshot(request).await.expect("infallible");
    (answer, ending.try_recv().ok())
}

async fn status(layer: &RateLimitLayer) -> u16 {
    open(layer, from("192.0.2.7")).await.0.status().as_u16()
}

#[tokio::test]
async fn a_slot_is_taken_until_the_body_ends() {
    let layer = limits().layer(PAIR);
    let (first, end) = open(&layer, from("192.0.2.7")).await;
    let (second, _cut) = open(&layer, from("192.0.2.7")).await;
    assert_eq!(first.headers()["ratelimit-policy"], "\"pair\";q=2;qu=\"concurrent-requests\"");
    assert_eq!(
        (&first.headers()["ratelimit"], &second.headers()["ratelimit"]),
        (&"\"pair\";r=1".parse().expect("value"), &"\"pair\";r=0".parse().expect("value"))
    );
    let (refused, _) = open(&layer, from("192.0.2.7")).await;
    assert_eq!((refused.status().as_u16(), refused.headers().contains_key(RETRY_AFTER)), (429, false));
    assert_eq!(open(&layer, from("192.0.2.8")).await.0.status(), StatusCode::OK, "another client");

    let mut body = first.into_body();
    assert_pending!(spawn(body.frame()).poll());
    assert_eq!(status(&layer).await, 429, "it streams");
    end.expect("served").send(()).expect("the body waits");
    assert!(body.frame().await.is_none());
    assert_eq!(status(&layer).await, 200, "it has ended, though nobody dropped it yet");
}

#[tokio::test]
async fn a_failed_or_dropped_body_gives_its_slot_back() {
    let layer = limits().layer(Policy::concurrency("lone", 1));
    let (answer, end) = open(&layer, from("192.0.2.7")).await;
    drop(end);
    let mut body = answer.into_body();
    assert_eq!(body.frame().await.expect("a frame").expect_err("cut"), "cut");
    let (answer, _end) = open(&layer, from("192.0.2.7")).await;
    assert_eq!((answer.status().as_u16(), status(&layer).await), (200, 429));
    drop(answer);
    assert_eq!(status(&layer).await, 200);
}

#[tokio::test]
async fn a_request_that_never_answers_gives_its_slot_back() {
    let layer = limits().layer(Policy::concurrency("lone", 1));
    let hanging = layer.layer(service_fn(|_| std::future::pending::<Result<Response<Open>, Infallible>>()));
    let mut call = spawn(hanging.oneshot(from("192.0.2.7")));
    assert_pending!(call.poll());
    assert_eq!(status(&layer).await, 429);
    drop(call);
    assert_eq!(status(&layer).await, 200, "the client went away");

    let failing = layer.layer(service_fn(async |_| Err::<Response<Open>, _>("broken")));
    assert_eq!(failing.oneshot(from("192.0.2.7")).await.expect_err("broken"), "broken");
    let panicking =
        layer.layer(service_fn(async |_| -> Result<Response<Open>, Infallible> { panic!("a handler's own") }));
    let panicked = tokio::spawn(panicking.oneshot(from("192.0.2.7"))).await;
    assert!(panicked.is_err_and(|error| error.is_panic()));
    assert_eq!(status(&layer).await, 200);
}

#[tokio::test]
async fn slots_come_first_and_a_refusal_charges_nothing() {
    let limits = limits();
    let layer = limits.layer([TWO, PAIR]);
    let answer = open(&layer, from("192.0.2.7")).await;
    assert_eq!(answer.0.headers()["ratelimit"], "\"two\";r=1;t=60, \"pair\";r=1");
    let held = limits.check(PAIR, "192.0.2.7".parse::<std::net::IpAddr>().expect("an address")).await.expect("a slot");
    let (refused, _) = open(&layer, from("192.0.2.7")).await;
    assert_eq!(refused.headers()["ratelimit"], "\"pair\";r=0", "the window was not even asked");
    assert!(text_of(refused).await.contains(r#""violated-policies":["pair"]"#));
    drop(held);
    assert_eq!(open(&layer, from("192.0.2.7")).await.0.headers()["ratelimit"], "\"two\";r=0;t=60, \"pair\";r=0");
}

async fn text_of(answer: Response<ResponseBody<Open>>) -> String {
    let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[tokio::test]
async fn a_refusal_by_the_store_gives_the_slot_back() {
    let limits = limits();
    let layer = limits.layer([PAIR, ONE]);
    assert_eq!((status(&layer).await, status(&layer).await), (200, 429));
    let client: std::net::IpAddr = "192.0.2.7".parse().expect("an address");
    let decisions = limits.inspect([PAIR, ONE], client).await.expect("memory answers");
    let told: Vec<_> = decisions.iter().map(|decision| (decision.policy().name(), decision.remaining())).collect();
    assert_eq!(told, [("pair", 2), ("one", 0)]);
}

#[tokio::test]
async fn mounted_twice_or_passed_by_it_takes_one_slot_or_none() {
    let limits = limits();
    let lone = Policy::concurrency("lone", 1);
    let layers = ServiceBuilder::new().layer(limits.layer(lone)).layer(limits.layer(lone));
    let service = layers.service(service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))));
    let held = service.clone().oneshot(from("192.0.2.7")).await.expect("infallible");
    assert_eq!(held.status(), StatusCode::OK);
    assert_eq!(service.oneshot(from("192.0.2.7")).await.expect("infallible").status(), StatusCode::TOO_MANY_REQUESTS);
    let free = limits.layer(lone).cost(|_| 0);
    assert_eq!(status(&free).await, 200, "what costs nothing takes no slot");
    assert_eq!(status(&limits.layer(lone).cost(|_| 7)).await, 429, "a slot is one, whatever the cost");
    assert_eq!(status(&limits.layer(lone).shadow()).await, 200);
}

#[tokio::test]
async fn a_quota_holds_the_slot_and_has_nothing_to_charge() {
    let limits = limits();
    let quota = limits.check(PAIR, "alice").await.expect("a slot");
    let other = quota.charge(1_000).await.expect("nothing to charge");
    quota.refund().await;
    limits.reset(PAIR, "alice").await.expect("memory answers");
    assert_eq!(limits.inspect(PAIR, "alice").await.expect("memory answers")[0].remaining(), 1);
    drop(quota);
    assert_eq!(limits.inspect(PAIR, "alice").await.expect("memory answers")[0].remaining(), 1, "a clone lives");
    drop(other);
    assert_eq!(limits.inspect(PAIR, "alice").await.expect("memory answers")[0].remaining(), 2);
}

#[tokio::test]
async fn an_outage_changes_no_slot() {
    let outage = OutageSwitch::default();
    let limits = RateLimits::new(MemoryRateStore::new(Clock::system()).outage(outage.clone()));
    outage.set(true);
    let layer = limits.layer([PAIR, Policy::sliding_window("deny", 9, minutes(1)).on_outage(LimitOutage::Deny)]);
    assert_eq!(status(&layer).await, 503);
    let layer = limits.layer(PAIR);
    let held = [open(&layer, from("192.0.2.7")).await, open(&layer, from("192.0.2.7")).await];
    assert!(held.iter().all(|(answer, _)| answer.status() == StatusCode::OK));
    assert_eq!(status(&layer).await, 429, "the refusal by the other policy kept no slot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_more_than_the_limit_are_under_way() {
    let limits = limits();
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (limits, now, most) = (limits.clone(), Arc::clone(&now), Arc::clone(&most));
        tasks.spawn(async move {
            for _ in 0..200 {
                let Ok(slot) = limits.check(PAIR, "alice").await else { continue };
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, SeqCst);
                drop(slot);
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(most.load(SeqCst), 2);
    assert_eq!(limits.inspect(PAIR, "alice").await.expect("memory answers")[0].remaining(), 2);
}
