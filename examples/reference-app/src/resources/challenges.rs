//! `/api/v1/challenges`: everybody sees them, who is logged in takes part, their owner changes them.
//!
//! The list is cached for a minute, for everybody; each committed change purges it.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use jiff::Timestamp;
use serde_json::Value;
use towerkeep::prelude::*;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use crate::{
    choice::one_of,
    database::{
        challenges::{Challenge, Changes, NewChallenge, Ranking},
        participants::{Joined, Participation},
    },
    form::{Checked, Form},
    openapi::ListQuery,
    page::{ItemId, Page, Paging},
    problem::{Invalid, Problem},
    rules,
    state::{AppState, What, caches},
};

const TITLE: usize = 200;
const DESCRIPTION: usize = 2_000;
const CAPACITY: i64 = 1_000_000;

const ENDS_BEFORE: &str = "must be after starts_at";

pub(crate) fn routes(keep: &Keep) -> OpenApiRouter<AppState> {
    let cached = keep.cache().public(caches::CHALLENGES).ttl(seconds(60)).tags([caches::CHALLENGES]);
    OpenApiRouter::default()
        .routes(routes!(list).layer(cached))
        .routes(routes!(create))
        .routes(routes!(show, update))
        .routes(routes!(join))
}

/// All challenges, newest first.
#[utoipa::path(get, path = "/api/v1/challenges", tag = "challenges", params(ListQuery),
    responses((status = OK, body = Page<Challenge>)))]
async fn list(State(state): State<AppState>, paging: Paging) -> Result<Json<Page<Challenge>>, Problem> {
    Ok(Json(state.challenges.list(&paging).await?))
}

/// One challenge.
#[utoipa::path(get, path = "/api/v1/challenges/{id}", tag = "challenges", params(("id" = i64, Path)),
    responses((status = OK, body = Challenge)))]
async fn show(State(state): State<AppState>, ItemId(id): ItemId) -> Result<Json<Challenge>, Problem> {
    state.challenges.find(id).await?.map(Json).ok_or_else(Problem::not_found)
}

/// Opens a challenge.
#[utoipa::path(post, path = "/api/v1/challenges", tag = "challenges", request_body = NewChallenge,
    security(("session" = []), ("api_key" = ["challenges:write"])), responses((status = CREATED, body = Challenge)))]
async fn create(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    form: Form,
) -> Result<impl IntoResponse, Problem> {
    let new = new_challenge(form)?;
    let challenges = state.challenges.clone();
    let created = async move { Ok(challenges.create(user, &new).await?) };
    let created = state.change(What::Challenges, created).await?;
    let location = format!("/api/v1/challenges/{}", created.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(created)))
}

/// Changes what is given; null clears the description, or lifts the bound on participants.
#[utoipa::path(patch, path = "/api/v1/challenges/{id}", tag = "challenges", params(("id" = i64, Path)),
    request_body = Changes,
    security(("session" = []), ("api_key" = ["challenges:write"])), responses((status = OK, body = Challenge)))]
async fn update(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(id): ItemId,
    form: Form,
) -> Result<Json<Challenge>, Problem> {
    let changes = changes(form)?;
    let challenges = state.challenges.clone();
    let updated = async move {
        if let Some(updated) = challenges.update(user, id, &changes).await? {
            return Ok(updated);
        }
        let stands = challenges.find(id).await?.filter(|challenge| challenge.owner_id == user);
        Err(stands.map_or_else(Problem::not_found, |stands| refused(&stands, &changes)))
    };
    state.change(What::Challenges, updated).await.map(Json)
}

/// Takes part, while the challenge runs and has room. Who asks again has the same place: 200 instead of 201.
#[utoipa::path(post, path = "/api/v1/challenges/{id}/join", tag = "challenges", params(("id" = i64, Path)),
    security(("session" = []), ("api_key" = ["challenges:write"])),
    responses((status = CREATED, body = Participation), (status = OK, body = Participation)))]
async fn join(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(id): ItemId,
) -> Result<impl IntoResponse, Problem> {
    let participants = state.participants.clone();
    let joined = async move { placed(participants.join(id, user).await?) };
    let (status, participation) = state.change(What::Challenges, joined).await?;
    Ok((status, Json(participation)))
}

fn placed(joined: Joined) -> Result<(StatusCode, Participation), Problem> {
    let conflict = |detail| Err(Problem::new(StatusCode::CONFLICT, detail));
    match joined {
        Joined::Now(participation) => Ok((StatusCode::CREATED, participation)),
        Joined::Before(participation) => Ok((StatusCode::OK, participation)),
        Joined::Full => conflict("all places of this challenge are taken"),
        Joined::NotYetOpen => conflict("this challenge has not begun"),
        Joined::Over => conflict("this challenge is over"),
        Joined::NoChallenge => Err(Problem::not_found()),
    }
}

fn new_challenge(mut form: Form) -> Result<NewChallenge, Problem> {
    let title = form.required("title", rules::line(1, TITLE));
    let description = form.clearable("description", rules::text(DESCRIPTION)).flatten();
    let starts_at = form.required("starts_at", rules::time_since_1970);
    let ends_at = form.required("ends_at", |value| after(starts_at, value));
    let capacity = form.clearable("capacity", rules::integer(1, CAPACITY)).flatten();
    let ranking = form.optional("ranking", one_of::<Ranking>);
    form.finish(|| {
        let (title, starts_at, ends_at) = (title?, starts_at?, ends_at?);
        Some(NewChallenge { title, description, starts_at, ends_at, capacity, ranking })
    })
}

fn changes(mut form: Form) -> Result<Changes, Problem> {
    let starts_at = form.optional("starts_at", rules::time_since_1970);
    let changes = Changes {
        title: form.optional("title", rules::line(1, TITLE)),
        description: form.clearable("description", rules::text(DESCRIPTION)),
        starts_at,
        ends_at: form.optional("ends_at", |value| after(starts_at, value)),
        capacity: form.clearable("capacity", rules::integer(1, CAPACITY)),
        ranking: form.optional("ranking", one_of::<Ranking>),
    };
    form.finish(|| Some(changes))
}

/// A time that is later than `start`, where that is known.
fn after(start: Option<Timestamp>, value: Value) -> Checked<Timestamp> {
    let end = rules::time_since_1970(value)?;
    if start.is_some_and(|start| end <= start) { Err(ENDS_BEFORE.into()) } else { Ok(end) }
}

/// Why these changes do not fit the challenge as it stands.
fn refused(stands: &Challenge, changes: &Changes) -> Problem {
    let mut errors = Vec::new();
    if changes.ends_at.unwrap_or(stands.ends_at) <= changes.starts_at.unwrap_or(stands.starts_at) {
        errors.push(match changes.ends_at {
            Some(_) => Invalid { field: "ends_at".into(), message: ENDS_BEFORE.into() },
            None => Invalid { field: "starts_at".into(), message: "must be before ends_at".into() },
        });
    }
    let participants = stands.participants;
    if changes.capacity.flatten().is_some_and(|capacity| capacity < participants) {
        let message = format!("must not be less than its {participants} participants").into();
        errors.push(Invalid { field: "capacity".into(), message });
    }
    if errors.is_empty() {
        return Problem::new(StatusCode::CONFLICT, "somebody changed it at the same time; try again");
    }
    Problem::invalid(errors)
}
