//! `/api/v1/user-actions`: what a user did lately, newest first.
//!
//! The log is in the store of the layers, not in the database: its newest 100 entries, for 30 days. While Redis is gone
//! actions are held by the instance that took them (202), and come in when it is back.

use axum::{Extension, Json, extract::State, http::StatusCode, response::IntoResponse};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use towerkeep::{
    action_log::{Action, Appended, Cleared, Entry},
    prelude::*,
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use crate::{
    access::{ByKey, administrators_only},
    form::{Checked, Form, Parameters},
    problem::Problem,
    rules,
    state::{AppState, to_the_end},
};

/// What one user may log in batches.
const BATCH: Policy = Policy::sliding_window("user-actions-batch", 10, minutes(1));

const LARGEST_BATCH: usize = 100;
const NAME: usize = 64;
/// With a name of any letters an entry stays below the 4 KiB of the log.
const METADATA: usize = 3 * 1024;

const DEFAULT_LIMIT: i64 = 20;
const MAX_LIMIT: i64 = 100;

pub(crate) fn routes(keep: &Keep) -> OpenApiRouter<AppState> {
    let limited = keep.limits().layer(BATCH).by(Key::user().or(Key::client_ip()));
    OpenApiRouter::default().routes(routes!(recent, append, clear)).routes(routes!(append_batch).layer(limited))
}

/// Something that a user did.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its shape is of use: `Form` reads it")]
struct NewAction {
    /// 1 to 64 characters.
    #[schema(example = "bookmark.opened")]
    action: String,
    /// Anything more about it, up to 3 KiB.
    #[schema(value_type = Option<Object>, example = json!({ "id": 7 }))]
    metadata: Option<Map<String, Value>>,
}

/// 1 to 100 things that a user did, the oldest first.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its shape is of use: `Form` reads it")]
struct NewActions {
    actions: Vec<NewAction>,
}

/// Where new actions are.
#[derive(Serialize, ToSchema)]
struct Logged {
    logged: usize,
    /// `everywhere`, or `local`: held by this instance until Redis is back.
    #[schema(example = "everywhere")]
    stored: &'static str,
}

/// Something that a user did, and when.
#[derive(Serialize, ToSchema)]
struct UserAction {
    action: String,
    timestamp: Timestamp,
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
}

/// The newest actions of a user.
#[derive(Serialize, ToSchema)]
struct UserActions {
    items: Vec<UserAction>,
    /// Always null: a log has no second page.
    next_cursor: Option<String>,
    /// `false` while Redis is gone: then only what this instance holds is shown.
    is_complete: bool,
}

/// Whose log, and how much of it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only its shape is of use: `Parameters` reads it")]
struct RecentQuery {
    /// How many actions at most.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// Another user's id; for administrators who are logged in.
    #[param(minimum = 1)]
    user: Option<i64>,
}

/// Whose log.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only its shape is of use: `Parameters` reads it")]
struct ClearQuery {
    /// Another user's id; for administrators who are logged in.
    #[param(minimum = 1)]
    user: Option<i64>,
}

/// What the user did lately, newest first.
#[utoipa::path(get, path = "/api/v1/user-actions", tag = "user-actions", params(RecentQuery),
    security(("session" = []), ("api_key" = ["actions:read"])), responses((status = OK, body = UserActions)))]
async fn recent(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    by_key: Option<Extension<ByKey>>,
    Parameters(mut query): Parameters,
) -> Result<Json<UserActions>, Problem> {
    let limit = query.optional("limit", rules::number(1, MAX_LIMIT)).unwrap_or(DEFAULT_LIMIT);
    let limit = usize::try_from(limit).unwrap_or(1);
    let owner = owner(&state, user, by_key.is_some(), query).await?;
    let log = state.keep.actions();
    let known = log.recent(owner, limit).await.map(Some).on_outage(|| None)?;
    let is_complete = known.is_some();
    let entries = known.unwrap_or_else(|| log.pending(owner));
    let items = entries.iter().take(limit).map(shown).collect();
    Ok(Json(UserActions { items, next_cursor: None, is_complete }))
}

