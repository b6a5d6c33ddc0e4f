//! Writers of one session in one process, one after another, once they have collided.

use tokio::sync::{Semaphore, SemaphorePermit};

use super::SessionId;

/// Places for turns: sessions that share one wait for each other, which costs time and nothing else.
const PLACES: usize = 64;

/// A turn per session. Who has collided takes one before the next try, so that of n writers in this process one is
/// under way and the others wait here, and not in a race that all but one lose.
pub(super) struct Turns([Semaphore; PLACES]);

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Semaphore::new(1)))
    }
}

impl Turns {
    pub(super) async fn take(&self, id: SessionId) -> Option<SemaphorePermit<'_>> {
        let place = usize::from(id.as_bytes()[0]) % PLACES;
        // Never closed: there is always a turn to come.
        self.0[place].acquire().await.ok()
    }
}
