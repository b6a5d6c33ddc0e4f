//! All routes behind all layers.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use tower::ServiceBuilder;
use tower_http::{
    ServiceBuilderExt,
    catch_panic::CatchPanicLayer,
    csrf::CsrfLayer,
    limit::RequestBodyLimitLayer,
    request_id::MakeRequestUuid,
    timeout::TimeoutLayer,
    trace::{DefaultOnResponse, TraceLayer},
};
use towerkeep::prelude::*;
use tracing::{Level, Span};

use crate::{
    health, problem,
    problem::{Problem, REQUEST_ID},
    resources::{auth, bookmarks},
    state::AppState,
};

/// What one address may ask for, whatever it is.
const GENERAL: Policy = Policy::sliding_window("general", 100, minutes(1));

const TIMEOUT: Duration = seconds(10);
const MAX_BODY: usize = 64 * 1024;

/// Every route behind every layer.
pub(crate) fn app(keep: &Keep, state: AppState) -> Router {
    let routes = Router::new().merge(health::routes()).merge(auth::routes(keep)).merge(bookmarks::routes(keep));
    layered(routes, keep).with_state(state)
}

/// The layers around all routes; the first one sees a request first.
///
/// The request's id comes before the trace, so that each line of the log has it. Errors are written out next to
/// them, whoever made them further in.
fn layered<S: Clone + Send + Sync + 'static>(routes: Router<S>, keep: &Keep) -> Router<S> {
    let layers = ServiceBuilder::new()
        .map_request(without_strange_id)
        .set_request_id(REQUEST_ID, MakeRequestUuid)
        .layer(TraceLayer::new_for_http().make_span_with(span).on_response(DefaultOnResponse::new().level(Level::INFO)))
        .map_response(not_stored)
        .map_response(problem::render)
        .propagate_request_id(REQUEST_ID)
        .layer(CatchPanicLayer::custom(panicked))
        // What takes longer is most often a client that does not send its body: the database has deadlines of its own.
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, TIMEOUT))
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .map_response_body(Body::new)
        .layer(CsrfLayer::new())
        .layer(keep.layer())
        .layer(keep.limits().layer(GENERAL).skip(|request| health::is_probe(request.uri.path())))
        .layer(keep.sessions().layer());
    routes.layer(layers)
}

/// Takes a client's id out unless it is short and plain: it goes into the log and into error bodies.
fn without_strange_id<B>(mut request: axum::http::Request<B>) -> axum::http::Request<B> {
    let is_plain = |id: &[u8]| id.len() <= 64 && id.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b));
    if request.headers().get(&REQUEST_ID).is_some_and(|id| !is_plain(id.as_bytes())) {
        request.headers_mut().remove(&REQUEST_ID);
    }
    request
}

/// Nobody on the way stores what does not say that it may be stored: most answers here are one user's.
fn not_stored(mut response: Response) -> Response {
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The path without its query, which may hold what no log should.
fn span(request: &Request) -> Span {
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    tracing::info_span!("request", method = %request.method(), path = request.uri().path(), id)
}

#[allow(clippy::needless_pass_by_value, reason = "the layer hands it over")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!(message, "a handler panicked");
    Problem::panicked().into_response()
}

#[cfg(test)]
mod tests {
    use axum::{body::to_bytes, http::Request, routing::get};
    use tower::ServiceExt;

    use super::*;

    async fn broken() -> StatusCode {
        panic!("a bug")
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_that_tells_nothing_of_it() {
        let app = layered(Router::new().route("/", get(broken)), &Keep::in_memory()).with_state(());
        let request = Request::get("/").header(REQUEST_ID, "r-1").body(Body::empty()).expect("a request");
        let response = app.oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = to_bytes(response.into_body(), MAX_BODY).await.expect("in memory");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("json");
        assert_eq!((&body["status"], &body["request_id"]), (&500.into(), &"r-1".into()));
        assert!(!body.to_string().contains("a bug"));
    }

    #[tokio::test]
    async fn a_strange_request_id_is_replaced() {
        for strange in ["a b", "\"x\"", &"x".repeat(65)] {
            let app = layered(Router::new(), &Keep::in_memory()).with_state(());
            let request = Request::get("/").header(REQUEST_ID, strange).body(Body::empty()).expect("a request");
            let response = app.oneshot(request).await.expect("infallible");
            assert_ne!(response.headers()[REQUEST_ID], strange);
        }
    }
}
