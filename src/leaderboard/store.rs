//! The seam: what a store of leaderboards can do.

use std::sync::Arc;

use super::{Name, Recorded, Rules, SourceRow, Standing, Window};
use crate::{Cx, StoreFuture, clock::Timestamp};

/// One board: a name, and which stretch of time for a board of a period.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BoardId {
    /// Whose board.
    pub name: Name,
    /// Of which time; all of it without.
    pub window: Option<Window>,
}

/// An answer about a board that may be lost.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer<T> {
    /// The board is there.
    Known(T),
    /// The board has a source, and is not there: it was never built, or Redis has lost it.
    Lost,
}

/// A change of one member.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A score, by the rules' [`Update`](super::Update).
    Record {
        /// Whose.
        member: String,
        /// Finite.
        score: f64,
    },
    /// Points of an event, which count once.
    Add {
        /// Whose.
        member: String,
        /// Finite.
        points: f64,
        /// Unique within the board.
        event: String,
    },
    /// The member leaves the board.
    Remove {
        /// Who.
        member: String,
    },
}

impl Change {
    /// Whom it is about.
    pub fn member(&self) -> &str {
        let (Self::Record { member, .. } | Self::Add { member, .. } | Self::Remove { member }) = self;
        member
    }
}

/// A question about one board.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// Rows after the first `offset`.
    Page {
        /// How many rows are left out.
        offset: u64,
        /// 1 to 100.
        limit: u32,
    },
    /// So many rows with this member in the middle, or as near to it as the ends allow.
    Around {
        /// Who.
        member: String,
        /// 1 to 100.
        rows: u32,
    },
    /// These members, at most 100, in their order.
    Members(Vec<String>),
    /// One member, and how many have a worse score.
    Percentile(String),
}

/// What a store knows of a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// How many members there are.
    pub total: u64,
    /// The rows; nothing for a member who is not there.
    pub rows: Vec<Option<Standing>>,
    /// How many members have a worse score; for [`Query::Percentile`].
    pub worse: u64,
}

/// Who may rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The caller: its token holds the lock, and changes are kept for it from now on.
    Begun,
    /// Somebody else is at it.
    Busy,
    /// Nobody needs to: the board is there.
    Done,
}

/// How far a rebuild is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The new board is in place.
    Done,
    /// Some of what came meanwhile is applied, more waits: call again.
    More,
    /// The lock is not this token's any more: begin anew.
    Gone,
}

/// Keeps boards.
///
/// 1. Every verb is one atomic step and under way when it returns.
/// 2. A member or a board that is not there is not an error. An empty board and a lost one are told apart, by a mark that the
///    store keeps: with a source a lost board is [`Answer::Lost`], without one it is begun anew.
/// 3. Invalid: a sum beyond 2^53, which changes nothing; a board that is kept by other [`Rules`] and has no source.
/// 4. Scores that reach a store are finite, and members 1 to 128 bytes: [`Leaderboard`](super::Leaderboard) sees to that.
pub trait LeaderboardStore: Send + Sync + 'static {
    /// The store's time, which decides about periods.
    fn now(&self, cx: &Cx) -> Timestamp;

    /// Changes a member on all `boards`, which are of one name, or on none; an answer for each.
    ///
    /// While a board is rebuilt the change is kept for it; if it is lost, too, the answer is pending.
    fn change(&self, cx: &Cx, rules: &Rules, boards: &[BoardId], change: &Change)
    -> StoreFuture<Vec<Answer<Recorded>>>;

    /// Answers a question about a board.
    fn read(&self, cx: &Cx, rules: &Rules, board: &BoardId, query: &Query) -> StoreFuture<Answer<Reading>>;

    /// Empties `boards`, and calls off what rebuilds them. Event ids are remembered all the same.
    fn reset(&self, cx: &Cx, rules: &Rules, boards: &[BoardId]) -> StoreFuture<()>;

    /// Begins a rebuild, under a lock that ends by itself when the next step does not come; `force` does it to a board that
    /// is there. Called again with the token that has begun, it is the same beginning.
    fn begin(&self, cx: &Cx, rules: &Rules, board: &BoardId, token: &str, force: bool) -> StoreFuture<Begun>;

    /// Puts rows, at most about 100 with their events, into what is being built; whether the lock still holds.
    fn load(&self, cx: &Cx, rules: &Rules, board: &BoardId, token: &str, rows: &[SourceRow]) -> StoreFuture<bool>;

    /// Applies what was changed since the beginning, and puts the new board in the place of the old one.
    fn finish(&self, cx: &Cx, rules: &Rules, board: &BoardId, token: &str) -> StoreFuture<Finished>;
}

const _: Option<&dyn LeaderboardStore> = None;

impl<T: LeaderboardStore + ?Sized> LeaderboardStore for Arc<T> {
    fn now(&self, cx: &Cx) -> Timestamp {
        (**self).now(cx)
    }

    fn change(
        &self,
        cx: &Cx,
        rules: &Rules,
        boards: &[BoardId],
        change: &Change,
    ) -> StoreFuture<Vec<Answer<Recorded>>> {
        (**self).change(cx, rules, boards, change)
    }

    fn read(&self, cx: &Cx, rules: &Rules, board: &BoardId, query: &Query) -> StoreFuture<Answer<Reading>> {
        (**self).read(cx, rules, board, query)
    }

    fn reset(&self, cx: &Cx, rules: &Rules, boards: &[BoardId]) -> StoreFuture<()> {
        (**self).reset(cx, rules, boards)
    }

    fn begin(&self, cx: &Cx, rules: &Rules, board: &BoardId, token: &str, force: bool) -> StoreFuture<Begun> {
        (**self).begin(cx, rules, board, token, force)
    }

    fn load(&self, cx: &Cx, rules: &Rules, board: &BoardId, token: &str, rows: &[SourceRow]) -> StoreFuture<bool> {
        (**self).load(cx, rules, board, token, rows)
    }

    fn finish(&self, cx: &Cx, rules: &Rules, board: &BoardId, token: &str) -> StoreFuture<Finished> {
        (**self).finish(cx, rules, board, token)
    }
}
