//! 250 requests a second through HTTP while Redis is killed, frozen, emptied and started again: what users notice of it.
mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::sync::Mutex;

use support::{
    App,
    servers::{Load, RedisServer, eventually, load::Sample},
};

type Http = Client<HttpConnector, Full<Bytes>>;

const RATE: u32 = 250;
const USERS: usize = 8;

/// What the load asks in turn, and every status that is an answer: a bookmark is stored in the database, an action in Redis or
/// here, and where else somebody is logged in nobody can tell without Redis.
const ASKED: [(Method, &str, &str, &[u16]); 8] = [
    (Method::GET, "/api/v1/auth/me", "", &[200]),
    (Method::GET, BOOKMARKS, "", &[200]),
    (Method::POST, ACTIONS, r#"{"action":"seen"}"#, &[201, 202]),
    (Method::GET, "/livez", "", &[200]),
    (Method::POST, BOOKMARKS, r#"{"url":"https://example.com","title":"one more"}"#, &[201]),
    (Method::GET, "/api/v1/challenges", "", &[200]),
    (Method::GET, "/api/v1/auth/sessions", "", &[200, 503]),
    (Method::GET, "/nowhere", "", &[404]),
];
const BOOKMARKS: &str = "/api/v1/bookmarks";
const ACTIONS: &str = "/api/v1/user-actions";

/// What the load asks, as a proxy that many clients stand behind.
#[derive(Clone)]
struct Clients {
    http: Http,
    url: String,
    /// One for each user.
    cookies: Vec<String>,
}

/// One answer: right, or what was wrong with it.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Right,
    /// A bookmark or an action that was taken from this user.
    Taken(&'static str, usize),
    /// A 503 that the app chose.
    Chosen,
    Wrong(String),
}

impl Seen {
    fn word(&self) -> &'static str {
        match self {
            Self::Wrong(_) => "wrong",
            Self::Right | Self::Taken(..) | Self::Chosen => "right",
        }
    }
}

impl Clients {
    async fn of(app: &App) -> Self {
        let mut cookies = Vec::new();
        for user in 0..USERS {
            let pairs = app.user(&format!("user-{user}")).await.cookies();
            let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            cookies.push(pairs.join("; "));
        }
        Self { http: Client::builder(TokioExecutor::new()).build_http(), url: app.url().to_owned(), cookies }
    }

    /// The `n`th request.
    async fn ask(self, n: u64) -> Seen {
        let n = usize::try_from(n).expect("small");
        let (method, path, body, statuses) = &ASKED[n % ASKED.len()];
        let user = n / ASKED.len() % USERS;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("x-forwarded-for", format!("198.51.{}.{}", n / 250 % 4, n % 250))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::COOKIE, &self.cookies[user])
            .body(Full::from(*body))
            .expect("a request");
        let Ok(response) = self.http.request(request).await else { return Seen::Wrong(format!("{path}: no answer")) };
        let (parts, body) = response.into_parts();
        let Ok(body) = body.collect().await else { return Seen::Wrong(format!("{path}: half an answer")) };
        let status = parts.status.as_u16();
        if !statuses.contains(&status) {
            return Seen::Wrong(format!("{method} {path}: {status} {:?}", body.to_bytes()));
        }
        match status {
            503 if parts.headers.contains_key(header::RETRY_AFTER) => Seen::Chosen,
            503 => Seen::Wrong(format!("{path}: 503 without Retry-After")),
            201 | 202 => Seen::Taken(path, user),
            _ => Seen::Right,
        }
    }
}

/// What a fault does to the data of Redis.
#[derive(Clone, Copy, PartialEq)]
enum Data {
    Stays,
    IsLost,
}

/// The load through one fault, which answers when it was over; what the log says of it.
async fn through(
    name: &str,
    mut redis: RedisServer,
    data: Data,
    fault: impl AsyncFnOnce(&mut RedisServer, &App) -> Instant,
) -> String {
    // Two loads at once would stall the machine, which would look like one more outage.
    static ALONE: Mutex<()> = Mutex::const_new(());
    let _alone = ALONE.lock().await;
    let app = App::start(&["--no-seed", "--trusted-proxy", "127.0.0.1/32", "--redis", &redis.url()]);
    app.says("ok").await;
    let clients = Clients::of(&app).await;
    let calm = app.log().len();

    let asking = clients.clone();
    let load = Load::new(RATE, Duration::from_secs(4)).run(move |n| asking.clone().ask(n));
    let load = tokio::spawn(load);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let healed = fault(&mut redis, &app).await;
    app.says("ok").await;
    let back = healed.elapsed();
    let report = load.await.expect("the load ends");

    let seen: Vec<_> = report.samples().iter().map(|sample| &sample.outcome).collect();
    let chosen = seen.iter().filter(|seen| ***seen == Seen::Chosen).count();
    let failures = seen.iter().filter(|seen| matches!(seen, Seen::Wrong(_))).count();
    let own = |sample: &Sample<Seen>| sample.latency.saturating_sub(sample.lag);
    let worst = report.samples().iter().map(own).max().expect("some");
    println!("{name}: {chosen} chosen 503, p99 {:?}", report.quantile(0.99));
    // One line, read by `./check outages`.
    let (count, worst, recovered) = (seen.len(), worst.as_secs_f64() * 1e3, back.as_secs_f64() * 1e3);
    println!("figures | the app: {name} | {count} | {failures} | {worst:.1} | - | {recovered:.1} | -");
    let wrong: Vec<_> = seen.iter().filter(|seen| matches!(seen, Seen::Wrong(_))).take(3).collect();
    let all = BTreeMap::from([("right", seen.len())]);
    assert_eq!(report.outcomes(Seen::word), all, "{name}: {wrong:?}");
    assert_eq!(report.slower_than(Duration::from_secs(1)), 0, "{name}: nothing waits long: {worst:.1} ms");
    assert!(back < Duration::from_secs(2), "{name}: back on Redis after {back:?}");
    for user in 0..USERS {
        let taken = |path| seen.iter().filter(|seen| ***seen == Seen::Taken(path, user)).count();
        everything_is_there(name, &app, &clients.cookies[user], data, taken).await;
    }

    let log = app.log().split_off(calm);
    let requests = log.lines().filter(|line| line.contains("finished processing request")).count();
    assert!(log.lines().count() < requests + 10, "{name}: nothing but the access log for each request");
    // Everybody's session is in Redis, so another instance knows them too.
    eventually(&format!("{name}: all sessions are in redis"), async || {
        let ids = redis::cmd("KEYS").arg("tk:user:sessions:*").query_async(&mut redis.client().await).await;
        ids.is_ok_and(|ids: Vec<String>| ids.len() == USERS)
    })
    .await;
    log
}

