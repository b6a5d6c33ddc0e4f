//! What the layers of towerkeep do for the app: sessions, limits, the response cache.
mod support;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use support::{
    Answer, App, Browser,
    servers::{RedisServer, eventually},
};

const BOOKMARKS: &str = "/api/v1/bookmarks";
const LOGIN: &str = "/api/v1/auth/login";
const ME: &str = "/api/v1/auth/me";

fn bookmark(title: &str) -> Value {
    json!({ "url": "https://example.com", "title": title })
}

fn titles(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let items = answer.body["items"].as_array().expect("a list");
    items.iter().filter_map(|item| item["title"].as_str()).collect()
}

fn is_hit(answer: &Answer) -> bool {
    let status = answer.header("cache-status");
    assert!(status.starts_with("towerkeep; "), "{answer:?}");
    status.contains("; hit")
}

async fn log_in(browser: &mut Browser, name: &str, password: &str) -> Answer {
    browser.post(LOGIN, json!({ "username": name, "password": password })).await
}

#[tokio::test]
async fn the_list_is_cached_and_a_change_shows_at_once() {
    let app = App::start(&["--no-seed"]);
    let mut alice = app.user("alice").await;
    let path = alice.post(BOOKMARKS, bookmark("one")).await.header("location").to_owned();
    let (first, second) = (alice.get(BOOKMARKS).await, alice.get(BOOKMARKS).await);
    assert!(!is_hit(&first) && is_hit(&second), "{first:?} {second:?}");
    assert_eq!(first.body, second.body);
    assert!(second.header("cache-control").contains("private"), "{second:?}");

    alice.patch(&path, json!({ "title": "two" })).await;
    let changed = alice.get(BOOKMARKS).await;
    assert!(!is_hit(&changed));
    assert_eq!(titles(&changed), ["two"]);
    alice.post(BOOKMARKS, bookmark("three")).await;
    assert_eq!(titles(&alice.get(BOOKMARKS).await), ["three", "two"]);
    alice.delete(&path).await;
    assert_eq!(titles(&alice.get(BOOKMARKS).await), ["three"]);
    assert!(is_hit(&alice.get(BOOKMARKS).await));
}

#[tokio::test]
async fn nobody_sees_anothers_cached_list() {
    let app = App::start(&["--no-seed"]);
    let (mut alice, mut bob) = (app.user("alice").await, app.user("bob").await);
    alice.post(BOOKMARKS, bookmark("secret")).await;
    assert_eq!(titles(&alice.get(BOOKMARKS).await), ["secret"]);
    let seen = bob.get(BOOKMARKS).await;
    assert!(!is_hit(&seen) && titles(&seen).is_empty());
    assert_eq!(app.visitor().get(BOOKMARKS).await.status, 401);
}

/// The next one at the same browser, and the owner under another session: a list belongs to the user, not to the cookie.
#[tokio::test]
async fn a_cached_list_follows_its_user_over_logout_and_login() {
    let app = App::start(&["--no-seed"]);
    app.user("bob").await;
    let mut browser = app.user("alice").await;
    browser.post(BOOKMARKS, bookmark("secret")).await;
    browser.get(BOOKMARKS).await;
    assert!(is_hit(&browser.get(BOOKMARKS).await), "alice's list is kept");
    let before = browser.cookies();
    log_in(&mut browser, "alice", "a good password").await;
    assert_ne!(browser.cookies(), before, "a login has a new cookie");
    let again = browser.get(BOOKMARKS).await;
    assert!(is_hit(&again) && titles(&again) == ["secret"]);

    browser.post("/api/v1/auth/logout", json!({})).await;
    assert_eq!(browser.get(BOOKMARKS).await.status, 401);
    log_in(&mut browser, "bob", "a good password").await;
    let bobs = browser.get(BOOKMARKS).await;
    assert!(!is_hit(&bobs) && titles(&bobs).is_empty());
    let mut old = app.visitor();
    old.set_cookies(before);
    assert_eq!(old.get(BOOKMARKS).await.status, 401, "the cookie from before the second login is worth nothing");
}

