//! `/api/v1/search`: full text over a user's own bookmarks and tasks.
//!
//! 1. Found is what has all words of `q` in its title, description, tags or host; the last word may be the beginning
//!    of one. Words are taken literally: no character is an operator, and what has no letter or digit finds nothing.
//! 2. Results come in the order in which they were added, the last one first. A rank would depend on all documents:
//!    each new one would move results from page to page while somebody turns them.
//! 3. Responses are kept for five minutes for each user; a change purges them.

use axum::{Json, extract::State};
use serde_json::Value;
use towerkeep::prelude::*;
use utoipa::IntoParams;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use crate::{
    choice::one_of,
    database::search::{Found, Kind},
    form::{Checked, Parameters},
    openapi::ListQuery,
    page::{Page, Paging},
    problem::Problem,
    rules,
    state::{AppState, caches},
    words::Words,
};

/// Searches of one user, cached ones too.
const SEARCH: Policy = Policy::sliding_window("search", 100, minutes(1));

const MAX_QUERY: usize = 200;

pub(crate) fn routes(keep: &Keep) -> OpenApiRouter<AppState> {
    let limited = keep.limits().layer(SEARCH).by(Key::user().or(Key::client_ip()));
    let cached = keep.cache().per_user(caches::SEARCH).ttl(minutes(5));
    OpenApiRouter::default().routes(routes!(search).layer((limited, cached)))
}

/// What to search for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only its shape is of use: `Parameters` reads it")]
struct SearchQuery {
    /// Words; all of them, the last one may be unfinished.
    #[param(min_length = 1, max_length = 200, example = "http cach")]
    q: String,
    /// Both unless told otherwise.
    r#type: Option<Kind>,
}

/// What has all words of `q`, what was added last first.
#[utoipa::path(get, path = "/api/v1/search", tag = "search", params(SearchQuery, ListQuery),
    security(("session" = []), ("api_key" = ["search:read"])), responses((status = OK, body = Page<Found>)))]
async fn search(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    Parameters(mut query): Parameters,
) -> Result<Json<Page<Found>>, Problem> {
    let words = query.required("q", words);
    let kind = query.optional("type", one_of::<Kind>);
    let paging = Paging::read(&mut query);
    let words = query.finish(|| words)?;
    if words.is_empty() {
        return Ok(Json(Page::whole(Vec::new())));
    }
    Ok(Json(state.search.find(user, &words, kind, &paging).await?))
}

fn words(value: Value) -> Checked<Words> {
    let text = rules::string(value)?;
    match text.trim() {
        "" => Err("must not be empty".into()),
        text if text.chars().count() > MAX_QUERY => Err(format!("must have at most {MAX_QUERY} characters").into()),
        text => Ok(Words::of(text)),
    }
}
