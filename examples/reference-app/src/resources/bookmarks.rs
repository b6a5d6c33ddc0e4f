//! `/api/v1/bookmarks`: a user's own bookmarks.
//!
//! The list is cached for a minute per user; each committed change purges that user's pages.

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use towerkeep::prelude::*;

use crate::{
    database::bookmarks::{Bookmark, Changes, NewBookmark},
    form::Form,
    page::{ItemId, Page, Paging},
    problem::Problem,
    rules,
    state::{AppState, to_the_end},
};

/// The name of this resource's cache.
const CACHE: &str = "bookmarks";

const TITLE: usize = 200;
const DESCRIPTION: usize = 2_000;

pub(crate) fn routes(keep: &Keep) -> Router<AppState> {
    let cached = keep.cache().per_user(CACHE).ttl(seconds(60));
    Router::new()
        .route("/api/v1/bookmarks", get(list).layer(cached).post(create))
        .route("/api/v1/bookmarks/{id}", get(show).patch(update).delete(delete))
}

async fn list(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    paging: Paging,
) -> Result<Json<Page<Bookmark>>, Problem> {
    Ok(Json(state.bookmarks.list(user, &paging).await?))
}

async fn create(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    form: Form,
) -> Result<impl IntoResponse, Problem> {
    let new = new_bookmark(form)?;
    let created = to_the_end(async move {
        let created = state.bookmarks.create(user, &new).await?;
        state.keep.cache().purge_user(CACHE, user).await;
        Ok(created)
    });
    let created = created.await?;
    let location = format!("/api/v1/bookmarks/{}", created.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(created)))
}

async fn show(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(id): ItemId,
) -> Result<Json<Bookmark>, Problem> {
    state.bookmarks.find(user, id).await?.map(Json).ok_or_else(Problem::not_found)
}

async fn update(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(id): ItemId,
    form: Form,
) -> Result<Json<Bookmark>, Problem> {
    let changes = changes(form)?;
    let updated = to_the_end(async move {
        let updated = state.bookmarks.update(user, id, &changes).await?.ok_or_else(Problem::not_found)?;
        state.keep.cache().purge_user(CACHE, user).await;
        Ok(updated)
    });
    updated.await.map(Json)
}

async fn delete(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(id): ItemId,
) -> Result<StatusCode, Problem> {
    let deleted = to_the_end(async move {
        if !state.bookmarks.delete(user, id).await? {
            return Err(Problem::not_found());
        }
        state.keep.cache().purge_user(CACHE, user).await;
        Ok(StatusCode::NO_CONTENT)
    });
    deleted.await
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
