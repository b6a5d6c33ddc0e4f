//! The 99th percentiles that towerkeep promises, at 2,000 requests a second, beside PING's on the same machine.

use std::{net::SocketAddr, pin::Pin, time::Duration};

use axum::{Router, body::Body, routing::get};
use http::{Request, header};
use tower::{ServiceBuilder, ServiceExt};
use towerkeep::{Keep, PeerAddr, clock::minutes, rate_limit::Policy, session::Session};
use towerkeep_benches::{RedisServer, open_loop};

const BUCKET: Policy = Policy::token_bucket("bucket", 1_000_000_000, minutes(1));
const WINDOW: Policy = Policy::sliding_window("window", 1_000_000_000, minutes(1));
const RATE: f64 = 2_000.0;
const ROUNDS: usize = 5;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is measured: its name, the promise in milliseconds, and one request of it.
struct Case {
    name: &'static str,
    promise: Option<f64>,
    once: Box<dyn FnMut() -> Work>,
}

fn send(router: &Router, request: Request<Body>) -> Work {
    let router = router.clone();
    Box::pin(async move {
        let response = router.oneshot(request).await.expect("infallible");
        assert!(response.status().is_success());
        axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    })
}

fn asking(path: &str, cookie: &str) -> Request<Body> {
    let mut request = Request::get(path)
        .header(header::COOKIE, cookie)
        .header("host", "a.example")
        .body(Body::empty())
        .expect("a request");
    request.extensions_mut().insert(PeerAddr(SocketAddr::from(([203, 0, 113, 7], 99))));
    request
}

fn service(keep: &Keep) -> Router {
    let fill = |session: Session| async move { session.insert("n", 7).expect("fits") };
    let read =
        |session: Session| async move { session.get::<i64>("n").await.expect("up").expect("filled").to_string() };
    let change = |session: Session| async move { session.insert("n", 8).expect("fits") };
    let sessions = ServiceBuilder::new().layer(keep.layer()).layer(keep.sessions().layer());
    let sessions =
        Router::new().route("/fill", get(fill)).route("/read", get(read)).route("/write", get(change)).layer(sessions);
    let cache = keep.cache();
    Router::new()
        .route("/hit", get(async || "cached").layer(cache.public("hit").ttl(minutes(10))))
        .route("/miss/{n}", get(async || "fresh").layer(cache.public("miss").ttl(minutes(10))))
        .route("/bucket", get(async || "ok").layer(keep.limits().layer(BUCKET)))
        .route("/window", get(async || "ok").layer(keep.limits().layer(WINDOW)))
        .layer(keep.layer())
        .merge(sessions)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    let server = RedisServer::start();
    let keep = Keep::builder().redis(&server.url()).build().expect("a valid url");
    assert!(keep.ready(Duration::from_secs(5)).await);
    let app = service(&keep);
    let response = app.clone().oneshot(asking("/fill", "")).await.expect("infallible");
    let cookie =
        response.headers()[header::SET_COOKIE].to_str().expect("ascii").split(';').next().expect("a pair").to_owned();
    let connection = server.client().await;
    let mut n = 0u64;
    let plain = |name, promise, path: &'static str| {
        let (app, cookie) = (app.clone(), cookie.clone());
        Case { name, promise: Some(promise), once: Box::new(move || send(&app, asking(path, &cookie))) }
    };
    let (missing, miss_cookie) = (app.clone(), cookie.clone());
    let mut cases = vec![
        Case {
            name: "PING",
            promise: None,
            once: Box::new(move || {
                let mut connection = connection.clone();
                Box::pin(async move { redis::cmd("PING").exec_async(&mut connection).await.expect("pong") })
            }),
        },
        plain("cache hit", 1.0, "/hit"),
        Case {
            name: "cache miss",
            promise: Some(5.0),
            once: Box::new(move || {
                n += 1;
                send(&missing, asking(&format!("/miss/{n}"), &miss_cookie))
            }),
        },
        plain("session read", 2.0, "/read"),
        plain("session write", 3.0, "/write"),
        plain("rate limit, token bucket", 1.0, "/bucket"),
        plain("rate limit, sliding window", 1.0, "/window"),
    ];
    let mut p99s = vec![Vec::new(); cases.len()];
    for _ in 0..ROUNDS {
        for (case, p99s) in cases.iter_mut().zip(&mut p99s) {
            p99s.push(open_loop(RATE, 2.0, &mut case.once).await.value_at_quantile(0.99) as f64 / 1e6);
        }
    }
    println!("\np99 at {RATE} requests a second, {ROUNDS} alternated rounds of 2 s");
    println!("{:<28} {:>10} {:>17} {:>8} {:>10}", "", "ms", "min..max", "x PING", "promise");
    let middle = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    let ping = middle(&p99s[0]);
    for (case, p99s) in cases.iter().zip(&p99s) {
        let (least, most) = p99s.iter().fold((f64::MAX, 0f64), |(least, most), ms| (least.min(*ms), most.max(*ms)));
        let promise = case.promise.map_or("-".into(), |ms| format!("< {ms} ms"));
        let own = middle(p99s);
        println!(
            "{:<28} {own:>10.3} {:>17} {:>8.2} {promise:>10}",
            case.name,
            format!("{least:.3}..{most:.3}"),
            own / ping
        );
    }
}
