//! JSON bodies and queries, read field by field, so that all that is wrong is told at once.

use std::{borrow::Cow, convert::Infallible, ops::RangeInclusive};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, header, request::Parts},
};
use serde_json::{Map, Value};

use crate::problem::{Invalid, Problem};

/// What a rule answers: the value, or what it should have been.
pub(crate) type Checked<T> = Result<T, Cow<'static, str>>;

/// How many fields that nobody knows are named in an answer; a query has no more parameters.
const MOST_UNKNOWN: usize = 20;

/// How long a name that nobody knows may be to be repeated, in bytes.
const MOST_NAME: usize = 256;

/// The fields of a JSON object that are not read yet, and what was wrong with the others.
///
/// 1. A body that is not `application/json` is a 415 (which also keeps HTML forms of other sites out), one that
///    is not JSON a 400, one over the limit a 413.
/// 2. Missing, refused and unknown fields are one 422 that lists them all; of the unknown ones the first twenty.
#[derive(Debug)]
pub(crate) struct Form {
    fields: Map<String, Value>,
    errors: Vec<Invalid>,
    /// What is said of a field that nobody reads.
    unknown: &'static str,
}

impl Form {
    fn of_body(fields: Map<String, Value>) -> Self {
        Self { fields, errors: Vec::new(), unknown: "is not a field of this resource" }
    }

    /// The parameters of a query, each a string.
    pub(crate) fn of_query(query: &str) -> Self {
        let mut form = Self { unknown: "is not a parameter of this route", ..Self::of_body(Map::new()) };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()).take(MOST_UNKNOWN) {
            if form.fields.insert(name.clone().into_owned(), value.into()).is_some() {
                form.errors
                    .push(Invalid { field: name.into_owned().into(), message: "is given more than once".into() });
            }
        }
        form
    }

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

    /// A list of objects that must be there, each taken apart by `read`; what is wrong in one is named with its place, as
    /// in `actions[3].action`.
    pub(crate) fn each<T>(
        &mut self,
        name: &'static str,
        size: RangeInclusive<usize>,
        read: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let values = self.required(name, |value| match value {
            Value::Array(values) if size.contains(&values.len()) => Ok(values),
            Value::Array(_) => Err(format!("must have {} to {} entries", size.start(), size.end()).into()),
            _ => Err("must be a list of objects".into()),
        })?;
        let items = values.into_iter().enumerate().map(|(n, value)| self.item(&format!("{name}[{n}]"), value, &read));
        let items: Vec<_> = items.collect();
        items.into_iter().collect()
    }

    fn item<T>(&mut self, place: &str, value: Value, read: impl Fn(&mut Self) -> Option<T>) -> Option<T> {
        let Value::Object(fields) = value else { return self.refuse(place.to_owned(), "must be an object") };
        let mut form = Self::of_body(fields);
        let item = read(&mut form);
        form.refuse_the_rest();
        for Invalid { field, message } in form.errors {
            self.errors.push(Invalid { field: format!("{place}.{field}").into(), message });
        }
        item
    }

    /// What `build` makes of the fields, unless any was refused or is left over.
    ///
    /// # Errors
    /// 422 with every field that was wrong.
    pub(crate) fn finish<T>(mut self, build: impl FnOnce() -> Option<T>) -> Result<T, Problem> {
        self.refuse_the_rest();
        match build() {
            Some(built) if self.errors.is_empty() => Ok(built),
            _ => Err(Problem::invalid(self.errors)),
        }
    }

    /// Names the first of what nobody reads: the answer to a body of nothing but names is not longer than the body.
    fn refuse_the_rest(&mut self) {
        for (name, _) in std::mem::take(&mut self.fields).into_iter().take(MOST_UNKNOWN) {
            let field = if name.len() > MOST_NAME { "(a very long name)".into() } else { name.into() };
            self.errors.push(Invalid { field, message: self.unknown.into() });
        }
    }

    fn check<T>(&mut self, name: &'static str, value: Value, rule: impl FnOnce(Value) -> Checked<T>) -> Option<T> {
        match rule(value) {
            Ok(value) => Some(value),
            Err(message) => self.refuse(name, message),
        }
    }

    fn refuse<T>(&mut self, field: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Option<T> {
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
        let body = whole(request, state).await?;
        match serde_json::from_slice(&body) {
            Ok(Value::Object(fields)) => Ok(Self::of_body(fields)),
            Ok(_) => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the body must be a JSON object")),
            Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}"))),
        }
    }
}

/// The parameters of a request's query, read like the fields of a body.
#[derive(Debug)]
pub(crate) struct Parameters(pub(crate) Form);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(Form::of_query(parts.uri.query().unwrap_or_default())))
    }
}

/// The body, whatever its type, up to the route's limit.
///
/// # Errors
/// 413 as soon as it is known to be larger; 400 when it ended too soon.
pub(crate) async fn whole<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
        status => Problem::new(status, "the body did not arrive whole"),
    })
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
        Form::of_body(fields)
    }

    #[test]
    fn a_flood_of_unknown_names_has_a_short_answer() {
        let flood: Map<String, Value> = (0..5_000).map(|n| (format!("{n}"), Value::Null)).collect();
        let mut body = form(Value::Object(flood));
        body.refuse_the_rest();
        assert_eq!(body.errors.len(), MOST_UNKNOWN);
        let mut query = Form::of_query(&format!("{}=1&limit=5{}", "n".repeat(9_000), "&a=1".repeat(5_000)));
        query.refuse_the_rest();
        assert!(query.errors.len() <= 2 * MOST_UNKNOWN && query.errors.iter().all(|error| error.field.len() < 99));
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
    fn a_query_is_read_like_a_body() {
        let mut query = Form::of_query("q=a%20b+c&limit=5&limit=6&colour=red&%00");
        assert_eq!(query.required("q", rules::string).as_deref(), Some("a b c"));
        query.optional("limit", rules::number(1, 9));
        query.finish(|| Some(())).expect_err("given twice, unknown, and a NUL byte");
    }

    #[test]
    fn null_does_not_clear_what_must_have_a_value() {
        let mut form = form(json!({ "title": null }));
        assert_eq!(form.optional("title", rules::line(1, 10)), None);
        assert!(form.finish(|| Some(())).is_err());
    }

    #[test]
    fn names_the_place_in_a_list() {
        let read = |form: &mut Form| form.required("action", rules::line(1, 10));
        let mut form = form(json!({ "actions": [{ "action": "a" }, { "action": 1, "b": 2 }, 7] }));
        assert_eq!(form.each("actions", 1..=3, read), None);
        let fields: Vec<_> = form.errors.iter().map(|error| error.field.clone()).collect();
        assert_eq!(fields, ["actions[1].action", "actions[1].b", "actions[2]"]);
        for refused in [json!([]), json!([{}, {}, {}, {}]), json!({}), json!(null)] {
            let Value::Object(fields) = json!({ "actions": refused }) else { continue };
            let mut form = Form::of_body(fields);
            assert_eq!(form.each("actions", 1..=3, read), None);
            assert_eq!(form.errors[0].field, "actions");
        }
    }
}
