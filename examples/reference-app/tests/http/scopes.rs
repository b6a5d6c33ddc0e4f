//! Every operation of the document, held to what it says of keys.

use std::collections::BTreeSet;

use http::Method;
use serde_json::Value;

use crate::{
    keys::{key, request},
    support::App,
};

/// One operation of the document, and whom it says it lets in.
struct Operation {
    method: Method,
    path: String,
    /// The scopes of each choice of keys.
    keys: Vec<BTreeSet<String>>,
    takes_sessions: bool,
}

impl Operation {
    fn of(path: &str, method: &str, operation: &Value) -> Option<Self> {
        let method = method.to_uppercase();
        let method = ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&&*method).then(|| method.parse().ok())??;
        let requirements = operation["security"].as_array().cloned().unwrap_or_default();
        let scopes = |requirement: &Value| serde_json::from_value(requirement.get("api_key")?.clone()).ok();
        let takes_sessions = requirements.iter().any(|requirement| requirement.get("session").is_some());
        Some(Self {
            method,
            path: filled(path),
            keys: requirements.iter().filter_map(scopes).collect(),
            takes_sessions,
        })
    }

    fn opens_with(&self, scopes: &[&str]) -> bool {
        self.keys.iter().any(|choice| choice.iter().all(|scope| scopes.contains(&scope.as_str())))
    }

    /// From an address of its own: all of them together are more than one address may ask for.
    async fn ask(&self, app: &App, key: &str, n: usize) -> u16 {
        let mut request = request(app, self.method.clone(), &self.path, key, None);
        request.headers_mut().insert("x-forwarded-for", format!("198.51.100.{}", n % 250).parse().expect("a header"));
        app.visitor().request(request).await.status
    }
}

/// `/a/{id}` as `/a/1`.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn the_document_is_what_keys_are_held_to() {
    let app = App::start(&["--no-seed", "--trusted-proxy", "127.0.0.1/32"]);
    let mut alice = app.user("alice").await;
    let document = alice.get("/openapi.json").await.body;
    let paths = document["paths"].as_object().expect("paths");
    let operations: Vec<_> = paths
        .iter()
        .flat_map(|(path, item)| item.as_object().expect("an item").iter().map(move |(m, o)| Operation::of(path, m, o)))
        .flatten()
        .collect();
    let scopes: BTreeSet<_> = operations.iter().flat_map(|operation| operation.keys.iter().flatten()).collect();
    let scopes: Vec<_> = scopes.into_iter().map(String::as_str).collect();
    assert!(scopes.len() > 1 && operations.len() > 5, "the document says something: {scopes:?}");

    let all = key(&mut alice, &scopes).await;
    // Every scope is missing in one of these two.
    let (first, second) = scopes.split_at(scopes.len() / 2);
    let halves = [(first, key(&mut alice, first).await), (second, key(&mut alice, second).await)];
    for (n, operation) in operations.iter().enumerate() {
        let named = format!("{} {}", operation.method, operation.path);
        let status = operation.ask(&app, &all, n).await;
        let is_closed = operation.keys.is_empty() && operation.takes_sessions;
        assert_eq!(status == 403, is_closed, "{named} with all scopes: {status}");
        assert!(status != 401 && status < 500, "{named} with all scopes: {status}");
        for (half, key) in &halves {
            if !operation.keys.is_empty() && !operation.opens_with(half) {
                assert_eq!(operation.ask(&app, key, n).await, 403, "{named} with {half:?}");
            }
        }
    }
}
