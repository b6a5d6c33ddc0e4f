//! One small application, with our sessions, with those of a peer, and without any.

use axum::{Router, extract::State, routing::get};
use towerkeep::{Keep, session::Session};

/// What the floor's value is longer than its three values.
const PADDING: usize = 300;

/// What a perfect layer would do for a read: one GET of a session's value, parsed.
pub async fn floor(url: &str) -> Router {
    let client = redis::Client::open(url).expect("a valid url");
    let mut connection = client.get_multiplexed_async_connection().await.expect("redis is up");
    // As many bytes as our session of three values has.
    let value = serde_json::json!({"n": 7, "theme": 7, "lang": 7, "padding": "x".repeat(PADDING)}).to_string();
    let key = "floor";
    redis::cmd("SET").arg(key).arg(value).exec_async(&mut connection).await.expect("stored");
    let read = |State((mut connection, key)): State<(redis::aio::MultiplexedConnection, &'static str)>| async move {
        let text: String = redis::cmd("GET").arg(key).query_async(&mut connection).await.expect("a value");
        let value: serde_json::Value = serde_json::from_str(&text).expect("json");
        value["n"].to_string()
    };
    let fill = async || ([("set-cookie", "floor=1; Path=/")], "");
    Router::new().route("/", get(read)).route("/fill", get(fill)).with_state((connection, key))
}

/// An application with our sessions.
pub async fn ours(url: &str) -> Router {
    let keep = Keep::builder().redis(url).build().expect("a valid url");
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

/// The same with tower-sessions and its Redis store.
pub async fn theirs(url: &str) -> Router {
    use tower_sessions::{Expiry, Session, SessionManagerLayer};
    use tower_sessions_redis_store::{RedisStore, fred::prelude::*};
    let pool = Pool::new(Config::from_url(url).expect("a valid url"), None, None, None, 1).expect("a pool");
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
