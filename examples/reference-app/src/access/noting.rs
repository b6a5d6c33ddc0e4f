//! When keys were used, noted beside the requests.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;

use crate::database::api_keys::ApiKeys;

/// The keys whose use is being noted right now: many requests at once are one note.
#[derive(Clone, Debug, Default)]
pub(super) struct Noting(Arc<Mutex<HashSet<i64>>>);

impl Noting {
    /// Notes it beside the request, which does not wait; a note that is lost is made good by the next use.
    pub(super) fn note(&self, keys: &ApiKeys, id: i64, now: Timestamp) {
        if !self.locked(|noting| noting.insert(id)) {
            return;
        }
        let (this, keys) = (self.clone(), keys.clone());
        tokio::spawn(async move {
            if let Err(error) = keys.note_use(id, now).await {
                tracing::debug!(%error, "when an API key was used is not noted");
            }
            this.locked(|noting| noting.remove(&id));
        });
    }

    fn locked<T>(&self, then: impl FnOnce(&mut HashSet<i64>) -> T) -> T {
        then(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
