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
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde_json::json;
use towerkeep::Status;

use crate::{database::Database, state::AppState};

const PATHS: [&str; 3] = ["/livez", "/readyz", "/health"];

pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/livez", get(live)).route("/readyz", get(ready)).route("/health", get(ready))
}

/// Whether a request is a probe, which no limit counts.
pub(crate) fn is_probe(path: &str) -> bool {
    PATHS.contains(&path)
}

async fn live() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], Json(json!({ "status": "ok" })))
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
    let body = json!({ "status": word, "database": database, "redis": redis.as_str() });
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body))
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
