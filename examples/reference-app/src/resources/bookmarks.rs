//! `/api/v1/bookmarks`: a user's own bookmarks.
//!
//! The list is cached for a minute per user; a change purges that user's pages and what is made of them.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use towerkeep::prelude::*;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use crate::{
    database::bookmarks::{Bookmark, Changes, NewBookmark},
    form::Form,
    openapi::ListQuery,
    page::{ItemId, Page, Paging},
    problem::Problem,
    rules,
    state::{AppState, What, caches},
};

const TITLE: usize = 200;
const DESCRIPTION: usize = 2_000;

pub(crate) fn routes(keep: &Keep) -> OpenApiRouter<AppState> {
    let cached = keep.cache().per_user(caches::BOOKMARKS).ttl(seconds(60));
    OpenApiRouter::default()
        .routes(routes!(list).layer(cached))
        .routes(routes!(create))
        .routes(routes!(show, update, delete))
}

/// The user's bookmarks, newest first.
#[utoipa::path(get, path = "/api/v1/bookmarks", tag = "bookmarks", params(ListQuery),
    security(("session" = []), ("api_key" = ["bookmarks:read"])), responses((status = OK, body = Page<Bookmark>)))]
async fn list(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    paging: Paging,
) -> Result<Json<Page<Bookmark>>, Problem> {
    Ok(Json(state.bookmarks.list(user, &paging).await?))
}

/// Adds a bookmark.
#[utoipa::path(post, path = "/api/v1/bookmarks", tag = "bookmarks", request_body = NewBookmark,
    security(("session" = []), ("api_key" = ["bookmarks:write"])), responses((status = CREATED, body = Bookmark)))]
async fn create(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    form: Form,
) -> Result<impl IntoResponse, Problem> {
    let new = new_bookmark(form)?;
    let bookmarks = state.bookmarks.clone();
    let created = async move { Ok(bookmarks.create(user, &new).await?) };
    let created = state.change(What::Bookmarks(user), created).await?;
    let location = format!("/api/v1/bookmarks/{}", created.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(created)))
}

/// One bookmark.
#[utoipa::path(get, path = "/api/v1/bookmarks/{id}", tag = "bookmarks", params(("id" = i64, Path)),
    security(("session" = []), ("api_key" = ["bookmarks:read"])), responses((status = OK, body = Bookmark)))]
async fn show(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(id): ItemId,
) -> Result<Json<Bookmark>, Problem> {
    state.bookmarks.find(user, id).await?.map(Json).ok_or_else(Problem::not_found)
}

/// Changes what is given; null clears the description.
#[utoipa::path(patch, path = "/api/v1/bookmarks/{id}", tag = "bookmarks", params(("id" = i64, Path)),
    request_body = Changes,
    security(("session" = []), ("api_key" = ["bookmarks:write"])), responses((status = OK, body = Bookmark)))]
async fn update(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(id): ItemId,
    form: Form,
) -> Result<Json<Bookmark>, Problem> {
    let changes = changes(form)?;
    let bookmarks = state.bookmarks.clone();
    let updated = async move { bookmarks.update(user, id, &changes).await?.ok_or_else(Problem::not_found) };
    state.change(What::Bookmarks(user), updated).await.map(Json)
}

/// Deletes a bookmark.
#[utoipa::path(delete, path = "/api/v1/bookmarks/{id}", tag = "bookmarks", params(("id" = i64, Path)),
    security(("session" = []), ("api_key" = ["bookmarks:write"])), responses((status = NO_CONTENT)))]
async fn delete(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(id): ItemId,
) -> Result<StatusCode, Problem> {
    let bookmarks = state.bookmarks.clone();
    let deleted = async move { bookmarks.delete(user, id).await?.then_some(()).ok_or_else(Problem::not_found) };
    state.change(What::Bookmarks(user), deleted).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn new_bookmark(mut form: Form) -> Result<NewBookmark, Problem> {
    let url = form.required("url", rules::web_url);
    let title = form.required("title", rules::line(1, TITLE));
    let description = form.clearable("description", rules::text(DESCRIPTION)).flatten();
    let tags = form.optional("tags", rules::tags).unwrap_or_default();
    let favorite = form.optional("favorite", rules::boolean).unwrap_or_default();
    form.finish(|| Some(NewBookmark { url: url?, title: title?, description, tags, favorite }))
}

fn changes(mut form: Form) -> Result<Changes, Problem> {
    let changes = Changes {
        url: form.optional("url", rules::web_url),
        title: form.optional("title", rules::line(1, TITLE)),
        description: form.clearable("description", rules::text(DESCRIPTION)),
        tags: form.optional("tags", rules::tags),
        favorite: form.optional("favorite", rules::boolean),
    };
    form.finish(|| Some(changes))
}
