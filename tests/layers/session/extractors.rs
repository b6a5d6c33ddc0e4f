//! Sessions in axum handlers, written as users write them.

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    routing::{delete, get, post},
};
use serde::{Deserialize, Serialize};
use towerkeep::{CurrentUser, session::SessionId, session::SessionInfo};

use super::*;

#[derive(Serialize, Deserialize, Default)]
struct Cart {
    items: Vec<String>,
}

async fn login(session: Session) -> towerkeep::Result<StatusCode> {
    session.login(42).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn logout(session: Session) -> towerkeep::Result<StatusCode> {
    session.logout().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn me(user: CurrentUser<i64>) -> String {
    user.0.to_string()
}

async fn home(user: Option<CurrentUser<i64>>) -> String {
    user.map_or("hello, stranger".into(), |user| format!("hello, {}", user.0))
}

async fn list(State(sessions): State<Sessions>, user: CurrentUser) -> towerkeep::Result<Json<Vec<SessionInfo>>> {
    Ok(Json(sessions.list(&user.0).await?))
}

async fn revoke(
    State(sessions): State<Sessions>,
    user: CurrentUser,
    Path(id): Path<SessionId>,
) -> towerkeep::Result<StatusCode> {
    let was = sessions.revoke(&user.0, &id).await?;
    Ok(if was { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}

async fn add(session: Session, item: String) -> towerkeep::Result<Json<Cart>> {
    Ok(Json(session.update("cart", move |cart: &mut Cart| cart.items.push(item.clone())).await?))
}

fn app(bench: &Bench) -> Router {
    Router::new()
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/me", get(me))
        .route("/", get(home))
        .route("/sessions", get(list))
        .route("/sessions/{id}", delete(revoke))
        .route("/cart", post(add))
        .layer(bench.sessions.layer().cookie_or_bearer())
        .with_state(bench.sessions.clone())
}

/// One request; its status, the cookie to go on with, and the body as text.
async fn ask(app: &Router, method: &str, path: &str, cookie: &mut Option<String>, body: &str) -> (StatusCode, String) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(cookie) = &cookie {
        request = request.header(header::COOKIE, cookie);
    }
    let request = request.body(Body::from(body.to_owned())).expect("a request");
    let response = app.clone().oneshot(request).await.expect("infallible");
    if let Some(set) = response.headers().get(header::SET_COOKIE) {
        *cookie = Some(set.to_str().expect("ASCII").split(';').next().expect("a pair").to_owned());
    }
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    (status, String::from_utf8(bytes.into()).expect("text"))
}

#[tokio::test]
async fn a_user_logs_in_shops_looks_around_and_leaves() {
    let bench = Bench::new();
    let (app, cookie) = (app(&bench), &mut None);
    assert_eq!(ask(&app, "GET", "/me", cookie, "").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&app, "GET", "/", cookie, "").await.1, "hello, stranger");
    ask(&app, "POST", "/cart", cookie, "pear").await;
    assert_eq!(ask(&app, "POST", "/login", cookie, "").await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&app, "GET", "/me", cookie, "").await, (StatusCode::OK, "42".into()));
    assert_eq!(ask(&app, "POST", "/cart", cookie, "fig").await.1, r#"{"items":["pear","fig"]}"#);

    let phone = bench.sessions.issue(42).await.expect("up");
    let listed: Vec<serde_json::Value> =
        serde_json::from_str(&ask(&app, "GET", "/sessions", cookie, "").await.1).expect("JSON");
    assert_eq!(listed.len(), 2);
    let path = format!("/sessions/{}", phone.id());
    assert_eq!(ask(&app, "DELETE", &path, cookie, "").await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&app, "DELETE", &path, cookie, "").await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(&app, "DELETE", "/sessions/x", cookie, "").await.0, StatusCode::BAD_REQUEST);

    let before = cookie.clone();
    assert_eq!(ask(&app, "POST", "/logout", cookie, "").await.0, StatusCode::NO_CONTENT);
    assert_eq!(cookie.as_deref(), Some("__Host-sid="));
    assert_eq!(ask(&app, "GET", "/me", &mut before.clone(), "").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_outage_is_503_where_a_user_is_required_and_nowhere_else() {
    let bench = Bench::new();
    let app = app(&bench);
    let mut cookie = Some(cookie_of(&bench.sessions.issue(1).await.expect("up")));
    bench.outage.set(true);
    assert_eq!(ask(&app, "GET", "/me", &mut cookie, "").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&app, "GET", "/", &mut cookie, "").await.1, "hello, stranger");
}

#[tokio::test]
async fn a_handler_without_the_layer_answers_500() {
    let app: Router = Router::new().route("/login", post(login));
    assert_eq!(ask(&app, "POST", "/login", &mut None, "").await.0, StatusCode::INTERNAL_SERVER_ERROR);
}
