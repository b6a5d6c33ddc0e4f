//! Per-route limits as an axum application writes them: general, search, ai, upload, login, plans.

use axum::{
    Router,
    body::Body,
    extract::State,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response as AxumResponse},
    routing::{get, post},
};
use towerkeep::{ClientIp, clock::hours, rate_limit::LimitOutage::Deny};

use super::*;

const GENERAL: Policy = Policy::sliding_window("general", 100, minutes(1));
const SEARCH: Policy = Policy::sliding_window("search", 100, minutes(1));
const AI: Policy = Policy::token_bucket("ai", 20, minutes(1));
const LOGIN: Policy = Policy::sliding_window("login", 5, minutes(5)).on_outage(Deny);
const UPLOAD: Policy = Policy::token_bucket("upload", 10, minutes(10)).on_outage(Deny);
const FREE: Policy = Policy::sliding_window("api-free", 60, minutes(1));
const PRO: Policy = Policy::sliding_window("api-pro", 1_000, minutes(1));

#[derive(Clone, Copy)]
enum Plan {
    Free,
    Pro,
}

async fn login(State(limits): State<RateLimits>, ip: ClientIp, form: String) -> Result<StatusCode, AxumResponse> {
    let (username, password) = form.split_once(':').unwrap_or_default();
    let attempt = limits.check(LOGIN, (ip, username)).await.map_err(IntoResponse::into_response)?;
    if password != "right" {
        return Ok(StatusCode::UNAUTHORIZED);
    }
    attempt.refund().await;
    Ok(StatusCode::NO_CONTENT)
}

async fn plan(mut request: axum::extract::Request, next: Next) -> AxumResponse {
    let plan = if request.headers().contains_key("x-pro") { Plan::Pro } else { Plan::Free };
    request.extensions_mut().insert(plan);
    next.run(request).await
}

fn by_plan(parts: &Parts) -> Policy {
    match parts.extensions.get() {
        Some(Plan::Pro) => PRO,
        _ => FREE,
    }
}

async fn ask(quota: Quota) -> String {
    format!("{} left", quota.remaining())
}

fn app(limits: &RateLimits) -> Router {
    let user = || Key::user().or(Key::client_ip());
    Router::new()
        .route("/search", get(async || "found").layer(limits.layer([GENERAL, SEARCH])))
        .route("/ai", post(ask).layer(limits.layer(AI).by(user()).skip(|p| p.headers.contains_key("x-internal"))))
        .route("/upload", post(async || "stored").layer(limits.layer(UPLOAD).by(user())))
        .route("/login-by-ip", post(login).layer(limits.layer(LOGIN).refund_if(|res| res.status.is_success())))
        .route("/login", post(login))
        .route(
            "/api",
            get(async || "data")
                .layer(ServiceBuilder::new().layer(from_fn(plan)).layer(limits.layer_with(by_plan).by(user()))),
        )
        .route("/items", get(async || "list").layer(limits.layer(GENERAL)).post(async || "made"))
        .route(
            "/hourly",
            get(async || "x").layer(limits.layer(Policy::sliding_window("hourly", 500, hours(1))).by(Key::user())),
        )
        .with_state(limits.clone())
        .layer(limits.layer(GENERAL))
}

async fn call(app: &Router, method: &str, path: &str, body: &'static str) -> AxumResponse {
    let mut request = Request::builder().method(method).uri(path).body(Body::from(body)).expect("a request");
    request.extensions_mut().insert(PeerAddr("192.0.2.7:4711".parse().expect("an address")));
    app.clone().oneshot(request).await.expect("infallible")
}

#[tokio::test]
async fn only_failed_logins_count() {
    let limits = limits();
    let app = app(&limits);
    limits.verify().expect("no two policies share a name");
    for _ in 0..8 {
        assert_eq!(call(&app, "POST", "/login", "alice:right").await.status(), StatusCode::NO_CONTENT);
    }
    for _ in 0..5 {
        assert_eq!(call(&app, "POST", "/login", "alice:wrong").await.status(), StatusCode::UNAUTHORIZED);
    }
    let refused = call(&app, "POST", "/login", "alice:right").await;
    assert_eq!(
        (refused.status(), &refused.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"300".parse().expect("value"))
    );
    assert_eq!(call(&app, "POST", "/login", "bob:right").await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn each_route_has_its_own_limit() {
    let limits = limits();
    let app = app(&limits);
    for left in (0..20).rev() {
        let answer = call(&app, "POST", "/ai", "").await.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(answer, format!("{left} left"));
    }
    assert_eq!(call(&app, "POST", "/ai", "").await.status(), StatusCode::TOO_MANY_REQUESTS);
    let mut internal = Request::post("/ai").header("x-internal", "1").body(Body::empty()).expect("a request");
    internal.extensions_mut().insert(PeerAddr("192.0.2.7:4711".parse().expect("an address")));
    assert_eq!(app.clone().oneshot(internal).await.expect("infallible").status(), StatusCode::OK);
    let found = call(&app, "GET", "/search", "").await;
    let lines: Vec<_> = found.headers().get_all("ratelimit").iter().collect();
    assert_eq!(lines, ["\"search\";r=99;t=60", "\"general\";r=77;t=60"], "general is charged once for each request");
    assert_eq!(call(&app, "GET", "/api", "").await.headers()["ratelimit-policy"], "\"api-free\";q=60;w=60");
}