/// Each bookmark that was taken from this user is in the list, once; so is each action, but those that Redis had and lost.
async fn everything_is_there(name: &str, app: &App, cookie: &str, data: Data, taken: impl Fn(&'static str) -> usize) {
    let mut user = app.visitor().elsewhere();
    user.set_cookies(cookie.split("; ").filter_map(|pair| pair.split_once('=')).map(owned).collect());
    for path in [BOOKMARKS, ACTIONS] {
        let (taken, may_miss) = (taken(path), path == ACTIONS && data == Data::IsLost);
        assert!(taken > 0, "{name}: a load of nothing");
        // What was held in the outage comes in when Redis is back.
        eventually(&format!("{name}: all {taken} of {path} are listed, once"), async || {
            let list = user.get(&format!("{path}?limit=100")).await;
            let items = list.body["items"].as_array().map_or(0, Vec::len);
            if may_miss { (1..=taken).contains(&items) } else { items == taken }
        })
        .await;
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The lines of a log that call for somebody.
fn warnings(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect()
}

const SECOND: Duration = Duration::from_secs(1);

async fn killed_for_a_second(redis: &mut RedisServer, app: &App) -> Instant {
    redis.kill();
    app.says("degraded").await;
    tokio::time::sleep(SECOND).await;
    redis.launch();
    Instant::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_notice_nothing_when_redis_is_killed_and_comes_back_empty() {
    let log = through("kill -9, restarted empty", RedisServer::start(), Data::IsLost, killed_for_a_second).await;
    let warnings = warnings(&log);
    assert_eq!(warnings.len(), 1, "one outage is one line: {warnings:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_notice_nothing_when_redis_is_restarted_with_its_data() {
    let redis = RedisServer::start_with(&["--appendonly", "yes"]);
    let log = through("kill -9, restarted with its data", redis, Data::Stays, killed_for_a_second).await;
    let warnings = warnings(&log);
    assert_eq!(warnings.len(), 1, "one outage is one line: {warnings:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_notice_nothing_when_redis_is_frozen() {
    let frozen = async |redis: &mut RedisServer, app: &App| {
        redis.freeze();
        app.says("degraded").await;
        tokio::time::sleep(SECOND).await;
        redis.thaw();
        Instant::now()
    };
    let log = through("SIGSTOP and SIGCONT", RedisServer::start(), Data::Stays, frozen).await;
    let warnings = warnings(&log);
    assert_eq!(warnings.len(), 1, "one outage is one line: {warnings:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_notice_nothing_when_redis_is_emptied() {
    let emptied = async |redis: &mut RedisServer, _: &App| {
        redis.flush().await;
        tokio::time::sleep(SECOND).await;
        redis.flush().await;
        Instant::now()
    };
    let log = through("FLUSHALL", RedisServer::start(), Data::IsLost, emptied).await;
    let warnings = warnings(&log);
    assert!(warnings.iter().all(|line| line.contains("redis has lost its data")), "{warnings:#?}");
    assert!((1..=2).contains(&warnings.len()), "each loss is one line: {warnings:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_notice_nothing_when_connections_and_scripts_are_taken_away() {
    let taken = async |redis: &mut RedisServer, _: &App| {
        for words in [["SCRIPT", "FLUSH", "SYNC"], ["CLIENT", "KILL", "TYPE"]] {
            let mut command = redis::cmd(words[0]);
            command.arg(&words[1..]);
            if words[0] == "CLIENT" {
                command.arg("normal");
            }
            command.exec_async(&mut redis.client().await).await.expect("done");
            tokio::time::sleep(SECOND / 2).await;
        }
        Instant::now()
    };
    let log = through("SCRIPT FLUSH, CLIENT KILL", RedisServer::start(), Data::Stays, taken).await;
    let warnings = warnings(&log);
    assert_eq!(warnings.len(), 1, "one outage is one line: {warnings:#?}");
}
