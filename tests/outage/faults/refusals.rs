//! A server that answers, and refuses: writes, passwords, connections.

use std::time::Duration;

use tokio::time::sleep;
use towerkeep::Status;

use super::{
    case::Case,
    paused::{ask, tell},
};
use crate::support::RedisServer;

/// Passes when reads go on and writes are done without: never down, up within a second of the end.
async fn writes_refused(
    name: &'static str,
    server: &RedisServer,
    refuse: impl AsyncFnOnce(),
    allow: impl AsyncFnOnce(),
) {
    let case = Case::patient(name, &server.url()).await;
    let figures = case
        .run(3, async |case| {
            case.broken().await;
            refuse().await;
            case.is(Status::Degraded).await;
            case.somebody_leaves(101).await;
            sleep(Duration::from_millis(700)).await;
            assert_eq!(case.keep().status(), Status::Degraded, "reads go on");
            allow().await;
            case.healed().await;
        })
        .await;
    assert_eq!(figures.openings, 0, "{figures:?}");
    figures.recovered_within(1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demoted_to_a_replica_whose_master_is_gone() {
    let server = RedisServer::start();
    let refuse = async || tell(&server, &["REPLICAOF", "127.0.0.1", "1"]).await;
    let allow = async || tell(&server, &["REPLICAOF", "NO", "ONE"]).await;
    writes_refused("demoted to a replica", &server, refuse, allow).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn out_of_memory_with_noeviction() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    let refuse = async || tell(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let allow = async || tell(&server, &["CONFIG", "SET", "maxmemory", "0"]).await;
    writes_refused("out of memory", &server, refuse, allow).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_to_disk_has_failed() {
    let server = RedisServer::start_with(&["--dbfilename", "taken"]);
    let taken = server.socket().with_file_name("taken");
    std::fs::create_dir_all(taken.join("by a directory")).expect("its own directory");
    let refuse = async || {
        tell(&server, &["CONFIG", "SET", "save", "3600 1"]).await;
        tell(&server, &["BGSAVE"]).await;
    };
    // As an operator may, who has more memory than disk.
    let allow = async || tell(&server, &["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]).await;
    writes_refused("MISCONF", &server, refuse, allow).await;
}

/// Passes when a server that is full every other moment is degraded for longer and longer, instead of recovered, and told of in
/// the log, each time that a write gets through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_full_now_and_then() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    let case = Case::patient("out of memory now and then", &server.url()).await;
    let figures = case
        .run(6, async |case| {
            case.broken().await;
            for _ in 0..6 {
                tell(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
                sleep(Duration::from_millis(350)).await;
                tell(&server, &["CONFIG", "SET", "maxmemory", "0"]).await;
                sleep(Duration::from_millis(350)).await;
            }
            case.somebody_leaves(101).await;
            case.healed().await;
        })
        .await;
    assert_eq!(figures.openings, 0, "{figures:?}");
    assert!(case.degradations() <= 3, "degraded {} times", case.degradations());
    figures.recovered_within(1_000);
}

/// Passes when a password that is changed under the running instance costs nothing while its connection lasts, is an outage
/// when it does not, and is over when the old one is valid again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_is_changed() {
    let server = RedisServer::start();
    let case = Case::start("the password is changed", &server.url()).await;
    let figures = case
        .run(4, async |case| {
            let mut admin = server.client().await;
            on(&mut admin, &["CONFIG", "SET", "requirepass", "new"]).await;
            sleep(Duration::from_millis(300)).await;
            case.is(Status::Up).await; // who is in stays in
            case.broken().await;
            on(&mut admin, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
            case.is(Status::Down).await;
            case.somebody_leaves(101).await;
            sleep(Duration::from_millis(600)).await;
            assert_eq!(case.keep().status(), Status::Down);
            on(&mut admin, &["CONFIG", "SET", "requirepass", ""]).await;
            case.healed().await;
        })
        .await;
    figures.recovered_within(1_000);
}

/// Over a connection that is there already.
async fn on(admin: &mut redis::aio::MultiplexedConnection, words: &[&str]) {
    redis::cmd(words[0]).arg(&words[1..]).exec_async(admin).await.unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

/// Passes when an instance that finds no free connection serves everybody, does not storm the server, and is back within a
/// second of when there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_is_free() {
    let server = RedisServer::start();
    let case = Case::start("maxclients", &server.url()).await;
    let figures = case
        .run(4, async |case| {
            let mut admin = server.client().await;
            case.broken().await;
            // One for the administrator; ours are the first to go.
            on(&mut admin, &["CONFIG", "SET", "maxclients", "1"]).await;
            on(&mut admin, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
            case.is(Status::Down).await;
            case.somebody_leaves(101).await;
            sleep(Duration::from_millis(900)).await;
            assert_eq!(case.keep().status(), Status::Down);
            on(&mut admin, &["CONFIG", "SET", "maxclients", "1000"]).await;
            case.healed().await;
        })
        .await;
    figures.recovered_within(1_000);
    let rejected: u64 = server.info("rejected_connections").await.parse().expect("a number");
    assert!((1..100).contains(&rejected), "{rejected} attempts in a second");
    assert!(ask(&server, &["PING"]).await.is_ok());
}
