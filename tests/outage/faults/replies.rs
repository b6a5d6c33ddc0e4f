//! A reply is its request's own, whatever was given up before it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};
use towerkeep::{Keep, Status, clock::minutes};

use super::paused::tell;
use crate::{app::keep, support::RedisServer};

const KEYS: u64 = 500;
/// So few that a sleep of the server does not open the breaker: given up requests and later ones share a connection.
const READERS: u64 = 3;
/// Longer than the deadline of 25 ms, by less than a second try takes.
const SLEEP: &str = "0.03";

#[derive(Default)]
struct Counts {
    right: AtomicU64,
    refused: AtomicU64,
    slowest: AtomicU64,
}

async fn filled(keep: &Keep) {
    for n in 0..KEYS {
        while keep.kv().set(&format!("k{n}"), &n, minutes(5)).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Reads keys one after the other until all readers together have read enough.
async fn read(keep: Keep, first: u64, wanted: u64, counts: Arc<Counts>) {
    let mut n = first;
    while counts.right.load(Relaxed) < wanted {
        n = (n + 7) % KEYS;
        let began = Instant::now();
        match keep.kv().get::<u64>(&format!("k{n}")).await {
            Ok(found) => {
                assert_eq!(found, Some(n), "a reply of another request");
                counts.right.fetch_add(1, Relaxed);
            }
            Err(error) => {
                assert!(error.is_unavailable(), "{error}");
                counts.refused.fetch_add(1, Relaxed);
                sleep(Duration::from_millis(1)).await;
            }
        }
        counts.slowest.fetch_max(u64::try_from(began.elapsed().as_micros()).expect("short"), Relaxed);
    }
}

/// Passes when each of so many reads gets its own key's value or none, while the server sleeps again and again for longer than
/// the deadline.
async fn keyed_reads(reads: u64, deadline: Duration) {
    let server = RedisServer::start_with(&["--enable-debug-command", "yes"]);
    let keep = keep(&server.url()).await;
    filled(&keep).await;
    let counts = Arc::new(Counts::default());
    let mut readers = JoinSet::new();
    for first in 0..READERS {
        readers.spawn(read(keep.clone(), first * 11, reads, Arc::clone(&counts)));
    }
    let began = Instant::now();
    let mut sleeps = 0;
    while counts.right.load(Relaxed) < reads {
        assert!(began.elapsed() < deadline, "{} reads in {deadline:?}", counts.right.load(Relaxed));
        // A busy machine may open it all the same; then the proof of a new connection is left in peace.
        if keep.status() == Status::Up {
            tell(&server, &["DEBUG", "SLEEP", SLEEP]).await;
            sleeps += 1;
        }
        sleep(Duration::from_millis(100)).await;
    }
    readers.join_all().await;
    let (right, refused) = (counts.right.load(Relaxed), counts.refused.load(Relaxed));
    let slowest = counts.slowest.load(Relaxed) as f64 / 1_000.0;
    println!("{sleeps} sleeps of the server, {refused} reads refused");
    println!("figures | {reads} keyed reads, DEBUG SLEEP | {} | 0 | {slowest:.1} | - | - | -", right + refused);
    assert!(sleeps >= 2 && refused >= READERS, "{sleeps} sleeps, {refused} refused: nothing was given up");
    assert!(refused < right / 10, "{refused} refused of {right}: the connection was hardly in use");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_sleeps_through_10_000_keyed_reads() {
    keyed_reads(10_000, Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes some ten seconds; ./check outages runs it"]
async fn the_server_sleeps_through_100_000_keyed_reads() {
    keyed_reads(100_000, Duration::from_secs(180)).await;
}