#[tokio::test]
async fn a_logged_out_session_is_refused() {
    let app = App::start(&["--no-seed"]);
    let mut alice = app.user("alice").await;
    assert!(!is_hit(&alice.get(ME).await));
    assert!(is_hit(&alice.get(ME).await));
    let stolen = alice.cookies();
    assert_eq!(alice.post("/api/v1/auth/logout", json!({})).await.status, 204);
    assert!(alice.cookies().is_empty(), "the browser was told to drop it");
    let mut thief = app.visitor();
    thief.set_cookies(stolen);
    for path in [ME, BOOKMARKS] {
        assert_eq!(thief.get(path).await.status, 401, "{path}");
    }
    assert_eq!(thief.post(BOOKMARKS, bookmark("mine")).await.status, 401);
}

#[tokio::test]
async fn logging_out_everywhere_ends_all_sessions_of_the_user() {
    let app = App::start(&["--no-seed"]);
    let (mut phone, mut bob) = (app.user("alice").await, app.user("bob").await);
    let mut laptop = app.visitor();
    log_in(&mut laptop, "alice", "a good password").await;
    assert_eq!(laptop.get(ME).await.status, 200);
    let ended = phone.post("/api/v1/auth/logout-all", json!({})).await;
    assert_eq!((ended.status, &ended.body), (200, &json!({ "ended": 2 })));
    assert_eq!((phone.get(ME).await.status, laptop.get(ME).await.status), (401, 401));
    assert_eq!(bob.get(ME).await.status, 200);
}

#[tokio::test]
async fn guessing_passwords_is_refused_after_five() {
    let app = App::start(&["--no-seed"]);
    app.user("alice").await;
    let mut visitor = app.visitor();
    for _ in 0..5 {
        assert_eq!(log_in(&mut visitor, "alice", "wrong password").await.status, 401);
    }
    let refused = log_in(&mut visitor, "Alice", "a good password").await;
    assert_eq!(refused.status, 429, "the right password does not help now: {refused:?}");
    let after: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((290..=300).contains(&after), "the first guess leaves the window of five minutes in {after} s");
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert_eq!(refused.body["request_id"], refused.header("x-request-id"));
    assert_eq!(log_in(&mut visitor, "bob", "wrong password").await.status, 401, "another account");
}

#[tokio::test]
async fn guesses_sent_at_once_do_not_slip_through() {
    let app = App::start(&["--no-seed"]);
    app.user("alice").await;
    let mut guesses = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut visitor = app.visitor();
        guesses.spawn(async move { log_in(&mut visitor, "alice", "wrong password").await.status });
    }
    let statuses = guesses.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 5, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 15, "{statuses:?}");
}

#[tokio::test]
async fn a_login_that_succeeds_is_not_counted() {
    let app = App::start(&["--no-seed"]);
    let mut alice = app.user("alice").await;
    for _ in 0..7 {
        assert_eq!(log_in(&mut alice, "alice", "a good password").await.status, 200);
    }
}

