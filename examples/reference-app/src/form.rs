//! JSON bodies, read field by field, so that all that is wrong is told at once.

use std::borrow::Cow;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{StatusCode, header},
};
use serde_json::{Map, Value};

use crate::problem::{Invalid, Problem};

/// What a rule answers: the value, or what it should have been.
pub(crate) type Checked<T> = Result<T, Cow<'static, str>>;

/// The fields of a JSON object that are not read yet, and what was wrong with the others.
///
/// 1. A body that is not `application/json` is a 415 (which also keeps HTML forms of other sites out), one that
///    is not JSON a 400, one over the limit a 413.
/// 2. Missing, refused and unknown fields are one 422 that lists them all.
#[derive(Debug)]
pub(crate) struct Form {
    fields: Map<String, Value>,
    errors: Vec<Invalid>,
}

impl Form {
    /// A field that must be there; `None` only when it is noted as wrong.
    pub(crate) fn required<T>(&mut self, name: &'static str, rule: impl FnOnce(Value) -> Checked<T>) -> Option<T> {
        match self.fields.remove(name) {
            Some(value) => self.check(name, value, rule),
            None => self.refuse(name, "is missing"),
        }
    }

    /// A field that may be missing, but not be null.
    pub(crate) fn optional<T>(&mut self, name: &'static str, rule: impl FnOnce(Value) -> Checked<T>) -> Option<T> {
        let value = self.fields.remove(name)?;
        self.check(name, value, rule)
    }

    /// A field that null clears: `None` is absent, `Some(None)` is null.
    pub(crate) fn clearable<T>(
        &mut self,
        name: &'static str,
        rule: impl FnOnce(Value) -> Checked<T>,
    ) -> Option<Option<T>> {
        match self.fields.remove(name)? {
            Value::Null => Some(None),
            value => self.check(name, value, rule).map(Some),
        }
    }

    /// What `build` makes of the fields, unless any was refused or is left over.
    ///
    /// # Errors
    /// 422 with every field that was wrong.
    pub(crate) fn finish<T>(mut self, build: impl FnOnce() -> Option<T>) -> Result<T, Problem> {
        for (name, _) in std::mem::take(&mut self.fields) {
            self.errors.push(Invalid { field: name.into(), message: "is not a field of this resource".into() });
        }
        match build() {
            Some(built) if self.errors.is_empty() => Ok(built),
            _ => Err(Problem::invalid(self.errors)),
        }
    }

    fn check<T>(&mut self, name: &'static str, value: Value, rule: impl FnOnce(Value) -> Checked<T>) -> Option<T> {
        match rule(value) {
            Ok(value) => Some(value),
            Err(message) => self.refuse(name, message),
        }
    }

    fn refuse<T>(&mut self, field: &'static str, message: impl Into<Cow<'static, str>>) -> Option<T> {
        self.errors.push(Invalid { field: field.into(), message: message.into() });
        None
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(&request) {
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json"));
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
            status => Problem::new(status, "the body did not arrive whole"),
        })?;
        match serde_json::from_slice(&body) {
            Ok(Value::Object(fields)) => Ok(Self { fields, errors: Vec::new() }),
            Ok(_) => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the body must be a JSON object")),
            Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}"))),
        }
    }
}

fn is_json(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;
    use serde_json::json;

    fn form(body: Value) -> Form {
        let Value::Object(fields) = body else { panic!("an object") };
        Form { fields, errors: Vec::new() }
    }

    #[test]
    fn gathers_all_that_is_wrong() {
        let mut form = form(json!({ "favorite": "yes", "colour": "red" }));
        let title = form.required("title", rules::line(1, 10));
        let favorite = form.optional("favorite", rules::boolean);
        assert_eq!((&title, favorite), (&None, None));
        let fields: Vec<_> = form.errors.iter().map(|error| error.field.clone()).collect();
        assert_eq!(fields, ["title", "favorite"]);
        assert!(form.finish(|| Some(())).is_err(), "an unknown field is refused too");
    }

    #[test]
    fn tells_null_from_absent() {
        let mut form = form(json!({ "description": null }));
        assert_eq!(form.clearable("description", rules::text(10)), Some(None));
        assert_eq!(form.clearable("notes", rules::text(10)), None);
        assert!(form.finish(|| Some(())).is_ok());
    }

    #[test]
    fn null_does_not_clear_what_must_have_a_value() {
        let mut form = form(json!({ "title": null }));
        assert_eq!(form.optional("title", rules::line(1, 10)), None);
        assert!(form.finish(|| Some(())).is_err());
    }
}
