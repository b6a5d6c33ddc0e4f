//! The OpenAPI document, made from the handlers: at `/openapi.json`, and as a page at `/docs` that loads nothing from
//! elsewhere.

use axum::{Router, http::StatusCode};
use serde::Serialize;
use utoipa::{
    IntoParams, Modify, OpenApi, ToSchema,
    openapi::{
        ContentBuilder, Ref, RefOr, ResponseBuilder,
        path::{Operation, PathItem},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::{
    problem::{Invalid, PROBLEM_JSON},
    state::AppState,
};

/// The cookie of a session: `sid` on plain HTTP, `__Host-sid` on HTTPS.
pub(crate) const SESSION: &str = "session";

/// `Authorization: Bearer tk_...`; the scopes that an operation asks for stand beside it in the document.
pub(crate) const API_KEY: &str = "api_key";

const KEYS: &str = "A key from `POST /api/v1/api-keys`, which acts for its owner as far as its scopes allow. \
                    An operation that lists no `api_key` takes none.";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "towerkeep reference app",
        description = "Bookmarks, tasks, challenges and user actions behind the layers of towerkeep. Lists are \
                       `{\"items\": [...], \"next_cursor\": ...}`; every error is `application/problem+json` (RFC 9457).",
        license(name = "MIT", identifier = "MIT"),
    ),
    components(schemas(ProblemDocument)),
    modifiers(&Securities)
)]
struct Document;

/// What every error looks like (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
#[allow(dead_code, reason = "only its shape is of use")]
struct ProblemDocument {
    r#type: String,
    title: String,
    status: u16,
    detail: Option<String>,
    /// All fields that were refused.
    errors: Option<Vec<Invalid>>,
    /// Names the request in the log.
    request_id: Option<String>,
}

/// `?limit=&cursor=` of every list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only its shape is of use: `Paging` reads it")]
pub(crate) struct ListQuery {
    /// How many items at most.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

struct Securities;

impl Modify for Securities {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("sid")));
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(KEYS)).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(SESSION, cookie);
        components.add_security_scheme(API_KEY, SecurityScheme::Http(bearer));
    }
}

/// A router that gathers the document along with the routes.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Document::openapi())
}

/// The document of these routes, whole.
pub(crate) fn finish(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    for item in document.paths.paths.values_mut() {
        operations(item).for_each(complete);
    }
    document
}

/// The document and the page that shows it.
pub(crate) fn routes(document: utoipa::openapi::OpenApi) -> Router<AppState> {
    SwaggerUi::new("/docs").url("/openapi.json", document).into()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten()
}

/// What is alike on all routes is said here: what is not a success is a problem, names are unique over the resources,
/// and each success is described by its status.
fn complete(operation: &mut Operation) {
    if let (Some(tag), Some(name)) = (operation.tags.iter().flatten().next(), &operation.operation_id) {
        operation.operation_id = Some(format!("{tag}_{name}"));
    }
    for (status, response) in &mut operation.responses.responses {
        if let (RefOr::T(response), Ok(status)) = (response, status.parse::<StatusCode>()) {
            response.description = status.canonical_reason().unwrap_or_default().to_owned();
        }
    }
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let problem = ResponseBuilder::new().description("A problem").content(PROBLEM_JSON, content).build();
    operation.responses.responses.entry("default".to_owned()).or_insert(RefOr::T(problem));
}
