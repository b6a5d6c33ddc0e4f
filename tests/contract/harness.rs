//! The harness itself: a fault that does not happen would let every test of it pass.

use std::{collections::BTreeMap, io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use towerkeep::Status;

use crate::support::{FaultProxy, Load, Mode, RedisServer, eventually};

/// How long to listen for what must not come.
const SILENCE: Duration = Duration::from_millis(50);
/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that answers each byte with the same byte.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    address
}

async fn proxied() -> (FaultProxy, TcpStream) {
    let proxy = FaultProxy::start(echo().await).await;
    let client = TcpStream::connect(proxy.address()).await.expect("accepted");
    (proxy, client)
}

async fn send(client: &mut TcpStream, byte: u8) {
    client.write_all(&[byte]).await.expect("connected");
}

/// The next byte, or what went wrong.
async fn receive(client: &mut TcpStream) -> Result<u8, ErrorKind> {
    timeout(PATIENCE, client.read_u8()).await.expect("an answer in time").map_err(|error| error.kind())
}

async fn is_silent(client: &mut TcpStream) -> bool {
    timeout(SILENCE, client.read_u8()).await.is_err()
}

#[tokio::test]
async fn a_passing_proxy_carries_bytes_and_the_end() {
    let (proxy, mut client) = proxied().await;
    send(&mut client, 7).await;
    assert_eq!(receive(&mut client).await, Ok(7));
    client.shutdown().await.expect("connected");
    assert_eq!(receive(&mut client).await, Err(ErrorKind::UnexpectedEof));
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn a_passing_proxy_carries_more_than_one_buffer() {
    let (_proxy, mut client) = proxied().await;
    let sent: Vec<u8> = (0..300_000u32).map(|number| (number % 251) as u8).collect();
    let (mut read, mut write) = client.split();
    let mut received = vec![0; sent.len()];
    let both = tokio::join!(write.write_all(&sent), timeout(PATIENCE, read.read_exact(&mut received)));
    assert!(both.0.is_ok() && matches!(both.1, Ok(Ok(_))));
    assert!(received == sent);
}

#[tokio::test]
async fn held_bytes_wait_and_arrive_later() {
    let (proxy, mut client) = proxied().await;
    proxy.set(Mode::Hold);
    send(&mut client, 1).await;
    let mut late = TcpStream::connect(proxy.address()).await.expect("accepted while holding");
    send(&mut late, 2).await;
    assert!(is_silent(&mut client).await && is_silent(&mut late).await);
    proxy.set(Mode::Pass);
    assert_eq!(receive(&mut client).await, Ok(1));
    assert_eq!(receive(&mut late).await, Ok(2));
}

#[tokio::test]
async fn reset_ends_old_and_new_connections() {
    let (proxy, mut client) = proxied().await;
    send(&mut client, 1).await;
    assert_eq!(receive(&mut client).await, Ok(1));
    proxy.set(Mode::Reset);
    assert_eq!(receive(&mut client).await, Err(ErrorKind::ConnectionReset));
    // The reset may be faster than the end of the handshake.
    match TcpStream::connect(proxy.address()).await {
        Ok(mut late) => assert_eq!(receive(&mut late).await, Err(ErrorKind::ConnectionReset)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    eventually("the new connection is counted", async || proxy.accepted() == 2).await;
}

#[tokio::test]
async fn one_way_delivers_requests_and_swallows_replies() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let proxy = FaultProxy::start(listener.local_addr().expect("bound")).await;
    proxy.set(Mode::OneWay);
    let mut client = TcpStream::connect(proxy.address()).await.expect("accepted");
    let (mut server, _) = listener.accept().await.expect("the proxy connects");
    send(&mut client, 1).await;
    assert_eq!(receive(&mut server).await, Ok(1));
    send(&mut server, 2).await;
    assert!(is_silent(&mut client).await);
}

#[tokio::test]
async fn a_delay_counts_in_each_direction_and_keeps_the_order() {
    const DELAY: Duration = Duration::from_millis(100);
    let (proxy, mut client) = proxied().await;
    proxy.set(Mode::Delay(DELAY));
    let begin = Instant::now();
    for byte in 0..20 {
        send(&mut client, byte).await;
        // Apart, so that the proxy reads twenty times.
        sleep(Duration::from_millis(1)).await;
    }
    for byte in 0..20 {
        assert_eq!(receive(&mut client).await, Ok(byte));
    }
    assert!(begin.elapsed() >= 2 * DELAY);
    assert!(begin.elapsed() < 20 * DELAY, "delays add up over the bytes");
}

#[tokio::test]
async fn cut_resets_what_stands_and_lets_new_connections_pass() {
    let (proxy, mut client) = proxied().await;
    send(&mut client, 1).await;
    assert_eq!(receive(&mut client).await, Ok(1));
    proxy.cut();
    assert_eq!(receive(&mut client).await, Err(ErrorKind::ConnectionReset));
    let mut late = TcpStream::connect(proxy.address()).await.expect("accepted");
    send(&mut late, 2).await;
    assert_eq!(receive(&mut late).await, Ok(2));
}

#[tokio::test]
async fn a_dead_target_resets_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let nobody = listener.local_addr().expect("bound");
    drop(listener);
    let proxy = FaultProxy::start(nobody).await;
    match TcpStream::connect(proxy.address()).await {
        Ok(mut client) => assert_eq!(receive(&mut client).await, Err(ErrorKind::ConnectionReset)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[tokio::test(start_paused = true)]
async fn load_keeps_its_rate_while_answers_are_slow() {
    let report = Load::new(100, Duration::from_secs(1))
        .run(async |number| {
            sleep(Duration::from_millis(500)).await;
            number
        })
        .await;
    let order: Vec<u64> = report.samples().iter().map(|sample| sample.outcome).collect();
    assert_eq!(order, (0..100).collect::<Vec<_>>());
    assert_eq!(report.samples()[99].due, Duration::from_millis(990));
    assert_eq!(report.quantile(1.0), Duration::from_millis(500));
    assert_eq!(report.slower_than(Duration::from_millis(499)), 100);
}

#[tokio::test(start_paused = true)]
async fn load_counts_the_wait_of_requests_that_stood_in_line() {
    let server = Arc::new(Semaphore::new(1));
    let stall = |number| {
        let server = Arc::clone(&server);
        async move {
            let _turn = server.acquire().await.expect("open");
            if number == 10 {
                sleep(Duration::from_millis(200)).await;
            }
            if number < 10 { "before" } else { "after" }
        }
    };
    let report = Load::new(100, Duration::from_secs(1)).run(stall).await;
    // 100 a second: while one request stands still for 200 ms, twenty more become due behind it.
    assert!((19..=21).contains(&report.slower_than(Duration::from_millis(1))), "{report:?}");
    assert_eq!(report.quantile(0.5), Duration::ZERO);
    assert_eq!(report.outcomes(|outcome| outcome), BTreeMap::from([("after", 90), ("before", 10)]));
    assert_eq!(report.between(Duration::ZERO, Duration::from_millis(100)).count(), 10);
}

#[tokio::test]
async fn a_killed_server_comes_back_empty_on_its_port() {
    let mut server = RedisServer::start();
    let (port, first) = (server.port(), server.info("run_id").await);
    let mut client = server.client().await;
    redis::cmd("SET").arg("a").arg(1).exec_async(&mut client).await.expect("up");
    server.kill();
    server.launch();
    assert_eq!((server.port(), server.info("tcp_port").await), (port, port.to_string()));
    assert_ne!(server.info("run_id").await, first);
    let kept: Option<i64> = redis::cmd("GET").arg("a").query_async(&mut server.client().await).await.expect("up");
    assert_eq!(kept, None);
}

#[tokio::test]
async fn a_server_waits_until_its_port_is_free() {
    let mut server = RedisServer::stopped();
    let squatter = std::net::TcpListener::bind(server.address()).expect("free");
    let leaves = std::thread::spawn(move || {
        std::thread::sleep(SILENCE);
        drop(squatter);
    });
    server.launch();
    leaves.join().expect("no panic");
    assert_eq!(server.info("tcp_port").await, server.port().to_string());
}

#[tokio::test]
async fn two_servers_never_share_a_port() {
    let servers: Vec<_> = (0..4).map(|_| RedisServer::start()).collect();
    for server in &servers {
        assert_eq!(server.info("tcp_port").await, server.port().to_string());
        assert_eq!(server.info("process_id").await, server.pid().to_string());
    }
}

#[tokio::test]
#[should_panic(expected = "no-such-option")]
async fn a_server_that_refuses_its_options_says_so() {
    RedisServer::start_with(&["--no-such-option", "1"]);
}

#[tokio::test]
async fn commands_are_counted_exactly() {
    let server = RedisServer::start();
    let mut client = server.client().await;
    let calls = server
        .commands_during(async {
            for _ in 0..3 {
                redis::cmd("SET").arg("a").arg(1).exec_async(&mut client).await.expect("up");
            }
            redis::cmd("GET").arg("a").exec_async(&mut client).await.expect("up");
        })
        .await;
    assert_eq!(calls, BTreeMap::from([("get".to_owned(), 1), ("set".to_owned(), 3)]));
    server.flush().await;
    assert_eq!(server.commandstats().await["flushall"], 1);
}

#[tokio::test]
async fn a_frozen_server_answers_after_it_is_thawed() {
    let server = RedisServer::start();
    let mut client = server.client().await;
    server.freeze();
    let mut ping = tokio::spawn(async move { redis::cmd("PING").query_async::<String>(&mut client).await });
    assert!(timeout(SILENCE, &mut ping).await.is_err(), "a stopped process answered");
    server.thaw();
    assert_eq!(ping.await.expect("not cancelled").expect("up"), "PONG");
}

#[tokio::test]
async fn the_documented_user_reaches_our_keys_and_nothing_else() {
    let server = RedisServer::start();
    assert_eq!(server.handle().await.status(), Status::Up);
    let client = redis::Client::open(server.user_url()).expect("a valid url");
    let mut client = client.get_multiplexed_async_connection().await.expect("the user exists");
    for allowed in
        ["SET tk:a 1", "ZADD tk:b 1 m", "HINCRBY tk:c f 1", "PUBLISH tk:d m", "SCRIPT LOAD return", "TIME", "INFO"]
    {
        ask(&mut client, allowed).await.unwrap_or_else(|error| panic!("{allowed}: {error}"));
    }
    for refused in ["GET other:a", "PUBLISH other:d m", "FLUSHALL", "KEYS tk:*", "CONFIG GET *", "ACL LIST"] {
        let error = ask(&mut client, refused).await.expect_err(refused);
        assert_eq!(error.code(), Some("NOPERM"), "{refused}: {error}");
    }
}

#[tokio::test]
async fn a_handle_feels_what_the_proxy_does() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address()).await;
    let redis = server.handle_via(&proxy).await;
    for fault in [Mode::Hold, Mode::Reset, Mode::OneWay] {
        proxy.set(fault);
        eventually("the handle is down", async || redis.status() == Status::Down).await;
        proxy.set(Mode::Pass);
        eventually("the handle is up", async || redis.status() == Status::Up).await;
    }
}

async fn ask(client: &mut redis::aio::MultiplexedConnection, command: &str) -> redis::RedisResult<redis::Value> {
    let mut words = command.split(' ');
    let mut cmd = redis::cmd(words.next().expect("a command"));
    words.for_each(|word| {
        cmd.arg(word);
    });
    cmd.query_async(client).await
}
