//! `/api/v1/recommendations`: what to do next, out of a user's own open tasks and bookmarks.
//!
//! 1. The rules and what each weighs stand in [`advice`]; nothing in them is left to chance. Looked at are the 200 open
//!    tasks that press most and 200 bookmarks, favorites and what was not touched for long first.
//! 2. Answers are dear, so they have a bucket of their own, and are kept for an hour for each user; a change purges
//!    them.

use axum::{Json, extract::State};
use jiff::Timestamp;
use towerkeep::prelude::*;
use utoipa::IntoParams;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use crate::{
    advice::{self, Recommendation},
    form::Parameters,
    page::Page,
    problem::Problem,
    rules,
    state::{AppState, caches},
};

/// Recommendations for one user, cached ones too.
const AI: Policy = Policy::token_bucket("ai", 20, minutes(1));

const DEFAULT_LIMIT: i64 = 10;
const MAX_LIMIT: i64 = 100;

/// How many tasks and how many bookmarks are looked at.
const CANDIDATES: i64 = 200;

pub(crate) fn routes(keep: &Keep) -> OpenApiRouter<AppState> {
    let limited = keep.limits().layer(AI).by(Key::user().or(Key::client_ip()));
    let cached = keep.cache().per_user(caches::RECOMMENDATIONS).ttl(hours(1));
    OpenApiRouter::default().routes(routes!(list).layer((limited, cached)))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only its shape is of use: `Parameters` reads it")]
struct LimitQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 10)]
    limit: Option<u32>,
}

/// What to do next, the most worth first; there is no next page.
#[utoipa::path(get, path = "/api/v1/recommendations", tag = "recommendations", params(LimitQuery),
    security(("session" = []), ("api_key" = ["recommendations:read"])),
    responses((status = OK, body = Page<Recommendation>)))]
async fn list(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    Parameters(mut query): Parameters,
) -> Result<Json<Page<Recommendation>>, Problem> {
    let limit = query.optional("limit", rules::number(1, MAX_LIMIT)).unwrap_or(DEFAULT_LIMIT);
    let limit = query.finish(|| usize::try_from(limit).ok())?;
    let (tasks, bookmarks) =
        tokio::try_join!(state.tasks.pressing(user, CANDIDATES), state.bookmarks.neglected(user, CANDIDATES))?;
    Ok(Json(Page::whole(advice::next(&tasks, &bookmarks, Timestamp::now(), limit))))
}
