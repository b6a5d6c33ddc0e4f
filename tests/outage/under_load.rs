//! 500 requests a second while Redis is killed, frozen, cut off and restarted.

use std::{net::SocketAddr, time::Duration};

use http::StatusCode;
use towerkeep::Status;

use crate::{
    app::{Client, app, keep},
    support::{
        RedisServer, eventually,
        load::{Load, Report},
        proxy::{FaultProxy, Mode},
    },
};

const RATE: u32 = 500;
/// The budget of a request is 50 ms; the rest is this machine's, which runs the load and the server beside it.
const WORST: Duration = Duration::from_millis(200);

/// Sends a mix of requests of 20 users and checks each answer.
async fn load(clients: Vec<Client>, seconds: u64) -> Report<Result<(), String>> {
    let load = Load::new(RATE, Duration::from_secs(seconds));
    load.run(move |n| {
        let user = usize::try_from(n).expect("small") % clients.len();
        let mut client = clients[user].clone();
        async move {
            let path = ["/me", "/clock", "/limited", "/maybe"][usize::try_from(n / 20 % 4).expect("small")];
            let answer = client.get(path).await;
            let right = match path {
                "/me" | "/maybe" => answer.status == StatusCode::OK && answer.body == user.to_string(),
                // The limit may say no; it may not fail.
                "/limited" => [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS].contains(&answer.status),
                _ => answer.status == StatusCode::OK,
            };
            if right { Ok(()) } else { Err(format!("{path} of user {user}: {} {}", answer.status, answer.body)) }
        }
    })
    .await
}

async fn twenty(router: &axum::Router) -> Vec<Client> {
    let mut clients = Vec::new();
    for user in 0..20 {
        clients.push(Client::logged_in(router, user).await);
    }
    clients
}

fn judge(what: &str, report: &Report<Result<(), String>>) {
    let wrong: Vec<_> = report.samples().iter().filter_map(|sample| sample.outcome.as_ref().err()).collect();
    assert!(wrong.is_empty(), "{what}: {} of {} wrong, first: {}", wrong.len(), report.samples().len(), wrong[0]);
    let worst = report.quantile(1.0);
    println!(
        "{what}: p99 {:?}, worst {worst:?}, over 25 ms: {}",
        report.quantile(0.99),
        report.slower_than(Duration::from_millis(25))
    );
    assert_eq!(report.slower_than(WORST), 0, "{what}: worst {worst:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_restarted_empty() {
    let mut server = RedisServer::start();
    let keep = keep(&server.url()).await;
    let clients = twenty(&app(&keep)).await;
    let running = tokio::spawn(load(clients.clone(), 4));
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.launch();
    let began = std::time::Instant::now();
    eventually("redis is used again", async || keep.status() == Status::Up).await;
    assert!(began.elapsed() < Duration::from_secs(1), "back after {:?}", began.elapsed());
    judge("kill -9 and restart", &running.await.expect("the load ends"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_and_thawed() {
    let server = RedisServer::start();
    let keep = keep(&server.url()).await;
    let clients = twenty(&app(&keep)).await;
    let running = tokio::spawn(load(clients, 3));
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.freeze();
    eventually("the outage is noticed", async || keep.status() == Status::Down).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    server.thaw();
    eventually("redis is used again", async || keep.status() == Status::Up).await;
    judge("SIGSTOP and SIGCONT", &running.await.expect("the load ends"));
}

async fn through_the_proxy(what: &str, mode: Mode) {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(SocketAddr::from(([127, 0, 0, 1], server.port()))).await;
    let keep = keep(&proxy.url()).await;
    let clients = twenty(&app(&keep)).await;
    let running = tokio::spawn(load(clients, 3));
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.set(mode);
    eventually("the outage is noticed", async || keep.status() == Status::Down).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    proxy.set(Mode::Pass);
    eventually("redis is used again", async || keep.status() == Status::Up).await;
    judge(what, &running.await.expect("the load ends"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blackholed() {
    through_the_proxy("blackhole", Mode::Hold).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_swallowed() {
    through_the_proxy("one way", Mode::OneWay).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_reset() {
    through_the_proxy("reset", Mode::Reset).await;
}

#[tokio::test]
async fn started_while_redis_is_down_it_serves_and_finds_redis() {
    let mut server = RedisServer::stopped();
    let keep = towerkeep::Keep::builder().redis(&server.url()).build().expect("never waits");
    let mut client = Client::new(&app(&keep), 7);
    let began = std::time::Instant::now();
    assert_eq!(client.get("/clock").await.status, StatusCode::OK);
    assert_eq!(client.get("/limited").await.status, StatusCode::OK);
    assert!(began.elapsed() < Duration::from_secs(1));
    server.launch();
    let began = std::time::Instant::now();
    eventually("redis is used", async || keep.status() == Status::Up).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
