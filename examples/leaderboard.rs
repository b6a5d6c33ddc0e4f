//! A leaderboard that survives Redis being down: the database is the truth, the board a fast copy.
//!
//! ```sh
//! cargo run --example leaderboard
//! for who in ann/1500 bob/1500 cy/1200; do curl -X POST http://127.0.0.1:3000/7/$who; done
//! curl http://127.0.0.1:3000/7
//! ```
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use towerkeep::{
    Keep, OnOutage as _, StoreFuture,
    leaderboard::{BoardId, BoardSource, Leaderboard, SourcePage, SourceRow, Standing},
};

/// What a database would be: the best score by challenge and who.
#[derive(Clone, Default)]
struct Scores(Arc<Mutex<BTreeMap<(String, String), u32>>>);

impl Scores {
    fn keep_best(&self, challenge: u64, who: &str, score: u32) {
        let mut scores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let best = scores.entry((challenge.to_string(), who.to_owned())).or_insert(score);
        *best = score.max(*best);
    }
}

/// A board that Redis has lost, or that has missed a score, is rebuilt from here.
impl BoardSource for Scores {
    fn read(&self, board: &BoardId, _: Option<&str>, _: usize) -> StoreFuture<SourcePage> {
        let scores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_board = scores.iter().filter(|((challenge, _), _)| challenge == board.name.id());
        let rows = of_board.map(|((_, who), score)| SourceRow::new(who, f64::from(*score))).collect();
        StoreFuture::ok(SourcePage { rows, next: None })
    }
}

#[derive(Clone)]
struct App {
    keep: Keep,
    scores: Scores,
}

impl App {
    /// One place says how a challenge's board is kept.
    fn board(&self, challenge: u64) -> Leaderboard {
        self.keep.leaderboard(("challenge", challenge)).source(self.scores.clone())
    }
}

async fn top(State(app): State<App>, Path(challenge): Path<u64>) -> towerkeep::Result<Json<Vec<Standing>>> {
    Ok(Json(app.board(challenge).top(10).await.on_outage(Vec::new)?))
}

/// Committed first; while Redis is away that is all, and the board is rebuilt when it is back.
async fn score(
    State(app): State<App>,
    Path((challenge, who, score)): Path<(u64, String, u32)>,
) -> towerkeep::Result<StatusCode> {
    // What no board takes is not committed either: a source with such a row cannot rebuild.
    if who.len() > 128 {
        return Ok(StatusCode::UNPROCESSABLE_ENTITY);
    }
    app.scores.keep_best(challenge, &who, score);
    match app.board(challenge).record(&who, f64::from(score)).await {
        Err(error) if !error.is_unavailable() => Err(error),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let keep = Keep::from_env()?;
    let routes = Router::new().route("/{challenge}", get(top)).route("/{challenge}/{who}/{score}", post(score));
    let app = routes.layer(keep.layer()).with_state(App { keep, scores: Scores::default() });
    Ok(axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await?)
}
