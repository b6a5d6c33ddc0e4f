//! Time: a stamp in microseconds, where it comes from, and durations to write policies with.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// `n` seconds, usable in constants.
pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// `n` minutes, usable in constants.
pub const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

/// `n` hours, usable in constants.
pub const fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 3_600)
}

/// `n` days of 24 hours, usable in constants.
pub const fn days(n: u64) -> Duration {
    Duration::from_secs(n * 86_400)
}

/// Microseconds since the Unix epoch: the unit of Redis' `TIME` and of every stored stamp.
///
/// Arithmetic saturates at both ends. Stays below 2^53 until the year 2255, so Lua's numbers hold it exactly.
///
/// ```
/// use towerkeep::clock::{Timestamp, seconds};
/// let start = Timestamp::from_micros(1_000_000);
/// assert_eq!((start + seconds(2)).as_micros(), 3_000_000);
/// assert_eq!(start.since(start + seconds(2)), seconds(0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The stamp of `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds after the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Milliseconds after the epoch, rounded down: the unit of `PEXPIREAT`.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// Seconds after the epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The time from `earlier` to here; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The same instant as the standard library's type.
    pub fn to_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0)
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, after: Duration) -> Self {
        Self(self.0.saturating_add(micros(after)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, before: Duration) -> Self {
        Self(self.0.saturating_sub(micros(before)))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(micros(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }
}

/// Whole microseconds of a duration, saturating.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Where stores kept in memory take the time from.
///
/// The system's clock is read once and carried on by the monotonic one, so a clock that is set back never
/// gives a window or a session more time than it has.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System { origin: Timestamp, started: Instant },
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The process' clock, monotonic from this call on.
    pub fn system() -> Self {
        Self(Source::System { origin: SystemTime::now().into(), started: Instant::now() })
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System { origin, started } => *origin + started.elapsed(),
            Source::Manual(now) => Timestamp(now.load(Relaxed)),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// A clock that moves only when a test says so.
///
/// ```
/// use towerkeep::clock::{ManualClock, Timestamp, seconds};
/// let manual = ManualClock::at(Timestamp::from_micros(0));
/// let clock = manual.clock();
/// manual.advance(seconds(5));
/// assert_eq!(clock.now().as_secs(), 5);
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(now.0)))
    }

    /// The handle that stores take; it shows every later change.
    pub fn clock(&self) -> Clock {
        Clock(Source::Manual(Arc::clone(&self.0)))
    }

    /// Moves the time forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(micros(by), Relaxed);
    }

    /// Sets the time, backwards too.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let end = Timestamp::from_micros(u64::MAX);
        assert_eq!(end + seconds(1), end);
        assert_eq!(Timestamp::default() - seconds(1), Timestamp::default());
    }

    #[test]
    fn the_system_clock_is_close_to_the_wall_and_never_goes_back() {
        let clock = Clock::system();
        let (first, second) = (clock.now(), clock.now());
        assert!(second >= first);
        assert!(Timestamp::from(SystemTime::now()).since(first) < seconds(5));
    }
}
