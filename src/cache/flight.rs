//! One lookup and one fill at a time for each URL: the first request leads, the others wait for what it gets.

use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::{sync::watch, time::Instant};

use super::{Entry, Place, outcome::Answered};

/// How a flight ended.
#[derive(Clone, Debug)]
pub(crate) enum Landing {
    Flying,
    /// A response for everybody whose request matches its variant.
    Shared(Arc<Entry>, Source),
    /// The answer may not be shared: everybody asks the handler.
    Alone,
    /// The store is unavailable: everybody asks the handler.
    Unavailable,
    /// The leader went away, or what it got was purged meanwhile: somebody else leads.
    Gone,
}

/// Where a shared response is from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Store,
    Handler,
    /// From the store, though it is stale, because the handler has failed.
    Rescue(Answered),
}

/// The flights of one cache, in 16 parts so that locks seldom meet.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    parts: [Mutex<HashMap<Place, Flight>>; 16],
    last: AtomicU64,
}

/// The channel is made by the first who waits: most flights have no passengers.
#[derive(Debug)]
struct Flight {
    id: u64,
    passengers: Option<watch::Sender<Landing>>,
}

pub(crate) enum Boarding {
    Lead(Lead),
    Wait(watch::Receiver<Landing>),
}

impl Flights {
    pub(crate) fn board(self: &Arc<Self>, place: &Place) -> Boarding {
        let mut flights = self.part(place).lock().unwrap_or_else(PoisonError::into_inner);
        match flights.entry(place.clone()) {
            Slot::Occupied(slot) => {
                let sender = slot.into_mut().passengers.get_or_insert_with(|| watch::channel(Landing::Flying).0);
                Boarding::Wait(sender.subscribe())
            }
            Slot::Vacant(slot) => {
                let id = self.last.fetch_add(1, Relaxed);
                slot.insert(Flight { id, passengers: None });
                Boarding::Lead(Lead { flights: Arc::clone(self), place: place.clone(), id })
            }
        }
    }

    /// Ends all flights without a result: who asks after a purge must not get what was under way before it.
    pub(crate) fn scatter(&self) {
        for part in &self.parts {
            let ended = mem::take(&mut *part.lock().unwrap_or_else(PoisonError::into_inner));
            // Dropping the senders wakes the waiting, outside of the lock.
            drop(ended);
        }
    }

    fn part(&self, place: &Place) -> &Mutex<HashMap<Place, Flight>> {
        &self.parts[usize::from(place.url()[0] & 15)]
    }
}

/// The duty to end a flight; dropped without a word it ends as gone.
#[derive(Debug)]
pub(crate) struct Lead {
    flights: Arc<Flights>,
    place: Place,
    id: u64,
}

impl Lead {
    pub(crate) fn land(self, landing: Landing) {
        self.end(landing);
    }

    /// Nobody boards any more. Those who have are told how it ends by [`Passengers::land`].
    pub(crate) fn close(self) -> Passengers {
        self.leave()
    }

    fn end(&self, landing: Landing) {
        self.leave().land(landing);
    }

    fn leave(&self) -> Passengers {
        let mut flights = self.flights.part(&self.place).lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours = flights.get(&self.place).is_some_and(|flight| flight.id == self.id);
        let flight = if is_ours { flights.remove(&self.place) } else { None };
        Passengers(flight.and_then(|flight| flight.passengers))
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.end(Landing::Gone);
    }
}

/// Who waits for a flight that nobody boards any more; dropped without a word it ends as gone.
#[derive(Debug)]
pub(crate) struct Passengers(Option<watch::Sender<Landing>>);

impl Passengers {
    pub(crate) fn land(self, landing: Landing) {
        if let Some(sender) = self.0 {
            sender.send_replace(landing);
        }
    }
}

/// Waits until the flight ends; `None` past the deadline.
pub(crate) async fn landed(mut passenger: watch::Receiver<Landing>, deadline: Instant) -> Option<Landing> {
    let landing = passenger.wait_for(|landing| !matches!(landing, Landing::Flying));
    match tokio::time::timeout_at(deadline, landing).await {
        Err(_) => None,
        Ok(landing) => Some(landing.map_or(Landing::Gone, |landing| landing.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn place(n: u8) -> Place {
        Place::new("a", None, [n; 16])
    }

    fn lead(flights: &Arc<Flights>, n: u8) -> Lead {
        match flights.board(&place(n)) {
            Boarding::Lead(lead) => lead,
            Boarding::Wait(_) => panic!("somebody leads already"),
        }
    }

    fn wait(flights: &Arc<Flights>, n: u8) -> impl Future<Output = Option<Landing>> + use<> {
        match flights.board(&place(n)) {
            Boarding::Lead(_) => panic!("nobody leads"),
            Boarding::Wait(passenger) => landed(passenger, Instant::now() + Duration::from_secs(2)),
        }
    }

    #[tokio::test]
    async fn the_second_waits_for_the_first() {
        let flights = Arc::new(Flights::default());
        let first = lead(&flights, 1);
        let waiting = wait(&flights, 1);
        let _other_url = lead(&flights, 2);
        first.land(Landing::Alone);
        assert!(matches!(waiting.await, Some(Landing::Alone)));
        lead(&flights, 1);
    }

    #[tokio::test]
    async fn who_asks_after_the_end_of_boarding_leads() {
        let flights = Arc::new(Flights::default());
        let first = lead(&flights, 1);
        let waiting = [wait(&flights, 1), wait(&flights, 1)];
        let passengers = first.close();
        let second = lead(&flights, 1);
        passengers.land(Landing::Alone);
        for waiting in waiting {
            assert!(matches!(waiting.await, Some(Landing::Alone)));
        }
        let waiting = wait(&flights, 1);
        drop(second.close());
        assert!(matches!(waiting.await, Some(Landing::Gone)));
    }

    #[tokio::test]
    async fn a_leader_that_goes_away_leaves_the_place_free() {
        let flights = Arc::new(Flights::default());
        let first = lead(&flights, 1);
        let waiting = wait(&flights, 1);
        drop(first);
        assert!(matches!(waiting.await, Some(Landing::Gone)));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_without_a_deadline() {
        let flights = Arc::new(Flights::default());
        let _first = lead(&flights, 1);
        assert!(wait(&flights, 1).await.is_none());
    }

    #[tokio::test]
    async fn a_scattered_flight_does_not_end_its_successor() {
        let flights = Arc::new(Flights::default());
        let old = lead(&flights, 1);
        let before = wait(&flights, 1);
        flights.scatter();
        assert!(matches!(before.await, Some(Landing::Gone)));
        let new = lead(&flights, 1);
        let after = wait(&flights, 1);
        old.land(Landing::Unavailable);
        new.land(Landing::Alone);
        assert!(matches!(after.await, Some(Landing::Alone)));
    }
}
