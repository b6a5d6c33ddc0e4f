//! `/api/v1/challenges/{id}/scores`: what participants score.

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use serde::Serialize;
use towerkeep::prelude::*;
use utoipa::ToSchema;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use crate::{
    boards::Source,
    database::scores::{Recorded, ScoreEvent},
    form::Form,
    page::ItemId,
    problem::Problem,
    rules,
    state::{AppState, to_the_end},
};

/// What one user may score: 30 at once, then one a second.
const SCORES: Policy = Policy::token_bucket("scores", 60, minutes(1)).burst(30);

const EVENT_ID: usize = 64;
const POINTS: i64 = 1_000_000;

pub(crate) fn routes(keep: &Keep) -> OpenApiRouter<AppState> {
    let limited = keep.limits().layer(SCORES).by(Key::user().or(Key::client_ip()));
    OpenApiRouter::default().routes(routes!(score).layer(limited))
}

/// Something that was worth points.
#[derive(ToSchema)]
struct NewScore {
    /// Chosen by the client: what is sent again under the same one counts once. 1 to 64 characters.
    #[schema(example = "run-17")]
    event_id: String,
    /// 1 to 1,000,000.
    #[schema(example = 120)]
    points: i64,
}

/// A score that was counted, and where it led to.
#[derive(Serialize, ToSchema)]
struct Score {
    event_id: String,
    points: i64,
    /// The sum of the user's points with this event.
    total: i64,
    /// The user's place now.
    rank: Option<u64>,
    /// Who told it.
    source: Source,
}

/// Counts points of a participant while the challenge runs.
///
/// The same event sent again counts once, and is answered as the first time with 200 instead of 201; with other points
/// it is a 409.
#[utoipa::path(post, path = "/api/v1/challenges/{id}/scores", tag = "challenges", params(("id" = i64, Path)),
    request_body = NewScore, security(("session" = []), ("api_key" = ["challenges:write"])),
    responses((status = CREATED, body = Score), (status = OK, body = Score)))]
async fn score(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(challenge): ItemId,
    form: Form,
) -> Result<impl IntoResponse, Problem> {
    let new = new_score(form)?;
    let counted = to_the_end(async move {
        let (status, event) = counted(state.scores.record(challenge, user, &new.event_id, new.points).await?)?;
        let (rank, source) = state.boards.place(&event).await?;
        Ok((status, Json(Score { event_id: new.event_id, points: event.points, total: event.total, rank, source })))
    });
    counted.await
}

fn new_score(mut form: Form) -> Result<NewScore, Problem> {
    let event_id = form.required("event_id", rules::line(1, EVENT_ID));
    let points = form.required("points", rules::integer(1, POINTS));
    form.finish(|| Some(NewScore { event_id: event_id?, points: points? }))
}

fn counted(recorded: Recorded) -> Result<(StatusCode, ScoreEvent), Problem> {
    let conflict = |detail| Err(Problem::new(StatusCode::CONFLICT, detail));
    match recorded {
        Recorded::Now(event) => Ok((StatusCode::CREATED, event)),
        Recorded::Before(event) => Ok((StatusCode::OK, event)),
        Recorded::Differs => conflict("an event of this id was counted with other points"),
        Recorded::NotYetOpen => conflict("this challenge has not begun"),
        Recorded::Over => conflict("this challenge is over"),
        Recorded::NoParticipant => Err(Problem::new(StatusCode::FORBIDDEN, "only participants score: join first")),
        Recorded::NoChallenge => Err(Problem::not_found()),
    }
}
