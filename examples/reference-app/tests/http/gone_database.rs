//! A PostgreSQL that goes away while the app runs.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    keys,
    support::{App, postgres::Postgres},
};

/// Alive and not ready: nothing is restarted for it, and nobody is sent here.
#[tokio::test]
async fn a_database_that_is_gone_is_told() {
    let Some(mut server) = Postgres::start().await else { return };
    let app = App::start(&["--database", &server.database().await]);
    let mut alice = app.user("alice").await;
    let key = keys::key(&mut alice, &["bookmarks:read"]).await;
    drop(server);
    let deadline = Instant::now() + Duration::from_secs(20);
    while alice.get("/readyz").await.status != 503 {
        assert!(Instant::now() < deadline, "waited 20 s for the probe to notice");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(alice.get("/livez").await.status, 200);
    let answer = alice.post("/api/v1/bookmarks", json!({ "url": "https://example.com", "title": "lost" })).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{answer:?}");
    let answer = keys::get(&app, "/api/v1/bookmarks", &key).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "nothing is known of the key: {answer:?}");
}
