//! What sessions are like: their cookie, their deadlines, their bounds.

use std::{num::NonZeroU32, time::Duration};

use super::{SessionCookie, SessionJournal, journal::Journal};
use crate::clock::{days, hours, minutes};

/// Settings of all sessions of one application.
///
/// ```
/// use towerkeep::{clock::{days, hours}, session::{SessionConfig, SessionCookie}};
/// let config = SessionConfig::new().cookie(SessionCookie::host("sid")).idle(hours(8)).absolute(days(7));
/// assert_eq!(config, SessionConfig::default().idle(hours(8)).absolute(days(7)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    pub(super) cookie: SessionCookie,
    pub(super) idle: Duration,
    pub(super) absolute: Duration,
    pub(super) renew_every: Duration,
    touch_every: Option<Duration>,
    max_stale: Option<Duration>,
    pub(super) outage: SessionOutage,
    pub(super) journal: Journal,
    pub(super) max_per_user: Option<NonZeroU32>,
    pub(super) max_size: usize,
}

impl SessionConfig {
    /// The defaults, which each setter names.
    pub fn new() -> Self {
        Self {
            cookie: SessionCookie::host("sid"),
            idle: hours(24),
            absolute: days(30),
            renew_every: hours(1),
            touch_every: None,
            max_stale: None,
            outage: SessionOutage::default(),
            journal: Journal::default(),
            max_per_user: None,
            max_size: 64 * 1024,
        }
    }

    /// The cookie's name and attributes. Defaults to `SessionCookie::host("sid")`.
    #[must_use]
    pub fn cookie(mut self, cookie: SessionCookie) -> Self {
        self.cookie = cookie;
        self
    }

    /// Ends a session that is not used for so long. Defaults to 24 hours.
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Ends a session so long after it began or its user logged in, used or not. Defaults to 30 days.
    #[must_use]
    pub fn absolute(mut self, absolute: Duration) -> Self {
        self.absolute = absolute;
        self
    }

    /// Gives a session that is used a new secret so often. Defaults to 1 hour.
    ///
    /// The previous secret works 10 seconds longer, so requests under way are not lost. Sessions carried as bearer
    /// tokens keep theirs: nothing would bring the new one to the client.
    #[must_use]
    pub fn renew_every(mut self, every: Duration) -> Self {
        self.renew_every = every;
        self
    }

    /// Stores that a session is used at most so often. Defaults to a twentieth of `idle`, at least a minute.
    ///
    /// Half of a session's own idle time, where that is shorter: what is only read does not expire in use.
    #[must_use]
    pub fn touch_every(mut self, every: Duration) -> Self {
        self.touch_every = Some(every);
        self
    }

    /// While Redis is down, serves sessions that this instance has seen for at most so long. Defaults to `idle`.
    #[must_use]
    pub fn max_stale(mut self, max: Duration) -> Self {
        self.max_stale = Some(max);
        self
    }

    /// What is served while Redis is down. Defaults to [`SessionOutage::Serve`].
    #[must_use]
    pub fn on_outage(mut self, outage: SessionOutage) -> Self {
        self.outage = outage;
        self
    }

    /// Keeps logouts and revocations beyond the life of the process, so that a crash during an outage undoes none.
    ///
    /// Defaults to none: what ended during an outage is told to Redis by the instance itself, if it lives.
    #[must_use]
    pub fn journal(mut self, journal: impl SessionJournal) -> Self {
        self.journal = Journal::new(journal);
        self
    }

    /// Ends a user's oldest login when another would make more than `max`. Defaults to no bound.
    ///
    /// Of logins made at once the latest live; so it is with those made during an outage, once it is over.
    #[must_use]
    pub fn max_per_user(mut self, max: NonZeroU32) -> Self {
        self.max_per_user = Some(max);
        self
    }

    /// Refuses to store more than `bytes` of JSON in one session. Defaults to 64 KiB.
    #[must_use]
    pub fn max_size(mut self, bytes: usize) -> Self {
        self.max_size = bytes;
        self
    }

    pub(super) fn touch_interval(&self) -> Duration {
        self.touch_every.unwrap_or_else(|| (self.idle / 20).max(minutes(1)))
    }

    /// How long a copy of a session serves during an outage.
    pub fn stale_limit(&self) -> Duration {
        self.max_stale.unwrap_or(self.idle)
    }
}

/// What is served of sessions while Redis is down. Logouts and revocations hold at once with each of them.
///
/// ```
/// use towerkeep::session::{SessionConfig, SessionOutage};
/// let bank = SessionConfig::new().on_outage(SessionOutage::Deny);
/// assert_ne!(bank, SessionConfig::new());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionOutage {
    /// Sessions seen here are served; changes and logins are kept, and merged when Redis is back.
    #[default]
    Serve,
    /// Sessions seen here are served; changes and logins are unavailable.
    ReadOnly,
    /// No session is served: each is unavailable, so routes that require a user answer 503.
    Deny,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touches_are_a_minute_apart_at_least() {
        assert_eq!(SessionConfig::new().touch_interval(), minutes(72));
        assert_eq!(SessionConfig::new().idle(minutes(5)).touch_interval(), minutes(1));
    }
}
