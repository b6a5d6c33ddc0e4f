//! Boards of this process.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    Answer, Begun, BoardId, Change, Finished, LeaderboardStore, Query, Reading, Recorded, Rules, SourceRow, check,
    rebuild::{LOCK, owner},
    table::{Millis, Table},
};
use crate::{
    Cx, Error, Result, StoreFuture,
    clock::{Clock, Timestamp},
    store::OutageSwitch,
};

/// Keeps boards in this process: for one instance, and for tests.
///
/// 1. The order, the ranks and every outcome are those of the Redis store.
/// 2. A place is found in O(log n), and counted in steps of a few hundred rows.
/// 3. Boards stay until they are dropped with the store; those of periods until they are over and their time is up.
///
/// ```
/// use towerkeep::{clock::Clock, leaderboard::{Leaderboards, MemoryLeaderboardStore}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let boards = Leaderboards::new(MemoryLeaderboardStore::new(Clock::system()));
/// let board = boards.board(("challenge", 42));
/// board.record("alice", 1500.0).await.unwrap();
/// assert_eq!(board.top(10).await.unwrap()[0].member, "alice");
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryLeaderboardStore {
    boards: Arc<Mutex<HashMap<BoardId, Board>>>,
    clock: Clock,
    outage: OutageSwitch,
}

#[derive(Default)]
struct Board {
    /// How it is kept; nothing for a board that was never made.
    layout: Option<String>,
    table: Table,
    rebuild: Option<Rebuild>,
    expires: Option<Timestamp>,
}

/// A rebuild under way: who holds the lock until when, what is built, and what came meanwhile.
struct Rebuild {
    token: String,
    until: Timestamp,
    built: Table,
    pending: Vec<(Change, Millis)>,
}

/// One more calls the rebuild off.
const MOST_PENDING: usize = 100_000;

impl Board {
    fn is_there(&self, rules: &Rules) -> bool {
        self.layout.as_ref().is_some_and(|layout| *layout == rules.layout())
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Keeps the change for the rebuild that is under way; whether there is one.
    fn defer(&mut self, change: &Change, now: Millis) -> bool {
        let Some(rebuild) = &mut self.rebuild else { return false };
        if rebuild.pending.len() >= MOST_PENDING {
            self.rebuild = None;
            return false;
        }
        rebuild.pending.push((change.clone(), now));
        true
    }

    /// What a change would find: the table, an empty one for a board that begins anew, none for one that is lost.
    fn prepare(&mut self, rules: &Rules) -> Result<bool> {
        if self.is_there(rules) {
            return Ok(true);
        }
        if rules.has_source || self.rebuild.is_some() {
            return Ok(false);
        }
        if self.layout.is_some() {
            return Err(other_rules());
        }
        self.table = Table::default();
        Ok(true)
    }

    fn held_by(&mut self, token: &str) -> Option<&mut Rebuild> {
        self.rebuild.as_mut().filter(|rebuild| rebuild.token == token)
    }
}

pub(super) fn other_rules() -> Error {
    Error::invalid(
        "this board is kept with other ties, another order, or with or without dense ranks: reset it, or give it a source",
    )
}

impl MemoryLeaderboardStore {
    /// No boards yet; the time comes from `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { boards: Arc::default(), clock, outage: OutageSwitch::default() }
    }

    /// Refuses everything while `switch` is on.
    #[must_use]
    pub fn outage(mut self, switch: OutageSwitch) -> Self {
        self.outage = switch;
        self
    }

    fn boards(&self) -> MutexGuard<'_, HashMap<BoardId, Board>> {
        self.boards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn up<T>(&self, answer: impl FnOnce() -> Result<T>) -> StoreFuture<T> {
        StoreFuture::ready(self.outage.check().and_then(|()| answer()))
    }

    /// Does something with a board, a new one where there is none or its time is up.
    fn with<T>(&self, now: Timestamp, rules: &Rules, id: &BoardId, work: impl FnOnce(&mut Board) -> T) -> T {
        work(self.board(&mut self.boards(), now, rules, id))
    }

