//! `/api/v1/auth/sessions`: where a user is logged in, and an end to it.
//!
//! While Redis is down nobody can tell where else a user is logged in: 503, until it is back. A session that this
//! instance knows can still be ended.

use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use towerkeep::{
    prelude::*,
    session::{SessionId, SessionInfo},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::auth;
use crate::{
    page::{ItemId, Page},
    problem::Problem,
    state::AppState,
};

/// More than this are not shown; ending some, or all, shows the others.
const SHOWN: usize = 100;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(end))
}

/// One place where the user is logged in.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Session)]
struct Place {
    id: String,
    /// What the browser called itself at login.
    device: Option<String>,
    created_at: Timestamp,
    /// Exact to an hour or so.
    last_seen_at: Timestamp,
    /// When it ends unless it is used again.
    expires_at: Timestamp,
    /// Whether it is the one that asks.
    current: bool,
}

impl Place {
    fn new(info: SessionInfo, current: Option<SessionId>) -> Self {
        let [created_at, last_seen_at, expires_at] = [info.created, info.last_seen, info.expires].map(time);
        let current = current == Some(info.id);
        Self { id: info.id.to_string(), device: info.device, created_at, last_seen_at, expires_at, current }
    }
}

fn time(unix_seconds: u64) -> Timestamp {
    i64::try_from(unix_seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(Timestamp::MAX)
}

/// The sessions of this user: the one that asks, then the newest login first; 100 at most.
#[utoipa::path(get, path = "/api/v1/auth/sessions", tag = "auth", security(("session" = [])),
    responses((status = OK, body = Page<Place>)))]
async fn list(
    State(state): State<AppState>,
    session: Session,
    CurrentUser(user): CurrentUser<i64>,
) -> Result<Json<Page<Place>>, Problem> {
    let current = session.id().await?;
    let sessions = state.keep.sessions().list(user).await?;
    let mut places: Vec<_> = sessions.into_iter().map(|info| Place::new(info, current)).collect();
    places.sort_by_key(|place| !place.current);
    places.truncate(SHOWN);
    Ok(Json(Page::whole(places)))
}

/// Ends one session; ending the one that asks is a logout.
#[utoipa::path(delete, path = "/api/v1/auth/sessions/{sid}", tag = "auth", params(("sid" = String, Path)),
    security(("session" = [])), responses((status = NO_CONTENT)))]
async fn end(
    State(state): State<AppState>,
    session: Session,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(id): ItemId<SessionId>,
) -> Result<StatusCode, Problem> {
    if session.id().await? == Some(id) {
        auth::end(&state, &session, Some(user)).await?;
    } else if !state.keep.sessions().revoke(user, &id).await? {
        return Err(Problem::not_found());
    }
    Ok(StatusCode::NO_CONTENT)
}
