//! A session's read and change: towerkeep beside a bare GET and beside tower-sessions with its Redis store.

use axum::{Router, body::Body, routing::get};
use http::{Request, header};
use tower::ServiceExt;
use towerkeep_benches::{
    Contender, RedisServer, compare,
    session_apps::{floor, ours, theirs},
};

const ROUNDS: usize = 7;
const PER_ROUND: usize = 2_000;

fn with_cookie(cookie: String) -> impl Fn() -> Request<Body> {
    move || Request::get("/").header(header::COOKIE, &cookie).body(Body::empty()).expect("a request")
}

/// Logs in through `/fill` and answers the cookie.
async fn cookie_of(router: &Router) -> String {
    let request = Request::get("/fill").body(Body::empty()).expect("a request");
    let response = router.clone().oneshot(request).await.expect("infallible");
    let cookie = response.headers().get(header::SET_COOKIE).expect("a cookie").to_str().expect("ascii");
    cookie.split(';').next().expect("a pair").to_owned()
}

fn at(path: &'static str, cookie: &str) -> impl Fn() -> Request<Body> + 'static {
    let make = with_cookie(cookie.to_owned());
    move || {
        let mut request = make();
        *request.uri_mut() = http::Uri::from_static(path);
        request
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = RedisServer::start();
    let (ours, theirs) = (ours(&server.url()).await, theirs(&server.url()).await);
    let (our_cookie, their_cookie) = (cookie_of(&ours).await, cookie_of(&theirs).await);
    let floor = floor(&server.url()).await;

    let plain = Router::new().route("/untouched", get(async || "static"));
    compare(
        "untouched session",
        ROUNDS,
        PER_ROUND * 10,
        Some(&server),
        vec![
            Contender::router("no layer", plain, at("/untouched", &our_cookie)),
            Contender::router("towerkeep", ours.clone(), at("/untouched", &our_cookie)),
            Contender::router("tower-sessions 0.14", theirs.clone(), at("/untouched", &their_cookie)),
        ],
    )
    .await;
    compare(
        "session read from Redis, three values",
        ROUNDS,
        PER_ROUND,
        Some(&server),
        vec![
            Contender::router("bare GET and parse", floor.clone(), at("/", &our_cookie)),
            Contender::router("towerkeep", ours.clone(), at("/", &our_cookie)),
            Contender::router("tower-sessions 0.14, redis-store 0.16", theirs.clone(), at("/", &their_cookie)),
        ],
    )
    .await;
    compare(
        "session change",
        ROUNDS,
        PER_ROUND,
        Some(&server),
        vec![
            Contender::router("bare GET and parse", floor, at("/", &our_cookie)),
            Contender::router("towerkeep (compare and set)", ours, at("/change", &our_cookie)),
            Contender::router("tower-sessions 0.14 (last write wins)", theirs, at("/change", &their_cookie)),
        ],
    )
    .await;
}
