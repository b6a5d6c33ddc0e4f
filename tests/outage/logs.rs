//! One warning when Redis goes, one line when it is back, one error for a wrong configuration: never one per request, and never
//! a secret.

use std::{
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use axum::{Router, routing::get};
use tokio::{io::AsyncWriteExt, net::TcpListener};
use towerkeep::{
    Keep, Status,
    conn::RedisConfig,
    prelude::*,
    rate_limit::LimitOutage,
    session::SessionConfig,
    token::{Grant, Tokens},
};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, field::Visit, span, subscriber::DefaultGuard};

use crate::{
    app::{Client, app, keep},
    support::{RedisServer, eventually},
};

/// Keeps every event and span of the library, of all levels.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

impl Lines {
    /// What this thread's tasks say from now on.
    pub(crate) async fn listen() -> (Self, DefaultGuard) {
        // With one subscriber alone, a line that another test's thread comes to first would be taken for one that nobody
        // listens to.
        static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Lines::default()));
        LazyLock::force(&SECOND);
        let lines = Self::default();
        let guard = tracing::subscriber::set_default(lines.clone());
        // Another test may just be registering the same line as one that nobody listens to.
        tokio::time::sleep(Duration::from_millis(5)).await;
        tracing::callsite::rebuild_interest_cache();
        (lines, guard)
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().expect("no panic").iter().map(|(level, text)| format!("{level} {text}")).collect()
    }

    pub(crate) fn at(&self, level: Level) -> Vec<String> {
        let lines = self.0.lock().expect("no panic");
        lines.iter().filter(|(own, _)| *own == level).map(|(_, text)| text.clone()).collect()
    }

    /// The lines of this level that hold `words`.
    fn with(&self, level: Level, words: &str) -> usize {
        self.at(level).iter().filter(|line| line.contains(words)).count()
    }

    /// So many warnings, information and errors.
    fn counts(&self) -> [usize; 3] {
        [Level::WARN, Level::INFO, Level::ERROR].map(|level| self.at(level).len())
    }

    fn forget(&self) {
        self.0.lock().expect("no panic").clear();
    }

    fn push(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Text)) {
        let mut text = Text(format!("{}: ", metadata.name()));
        record(&mut text);
        self.0.lock().expect("no panic").push((*metadata.level(), text.0));
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{}={value:?} ", field.name()));
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("towerkeep")
    }
    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        self.push(span.metadata(), |text| span.record(text));
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        let mut text = Text(String::new());
        values.record(&mut text);
        self.0.lock().expect("no panic").push((Level::TRACE, text.0));
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        self.push(event.metadata(), |text| event.record(text));
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Requests of all kinds, one after the other.
async fn browse(user: &mut Client, times: usize) {
    for _ in 0..times {
        for path in ["/me", "/clock", "/limited", "/counted"] {
            user.get(path).await;
        }
        user.post("/count").await;
    }
}

async fn tell(server: &RedisServer, words: &[&str]) {
    let asked = redis::cmd(words[0]).arg(&words[1..]).exec_async(&mut server.client().await).await;
    asked.unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

#[tokio::test]
async fn an_outage_is_one_warning_and_its_end_one_line() {
    let (lines, _guard) = Lines::listen().await;
    let mut server = RedisServer::start();
    let keep = keep(&server.url()).await;
    let mut user = Client::logged_in(&app(&keep), 42).await;
    let before = lines.at(Level::WARN).len();
    server.kill();
    browse(&mut user, 50).await;
    let warnings = lines.at(Level::WARN).split_off(before);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("redis is down") && warnings[0].contains("cause="), "{}", warnings[0]);
    assert_eq!(lines.at(Level::ERROR), Vec::<String>::new());

    server.launch();
    let told = async || lines.with(Level::INFO, "redis is up") == 2;
    eventually("the end is told", told).await;
}