/// Logs an action.
#[utoipa::path(post, path = "/api/v1/user-actions", tag = "user-actions", request_body = NewAction,
    security(("session" = []), ("api_key" = ["actions:write"])),
    responses((status = CREATED, body = Logged), (status = ACCEPTED, body = Logged)))]
async fn append(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    mut form: Form,
) -> Result<impl IntoResponse, Problem> {
    let action = action(&mut form);
    log(&state, user, vec![form.finish(|| action)?]).await
}

/// Logs up to 100 actions at once, all or none; ten times a minute.
#[utoipa::path(post, path = "/api/v1/user-actions/batch", tag = "user-actions", request_body = NewActions,
    security(("session" = []), ("api_key" = ["actions:write"])),
    responses((status = CREATED, body = Logged), (status = ACCEPTED, body = Logged)))]
async fn append_batch(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    mut form: Form,
) -> Result<impl IntoResponse, Problem> {
    let actions = form.each("actions", 1..=LARGEST_BATCH, action);
    log(&state, user, form.finish(|| actions)?).await
}

/// Empties the log.
///
/// 202 while Redis is gone: it is empty here, and everywhere once Redis is back.
#[utoipa::path(delete, path = "/api/v1/user-actions", tag = "user-actions", params(ClearQuery),
    security(("session" = []), ("api_key" = ["actions:write"])),
    responses((status = NO_CONTENT), (status = ACCEPTED)))]
async fn clear(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    by_key: Option<Extension<ByKey>>,
    Parameters(query): Parameters,
) -> Result<StatusCode, Problem> {
    let owner = owner(&state, user, by_key.is_some(), query).await?;
    let cleared = to_the_end(async move { Ok(state.keep.actions().clear(owner).await?) });
    Ok(match cleared.await? {
        Cleared::Everywhere => StatusCode::NO_CONTENT,
        _ => StatusCode::ACCEPTED,
    })
}

/// Whose log is meant: one's own, or whomever an administrator names who is logged in. A key opens its owner's alone.
async fn owner(state: &AppState, user: i64, by_key: bool, mut query: Form) -> Result<i64, Problem> {
    let named = query.optional("user", rules::number(1, i64::MAX));
    query.finish(|| Some(()))?;
    let Some(other) = named.filter(|named| *named != user) else { return Ok(user) };
    const WHAT: &str = "another user's log";
    if by_key {
        return Err(Problem::new(StatusCode::FORBIDDEN, format!("{WHAT} is not for keys")));
    }
    administrators_only(state, user, WHAT).await?;
    state.users.find(other).await?.map(|other| other.id).ok_or_else(Problem::not_found)
}

async fn log(state: &AppState, user: i64, actions: Vec<Action>) -> Result<impl IntoResponse + use<>, Problem> {
    let keep = state.keep.clone();
    let appended = to_the_end(async move { Ok(keep.actions().append_batch(user, actions).await?) }).await?;
    let status = match appended {
        Appended::Everywhere(_) => StatusCode::CREATED,
        Appended::Local(_) => StatusCode::ACCEPTED,
    };
    Ok((status, Json(Logged { logged: appended.count(), stored: appended.as_str() })))
}

fn action(form: &mut Form) -> Option<Action> {
    let name = form.required("action", rules::line(1, NAME));
    let metadata = form.clearable("metadata", metadata).flatten();
    let action = Action::new(name?);
    Some(match metadata {
        Some(metadata) => action.metadata(metadata),
        None => action,
    })
}

fn metadata(value: Value) -> Checked<Map<String, Value>> {
    match value {
        Value::Object(fields) if Value::from(fields.clone()).to_string().len() <= METADATA => Ok(fields),
        Value::Object(_) => Err(format!("must have at most {METADATA} bytes of JSON").into()),
        _ => Err("must be an object".into()),
    }
}

/// Metadata that another program wrote and that is no object is left out.
fn shown(entry: &Entry) -> UserAction {
    let micros = i64::try_from(entry.timestamp().as_micros()).unwrap_or(i64::MAX);
    UserAction {
        action: entry.action().to_owned(),
        timestamp: Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX),
        metadata: entry.metadata().ok().flatten(),
    }
}
