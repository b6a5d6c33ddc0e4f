//! Every error as one `application/problem+json` (RFC 9457) that carries the request's id.

use std::{
    borrow::Cow,
    error::Error as StdError,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody, to_bytes},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::error::DatabaseError;
use utoipa::ToSchema;

use crate::password::HashError;

/// The header of the request's id, which an error repeats in its body.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The media type of RFC 9457.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// More than any layer writes.
const MAX_DOCUMENT: usize = 16 * 1024;

/// One field that was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Invalid {
    pub(crate) field: Cow<'static, str>,
    pub(crate) message: Cow<'static, str>,
}

/// Why a request is refused.
///
/// As a response it is an empty body with the problem in its extensions; [`render`] writes it out, because only
/// there the request's id is known.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: Option<Cow<'static, str>>,
    errors: Vec<Invalid>,
    retry_after: Option<Duration>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: Some(detail.into()), errors: Vec::new(), retry_after: None }
    }

    /// What does not exist, or belongs to somebody else: the two must look alike.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing here for you")
    }

    /// All that is wrong with the request's fields, at once.
    pub(crate) fn invalid(errors: Vec<Invalid>) -> Self {
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "some fields are not acceptable") }
    }

    /// A fault of ours: the log has the error, the client has the request's id to ask about it.
    pub(crate) fn internal(error: &(dyn StdError + 'static)) -> Self {
        tracing::error!(error, "a request failed");
        Self::plain(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What a panicking handler leaves behind.
    pub(crate) fn panicked() -> Self {
        Self::plain(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Whether the request was at fault, so that nothing was changed.
    pub(crate) fn is_refusal(&self) -> bool {
        self.status.is_client_error()
    }

    fn plain(status: StatusCode) -> Self {
        Self { status, detail: explain(status).map(Cow::Borrowed), errors: Vec::new(), retry_after: None }
    }

    fn to_json(&self) -> Value {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let mut body = json!({ "type": "about:blank", "title": title, "status": self.status.as_u16() });
        if let Some(detail) = &self.detail {
            body["detail"] = json!(detail);
        }
        if !self.errors.is_empty() {
            body["errors"] = json!(self.errors);
        }
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if is_out_of_reach(&error) {
            tracing::error!(error = &error as &dyn StdError, "the database does not answer");
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer; try again shortly");
        }
        if error.as_database_error().is_some_and(DatabaseError::is_foreign_key_violation) {
            return Self::new(StatusCode::UNAUTHORIZED, "this account does not exist any more");
        }
        Self::internal(&error)
    }
}

/// Whether the database did not answer, which is no fault of the statement.
fn is_out_of_reach(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, WorkerCrashed};
    match error {
        Io(_) | PoolClosed | PoolTimedOut | WorkerCrashed => true,
        Database(error) => error.code().is_some_and(|code| match code.len() {
            // PostgreSQL's SQLSTATE: the connection is lost, resources are used up, the server is going down.
            5 => ["08", "53", "57P"].iter().any(|class| code.starts_with(class)),
            // SQLite: busy, locked.
            _ => matches!(&*code, "5" | "6"),
        }),
        _ => false,
    }
}

impl From<HashError> for Problem {
    fn from(error: HashError) -> Self {
        Self::internal(&error)
    }
}

impl From<towerkeep::Error> for Problem {
    fn from(error: towerkeep::Error) -> Self {
        if error.is_unavailable() {
            return Self { retry_after: error.retry_after(), ..Self::plain(StatusCode::SERVICE_UNAVAILABLE) };
        }
        Self::internal(&error)
    }
}

/// What a status means here, for the errors that layers and the router make without a word.
fn explain(status: StatusCode) -> Option<&'static str> {
    Some(match status {
        StatusCode::UNAUTHORIZED => "log in first: POST /api/v1/auth/login",
        StatusCode::FORBIDDEN => "not allowed, or sent by a page of another origin",
        StatusCode::NOT_FOUND => "no such route",
        StatusCode::METHOD_NOT_ALLOWED => "the Allow header lists what this route takes",
        StatusCode::REQUEST_TIMEOUT => "the request took too long",
        StatusCode::PAYLOAD_TOO_LARGE => "the body is too large",
        StatusCode::TOO_MANY_REQUESTS => "too many requests; the Retry-After header says when to try again",
        StatusCode::INTERNAL_SERVER_ERROR => "something went wrong on our side",
        StatusCode::SERVICE_UNAVAILABLE => "not available right now; try again shortly",
        _ => return None,
    })
}

/// Writes the body of every error, whoever made it; all other responses pass.
///
/// Headers stay (`Retry-After`, `Allow`, cookies); a problem document that is one already gets the request's id.
pub(crate) fn render<B>(response: axum::http::Response<B>) -> Response
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let mut response = response.map(Body::new);
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let mut document = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem.to_json(),
        None => adopt(&mut response).unwrap_or_else(|| Problem::plain(status).to_json()),
    };
    if let Some(id) = response.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()) {
        document["request_id"] = json!(id);
    }
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    }
    *response.body_mut() = Body::from(document.to_string());
    response
}

/// The problem document that a layer wrote already. It lies in memory, so it is there at the first poll.
fn adopt(response: &mut Response) -> Option<Value> {
    response.headers().get(header::CONTENT_TYPE).filter(|kind| *kind == PROBLEM_JSON)?;
    let body = std::mem::take(response.body_mut());
    let reading = pin!(to_bytes(body, MAX_DOCUMENT));
    let Poll::Ready(Ok(bytes)) = reading.poll(&mut Context::from_waker(Waker::noop())) else { return None };
    serde_json::from_slice(&bytes).ok().filter(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_headers_and_drops_a_foreign_body() {
        let made = (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET"), (header::CONTENT_LENGTH, "3")], "no!");
        let rendered = render(made.into_response());
        assert_eq!(rendered.headers()[header::ALLOW], "GET");
        assert_eq!(rendered.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        assert!(!rendered.headers().contains_key(header::CONTENT_LENGTH));
    }

    #[test]
    fn leaves_other_responses_alone() {
        let rendered = render((StatusCode::OK, "fine").into_response());
        assert_ne!(rendered.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
    }

    #[test]
    fn adopts_the_document_of_a_layer() {
        let made = (StatusCode::TOO_MANY_REQUESTS, [(header::CONTENT_TYPE, PROBLEM_JSON)], r#"{"title":"slower"}"#);
        let mut response = made.into_response();
        response.headers_mut().insert(REQUEST_ID, HeaderValue::from_static("r-1"));
        let mut rendered = render(response);
        rendered.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        assert_eq!(adopt(&mut rendered), Some(json!({ "title": "slower", "request_id": "r-1" })));
    }

    #[test]
    fn names_every_field() {
        let field = |field: &'static str| Invalid { field: field.into(), message: "is missing".into() };
        let body = Problem::invalid(vec![field("url"), field("title")]).to_json();
        assert_eq!((&body["status"], body["errors"].as_array().map(Vec::len)), (&json!(422), Some(2)));
    }
}
