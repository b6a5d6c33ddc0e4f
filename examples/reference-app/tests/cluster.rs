//! `--cluster-demo`: several instances in one process, which share what instances on several machines would share.
mod support;

use std::{net::TcpListener, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use support::{App, Browser, PATIENT, command, outcome, servers::RedisServer};

const ME: &str = "/api/v1/auth/me";
const LOGOUT: &str = "/api/v1/auth/logout";

/// The URLs of all instances, as they were printed.
fn urls(app: &App) -> Vec<&str> {
    let urls =
        app.greeting().iter().filter(|line| line.contains("instance:")).filter_map(|line| line.rsplit(' ').next());
    std::iter::once(app.url()).chain(urls).collect()
}

fn shared(app: &App) -> &str {
    app.greeting().iter().find(|line| line.contains("they share")).expect("what they share is said")
}

fn stop(app: &mut App) {
    kill_process(Pid::from_raw(i32::try_from(app.pid()).expect("a pid")).expect("a pid"), Signal::TERM).expect("ours");
    assert_eq!(app.wait().code(), Some(0));
}

async fn instances_are_one_service(app: &mut App) {
    let urls: Vec<_> = urls(app).into_iter().map(str::to_owned).collect();
    assert_eq!(urls.len(), 3, "{:?}", app.greeting());
    let [mut first, mut second, mut third] = [0, 1, 2].map(|n: usize| Browser::new(&urls[n]));
    let alice = json!({ "username": "alice", "password": "a good password" });
    assert_eq!(first.post("/api/v1/auth/register", alice.clone()).await.status, 201);
    assert_eq!(first.post("/api/v1/auth/login", alice).await.status, 200);
    for other in [&mut second, &mut third] {
        other.set_cookies(first.cookies());
    }
    assert_eq!(third.get(ME).await.status, 200, "who logged in at the first is known at the third");
    assert_eq!(second.post(LOGOUT, json!({})).await.status, 204);
    assert_eq!(first.get(ME).await.status, 401, "who logged out at the second is refused at the first");

    // Five of the hundred requests a minute are made.
    for n in 0..95 {
        let visitor = [&mut first, &mut second, &mut third].into_iter().nth(n % 3).expect("one of three");
        assert_eq!(visitor.get("/nowhere").await.status, 404, "request {n}");
    }
    for visitor in [&mut first, &mut second, &mut third] {
        assert_eq!(visitor.get("/nowhere").await.status, 429, "the limit is one for all");
    }
    stop(app);
    for url in &urls {
        assert!(TcpListener::bind(url.strip_prefix("http://").expect("plain http")).is_ok(), "{url} is free again");
    }
}

#[tokio::test]
async fn three_instances_share_the_memory_of_their_process() {
    let mut app = App::start(&["--cluster-demo", "3"]);
    assert!(shared(&app).contains("memory"), "{:?}", app.greeting());
    instances_are_one_service(&mut app).await;
}

#[tokio::test]
async fn three_instances_share_redis_over_connections_of_their_own() {
    let redis = RedisServer::start();
    let mut app =
        App::start(&[PATIENT.as_slice(), &["--no-seed", "--cluster-demo", "3", "--redis", &redis.url()]].concat());
    assert!(shared(&app).ends_with("Redis"), "{:?}", app.greeting());
    for url in urls(&app) {
        Browser::new(url).says("ok").await;
    }
    let known: u32 = redis::cmd("ZCARD").arg("tk:instances").query_async(&mut redis.client().await).await.expect("up");
    assert_eq!(known, 3, "each has announced itself");
    instances_are_one_service(&mut app).await;
}

#[tokio::test]
async fn they_listen_on_the_ports_after_the_first() {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        // Of each that it names nobody else in this process is told.
        let [port, second, third] = [(); 3].map(|()| support::servers::redis_server::free_port());
        if (second, third) != (port + 1, port + 2) {
            assert!(std::time::Instant::now() < deadline, "no three free ports in a row");
            continue;
        }
        let app = App::start(&["--no-seed", "--cluster-demo", "3", "--listen", &format!("127.0.0.1:{port}")]);
        let expected: Vec<_> = (port..port + 3).map(|port| format!("http://127.0.0.1:{port}")).collect();
        assert_eq!(urls(&app), expected);
        return;
    }
}

#[test]
fn a_port_that_cannot_be_had_stops_all() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let told = outcome(&mut command(dir.path(), &["--cluster-demo", "9", "--listen", "127.0.0.1:65530"]));
    let stderr = String::from_utf8(told.stderr).expect("text");
    assert_eq!(told.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("6553"), "{stderr}");
    for count in ["1", "10", "three"] {
        let told = outcome(&mut command(dir.path(), &["--cluster-demo", count]));
        assert_eq!(told.status.code(), Some(2), "{count}");
    }
}
