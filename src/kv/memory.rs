//! Plain values in this process.

use std::{fmt, time::Duration};

use bytes::Bytes;

use super::KvStore;
use crate::{Cx, StoreFuture, clock::Clock, expiring::Shelf, store::OutageSwitch};

/// Keeps values in this process; clones share them.
///
/// Holds a bounded number of bytes. Over it, what has ended goes first and then what ends soonest.
///
/// ```
/// use towerkeep::{clock::{ManualClock, Timestamp, minutes}, kv::{Kv, MemoryKvStore}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let time = ManualClock::at(Timestamp::from_micros(0));
/// let kv = Kv::new(MemoryKvStore::new(time.clock()));
/// kv.set("code", &1234, minutes(1)).await.unwrap();
/// time.advance(minutes(1));
/// assert_eq!(kv.get::<u32>("code").await.unwrap(), None);
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryKvStore(Shelf);

const MAX_BYTES: usize = 64 * 1024 * 1024;

impl MemoryKvStore {
    /// An empty store that takes the time from `clock`.
    pub fn new(clock: Clock) -> Self {
        Self(Shelf::new(clock, MAX_BYTES))
    }

    /// Holds about so many bytes, keys included. Defaults to 64 MiB.
    #[must_use]
    pub fn max_bytes(self, bytes: usize) -> Self {
        self.0.resize(bytes);
        self
    }

    /// Refuses every verb while `switch` is on.
    #[must_use]
    pub fn outage(self, switch: OutageSwitch) -> Self {
        Self(self.0.outage(switch))
    }
}

impl KvStore for MemoryKvStore {
    fn load(&self, cx: &Cx, key: &str) -> StoreFuture<Option<Bytes>> {
        self.0.verb(cx, |values, now| values.get(key, now))
    }

    fn save(&self, cx: &Cx, key: &str, value: Bytes, ttl: Duration) -> StoreFuture<()> {
        self.0.verb(cx, |values, now| values.insert(key, value, ttl, now))
    }

    fn save_if_absent(&self, cx: &Cx, key: &str, value: Bytes, ttl: Duration) -> StoreFuture<bool> {
        self.0.verb(cx, |values, now| {
            let is_absent = values.get(key, now).is_none();
            if is_absent {
                values.insert(key, value, ttl, now);
            }
            is_absent
        })
    }

    fn delete(&self, cx: &Cx, key: &str) -> StoreFuture<bool> {
        self.0.verb(cx, |values, now| values.remove(key, now).is_some())
    }
}

impl fmt::Debug for MemoryKvStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKvStore").field("values", &self.0.len()).finish_non_exhaustive()
    }
}
