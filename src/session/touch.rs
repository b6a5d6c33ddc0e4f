//! Telling the store that a session is used: seldom, in the background, once per session at a time.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use super::{SessionId, SessionStore};
use crate::{Cx, background::Background};

/// Which sessions are being touched, and the queue that does it.
pub(super) struct Touches {
    background: Background,
    store: Arc<dyn SessionStore>,
    under_way: Arc<UnderWay>,
    secrets: [AtomicU32; PLACES],
}

/// Places to count new secrets in: sessions that share one are looked at once too often, and nothing else.
const PLACES: usize = 1_024;

type UnderWay = Mutex<HashSet<SessionId>>;

impl Touches {
    pub(super) fn new(store: Arc<dyn SessionStore>, background: Background) -> Self {
        let secrets = std::array::from_fn(|_| AtomicU32::new(0));
        Self { background, store, under_way: Arc::default(), secrets }
    }

    pub(super) fn background(&self) -> &Background {
        &self.background
    }

    /// Queues a touch; false where one of this session is under way, or there is no place: the session's next request
    /// tries again.
    pub(super) fn push(&self, id: SessionId, generation: u32, at: &Cx) -> bool {
        if !lock(&self.under_way).insert(id) {
            return false;
        }
        // A budget of the request's own is not for work that nobody waits for.
        let cx = at.now().map_or_else(Cx::new, |now| Cx::new().at(now));
        let (store, done) = (Arc::clone(&self.store), Done(Arc::clone(&self.under_way), id));
        self.background.push(async move {
            if let Err(error) = store.touch(&cx, id, generation).await {
                tracing::debug!(%error, "a session was not touched; its next request tries again");
            }
            drop(done);
        })
    }
}

impl Touches {
    /// This instance gave the session a new secret.
    pub(super) fn renewed(&self, id: SessionId) {
        self.place(id).fetch_add(1, SeqCst);
    }

    /// A number that is another one once this instance gave the session a new secret.
    pub(super) fn secrets(&self, id: SessionId) -> u32 {
        self.place(id).load(SeqCst)
    }

    fn place(&self, id: SessionId) -> &AtomicU32 {
        let [a, b, ..] = *id.as_bytes();
        &self.secrets[usize::from(u16::from_ne_bytes([a, b])) % PLACES]
    }
}

/// Ends a touch, also one that was refused or dropped on the way.
struct Done(Arc<UnderWay>, SessionId);

impl Drop for Done {
    fn drop(&mut self) {
        lock(&self.0).remove(&self.1);
    }
}

fn lock(under_way: &UnderWay) -> MutexGuard<'_, HashSet<SessionId>> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}
