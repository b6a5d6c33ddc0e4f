//! The API over HTTP, as its users see it: on SQLite, and all of it again on PostgreSQL.
mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use support::{Answer, App, postgres::Postgres};

const BOOKMARKS: &str = "/api/v1/bookmarks";

/// Runs each case against an app with a new database: on SQLite as a test of its own, on PostgreSQL one after the
/// other on one server.
macro_rules! suite {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $case() { super::$case(super::App::start(&[])).await; })*
        }

        #[tokio::test]
        async fn all_of_it_on_postgresql() {
            let Some(mut server) = Postgres::start().await else { return };
            $(
                eprintln!("on PostgreSQL: {}", stringify!($case));
                $case(App::start(&["--database", &server.database().await, "--seed"])).await;
            )*
            a_database_that_is_gone_is_told(server).await;
        }
    };
}

suite![
    probes_answer,
    a_bookmark_lives_and_ends,
    registering_tells_all_that_is_wrong,
    logging_in_needs_the_right_password,
    a_bookmark_tells_all_that_is_wrong,
    a_patch_tells_null_from_absent,
    other_users_bookmarks_are_not_there,
    the_cursor_walks_through_all_once,
    the_limit_is_1_to_100,
    every_error_is_a_problem_with_the_requests_id,
    forged_requests_are_refused,
    the_demo_user_has_bookmarks,
];

fn bookmark(title: &str) -> Value {
    json!({ "url": "https://example.com/a?b=c", "title": title })
}

fn items(answer: &Answer) -> &Vec<Value> {
    answer.body["items"].as_array().expect("a list of items")
}

