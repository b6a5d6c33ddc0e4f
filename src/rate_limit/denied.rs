//! A refusal, and the response that tells it.

use std::{error::Error as StdError, fmt, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};

use super::{Decision, LimitHeaders, Outcome, Verdict, headers};
use crate::error::whole_seconds;

/// Why a request was refused; as a response 429, or 503 where a policy refuses because its store does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied(Vec<Decision>);

/// Problem types of draft-ietf-httpapi-ratelimit-headers.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
const REDUCED_CAPACITY: &str = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

impl Denied {
    pub(super) fn new(verdict: Verdict) -> Self {
        Self(verdict.into_decisions().into_vec())
    }

    /// When the same request has room under all policies; nothing where waiting does not help.
    pub fn retry_after(&self) -> Option<Duration> {
        if self.is_too_costly() { None } else { self.0.iter().filter_map(Decision::retry_after).max() }
    }

    /// The names of the policies that refused.
    pub fn policies(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter(|decision| !decision.outcome().admits()).map(|decision| decision.policy().name())
    }

    /// What all policies said, those that did not refuse too.
    pub fn decisions(&self) -> &[Decision] {
        &self.0
    }

    /// Whether nobody counted: the store did not answer, and the policy does not admit without it.
    pub fn is_unavailable(&self) -> bool {
        self.has(Outcome::Unavailable)
    }

    /// Whether the request costs more than a policy ever admits at once.
    pub fn is_too_costly(&self) -> bool {
        self.has(Outcome::TooCostly)
    }

    /// 429, or 503 for an outage.
    pub fn status(&self) -> StatusCode {
        if self.is_unavailable() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::TOO_MANY_REQUESTS }
    }

    /// The refusal as a problem document (RFC 9457) with `Retry-After`, not to be cached.
    pub fn to_response(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.document()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        response
    }

    /// The refusal as a gRPC client reads it: 200 without a body, `grpc-status` 8 (`RESOURCE_EXHAUSTED`), or 14
    /// (`UNAVAILABLE`) for an outage, with `Retry-After`.
    ///
    /// Layers answer so by themselves where the request's content type is `application/grpc`.
    ///
    /// ```
    /// use towerkeep::{clock::{Clock, minutes}, rate_limit::{MemoryRateStore, Policy, RateLimits}};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// const CALLS: Policy = Policy::sliding_window("calls", 1, minutes(1));
    /// let limits = RateLimits::new(MemoryRateStore::new(Clock::system()));
    /// assert!(limits.check(CALLS, "ann").await.is_ok());
    /// let refused = limits.check(CALLS, "ann").await.unwrap_err().to_grpc_response();
    /// assert_eq!((refused.status().as_u16(), &refused.headers()["grpc-status"]), (200, &"8".parse().unwrap()));
    /// # }
    /// ```
    pub fn to_grpc_response(&self) -> Response<Bytes> {
        let mut response = self.to_response();
        *response.status_mut() = StatusCode::OK;
        *response.body_mut() = Bytes::new();
        let (status, message) = (if self.is_unavailable() { "14" } else { "8" }, self.words());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static(status));
        headers.insert("grpc-message", HeaderValue::from_static(message));
        response
    }

    pub(super) fn to_grpc_response_with(&self, style: LimitHeaders) -> Response<Bytes> {
        let mut response = self.to_grpc_response();
        headers::write(response.headers_mut(), style, &self.0, None);
        response
    }

    pub(super) fn to_response_with(&self, style: LimitHeaders) -> Response<Bytes> {
        let mut response = self.to_response();
        headers::write(response.headers_mut(), style, &self.0, None);
        response
    }

    fn words(&self) -> &'static str {
        if self.is_unavailable() {
            "the request cannot be counted now"
        } else if self.is_too_costly() {
            "the request costs more than its limit ever admits"
        } else {
            "too many requests"
        }
    }

    fn has(&self, outcome: Outcome) -> bool {
        self.0.iter().any(|decision| decision.outcome() == outcome)
    }

    /// Names of policies need no escaping.
    fn document(&self) -> String {
        let status = self.status().as_u16();
        if self.is_unavailable() {
            return format!(r#"{{"type":"{REDUCED_CAPACITY}","title":"{self}","status":{status}}}"#);
        }
        let names: Vec<_> = self.policies().map(|name| format!("\"{name}\"")).collect();
        let kind = if self.is_too_costly() { "about:blank" } else { QUOTA_EXCEEDED };
        format!(r#"{{"type":"{kind}","title":"{self}","status":{status},"violated-policies":[{}]}}"#, names.join(","))
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl StdError for Denied {}

#[cfg(feature = "axum")]
impl axum::response::IntoResponse for Denied {
    fn into_response(self) -> axum::response::Response {
        self.to_response_with(LimitHeaders::default()).map(axum::body::Body::from)
    }
}
