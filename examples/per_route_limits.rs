//! Limits per route, in code: by address, user and plan; uploads at once; a login limit that counts failures only.
//!
//! ```sh
//! cargo run --example per_route_limits
//! for i in 1 2 3 4 5 6; do curl -si -d 'user=ann&password=wrong' http://127.0.0.1:3000/login | head -1; done
//! curl -i http://127.0.0.1:3000/search             # RateLimit: two policies
//! ```
use std::net::SocketAddr;

use axum::{
    Form, Router,
    extract::State,
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use tower::ServiceBuilder;
use towerkeep::{prelude::*, rate_limit::LimitOutage::Deny};

const GENERAL: Policy = Policy::sliding_window("general", 100, minutes(1));
const SEARCH: Policy = Policy::sliding_window("search", 30, minutes(1));
const AI: Policy = Policy::token_bucket("ai", 20, minutes(1)).burst(5);
const UPLOADS: Policy = Policy::token_bucket("uploads", 10, minutes(10)).on_outage(Deny);
const AT_ONCE: Policy = Policy::concurrency("uploads-at-once", 2);
const LOGIN: Policy = Policy::sliding_window("login", 5, minutes(5)).on_outage(Deny);
const CODE: Policy = Policy::sliding_window("code", 3, minutes(15));
const FREE: Policy = Policy::sliding_window("api-free", 60, minutes(1));
const PRO: Policy = Policy::sliding_window("api-pro", 1_000, minutes(1));
const PLANNED: Policy = Policy::sliding_window("planned", 20, seconds(10));

#[derive(Deserialize)]
struct Login {
    user: String,
    password: String,
}

/// The account is in the body, where no layer sees it, so the handler asks. Success gives the attempt back.
async fn login(State(keep): State<Keep>, ip: ClientIp, Form(form): Form<Login>) -> Result<StatusCode, Response> {
    let attempt = keep.limits().check(LOGIN, (ip, &form.user)).await.map_err(IntoResponse::into_response)?;
    if form.password != "right" {
        return Ok(StatusCode::UNAUTHORIZED);
    }
    attempt.refund().await;
    Ok(StatusCode::NO_CONTENT)
}

async fn confirm(code: String) -> StatusCode {
    if code == "1234" { StatusCode::NO_CONTENT } else { StatusCode::FORBIDDEN }
}

fn by_plan(request: &Parts) -> Policy {
    if request.headers.contains_key("x-pro") { PRO } else { FREE }
}

async fn ask(quota: Quota, question: String) -> Result<String, Response> {
    let quota = quota.charge(question.len() as u32 / 1_000).await.map_err(IntoResponse::into_response)?; // known only now
    Ok(format!("{} left\n", quota.remaining()))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let keep = Keep::from_env()?;
    let limits = keep.limits().clone();
    let user = || Key::user().or(Key::client_ip());
    let code = limits.layer(CODE).refund_if(|response| response.status.is_success()); // only wrong codes count
    let api = limits.layer_with(by_plan).by(user()).skip(|request| request.uri.path() == "/api/health");
    let app = Router::new()
        .route("/search", get(async || "found\n").layer(limits.layer([GENERAL, SEARCH]))) // both, in one trip
        .route("/ai", post(ask).layer(limits.layer(AI).by(user())))
        .route("/upload", post(async || "stored\n").layer(limits.layer([UPLOADS, AT_ONCE]).by(user())))
        .route("/code", post(confirm).layer(code))
        .route("/api/{*path}", get(async || "data\n").layer(api))
        .route("/login", post(login))
        .layer(ServiceBuilder::new().layer(keep.layer()).layer(keep.sessions().layer()))
        .layer(limits.layer(PLANNED).shadow()) // counted and reported, refuses nobody yet
        .with_state(keep.clone());
    keep.verify()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}
