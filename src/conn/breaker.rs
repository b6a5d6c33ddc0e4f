//! The circuit breaker: a pure state machine over events and the time.

use std::time::Duration;

use super::fault::Fault;
use crate::{Status, clock::Timestamp};

/// Timeouts in a row that open it.
const STREAK: u32 = 5;
/// Operations in flight beside a timeout that show the whole connection to be stuck.
const STUCK: usize = 5;
/// The share of failures that opens it: half of at least so many within [`WINDOW`].
const WINDOW_LEAST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(1);
/// Good probes before it closes, and how far apart they are.
const GOOD_PROBES: u32 = 3;
pub(super) const PROBE_APART: Duration = Duration::from_millis(50);
/// Opened again this soon after closing, it wants twice as many good probes.
const FLAPPING: Duration = Duration::from_secs(10);
const MOST_PROBES: u32 = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Operations pass.
    Closed,
    /// Reads pass; Redis refuses writes.
    WriteDegraded,
    /// Nothing passes.
    Open,
    /// Nothing passes; at least one probe was good.
    Probing,
    /// Nothing passes, by hand.
    Forced,
}

impl State {
    pub(super) fn status(self) -> Status {
        match self {
            Self::Closed => Status::Up,
            Self::WriteDegraded => Status::Degraded,
            Self::Open | Self::Probing | Self::Forced => Status::Down,
        }
    }
}

