//! Responses made from a stored entry.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE},
};

use super::{
    Entry,
    figures::Figures,
    outcome::{Answered, CACHE_STATUS},
    policy::{self, Part},
    settings::Settings,
};
use crate::clock::Timestamp;

/// What answers a request without its handler, or after the handler has failed.
pub(crate) struct Answer<'a> {
    pub(crate) entry: &'a Entry,
    pub(crate) settings: &'a Settings,
    pub(crate) answered: Answered,
    pub(crate) now: Timestamp,
}

impl Answer<'_> {
    /// The whole entry, its head only for `HEAD`, a part of it, or 304 where the client has it already.
    pub(crate) fn to(&self, method: &Method, request: &HeaderMap) -> Response<Bytes> {
        let entry = self.entry;
        let is_known = entry.status == StatusCode::OK && policy::is_not_modified(request, &entry.headers, self.now);
        let (status, mut headers, body) = match (is_known, *method == Method::HEAD) {
            (true, _) => (StatusCode::NOT_MODIFIED, policy::not_modified_headers(&entry.headers), Bytes::new()),
            (false, true) => (entry.status, self.whole_headers(), Bytes::new()),
            (false, false) => self.part(request),
        };
        let age = entry.age(self.now);
        complete_control(&mut headers, self.settings, age, entry.left(self.now));
        self.tell(&mut headers, age);
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// The body, or the part of it that is asked for: of a 200 only (RFC 9110, 14.2).
    fn part(&self, request: &HeaderMap) -> (StatusCode, HeaderMap, Bytes) {
        let Entry { status, body, .. } = self.entry;
        let length = body.len();
        let part = match *status {
            StatusCode::OK => policy::part(request, &self.entry.headers, length),
            _ => Part::Whole,
        };
        let mut headers = self.whole_headers();
        match part {
            Part::Whole => (*status, headers, body.clone()),
            Part::Of(range) => {
                headers.insert(CONTENT_RANGE, policy::content_range(Some(&range), length));
                headers.insert(CONTENT_LENGTH, HeaderValue::from(range.len()));
                (StatusCode::PARTIAL_CONTENT, headers, body.slice(range))
            }
            Part::Unsatisfiable => {
                let mut headers = policy::not_modified_headers(&self.entry.headers);
                headers.insert(CONTENT_RANGE, policy::content_range(None, length));
                (StatusCode::RANGE_NOT_SATISFIABLE, headers, Bytes::new())
            }
        }
    }

    /// How old it is, and what became of the request.
    fn tell(&self, headers: &mut HeaderMap, age: Duration) {
        if let Answered::Hit { left } = self.answered {
            let Figures { age, status } = Figures::of(age.as_secs(), left.as_secs());
            headers.insert(AGE, age);
            headers.append(CACHE_STATUS, status);
        } else {
            headers.insert(AGE, HeaderValue::from(age.as_secs()));
            self.answered.write(headers);
        }
    }

    fn whole_headers(&self) -> HeaderMap {
        let mut headers = self.entry.headers.clone();
        policy::complete_length(&mut headers, self.entry.status, self.entry.body.len());
        headers
    }
}

/// No answer, for a client that wants none of the handler's: 504 (RFC 9111, 5.2.1.7).
pub(crate) fn only_if_cached() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    response
}

/// Tells clients how long they may keep what the handler says nothing about.
///
/// The figure counts from the making of the response, as its `Age` does.
pub(crate) fn complete_control(headers: &mut HeaderMap, settings: &Settings, age: Duration, left: Duration) {
    if headers.contains_key(CACHE_CONTROL) {
        return;
    }
    let max_age = settings.client_ttl.map(|ttl| age.as_secs() + ttl.min(left).as_secs());
    let value = match (settings.sharing.is_private(), max_age) {
        (true, None) => HeaderValue::from_static("private, no-cache"),
        (true, Some(max_age)) => control(format!("private, max-age={max_age}")),
        (false, Some(max_age)) => control(format!("max-age={max_age}")),
        (false, None) => return,
    };
    headers.insert(CACHE_CONTROL, value);
}

fn control(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("words and numbers are visible ascii")
}
