//! What became of sessions, as `towerkeep_session_fallback_total` tells.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// Counts by the label `outcome` of one counter, on the threads of one test's runtime.
#[derive(Clone, Default)]
struct Outcomes(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

impl Outcomes {
    fn all(&self) -> BTreeMap<String, u64> {
        let counts = self.0.lock().expect("no panic while held");
        counts.iter().map(|(outcome, count)| (outcome.clone(), count.load(Relaxed))).collect()
    }
}

impl Recorder for Outcomes {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() != "towerkeep_session_fallback_total" {
            return Counter::noop();
        }
        let outcome = key.labels().next().expect("a label").value().to_owned();
        Counter::from_arc(Arc::clone(self.0.lock().expect("no panic while held").entry(outcome).or_default()))
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Runs a test on a runtime whose threads count into the recorder that is given to it.
pub(crate) fn counted(what: &str, test: impl Future<Output = ()>) -> BTreeMap<String, u64> {
    let outcomes = Outcomes::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    metrics::with_local_recorder(&outcomes, || runtime.block_on(test));
    let counts = outcomes.all();
    println!("{what}: {counts:?}");
    counts
}

pub(crate) fn count(counts: &BTreeMap<String, u64>, outcome: &str) -> u64 {
    counts.get(outcome).copied().unwrap_or_default()
}
