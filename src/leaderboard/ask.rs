//! How a board is asked and changed: what is lost or behind is rebuilt on the way.

use std::{sync::Arc, time::Duration};

use super::{Answer, BoardId, Change, Leaderboard, Period, Query, Reading, Recorded, rebuild::Job, rebuilds::Rebuilds};
use crate::{Cx, Error, Result, clock::hours, telemetry::count};

/// How far the caller's clock may be ahead of the store's.
const SKEW: Duration = hours(1);

impl Leaderboard {
    /// The boards that an update writes; the one that is read first.
    pub(super) fn all(&self, cx: &Cx) -> Vec<BoardId> {
        let now = self.boards.store.now(cx);
        let mut periods: Vec<_> = self.periods.iter().collect();
        periods.sort_by_key(|period| Some(*period) != self.view);
        let board = |period| BoardId { name: self.name.clone(), window: self.periods.window(period, now) };
        periods.into_iter().map(board).collect()
    }

    /// The board that is read.
    fn seen(&self, cx: &Cx) -> Result<BoardId> {
        let now = self.boards.store.now(cx);
        let period = self.view.or_else(|| self.periods.iter().next()).unwrap_or(Period::All);
        let window = self.periods.window(period, self.at.unwrap_or(now));
        if window.as_ref().is_some_and(|window| window.start() > now + SKEW) {
            return Err(Error::invalid("the period of that time has not begun"));
        }
        let board = BoardId { name: self.name.clone(), window };
        if self.rules.expires(&board).is_some_and(|expires| expires <= now) {
            return Err(Error::invalid("the board of that time is not kept any more; see Periods::keep"));
        }
        Ok(board)
    }

    pub(super) fn job(&self, board: BoardId) -> Option<Job> {
        let source = Arc::clone(self.source.as_ref()?);
        Some(Job { board, rules: self.rules, source })
    }

    fn check(&self) -> Result<()> {
        if let Some(period) = self.view.filter(|period| !self.periods.has(*period)) {
            let period = period.as_str();
            return Err(Error::invalid(format!("this board is not kept by {period}: name it in periods")));
        }
        self.rules.check()
    }

    pub(super) async fn change(&self, change: Change) -> Result<Recorded> {
        self.check()?;
        let cx = Cx::new();
        let boards = self.all(&cx);
        let mut missed = Missed::new(self, &boards);
        let changed = self.boards.store.change(&cx, &self.rules, &boards, &change).await;
        if !changed.as_ref().is_err_and(|error| !error.is_invalid()) {
            missed.jobs.clear();
        }
        let answers = changed.inspect_err(|error| self.heal(&boards, error))?;
        for (board, answer) in boards.iter().zip(&answers) {
            self.tend(board, *answer == Answer::Lost);
        }
        let recorded = match answers.into_iter().next() {
            Some(Answer::Known(recorded)) => recorded,
            _ => self.rebuilt_with(&cx, &boards[0], &change).await?,
        };
        count("towerkeep_leaderboard_updates_total", [("outcome", recorded.outcome.as_str())]);
        Ok(recorded)
    }

    /// What became of a change of a lost board. The board is rebuilt from what was committed before the change was called, so it
    /// is in it, and is not made again: by now a later one may have been.
    async fn rebuilt_with(&self, cx: &Cx, board: &BoardId, change: &Change) -> Result<Recorded> {
        if self.source.is_none() {
            return Err(rebuilding());
        }
        if !self.rebuilt(board).await {
            return Ok(Recorded::PENDING);
        }
        let query = Query::Members(vec![change.member().to_owned()]);
        let read = self.boards.store.read(cx, &self.rules, board, &query).await;
        Ok(match read {
            Ok(Answer::Known(reading)) => Recorded::seen(reading.rows.into_iter().flatten().next()),
            _ => Recorded::PENDING,
        })
    }

    pub(super) async fn read(&self, query: Query) -> Result<Reading> {
        self.check()?;
        let cx = Cx::new();
        let board = self.seen(&cx)?;
        let read = || self.boards.store.read(&cx, &self.rules, &board, &query);
        let answer = read().await.inspect_err(|error| self.heal(std::slice::from_ref(&board), error))?;
        self.tend(&board, answer == Answer::Lost);
        if let Answer::Known(reading) = answer {
            return Ok(reading);
        }
        if self.rebuilt(&board).await
            && let Answer::Known(reading) = read().await?
        {
            return Ok(reading);
        }
        Err(rebuilding())
    }

    /// Has a board rebuilt that is lost, or known to have missed a change.
    fn tend(&self, board: &BoardId, is_lost: bool) {
        match self.job(board.clone()) {
            Some(job) if is_lost => drop(self.boards.rebuilds.start(&job, false)),
            Some(job) => self.boards.rebuilds.catch_up(&job),
            None => {}
        }
    }

    /// Has boards rebuilt over what is not ours.
    fn heal(&self, boards: &[BoardId], error: &Error) {
        let jobs = boards.iter().filter_map(|board| self.job(board.clone()));
        for job in jobs.filter(|_| error.is_corrupt()) {
            self.boards.rebuilds.missed(&job);
            self.boards.rebuilds.start(&job, false);
        }
    }

    /// Has a board rebuilt; whether that took no longer than it may be waited for.
    async fn rebuilt(&self, board: &BoardId) -> bool {
        let under_way = self.job(board.clone()).and_then(|job| self.boards.rebuilds.start(&job, false));
        match under_way {
            Some(under_way) => under_way.ended().await,
            None => false,
        }
    }
}

fn rebuilding() -> Error {
    Error::unavailable("the leaderboard is being rebuilt")
}

/// Notes, when it is dropped, that boards may have missed a change: it failed, or its caller went away meanwhile.
struct Missed<'a> {
    rebuilds: &'a Rebuilds,
    jobs: Vec<Job>,
}

impl<'a> Missed<'a> {
    fn new(board: &'a Leaderboard, boards: &[BoardId]) -> Self {
        let jobs = boards.iter().filter_map(|id| board.job(id.clone())).collect();
        Self { rebuilds: &board.boards.rebuilds, jobs }
    }
}

impl Drop for Missed<'_> {
    fn drop(&mut self) {
        self.jobs.iter().for_each(|job| self.rebuilds.missed(job));
    }
}
