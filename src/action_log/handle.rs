//! The handle: what an application calls.

use std::{fmt, sync::Arc, time::Duration};

use super::{Action, ActionLogConfig, ActionStore, Appended, Cleared, Entry, Record, fallback::Fallback};
use crate::{Cx, Error, Result, UserId, background::Background};

/// The users' action logs; from a `Keep` it is `keep.actions()`. Cheap to clone; clones share everything.
///
/// Nothing here asks who is calling: pass the id of the user who is logged in, not one that a request names.
///
/// ```
/// use towerkeep::{Keep, OnOutage as _, action_log::{Action, Appended}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> towerkeep::Result<()> {
/// let keep = Keep::in_memory();
/// let log = keep.actions();
/// assert_eq!(log.append(42, "login").await?, Appended::Everywhere(1));
///
/// keep.force_outage(true);
/// assert_eq!(log.append(42, Action::new("search")).await?, Appended::Local(1));
/// let seen = log.recent(42, 10).await.on_outage(|| log.pending(42))?;
/// assert_eq!(seen[0].action(), "search");
///
/// keep.force_outage(false);
/// let seen: Vec<_> = log.recent(42, 10).await?.iter().map(|entry| entry.action().to_owned()).collect();
/// assert_eq!(seen, ["search", "login"]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ActionLog {
    pub(super) fallback: Fallback,
    config: ActionLogConfig,
}

/// Actions of one batch.
const LARGEST_BATCH: usize = 100;

impl ActionLog {
    /// Logs in `store`, with the default settings.
    pub fn new(store: impl ActionStore) -> Self {
        Self::over(store, ActionLogConfig::new(), Background::default())
    }

    /// Logs in `store`.
    ///
    /// # Errors
    /// Invalid, naming the setting that cannot work.
    pub fn with_config(store: impl ActionStore, config: ActionLogConfig) -> Result<Self> {
        config.verify()?;
        Ok(Self::over(store, config, Background::default()))
    }

    /// Settings that are known to work, and a queue for what nobody waits for.
    pub(crate) fn over(store: impl ActionStore, config: ActionLogConfig, background: Background) -> Self {
        Self { fallback: Fallback::new(store, config.retention(), background), config }
    }

    /// Puts an action on top of the user's log.
    ///
    /// # Errors
    /// Invalid, when the action is not fit: see [`Record::new`]; or its entry is over 4 KiB (unless set otherwise).
    /// Corrupt, when another program's value is under the key. Unavailable, when the store is down and nothing more can
    /// be held.
    pub async fn append(&self, user: impl fmt::Display, action: impl Into<Action>) -> Result<Appended> {
        self.append_batch(user, [action.into()]).await
    }

    /// Puts 1 to 100 actions on top of the user's log, the last one uppermost: in one command, all or none.
    ///
    /// # Errors
    /// As [`append`](Self::append), and invalid for a batch that is empty or too large. Then nothing was appended.
    pub async fn append_batch<A: Into<Action>>(
        &self,
        user: impl fmt::Display,
        actions: impl IntoIterator<Item = A>,
    ) -> Result<Appended> {
        let mut records = Vec::new();
        for (n, action) in (0u64..).zip(actions.into_iter().take(LARGEST_BATCH + 1)) {
            // Numbered from one random number, of which a batch needs only one.
            let first = records.first().map_or_else(new_id, |first: &Arc<Record>| Ok(first.id()))?;
            records.push(self.record(&action.into(), first.wrapping_add(n))?);
        }
        if !(1..=LARGEST_BATCH).contains(&records.len()) {
            let size = if records.is_empty() { "nothing" } else { "more than that" };
            return Err(Error::invalid(format!("a batch has 1 to {LARGEST_BATCH} actions; this one has {size}")));
        }
        self.fallback.append(&Cx::new(), &UserId::new(user), records).await
    }

    /// The user's newest actions, newest first: at most `limit`, from 1 to the capacity (100 unless set otherwise).
    ///
    /// Entries that other programs wrote and that cannot be read are left out, and counted in
    /// `towerkeep_action_log_skipped_total`; there may then be fewer.
    ///
    /// # Errors
    /// Invalid, when the limit is 0 or over the capacity. Corrupt, when a value of another type is under the key.
    /// Unavailable in an outage: half a log would look like a loss. [`pending`](Self::pending) tells the other half.
    pub async fn recent(&self, user: impl fmt::Display, limit: usize) -> Result<Vec<Entry>> {
        let capacity = self.config.retention().capacity;
        if !(1..=capacity).contains(&limit) {
            return Err(Error::invalid(format!(
                "{limit} entries were asked for; the log keeps {capacity}: ask for 1 to {capacity}"
            )));
        }
        self.fallback.recent(&Cx::new(), &UserId::new(user), limit).await
    }

    /// What this instance holds of the user's log until the store is back, newest first; mostly nothing.
    pub fn pending(&self, user: impl fmt::Display) -> Vec<Entry> {
        self.fallback.pending(&UserId::new(user))
    }

    /// Empties the user's log. What is appended from now on stays; what was appended before does not come back, not
    /// even what an outage held in another instance.
    ///
    /// # Errors
    /// Unavailable, when the store is down and nothing more can be held.
    pub async fn clear(&self, user: impl fmt::Display) -> Result<Cleared> {
        self.fallback.clear(&Cx::new(), &UserId::new(user)).await
    }

    /// Brings what is held into the store, at most `within`, and says once what was not brought in.
    pub(crate) async fn close(&self, within: Duration) {
        // Whether it ended in time is seen by what is left.
        tokio::time::timeout(within, self.fallback.tell_to_the_end()).await.ok();
        let users = self.fallback.users_held();
        if users > 0 {
            tracing::warn!(users, "entries of action logs that an outage held end with this process");
        }
    }

    fn record(&self, action: &Action, id: u64) -> Result<Arc<Record>> {
        let (record, largest) = (Record::new(action, id)?, self.config.largest_entry());
        if record.size() > largest {
            return Err(Error::invalid(format!(
                "an entry of {} bytes is over the limit of {largest}; say less, or set max_entry",
                record.size()
            )));
        }
        Ok(Arc::new(record))
    }
}

fn new_id() -> Result<u64> {
    getrandom::u64().map_err(|_| Error::unavailable("the system has no random numbers"))
}

impl fmt::Debug for ActionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActionLog").field("config", &self.config).field("fallback", &self.fallback).finish()
    }
}
