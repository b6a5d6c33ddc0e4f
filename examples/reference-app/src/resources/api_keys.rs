//! `/api/v1/api-keys`: keys for programs that act for a user.
//!
//! Only a session makes, lists and revokes them: a key that leaked cannot beget others. A key can do what its owner
//! can and its scopes allow; what only administrators may is not among the scopes.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use towerkeep::prelude::*;
use utoipa::ToSchema;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use crate::{
    access::{ApiKey, SCOPES},
    database::api_keys::{KeyInfo, MOST, NewKey},
    form::{Checked, Form},
    openapi::ListQuery,
    page::{ItemId, Page, Paging},
    problem::Problem,
    rules,
    state::AppState,
};

/// What one user may do with their keys.
const KEYS: Policy = Policy::sliding_window("api-keys", 10, minutes(1));

const NAME: usize = 100;

pub(crate) fn routes(keep: &Keep) -> OpenApiRouter<AppState> {
    let limited = keep.limits().layer(KEYS).by(Key::user().or(Key::client_ip()));
    OpenApiRouter::default().routes(routes!(list, create).layer(limited.clone())).routes(routes!(delete).layer(limited))
}

/// A new key, whole: the only time that anybody sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKeyWithSecret)]
struct Made {
    #[serde(flatten)]
    info: KeyInfo,
    /// For `Authorization: Bearer`; it is shown this once.
    #[schema(example = "tk_0011223344556677_...")]
    key: String,
}

/// The user's keys, newest first, without their secrets.
#[utoipa::path(get, path = "/api/v1/api-keys", tag = "api-keys", params(ListQuery), security(("session" = [])),
    responses((status = OK, body = Page<KeyInfo>)))]
async fn list(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    paging: Paging,
) -> Result<Json<Page<KeyInfo>>, Problem> {
    Ok(Json(state.api_keys.list(user, &paging).await?))
}

/// Makes a key; without `expires_at` it works until it is deleted.
#[utoipa::path(post, path = "/api/v1/api-keys", tag = "api-keys", request_body = NewKey, security(("session" = [])),
    responses((status = CREATED, body = Made)))]
async fn create(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    form: Form,
) -> Result<impl IntoResponse, Problem> {
    let new = new_key(form)?;
    let key = ApiKey::random().map_err(|error| Problem::internal(&error))?;
    let Some(info) = state.api_keys.create(user, &new, &key).await? else {
        let detail = format!("you have {MOST} API keys, and nobody can have more; delete one first");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    };
    let location = format!("/api/v1/api-keys/{}", info.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(Made { info, key: key.reveal() })))
}

/// Revokes a key, from the next request on.
#[utoipa::path(delete, path = "/api/v1/api-keys/{id}", tag = "api-keys", params(("id" = i64, Path)),
    security(("session" = [])), responses((status = NO_CONTENT)))]
async fn delete(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(id): ItemId,
) -> Result<StatusCode, Problem> {
    if state.api_keys.delete(user, id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found()) }
}

fn new_key(mut form: Form) -> Result<NewKey, Problem> {
    let name = form.required("name", rules::line(1, NAME));
    let scopes = form.required("scopes", scopes);
    let expires_at = form.clearable("expires_at", future).flatten();
    form.finish(|| Some(NewKey { name: name?, scopes: scopes?, expires_at }))
}

/// At least one scope, each known and given once.
fn scopes(value: Value) -> Checked<Vec<String>> {
    let Value::Array(values) = value else { return Err("must be a list of scopes".into()) };
    let mut scopes = Vec::new();
    for value in values {
        let scope = rules::string(value).map_err(|why| format!("each scope {why}"))?;
        if !SCOPES.contains(&&*scope) {
            return Err(format!("must be of these scopes: {}", SCOPES.join(", ")).into());
        }
        if scopes.contains(&scope) {
            return Err("must not name a scope twice".into());
        }
        scopes.push(scope);
    }
    if scopes.is_empty() { Err("must have at least one scope".into()) } else { Ok(scopes) }
}

/// A time to come.
fn future(value: Value) -> Checked<Timestamp> {
    match rules::string(value)?.parse::<Timestamp>() {
        Ok(at) if at > Timestamp::now() => Ok(at),
        Ok(_) => Err("must be in the future".into()),
        Err(_) => Err("must be a time like 2030-01-31T12:00:00Z".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scopes_are_known_and_given_once() {
        assert_eq!(scopes(json!(["tasks:read"])), Ok(vec!["tasks:read".to_owned()]));
        assert_eq!(scopes(json!(SCOPES)).map(|scopes| scopes.len()), Ok(SCOPES.len()));
        for refused in
            [json!([]), json!(["admin"]), json!(["tasks:read", "tasks:read"]), json!("tasks:read"), json!([7])]
        {
            assert!(scopes(refused.clone()).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_key_expires_in_the_future() {
        assert!(future(json!("9999-01-01T00:00:00Z")).is_ok());
        for refused in [json!("2020-01-01T00:00:00Z"), json!("tomorrow"), json!(1), json!("99999-01-01T00:00:00Z")] {
            assert!(future(refused.clone()).is_err(), "{refused}");
        }
    }
}