#[tokio::test]
async fn a_server_that_is_stopped_is_one_warning_and_its_end_one_line() {
    let (lines, _guard) = Lines::listen().await;
    let server = RedisServer::start();
    let keep = keep(&server.url()).await;
    let mut user = Client::logged_in(&app(&keep), 42).await;
    lines.forget();
    server.freeze();
    browse(&mut user, 20).await;
    eventually("it is given up", async || keep.status() == Status::Down).await;
    browse(&mut user, 50).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(lines.counts(), [1, 0, 0], "{:#?}", lines.all());
    assert_eq!(lines.with(Level::WARN, "redis is down"), 1);
    server.thaw();
    eventually("it is used again", async || keep.status() == Status::Up).await;
    browse(&mut user, 10).await;
    assert_eq!(lines.counts(), [1, 1, 0], "{:#?}", lines.all());
    assert_eq!(lines.with(Level::INFO, "redis is up"), 1);
}

#[tokio::test]
async fn refused_writes_are_one_warning_and_their_end_one_line() {
    let (lines, _guard) = Lines::listen().await;
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    // Patient, so that a stall of this machine is no outage beside the refusal.
    let patient = Keep::builder().redis(&server.url()).deadline(Duration::from_secs(1)).budget(Duration::from_secs(2));
    let keep = patient.build().expect("a valid url");
    assert!(keep.ready(Duration::from_secs(10)).await);
    let mut user = Client::logged_in(&app(&keep), 42).await;
    lines.forget();
    tell(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    browse(&mut user, 50).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(lines.counts(), [1, 0, 0], "{:#?}", lines.all());
    assert_eq!(lines.with(Level::WARN, "redis refuses writes"), 1);
    tell(&server, &["CONFIG", "SET", "maxmemory", "0"]).await;
    eventually("it is used again", async || keep.status() == Status::Up).await;
    browse(&mut user, 10).await;
    assert_eq!(lines.counts(), [1, 1, 0], "{:#?}", lines.all());
    assert_eq!(lines.with(Level::INFO, "redis takes writes again"), 1);
}

#[tokio::test]
async fn a_start_without_redis_is_one_warning() {
    let (lines, _guard) = Lines::listen().await;
    let mut server = RedisServer::stopped();
    let keep = towerkeep::Keep::builder().redis(&server.url()).build().expect("never waits");
    let mut visitor = Client::new(&app(&keep), 7);
    eventually("the outage is told", async || !lines.at(Level::WARN).is_empty()).await;
    for _ in 0..20 {
        visitor.get("/limited").await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let warnings = lines.at(Level::WARN);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("redis is not reached") && warnings[0].contains("cause=\"dropped\""), "{warnings:?}");
    server.launch();
    eventually("redis is used", async || keep.status() == towerkeep::Status::Up).await;
    assert_eq!(lines.at(Level::WARN).len(), 1);
}

const COARSE: Policy = Policy::sliding_window("coarse", 100_000, minutes(1)).on_outage(LimitOutage::Skip);
const FINE: Policy = Policy::token_bucket("fine", 100_000, minutes(1)).on_outage(LimitOutage::Skip);
const SHARED: Policy = Policy::sliding_window("shared", 100_000, minutes(1));

/// Passes when each policy that lets everybody through without Redis is told once, whether it stands alone or beside others.
#[tokio::test]
async fn a_policy_that_is_skipped_is_one_warning_an_outage() {
    let (lines, _guard) = Lines::listen().await;
    let server = RedisServer::start();
    let keep = keep(&server.url()).await;
    let limits = keep.limits();
    let router = Router::new()
        .route("/coarse", get(async || "ok").layer(limits.layer(COARSE)))
        .route("/both", get(async || "ok").layer(limits.layer([COARSE, FINE])))
        .route("/shared", get(async || "ok").layer(limits.layer(SHARED)))
        .layer(keep.layer());
    let mut visitor = Client::new(&router, 9);
    keep.force_outage(true);
    lines.forget();
    for _ in 0..50 {
        for path in ["/coarse", "/both", "/shared"] {
            assert_eq!(visitor.get(path).await.status, http::StatusCode::OK);
        }
    }
    let skipped = |policy: &str| lines.with(Level::WARN, &format!("policy=\"{policy}\""));
    assert_eq!(["coarse", "fine", "shared"].map(skipped), [1, 1, 0], "{:#?}", lines.all());
    keep.force_outage(false);
    eventually("redis is used again", async || keep.status() == Status::Up).await;
    assert_eq!(visitor.get("/both").await.status, http::StatusCode::OK);
    // Another one just after it is no news; the first warning of both stands.
    keep.force_outage(true);
    visitor.get("/both").await;
    assert_eq!(["coarse", "fine", "shared"].map(skipped), [1, 1, 0], "{:#?}", lines.all());
}

/// A wrong configuration is one error, however often it is tried again, and no warning beside it.
async fn one_error(what: &str, url: &str, cause: &str) {
    let (lines, _guard) = Lines::listen().await;
    let keep = Keep::builder().redis(url).sessions(SessionConfig::new()).build().expect("a valid url");
    let mut visitor = Client::new(&app(&keep), 7);
    eventually(&format!("{what}: the error is told"), async || !lines.at(Level::ERROR).is_empty()).await;
    for _ in 0..30 {
        visitor.get("/limited").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(lines.counts(), [0, 0, 1], "{what}: {:#?}", lines.all());
    assert!(lines.at(Level::ERROR)[0].contains(cause), "{what}: {:#?}", lines.all());
}

#[tokio::test]
async fn a_wrong_password_is_one_error() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    one_error("a wrong password", &format!("redis://:wrong@{}", server.address()), "cause=\"auth\"").await;
    one_error("no password", &server.url(), "cause=\"auth\"").await;
    one_error("an unknown user", &format!("redis://who:right@{}", server.address()), "cause=\"auth\"").await;
}

#[tokio::test]
async fn a_password_that_is_changed_is_one_error_beside_the_warning() {
    let (lines, _guard) = Lines::listen().await;
    let server = RedisServer::start();
    let keep = keep(&server.url()).await;
    let mut user = Client::logged_in(&app(&keep), 42).await;
    lines.forget();
    let mut admin = server.client().await;
    let words: [&[&str]; 2] =
        [&["CONFIG", "SET", "requirepass", "new"], &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]];
    for words in words {
        redis::cmd(words[0]).arg(&words[1..]).exec_async(&mut admin).await.expect("done");
    }
    eventually("it is given up", async || {
        browse(&mut user, 1).await;
        keep.status() == Status::Down
    })
    .await;
    browse(&mut user, 30).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(lines.counts(), [1, 0, 1], "{:#?}", lines.all());
    redis::cmd("CONFIG").arg(&["SET", "requirepass", ""]).exec_async(&mut admin).await.expect("set");
    eventually("it is used again", async || keep.status() == Status::Up).await;
    assert_eq!(lines.counts(), [1, 1, 1], "{:#?}", lines.all());
}

