//! A session's read and change: towerkeep beside a bare GET and beside tower-sessions with its Redis store.

use axum::{Router, body::Body, extract::State, routing::get};
use http::{Request, header};
use tower::ServiceExt;
use towerkeep::{Keep, session::Session};
use towerkeep_benches::{Contender, RedisServer, compare};

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

/// What a perfect layer would do for a read: one GET of a session's value, parsed.
async fn floor(server: &RedisServer, key: String, value: String) -> Router {
    let mut connection = server.client().await;
    redis::cmd("SET").arg(&key).arg(value).exec_async(&mut connection).await.expect("stored");
    let read = |State((mut connection, key)): State<(redis::aio::MultiplexedConnection, String)>| async move {
        let text: String = redis::cmd("GET").arg(key).query_async(&mut connection).await.expect("a value");
        let value: serde_json::Value = serde_json::from_str(&text).expect("json");
        value["n"].to_string()
    };
    Router::new().route("/", get(read)).with_state((connection, key))
}

async fn ours(server: &RedisServer) -> Router {
    let keep = Keep::builder().redis(&server.url()).build().expect("a valid url");
    assert!(keep.ready(std::time::Duration::from_secs(5)).await);
    let fill = |session: Session| async move {
        for name in ["n", "theme", "lang"] {
            session.insert(name, 7).expect("fits");
        }
    };
    let read = |session: Session| async move {
        session.get::<i64>("n").await.expect("redis is up").expect("filled").to_string()
    };
    let change = |session: Session| async move {
        session.update("n", |n: &mut i64| *n += 1).await.expect("redis is up").to_string()
    };
    Router::new()
        .route("/fill", get(fill))
        .route("/", get(read))
        .route("/change", get(change))
        .route("/untouched", get(async || "static"))
        .layer(tower::ServiceBuilder::new().layer(keep.layer()).layer(keep.sessions().layer()))
}

async fn theirs(server: &RedisServer) -> Router {
    use tower_sessions::{Expiry, Session, SessionManagerLayer};
    use tower_sessions_redis_store::{RedisStore, fred::prelude::*};
    let pool = Pool::new(Config::from_url(&server.url()).expect("a valid url"), None, None, None, 1).expect("a pool");
    pool.connect();
    pool.wait_for_connect().await.expect("redis is up");
    let layer =
        SessionManagerLayer::new(RedisStore::new(pool)).with_expiry(Expiry::OnInactivity(time::Duration::hours(24)));
    let fill = |session: Session| async move {
        for name in ["n", "theme", "lang"] {
            session.insert(name, 7).await.expect("redis is up");
        }
    };
    let read = |session: Session| async move {
        session.get::<i64>("n").await.expect("redis is up").expect("filled").to_string()
    };
    let change = |session: Session| async move {
        let n: i64 = session.get("n").await.expect("redis is up").expect("filled");
        session.insert("n", n + 1).await.expect("redis is up");
        (n + 1).to_string()
    };
    Router::new()
        .route("/fill", get(fill))
        .route("/", get(read))
        .route("/change", get(change))
        .route("/untouched", get(async || "static"))
        .layer(layer)
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
    let (ours, theirs) = (ours(&server).await, theirs(&server).await);
    let (our_cookie, their_cookie) = (cookie_of(&ours).await, cookie_of(&theirs).await);
    let value = serde_json::json!({"n": 7, "theme": 7, "lang": 7, "padding": "x".repeat(300)}).to_string();
    let floor = floor(&server, "floor".into(), value).await;

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
