//! Telling the store that a session is used: seldom, in the background, once per session at a time.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{SessionId, SessionStore};
use crate::{Cx, background::Background};

/// Which sessions are being touched, and the queue that does it.
pub(super) struct Touches {
    background: Background,
    store: Arc<dyn SessionStore>,
    under_way: Arc<UnderWay>,
}

type UnderWay = Mutex<HashSet<SessionId>>;

impl Touches {
    pub(super) fn new(store: Arc<dyn SessionStore>, background: Background) -> Self {
        Self { background, store, under_way: Arc::default() }
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
