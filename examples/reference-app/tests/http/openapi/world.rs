//! A running app, its document, and callers who make what an operation needs.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use super::{
    document::{Document, Operation},
    known,
    sample::with,
};
use crate::support::{Answer, App, Browser};

pub(super) struct World {
    pub(super) app: App,
    pub(super) document: Document,
    requests: AtomicU32,
}

/// Somebody with an account of their own, logged in.
pub(super) struct Caller {
    pub(super) name: String,
    browser: Browser,
}

impl Caller {
    /// Somebody without an account.
    pub(super) fn nobody(world: &World) -> Self {
        Self { name: String::new(), browser: world.app.visitor() }
    }

    /// The administrator of the demo data.
    pub(super) async fn admin(world: &World) -> Self {
        Self { name: "admin".to_owned(), browser: world.app.admin().await }
    }
}

impl World {
    pub(super) async fn of(app: App) -> Self {
        let document = Document::of(&app).await;
        Self { app, document, requests: AtomicU32::new(0) }
    }

    /// A number that this world has not had.
    pub(super) fn number(&self) -> u32 {
        self.requests.fetch_add(1, Relaxed)
    }

    /// Somebody who may call this operation.
    pub(super) async fn caller_of(&self, operation: &Operation) -> Caller {
        if known::is_for_administrators(&operation.id) {
            return Caller::admin(self).await;
        }
        self.caller().await
    }

    pub(super) async fn caller(&self) -> Caller {
        let mut caller = Caller { name: format!("caller-{}", self.number()), ..Caller::nobody(self) };
        let credentials = json!({ "username": caller.name, "password": known::PASSWORD });
        for path in ["/api/v1/auth/register", "/api/v1/auth/login"] {
            let answer = self.send(&mut caller, &Method::POST, path, Some(&credentials)).await;
            assert!(answer.status < 300, "{path} {answer:?}");
        }
        caller
    }

    /// Sends a request, each from an address of its own; what is not a success must be a problem document.
    pub(super) async fn send(&self, caller: &mut Caller, method: &Method, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(|body| ("application/json".to_owned(), body.to_string().into()));
        self.send_bytes(caller, method, path, body).await
    }

    pub(super) async fn send_bytes(
        &self,
        caller: &mut Caller,
        method: &Method,
        path: &str,
        body: Option<(String, Bytes)>,
    ) -> Answer {
        let number = self.number();
        let address = format!("10.{}.{}.{}", number / 62_500, number / 250 % 250, number % 250);
        let request = Request::builder().method(method).uri(format!("{}{path}", self.app.url()));
        let mut request = request.header("x-forwarded-for", address);
        let mut bytes = Bytes::new();
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind);
            bytes = body;
        }
        let answer = caller.browser.request(request.body(Full::from(bytes)).expect("a request")).await;
        if answer.status >= 400 {
            assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path} {answer:?}");
            let id = answer.header("x-request-id");
            assert!(!id.is_empty() && answer.body["request_id"] == id, "{method} {path} {answer:?}");
            assert_eq!(answer.body["status"], answer.status, "{method} {path} {answer:?}");
        }
        answer
    }

    /// Calls an operation as it is documented.
    pub(super) async fn call(&self, caller: &mut Caller, operation: &Operation) -> Answer {
        let path = self.path(caller, operation).await;
        self.call_at(caller, operation, &path).await
    }

    /// As `call`, where what it needs is there already.
    pub(super) async fn call_at(&self, caller: &mut Caller, operation: &Operation, path: &str) -> Answer {
        let body = self.body(caller, operation);
        self.send_bytes(caller, &operation.method, path, body).await
    }

    /// The body of a call that should succeed, with its media type.
    fn body(&self, caller: &Caller, operation: &Operation) -> Option<(String, Bytes)> {
        let kind = operation.body_kind()?;
        let bytes = match self.json_body(caller, operation) {
            Some(json) => json.to_string().into(),
            None => known::BYTES.into(),
        };
        Some((kind.to_owned(), bytes))
    }

    /// The JSON body of a call that should succeed: examples, and what the document cannot say.
    pub(super) fn json_body(&self, caller: &Caller, operation: &Operation) -> Option<Value> {
        let schema = operation.body()?;
        let mut body = self.document.sample(schema);
        for (name, _) in self.document.properties(schema) {
            if let Some(value) = known::field(self, caller, &operation.id, name) {
                body = with(&body, name, value);
            }
        }
        Some(body)
    }

    /// The path with its parameters: each is made by posting to the path before it, or found in the list there.
    pub(super) async fn path(&self, caller: &mut Caller, operation: &Operation) -> String {
        let mut path = operation.path.clone();
        for (name, schema) in operation.parameters("path") {
            let place = format!("{{{name}}}");
            let collection = path.split(&place).next().expect("something before it").trim_end_matches('/').to_owned();
            let value = match self.document.resolve(schema).get("enum") {
                Some(words) => words[0].clone(),
                None => self.item(caller, &collection, name).await,
            };
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            path = path.replace(&place, &value);
        }
        // What the last parameter names.
        let depth = operation.path.rfind('}').map_or(0, |end| operation.path[..end].split('/').count());
        let item = path.split('/').take(depth).collect::<Vec<_>>().join("/");
        for (step, body) in known::before(&operation.id) {
            let answer = self.send(caller, &Method::POST, &format!("{item}/{step}"), body.as_ref()).await;
            assert!(answer.status < 300, "{step} before {}: {answer:?}", operation.id);
        }
        path + known::query(&operation.id)
    }

    /// The id of something that this caller may use, made for this call where the document says how.
    async fn item(&self, caller: &mut Caller, collection: &str, name: &str) -> Value {
        if let Some(create) = self.document.operation(&Method::POST, collection) {
            let body = self.json_body(caller, &create);
            let made = self.send(caller, &Method::POST, collection, body.as_ref()).await;
            assert!(made.status < 300, "{collection}: {made:?} {body:?}");
            return made.body["id"].clone();
        }
        let list = self.send(caller, &Method::GET, collection, None).await;
        let first = &list.body["items"][0];
        let id = first.get(name).or_else(|| first.get("id")).or_else(|| first.get("sid"));
        id.unwrap_or_else(|| panic!("nothing to choose from at {collection}: {list:?}")).clone()
    }
}
