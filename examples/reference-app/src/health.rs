//! `/livez`, `/readyz`, `/health`: exempt from limits and cache.
//!
//! 1. **Live** means that the process answers; nothing else is looked at, or an outage would restart every
//!    instance.
//! 2. **Ready** means that requests can be served: 503 only when the database is gone. Without Redis the app is
//!    degraded and stays ready.

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
use towerkeep::Status;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{database::Database, state::AppState};

const PATHS: [&str; 3] = ["/livez", "/readyz", "/health"];

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::default().routes(routes!(live)).routes(routes!(readyz)).routes(routes!(health))
}

/// How the app stands.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `ok`, `degraded` without Redis, `down` without the database.
    #[schema(example = "ok")]
    status: &'static str,
    /// `up` or `down`.
    database: &'static str,
    /// `in_memory`, `up`, `degraded` or `down`.
    redis: &'static str,
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

async fn ready(State(state): State<AppState>) -> impl IntoResponse {
    let has_database = state.probe.is_up(&state.database).await;
    let redis = state.keep.status();
    let (status, word) = match redis {
        _ if !has_database => (StatusCode::SERVICE_UNAVAILABLE, "down"),
        Status::Up | Status::InMemory => (StatusCode::OK, "ok"),
        Status::Degraded | Status::Down => (StatusCode::OK, "degraded"),
    };
    let database = if has_database { "up" } else { "down" };
    let health = Health { status: word, database, redis: redis.as_str() };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(health))
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
