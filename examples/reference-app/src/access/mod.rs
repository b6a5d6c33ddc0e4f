//! API keys: `Authorization: Bearer tk_<prefix>_<secret>` in place of a session.
//!
//! 1. [`Guard`] stands inside of the session layer and outside of every route's limit and cache: what a cache holds is
//!    refused too, and per-user limits and caches follow the key's user.
//! 2. The OpenAPI document says which operations take a key and which scopes they ask for; an operation that says
//!    nothing of keys is closed to them, and so is a route that is not in the document.
//! 3. A key that is wrong, expired or revoked is a 401 on every route, public ones too: its owner wants to know.

mod guard;
mod key;
mod noting;
mod operations;
mod sent;

use axum::http::StatusCode;

use crate::{problem::Problem, state::AppState};

pub(crate) use guard::Guard;
pub(crate) use key::ApiKey;

/// In the extensions of a request that came with a key: what only administrators may do is done with a session.
///
/// Handlers that give administrators more take `Option<Extension<ByKey>>`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByKey;

/// What a key can be allowed; each user decides for each of their keys.
pub(crate) const SCOPES: [&str; 15] = [
    "actions:read",
    "actions:write",
    "analytics:read",
    "bookmarks:read",
    "bookmarks:write",
    "challenges:read",
    "challenges:write",
    "items:read",
    "items:write",
    "recommendations:read",
    "search:read",
    "tasks:read",
    "tasks:write",
    "uploads:read",
    "uploads:write",
];

/// Refuses everybody but administrators with 403: `what` is for them.
pub(crate) async fn administrators_only(state: &AppState, user: i64, what: &str) -> Result<(), Problem> {
    if state.users.find(user).await?.is_some_and(|user| user.is_admin) {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, format!("{what} is for administrators who are logged in")))
}
