//! `/api/v1/challenges/{id}/leaderboard`: who is first.
//!
//! The pages are cached for a second, for everybody.

use axum::{Json, extract::State};
use serde::Serialize;
use towerkeep::prelude::*;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use crate::{
    boards::Source,
    database::places::Entry,
    form::Parameters,
    openapi::ListQuery,
    page::{ItemId, Slice},
    problem::Problem,
    rules,
    state::AppState,
};

/// The name of the cache of pages.
const CACHE: &str = "leaderboard";

/// Rows around one's own, where nothing else is asked for.
const ROWS: i64 = 5;

pub(crate) fn routes(keep: &Keep) -> OpenApiRouter<AppState> {
    let cached = keep.cache().public(CACHE).ttl(seconds(1));
    OpenApiRouter::default().routes(routes!(list).layer(cached)).routes(routes!(me))
}

/// A page of a leaderboard.
#[derive(Serialize, ToSchema)]
struct Leaderboard {
    items: Vec<Entry>,
    next_cursor: Option<String>,
    /// Who told it.
    source: Source,
}

/// Where one stands, and who is near.
#[derive(Serialize, ToSchema)]
struct Own {
    /// Null without a score.
    rank: Option<u64>,
    score: i64,
    /// The rows around one's own.
    items: Vec<Entry>,
    /// Who told it.
    source: Source,
}

/// The participants that have a score, the highest first, and equal ones by their id as a text.
///
/// Places move while one turns the pages: the cursor stands for a number of rows.
#[utoipa::path(get, path = "/api/v1/challenges/{id}/leaderboard", tag = "challenges", operation_id = "leaderboard",
    params(("id" = i64, Path), ListQuery), responses((status = OK, body = Leaderboard)))]
async fn list(
    State(state): State<AppState>,
    ItemId(challenge): ItemId,
    slice: Slice,
) -> Result<Json<Leaderboard>, Problem> {
    let challenge = state.challenges.find(challenge).await?.ok_or_else(Problem::not_found)?;
    let (items, has_more, source) = state.boards.rows(&challenge, slice).await?;
    let next_cursor = has_more.then(|| slice.next_cursor());
    Ok(Json(Leaderboard { items, next_cursor, source }))
}

/// One's own place and the rows around it.
#[utoipa::path(get, path = "/api/v1/challenges/{id}/leaderboard/me", tag = "challenges",
    operation_id = "leaderboard_me", params(("id" = i64, Path), AroundQuery),
    security(("session" = []), ("api_key" = ["challenges:read"])), responses((status = OK, body = Own)))]
async fn me(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(challenge): ItemId,
    Parameters(mut query): Parameters,
) -> Result<Json<Own>, Problem> {
    let rows = query.optional("around", rules::number(1, 100)).unwrap_or(ROWS);
    query.finish(|| Some(()))?;
    let challenge = state.challenges.find(challenge).await?.ok_or_else(Problem::not_found)?;
    let (items, source) = state.boards.around(&challenge, user, rows).await?;
    let own = items.iter().find(|row| row.user_id == user);
    let (rank, score) = (own.map(|row| row.rank), own.map_or(0, |row| row.score));
    Ok(Json(Own { rank, score, items, source }))
}

/// `?around=` of one's own place.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only its shape is of use: `Parameters` reads it")]
struct AroundQuery {
    /// How many rows, one's own among them.
    #[param(minimum = 1, maximum = 100, default = 5)]
    around: Option<u32>,
}
