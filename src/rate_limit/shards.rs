//! Tables of clients in parts, each behind its own lock, so that clients seldom wait for each other.

use std::{
    array::from_fn,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::KeyValue;

/// All of a client lives in one part: one lock makes a decision about it atomic.
pub(super) const SHARDS: usize = 16;

/// The parts, chosen by a keyed hash that clients cannot guess.
pub(super) struct Shards<T> {
    parts: [Mutex<T>; SHARDS],
    hasher: RandomState,
}

impl<T> Shards<T> {
    pub(super) fn hash(&self, key: &KeyValue) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The part of a client.
    pub(super) fn of(&self, key: &KeyValue) -> MutexGuard<'_, T> {
        self.at(self.hash(key))
    }

    /// The part of a client whose [`hash`](Self::hash) is known. Its bits are none that a table of such hashes uses
    /// itself, whose places are by the lowest ones and whose tags by the highest seven.
    pub(super) fn at(&self, hash: u64) -> MutexGuard<'_, T> {
        lock(&self.parts[(hash >> 52) as usize % SHARDS])
    }

    /// What `count` says of all parts together, one after the other.
    pub(super) fn sum(&self, count: impl Fn(&T) -> usize) -> usize {
        self.parts.iter().map(|part| count(&lock(part))).sum()
    }
}

impl<T: Default> Default for Shards<T> {
    fn default() -> Self {
        Self { parts: from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }
}

/// A panic elsewhere leaves the tables right: no code of the application runs under a lock.
fn lock<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
