//! How many statements a request sends to the database, counted in the log of the app.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use http::{Method, Request, header};
use http_body_util::Full;
use serde_json::Value;

use super::{Answer, App, Browser, command};

const LOGGED_WITHIN: Duration = Duration::from_secs(10);

/// An app that logs each of its statements under the request that asked for it.
pub struct Counting {
    app: App,
    requests: AtomicU32,
}

impl Counting {
    pub fn start(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = command(dir.path(), args);
        command.args(["--log-format", "json", "--trusted-proxy", "127.0.0.1/32"]);
        command.env("RUST_LOG", "info,sqlx::query=debug");
        Self { app: App::run(command, dir, args), requests: AtomicU32::new(0) }
    }

    pub fn app(&self) -> &App {
        &self.app
    }

    /// Sends a request from an address of its own, so that no limit of addresses counts; answers its id, too.
    pub async fn send(&self, user: &mut Browser, method: Method, path: &str, body: Option<Value>) -> (String, Answer) {
        let n = self.requests.fetch_add(1, Ordering::Relaxed);
        let id = format!("counted-{n}");
        let request = Request::builder().method(method).uri(format!("{}{path}", self.app.url()));
        let request =
            request.header("x-request-id", &id).header("x-forwarded-for", format!("10.0.{}.{}", n / 250, n % 250));
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        (id, user.request(request.body(Full::from(body)).expect("a request")).await)
    }

    /// Asserts that a `GET` of this path succeeds, past the cache, with exactly so many statements.
    pub async fn asks(&self, user: &mut Browser, path: &str, expected: usize) -> Answer {
        let (id, answer) = self.send(user, Method::GET, path, None).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(!answer.header("cache-status").contains("; hit"), "{path} is cached: {answer:?}");
        self.until_logged(&id, expected).await;
        // A statement is logged when its last row is read, a moment after the answer perhaps. What another request sent
        // later is there: so is what this one sent.
        let (later, _) = self.send(user, Method::GET, "/api/v1/bookmarks/1", None).await;
        self.until_logged(&later, 1).await;
        let statements = self.logged(&id);
        assert_eq!(statements.len(), expected, "{path}: {statements:#?}");
        answer
    }

    async fn until_logged(&self, id: &str, at_least: usize) {
        let deadline = Instant::now() + LOGGED_WITHIN;
        while self.logged(id).len() < at_least {
            assert!(Instant::now() < deadline, "fewer than {at_least}: {:#?}", self.logged(id));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The statements logged under this request so far, without those by which a new connection sets itself up.
    fn logged(&self, id: &str) -> Vec<String> {
        let log = self.app.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let asked = lines.filter(|line| line["target"] == "sqlx::query" && line["span"]["id"] == id);
        let statements = asked.map(|line| line["summary"].as_str().unwrap_or_default().to_owned());
        statements.filter(|statement| !statement.starts_with("PRAGMA")).collect()
    }
}
