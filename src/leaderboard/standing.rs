//! What a board answers.

use serde::{Deserialize, Serialize};

use crate::outcome::outcomes;

/// One row of a board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Who: what was given to `record`, as text.
    pub member: String,
    /// Their score.
    pub score: f64,
    /// Their place, from 1; equal scores by the board's [`Ranking`](super::Ranking).
    pub rank: u64,
}

outcomes! {
    /// What became of an update.
    pub enum RecordOutcome {
        /// The member has a new score.
        Recorded => "recorded",
        /// The score stays: another was better, or it is the same.
        Unchanged => "unchanged",
        /// The event was counted before.
        Repeated => "repeated",
        /// The board is being rebuilt from its source, and the update will be in it.
        Pending => "pending",
    }
}

/// What an update found and left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recorded {
    /// What became of it.
    pub outcome: RecordOutcome,
    /// The score before; nothing for a member who was not on the board, while the update is pending, and where it came into a
    /// lost board with its rebuild.
    pub old: Option<f64>,
    /// The score now; nothing for a member who is removed or below the cap, or while the update is pending.
    pub new: Option<f64>,
    /// The place now.
    pub rank: Option<u64>,
    /// The place before.
    pub previous_rank: Option<u64>,
}

impl Recorded {
    pub(super) const PENDING: Self =
        Self { outcome: RecordOutcome::Pending, old: None, new: None, rank: None, previous_rank: None };

    /// A change that came into the board with its rebuild.
    pub(super) fn seen(standing: Option<Standing>) -> Self {
        let (new, rank) = (standing.as_ref().map(|row| row.score), standing.map(|row| row.rank));
        Self { outcome: RecordOutcome::Recorded, old: None, new, rank, previous_rank: None }
    }

    /// Whether the board does not show it yet.
    pub fn is_pending(&self) -> bool {
        self.outcome == RecordOutcome::Pending
    }
}
