//! What a key needs for each operation, as the OpenAPI document says it.

use std::collections::{HashMap, HashSet};

use axum::http::Method;
use serde_json::Value;
use utoipa::openapi::OpenApi;

use crate::openapi::API_KEY;

const METHODS: [(&str, Method); 5] = [
    ("get", Method::GET),
    ("post", Method::POST),
    ("put", Method::PUT),
    ("patch", Method::PATCH),
    ("delete", Method::DELETE),
];

/// The operations of the document by path and method.
#[derive(Debug, Default)]
pub(super) struct Operations(HashMap<String, Vec<(Method, Rule)>>);

/// Whom an operation lets in, as far as keys are concerned.
#[derive(Debug, PartialEq, Eq)]
enum Rule {
    /// It asks for nothing.
    Public,
    /// It asks for something that no key is.
    NoKeys,
    /// All scopes of any one of these lists.
    Scopes(Vec<HashSet<String>>),
}

/// Why a key does not open an operation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No key does.
    NotForKeys,
    /// A key with these scopes beside its own would.
    Lacks(Vec<String>),
}

impl Operations {
    pub(super) fn of(document: &OpenApi) -> Self {
        // A document that cannot be read has no operations, and a key opens none of them.
        let document = serde_json::to_value(document).unwrap_or_default();
        let paths = document["paths"].as_object().into_iter().flatten();
        Self(paths.map(|(path, item)| (path.clone(), rules(item))).collect())
    }

    /// Whether a key with the scopes `granted` may do this. `HEAD` is the `GET` without its body.
    pub(super) fn judge(&self, method: &Method, path: &str, granted: &[String]) -> Result<(), Refusal> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let rule = self.0.get(path).and_then(|rules| rules.iter().find(|(of, _)| of == method));
        match rule.map(|(_, rule)| rule) {
            Some(Rule::Public) => Ok(()),
            Some(Rule::Scopes(choices)) => cheapest(choices, granted),
            Some(Rule::NoKeys) | None => Err(Refusal::NotForKeys),
        }
    }
}

fn rules(item: &Value) -> Vec<(Method, Rule)> {
    let given = METHODS.into_iter().filter_map(|(name, method)| Some((method, item.get(name)?)));
    given.map(|(method, operation)| (method, rule(&operation["security"]))).collect()
}

/// Requirements are a choice; one that asks for a key *and* for something else is none that a key can meet.
fn rule(security: &Value) -> Rule {
    let requirements = security.as_array().map_or(&[][..], Vec::as_slice);
    let choices: Vec<_> = requirements.iter().filter_map(scopes_of_key).collect();
    if !choices.is_empty() {
        return Rule::Scopes(choices);
    }
    let is_public =
        requirements.iter().all(|requirement| requirement.as_object().is_some_and(serde_json::Map::is_empty));
    if is_public { Rule::Public } else { Rule::NoKeys }
}

fn scopes_of_key(requirement: &Value) -> Option<HashSet<String>> {
    let scopes = requirement.as_object().filter(|schemes| schemes.len() == 1)?.get(API_KEY)?.as_array()?;
    Some(scopes.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Fails with what is missing where the least is.
fn cheapest(choices: &[HashSet<String>], granted: &[String]) -> Result<(), Refusal> {
    let missing = |choice: &HashSet<String>| {
        let mut missing: Vec<_> = choice.iter().filter(|scope| !granted.contains(scope)).cloned().collect();
        missing.sort_unstable();
        missing
    };
    match choices.iter().map(missing).min_by_key(Vec::len) {
        Some(missing) if missing.is_empty() => Ok(()),
        Some(missing) => Err(Refusal::Lacks(missing)),
        None => Err(Refusal::NotForKeys),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn operations(security: &Value) -> Operations {
        let document = json!({
            "openapi": "3.1.0", "info": { "title": "t", "version": "1" },
            "paths": { "/a/{id}": { "get": { "responses": {}, "security": security } } },
        });
        Operations::of(&serde_json::from_value(document).expect("a document"))
    }

    fn judge(security: &Value, granted: &[&str]) -> Result<(), Refusal> {
        let granted: Vec<_> = granted.iter().map(|scope| (*scope).to_owned()).collect();
        operations(security).judge(&Method::GET, "/a/{id}", &granted)
    }

    fn lacks(scopes: &[&str]) -> Result<(), Refusal> {
        Err(Refusal::Lacks(scopes.iter().map(|scope| (*scope).to_owned()).collect()))
    }

    #[test]
    fn a_key_needs_all_scopes_of_one_choice() {
        let security = json!([{ "session": [] }, { "api_key": ["a", "b"] }, { "api_key": ["c"] }]);
        assert_eq!(judge(&security, &["b", "a"]), Ok(()));
        assert_eq!(judge(&security, &["c"]), Ok(()));
        assert_eq!(judge(&security, &["a"]), lacks(&["b"]));
        assert_eq!(judge(&security, &[]), lacks(&["c"]));
        assert_eq!(judge(&json!([{ "api_key": [] }]), &[]), Ok(()));
    }

    #[test]
    fn what_asks_for_no_key_takes_none_unless_it_asks_for_nothing() {
        assert_eq!(judge(&json!([]), &[]), Ok(()));
        assert_eq!(judge(&json!([{}]), &[]), Ok(()));
        for closed in
            [json!([{ "session": [] }]), json!([{}, { "session": [] }]), json!([{ "api_key": [], "session": [] }])]
        {
            assert_eq!(judge(&closed, &["a"]), Err(Refusal::NotForKeys));
        }
    }

    #[test]
    fn a_public_operation_that_names_scopes_asks_a_key_for_them() {
        assert_eq!(judge(&json!([{}, { "api_key": ["a"] }]), &["b"]), lacks(&["a"]));
    }

    #[test]
    fn what_is_not_in_the_document_takes_no_key() {
        let operations = operations(&json!([]));
        let judge = |method: Method, path: &str| operations.judge(&method, path, &[]);
        assert_eq!((judge(Method::GET, "/a/{id}"), judge(Method::HEAD, "/a/{id}")), (Ok(()), Ok(())));
        for (method, path) in [(Method::POST, "/a/{id}"), (Method::OPTIONS, "/a/{id}"), (Method::GET, "/b")] {
            assert_eq!(judge(method, path), Err(Refusal::NotForKeys));
        }
    }
}