#[tokio::test]
async fn an_address_may_ask_100_times_a_minute_and_probes_always() {
    let app = App::start(&["--no-seed"]);
    let mut visitor = app.visitor();
    for n in 0..100 {
        assert_eq!(visitor.get("/nowhere").await.status, 404, "request {n}");
    }
    let refused = visitor.get("/nowhere").await;
    assert_eq!(refused.status, 429, "{refused:?}");
    let after: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&after));
    assert_eq!(refused.body["request_id"], refused.header("x-request-id"));
    for path in ["/livez", "/readyz", "/health"] {
        assert_eq!(visitor.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn cookies_are_for_https_where_others_can_connect() {
    let app = App::start(&["--no-seed", "--trusted-proxy", "127.0.0.1/32"]);
    let mut alice = app.user("alice").await;
    let cookie = log_in(&mut alice, "alice", "a good password").await.header("set-cookie").to_owned();
    for part in ["__Host-sid=", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    let app = App::start(&["--no-seed"]);
    let mut alice = app.user("alice").await;
    let cookie = log_in(&mut alice, "alice", "a good password").await.header("set-cookie").to_owned();
    assert!(!cookie.contains("Secure") && cookie.contains("HttpOnly"), "{cookie}");
}

/// Uses up the general limit of the address that `forwarded` names; answers the last status.
async fn hundred_and_one(app: &App, forwarded: &str) -> u16 {
    let mut visitor = app.visitor();
    let mut last = 0;
    for _ in 0..101 {
        let request = Request::get(format!("{}/nowhere", app.url())).header("x-forwarded-for", forwarded);
        last = visitor.request(request.body(Full::<Bytes>::default()).expect("a request")).await.status;
    }
    last
}

#[tokio::test]
async fn a_proxys_word_counts_only_if_it_is_trusted() {
    let app = App::start(&["--no-seed", "--trusted-proxy", "127.0.0.1/32"]);
    assert_eq!(hundred_and_one(&app, "203.0.113.7").await, 429);
    assert_eq!(app.visitor().get("/nowhere").await.status, 404, "another address");

    let app = App::start(&["--no-seed"]);
    assert_eq!(hundred_and_one(&app, "203.0.113.7").await, 429);
    assert_eq!(app.visitor().get("/nowhere").await.status, 429, "the same peer, whatever it says");
}

#[tokio::test]
async fn redis_that_does_not_answer_is_no_reason_to_stop() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let app = App::start(&["--no-seed", "--redis", &format!("redis://{unused}")]);
    let mut visitor = app.visitor();
    for path in ["/readyz", "/health"] {
        let ready = visitor.get(path).await;
        assert_eq!(
            (ready.status, &ready.body["status"], &ready.body["redis"]),
            (200, &json!("degraded"), &json!("down"))
        );
    }
    assert_eq!(visitor.get("/livez").await.body, json!({ "status": "ok" }));
    let credentials = json!({ "username": "alice", "password": "a good password" });
    assert_eq!(visitor.post("/api/v1/auth/register", credentials).await.status, 201);
    assert_eq!(visitor.get(BOOKMARKS).await.status, 401, "without a cookie there is nothing to find out");
    let login = log_in(&mut visitor, "alice", "a good password").await;
    assert_eq!(login.status, 200, "this instance holds the session alone: {login:?}");
    assert_eq!(visitor.get(ME).await.status, 200);
    assert_eq!(visitor.post(BOOKMARKS, bookmark("made without Redis")).await.status, 201);
    assert_eq!(titles(&visitor.get(BOOKMARKS).await), ["made without Redis"]);
    let stolen = visitor.cookies();
    assert_eq!(visitor.post("/api/v1/auth/logout", json!({})).await.status, 204);
    visitor.set_cookies(stolen);
    assert_eq!(visitor.get(ME).await.status, 401, "and ends it");
    assert_eq!(hundred_and_one(&app, "").await, 429, "this instance limits alone");
    let log = app.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("redis is not reached"), "said once: {warnings:#?}");
}

#[tokio::test]
async fn why_the_app_is_degraded_is_for_administrators() {
    const WHY: &str = "/api/v1/admin/redis";
    let redis = RedisServer::start();
    let app = App::start(&["--redis", &redis.url()]);
    app.says("ok").await;
    let (mut admin, mut alice) = (app.admin().await, app.user("alice").await);
    assert_eq!((app.visitor().get(WHY).await.status, alice.get(WHY).await.status), (401, 403));
    let whole = admin.get(WHY).await.body;
    let checks = ["status", "connection", "write", "read"].map(|check| whole[check].clone());
    assert_eq!((checks, &whole["redis"]), ([(); 4].map(|()| json!("ok")), &json!("up")));
    assert!(whole["took_ms"].as_f64().is_some_and(|took| took > 0.0), "{whole}");

    // Nobody writes meanwhile: that it is full is found by asking, not by a request that is refused.
    let full = ["SET", "maxmemory", "1"];
    redis::cmd("CONFIG").arg(&full).exec_async(&mut redis.client().await).await.expect("set");
    eventually("the app is degraded", async || app.visitor().get("/readyz").await.body["status"] == "degraded").await;
    let ready = app.visitor().get("/readyz").await;
    assert_eq!(ready.status, 200, "it serves on");
    assert!(!ready.body.to_string().contains("memory"), "{ready:?}");
    eventually("the reason is told", async || {
        // Each of these counts for the limit on requests.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let why = admin.get(WHY).await.body;
        (&why["status"], &why["write"], &why["read"]) == (&json!("degraded"), &json!("out_of_memory"), &json!("ok"))
    })
    .await;
}
