//! Where the answers made of lists lie in Redis, and that they come without it, too.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{App, Browser, PATIENT, servers::RedisServer};

const TASKS: &str = "/api/v1/tasks";

/// The paths, the names of their caches, and for how many seconds those keep an answer.
const KEPT: [(&str, &str, i64); 5] = [
    ("/api/v1/bookmarks", "bookmarks", 60),
    (TASKS, "tasks", 60),
    ("/api/v1/search?q=x", "search", 300),
    ("/api/v1/analytics/dashboard", "analytics", 900),
    ("/api/v1/recommendations", "recommendations", 3_600),
];

/// All keys that lie in Redis, with the seconds left to them.
async fn stored(redis: &RedisServer) -> BTreeMap<String, i64> {
    let mut client = redis.client().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut client).await.expect("redis is up");
    let mut stored = BTreeMap::new();
    for key in keys {
        let left = redis::cmd("TTL").arg(&key).query_async(&mut client).await.expect("redis is up");
        stored.insert(key, left);
    }
    stored
}

async fn warm(user: &mut Browser) {
    for (path, ..) in KEPT {
        assert_eq!(user.get(path).await.status, 200, "{path}");
        assert!(user.get(path).await.header("cache-status").contains("; hit"), "{path}");
    }
}

#[tokio::test]
async fn each_answer_lies_under_its_user_for_its_time() {
    let redis = RedisServer::start();
    let app = App::start(&[PATIENT.as_slice(), &["--no-seed", "--redis", &redis.url()]].concat());
    app.says("ok").await;
    let mut alice = app.user("alice").await;
    let id = alice.get("/api/v1/auth/me").await.body["id"].clone();
    warm(&mut alice).await;
    let stored = stored(&redis).await;
    for (path, name, seconds) in KEPT {
        let place = format!("tk:cache:{name}:{id}:");
        let lying: Vec<_> = stored.iter().filter(|(key, _)| key.starts_with(&place)).collect();
        assert!(!lying.is_empty(), "{path}: {stored:?}");
        for (key, left) in lying {
            assert!((seconds - 30..=seconds).contains(left), "{path}: {left} s for {key}");
        }
    }
    for limit in ["search", "ai"] {
        assert!(
            stored.keys().any(|key| key.starts_with("tk:rl:{") && key.ends_with(&format!(":{limit}"))),
            "{stored:?}"
        );
    }
}

#[tokio::test]
async fn every_list_answers_without_redis_and_a_change_shows() {
    let mut redis = RedisServer::start();
    let app = App::start(&[PATIENT.as_slice(), &["--no-seed", "--redis", &redis.url()]].concat());
    app.says("ok").await;
    let mut alice = app.user("alice").await;
    warm(&mut alice).await;
    redis.kill();
    app.says("degraded").await;
    let made = alice.post(TASKS, json!({ "title": "x without Redis", "priority": "urgent" })).await;
    assert_eq!(made.status, 201, "{made:?}");
    every_answer_has_it(&mut alice).await;
    redis.launch();
    app.says("ok").await;
    every_answer_has_it(&mut alice).await;
}

async fn every_answer_has_it(alice: &mut Browser) {
    for (path, ..) in KEPT.into_iter().filter(|(_, name, _)| *name != "bookmarks") {
        let answer = alice.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let shows = answer.body["items"][0]["title"] == "x without Redis" || answer.body["tasks"]["total"] == 1;
        assert!(shows, "{path}: {answer:?}");
    }
}
