//! `/api/v1/analytics/dashboard`: a user's own bookmarks and tasks, counted.
//!
//! Kept for a quarter of an hour for each user; a change purges it, the hour alone does not.

use axum::{Json, extract::State};
use jiff::Timestamp;
use towerkeep::prelude::*;
use utoipa::IntoParams;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use crate::{
    dashboard::{Dashboard, Days},
    form::Parameters,
    problem::Problem,
    rules,
    state::{AppState, caches},
};

const DEFAULT_DAYS: i64 = 30;
const MAX_DAYS: i64 = 90;

pub(crate) fn routes(keep: &Keep) -> OpenApiRouter<AppState> {
    let cached = keep.cache().per_user(caches::ANALYTICS).ttl(minutes(15));
    OpenApiRouter::default().routes(routes!(dashboard).layer(cached))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only its shape is of use: `Parameters` reads it")]
struct DaysQuery {
    /// How many days to tell apart, today among them.
    #[param(minimum = 1, maximum = 90, default = 30)]
    days: Option<u32>,
}

/// What the user's bookmarks and tasks amount to, in all and day by day.
#[utoipa::path(get, path = "/api/v1/analytics/dashboard", tag = "analytics", params(DaysQuery),
    security(("session" = []), ("api_key" = ["analytics:read"])), responses((status = OK, body = Dashboard)))]
async fn dashboard(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    Parameters(mut query): Parameters,
) -> Result<Json<Dashboard>, Problem> {
    let count = query.optional("days", rules::number(1, MAX_DAYS)).unwrap_or(DEFAULT_DAYS);
    let days = query.finish(|| Some(Days::until(Timestamp::now(), count)))?;
    let counts = state.analytics.counts(user, days.since(), days.now()).await?;
    Ok(Json(Dashboard::of(counts, days)))
}
