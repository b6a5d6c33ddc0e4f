//! `/api/v1/tasks`: a user's own tasks.
//!
//! 1. Status and progress go together: a completed task has progress 100 and a `completed_at`, whatever was sent along.
//!    One that is opened again loses that time and keeps its progress. Progress 100 alone completes nothing.
//! 2. The list is cached for a minute per user and filter; a change purges that user's pages and what is made of them.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use towerkeep::prelude::*;
use utoipa::IntoParams;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use crate::{
    choice::one_of,
    database::tasks::{Changes, Filter, NewTask, Priority, Status, Task},
    form::{Form, Parameters},
    openapi::ListQuery,
    page::{ItemId, Page, Paging},
    problem::Problem,
    rules,
    state::{AppState, What, caches},
};

const TITLE: usize = 200;
const DESCRIPTION: usize = 2_000;

pub(crate) fn routes(keep: &Keep) -> OpenApiRouter<AppState> {
    let cached = keep.cache().per_user(caches::TASKS).ttl(seconds(60));
    OpenApiRouter::default()
        .routes(routes!(list).layer(cached))
        .routes(routes!(create))
        .routes(routes!(show, update, delete))
}

/// Which tasks to list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only its shape is of use: `Parameters` reads it")]
struct FilterQuery {
    status: Option<Status>,
    priority: Option<Priority>,
}

/// The user's tasks, newest first.
#[utoipa::path(get, path = "/api/v1/tasks", tag = "tasks", params(FilterQuery, ListQuery),
    security(("session" = []), ("api_key" = ["tasks:read"])), responses((status = OK, body = Page<Task>)))]
async fn list(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    Parameters(mut query): Parameters,
) -> Result<Json<Page<Task>>, Problem> {
    let filter = Filter {
        status: query.optional("status", one_of::<Status>),
        priority: query.optional("priority", one_of::<Priority>),
    };
    let paging = Paging::read(&mut query);
    query.finish(|| Some(()))?;
    Ok(Json(state.tasks.list(user, filter, &paging).await?))
}

/// Adds a task.
#[utoipa::path(post, path = "/api/v1/tasks", tag = "tasks", request_body = NewTask,
    security(("session" = []), ("api_key" = ["tasks:write"])), responses((status = CREATED, body = Task)))]
async fn create(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    form: Form,
) -> Result<impl IntoResponse, Problem> {
    let new = new_task(form)?;
    let tasks = state.tasks.clone();
    let created = async move { Ok(tasks.create(user, &new).await?) };
    let created = state.change(What::Tasks(user), created).await?;
    let location = format!("/api/v1/tasks/{}", created.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(created)))
}

/// One task.
#[utoipa::path(get, path = "/api/v1/tasks/{id}", tag = "tasks", params(("id" = i64, Path)),
    security(("session" = []), ("api_key" = ["tasks:read"])), responses((status = OK, body = Task)))]
async fn show(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(id): ItemId,
) -> Result<Json<Task>, Problem> {
    state.tasks.find(user, id).await?.map(Json).ok_or_else(Problem::not_found)
}

/// Changes what is given; null clears the description and the time it is due.
#[utoipa::path(patch, path = "/api/v1/tasks/{id}", tag = "tasks", params(("id" = i64, Path)),
    request_body = Changes,
    security(("session" = []), ("api_key" = ["tasks:write"])), responses((status = OK, body = Task)))]
async fn update(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(id): ItemId,
    form: Form,
) -> Result<Json<Task>, Problem> {
    let changes = changes(form)?;
    let tasks = state.tasks.clone();
    let updated = async move { tasks.update(user, id, &changes).await?.ok_or_else(Problem::not_found) };
    state.change(What::Tasks(user), updated).await.map(Json)
}

/// Deletes a task.
#[utoipa::path(delete, path = "/api/v1/tasks/{id}", tag = "tasks", params(("id" = i64, Path)),
    security(("session" = []), ("api_key" = ["tasks:write"])), responses((status = NO_CONTENT)))]
async fn delete(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(id): ItemId,
) -> Result<StatusCode, Problem> {
    let tasks = state.tasks.clone();
    let deleted = async move { tasks.delete(user, id).await?.then_some(()).ok_or_else(Problem::not_found) };
    state.change(What::Tasks(user), deleted).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn new_task(mut form: Form) -> Result<NewTask, Problem> {
    let title = form.required("title", rules::line(1, TITLE));
    let description = form.clearable("description", rules::text(DESCRIPTION)).flatten();
    let status = form.optional("status", one_of);
    let priority = form.optional("priority", one_of);
    let progress = form.optional("progress", rules::percent);
    let due_at = form.clearable("due_at", rules::time).flatten();
    let tags = form.optional("tags", rules::tags);
    form.finish(|| Some(NewTask { title: title?, description, status, priority, progress, due_at, tags }))
}

fn changes(mut form: Form) -> Result<Changes, Problem> {
    let changes = Changes {
        title: form.optional("title", rules::line(1, TITLE)),
        description: form.clearable("description", rules::text(DESCRIPTION)),
        status: form.optional("status", one_of),
        priority: form.optional("priority", one_of),
        progress: form.optional("progress", rules::percent),
        due_at: form.clearable("due_at", rules::time),
        tags: form.optional("tags", rules::tags),
    };
    form.finish(|| Some(changes))
}
