//! All routes behind all layers.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Request},
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
    access::Guard,
    health, openapi, problem,
    problem::{Problem, REQUEST_ID},
    resources::{
        analytics, api_keys, auth, bookmarks, challenges, items, leaderboard, recommendations, scores, search,
        sessions, tasks, uploads, user_actions,
    },
    state::AppState,
};

/// What one address may ask for, whatever it is.
const GENERAL: Policy = Policy::sliding_window("general", 100, minutes(1));

const TIMEOUT: Duration = seconds(10);
/// What a body may have at most, in bytes; a file that is uploaded may have more.
const MAX_BODY: usize = 64 * 1024;

/// Every route behind every layer.
pub(crate) fn app(keep: &Keep, state: AppState) -> Router {
    let routes = openapi::router()
        .merge(health::routes())
        .merge(auth::routes(keep))
        .merge(api_keys::routes(keep))
        .merge(bookmarks::routes(keep))
        .merge(sessions::routes())
        .merge(uploads::routes(keep))
        .merge(tasks::routes(keep))
        .merge(search::routes(keep))
        .merge(challenges::routes(keep))
        .merge(scores::routes(keep))
        .merge(leaderboard::routes(keep))
        .merge(user_actions::routes(keep))
        .merge(analytics::routes(keep))
        .merge(recommendations::routes(keep))
        .merge(items::routes(keep));
    let (routes, document) = routes.split_for_parts();
    let document = openapi::finish(document);
    let guard = Guard::new(&document, state.api_keys.clone());
    layered(routes.merge(openapi::routes(document)), keep, guard).with_state(state)
}

/// The layers around all routes; the first one sees a request first.
///
/// The request's id comes before the trace, so that each line of the log has it. Errors are written out next to
/// them, whoever made them further in.
fn layered<S: Clone + Send + Sync + 'static>(routes: Router<S>, keep: &Keep, guard: Guard) -> Router<S> {
    let layers = ServiceBuilder::new()
        .map_request(without_strange_id)
        .set_request_id(REQUEST_ID, MakeRequestUuid)
        // One line for each request. What failed has a line of its own with the cause, and a 503 for want of Redis is no failure.
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(span)
                .on_response(DefaultOnResponse::new().level(Level::INFO))
                .on_failure(()),
        )
        .map_response(not_stored)
        .map_response(problem::render)
        .propagate_request_id(REQUEST_ID)
        .layer(CatchPanicLayer::custom(panicked))
        // What takes longer is most often a client that does not send its body: the database has deadlines of its own.
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, TIMEOUT))
        // No body is longer than this, read or not; what most routes read ends sooner.
        .layer(RequestBodyLimitLayer::new(uploads::MAX_FILE))
        .map_response_body(Body::new)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CsrfLayer::new())
        .layer(keep.layer())
        .layer(keep.limits().layer(GENERAL).skip(|request| health::is_probe(request.uri.path())))
        .layer(keep.sessions().layer())
        .layer(guard);
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
    use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
    use tower::ServiceExt;

    use super::*;
    use crate::database::{Database, api_keys::ApiKeys};

    /// Of a document without operations; no key is looked up here.
    fn guard() -> Guard {
        let database = Database::Sqlite(SqlitePool::connect_lazy_with(SqliteConnectOptions::new()));
        Guard::new(&utoipa::openapi::OpenApi::default(), ApiKeys::new(database))
    }

    async fn broken() -> StatusCode {
        panic!("a bug")
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_that_tells_nothing_of_it() {
        let app = layered(Router::new().route("/", get(broken)), &Keep::in_memory(), guard()).with_state(());
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
            let app = layered(Router::new(), &Keep::in_memory(), guard()).with_state(());
            let request = Request::get("/").header(REQUEST_ID, strange).body(Body::empty()).expect("a request");
            let response = app.oneshot(request).await.expect("infallible");
            assert_ne!(response.headers()[REQUEST_ID], strange);
        }
    }
}
