//! The server's clock, estimated here.

use std::sync::atomic::{
    AtomicBool, AtomicI64,
    Ordering::{Acquire, Relaxed, Release},
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

    /// Takes note of the server's `TIME`, asked for at `before` (local) and answered just now: half of the trip ago.
    pub(super) fn measured(&self, server: Timestamp, before: Timestamp) {
        let after = self.local();
        let middle = before + after.since(before) / 2;
        let offset = i128::from(server.as_micros()) - i128::from(middle.as_micros());
        self.offset.store(i64::try_from(offset).unwrap_or_default(), Relaxed);
        self.known.store(true, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::hours;

    #[test]
    fn follows_a_server_an_hour_behind() {
        let time = ServerTime::new();
        assert!(!time.is_known());
        let server = time.local() - hours(1);
        time.measured(server, time.local());
        assert!(time.is_known());
        let ahead = time.now().since(server);
        assert!(ahead < std::time::Duration::from_secs(5), "{ahead:?}");
    }
}
