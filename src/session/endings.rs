//! Who waits for the end of a session, and how a store tells them.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU8, Ordering::Relaxed},
};

use tokio::sync::broadcast;

use super::SessionId;

/// Endings that wait for a listener who is slow; then it looks for itself.
const QUEUE: usize = 1_024;

/// What listeners are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Ended(SessionId),
    /// Something may have been missed.
    Gap,
}

/// Where a store tells of sessions that have ended, on whatever instance.
///
/// It does not keep its listeners alive: once `tell` or `gap` answers `false`, nobody listens any more.
#[derive(Clone, Debug)]
pub struct Endings(Weak<broadcast::Sender<Told>>);

impl Endings {
    /// This session has ended; whether anybody may still want to hear of others.
    pub fn tell(&self, id: SessionId) -> bool {
        self.send(Told::Ended(id))
    }

    /// Endings may have been missed: whoever waits looks for itself. Whether anybody may still want to hear of others.
    pub fn gap(&self) -> bool {
        self.send(Told::Gap)
    }

    fn send(&self, told: Told) -> bool {
        let Some(listeners) = self.0.upgrade() else { return false };
        // An error says that nobody waits just now.
        let _ = listeners.send(told);
        true
    }
}

/// Those who wait in this process.
pub(super) struct Waiting {
    listeners: Arc<broadcast::Sender<Told>>,
    /// Whether the store was asked to tell, and whether it does.
    asked: AtomicU8,
}

const UNASKED: u8 = 0;
const SILENT: u8 = 1;
const TELLING: u8 = 2;

impl Default for Waiting {
    fn default() -> Self {
        Self { listeners: Arc::new(broadcast::channel(QUEUE).0), asked: AtomicU8::new(UNASKED) }
    }
}

impl Waiting {
    pub(super) fn listen(&self) -> broadcast::Receiver<Told> {
        self.listeners.subscribe()
    }

    pub(super) fn announce(&self, id: SessionId) {
        // An error says that nobody waits.
        let _ = self.listeners.send(Told::Ended(id));
    }

    /// Whether the store tells of endings; it is asked to when somebody waits for the first time.
    pub(super) fn is_told(&self, ask: impl FnOnce(Endings) -> bool) -> bool {
        match self.asked.compare_exchange(UNASKED, SILENT, Relaxed, Relaxed) {
            Ok(_) => {
                let tells = ask(Endings(Arc::downgrade(&self.listeners)));
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
        let mut listener = waiting.listen();
        assert!(endings.tell(id) && endings.gap());
        assert_eq!(listener.try_recv(), Ok(Told::Ended(id)));
        assert_eq!(listener.try_recv(), Ok(Told::Gap));
        drop(waiting);
        assert!(!endings.tell(id));
    }
}