/// What happened. Events of a connection older than the current one are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// An operation failed; `answered` others succeeded since the last one that did not, `in_flight` are waiting.
    Failed { generation: u64, fault: Fault, answered: u32, in_flight: usize },
    /// A probe went through on a connection; whether Redis takes writes.
    ProbeGood { writes: bool },
    /// A probe failed.
    ProbeBad(Fault),
    /// The connection of this generation is proven, recovered and in use.
    Recovered { generation: u64 },
    /// An outage is forced, or no longer.
    Force(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Breaker {
    pub(super) state: State,
    /// Of the connection in use, or last in use.
    pub(super) generation: u64,
    /// What opened it last.
    pub(super) cause: Option<Fault>,
    pub(super) opened_at: Timestamp,
    /// When it last closed after an outage; the first connection ends none, nor does the end of one that was forced.
    closed_at: Option<Timestamp>,
    streak: u32,
    window: Window,
    good: u32,
    needed: u32,
    /// Whether the last good probe could write.
    pub(super) writes: bool,
    /// When writes were taken again, how many probes in a row have written since they were refused, and must.
    written_at: Option<Timestamp>,
    written: u32,
    needed_writes: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Window {
    since: Timestamp,
    answered: u32,
    failed: u32,
}

impl Window {
    fn add(self, answered: u32, failed: u32, now: Timestamp) -> Self {
        if now.since(self.since) >= WINDOW {
            return Self { since: now, answered: 0, failed };
        }
        Self { answered: self.answered.saturating_add(answered), failed: self.failed + failed, ..self }
    }

    fn is_bad(self) -> bool {
        let all = self.answered.saturating_add(self.failed);
        all >= WINDOW_LEAST && self.failed >= all.div_ceil(2)
    }
}

impl Breaker {
    /// Before the first connection: open, and closed by the first good probe.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            state: State::Open,
            generation: 0,
            cause: None,
            opened_at: now,
            closed_at: None,
            streak: 0,
            window: Window::default(),
            good: 0,
            needed: 1,
            writes: true,
            written_at: None,
            written: 0,
            needed_writes: 1,
        }
    }

    /// Whether no connection was in use yet.
    pub(super) fn is_first(&self) -> bool {
        self.generation == 0 && self.state != State::Forced
    }

    /// Whether enough probes were good; what remains is recovery.
    pub(super) fn is_proven(&self) -> bool {
        self.state == State::Probing && self.good >= self.needed
    }

    /// Whether a probe that writes now is not enough to take writes again.
    pub(super) fn wants_more_writes(&self) -> bool {
        self.state == State::WriteDegraded && self.written + 1 < self.needed_writes
    }

    pub(super) fn on_event(self, event: Event, now: Timestamp) -> Self {
        match event {
            Event::Failed { generation, fault, answered, in_flight } => {
                self.failed(generation, fault, answered, in_flight, now)
            }
            Event::ProbeGood { writes } => self.probe_good(writes, now),
            Event::ProbeBad(fault) => self.probe_bad(fault, now),
            Event::Recovered { generation } => self.recovered(generation, now),
            Event::Force(true) => Self { state: State::Forced, opened_at: now, cause: None, ..self },
            Event::Force(false) if self.state == State::Forced => {
                Self { state: State::Open, good: 0, needed: 1, ..self }
            }
            Event::Force(false) => self,
        }
    }

    fn passes(&self) -> bool {
        matches!(self.state, State::Closed | State::WriteDegraded)
    }

    fn failed(mut self, generation: u64, fault: Fault, answered: u32, in_flight: usize, now: Timestamp) -> Self {
        if generation != self.generation || !self.passes() {
            return self;
        }
        if fault == Fault::WritesRefused {
            return self.refuse_writes(now);
        }
        if answered > 0 {
            self.streak = 0;
        }
        match fault {
            Fault::Dropped | Fault::Auth | Fault::Protocol | Fault::NotServing => self.open(fault, now),
            Fault::Timeout => {
                self.streak += 1;
                self.window = self.window.add(answered, 1, now);
                let is_gone = in_flight >= STUCK || self.streak >= STREAK || self.window.is_bad();
                if is_gone { self.open(fault, now) } else { self }
            }
            // Redis answered, if with an error: that is no failure of its.
            _ => Self { window: self.window.add(answered, 0, now), ..self },
        }
    }

    /// Reads go on. A server that is full now and then would otherwise be recovered, and told of, four times a second.
    fn refuse_writes(self, now: Timestamp) -> Self {
        let cause = Some(Fault::WritesRefused);
        if self.state == State::WriteDegraded {
            return Self { cause, written: 0, ..self };
        }
        let flapping = self.written_at.is_some_and(|written| now.since(written) < FLAPPING);
        let needed_writes = if flapping { (self.needed_writes * 2).min(MOST_PROBES) } else { 1 };
        Self { state: State::WriteDegraded, cause, written: 0, needed_writes, ..self }
    }

    fn open(self, cause: Fault, now: Timestamp) -> Self {
        let flapping = self.closed_at.is_some_and(|closed| now.since(closed) < FLAPPING);
        let needed = if flapping { (self.needed.max(GOOD_PROBES) * 2).min(MOST_PROBES) } else { GOOD_PROBES };
        Self { state: State::Open, cause: Some(cause), opened_at: now, good: 0, needed, streak: 0, ..self }
    }

    fn probe_good(self, writes: bool, now: Timestamp) -> Self {
        match self.state {
            State::Open | State::Probing => Self { state: State::Probing, good: self.good + 1, writes, ..self },
            State::WriteDegraded if !writes => Self { written: 0, ..self },
            State::WriteDegraded if self.wants_more_writes() => Self { written: self.written + 1, ..self },
            State::WriteDegraded => Self { state: State::Closed, cause: None, written_at: Some(now), ..self },
            State::Closed if !writes => self.refuse_writes(now),
            State::Closed | State::Forced => self,
        }
    }

    fn probe_bad(self, fault: Fault, now: Timestamp) -> Self {
        match self.state {
            State::Open | State::Probing => {
                Self { state: State::Open, good: 0, needed: self.needed.max(GOOD_PROBES), ..self }
            }
            State::Closed | State::WriteDegraded => self.open(fault, now),
            State::Forced => self,
        }
    }

    fn recovered(self, generation: u64, now: Timestamp) -> Self {
        if !self.is_proven() {
            return self;
        }
        let state = if self.writes { State::Closed } else { State::WriteDegraded };
        let window = Window { since: now, ..Window::default() };
        let closed_at = if self.needed >= GOOD_PROBES { Some(now) } else { self.closed_at };
        Self { state, generation, closed_at, streak: 0, window, written: 0, needed_writes: 1, ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::seconds;

    const START: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn closed() -> Breaker {
        let probed = Breaker::new(START).on_event(Event::ProbeGood { writes: true }, START);
        probed.on_event(Event::Recovered { generation: 1 }, START)
    }

    fn failed(fault: Fault, answered: u32, in_flight: usize) -> Event {
        Event::Failed { generation: 1, fault, answered, in_flight }
    }

    #[test]
    fn a_drop_opens_at_once() {
        assert_eq!(closed().on_event(failed(Fault::Dropped, 9, 0), START).state, State::Open);
    }

    #[test]
    fn a_bad_probe_of_the_connection_in_use_opens_it_by_its_own_cause() {
        let opened = closed().on_event(Event::ProbeBad(Fault::NotServing), START);
        assert_eq!((opened.state, opened.cause), (State::Open, Some(Fault::NotServing)));
    }

    #[test]
    fn an_older_connection_says_nothing_about_this_one() {
        let event = Event::Failed { generation: 0, fault: Fault::Dropped, answered: 0, in_flight: 0 };
        assert_eq!(closed().on_event(event, START), closed());
    }

    #[test]
    fn five_timeouts_in_a_row_open_it_and_an_answer_between_does_not() {
        let mut breaker = closed();
        for _ in 0..4 {
            breaker = breaker.on_event(failed(Fault::Timeout, 0, 1), START);
        }
        assert_eq!(breaker.state, State::Closed);
        let answered = breaker.on_event(failed(Fault::Timeout, 40, 1), START);
        assert_eq!(answered.state, State::Closed);
        assert_eq!(breaker.on_event(failed(Fault::Timeout, 0, 1), START).state, State::Open);
    }

    #[test]
    fn one_timeout_among_five_in_flight_opens_it() {
        assert_eq!(closed().on_event(failed(Fault::Timeout, 9, 5), START).state, State::Open);
    }

    #[test]
    fn half_of_twenty_within_a_second_open_it() {
        let mut breaker = closed();
        for _ in 0..9 {
            breaker = breaker.on_event(failed(Fault::Timeout, 1, 0), START);
        }
        assert_eq!(breaker.state, State::Closed);
        assert_eq!(breaker.on_event(failed(Fault::Timeout, 1, 0), START).state, State::Open);
        let later = START + seconds(2);
        assert_eq!(breaker.on_event(failed(Fault::Timeout, 1, 0), later).state, State::Closed);
    }

    #[test]
    fn what_is_no_failure_of_redis_leaves_it_closed() {
        let mut breaker = closed();
        for fault in
            [Fault::WrongType, Fault::NoPermission, Fault::Misfit, Fault::NoScript, Fault::Late(1), Fault::Other]
        {
            for _ in 0..50 {
                breaker = breaker.on_event(failed(fault, 0, 9), START);
            }
        }
        assert_eq!(breaker.state, State::Closed);
    }

    #[test]
    fn what_is_no_failure_does_not_count_towards_one() {
        let mut breaker = closed();
        for _ in 0..19 {
            breaker = breaker.on_event(failed(Fault::NoPermission, 1, 1), START);
        }
        assert_eq!(breaker.on_event(failed(Fault::Timeout, 1, 1), START).state, State::Closed);
        let mut breaker = closed();
        for _ in 0..4 {
            breaker = breaker.on_event(failed(Fault::WrongType, 0, 1), START);
        }
        assert_eq!(breaker.on_event(failed(Fault::Timeout, 0, 1), START).state, State::Closed);
    }

    #[test]
    fn answers_between_timeouts_count_whoever_noticed_them() {
        let mut breaker = closed();
        for _ in 0..4 {
            breaker = breaker.on_event(failed(Fault::Timeout, 0, 1), START);
        }
        breaker = breaker.on_event(failed(Fault::WrongType, 3, 1), START);
        assert_eq!(breaker.on_event(failed(Fault::Timeout, 0, 1), START).state, State::Closed);
    }

    #[test]
    fn refused_writes_leave_reads_alone_until_a_probe_writes() {
        let breaker = closed().on_event(failed(Fault::WritesRefused, 0, 0), START);
        assert_eq!(breaker.state.status(), Status::Degraded);
        let still = breaker.on_event(Event::ProbeGood { writes: false }, START);
        assert_eq!(still.state, State::WriteDegraded);
        assert_eq!(still.on_event(Event::ProbeGood { writes: true }, START).state, State::Closed);
    }

    #[test]
    fn a_probe_whose_write_is_refused_is_enough_to_refuse_all() {
        let refused = closed().on_event(Event::ProbeGood { writes: false }, START);
        assert_eq!((refused.state, refused.cause), (State::WriteDegraded, Some(Fault::WritesRefused)));
    }

    #[test]
    fn writes_refused_again_and_again_ask_for_more_probes_that_write() {
        let (written, refused) = (Event::ProbeGood { writes: true }, failed(Fault::WritesRefused, 0, 0));
        let mut breaker = closed();
        for needed in [1, 2, 4, 8, 16, 32, 48, 48] {
            breaker = breaker.on_event(refused, START);
            for _ in 1..needed {
                breaker = breaker.on_event(written, START);
                assert_eq!(breaker.state, State::WriteDegraded, "of {needed}");
            }
            breaker = breaker.on_event(written, START);
            assert_eq!(breaker.state, State::Closed, "after {needed}");
        }
        let later = START + seconds(10);
        assert_eq!(breaker.on_event(refused, later).on_event(written, later).state, State::Closed);
    }

    #[test]
    fn a_refusal_between_takes_the_probes_before_it_back() {
        let (written, refused) = (Event::ProbeGood { writes: true }, failed(Fault::WritesRefused, 0, 0));
        let again = closed().on_event(refused, START).on_event(written, START).on_event(refused, START);
        for between in [refused, Event::ProbeGood { writes: false }] {
            let once = again.on_event(written, START).on_event(between, START).on_event(written, START);
            assert_eq!(once.state, State::WriteDegraded);
            assert_eq!(once.on_event(written, START).state, State::Closed);
        }
    }

    /// Given up at `now` and proven again at once; how many probes that took.
    fn returned(breaker: Breaker, now: Timestamp) -> (Breaker, u32) {
        let generation = breaker.generation;
        let opened =
            breaker.on_event(Event::Failed { generation, fault: Fault::Dropped, answered: 0, in_flight: 0 }, now);
        let mut back = opened;
        while !back.is_proven() {
            back = back.on_event(Event::ProbeGood { writes: true }, now);
        }
        (back.on_event(Event::Recovered { generation: generation + 1 }, now), back.good)
    }

    #[test]
    fn flapping_asks_for_more_good_probes() {
        let mut breaker = closed();
        for needed in [3, 6, 12, 24, 48, 48] {
            let (back, good) = returned(breaker, START + seconds(1));
            assert_eq!(good, needed);
            breaker = back;
        }
        assert_eq!(returned(breaker, START + seconds(11)).1, 3);
    }

    #[test]
    fn the_first_connection_is_no_return_unless_it_had_to_be_proven() {
        assert_eq!(returned(closed(), START).1, 3);
        let unreached = Breaker::new(START).on_event(Event::ProbeBad(Fault::Dropped), START);
        let proven = (0..3).fold(unreached, |breaker, _| breaker.on_event(Event::ProbeGood { writes: true }, START));
        assert_eq!(returned(proven.on_event(Event::Recovered { generation: 1 }, START), START).1, 6);
    }

    #[test]
    fn the_end_of_a_forced_outage_is_no_return() {
        let forced = closed().on_event(Event::Force(true), START).on_event(Event::Force(false), START);
        let back = forced.on_event(Event::ProbeGood { writes: true }, START);
        assert_eq!(returned(back.on_event(Event::Recovered { generation: 2 }, START), START).1, 3);
    }

    #[test]
    fn a_forced_outage_ends_only_by_hand() {
        let forced = closed().on_event(Event::Force(true), START);
        let probed = forced.on_event(Event::ProbeGood { writes: true }, START);
        assert_eq!(probed.on_event(Event::Recovered { generation: 2 }, START).state, State::Forced);
        assert_eq!(forced.on_event(Event::Force(false), START).state, State::Open);
    }

    fn events() -> impl Strategy<Value = Event> {
        let faults = prop::sample::select(vec![
            Fault::Dropped,
            Fault::Timeout,
            Fault::NotServing,
            Fault::Auth,
            Fault::WritesRefused,
            Fault::WrongType,
            Fault::Other,
        ]);
        prop_oneof![
            6 => (0u64..4, faults, 0u32..4, 0usize..8)
                .prop_map(|(generation, fault, answered, in_flight)| Event::Failed { generation, fault, answered, in_flight }),
            6 => any::<bool>().prop_map(|writes| Event::ProbeGood { writes }),
            2 => Just(Event::ProbeBad(Fault::Timeout)),
            3 => (1u64..4).prop_map(|generation| Event::Recovered { generation }),
            1 => any::<bool>().prop_map(Event::Force),
        ]
    }

    proptest! {
        /// Whatever happens: it passes operations again only through enough good probes on a recovered connection
        /// (or a good write while it was degraded), and never while an outage is forced.
        #[test]
        fn opens_and_closes_only_by_its_rules(trace in prop::collection::vec((events(), 0u64..2_000_000), 1..200)) {
            let mut breaker = Breaker::new(START);
            let (mut now, mut good, mut forced) = (START, 0u32, false);
            for (event, step) in trace {
                now = now + Duration::from_micros(step);
                let next = breaker.on_event(event, now);
                match event {
                    Event::Force(on) => forced = on,
                    Event::ProbeGood { .. } if !breaker.passes() && !forced => good += 1,
                    Event::ProbeBad(_) => good = 0,
                    _ => {}
                }
                prop_assert!(!(forced && next.passes()));
                if !breaker.passes() && next.passes() {
                    prop_assert_eq!(event, Event::Recovered { generation: next.generation });
                    prop_assert!(good >= breaker.needed && breaker.needed >= 1);
                }
                if breaker.state == State::WriteDegraded && next.state == State::Closed {
                    prop_assert_eq!(event, Event::ProbeGood { writes: true });
                }
                if breaker.passes() && !next.passes() {
                    prop_assert!(next.cause.is_some() || next.state == State::Forced);
                    good = 0;
                }
                prop_assert!(next.needed <= MOST_PROBES && next.needed_writes <= MOST_PROBES);
                breaker = next;
            }
        }
    }
}
