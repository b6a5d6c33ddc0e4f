//! What `keep.health()` finds, and how often it asks.

use std::time::{Duration, Instant};

use towerkeep::{
    Keep, Status,
    health::{Check, HealthReport, Reason, Verdict},
};

use crate::{
    app::keep,
    support::{FaultProxy, Mode, RedisServer, eventually},
};

fn started(url: &str) -> Keep {
    Keep::builder().redis(url).build().expect("a valid url")
}

/// Asks until the report is as expected: what was found before stands for a second.
async fn finds(keep: &Keep, what: &str, is_right: impl Fn(&HealthReport) -> bool) {
    eventually(what, async || {
        let report = keep.health().report().await;
        is_right(&report) && report.verdict() == Verdict::Degraded
    })
    .await;
}

fn writes_fail(reason: Reason) -> impl Fn(&HealthReport) -> bool {
    move |report| {
        let checks = (report.connection, report.write, report.read);
        checks == (Check::Passed, Check::Failed(reason), Check::Passed)
    }
}

fn not_let_in(reason: Reason) -> impl Fn(&HealthReport) -> bool {
    move |report| (report.connection, report.write) == (Check::Failed(reason), Check::Untried)
}

async fn set(server: &RedisServer, words: &[&str]) {
    redis::cmd(words[0]).arg(&words[1..]).exec_async(&mut server.client().await).await.expect("set");
}

#[tokio::test]
async fn a_server_that_takes_no_writes_says_why() {
    let server = RedisServer::start_with(&["--dbfilename", "taken"]);
    let keep = keep(&server.url()).await;
    assert_eq!(keep.health().report().await.verdict(), Verdict::Ok);
    set(&server, &["REPLICAOF", "127.0.0.1", "1"]).await;
    finds(&keep, "a replica", writes_fail(Reason::ReadOnlyReplica)).await;
    set(&server, &["REPLICAOF", "NO", "ONE"]).await;
    set(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    finds(&keep, "no room", writes_fail(Reason::OutOfMemory)).await;
    set(&server, &["CONFIG", "SET", "maxmemory", "0"]).await;
    std::fs::create_dir_all(server.socket().with_file_name("taken/by a directory")).expect("its own directory");
    set(&server, &["CONFIG", "SET", "save", "3600 1"]).await;
    set(&server, &["BGSAVE"]).await;
    finds(&keep, "a failed save", writes_fail(Reason::FailedSave)).await;
    set(&server, &["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]).await;
    eventually("all is well", async || keep.health().report().await.verdict() == Verdict::Ok).await;
}

#[tokio::test]
async fn a_password_that_was_changed_is_found_though_the_connection_in_use_lives_on() {
    let server = RedisServer::start();
    let keep = keep(&server.url()).await;
    set(&server, &["CONFIG", "SET", "requirepass", "new"]).await;
    finds(&keep, "a wrong password", not_let_in(Reason::WrongPassword)).await;
    assert_eq!(keep.status(), Status::Up, "requests go on");
    let wrong = started(&format!("redis://:old@{}", server.address()));
    finds(&wrong, "a wrong password", not_let_in(Reason::WrongPassword)).await;
}

/// Its error is lost with the connection, which the server resets: we have sent something by then.
#[tokio::test]
async fn a_server_without_room_for_a_connection_is_out_of_reach() {
    let server = RedisServer::start();
    let keep = keep(&server.url()).await;
    let mut admin = server.client().await;
    redis::cmd("CONFIG").arg(&["SET", "maxclients", "1"]).exec_async(&mut admin).await.expect("set");
    finds(&keep, "no free connection", not_let_in(Reason::Unreachable)).await;
}

#[tokio::test]
async fn nobody_there_and_nobody_answering_are_told_apart() {
    let mut server = RedisServer::stopped();
    let keep = started(&server.url());
    finds(&keep, "nobody there", not_let_in(Reason::Unreachable)).await;
    server.launch();
    eventually("all is well", async || keep.health().report().await.verdict() == Verdict::Ok).await;
    server.freeze();
    let began = Instant::now();
    finds(&keep, "nobody answering", not_let_in(Reason::Slow)).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    server.thaw();
}

#[tokio::test]
async fn the_user_of_least_privilege_is_healthy() {
    let server = RedisServer::start();
    let keep = keep(&server.user_url()).await;
    let report = keep.health().report().await;
    assert_eq!(report.verdict(), Verdict::Ok, "{}", report.details());
}

#[tokio::test]
async fn many_who_ask_make_one_connection_a_second() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address()).await;
    let keep = keep(&proxy.url()).await;
    eventually("the listener is connected", async || proxy.accepted() == 2).await;
    proxy.set(Mode::Delay(Duration::from_millis(5)));
    let asking = (0..100).map(|_| {
        let health = keep.health().clone();
        async move { health.report().await }
    });
    let reports = asking.collect::<tokio::task::JoinSet<_>>().join_all().await;
    assert!(reports.iter().all(|report| *report == reports[0]));
    assert_eq!(proxy.accepted(), 3);
}

#[tokio::test]
async fn a_response_tells_strangers_one_word() {
    use axum::{body::to_bytes, response::IntoResponse};
    let keep = started("redis://127.0.0.1:1");
    let response = keep.health().report().await.into_response();
    assert_eq!(response.status(), http::StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body = to_bytes(response.into_body(), 1_000).await.expect("a body");
    assert_eq!(&body[..], br#"{"status":"degraded"}"#);
}
