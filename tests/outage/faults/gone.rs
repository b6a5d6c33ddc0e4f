//! A process that is killed or stopped.

use std::time::{Duration, Instant};

use tokio::{task::block_in_place, time::sleep};
use towerkeep::Status;

use super::case::Case;
use crate::support::RedisServer;

/// Passes when Redis is used within a second of its start, though it has lost everything: who was logged in stays so, who had
/// logged out does too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_restarted_empty() {
    let mut server = RedisServer::start();
    let case = Case::start("kill -9, restarted empty", &server.url()).await.loses_data();
    let figures = case
        .run(3, async |case| {
            case.broken().await;
            block_in_place(|| server.kill());
            case.is(Status::Down).await;
            case.somebody_leaves(101).await;
            sleep(Duration::from_millis(800)).await;
            block_in_place(|| server.launch());
            case.healed().await;
        })
        .await;
    figures.noticed_within(100);
    figures.recovered_within(1_000);
}

/// As many as an unoptimized build carries on two cores that it shares: at 2,000, which are the bench's, the load itself is late by
/// more than a deadline.
const MANY: u32 = 1_000;

/// Passes when few requests feel it at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_a_greater_load() {
    let mut server = RedisServer::start();
    let case = Case::start("kill -9, a greater load", &server.url()).await.loses_data().at_rate(MANY).await;
    let figures = case
        .run(2, async |case| {
            case.broken().await;
            block_in_place(|| server.kill());
            case.is(Status::Down).await;
            case.somebody_leaves(101).await;
            sleep(Duration::from_millis(500)).await;
            block_in_place(|| server.launch());
            case.healed().await;
        })
        .await;
    figures.felt_by_few(MANY);
    figures.recovered_within(1_000);
}

/// Passes when a process that is stopped for five seconds, and keeps its connections open, is noticed within half a second, and
/// used within one and a half of when it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_and_thawed() {
    let server = RedisServer::start();
    let case = Case::start("SIGSTOP and SIGCONT", &server.url()).await;
    let figures = case
        .run(8, async |case| {
            case.broken().await;
            server.freeze();
            case.is(Status::Down).await;
            case.somebody_leaves(101).await;
            sleep(Duration::from_secs(5)).await;
            server.thaw();
            case.healed().await;
        })
        .await;
    figures.noticed_within(500);
    figures.recovered_within(1_500);
}

/// Passes when a server that reads its data from disk at its start is left alone until it has them, used within a second of
/// that, and nothing that was acknowledged is lost: no limit admits its quota twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_restarted_with_its_data() {
    let options =
        ["--appendonly", "yes", "--key-load-delay", "3000", "--loading-process-events-interval-bytes", "1024"];
    let mut server = RedisServer::start_with(&options);
    let case = Case::start("kill -9, reading its data at the start", &server.url()).await;
    let figures = case
        .run(5, async |case| {
            case.broken().await;
            block_in_place(|| server.kill());
            case.is(Status::Down).await;
            case.somebody_leaves(101).await;
            let begun = Instant::now();
            block_in_place(|| server.launch());
            assert!(begun.elapsed() > Duration::from_millis(300), "loaded after {:?}: too few data", begun.elapsed());
            case.healed().await;
        })
        .await;
    figures.noticed_within(100);
    figures.recovered_within(1_000);
}
