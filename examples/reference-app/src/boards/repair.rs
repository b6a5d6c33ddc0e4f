//! What keeps boards and database alike, whatever happened in between.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use towerkeep::prelude::*;

use super::{Boards, tell};
use crate::database::scores::ScoreEvent;

/// How often it is looked whether Redis is gone, on each instance.
const TICK: Duration = Duration::from_millis(100);
/// After so many ticks what waits is looked for, and after so many boards are compared; both at once when Redis is back.
const SWEEP_EVERY: u32 = 20;
const COMPARE_EVERY: u32 = 600;
/// Boards that took nothing for so long are not compared.
const LATELY: Duration = days(1);
/// What is younger is most likely under way.
const PATIENCE: Duration = seconds(1);
/// Half of the time that a board remembers events: for what waited longer it must be rebuilt.
const LONG: Duration = hours(12);
/// Events that are read at once.
const AT_ONCE: i64 = 500;

/// Keeps boards and database alike from now on, until it is aborted.
pub(crate) fn keep_alike(boards: Boards) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut tick, mut has_failed) = (0, false);
        loop {
            ticks.tick().await;
            if boards.keep.status() == Status::Down {
                tick = 0;
                continue;
            }
            if tick % SWEEP_EVERY == 0 {
                let done = boards.catch_up(tick == 0).await;
                if let (Err(error), false) = (&done, has_failed) {
                    tracing::warn!(%error, "cannot look for scores that boards lack; going on");
                }
                has_failed = done.is_err();
            }
            tick = (tick + 1) % COMPARE_EVERY;
        }
    })
}

impl Boards {
    async fn catch_up(&self, compares: bool) -> sqlx::Result<()> {
        self.sweep().await?;
        if compares { self.compare().await } else { Ok(()) }
    }

    /// Offers all events that wait to their boards. Any number of instances may do so at once.
    pub(crate) async fn sweep(&self) -> sqlx::Result<()> {
        let mut after = 0;
        loop {
            let events = self.scores.waiting(after, PATIENCE, AT_ONCE).await?;
            let Some(last) = events.last() else { return Ok(()) };
            after = last.id;
            let (taken, goes_on) = self.give_all(&events).await;
            if !taken.is_empty() {
                self.scores.taken(&taken).await?;
            }
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// What was taken, and whether boards still answer.
    async fn give_all(&self, events: &[ScoreEvent]) -> (Vec<i64>, bool) {
        let mut taken = Vec::new();
        for event in events {
            match self.give_late(event).await {
                Ok(_) => taken.push(event.id),
                Err(error) if error.is_unavailable() => return (taken, false),
                Err(error) => tell(&error),
            }
        }
        (taken, true)
    }

    /// A board may have taken an event long ago, and have forgotten it since. Then it counts twice until the rebuild.
    async fn give_late(&self, event: &ScoreEvent) -> towerkeep::Result<Option<u64>> {
        if event.is_older_than(LONG) {
            self.board(event.challenge, event.ranking).rebuild()?;
        }
        self.give(event).await
    }

    /// Has those boards rebuilt that lack what they took last.
    pub(crate) async fn compare(&self) -> sqlx::Result<()> {
        for event in self.scores.last_taken(LATELY).await? {
            let board = self.board(event.challenge, event.ranking);
            let has_it = match board.rank_of(event.user).await {
                Ok(standing) => standing.is_some_and(|standing| standing.score >= event.total as f64),
                Err(error) if error.is_unavailable() => return Ok(()),
                Err(_) => continue,
            };
            if !has_it {
                tracing::warn!(challenge = event.challenge, "a leaderboard has gone back in time; it is rebuilt");
                board.rebuild().unwrap_or_else(|error| tell(&error));
            }
        }
        Ok(())
    }
}
