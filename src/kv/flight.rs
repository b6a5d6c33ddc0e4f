//! One look-up and one computation at a time for each key of this process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::OnceCell;

/// What somebody waits for, by key.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<String, Arc<OnceCell<Bytes>>>>);

impl Flights {
    /// Joins the flight of `key`, or begins one. Its cell lets one caller at a time work: a second one goes on where the
    /// first failed or went away.
    pub(super) fn board(&self, key: &str) -> Seat<'_> {
        let cell = Arc::clone(self.lock().entry(key.to_owned()).or_default());
        Seat { flights: self, key: key.to_owned(), cell }
    }

    /// Ends the flight of `key` for those who come later: what it brings is older than what they may expect.
    fn end(&self, key: &str) {
        self.lock().remove(key);
    }

    /// Ends the flight of `key` now, for a change that is about to be sent, and again when the change is answered or given up:
    /// who began in between may have asked before it was made.
    pub(super) fn ending<'f>(&'f self, key: &'f str) -> Ending<'f> {
        self.end(key);
        Ending { flights: self, key }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<OnceCell<Bytes>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change under way.
pub(super) struct Ending<'f> {
    flights: &'f Flights,
    key: &'f str,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.flights.end(self.key);
    }
}

/// A place in a flight. The first to leave one that has landed ends it, so that who comes later looks anew; the last to
/// leave one that has not ends it too.
pub(super) struct Seat<'f> {
    flights: &'f Flights,
    key: String,
    pub(super) cell: Arc<OnceCell<Bytes>>,
}

impl Seat<'_> {
    /// Whether nothing has ended the flight meanwhile.
    pub(super) fn is_current(&self) -> bool {
        self.is_in(&self.flights.lock())
    }

    fn is_in(&self, flights: &HashMap<String, Arc<OnceCell<Bytes>>>) -> bool {
        flights.get(&self.key).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell))
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        // Seats are taken under the lock: the map's and mine are all there are, if I am the last.
        let is_over = self.cell.initialized() || Arc::strong_count(&self.cell) == 2;
        if is_over && self.is_in(&flights) {
            flights.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_landed_flight_ends_with_the_first_who_leaves() {
        let flights = Flights::default();
        let (first, second) = (flights.board("a"), flights.board("a"));
        assert!(Arc::ptr_eq(&first.cell, &second.cell));
        first.cell.set(Bytes::from_static(b"1")).expect("empty");
        drop(first);
        let third = flights.board("a");
        assert!(third.cell.get().is_none() && second.cell.get().is_some());
        drop((second, third));
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn a_flight_that_never_landed_ends_with_the_last_who_leaves() {
        let flights = Flights::default();
        let (first, second) = (flights.board("a"), flights.board("a"));
        drop(first);
        assert!(Arc::ptr_eq(&flights.board("a").cell, &second.cell));
        drop(second);
        assert!(flights.lock().is_empty());
    }
}
