//! What many people do with the reference app at once: lists, search, a dashboard, a leaderboard, and changes to all.
//!
//! ```sh
//! cargo run --release -p reference-app -- --trusted-proxy 127.0.0.1        # in one terminal
//! cargo run --release --example mixed_load -- 127.0.0.1:3000 140 30        # in another: address, rate, seconds
//! ```
//! It plays a proxy with twenty users behind it. A request starts when it is due, however slow the answers are, and its time
//! counts from then. It fails when an answer is none that was hoped for, or the 99th percentile of all is over 20 ms.
use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

#[allow(dead_code, unreachable_pub, reason = "shared with the tests")]
#[path = "../tests/support/load.rs"]
mod load;

const USERS: u64 = 20;
const TARGET: Duration = Duration::from_millis(20);

/// How many of twenty requests are of each kind: three reads to one change.
const MIX: [(&str, u64); 10] = [
    ("bookmarks", 4),
    ("tasks", 3),
    ("search", 3),
    ("who am I", 2),
    ("leaderboard", 2),
    ("dashboard", 1),
    ("log an action", 2),
    ("add a bookmark", 1),
    ("add a task", 1),
    ("score", 1),
];
const ROUND: u64 = 20;

/// The kind of the `n`th request; steps of seven mix a round well.
fn kind(n: u64) -> &'static str {
    let mut place = n * 7 % ROUND;
    let found = MIX.iter().find(|(_, share)| {
        let is_here = place < *share;
        place = place.saturating_sub(*share);
        is_here
    });
    found.map_or("score", |(kind, _)| kind)
}

/// What the `n`th request of a kind is: method, path, body.
fn request(kind: &str, n: u64, challenge: &str) -> (&'static str, String, Value) {
    let api = |path: &str| format!("/api/v1/{path}");
    let words = ["redis", "tower", "cache", "rust"];
    let word = words[n as usize % words.len()];
    match kind {
        "bookmarks" => ("GET", api("bookmarks?limit=20"), Value::Null),
        "tasks" => ("GET", api("tasks?status=pending"), Value::Null),
        "search" => ("GET", api(&format!("search?q={word}")), Value::Null),
        "dashboard" => ("GET", api("analytics/dashboard"), Value::Null),
        "leaderboard" => ("GET", format!("{challenge}/leaderboard?limit=10"), Value::Null),
        "who am I" => ("GET", api("auth/me"), Value::Null),
        "log an action" => ("POST", api("user-actions"), json!({ "action": "opened", "metadata": { "n": n } })),
        "add a bookmark" => {
            ("POST", api("bookmarks"), json!({ "url": format!("https://{word}.io/{n}"), "title": word }))
        }
        "add a task" => ("POST", api("tasks"), json!({ "title": format!("Read about {word}") })),
        _ => ("POST", format!("{challenge}/scores"), json!({ "event_id": format!("load-{n}"), "points": 1 + n % 50 })),
    }
}

#[derive(Clone)]
struct App {
    http: Client<HttpConnector, Full<Bytes>>,
    base: String,
    /// One for each user.
    cookies: Vec<String>,
}

