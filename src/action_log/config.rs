//! How much of a log is kept, and for how long.

use std::time::Duration;

use crate::{Error, Result, clock::days};

/// Settings of an action log. What cannot work is told when the log is made.
///
/// ```
/// use towerkeep::{Keep, action_log::ActionLogConfig};
/// assert!(Keep::builder().actions(ActionLogConfig::new().capacity(500)).build().is_ok());
/// let error = Keep::builder().actions(ActionLogConfig::new().capacity(0)).build().unwrap_err();
/// assert!(error.is_invalid());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionLogConfig {
    retention: Retention,
    max_entry: usize,
}

/// What a store keeps of one user's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// So many entries, from 1 to 10,000.
    pub capacity: usize,
    /// So long after the last append.
    pub keep_for: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { capacity: 100, keep_for: days(30) }
    }
}

impl Default for ActionLogConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl ActionLogConfig {
    /// 100 entries of up to 4 KiB, kept for 30 days.
    pub fn new() -> Self {
        Self { retention: Retention::default(), max_entry: 4_096 }
    }

    /// Keeps the newest `entries` of each user, 1 to 10,000. Defaults to 100.
    #[must_use]
    pub fn capacity(mut self, entries: usize) -> Self {
        self.retention.capacity = entries;
        self
    }

    /// Forgets a log so long after its last append, 1 ms to 10,000 days. Defaults to 30 days.
    #[must_use]
    pub fn keep_for(mut self, time: Duration) -> Self {
        self.retention.keep_for = time;
        self
    }

    /// Refuses entries that take more bytes as JSON, 128 to 65,536. Defaults to 4,096.
    #[must_use]
    pub fn max_entry(mut self, bytes: usize) -> Self {
        self.max_entry = bytes;
        self
    }

    /// What a store keeps.
    pub fn retention(&self) -> Retention {
        self.retention
    }

    pub(super) fn largest_entry(&self) -> usize {
        self.max_entry
    }

    /// # Errors
    /// Invalid, naming the setting.
    pub(crate) fn verify(&self) -> Result<()> {
        let Retention { capacity, keep_for } = self.retention;
        let wrong = if !(1..=10_000).contains(&capacity) {
            format!("capacity is {capacity}; give 1 to 10,000 entries")
        } else if !(Duration::from_millis(1)..=days(10_000)).contains(&keep_for) {
            format!("keep_for is {keep_for:?}; give 1 ms to 10,000 days")
        } else if !(128..=65_536).contains(&self.max_entry) {
            format!("max_entry is {}; give 128 to 65,536 bytes", self.max_entry)
        } else {
            return Ok(());
        };
        Err(Error::invalid(format!("the action log's {wrong}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_setting_that_cannot_work() {
        let config = ActionLogConfig::new;
        for (config, name) in [
            (config().capacity(0), "capacity"),
            (config().capacity(10_001), "capacity"),
            (config().keep_for(Duration::ZERO), "keep_for"),
            (config().keep_for(Duration::MAX), "keep_for"),
            (config().max_entry(127), "max_entry"),
        ] {
            let error = config.verify().expect_err(name);
            assert!(error.is_invalid() && error.to_string().contains(name), "{error}");
        }
        assert!(config().capacity(10_000).keep_for(Duration::from_millis(1)).max_entry(65_536).verify().is_ok());
    }
}
