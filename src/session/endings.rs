//! Who waits for the end of a session, and how a store tells them.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
};

use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::SessionId;

/// How many of those who wait look into the store at once, as after a gap.
const LOOKS: usize = 64;

/// What a waiter is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Ended,
    /// The end may have been missed.
    Gap,
}

/// Where a store tells of sessions that have ended, on whatever instance.
///
/// It does not keep its listeners alive: once `tell` or `gap` answers `false`, nobody listens any more.
#[derive(Clone, Debug)]
pub struct Endings(Weak<Waiters>);

impl Endings {
    /// This session has ended; whether anybody may still want to hear of others.
    pub fn tell(&self, id: SessionId) -> bool {
        self.0.upgrade().is_some_and(|waiters| {
            waiters.tell(id);
            true
        })
    }

    /// Endings may have been missed: whoever waits looks for itself. Whether anybody may still want to hear of others.
    pub fn gap(&self) -> bool {
        self.0.upgrade().is_some_and(|waiters| {
            waiters.gap();
            true
        })
    }
}

/// By session, those who wait for its end: an ending of another wakes none of them.
#[derive(Default)]
struct Waiters(Mutex<HashMap<SessionId, watch::Sender<Option<Told>>>>);

impl Waiters {
    fn by_session(&self) -> MutexGuard<'_, HashMap<SessionId, watch::Sender<Option<Told>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, id: SessionId) {
        if let Some(waiting) = self.by_session().remove(&id) {
            waiting.send_replace(Some(Told::Ended));
        }
    }

    fn gap(&self) {
        for waiting in self.by_session().values() {
            waiting.send_replace(Some(Told::Gap));
        }
    }
}

impl fmt::Debug for Waiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiters").field("sessions", &self.by_session().len()).finish()
    }
}

/// One who waits for the end of a session; dropped, nothing is left of it.
pub(super) struct Waiter {
    waiters: Arc<Waiters>,
    id: SessionId,
    /// Taken when it is dropped.
    told: Option<watch::Receiver<Option<Told>>>,
}

impl Waiter {
    /// What is told next. Once the session has ended that is all that is told.
    pub(super) async fn told(&mut self) -> Told {
        let told = self.told.as_mut().expect("there until it is dropped");
        // Without its sender it was told to have ended.
        let is_news = told.changed().await.is_ok();
        let told = *told.borrow_and_update();
        told.filter(|_| is_news).unwrap_or(Told::Ended)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut by_session = self.waiters.by_session();
        self.told = None;
        if by_session.get(&self.id).is_some_and(|waiting| waiting.receiver_count() == 0) {
            by_session.remove(&self.id);
        }
    }
}

/// Those who wait in this process.
pub(super) struct Waiting {
    waiters: Arc<Waiters>,
    looks: Semaphore,
    /// Whether the store was asked to tell, and whether it does.
    asked: AtomicU8,
}

const UNASKED: u8 = 0;
const SILENT: u8 = 1;
const TELLING: u8 = 2;

impl Default for Waiting {
    fn default() -> Self {
        Self { waiters: Arc::default(), looks: Semaphore::new(LOOKS), asked: AtomicU8::new(UNASKED) }
    }
}

impl Waiting {
    pub(super) fn wait_for(&self, id: SessionId) -> Waiter {
        let mut by_session = self.waiters.by_session();
        let told = by_session.entry(id).or_insert_with(|| watch::channel(None).0).subscribe();
        Waiter { waiters: Arc::clone(&self.waiters), id, told: Some(told) }
    }

    /// A turn to look into the store, held while looking.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        self.looks.acquire().await.expect("never closed")
    }

    pub(super) fn announce(&self, id: SessionId) {
        self.waiters.tell(id);
    }

    /// Whether the store tells of endings; it is asked to when somebody waits for the first time.
    pub(super) fn is_told(&self, ask: impl FnOnce(Endings) -> bool) -> bool {
        match self.asked.compare_exchange(UNASKED, SILENT, Relaxed, Relaxed) {
            Ok(_) => {
                let tells = ask(Endings(Arc::downgrade(&self.waiters)));
                if tells {
                    self.asked.store(TELLING, Relaxed);
                }
                tells
            }
            Err(asked) => asked == TELLING,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready_eq, task};

    use super::*;

    #[test]
    fn the_store_is_asked_once_and_hears_when_nobody_is_left() {
        let waiting = Waiting::default();
        let mut kept = None;
        assert!(waiting.is_told(|endings| {
            kept = Some(endings);
            true
        }));
        assert!(waiting.is_told(|_| panic!("asked again")));
        let (endings, id) = (kept.expect("asked"), SessionId::random());
        let mut waiter = waiting.wait_for(id);
        assert!(endings.gap());
        assert_ready_eq!(task::spawn(waiter.told()).poll(), Told::Gap);
        assert!(endings.tell(id));
        assert_ready_eq!(task::spawn(waiter.told()).poll(), Told::Ended);
        drop((waiting, waiter));
        assert!(!endings.tell(id) && !endings.gap());
    }

    #[test]
    fn an_ending_wakes_those_who_wait_for_it_and_nobody_else() {
        let waiting = Waiting::default();
        let (one, other) = (SessionId::random(), SessionId::random());
        let mut waiters = [one, one, other].map(|id| waiting.wait_for(id));
        let [first, second, third] = &mut waiters;
        let mut told = [task::spawn(first.told()), task::spawn(second.told()), task::spawn(third.told())];
        told.iter_mut().for_each(|told| assert_pending!(told.poll()));
        waiting.announce(one);
        assert_eq!(told.each_ref().map(task::Spawn::is_woken), [true, true, false]);
        assert_ready_eq!(told[0].poll(), Told::Ended);
        assert_ready_eq!(told[1].poll(), Told::Ended);
        assert_pending!(told[2].poll());
    }

    #[test]
    fn what_is_no_longer_waited_for_leaves_nothing_behind() {
        let waiting = Waiting::default();
        let id = SessionId::random();
        let (first, second) = (waiting.wait_for(id), waiting.wait_for(id));
        drop(first);
        assert_eq!(waiting.waiters.by_session().len(), 1);
        // Told, and waited for anew: the late drop of one is not the end of the other.
        waiting.announce(id);
        let mut third = waiting.wait_for(id);
        drop(second);
        assert_eq!(waiting.waiters.by_session().len(), 1);
        waiting.announce(id);
        assert_ready_eq!(task::spawn(third.told()).poll(), Told::Ended);
        drop(third);
        assert!(waiting.waiters.by_session().is_empty());
    }
}
