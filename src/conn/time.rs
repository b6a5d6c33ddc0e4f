//! The server's clock, estimated here.

use std::{
    sync::atomic::{
        AtomicBool, AtomicI64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use crate::clock::{Clock, Timestamp};

/// Local time plus the offset that probes measure.
pub(super) struct ServerTime {
    clock: Clock,
    offset: AtomicI64,
    known: AtomicBool,
}

impl ServerTime {
    pub(super) fn new() -> Self {
        Self { clock: Clock::system(), offset: AtomicI64::new(0), known: AtomicBool::new(false) }
    }

    /// The local time, monotonic.
    pub(super) fn local(&self) -> Timestamp {
        self.clock.now()
    }

    /// The server's time; the local one before the first measurement.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.local().as_micros().saturating_add_signed(self.offset.load(Relaxed)))
    }

    /// Whether the offset was ever measured; without it no deadline can be told to the server.
    pub(super) fn is_known(&self) -> bool {
        self.known.load(Acquire)
    }

    /// Takes note of the server's `TIME`, asked for at `before` (local) and answered just now: half of the trip ago. Where the
    /// trip took longer than `usual`, that would be a guess: what is known stays then, as far as the trip allows it.
    pub(super) fn measured(&self, server: Timestamp, before: Timestamp, usual: Duration) {
        self.settle(server, before, self.local(), usual);
    }

    fn settle(&self, server: Timestamp, before: Timestamp, after: Timestamp, usual: Duration) {
        let offset = |local: Timestamp| {
            let offset = i128::from(server.as_micros()) - i128::from(local.as_micros());
            i64::try_from(offset).unwrap_or_default()
        };
        let trip = after.since(before);
        let settled = if trip <= usual || !self.is_known() {
            offset(before + trip / 2)
        } else {
            self.offset.load(Relaxed).clamp(offset(after), offset(before))
        };
        self.offset.store(settled, Relaxed);
        self.known.store(true, Release);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::hours;

    #[test]
    fn follows_a_server_an_hour_behind() {
        let time = ServerTime::new();
        assert!(!time.is_known());
        let server = time.local() - hours(1);
        time.measured(server, time.local(), Duration::MAX);
        assert!(time.is_known());
        let ahead = time.now().since(server);
        assert!(ahead < Duration::from_secs(5), "{ahead:?}");
    }

    const USUAL: Duration = Duration::from_millis(25);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_micros(1_000_000_000 + millis * 1_000)
    }

    /// `TIME` ran at the end of a slow trip; taken for its middle, every deadline of the next second was a quarter of one too late.
    #[test]
    fn a_slow_trip_does_not_move_a_clock_that_stands_right() {
        let time = ServerTime::new();
        time.settle(at(5), at(0), at(10), USUAL);
        assert_eq!(time.offset.load(Relaxed), 0);
        time.settle(at(1_480), at(1_000), at(1_480), USUAL);
        assert_eq!(time.offset.load(Relaxed), 0);
    }

    #[test]
    fn a_slow_trip_moves_a_clock_that_was_set_as_little_as_it_can() {
        let time = ServerTime::new();
        time.settle(at(5), at(0), at(10), USUAL);
        time.settle(at(500), at(1_000), at(1_400), USUAL);
        assert_eq!(time.offset.load(Relaxed), -500_000, "set back");
        time.settle(at(3_000), at(1_000), at(1_400), USUAL);
        assert_eq!(time.offset.load(Relaxed), 1_600_000, "set forward");
    }

    proptest! {
        /// Whatever the trips are like: the estimate is one that the last of them allows, and of a server whose clock goes right it is
        /// never off by more than half of a usual trip, once there was one.
        #[test]
        fn the_estimate_is_off_by_half_of_a_usual_trip_at_most(
            skew in -1_000_000i64..1_000_000,
            trips in prop::collection::vec((0u64..600_000, 0.0f64..=1.0), 1..40),
        ) {
            let (time, mut now, mut was_usual) = (ServerTime::new(), 10_000_000u64, false);
            for (trip, share) in trips {
                let (before, after) = (now, now + trip);
                let asked = before + (trip as f64 * share) as u64;
                let server = asked.checked_add_signed(skew).expect("in range");
                let [server, before, after] = [server, before, after].map(Timestamp::from_micros);
                time.settle(server, before, after, USUAL);
                was_usual |= u128::from(trip) <= USUAL.as_micros();
                let off = (time.offset.load(Relaxed) - skew).unsigned_abs();
                prop_assert!(off <= trip.max(1), "{off} of {trip}");
                if was_usual {
                    prop_assert!(u128::from(off) <= USUAL.as_micros() / 2 + 1, "{off}");
                }
                now += trip + 1_000_000;
            }
        }
    }
}