    fn board<'b>(
        &self,
        boards: &'b mut HashMap<BoardId, Board>,
        now: Timestamp,
        rules: &Rules,
        id: &BoardId,
    ) -> &'b mut Board {
        if id.window.is_some() && !boards.contains_key(id) {
            boards.retain(|_, board| !board.is_over(now));
        }
        let board = boards.entry(id.clone()).or_default();
        if board.is_over(now) {
            *board = Board::default();
        }
        board.expires = rules.expires(id);
        if board.rebuild.as_ref().is_some_and(|rebuild| rebuild.until <= self.clock.now()) {
            board.rebuild = None;
        }
        board
    }

    fn change_all(
        &self,
        now: Timestamp,
        rules: &Rules,
        ids: &[BoardId],
        change: &Change,
    ) -> Result<Vec<Answer<Recorded>>> {
        let (millis, mut boards) = (now.as_millis(), self.boards());
        for id in ids {
            let board = self.board(&mut boards, now, rules, id);
            if board.prepare(rules)? && !board.table.fits(rules, change, millis) {
                return Err(check::overflow());
            }
        }
        let change = |id| Self::change_one(self.board(&mut boards, now, rules, id), rules, change, millis);
        ids.iter().map(change).collect()
    }

    fn change_one(board: &mut Board, rules: &Rules, change: &Change, now: Millis) -> Result<Answer<Recorded>> {
        let is_there = board.prepare(rules)?;
        let is_kept = board.defer(change, now);
        if !is_there {
            return Ok(if is_kept { Answer::Known(Recorded::PENDING) } else { Answer::Lost });
        }
        board.layout = Some(rules.layout());
        board.table.change(rules, change, now).map(Answer::Known).ok_or_else(check::overflow)
    }

    fn finish_one(board: &mut Board, rules: &Rules, token: &str, now: Millis) -> Finished {
        if board.held_by(token).is_none() {
            return Finished::Gone;
        }
        let Some(mut rebuild) = board.rebuild.take() else { return Finished::Gone };
        for (change, at) in rebuild.pending {
            // A sum that would not be exact any more was refused when it came.
            rebuild.built.make(rules, &change, at, now);
        }
        board.table = rebuild.built;
        board.layout = Some(rules.layout());
        Finished::Done
    }
}

impl LeaderboardStore for MemoryLeaderboardStore {
    fn now(&self, cx: &Cx) -> Timestamp {
        cx.now().unwrap_or_else(|| self.clock.now())
    }

    fn change(
        &self,
        cx: &Cx,
        rules: &Rules,
        boards: &[BoardId],
        change: &Change,
    ) -> StoreFuture<Vec<Answer<Recorded>>> {
        self.up(|| self.change_all(self.now(cx), rules, boards, change))
    }

    fn read(&self, cx: &Cx, rules: &Rules, board: &BoardId, query: &Query) -> StoreFuture<Answer<Reading>> {
        let now = self.now(cx);
        self.up(|| match self.boards().get(board).filter(|board| !board.is_over(now)) {
            Some(board) if board.is_there(rules) => Ok(Answer::Known(board.table.read(rules, query))),
            _ if rules.has_source => Ok(Answer::Lost),
            Some(board) if board.layout.is_some() => Err(other_rules()),
            _ => Ok(Answer::Known(Table::default().read(rules, query))),
        })
    }

    fn reset(&self, cx: &Cx, rules: &Rules, boards: &[BoardId]) -> StoreFuture<()> {
        let empty = |board: &mut Board| {
            let table = board.table.emptied();
            *board = Board { layout: Some(rules.layout()), table, rebuild: None, expires: board.expires };
        };
        self.up(|| {
            boards.iter().for_each(|id| self.with(self.now(cx), rules, id, empty));
            Ok(())
        })
    }

    fn begin(&self, cx: &Cx, rules: &Rules, board: &BoardId, token: &str, force: bool) -> StoreFuture<Begun> {
        let begin = |board: &mut Board| {
            if board.is_there(rules) && !force {
                return Begun::Done;
            }
            match &board.rebuild {
                Some(rebuild) if rebuild.token == token => return Begun::Begun,
                Some(rebuild) if owner(&rebuild.token) != owner(token) => return Begun::Busy,
                _ => {}
            }
            let until = self.clock.now() + LOCK;
            board.rebuild =
                Some(Rebuild { token: token.to_owned(), until, built: Table::default(), pending: Vec::new() });
            Begun::Begun
        };
        self.up(|| Ok(self.with(self.now(cx), rules, board, begin)))
    }

    fn load(&self, cx: &Cx, rules: &Rules, board: &BoardId, token: &str, rows: &[SourceRow]) -> StoreFuture<bool> {
        let now = self.now(cx);
        let load = |board: &mut Board| {
            let Some(rebuild) = board.held_by(token) else { return false };
            rebuild.until = self.clock.now() + LOCK;
            rows.iter().for_each(|row| rebuild.built.load(rules, row, now.as_millis()));
            true
        };
        self.up(|| Ok(self.with(now, rules, board, load)))
    }

    fn finish(&self, cx: &Cx, rules: &Rules, board: &BoardId, token: &str) -> StoreFuture<Finished> {
        let now = self.now(cx);
        self.up(|| Ok(self.with(now, rules, board, |board| Self::finish_one(board, rules, token, now.as_millis()))))
    }
}

impl fmt::Debug for MemoryLeaderboardStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLeaderboardStore").field("boards", &self.boards().len()).finish_non_exhaustive()
    }
}
