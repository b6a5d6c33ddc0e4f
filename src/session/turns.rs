//! Writers of one session in one process, one after another, once they have collided.

use std::time::Duration;

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::SessionId;

/// Places for turns: sessions that share one wait for each other, which costs time and nothing else.
const PLACES: usize = 1_024;
/// Nobody waits longer: where the store is slow, a line that grows faster than it moves would never end.
const PATIENCE: Duration = Duration::from_millis(500);

/// A turn per session. Who has collided takes one before the next try, and who finds it taken waits for it, so that of n
/// writers in this process one is under way and the others wait here, and not in a race that all but one lose.
pub(super) struct Turns([Semaphore; PLACES]);

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Semaphore::new(1)))
    }
}

impl Turns {
    /// Whether somebody has the turn, so that a write without it would likely be in vain.
    pub(super) fn is_taken(&self, id: SessionId) -> bool {
        self.of(id).available_permits() == 0
    }

    /// The turn; nothing where it does not come in time, and the write goes on without it.
    pub(super) async fn take(&self, id: SessionId) -> Option<SemaphorePermit<'_>> {
        timeout(PATIENCE, self.of(id).acquire()).await.ok()?.ok()
    }

    fn of(&self, id: SessionId) -> &Semaphore {
        let [a, b, ..] = *id.as_bytes();
        &self.0[usize::from(u16::from_ne_bytes([a, b])) % PLACES]
    }
}
