//! Random traces: Redis, memory and a plain vector come to the same.

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Entries with times of their own, or none: microseconds after the start.
    Append(Vec<Option<u64>>),
    /// Whether it begins with a clear, and how long ago each record was noted.
    Merge {
        cleared: bool,
        noted: Vec<(u64, Option<u64>)>,
        again: bool,
    },
    Clear,
}

fn trace() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let time = prop::option::weighted(0.2, prop_oneof![0u64..3_000, 0u64..5]);
    let times = prop::collection::vec(time.clone(), 1..4);
    let merge = (prop::bool::weighted(0.3), prop::collection::vec((1u64..200, time.clone()), 0..4), prop::bool::ANY);
    let step = prop_oneof![
        6 => times.prop_map(Step::Append),
        3 => merge.prop_map(|(cleared, noted, again)| Step::Merge { cleared, noted, again }),
        1 => Just(Step::Clear),
    ];
    prop::collection::vec((0u64..100, step), 1..40)
}

/// The documented rules over a vector, newest first.
#[derive(Default)]
struct Model {
    entries: Vec<(Timestamp, Arc<Record>)>,
    cleared: Option<Timestamp>,
}

impl Model {
    fn append(&mut self, records: &[Arc<Record>], now: Timestamp) {
        for record in records {
            self.entries.insert(0, (record.at().unwrap_or(now), Arc::clone(record)));
        }
        self.entries.truncate(CAPACITY);
    }

    fn merge(&mut self, held: &Held) -> usize {
        let (mut merged, before) = (0, self.cleared);
        if let Some(cleared) = held.cleared {
            self.entries.retain(|(at, _)| *at > cleared);
            self.cleared = self.cleared.max(held.cleared);
        }
        for (noted, record) in held.records.iter().rev() {
            let is_there = self.entries.iter().any(|(_, other)| other == record);
            if is_there || before.is_some_and(|before| *noted <= before) {
                continue;
            }
            let at = record.at().unwrap_or(*noted);
            let newer = self.entries.iter().take_while(|(other, _)| *other >= at).count();
            self.entries.insert(newer, (at, Arc::clone(record)));
            merged += 1;
        }
        self.entries.truncate(CAPACITY);
        merged
    }

    fn recent(&self) -> Vec<Entry> {
        let decode = |(at, record): &(Timestamp, Arc<Record>)| Entry::decode(&record.encode(*at)).expect("ours");
        self.entries.iter().map(decode).collect()
    }
}

const CAPACITY: usize = 7;

fn after(micros: u64) -> Timestamp {
    START + Duration::from_micros(micros)
}

fn record(id: &mut u64, at: Option<Timestamp>) -> Arc<Record> {
    *id += 1;
    let action = Action::new(format!("a\"{id}"));
    let action = if let Some(at) = at { action.at(at) } else { action };
    Arc::new(Record::new(&action, *id).expect("fit"))
}

/// What was noted so long before `now`, as a journal notes it: no two at the same time, all after the clear.
fn held(now: Timestamp, cleared: bool, ago: &[(u64, Option<u64>)], id: &mut u64) -> Held {
    let mut times: Vec<_> = ago.iter().map(|(ago, at)| (now - Duration::from_micros(*ago), *at)).collect();
    times.sort_unstable();
    times.dedup_by_key(|(noted, _)| *noted);
    let first = times.first().map_or(now, |(noted, _)| *noted) - Duration::from_micros(1);
    let records = times.into_iter().map(|(noted, at)| (noted, record(id, at.map(after)))).collect();
    Held { cleared: cleared.then_some(first), records }
}

#[tokio::test]
async fn redis_memory_and_a_vector_agree_on_random_traces() {
    let server = RedisServer::start();
    let redis = patient(&server).await;
    let (mut runner, keep) = (TestRunner::default(), ActionLogConfig::new().capacity(CAPACITY).retention());
    let stores: [Arc<dyn ActionStore>; 2] =
        [Arc::new(MemoryActionStore::new(Clock::system())), Arc::new(RedisActionStore::new(&redis))];
    for n in 0..60 {
        let steps = trace().new_tree(&mut runner).expect("a trace").current();
        let (user, mut model, mut now, mut id) = (UserId::new(n), Model::default(), START, 0);
        for (i, (passed, step)) in steps.iter().enumerate() {
            now = now + Duration::from_micros(*passed);
            let cx = Cx::new().at(now);
            let told = format!("trace {n}, step {i} of {steps:#?}");
            match step {
                Step::Append(times) => {
                    let records: Vec<_> = times.iter().map(|time| record(&mut id, time.map(after))).collect();
                    model.append(&records, now);
                    for store in &stores {
                        let count = store.append(&cx, &user, &records, keep).await.expect("up");
                        assert_eq!(count, records.len(), "{told}");
                    }
                }
                Step::Merge { cleared, noted, again } => {
                    let held = held(now, *cleared, noted, &mut id);
                    for _ in 0..=usize::from(*again) {
                        let expected = model.merge(&held);
                        for store in &stores {
                            let merged = store.merge(&cx, &user, &held, keep).await.expect("up");
                            assert_eq!(merged, expected, "{told}");
                        }
                    }
                }
                Step::Clear => {
                    (model.entries, model.cleared) = (Vec::new(), Some(now));
                    for store in &stores {
                        store.clear(&cx, &user, keep).await.expect("up");
                    }
                }
            }
            for store in &stores {
                assert_eq!(store.recent(&cx, &user, CAPACITY).await.expect("up"), model.recent(), "{told}");
            }
        }
    }
}