/// Something that listens, says this to everybody and hangs up.
async fn stranger(says: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("redis://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(says).await.ok();
            // What was asked is read, so that the answer is not lost in a reset.
            stream.shutdown().await.ok();
            tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
        }
    });
    url
}

#[tokio::test]
async fn another_kind_of_server_is_one_error() {
    let http = stranger(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    one_error("a web server", &http, "cause=\"protocol\"").await;
    // What a server of TLS says to who does not speak it: an alert.
    let tls = stranger(b"\x15\x03\x01\x00\x02\x02\x46").await;
    one_error("a server of TLS", &tls, "cause=\"protocol\"").await;
    let one = RedisServer::start();
    one_error("no such database", &format!("{}/99", one.url()), "cause=\"misfit\"").await;
    let node = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    one_error("a database of a cluster's node", &format!("{}/1", node.url()), "cause=\"misfit\"").await;
}

/// A key in a slot of another node is told of once, and is no outage of the others.
#[tokio::test]
async fn a_node_of_a_cluster_is_one_error() {
    let node = RedisServer::start_with(&["--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"]);
    let (lines, _guard) = Lines::listen().await;
    let mut admin = node.client().await;
    tell(&node, &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    eventually("it serves", async || {
        let info: String = redis::cmd("CLUSTER").arg("INFO").query_async(&mut admin).await.expect("up");
        info.contains("cluster_state:ok")
    })
    .await;
    let keep = keep(&node.url()).await;
    assert_eq!(lines.at(Level::ERROR).len(), 0, "{:#?}", lines.all());
    let other = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    tell(&node, &["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()]).await;
    let id: String = redis::cmd("CLUSTER").arg("MYID").query_async(&mut other.client().await).await.expect("up");
    let mut visitor = Client::new(&app(&keep), 7);
    let slot: u16 =
        redis::cmd("CLUSTER").arg(&["KEYSLOT", "tk:rl:{203.0.113.7}:five"]).query_async(&mut admin).await.expect("up");
    eventually("the slot is the other's", async || {
        let given =
            redis::cmd("CLUSTER").arg(&["SETSLOT", &slot.to_string(), "NODE", &id]).exec_async(&mut admin).await;
        given.is_ok()
    })
    .await;
    for _ in 0..30 {
        visitor.get("/five").await;
    }
    assert_eq!(lines.at(Level::ERROR).len(), 1, "{:#?}", lines.all());
    assert!(lines.at(Level::ERROR)[0].contains("a node of a cluster"), "{:#?}", lines.all());
    assert_eq!(keep.status(), Status::Up);
}

#[tokio::test]
async fn a_missing_permission_is_one_error() {
    let server = RedisServer::start();
    for (user, rules) in [("keyless", ["~other:*", "&*", "+@all"]), ("readonly", ["~tk:*", "&*", "+@read"])] {
        let mut words = vec!["ACL", "SETUSER", user, "on", ">pw"];
        words.extend(rules);
        tell(&server, &words).await;
        one_error(user, &format!("redis://{user}:pw@{}", server.address()), "cause=\"no_permission\"").await;
    }
}

/// The server is used: what is allowed works, and what is not is told once for all requests.
#[tokio::test]
async fn a_command_that_is_not_allowed_is_one_error() {
    let (lines, _guard) = Lines::listen().await;
    let server = RedisServer::start();
    tell(&server, &["ACL", "SETUSER", "scriptless", "on", ">pw", "~tk:*", "&*", "+@all", "-evalsha"]).await;
    let keep = Keep::builder().redis(&format!("redis://scriptless:pw@{}", server.address())).build().expect("valid");
    assert!(keep.ready(Duration::from_secs(10)).await);
    let mut visitor = Client::new(&app(&keep), 7);
    browse(&mut visitor, 30).await;
    assert_eq!(lines.at(Level::ERROR).len(), 1, "{:#?}", lines.all());
    assert!(lines.at(Level::ERROR)[0].contains("access rules") || lines.at(Level::ERROR)[0].contains("no_permission"));
}

const PASSWORD: &str = "pa55-0f-redis";
const VALUE: &str = "va1ue-0f-a-user";

/// Goes through everything that could be told of somebody, in all states of Redis; the secrets that there were.
async fn everything(server: &mut RedisServer, keep: &Keep) -> Vec<String> {
    let secret = async |session: Session| session.csrf_token().await;
    let keeps = async |session: Session| session.insert("v", VALUE);
    let routes = Router::new().route("/csrf", get(secret)).route("/keeps", get(keeps));
    let router = app(keep).merge(routes.layer(keep.sessions().layer()).layer(keep.layer()));
    let (tokens, mut secrets): (Tokens, _) = (keep.tokens().clone(), vec![PASSWORD.to_owned(), VALUE.to_owned()]);
    let token = tokens.issue("reset", Grant::to(42).with(&VALUE).expect("fits")).await;
    secrets.extend(token.map(|token| token.secret().to_owned()));
    let mut user = Client::logged_in(&router, 42).await;
    for round in 0..3 {
        secrets.push(user.get("/csrf").await.body);
        user.get("/keeps").await;
        if round == 0 {
            secrets.push(stored_csrf(server).await);
        }
        browse(&mut user, 3).await;
        user.post("/purge").await;
        keep.kv().set(VALUE, VALUE, minutes(1)).await.ok();
        keep.kv().get::<u8>(VALUE).await.ok();
        tokens.redeem("reset", &secrets[2]).await.ok();
        let cookie = user.cookie.clone().expect("logged in");
        secrets.extend(cookie.split_once('=').map(|(_, token)| token.to_owned()));
        // A token that is cut, and one whose secret is another's.
        for wrong in [&cookie[..cookie.len() - 3], &format!("{}{}", &cookie[..cookie.len() - 5], "AAAAA")] {
            let mut stranger = user.clone();
            stranger.cookie = Some(wrong.to_owned());
            browse(&mut stranger, 1).await;
        }
        match round {
            0 => server.kill(),
            1 => {
                server.launch();
                eventually("it is used again", async || keep.status() == Status::Up).await;
                let mut admin = server.client().await;
                let keys: Vec<String> = redis::cmd("KEYS").arg("tk:*").query_async(&mut admin).await.expect("up");
                for key in keys {
                    redis::cmd("SET").arg(&[&key, "{\"foreign\":1}"]).exec_async(&mut admin).await.expect("set");
                }
            }
            _ => drop(user.post("/logout").await),
        }
    }
    secrets
}

/// What the token of a form is made from, as it lies in the session.
async fn stored_csrf(server: &RedisServer) -> String {
    let mut admin = server.client().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("tk:session:*").query_async(&mut admin).await.expect("up");
    for key in keys {
        let value: redis::RedisResult<String> = redis::cmd("GET").arg(&key).query_async(&mut admin).await;
        if let Some((_, rest)) = value.unwrap_or_default().split_once("\"_csrf\":\"") {
            return rest.split('"').next().expect("a text").to_owned();
        }
    }
    panic!("no session has a secret of forms");
}

fn assert_without(secrets: &[String], text: &str) {
    for secret in secrets.iter().filter(|secret| secret.len() >= 8) {
        assert!(!text.contains(secret.as_str()), "{secret} in: {text}");
        // The second half of a session's token is what opens it.
        assert!(!text.contains(&secret[secret.len() - secret.len() / 2..]), "half of {secret} in: {text}");
    }
}

#[tokio::test]
async fn no_line_of_any_level_has_a_secret() {
    let (lines, _guard) = Lines::listen().await;
    let mut server = RedisServer::start_with(&["--user", "app", "on", &format!(">{PASSWORD}"), "~*", "&*", "+@all"]);
    let url = |password: &str| format!("redis://app:{password}@{}", server.address());
    let (right, wrong) = (url(PASSWORD), url(&format!("{PASSWORD}-wrong")));
    let keep = keep(&right).await;
    let secrets = everything(&mut server, &keep).await;
    assert!(secrets.len() > 6, "{secrets:?}");
    let turned_away = Keep::builder().redis(&wrong).build().expect("a valid url");
    eventually("it is told", async || lines.at(Level::ERROR).iter().any(|line| line.contains("auth"))).await;
    let config = RedisConfig::new(&right).expect("valid");
    let errors =
        [RedisConfig::new(&format!("{right}/none")).err(), RedisConfig::new(&right.replace("redis", "rediss")).err()];
    let refused = turned_away.kv().set("k", VALUE, minutes(1)).await.expect_err("down");
    let shown = format!("{keep:?} {keep:#?} {turned_away:?} {config:?} {config:#?} {errors:?} {refused} {refused:?}");
    assert!(shown.contains("RedisConfig") && errors[1].is_some(), "{shown}");
    assert_without(&secrets, &shown);
    let all = lines.all();
    println!("{} lines", all.len());
    assert!(all.len() >= 6 && lines.at(Level::DEBUG).len() > 1, "{all:#?}");
    all.iter().for_each(|line| assert_without(&secrets, line));
}
