//! Tokens in this process.

use std::{fmt, time::Duration};

use bytes::Bytes;

use super::{TokenDigest, TokenStore};
use crate::{Cx, StoreFuture, clock::Clock, expiring::Shelf, key::Keyspace, store::OutageSwitch};

/// Keeps tokens in this process; clones share them.
///
/// Holds a bounded number of bytes. Over it, what has ended goes first and then what ends soonest.
///
/// ```
/// use towerkeep::{clock::{ManualClock, Timestamp, minutes}, token::{Grant, MemoryTokenStore, Tokens}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let time = ManualClock::at(Timestamp::from_micros(0));
/// let tokens = Tokens::new(MemoryTokenStore::new(time.clock()));
/// let token = tokens.issue("download", Grant::anyone()).await.unwrap();
/// time.advance(minutes(15));
/// assert!(tokens.redeem("download", token.secret()).await.unwrap().is_none());
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryTokenStore {
    shelf: Shelf,
    keys: Keyspace,
}

const MAX_BYTES: usize = 16 * 1024 * 1024;

impl MemoryTokenStore {
    /// An empty store that takes the time from `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { shelf: Shelf::new(clock, MAX_BYTES), keys: Keyspace::default() }
    }

    /// Holds about so many bytes. Defaults to 16 MiB, some 40,000 tokens without data.
    #[must_use]
    pub fn max_bytes(self, bytes: usize) -> Self {
        self.shelf.resize(bytes);
        self
    }

    /// Refuses every verb while `switch` is on.
    #[must_use]
    pub fn outage(mut self, switch: OutageSwitch) -> Self {
        self.shelf = self.shelf.outage(switch);
        self
    }

    fn key(&self, purpose: &str, digest: &TokenDigest) -> String {
        self.keys.token(purpose, digest.as_str())
    }
}

impl TokenStore for MemoryTokenStore {
    fn keep(&self, cx: &Cx, purpose: &str, digest: &TokenDigest, grant: Bytes, ttl: Duration) -> StoreFuture<()> {
        let key = self.key(purpose, digest);
        self.shelf.verb(cx, |values, now| values.insert(&key, grant, ttl, now))
    }

    fn peek(&self, cx: &Cx, purpose: &str, digest: &TokenDigest) -> StoreFuture<Option<Bytes>> {
        let key = self.key(purpose, digest);
        self.shelf.verb(cx, |values, now| values.get(&key, now))
    }

    fn take(&self, cx: &Cx, purpose: &str, digest: &TokenDigest) -> StoreFuture<Option<Bytes>> {
        let key = self.key(purpose, digest);
        self.shelf.verb(cx, |values, now| values.remove(&key, now))
    }

    fn revoke(&self, cx: &Cx, purpose: &str, digest: &TokenDigest) -> StoreFuture<bool> {
        let key = self.key(purpose, digest);
        self.shelf.verb(cx, |values, now| values.remove(&key, now).is_some())
    }
}

impl fmt::Debug for MemoryTokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTokenStore").field("tokens", &self.shelf.len()).finish_non_exhaustive()
    }
}
