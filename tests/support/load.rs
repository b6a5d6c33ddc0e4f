//! An open-loop load: requests start when they are due, however slow the answers are.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// A load of `rate` requests per second.
///
/// A closed loop waits for one answer before the next request and so asks less while the server stands still: the
/// waits that users would have had are never counted. Here the latency counts from when the request was due.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    rate: u32,
    length: Duration,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Sample<T> {
    /// When it was due, from the beginning of the load.
    pub due: Duration,
    /// How much later the generator itself was: a stall of the test, not of what is tested.
    pub lag: Duration,
    /// From when it was due to its answer.
    pub latency: Duration,
    pub outcome: T,
}

/// All requests of a load, in the order they were due; of two, one after the other.
#[derive(Debug)]
pub struct Report<T> {
    samples: Vec<Sample<T>>,
}

impl Load {
    /// `rate` requests per second for `length`.
    pub fn new(rate: u32, length: Duration) -> Self {
        assert!(rate > 0, "a load of no requests shows nothing");
        Self { rate, length }
    }

    /// Calls `request` with 0, 1, 2, ... when each is due, and waits for all answers.
    pub async fn run<T, F>(self, request: impl FnMut(u64) -> F) -> Report<T>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.run_unless(|| false, request).await
    }

    /// As [`run`](Self::run), and begins nothing more once `is_over`.
    pub async fn run_unless<T, F>(self, is_over: impl Fn() -> bool, mut request: impl FnMut(u64) -> F) -> Report<T>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let begin = Instant::now();
        let mut running = JoinSet::new();
        for number in 0..self.count() {
            let due = self.due(number);
            sleep_until(begin + due).await;
            if is_over() {
                break;
            }
            let answer = request(number);
            running.spawn(async move {
                let started = begin.elapsed();
                let outcome = answer.await;
                Sample { due, lag: started.saturating_sub(due), latency: begin.elapsed().saturating_sub(due), outcome }
            });
        }
        let mut samples = running.join_all().await;
        samples.sort_by_key(|sample| sample.due);
        Report { samples }
    }

    fn count(self) -> u64 {
        (u128::from(self.rate) * self.length.as_micros() / 1_000_000).try_into().expect("a load that ends")
    }

    fn due(self, number: u64) -> Duration {
        Duration::from_nanos(
            (u128::from(number) * 1_000_000_000 / u128::from(self.rate)).try_into().expect("a load that ends"),
        )
    }
}

impl<T> Report<T> {
    /// The requests of two loads.
    pub fn and(mut self, other: Self) -> Self {
        self.samples.extend(other.samples);
        self
    }

    pub fn samples(&self) -> &[Sample<T>] {
        &self.samples
    }

    /// The requests that were due in `from..until`.
    pub fn between(&self, from: Duration, until: Duration) -> impl Iterator<Item = &Sample<T>> {
        self.samples.iter().filter(move |sample| (from..until).contains(&sample.due))
    }

    /// How many requests took longer than `limit`, not counting what the generator itself was late.
    pub fn slower_than(&self, limit: Duration) -> usize {
        self.samples.iter().filter(|sample| sample.latency.saturating_sub(sample.lag) > limit).count()
    }

    /// The latency that the share `quantile` of the requests stayed within (nearest rank), as in 0.99.
    pub fn quantile(&self, quantile: f64) -> Duration {
        assert!((0.0..=1.0).contains(&quantile), "a quantile is from 0 to 1, not {quantile}");
        let mut latencies: Vec<_> = self.samples.iter().map(|sample| sample.latency).collect();
        latencies.sort_unstable();
        let rank = (quantile * latencies.len() as f64).ceil() as usize;
        latencies.get(rank.saturating_sub(1)).copied().expect("a load of at least one request")
    }

    /// How often each outcome came, by its name.
    pub fn outcomes(&self, name: impl Fn(&T) -> &'static str) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for sample in &self.samples {
            *counts.entry(name(&sample.outcome)).or_default() += 1;
        }
        counts
    }
}
