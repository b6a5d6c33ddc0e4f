//! `/livez`, `/readyz`, `/health`: exempt from limits and cache; and what administrators see of Redis.
//!
//! 1. **Live** means that the process answers; nothing else is looked at, or an outage would restart every
//!    instance.
//! 2. **Ready** means that requests can be served: 503 only when the database is gone. Without Redis the app is
//!    degraded and stays ready.
//! 3. **Why** it is degraded is for administrators: a stranger learns one word.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use towerkeep::{
    CurrentUser, Keep, Status,
    health::{HealthReport, Verdict},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{access::administrators_only, database::Database, problem::Problem, state::AppState};

const PATHS: [&str; 3] = ["/livez", "/readyz", "/health"];

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    let probes = OpenApiRouter::default().routes(routes!(live)).routes(routes!(readyz)).routes(routes!(health));
    probes.routes(routes!(redis))
}

/// How the app stands.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `ok`, `degraded` without Redis or where it refuses something, `down` without the database.
    #[schema(example = "ok")]
    status: &'static str,
    /// `up` or `down`.
    database: &'static str,
    /// How requests find it: `in_memory`, `up`, `degraded` or `down`.
    redis: &'static str,
}

/// How Redis is. A check that fails says why: `unreachable`, `slow`, `wrong_password`, `out_of_memory`,
/// `read_only_replica` and others; `untried` after one before it failed.
#[derive(Serialize, ToSchema)]
struct RedisHealth {
    /// `ok` or `degraded`.
    #[schema(example = "ok")]
    status: &'static str,
    /// How requests find it: `in_memory`, `up`, `degraded` or `down`.
    redis: &'static str,
    /// Whether a new connection is let in.
    #[schema(example = "ok")]
    connection: &'static str,
    /// Whether a value is written.
    #[schema(example = "ok")]
    write: &'static str,
    /// Whether it is read.
    #[schema(example = "ok")]
    read: &'static str,
    /// How long all of it took, in milliseconds.
    took_ms: f64,
}

impl From<HealthReport> for RedisHealth {
    fn from(report: HealthReport) -> Self {
        Self {
            status: report.verdict().as_str(),
            redis: report.status.as_str(),
            connection: report.connection.as_str(),
            write: report.write.as_str(),
            read: report.read.as_str(),
            took_ms: report.took.as_secs_f64() * 1_000.0,
        }
    }
}

/// That the process answers.
#[derive(Serialize, ToSchema)]
struct Alive {
    status: &'static str,
}

/// Whether a request is a probe, which no limit counts.
pub(crate) fn is_probe(path: &str) -> bool {
    PATHS.contains(&path)
}

/// Whether the process answers.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = OK, body = Alive)))]
async fn live() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], Json(Alive { status: "ok" }))
}

/// Whether requests can be served: 503 only when the database is gone.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = OK, body = Health)))]
async fn readyz(state: State<AppState>) -> impl IntoResponse {
    ready(state).await
}

/// The same as `/readyz`.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = OK, body = Health)))]
async fn health(state: State<AppState>) -> impl IntoResponse {
    ready(state).await
}

/// How Redis is, and why: for administrators who are logged in.
///
/// A connection, a write and a read are tried at most once a second. With Redis gone it answers those whom this instance has
/// seen.
#[utoipa::path(get, path = "/api/v1/admin/redis", tag = "health", security(("session" = [])),
    responses((status = OK, body = RedisHealth)))]
async fn redis(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser<i64>,
) -> Result<Json<RedisHealth>, Problem> {
    administrators_only(&state, user, "the state of Redis").await?;
    Ok(Json(state.keep.health().report().await.into()))
}

async fn ready(State(state): State<AppState>) -> impl IntoResponse {
    let (has_database, has_redis) = tokio::join!(state.probe.is_up(&state.database), is_whole(&state.keep));
    let (status, word) = match (has_database, has_redis) {
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "down"),
        (true, true) => (StatusCode::OK, "ok"),
        (true, false) => (StatusCode::OK, "degraded"),
    };
    let database = if has_database { "up" } else { "down" };
    let health = Health { status: word, database, redis: state.keep.status().as_str() };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(health))
}

/// Whether requests reach Redis, and a new connection, a write and a read succeed too. In an outage nothing is tried: it says
/// so at once, and as soon as it is over.
async fn is_whole(keep: &Keep) -> bool {
    match keep.status() {
        Status::Up | Status::InMemory => keep.health().report().await.verdict() == Verdict::Ok,
        Status::Degraded | Status::Down => false,
    }
}

/// Asks the database at most once a second, however often the probes come: nobody limits them.
#[derive(Clone, Debug)]
pub(crate) struct Probe(Arc<Asked>);

#[derive(Debug)]
struct Asked {
    epoch: Instant,
    /// Milliseconds after `epoch`.
    next: AtomicU64,
    is_up: AtomicBool,
}

const ASK_EVERY: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

impl Probe {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Asked { epoch: Instant::now(), next: AtomicU64::new(0), is_up: AtomicBool::new(true) }))
    }

    async fn is_up(&self, database: &Database) -> bool {
        if self.0.is_due() {
            let answer = tokio::time::timeout(ANSWER_WITHIN, database.answers()).await;
            self.0.is_up.store(answer.unwrap_or(false), Relaxed);
        }
        self.0.is_up.load(Relaxed)
    }
}

impl Asked {
    /// True for one caller a second.
    fn is_due(&self) -> bool {
        let now = millis(self.epoch.elapsed());
        let next = self.next.load(Relaxed);
        now >= next && self.next.compare_exchange(next, now + millis(ASK_EVERY), Relaxed, Relaxed).is_ok()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
