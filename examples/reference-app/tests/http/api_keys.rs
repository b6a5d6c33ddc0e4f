//! API keys: made, shown once, listed, revoked.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    items,
    keys::{KEYS, execute, get, key, on_both},
    suite,
    support::App,
};

const BOOKMARKS: &str = "/api/v1/bookmarks";

suite![
    a_key_is_shown_once_and_works_until_it_is_deleted,
    a_key_tells_all_that_is_wrong,
    another_users_keys_are_not_there,
    a_key_ends_when_it_expires,
    ten_requests_a_minute_are_enough,
];

async fn a_key_is_shown_once_and_works_until_it_is_deleted(app: App) {
    let mut alice = app.user("alice").await;
    let scopes = json!(["bookmarks:read", "bookmarks:write"]);
    let made = alice.post(KEYS, json!({ "name": " backup ", "scopes": scopes })).await;
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store"), "{made:?}");
    let path = made.header("location").to_owned();
    assert_eq!(path, format!("{KEYS}/{}", made.body["id"]));
    assert_eq!((&made.body["name"], &made.body["scopes"]), (&json!("backup"), &scopes));
    assert_eq!((&made.body["expires_at"], &made.body["last_used_at"]), (&Value::Null, &Value::Null));
    let key = made.body["key"].as_str().expect("a key").to_owned();
    let prefix = made.body["prefix"].as_str().expect("a prefix");
    assert!(key.starts_with(&format!("tk_{prefix}_")) && key.len() == 3 + 16 + 1 + 64, "{key}");

    let listed = alice.get(KEYS).await;
    let secret = key.rsplit('_').next().expect("a secret");
    assert!(!listed.body.to_string().contains(secret), "{listed:?}");
    let mut shown = made.body.clone();
    shown.as_object_mut().expect("an object").remove("key");
    assert_eq!(items(&listed), &[shown]);

    assert_eq!(get(&app, BOOKMARKS, &key).await.status, 200);
    assert_eq!(alice.delete(&path).await.status, 204);
    assert_eq!(get(&app, BOOKMARKS, &key).await.status, 401);
    assert_eq!(alice.delete(&path).await.status, 404);
    assert!(items(&alice.get(KEYS).await).is_empty());
}

async fn a_key_tells_all_that_is_wrong(app: App) {
    let mut alice = app.user("alice").await;
    let wrong = json!({ "name": "", "scopes": ["everything"], "expires_at": "2020-01-01T00:00:00Z", "user_id": 1 });
    assert_eq!(alice.post(KEYS, wrong).await.refused(), ["expires_at", "name", "scopes", "user_id"]);
    assert_eq!(alice.post(KEYS, json!({})).await.refused(), ["name", "scopes"]);
    for scopes in [json!([]), json!(["tasks:read", "tasks:read"]), json!("tasks:read"), json!([null]), Value::Null] {
        let answer = alice.post(KEYS, json!({ "name": "x", "scopes": scopes })).await;
        assert_eq!(answer.refused(), ["scopes"], "{scopes}");
    }
    let never = json!({ "name": "a\u{0}", "scopes": ["tasks:read"], "expires_at": 99_999_999_999_999_u64 });
    assert_eq!(alice.post(KEYS, never).await.refused(), ["expires_at", "name"]);
}

async fn another_users_keys_are_not_there(app: App) {
    let (mut alice, mut mallory) = (app.user("alice").await, app.user("mallory").await);
    let made = alice.post(KEYS, json!({ "name": "mine", "scopes": ["bookmarks:read"] })).await;
    let path = made.header("location").to_owned();
    assert!(items(&mallory.get(KEYS).await).is_empty());
    assert_eq!(mallory.delete(&path).await.status, 404);
    let mut visitor = app.visitor();
    assert_eq!((visitor.get(KEYS).await.status, visitor.delete(&path).await.status), (401, 401));
    assert_eq!(get(&app, BOOKMARKS, made.body["key"].as_str().expect("a key")).await.status, 200);
}

async fn a_key_ends_when_it_expires(app: App) {
    let mut alice = app.user("alice").await;
    let expires_at = jiff::Timestamp::now() + Duration::from_secs(2);
    let new = json!({ "name": "soon gone", "scopes": ["bookmarks:read"], "expires_at": expires_at });
    let made = alice.post(KEYS, new).await;
    assert_eq!(made.status, 201, "{made:?}");
    let key = made.body["key"].as_str().expect("a key");
    assert_eq!(get(&app, BOOKMARKS, key).await.status, 200);
    let deadline = Instant::now() + Duration::from_secs(20);
    while get(&app, BOOKMARKS, key).await.status != 401 {
        assert!(Instant::now() < deadline, "waited 20 s for the key to expire");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(jiff::Timestamp::now() >= expires_at);
}

async fn ten_requests_a_minute_are_enough(app: App) {
    let (mut alice, mut bob) = (app.user("alice").await, app.user("bob").await);
    for n in 0..10 {
        assert_eq!(alice.get(KEYS).await.status, 200, "request {n}");
    }
    let refused = alice.post(KEYS, json!({ "name": "x", "scopes": ["tasks:read"] })).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(bob.get(KEYS).await.status, 200, "another user");
}

/// Counted by the database: there is no moment at which two requests both see room for one.
#[tokio::test]
async fn twenty_keys_are_the_most_however_many_are_made_at_once() {
    on_both(async |database| {
        let app = App::start(&["--database", &database]);
        let mut alice = app.user("alice").await;
        let id = alice.get("/api/v1/auth/me").await.body["id"].clone();
        let rows: Vec<_> = (0..18).map(|n| format!("({id}, 'p{n}', 'd', 'n', '[]', 0)")).collect();
        let columns = "user_id, prefix, digest, name, scopes, created_at";
        execute(&database, format!("INSERT INTO api_keys ({columns}) VALUES {}", rows.join(", "))).await;
        let mut making = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let mut again = app.visitor();
            again.set_cookies(alice.cookies());
            making
                .spawn(async move { again.post(KEYS, json!({ "name": "n", "scopes": ["tasks:read"] })).await.status });
        }
        let mut statuses = making.join_all().await;
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 201, 409, 409, 409, 409]);
    })
    .await;
}

#[tokio::test]
async fn when_a_key_was_used_is_noted() {
    on_both(async |database| {
        let app = App::start(&["--database", &database]);
        let mut alice = app.user("alice").await;
        let key = key(&mut alice, &["bookmarks:read"]).await;
        used_since(&app, &mut alice, &key, jiff::Timestamp::now() - Duration::from_secs(1)).await;
        execute(&database, "UPDATE api_keys SET last_used_at = 0".to_owned()).await;
        used_since(&app, &mut alice, &key, jiff::Timestamp::now() - Duration::from_secs(1)).await;
    })
    .await;
}

async fn used_since(app: &App, owner: &mut crate::support::Browser, key: &str, since: jiff::Timestamp) {
    assert_eq!(get(app, BOOKMARKS, key).await.status, 200);
    for _ in 0..4 {
        let used = items(&owner.get(KEYS).await)[0]["last_used_at"].as_str().and_then(|at| at.parse().ok());
        if used.is_some_and(|at: jiff::Timestamp| at >= since) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("waited 1 s for the note");
}
