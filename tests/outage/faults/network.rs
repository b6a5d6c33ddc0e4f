//! What a network does: refused, cut, or silent connections.

use std::time::{Duration, Instant};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use towerkeep::Status;

use super::case::Case;
use crate::support::{FaultProxy, Mode, RedisServer};

async fn proxied() -> (RedisServer, FaultProxy) {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address()).await;
    (server, proxy)
}

/// Passes when everybody is served from the first request on, and Redis is used within a second of its start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_from_the_start() {
    let mut server = RedisServer::stopped();
    let case = Case::without_redis("refused from the start", &server.url()).await;
    let figures = case
        .run(3, async |case| {
            sleep(Duration::from_millis(600)).await;
            tokio::task::block_in_place(|| server.launch());
            case.healed().await;
        })
        .await;
    figures.recovered_within(1_000);
}

/// Passes when the old socket is given up and a new one is in use, though the old one never fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_socket_leads_nowhere() {
    let (_server, proxy) = proxied().await;
    let case = Case::start("the old socket leads nowhere", &proxy.url()).await;
    let figures = case
        .run(3, async |case| {
            case.broken().await;
            proxy.hold_old();
            case.is(Status::Down).await;
            case.somebody_leaves(101).await;
            case.healed().await;
        })
        .await;
    figures.noticed_within(500);
    figures.recovered_within(1_000);
}

/// A port that listens and answers no SYN: its queue is full.
async fn deaf() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let listener = socket.listen(1).expect("a listener");
    let address = listener.local_addr().expect("bound");
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        waiting.push(stream.expect("queued"));
        assert!(waiting.len() < 1_000, "the queue of this system never fills");
    }
    (listener, waiting)
}

/// Passes when nobody waits for a connection that is neither made nor refused, and Redis is used within two seconds of
/// when connections are taken: one attempt may take half a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connecting_leads_nowhere() {
    let server = RedisServer::start();
    let (listener, waiting) = deaf().await;
    let url = format!("redis://{}", listener.local_addr().expect("bound"));
    let case = Case::without_redis("connecting leads nowhere", &url).await;
    let mut proxy = None;
    let figures = case
        .run(4, async |case| {
            sleep(Duration::from_millis(1_000)).await;
            drop(waiting);
            proxy = Some(FaultProxy::over(listener, server.address()));
            case.healed().await;
        })
        .await;
    figures.recovered_within(2_000);
}

/// Passes when no reset costs an answer, the instance does not connect faster than its backoff says, and Redis is used again
/// within three seconds of the last one: flapping lengthens the proof that is asked for.
async fn reset_again_and_again(name: &'static str, length: Duration) {
    let (_server, proxy) = proxied().await;
    let case = Case::start(name, &proxy.url()).await;
    let before = proxy.accepted();
    let figures = case
        .run(length.as_secs() + 3, async |case| {
            case.broken().await;
            let began = Instant::now();
            while began.elapsed() < length {
                proxy.cut();
                sleep(Duration::from_millis(200)).await;
            }
            case.somebody_leaves(101).await;
            case.healed().await;
        })
        .await;
    let connects = proxy.accepted() - before;
    println!("{name}: {connects} connections");
    let most = length.as_millis() / 200 * 12;
    assert!(connects as u128 <= most, "{connects} connections: a storm");
    figures.recovered_within(3_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reset_every_200_ms_for_2_s() {
    reset_again_and_again("reset every 200 ms for 2 s", Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes 13 seconds; ./check outages runs it"]
async fn reset_every_200_ms_for_10_s() {
    reset_again_and_again("reset every 200 ms for 10 s", Duration::from_secs(10)).await;
}

async fn silent_for_a_second(name: &'static str, mode: Mode) {
    let (_server, proxy) = proxied().await;
    let case = Case::start(name, &proxy.url()).await;
    let figures = case
        .run(3, async |case| {
            case.broken().await;
            proxy.set(mode);
            case.is(Status::Down).await;
            case.somebody_leaves(101).await;
            sleep(Duration::from_millis(900)).await;
            proxy.set(Mode::Pass);
            case.healed().await;
        })
        .await;
    figures.noticed_within(500);
    figures.recovered_within(1_500);
}

/// Passes when a second of silence both ways costs nobody more than the budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_for_a_second() {
    silent_for_a_second("a black hole for a second", Mode::Hold).await;
}

/// Passes when commands that run without an answer are as good as none: what they did is neither lost nor done twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_swallowed_for_a_second() {
    silent_for_a_second("answers are swallowed for a second", Mode::OneWay).await;
}
