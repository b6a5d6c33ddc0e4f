//! The breaker in use: one relaxed load per operation, a lock only when something fails.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{
        AtomicBool, AtomicU32, AtomicU64,
        Ordering::{Relaxed, Release},
    },
};

use tokio::sync::watch;

use super::{
    breaker::{Breaker, Event, State},
    fault::Fault,
};
use crate::{Status, clock::Clock};

/// What an event changed.
pub(super) struct Transition {
    pub(super) before: Breaker,
    pub(super) after: Breaker,
}

impl Transition {
    /// Whether operations passed before and do not any more.
    pub(super) fn opened(&self) -> bool {
        self.before.state.status() != Status::Down && self.after.state.status() == Status::Down
    }

    /// Whether operations pass now and did not before.
    pub(super) fn closed(&self) -> bool {
        self.before.state.status() == Status::Down && self.after.state.status() != Status::Down
    }
}

pub(super) struct Gate {
    breaker: Mutex<Breaker>,
    state: AtomicU64,
    answered: AtomicU32,
    refused: AtomicU64,
    watch: watch::Sender<Status>,
    passes: Arc<AtomicBool>,
    clock: Clock,
}

impl Gate {
    /// An open gate; `passes` follows it.
    pub(super) fn new(passes: Arc<AtomicBool>) -> Self {
        let clock = Clock::system();
        let breaker = Breaker::new(clock.now());
        Self {
            state: AtomicU64::new(packed(&breaker)),
            breaker: Mutex::new(breaker),
            answered: AtomicU32::new(0),
            refused: AtomicU64::new(0),
            watch: watch::Sender::new(Status::Down),
            passes,
            clock,
        }
    }

    pub(super) fn state(&self) -> State {
        unpacked(self.state.load(Relaxed))
    }

    pub(super) fn status(&self) -> Status {
        self.state().status()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Status> {
        self.watch.subscribe()
    }

    /// Why an operation may not pass now, if so.
    pub(super) fn refusal(&self, writes: bool) -> Option<Fault> {
        match self.state() {
            State::Closed => return None,
            State::WriteDegraded if !writes => return None,
            State::WriteDegraded => return Some(Fault::WritesRefused),
            State::Open | State::Probing | State::Forced => {}
        }
        self.refused.fetch_add(1, Relaxed);
        Some(Fault::Dropped)
    }

    /// How many operations were refused since this was last asked.
    pub(super) fn take_refused(&self) -> u64 {
        self.refused.swap(0, Relaxed)
    }

    /// Counts an operation that Redis answered.
    pub(super) fn answered(&self) {
        self.answered.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self, generation: u64, fault: Fault, in_flight: usize) -> Transition {
        let answered = self.answered.swap(0, Relaxed);
        self.apply(Event::Failed { generation, fault, answered, in_flight })
    }

    pub(super) fn breaker(&self) -> Breaker {
        *self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn apply(&self, event: Event) -> Transition {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *breaker;
        let after = before.on_event(event, self.clock.now());
        *breaker = after;
        self.state.store(packed(&after), Release);
        let status = after.state.status();
        self.passes.store(status != Status::Down, Release);
        self.watch.send_if_modified(|current| std::mem::replace(current, status) != status);
        Transition { before, after }
    }
}

/// State and generation in one word, so that one load tells both.
fn packed(breaker: &Breaker) -> u64 {
    breaker.generation << 3 | breaker.state as u64
}

fn unpacked(word: u64) -> State {
    match word & 7 {
        0 => State::Closed,
        1 => State::WriteDegraded,
        2 => State::Open,
        3 => State::Probing,
        _ => State::Forced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_packing() {
        for state in [State::Closed, State::WriteDegraded, State::Open, State::Probing, State::Forced] {
            let mut breaker = Breaker::new(Clock::system().now());
            (breaker.state, breaker.generation) = (state, 77);
            assert_eq!(unpacked(packed(&breaker)), state);
        }
    }

    #[test]
    fn refuses_writes_only_while_writes_are_refused() {
        let gate = Gate::new(Arc::default());
        assert_eq!(gate.refusal(false), Some(Fault::Dropped));
        gate.apply(Event::ProbeGood { writes: true });
        gate.apply(Event::Recovered { generation: 1 });
        assert_eq!(gate.refusal(true), None);
        gate.failed(1, Fault::WritesRefused, 0);
        assert_eq!((gate.refusal(true), gate.refusal(false)), (Some(Fault::WritesRefused), None));
        assert_eq!(gate.take_refused(), 1);
    }
}
