//! What is counted of decisions.

use std::{
    collections::BTreeMap,
    sync::{Mutex, atomic::AtomicU64},
};

use metrics::{Counter, Gauge, Histogram, KeyName, Metadata, Recorder, SharedString, Unit};

use super::*;

#[derive(Default)]
struct Counters(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &metrics::Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<_> = key.labels().map(metrics::Label::value).collect();
        let name = format!("{} {}", key.name(), labels.join(" "));
        Counter::from_arc(Arc::clone(self.0.lock().expect("whole").entry(name).or_default()))
    }
    fn register_gauge(&self, _: &metrics::Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &metrics::Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn every_decision_is_counted_by_policy_and_outcome() {
    let counters = Counters::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    metrics::with_local_recorder(&counters, || {
        runtime.block_on(async {
            let outage = OutageSwitch::default();
            let limits = RateLimits::new(MemoryRateStore::new(Clock::system()).outage(outage.clone()));
            assert_eq!(statuses(&limits.layer([TWO, ONE]), 3).await, [200, 429, 429]);
            assert_eq!(statuses(&limits.layer(ONE).shadow(), 1).await, [200]);
            outage.set(true);
            assert_eq!(statuses(&limits.layer(TWO), 2).await, [200, 429]);
        });
    });
    let counters = counters.0.into_inner().expect("whole");
    let counted = counters.iter().map(|(name, count)| (name.as_str(), count.load(SeqCst)));
    let counted: Vec<_> = counted
        .filter_map(|(name, n)| Some((name.strip_prefix("towerkeep_rate_limit_decisions_total ")?, n)))
        .collect();
    let expected = [
        ("one admitted", 1),
        ("one denied", 2),
        ("one shadowed", 1),
        ("two admitted", 1),
        ("two local", 1),
        ("two local_denied", 1),
        ("two uncharged", 2),
    ];
    assert_eq!(counted, expected);
}
