//! `/api/v1/uploads`: a user's own files, up to a mebibyte each.
//!
//! 1. The request's body is the file, whatever its type: `curl --data-binary @photo.jpg`. `?name=` names it.
//! 2. It goes back to its owner as a download, never as a page: what somebody made their browser store here must not
//!    run as this site.

use axum::{
    Json,
    extract::{DefaultBodyLimit, FromRequestParts, Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use towerkeep::prelude::*;
use utoipa::ToSchema;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use crate::{
    attachment::{attached, essence},
    database::uploads::{MOST, NewUpload, UNKNOWN, Upload},
    form::{self, Checked, Form},
    openapi::ListQuery,
    page::{ItemId, Page, Paging},
    problem::{Invalid, Problem},
    rules,
    state::AppState,
};

/// What one user may upload.
const UPLOAD: Policy = Policy::token_bucket("upload", 10, minutes(10));

/// The largest file; all other bodies are smaller.
pub(crate) const MAX_FILE: usize = 1024 * 1024;

const NAME: usize = 200;
const CONTENT_TYPE: usize = 200;
const UNNAMED: &str = "upload";

pub(crate) fn routes(keep: &Keep) -> OpenApiRouter<AppState> {
    let limited = keep.limits().layer(UPLOAD).by(Key::user().or(Key::client_ip()));
    OpenApiRouter::default()
        .routes(routes!(create).layer((limited, DefaultBodyLimit::max(MAX_FILE))))
        .routes(routes!(list))
        .routes(routes!(download, delete))
}

/// What a file is made of.
#[derive(ToSchema)]
#[schema(as = File, value_type = String, format = Binary)]
#[allow(dead_code, reason = "only its shape is of use")]
struct FileBytes(Vec<u8>);

/// The user's files, newest first.
#[utoipa::path(get, path = "/api/v1/uploads", tag = "uploads", params(ListQuery),
    security(("session" = []), ("api_key" = ["uploads:read"])), responses((status = OK, body = Page<Upload>)))]
async fn list(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    paging: Paging,
) -> Result<Json<Page<Upload>>, Problem> {
    Ok(Json(state.uploads.list(user, &paging).await?))
}

/// Keeps the body as a file of up to 1 MiB.
#[utoipa::path(post, path = "/api/v1/uploads", tag = "uploads",
    params(("name" = Option<String>, Query, description = "The file's name")),
    request_body(content = FileBytes, content_type = "application/octet-stream", description = "The file, of any type"),
    security(("session" = []), ("api_key" = ["uploads:write"])), responses((status = CREATED, body = Upload)))]
async fn create(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    FileName(name): FileName,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    let content_type = content_type(request.headers())?;
    let content = form::whole(request, &()).await?.into();
    let created = state.uploads.create(user, &NewUpload { name, content_type, content }).await?;
    let Some(created) = created else {
        let detail = format!("you have {MOST} uploads, and nobody can have more; delete one first");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    };
    let location = format!("/api/v1/uploads/{}", created.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(created)))
}

/// The file, as it was sent.
#[utoipa::path(get, path = "/api/v1/uploads/{id}", tag = "uploads", params(("id" = i64, Path)),
    security(("session" = []), ("api_key" = ["uploads:read"])),
    responses((status = OK, body = FileBytes, content_type = "application/octet-stream")))]
async fn download(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(id): ItemId,
) -> Result<Response, Problem> {
    state.uploads.find(user, id).await?.map(attached).ok_or_else(Problem::not_found)
}

/// Deletes a file.
#[utoipa::path(delete, path = "/api/v1/uploads/{id}", tag = "uploads", params(("id" = i64, Path)),
    security(("session" = []), ("api_key" = ["uploads:write"])), responses((status = NO_CONTENT)))]
async fn delete(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
    ItemId(id): ItemId,
) -> Result<StatusCode, Problem> {
    if state.uploads.delete(user, id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found()) }
}

/// `?name=`, without directories; `upload` when there is none.
struct FileName(String);

impl<S: Sync> FromRequestParts<S> for FileName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = Form::of_query(parts.uri.query().unwrap_or_default());
        let name = query.optional("name", file_name).unwrap_or_else(|| UNNAMED.to_owned());
        query.finish(|| Some(Self(name)))
    }
}

fn file_name(value: Value) -> Checked<String> {
    let name = rules::line(1, NAME)(value)?;
    let is_path = name.contains(['/', '\\']) || matches!(&*name, "." | "..");
    if is_path { Err("must be a name, not a path".into()) } else { Ok(name) }
}

fn refused(field: &'static str, message: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::invalid(vec![Invalid { field: field.into(), message: message.into() }])
}

/// The type that the client says it is; it is taken at its word for nothing.
fn content_type(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(UNKNOWN.to_owned()) };
    let text = value.to_str().ok().filter(|text| text.len() <= CONTENT_TYPE && essence(text).contains('/'));
    text.map(str::to_owned).ok_or_else(|| refused("content-type", "must be a media type like image/png"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_type_is_a_type_or_refused() {
        let of = |value: &'static str| {
            content_type(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]))
        };
        assert_eq!(content_type(&HeaderMap::new()).ok().as_deref(), Some(UNKNOWN));
        assert_eq!(of("a/b; c=d").ok().as_deref(), Some("a/b; c=d"));
        assert!(of("").is_err() && of("png").is_err() && of("x; a/b").is_err());
    }
}
