//! Random faults before one store: every append that was taken is there once, in its place, unless it was cleared.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Mutex, PoisonError},
};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use towerkeep::{Error, StoreFuture};

use super::{outage::is_pending, *};

/// What happens to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// It never arrives.
    Lost,
    /// It is carried out, and nobody hears of it.
    Unheard,
    /// It is carried out, and there is no answer for as long as anybody waits.
    Endless,
    /// Neither.
    Vanished,
}

#[derive(Clone)]
struct Faulty {
    store: MemoryActionStore,
    faults: Arc<Mutex<VecDeque<Fault>>>,
}

impl Faulty {
    fn write<T: Send + 'static>(&self, write: impl FnOnce(&MemoryActionStore) -> StoreFuture<T>) -> StoreFuture<T> {
        let fault = self.faults.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(Fault::None);
        if fault == Fault::Lost {
            return StoreFuture::err(Error::unavailable("lost"));
        }
        if fault == Fault::Vanished {
            return StoreFuture::boxed(std::future::pending());
        }
        let answer = write(&self.store);
        match fault {
            Fault::Unheard => StoreFuture::err(Error::unavailable("unheard")),
            Fault::Endless => StoreFuture::boxed(std::future::pending()),
            _ => answer,
        }
    }
}

impl ActionStore for Faulty {
    fn now(&self, cx: &Cx) -> Timestamp {
        self.store.now(cx)
    }

    fn append(&self, cx: &Cx, user: &UserId, records: &[Arc<Record>], keep: Retention) -> StoreFuture<usize> {
        self.write(|store| store.append(cx, user, records, keep))
    }

    fn merge(&self, cx: &Cx, user: &UserId, held: &Held, keep: Retention) -> StoreFuture<usize> {
        self.write(|store| store.merge(cx, user, held, keep))
    }

    fn recent(&self, cx: &Cx, user: &UserId, limit: usize) -> StoreFuture<Vec<Entry>> {
        self.store.recent(cx, user, limit)
    }

    fn clear(&self, cx: &Cx, user: &UserId, keep: Retention) -> StoreFuture<()> {
        self.write(|store| store.clear(cx, user, keep))
    }
}

#[derive(Clone, Debug)]
struct Step {
    instance: usize,
    /// So many entries; none: a clear.
    entries: usize,
    faults: Vec<Fault>,
}

fn trace() -> impl Strategy<Value = Vec<Step>> {
    let faults = prop::sample::select(&[Fault::None, Fault::Lost, Fault::Unheard, Fault::Endless, Fault::Vanished][..]);
    let entries = prop_oneof![5 => Just(1usize), 1 => 2usize..5, 1 => Just(0)];
    let step = (0usize..2, entries, prop::collection::vec(faults, 0..3));
    let step = step.prop_map(|(instance, entries, faults)| Step { instance, entries, faults });
    prop::collection::vec(step, 1..40)
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_each_entry_is_there_once_in_its_place() {
    let mut runner = TestRunner::default();
    for n in 0..500 {
        let steps = trace().new_tree(&mut runner).expect("a trace").current();
        let clock = ManualClock::at(START);
        let store = MemoryActionStore::new(clock.clock());
        let config = ActionLogConfig::new().capacity(1_000);
        let instances = [(); 2].map(|()| Faulty { store: store.clone(), faults: Arc::default() });
        let logs = instances.clone().map(|store| ActionLog::with_config(store, config).expect("fit"));
        let (mut expected, mut next) = (Vec::new(), 0u32);
        for step in &steps {
            clock.advance(Duration::from_millis(1));
            let (log, faults) = (&logs[step.instance], &instances[step.instance].faults);
            *faults.lock().expect("no panic") = step.faults.iter().copied().collect();
            let actions: Vec<_> = (0..step.entries)
                .map(|_| {
                    next += 1;
                    next.to_string()
                })
                .collect();
            // What does not end is dropped, as by a client that has gone.
            if actions.is_empty() {
                expected.clear();
                let _ = is_pending(pin!(log.clear(42))).await;
            } else {
                let _ = is_pending(pin!(log.append_batch(42, actions.clone()))).await;
                expected.extend(actions);
            }
        }
        for (log, instance) in logs.iter().zip(&instances) {
            instance.faults.lock().expect("no panic").clear();
            log.recent(42, 1).await.expect("up");
            assert_eq!(log.pending(42), [], "trace {n} of {steps:#?}");
        }
        expected.reverse();
        assert_eq!(newest(&logs[0], 1_000).await, expected, "trace {n} of {steps:#?}");
    }
}