async fn probes_answer(app: App) {
    let mut visitor = app.visitor();
    assert_eq!(visitor.get("/livez").await.body, json!({ "status": "ok" }));
    for path in ["/readyz", "/health"] {
        let answer = visitor.get(path).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, json!({ "status": "ok", "database": "up", "redis": "in_memory" }));
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

async fn a_bookmark_lives_and_ends(app: App) {
    let mut alice = app.user("alice").await;
    let me = alice.get("/api/v1/auth/me").await;
    assert_eq!((me.status, &me.body["username"], &me.body["is_admin"]), (200, &json!("alice"), &json!(false)));
    assert!(me.body.get("password_hash").is_none());

    let made = alice.post(BOOKMARKS, bookmark("First")).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = made.header("location").to_owned();
    assert_eq!(path, format!("{BOOKMARKS}/{}", made.body["id"]));
    assert_eq!(made.body["url"], "https://example.com/a?b=c");
    assert_eq!((&made.body["tags"], &made.body["favorite"]), (&json!([]), &json!(false)));
    let shown = alice.get(&path).await;
    assert_eq!((&shown.body, shown.header("cache-control")), (&made.body, "no-store"));

    let changed = alice.patch(&path, json!({ "title": "Second", "tags": ["rust"], "favorite": true })).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!((&changed.body["title"], &changed.body["tags"]), (&json!("Second"), &json!(["rust"])));
    assert_eq!((&changed.body["favorite"], &changed.body["url"]), (&json!(true), &made.body["url"]));
    assert_eq!(items(&alice.get(BOOKMARKS).await), &[changed.body]);

    assert_eq!(alice.delete(&path).await.status, 204);
    assert_eq!(alice.get(&path).await.status, 404);
    assert_eq!(alice.delete(&path).await.status, 404);
    assert!(items(&alice.get(BOOKMARKS).await).is_empty());
}

async fn registering_tells_all_that_is_wrong(app: App) {
    let mut visitor = app.visitor();
    let register = "/api/v1/auth/register";
    let answer = visitor.post(register, json!({ "username": "a b", "password": "short", "role": "admin" })).await;
    assert_eq!(answer.refused(), ["password", "role", "username"]);
    assert_eq!(visitor.post(register, json!({})).await.refused(), ["password", "username"]);

    let taken = json!({ "username": "Demo", "password": "long enough" });
    assert_eq!(visitor.post(register, taken).await.status, 409);
}

async fn logging_in_needs_the_right_password(app: App) {
    app.user("alice").await;
    let mut visitor = app.visitor();
    for (name, password) in
        [("alice", "wrong password"), ("nobody", "a good password"), ("x", ""), ("ali\u{0}ce", "\u{0}")]
    {
        let answer = visitor.post("/api/v1/auth/login", json!({ "username": name, "password": password })).await;
        assert_eq!((answer.status, &answer.body["detail"]), (401, &json!("wrong username or password")));
        assert_eq!(answer.header("set-cookie"), "");
    }
    assert_eq!(visitor.get("/api/v1/auth/me").await.status, 401);
    let right = json!({ "username": "ALICE", "password": "a good password" });
    assert_eq!(visitor.post("/api/v1/auth/login", right).await.status, 200);
    assert_eq!(visitor.get("/api/v1/auth/me").await.status, 200);
}

async fn a_bookmark_tells_all_that_is_wrong(app: App) {
    let mut alice = app.user("alice").await;
    let wrong = json!({
        "url": "javascript:alert(1)", "title": "", "description": 7, "tags": ["ok", ""], "favorite": "yes", "owner": 1,
    });
    let answer = alice.post(BOOKMARKS, wrong.clone()).await;
    assert_eq!(answer.refused(), ["description", "favorite", "owner", "tags", "title", "url"]);
    assert_eq!(alice.post(BOOKMARKS, json!({})).await.refused(), ["title", "url"]);
    let path = alice.post(BOOKMARKS, bookmark("One")).await.header("location").to_owned();
    assert_eq!(alice.patch(&path, wrong).await.refused().len(), 6);
    assert_eq!(alice.patch(&path, json!({ "title": "a\u{0}b" })).await.refused(), ["title"]);
    assert_eq!(alice.get(&path).await.body["title"], "One");
}

async fn a_patch_tells_null_from_absent(app: App) {
    let mut alice = app.user("alice").await;
    let mut new = bookmark("One");
    new["description"] = json!("worth\nreading");
    let path = alice.post(BOOKMARKS, new).await.header("location").to_owned();
    let absent = alice.patch(&path, json!({ "favorite": true })).await;
    assert_eq!(absent.body["description"], "worth\nreading");
    let null = alice.patch(&path, json!({ "description": null })).await;
    assert_eq!((&null.body["description"], &null.body["favorite"]), (&Value::Null, &json!(true)));
    assert_eq!(alice.patch(&path, json!({ "title": null })).await.refused(), ["title"]);
    assert_eq!(alice.patch(&path, json!({})).await.body["title"], "One");
}

async fn other_users_bookmarks_are_not_there(app: App) {
    let mut alice = app.user("alice").await;
    let mut mallory = app.user("mallory").await;
    let made = alice.post(BOOKMARKS, bookmark("Private")).await;
    let path = made.header("location").to_owned();
    assert_eq!(mallory.get(&path).await.status, 404);
    assert_eq!(mallory.patch(&path, json!({ "title": "Mine" })).await.status, 404);
    assert_eq!(mallory.delete(&path).await.status, 404);
    assert!(items(&mallory.get(BOOKMARKS).await).is_empty());
    assert_eq!(alice.get(&path).await.body, made.body);
    assert_eq!(app.visitor().get(&path).await.status, 401);
}

async fn the_cursor_walks_through_all_once(app: App) {
    let mut alice = app.user("alice").await;
    for n in 1..=5 {
        assert_eq!(alice.post(BOOKMARKS, bookmark(&n.to_string())).await.status, 201);
    }
    let mut seen = Vec::new();
    let mut path = format!("{BOOKMARKS}?limit=2");
    loop {
        let page = alice.get(&path).await;
        seen.extend(items(&page).iter().map(|item| item["title"].clone()));
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        path = format!("{BOOKMARKS}?limit=2&cursor={cursor}");
    }
    assert_eq!(json!(seen), json!(["5", "4", "3", "2", "1"]));
}

async fn the_limit_is_1_to_100(app: App) {
    let mut alice = app.user("alice").await;
    for limit in ["0", "101", "-1", "many"] {
        assert_eq!(alice.get(&format!("{BOOKMARKS}?limit={limit}")).await.refused(), ["limit"]);
    }
    assert_eq!(alice.get(&format!("{BOOKMARKS}?limit=0&cursor=x")).await.refused(), ["cursor", "limit"]);
    assert_eq!(alice.get(&format!("{BOOKMARKS}?limit=100")).await.status, 200);
}

async fn every_error_is_a_problem_with_the_requests_id(app: App) {
    let mut alice = app.user("alice").await;
    let raw = |kind: &'static str, body: &'static str| {
        let request = Request::post(format!("{}{BOOKMARKS}", app.url())).header("content-type", kind);
        request.header("x-request-id", "chosen-1").body(Full::from(body)).expect("a request")
    };
    let huge = json!({ "title": "x".repeat(70_000) });
    let answers = [
        (404, alice.get("/nowhere").await),
        (404, alice.get("/api/v1/bookmarks/not-a-number").await),
        (405, alice.send(Method::PUT, BOOKMARKS, None).await),
        (400, alice.request(raw("application/json", "{\"url\":")).await),
        (415, alice.request(raw("text/plain", "{}")).await),
        (422, alice.request(raw("application/json; charset=utf-8", "[]")).await),
        (413, alice.post(BOOKMARKS, huge).await),
        (401, app.visitor().get(BOOKMARKS).await),
    ];
    for (status, answer) in &answers {
        assert_eq!(answer.status, *status, "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.body["status"], json!(status));
        assert!(answer.body["title"].is_string() && answer.body["detail"].is_string(), "{answer:?}");
        let id = answer.header("x-request-id");
        assert!(!id.is_empty() && answer.body["request_id"] == id, "{answer:?}");
    }
    assert_eq!(answers[3].1.header("x-request-id"), "chosen-1");
    assert!(answers[2].1.header("allow").contains("POST"));
}

async fn forged_requests_are_refused(app: App) {
    let mut alice = app.user("alice").await;
    let forged = |name: &'static str, value: &'static str| {
        let request = Request::post(format!("{}/api/v1/auth/logout", app.url())).header(name, value);
        request.body(Full::<Bytes>::default()).expect("a request")
    };
    assert_eq!(alice.request(forged("sec-fetch-site", "cross-site")).await.status, 403);
    assert_eq!(alice.request(forged("origin", "https://evil.example")).await.status, 403);
    assert_eq!(alice.get("/api/v1/auth/me").await.status, 200);
    assert_eq!(alice.request(forged("sec-fetch-site", "same-origin")).await.status, 204);
    assert_eq!(alice.get("/api/v1/auth/me").await.status, 401);
}

/// Alive and not ready: nothing is restarted for it, and nobody is sent here.
async fn a_database_that_is_gone_is_told(mut server: Postgres) {
    let app = App::start(&["--database", &server.database().await]);
    let mut alice = app.user("alice").await;
    drop(server);
    let deadline = Instant::now() + Duration::from_secs(20);
    while alice.get("/readyz").await.status != 503 {
        assert!(Instant::now() < deadline, "waited 20 s for the probe to notice");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(alice.get("/livez").await.status, 200);
    let answer = alice.post(BOOKMARKS, bookmark("lost")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{answer:?}");
}

async fn the_demo_user_has_bookmarks(app: App) {
    let mut demo = app.visitor();
    let credentials = json!({ "username": "demo", "password": "demo-password" });
    assert_eq!(demo.post("/api/v1/auth/login", credentials).await.status, 200);
    assert!(items(&demo.get(BOOKMARKS).await).len() >= 5);
}
