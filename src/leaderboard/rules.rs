//! How a board counts and orders.

use std::{num::NonZeroU32, time::Duration};

use super::BoardId;
use crate::{
    Error, Result,
    clock::{Timestamp, days, hours},
};

/// How members with equal scores are ranked: 1500, 1500, 1200 as three examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ranking {
    /// 1, 2, 3: every member has a rank of their own, by the [`TieBreak`].
    Ordinal,
    /// 1, 1, 3: equal scores share a rank, and the ranks after them are left out, as in sports.
    #[default]
    Competition,
    /// 1, 1, 2: equal scores share a rank, and none is left out. Keeps a second sorted set, of the distinct scores.
    Dense,
}

/// Which of several members with equal scores stands first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TieBreak {
    /// By the bytes of the member, ascending: in SQL `ORDER BY score DESC, member COLLATE "C"`.
    #[default]
    Member,
    /// Who reached the score first, to the millisecond; then by member. Takes a hash beside the board, some 60 bytes a member.
    FirstToReach,
    /// Who reached the score last; then by member. As costly.
    LastToReach,
}

/// What [`record`](super::Leaderboard::record) makes of a member's old score and a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Update {
    /// The higher one stays.
    #[default]
    Best,
    /// The lower one stays, and **the lowest score stands first**: times of a race, strokes of golf.
    Lowest,
    /// The new one stays.
    Last,
    /// Both are added up. What is recorded twice counts twice; [`add`](super::Leaderboard::add) tells a retry by its event id.
    Sum,
    /// The old one stays, if there is one.
    IfAbsent,
}

/// How a board is kept; all of its handles should be given the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// How equal scores are ranked.
    pub ranking: Ranking,
    /// Who of equals stands first.
    pub ties: TieBreak,
    /// What a new score does to an old one.
    pub update: Update,
    /// How many members are kept, the best ones; all of them without.
    pub cap: Option<NonZeroU32>,
    /// How long an event id is remembered.
    pub remember: Duration,
    /// How long the board of a period is kept after it is over.
    pub keep: Duration,
    /// Whether the board can be rebuilt: then one that is lost is not begun anew.
    pub has_source: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            ranking: Ranking::default(),
            ties: TieBreak::default(),
            update: Update::default(),
            cap: None,
            remember: hours(24),
            keep: days(7),
            has_source: false,
        }
    }
}

impl Rules {
    /// Whether the lowest score stands first.
    pub fn is_lowest_first(&self) -> bool {
        self.update == Update::Lowest
    }

    /// What cannot be changed without a rebuild, as three letters: the order, the ties, the companion of dense ranks.
    pub(super) fn layout(&self) -> String {
        let order = if self.is_lowest_first() { 'l' } else { 'h' };
        let ties = match self.ties {
            TieBreak::Member => 'm',
            TieBreak::FirstToReach => 'f',
            TieBreak::LastToReach => 'l',
        };
        let dense = if self.ranking == Ranking::Dense { 'd' } else { '-' };
        [order, ties, dense].iter().collect()
    }

    /// When a board of a period is forgotten.
    pub(super) fn expires(&self, board: &BoardId) -> Option<Timestamp> {
        board.window.as_ref().map(|window| window.end() + self.keep)
    }

    pub(super) fn check(&self) -> Result<()> {
        let sums = self.update == Update::Sum;
        if sums && self.cap.is_some() {
            return Err(Error::invalid(
                "a board of sums cannot have a cap: who falls out of it would begin at 0 again",
            ));
        }
        if self.remember < hours(1) || self.remember > hours(24 * 366) {
            return Err(Error::invalid("event ids are remembered for an hour at least and for 366 days at most"));
        }
        Ok(())
    }
}
