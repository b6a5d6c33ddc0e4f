//! What every handler can reach, and how a change is carried through.

use std::future::Future;

use axum::extract::FromRef;
use towerkeep::prelude::*;
use tracing::Instrument;

use crate::{
    database::{Database, bookmarks::Bookmarks, users::Users},
    health::Probe,
    password::Passwords,
    problem::Problem,
};

#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) keep: Keep,
    pub(crate) database: Database,
    pub(crate) users: Users,
    pub(crate) bookmarks: Bookmarks,
    pub(crate) passwords: Passwords,
    pub(crate) probe: Probe,
}

impl AppState {
    pub(crate) fn new(keep: Keep, database: Database, passwords: Passwords) -> Self {
        let (users, bookmarks) = (Users::new(database.clone()), Bookmarks::new(database.clone()));
        Self { keep, database, users, bookmarks, passwords, probe: Probe::new() }
    }
}

impl FromRef<AppState> for Keep {
    fn from_ref(state: &AppState) -> Self {
        state.keep.clone()
    }
}

/// Runs a change to its end even if the client leaves: what was committed must also be purged from the cache.
pub(crate) async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let running = tokio::spawn(change.in_current_span());
    running.await.unwrap_or_else(|error| Err(Problem::internal(&error)))
}
