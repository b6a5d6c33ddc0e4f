//! Probes, and what every error looks like.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;

use crate::{suite, support::App};

const BOOKMARKS: &str = "/api/v1/bookmarks";

suite![probes_answer, every_error_is_a_problem_with_the_requests_id, forged_requests_are_refused,];

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
