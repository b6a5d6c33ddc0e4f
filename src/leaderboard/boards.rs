//! All boards of a store.

use std::{any::Any, fmt, sync::Arc};

use super::{Leaderboard, LeaderboardStore, Name, rebuilds::Rebuilds};
use crate::background::Background;

/// All boards of one store; `keep.leaderboard(name)` is a board of the keep's own.
#[derive(Clone)]
pub struct Leaderboards {
    pub(super) store: Arc<dyn LeaderboardStore>,
    pub(super) rebuilds: Rebuilds,
    /// What must live as long as this does.
    kept: Option<Arc<dyn Any + Send + Sync>>,
}

impl Leaderboards {
    /// Boards in `store`.
    pub fn new(store: impl LeaderboardStore) -> Self {
        let store: Arc<dyn LeaderboardStore> = Arc::new(store);
        Self { rebuilds: Rebuilds::new(Arc::clone(&store), Background::default()), store, kept: None }
    }

    /// Rebuilds boards in this queue.
    pub(crate) fn background(mut self, background: Background) -> Self {
        self.rebuilds = Rebuilds::new(Arc::clone(&self.store), background);
        self
    }

    #[cfg(feature = "redis")]
    pub(super) fn rebuilds(&self) -> &Rebuilds {
        &self.rebuilds
    }

    #[cfg(feature = "redis")]
    pub(super) fn keep_alive(mut self, kept: Arc<dyn Any + Send + Sync>) -> Self {
        self.kept = Some(kept);
        self
    }

    /// The board of this name, by the default rules until its setters are called.
    pub fn board(&self, name: impl Into<Name>) -> Leaderboard {
        Leaderboard::new(self.clone(), name.into())
    }
}

impl fmt::Debug for Leaderboards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaderboards").finish_non_exhaustive()
    }
}
