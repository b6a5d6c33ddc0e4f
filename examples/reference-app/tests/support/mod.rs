//! The real binary in a directory of its own, and a browser to visit it with.
#![allow(dead_code, unreachable_pub, reason = "each binary uses a part of it")]

pub mod postgres;
pub mod queries;
#[path = "../../../../tests/support/mod.rs"]
pub mod servers;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{
        atomic::{AtomicU16, Ordering::Relaxed},
        mpsc,
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const START_WITHIN: Duration = Duration::from_secs(30);
const SAYS_WITHIN: Duration = Duration::from_secs(20);

/// What asks whether all instances count together, or whether an answer is kept, is not about a machine that stands still.
pub const PATIENT: [&str; 2] = ["--redis-deadline", "2000"];

/// The app, without any setting of the environment it is tested in.
pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reference-app"));
    for name in ["LISTEN", "REDIS_URL", "REDIS_HOST", "REDIS_DEADLINE_MS", "DATABASE_URL", "TRUSTED_PROXIES"] {
        command.env_remove(name);
    }
    command.env_remove("LOG_FORMAT").env_remove("RUST_LOG");
    command.current_dir(dir).args(args).stdin(Stdio::null());
    command
}

/// What a process that ends by itself has to say; one that goes on running is an error.
pub fn outcome(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the app runs");
    let deadline = Instant::now() + START_WITHIN;
    while child.try_wait().expect("our own child").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("our own child");
            panic!("it did not end by itself: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("its output")
}

/// A running app; ended when dropped.
pub struct App {
    child: Child,
    url: String,
    greeting: Vec<String>,
    dir: TempDir,
}

impl App {
    /// Starts on a free port with an empty directory: the embedded database, demo data.
    pub fn start(args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary directory"), args)
    }

    /// As `start`, in a directory that may hold a database already.
    pub fn start_in(dir: TempDir, args: &[&str]) -> Self {
        let command = command(dir.path(), args);
        Self::run(command, dir, args)
    }

    /// As `start`, with every query in the log.
    pub fn start_with_queries(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = command(dir.path(), args);
        command.env("RUST_LOG", "info,sqlx::query=debug");
        Self::run(command, dir, args)
    }

    /// How many queries the requests of a piece of work make; what sets up a new connection is none.
    pub async fn queries_during(&self, work: impl Future<Output = ()>) -> usize {
        let of_request =
            |line: &&str| line.contains("db.statement=") && line.contains("request{") && !line.contains("PRAGMA ");
        let count = || self.log().lines().filter(of_request).count();
        let before = count();
        work.await;
        count() - before
    }

    fn run(mut command: Command, dir: TempDir, args: &[&str]) -> Self {
        let log = File::create(dir.path().join("log.txt")).expect("a log file");
        if !args.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the app starts");
        let out = child.stdout.take().expect("piped");
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        let mut app = Self { child, url: String::new(), greeting: Vec::new(), dir };
        while app.greeting.iter().filter(|line| line.is_empty()).count() < 2 {
            match lines.recv_timeout(START_WITHIN) {
                Ok(line) => app.greeting.push(line),
                Err(_) => panic!("the app did not start: {}", app.log()),
            }
        }
        app.url = app.greeting[0].rsplit(' ').next().expect("a url").to_owned();
        app
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it printed at the start.
    pub fn greeting(&self) -> &[String] {
        &self.greeting
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log.txt")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().expect("our own child")
    }

    /// Ends it and hands its directory on.
    pub fn stop(mut self) -> TempDir {
        self.end();
        let empty = tempfile::tempdir().expect("a temporary directory");
        std::mem::replace(&mut self.dir, empty)
    }

    fn end(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Somebody without cookies.
    pub fn visitor(&self) -> Browser {
        Browser::new(&self.url)
    }

    /// Waits until it is ready with this status.
    pub async fn says(&self, status: &str) {
        self.visitor().says(status).await;
    }

    /// A new user, logged in.
    pub async fn user(&self, name: &str) -> Browser {
        self.user_of(self.visitor(), name).await
    }

    /// The administrator of the demo data, logged in.
    pub async fn admin(&self) -> Browser {
        let password = self.greeting().iter().find_map(|line| line.strip_prefix("user admin has the password "));
        let password = password.and_then(|rest| rest.split(',').next()).expect("an app with demo data");
        let mut admin = self.visitor();
        let login = json!({ "username": "admin", "password": password });
        assert_eq!(admin.post("/api/v1/auth/login", login).await.status, 200);
        admin
    }

    /// A new user behind this visitor.
    pub async fn user_of(&self, mut browser: Browser, name: &str) -> Browser {
        let credentials = json!({ "username": name, "password": "a good password" });
        let registered = browser.post("/api/v1/auth/register", credentials.clone()).await;
        assert_eq!(registered.status, 201, "{registered:?}");
        let logged_in = browser.post("/api/v1/auth/login", credentials).await;
        assert_eq!(logged_in.status, 200, "{logged_in:?}");
        browser
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("--- log of the app ---\n{}", self.log());
        }
    }
}

/// Sends requests and keeps cookies.
#[derive(Clone)]
pub struct Browser {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    cookies: BTreeMap<String, String>,
    address: Option<String>,
}

/// What came back; `body` is null where there was no JSON.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The fields that a 422 names, sorted.
    pub fn refused(&self) -> Vec<&str> {
        assert_eq!(self.status, 422, "{self:?}");
        let errors = self.body["errors"].as_array().expect("a list of errors");
        let mut fields: Vec<_> = errors.iter().filter_map(|error| error["field"].as_str()).collect();
        fields.sort_unstable();
        fields
    }
}

impl Browser {
    /// Without cookies, at the app of this URL.
    pub fn new(url: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, url: url.to_owned(), cookies: BTreeMap::new(), address: None }
    }

    /// Waits until the app is ready with this status.
    pub async fn says(&mut self, status: &str) {
        let deadline = Instant::now() + SAYS_WITHIN;
        loop {
            let ready = self.get("/readyz").await;
            assert_eq!(ready.status, 200, "ready with or without Redis");
            if ready.body["status"] == status {
                return;
            }
            assert!(Instant::now() < deadline, "waited {SAYS_WITHIN:?} for {status}: {:?}", ready.body);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The same one at another address, for an app that believes its proxy.
    pub fn at(mut self, address: &str) -> Self {
        self.address = Some(address.to_owned());
        self
    }

    /// The same one at an address that nobody had before, so that no limit of addresses counts.
    pub fn elsewhere(self) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let [high, low] = NEXT.fetch_add(1, Relaxed).to_be_bytes();
        self.at(&format!("10.0.{high}.{low}"))
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&mut self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub async fn patch(&mut self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&mut self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    pub async fn send(&mut self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.request(request.body(Full::from(body)).expect("a request")).await
    }

    /// Sends any request, with the cookies it has.
    pub async fn request(&mut self, mut request: Request<Full<Bytes>>) -> Answer {
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request.headers_mut().insert(header::COOKIE, pairs.join("; ").parse().expect("a header"));
        }
        if let Some(address) = &self.address {
            request.headers_mut().insert("x-forwarded-for", address.parse().expect("a header"));
        }
        let (head, body) = self.answer(request).await.into_parts();
        for cookie in head.headers.get_all(header::SET_COOKIE) {
            self.keep(cookie.to_str().expect("ascii"));
        }
        let body = body.collect().await.expect("a whole body").to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// Sends it again where the answer was missed: a body that is too large is refused before it is read, and who still
    /// writes it may hear of nothing but a closed connection.
    async fn answer(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        for _ in 0..20 {
            match self.client.request(request.clone()).await {
                Err(error) if format!("{error:?}").contains("BodyWrite") => {}
                answer => return answer.expect("the app answers"),
            }
        }
        panic!("the app closes the connection and says nothing")
    }

    /// A copy of the cookies, as somebody who stole them would have it.
    pub fn cookies(&self) -> BTreeMap<String, String> {
        self.cookies.clone()
    }

    pub fn set_cookies(&mut self, cookies: BTreeMap<String, String>) {
        self.cookies = cookies;
    }

    fn keep(&mut self, cookie: &str) {
        let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
        let (name, value) = pair.split_once('=').expect("a name and a value");
        if value.is_empty() || attributes.contains("Max-Age=0") {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}
