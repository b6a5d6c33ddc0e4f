//! `/api/v1/items` and `/api/v1/trending`: the marketplace, and what is looked at in it.
//!
//! Trends are cached for a minute, for everybody.

use axum::{
    Json,
    extract::{FromRequestParts, Path, State},
    http::{StatusCode, header, request::Parts},
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use towerkeep::{KeyValue, prelude::*, trending::Window};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use crate::{
    boards::Source,
    choice::one_of,
    database::items::{Item, Kind, NewItem},
    form::{Form, Parameters},
    market::{Look, Trend},
    openapi::ListQuery,
    page::{ItemId, Page, Paging},
    problem::Problem,
    rules,
    state::{AppState, to_the_end},
};

/// The name of the cache of trends.
const CACHE: &str = "trending";

const TITLE: usize = 200;
const DESCRIPTION: usize = 2_000;

/// Trends, where no other number is asked for.
const TRENDS: i64 = 10;

pub(crate) fn routes(keep: &Keep) -> OpenApiRouter<AppState> {
    let cached = keep.cache().public(CACHE).ttl(seconds(60));
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(show))
        .routes(routes!(view))
        .routes(routes!(download))
        .routes(routes!(trending).layer(cached))
}

/// Whether it was counted: one visitor counts once a minute for each item.
#[derive(Serialize, ToSchema)]
struct Counted {
    counted: bool,
}

/// What is looked at most.
#[derive(Serialize, ToSchema)]
struct Trends {
    items: Vec<Trend>,
    /// Who told it. The database sums the days of the window, by UTC, and lets none count for less.
    source: Source,
}

/// All items, newest first.
#[utoipa::path(get, path = "/api/v1/items", tag = "items", params(ListQuery),
    responses((status = OK, body = Page<Item>)))]
async fn list(State(state): State<AppState>, paging: Paging) -> Result<Json<Page<Item>>, Problem> {
    Ok(Json(state.items.list(&paging).await?))
}

/// Offers an item.
#[utoipa::path(post, path = "/api/v1/items", tag = "items", request_body = NewItem,
    security(("session" = []), ("api_key" = ["items:write"])), responses((status = CREATED, body = Item)))]
async fn create(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    form: Form,
) -> Result<impl IntoResponse, Problem> {
    let new = new_item(form)?;
    let created = state.items.create(user, &new).await?;
    let location = format!("/api/v1/items/{}", created.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(created)))
}

/// One item.
#[utoipa::path(get, path = "/api/v1/items/{id}", tag = "items", params(("id" = i64, Path)),
    responses((status = OK, body = Item)))]
async fn show(State(state): State<AppState>, ItemId(id): ItemId) -> Result<Json<Item>, Problem> {
    state.items.find(id).await?.map(Json).ok_or_else(Problem::not_found)
}

/// Counts a view, once a minute for each visitor.
#[utoipa::path(post, path = "/api/v1/items/{id}/view", tag = "items", params(("id" = i64, Path)),
    responses((status = OK, body = Counted)))]
async fn view(State(state): State<AppState>, ItemId(id): ItemId, visitor: Visitor) -> Result<Json<Counted>, Problem> {
    count(state, Look::View, id, visitor).await
}

/// Counts a download, once a minute for each visitor.
#[utoipa::path(post, path = "/api/v1/items/{id}/download", tag = "items", params(("id" = i64, Path)),
    responses((status = OK, body = Counted)))]
async fn download(
    State(state): State<AppState>,
    ItemId(id): ItemId,
    visitor: Visitor,
) -> Result<Json<Counted>, Problem> {
    count(state, Look::Download, id, visitor).await
}

async fn count(state: AppState, look: Look, id: i64, Visitor(visitor): Visitor) -> Result<Json<Counted>, Problem> {
    let counted = to_the_end(async move {
        state.items.find(id).await?.ok_or_else(Problem::not_found)?;
        Ok(state.market.count(look, id, visitor).await)
    });
    counted.await.map(|counted| Json(Counted { counted }))
}

/// What is looked at most: views, and downloads, which are worth five of them.
#[utoipa::path(get, path = "/api/v1/trending/{period}", tag = "items", params(("period" = inline(Period), Path), TrendsQuery),
    responses((status = OK, body = Trends)))]
async fn trending(
    State(state): State<AppState>,
    period: Result<Path<Period>, axum::extract::rejection::PathRejection>,
    Parameters(mut query): Parameters,
) -> Result<Json<Trends>, Problem> {
    let limit = query.optional("limit", rules::number(1, 100)).unwrap_or(TRENDS);
    query.finish(|| Some(()))?;
    let Path(period) = period.map_err(|_| Problem::not_found())?;
    let (items, source) = state.market.trends(period.into(), limit).await?;
    Ok(Json(Trends { items, source }))
}

/// How far back trends look.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Period {
    Day,
    Week,
    Month,
}

impl From<Period> for Window {
    fn from(period: Period) -> Self {
        match period {
            Period::Day => Self::Day,
            Period::Week => Self::Week,
            Period::Month => Self::Month,
        }
    }
}

/// `?limit=` of trends.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only its shape is of use: `Parameters` reads it")]
struct TrendsQuery {
    #[param(minimum = 1, maximum = 100, default = 10)]
    limit: Option<u32>,
}

/// Who looks: the user, or the address of somebody who is not logged in.
struct Visitor(KeyValue);

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if let Ok(Some(CurrentUser(user))) = Option::<CurrentUser<i64>>::from_request_parts(parts, state).await {
            return Ok(Self(KeyValue::from(user)));
        }
        let address = ClientIp::of(&parts.extensions).map(KeyValue::from);
        Ok(Self(address.unwrap_or_else(|| KeyValue::from("nowhere"))))
    }
}

fn new_item(mut form: Form) -> Result<NewItem, Problem> {
    let title = form.required("title", rules::line(1, TITLE));
    let description = form.clearable("description", rules::text(DESCRIPTION)).flatten();
    let kind = form.required("kind", one_of::<Kind>);
    form.finish(|| Some(NewItem { title: title?, description, kind: kind? }))
}
