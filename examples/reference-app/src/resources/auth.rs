//! `/api/v1/auth`: register, log in and out, and who one is.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use towerkeep::prelude::*;
use utoipa::ToSchema;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use crate::{
    database::users::{Credentials, User},
    form::Form,
    problem::Problem,
    rules,
    state::{AppState, to_the_end},
};

/// Wrong passwords for one account from one address. A login that succeeds takes its attempt back.
const LOGIN: Policy = Policy::sliding_window("login", 5, minutes(5));

/// The name of the cache of `me`.
const ME: &str = "me";

pub(crate) fn routes(keep: &Keep) -> OpenApiRouter<AppState> {
    let cached = keep.cache().per_user(ME).ttl(minutes(5));
    OpenApiRouter::default()
        .routes(routes!(register))
        .routes(routes!(login))
        .routes(routes!(logout))
        .routes(routes!(logout_all))
        .routes(routes!(me).layer(cached))
}

/// What one registers and logs in with.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its shape is of use: `Form` reads it")]
struct NameAndPassword {
    /// 3 to 32 letters, digits, `-`, `_` or `.`.
    #[schema(example = "ann")]
    username: String,
    /// 8 to 256 bytes.
    #[schema(example = "correct horse")]
    password: String,
}

/// How many sessions were ended.
#[derive(Serialize, ToSchema)]
struct Ended {
    ended: usize,
}

/// Makes an account; it is not logged in.
#[utoipa::path(post, path = "/api/v1/auth/register", tag = "auth", request_body = NameAndPassword,
    responses((status = CREATED, body = User)))]
async fn register(State(state): State<AppState>, mut form: Form) -> Result<impl IntoResponse, Problem> {
    let username = form.required("username", rules::username);
    let password = form.required("password", rules::new_password);
    let (username, password) = form.finish(|| username.zip(password))?;
    let hash = state.passwords.hash(password).await?;
    match state.users.create(&username, &hash, false).await? {
        Some(user) => Ok((StatusCode::CREATED, Json(user))),
        None => Err(Problem::new(StatusCode::CONFLICT, "this username is taken")),
    }
}

/// Logs in; the session is a cookie. Five wrong passwords in five minutes per address and account.
///
/// The attempt is counted before the password is looked at, so that many guesses at once do not slip through.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "auth", request_body = NameAndPassword,
    responses((status = OK, body = User)))]
async fn login(
    State(state): State<AppState>,
    session: Session,
    ip: ClientIp,
    mut form: Form,
) -> Result<Response, Problem> {
    let username = form.required("username", rules::string).map(|name| name.to_ascii_lowercase());
    let password = form.required("password", rules::string);
    let (username, password) = form.finish(|| username.zip(password))?;
    let attempt = match state.keep.limits().check(LOGIN, (ip, &username)).await {
        Ok(attempt) => attempt,
        Err(denied) => return Ok(denied.into_response()),
    };
    let Some(user) = authenticate(&state, &username, password).await? else {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "wrong username or password"));
    };
    attempt.refund().await;
    session.login(user.id).await?;
    Ok(Json(user).into_response())
}

/// A name that nobody can have is looked up nowhere and takes as long.
async fn authenticate(state: &AppState, username: &str, password: String) -> Result<Option<User>, Problem> {
    let known = match rules::username(username.into()) {
        Ok(username) => state.users.credentials(&username).await?,
        Err(_) => None,
    };
    let (user, hash) = match known {
        Some(Credentials { user, password_hash }) => (Some(user), Some(password_hash)),
        None => (None, None),
    };
    let is_right = state.passwords.verify(password, hash).await?;
    Ok(user.filter(|_| is_right))
}

/// Ends this session.
///
/// Asks for no user: during an outage a session that cannot be proven can still be ended.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "auth", security((), ("session" = [])),
    responses((status = NO_CONTENT)))]
async fn logout(
    State(state): State<AppState>,
    session: Session,
    user: Option<CurrentUser<i64>>,
) -> Result<StatusCode, Problem> {
    end(&state, &session, user.map(|CurrentUser(user)| user)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the session that asks, whoever's it is.
pub(super) async fn end(state: &AppState, session: &Session, user: Option<i64>) -> Result<(), Problem> {
    session.logout().await?;
    match user {
        Some(user) => forget(state, user).await,
        None => Ok(()),
    }
}

/// Ends all sessions of this user.
#[utoipa::path(post, path = "/api/v1/auth/logout-all", tag = "auth", security(("session" = [])),
    responses((status = OK, body = Ended)))]
async fn logout_all(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
) -> Result<Json<Ended>, Problem> {
    let ended = state.keep.sessions().revoke_all(user).await?;
    forget(&state, user).await?;
    Ok(Json(Ended { ended }))
}

/// Who is asking.
#[utoipa::path(get, path = "/api/v1/auth/me", tag = "auth", security(("session" = []), ("api_key" = [])),
    responses((status = OK, body = User)))]
async fn me(State(state): State<AppState>, CurrentUser(user): CurrentUser<i64>) -> Result<Json<User>, Problem> {
    let user = state.users.find(user).await?;
    user.map(Json).ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "this account does not exist any more"))
}

async fn forget(state: &AppState, user: i64) -> Result<(), Problem> {
    let cache = state.keep.cache().clone();
    to_the_end(async move {
        cache.purge_user(ME, user).await;
        Ok(())
    })
    .await
}