impl App {
    /// Sends a request of one user, from an address of its own; answers the status, the cookie if there is one, the body.
    async fn send(&self, n: u64, call: (&str, String, Value)) -> anyhow::Result<(StatusCode, String, Value)> {
        let (method, path, body) = call;
        let cookie = self.cookies.get((n % USERS) as usize).map_or("", String::as_str);
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.base));
        let request = request.header("x-forwarded-for", format!("198.51.{}.{}", n / 250 % 8, n % 250));
        let request = request.header(header::COOKIE, cookie).header(header::CONTENT_TYPE, "application/json");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.http.request(request.body(Full::from(body))?).await?;
        let (head, body) = response.into_parts();
        let cookie = head.headers.get(header::SET_COOKIE).and_then(|cookie| cookie.to_str().ok()).unwrap_or_default();
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let body = serde_json::from_slice(&body.collect().await?.to_bytes()).unwrap_or_default();
        Ok((head.status, cookie, body))
    }

    async fn log_in(&mut self, user: u64) -> anyhow::Result<()> {
        let name = json!({ "username": format!("mixed-{user}"), "password": "only for this load" });
        self.send(user, ("POST", "/api/v1/auth/register".to_owned(), name.clone())).await?;
        let (status, cookie, _) = self.send(user, ("POST", "/api/v1/auth/login".to_owned(), name)).await?;
        ensure!(status == StatusCode::OK, "logging in: {status}");
        self.cookies.push(cookie);
        Ok(())
    }

    /// A new challenge that everybody takes part in; answers its path.
    async fn challenge(&self) -> anyhow::Result<String> {
        let new = json!({ "title": "Load", "starts_at": "2020-01-01T00:00:00Z", "ends_at": "2100-01-01T00:00:00Z" });
        let (_, _, made) = self.send(0, ("POST", "/api/v1/challenges".to_owned(), new)).await?;
        let path = format!("/api/v1/challenges/{}", made["id"]);
        for user in 0..USERS {
            let (status, ..) = self.send(user, ("POST", format!("{path}/join"), Value::Null)).await?;
            ensure!(status.is_success(), "taking part: {status}");
        }
        Ok(path)
    }
}

/// One kind's requests: how long they took, and those that failed by their status.
#[derive(Default)]
struct Row {
    times: Vec<Duration>,
    failed: BTreeMap<u16, usize>,
}

impl Row {
    /// A status of 0 is no answer.
    fn take(&mut self, time: Duration, status: u16) {
        self.times.push(time);
        if !(200..300).contains(&status) {
            *self.failed.entry(status).or_default() += 1;
        }
    }

    fn quantile(&self, quantile: f64) -> Duration {
        let rank = (quantile * self.times.len() as f64).ceil() as usize;
        self.times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    fn print(&mut self, kind: &str) {
        self.times.sort_unstable();
        let [half, most, worst] = [0.5, 0.99, 1.0].map(|q| self.quantile(q).as_secs_f64() * 1_000.0);
        let failed = if self.failed.is_empty() { String::new() } else { format!("  failed: {:?}", self.failed) };
        println!("{kind:<16} {:>7} {half:>8.2} {most:>8.2} {worst:>8.2}{failed}", self.times.len());
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let base = words.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let rate: u32 = words.next().map_or(Ok(140), |word| word.parse()).context("the rate is requests per second")?;
    let seconds: u64 = words.next().map_or(Ok(30), |word| word.parse()).context("the length is in seconds")?;
    ensure!(rate > 0 && seconds > 0, "a load of nothing shows nothing");
    let http = Client::builder(TokioExecutor::new()).build_http();
    let mut app = App { http, base: base.clone(), cookies: Vec::new() };
    for user in 0..USERS {
        app.log_in(user).await.with_context(|| format!("logging in at {base}"))?;
    }
    let challenge = app.challenge().await.context("making a challenge")?;
    println!("{rate} requests a second for {seconds} s, {USERS} users; times in ms");
    let report = load::Load::new(rate, Duration::from_secs(seconds))
        .run(|n| {
            // In the next round the next user does the same.
            let (kind, user) = (kind(n), n + n / ROUND);
            let (app, call) = (app.clone(), request(kind, n, &challenge));
            async move { (kind, app.send(user, call).await.map_or(0, |(status, ..)| status.as_u16())) }
        })
        .await;
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for sample in report.samples() {
        let (kind, status) = sample.outcome;
        for name in [kind, "all of them"] {
            rows.entry(name).or_default().take(sample.latency, status);
        }
    }
    println!("{:<16} {:>7} {:>8} {:>8} {:>8}", "", "count", "p50", "p99", "worst");
    rows.iter_mut().for_each(|(kind, row)| row.print(kind));
    let all = &rows["all of them"];
    ensure!(all.failed.is_empty(), "some requests failed");
    ensure!(all.quantile(0.99) <= TARGET, "the 99th percentile is over {TARGET:?}");
    Ok(())
}
