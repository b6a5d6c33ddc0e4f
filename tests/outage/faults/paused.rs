//! A server that is there and does nothing, or nothing for us.

use std::time::Duration;

use tokio::time::sleep;
use towerkeep::Status;

use super::case::Case;
use crate::support::{RedisServer, eventually};

pub(crate) async fn ask(server: &RedisServer, words: &[&str]) -> redis::RedisResult<redis::Value> {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut server.client().await).await
}

pub(crate) async fn tell(server: &RedisServer, words: &[&str]) {
    ask(server, words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

/// Passes when a pause of all commands is an outage like any other, and over as soon as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_clients_are_paused() {
    let server = RedisServer::start();
    let case = Case::start("CLIENT PAUSE ALL", &server.url()).await;
    let figures = case
        .run(4, async |case| {
            case.broken().await;
            tell(&server, &["CLIENT", "PAUSE", "900", "ALL"]).await;
            case.is(Status::Down).await;
            case.somebody_leaves(101).await;
            sleep(Duration::from_millis(900)).await;
            case.healed().await;
        })
        .await;
    figures.noticed_within(500);
    figures.recovered_within(1_500);
}

/// Passes when a pause of writes alone costs nobody more than the budget, as while a failover is prepared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_are_paused() {
    let server = RedisServer::start();
    let case = Case::start("CLIENT PAUSE WRITE", &server.url()).await;
    case.run(4, async |case| {
        case.broken().await;
        tell(&server, &["CLIENT", "PAUSE", "900", "WRITE"]).await;
        case.is(Status::Down).await;
        case.somebody_leaves(101).await;
        sleep(Duration::from_millis(900)).await;
        case.healed().await;
    })
    .await;
}

/// Passes when a server that reads its data from disk is left alone until it has them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_loading() {
    let options = [
        "--enable-debug-command",
        "yes",
        "--key-load-delay",
        "2000",
        "--loading-process-events-interval-bytes",
        "1024",
    ];
    let server = RedisServer::start_with(&options);
    let case = Case::start("LOADING", &server.url()).await;
    tell(&server, &["DEBUG", "POPULATE", "500"]).await;
    let figures = case
        .run(5, async |case| {
            case.broken().await;
            let mut client = server.client().await;
            let loading = async move { redis::cmd("DEBUG").arg("RELOAD").exec_async(&mut client).await };
            let loading = tokio::spawn(loading);
            case.is(Status::Down).await;
            case.somebody_leaves(101).await;
            loading.await.expect("no panic").expect("loaded");
            case.healed().await;
        })
        .await;
    figures.recovered_within(1_500);
}

/// Passes when another client's endless script is an outage until somebody kills it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_script_of_somebody_else() {
    let server = RedisServer::start_with(&["--busy-reply-threshold", "50"]);
    let case = Case::start("BUSY", &server.url()).await;
    let figures = case
        .run(4, async |case| {
            let mut client = server.client().await;
            case.broken().await;
            let endless = tokio::spawn(async move {
                redis::cmd("EVAL").arg("while true do end").arg(0).exec_async(&mut client).await.is_err()
            });
            case.is(Status::Down).await;
            case.somebody_leaves(101).await;
            sleep(Duration::from_millis(800)).await;
            eventually("the script is killed", async || ask(&server, &["SCRIPT", "KILL"]).await.is_ok()).await;
            case.healed().await;
            assert!(endless.await.expect("no panic"), "it was killed");
        })
        .await;
    figures.recovered_within(1_500);
}
