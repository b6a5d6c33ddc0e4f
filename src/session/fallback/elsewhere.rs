//! What becomes of copies when sessions end on other instances.

use super::{FallbackSessionStore, SessionFallback};
use crate::{
    Cx,
    session::{
        SessionId, SessionStore,
        replay::{BATCH, has_lost_data},
    },
};

impl FallbackSessionStore {
    /// A session was ended on another instance, and the store knows.
    pub(in crate::session) fn heard_of_ending(&self, id: SessionId) {
        let now = self.now(&Cx::new());
        if self.local().heard_of_ending(id, now) {
            SessionFallback::Dropped.count();
        }
    }

    /// Some endings may not have been heard of: asks the store for the copies, forgets those of sessions that are gone,
    /// and takes note of newer states. Where the store is away, or has lost its data, the copies stay.
    pub(in crate::session) async fn look_again(&self, cx: &Cx) {
        let now = self.now(cx);
        let unsure = self.local().unconfirmed_since(now);
        for batch in unsure.chunks(BATCH) {
            let loads: Vec<_> = batch.iter().map(|id| self.0.store.load(cx, *id)).collect();
            let mut gone = Vec::new();
            for (id, load) in batch.iter().zip(loads) {
                match load.await {
                    Ok(None) => gone.push(*id),
                    Ok(Some(stored)) => self.local().confirm(&stored, now),
                    Err(error) if error.is_unavailable() => return,
                    Err(_) => {}
                }
            }
            // Asked after they were found missing: had they been lost before, it would say so.
            if !gone.is_empty() && has_lost_data(&*self.0.store, cx).await.unwrap_or(true) {
                return;
            }
            gone.into_iter().for_each(|id| self.local().forget(id));
        }
    }
}
