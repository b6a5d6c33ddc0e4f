//! What the benches share: contenders in alternated rounds, exact counts, one table.

use std::{
    alloc::System,
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::ServiceExt;

#[path = "../../tests/support/mod.rs"]
pub mod support;

pub mod cache_apps;
pub mod over_http;
pub mod session_apps;

pub use support::RedisServer;

/// Counts every allocation of the process.
#[global_allocator]
pub static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Once = Box<dyn FnMut() -> Pin<Box<dyn Future<Output = ()>>>>;

/// Something that answers one request; compared with the others of its table.
pub struct Contender {
    name: String,
    once: Once,
}

impl Contender {
    /// `once` does the work of one request.
    pub fn new<F: Future<Output = ()> + 'static>(name: &str, mut once: impl FnMut() -> F + 'static) -> Self {
        Self { name: name.to_owned(), once: Box::new(move || Box::pin(once())) }
    }

    /// A router that is sent clones of one request; every answer must be 200 and is read to its end.
    pub fn router(name: &str, router: axum::Router, request: impl Fn() -> Request<Body> + 'static) -> Self {
        Self::new(name, move || {
            let (router, request) = (router.clone(), request());
            async move {
                let response = router.oneshot(request).await.expect("infallible");
                assert_eq!(response.status(), 200);
                response.into_body().collect().await.expect("a body");
            }
        })
    }
}

struct Row {
    name: String,
    micros: Vec<f64>,
    allocations: f64,
    commands: String,
}

/// Runs all contenders in turn, `rounds` times `per_round` requests, and prints the table; the first one is the floor.
///
/// Times are per request: the median of the rounds, with the fastest and the slowest round as the machine's noise.
/// Allocations and commands are counted over 100 requests apart from the timing.
pub async fn compare(
    title: &str,
    rounds: usize,
    per_round: usize,
    server: Option<&RedisServer>,
    mut all: Vec<Contender>,
) {
    let mut rows = Vec::new();
    for contender in &mut all {
        for _ in 0..per_round / 10 {
            (contender.once)().await;
        }
        let (allocations, commands) = count(contender, server).await;
        rows.push(Row { name: contender.name.clone(), micros: Vec::new(), allocations, commands });
    }
    for _ in 0..rounds {
        for (contender, row) in all.iter_mut().zip(&mut rows) {
            let began = Instant::now();
            for _ in 0..per_round {
                (contender.once)().await;
            }
            row.micros.push(began.elapsed().as_secs_f64() * 1e6 / per_round as f64);
        }
    }
    print(title, rounds, per_round, &rows);
}

const COUNTED: usize = 100;

async fn count(contender: &mut Contender, server: Option<&RedisServer>) -> (f64, String) {
    let before = commands(server).await;
    let region = Region::new(ALLOCATOR);
    for _ in 0..COUNTED {
        (contender.once)().await;
    }
    let allocations = region.change().allocations as f64 / COUNTED as f64;
    let after = commands(server).await;
    let mut spent = Vec::new();
    for (name, calls) in after {
        let calls = calls - before.iter().find(|(known, _)| *known == name).map_or(0, |(_, calls)| *calls);
        if calls >= COUNTED as u64 / 2 {
            spent.push(format!("{name} {:.2}", calls as f64 / COUNTED as f64));
        }
    }
    (allocations, if spent.is_empty() { "-".to_owned() } else { spent.join(", ") })
}

/// Calls of each command so far, without what probes and every script send.
async fn commands(server: Option<&RedisServer>) -> Vec<(String, u64)> {
    let Some(server) = server else { return Vec::new() };
    let info: String =
        redis::cmd("INFO").arg("commandstats").query_async(&mut server.client().await).await.expect("info");
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    let others = ["time", "ping", "info", "hello", "client|setinfo"];
    info.lines().filter_map(line).filter(|(name, _)| !others.contains(&name.as_str())).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn print(title: &str, rounds: usize, per_round: usize, rows: &[Row]) {
    println!("\n{title} ({rounds} alternated rounds of {per_round})");
    println!(
        "{:<46} {:>9} {:>17} {:>8} {:>8} {:>8}  commands, those inside of scripts too",
        "", "us", "min..max", "x floor", "allocs", "+floor"
    );
    let floor = &rows[0];
    for row in rows {
        let ratios: Vec<_> = row.micros.iter().zip(&floor.micros).map(|(own, floor)| own / floor).collect();
        let (least, most) =
            row.micros.iter().fold((f64::MAX, 0f64), |(least, most), us| (least.min(*us), most.max(*us)));
        println!(
            "{:<46} {:>9.2} {:>17} {:>8.2} {:>8.1} {:>+8.1}  {}",
            row.name,
            median(&row.micros),
            format!("{least:.2}..{most:.2}"),
            median(&ratios),
            row.allocations,
            row.allocations - floor.allocations,
            row.commands
        );
    }
}

/// Latencies at a fixed rate, whether or not earlier requests were answered. Measured from each request's own start:
/// the timer that starts them is a millisecond coarse, and that is not the layers' doing.
pub async fn open_loop(
    rate: f64,
    seconds: f64,
    once: &mut dyn FnMut() -> Pin<Box<dyn Future<Output = ()> + Send>>,
) -> hdrhistogram::Histogram<u64> {
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel::<u64>();
    let began = tokio::time::Instant::now();
    for n in 0..(rate * seconds) as u64 {
        let due = began + Duration::from_secs_f64(n as f64 / rate);
        tokio::time::sleep_until(due).await;
        let (send, work) = (send.clone(), once());
        tokio::spawn(async move {
            let started = Instant::now();
            work.await;
            // The receiver outlives all senders.
            let _ = send.send(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
        });
    }
    drop(send);
    let mut histogram = hdrhistogram::Histogram::new_with_max(3_600_000_000_000, 3).expect("three digits");
    while let Some(nanos) = receive.recv().await {
        histogram.record(nanos).expect("an hour at most");
    }
    histogram
}
