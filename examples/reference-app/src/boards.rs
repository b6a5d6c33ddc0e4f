//! Leaderboards of challenges: boards in Redis, or in memory, of what the database knows.
//!
//! 1. A score is committed first, and waits in the database until a board has taken it. [`sweep`](Boards::sweep) offers
//!    again what was left over, by an outage or by an instance that ended in between. A board takes each event once.
//! 2. A board that is lost is rebuilt from the database. So is one that has gone back to what it was, in a Redis that was
//!    restored from a snapshot, or in a replica that was behind: [`compare`](Boards::compare) finds that out.
//! 3. While a board does not answer, the database does: with the same order, and the same places.

mod repair;
mod truth;

use serde::Serialize;
use towerkeep::{
    Error,
    leaderboard::{self, Leaderboard, Standing, Update},
    prelude::*,
};
use utoipa::ToSchema;

use crate::{
    database::{
        challenges::{Challenge, Ranking},
        places::{Entry, Places},
        scores::{ScoreEvent, Scores},
    },
    page::Slice,
};

/// The most rows that a board shows at once.
const MOST_ROWS: i64 = 100;

pub(crate) use repair::keep_alike;
use truth::Truth;

/// Who told the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// The board.
    Board,
    /// The database, because there was no board.
    Database,
}

/// The boards of all challenges.
#[derive(Clone, Debug)]
pub(crate) struct Boards {
    keep: Keep,
    places: Places,
    scores: Scores,
}

impl Boards {
    pub(crate) fn new(keep: Keep, places: Places, scores: Scores) -> Self {
        Self { keep, places, scores }
    }

    fn board(&self, challenge: i64, ranking: Ranking) -> Leaderboard {
        self.keep
            .leaderboard(("challenge", challenge))
            .update_policy(Update::Sum)
            .ranking(ranking.into())
            .source(Truth(self.places.clone()))
    }

    /// Offers a committed score to its board; answers the user's place.
    pub(crate) async fn place(&self, event: &ScoreEvent) -> sqlx::Result<(Option<u64>, Source)> {
        let answer = if event.is_on_board {
            let standing = self.board(event.challenge, event.ranking).rank_of(event.user).await;
            standing.map(|standing| standing.map(|standing| standing.rank))
        } else {
            self.offer(event).await
        };
        match answer {
            Ok(Some(rank)) => return Ok((Some(rank), Source::Board)),
            Ok(None) => {}
            Err(error) => tell(&error),
        }
        let place = self.places.place(event.challenge, event.ranking, event.user).await?;
        Ok((place, Source::Database))
    }

    /// Has the board take an event, and notes that it has; answers the user's place, if it is known.
    async fn offer(&self, event: &ScoreEvent) -> towerkeep::Result<Option<u64>> {
        let rank = self.give(event).await?;
        if let Err(error) = self.scores.taken(&[event.id]).await {
            tracing::warn!(%error, "a score on its board still counts as waiting");
        }
        Ok(rank)
    }

    /// An update that is pending is in the board once there is one: the rebuild reads what was committed.
    async fn give(&self, event: &ScoreEvent) -> towerkeep::Result<Option<u64>> {
        let board = self.board(event.challenge, event.ranking);
        Ok(board.add(event.user, event.points as f64, event.id).await?.rank)
    }

    /// Rows of a leaderboard, and whether there are more.
    pub(crate) async fn rows(&self, challenge: &Challenge, slice: Slice) -> sqlx::Result<(Vec<Entry>, bool, Source)> {
        let limit = usize::try_from(slice.limit).unwrap_or(usize::MAX);
        let (mut rows, source) = match self.standings(challenge, slice).await {
            Ok(rows) => (self.named(rows).await?, Source::Board),
            Err(error) => {
                tell(&error);
                let (id, ranking) = (challenge.id, challenge.ranking);
                (self.places.rows(id, ranking, slice.offset, slice.limit + 1).await?, Source::Database)
            }
        };
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        Ok((rows, has_more, source))
    }

    /// The rows of the slice, and one more if there is one: a page of the board, of which the largest needs a second question.
    async fn standings(&self, challenge: &Challenge, slice: Slice) -> towerkeep::Result<Vec<Row>> {
        let board = self.board(challenge.id, challenge.ranking);
        let (offset, asked) = (slice.offset.unsigned_abs(), (slice.limit + 1).min(MOST_ROWS));
        let mut rows = board.page(offset, size(asked)).await?;
        if asked == slice.limit && rows.len() == size(asked) {
            rows.extend(board.page(offset + asked.unsigned_abs(), 1).await?);
        }
        rows.into_iter().map(Row::try_from).collect()
    }

    /// `rows` rows with this user in the middle; none when the user has no score.
    pub(crate) async fn around(
        &self,
        challenge: &Challenge,
        user: i64,
        rows: i64,
    ) -> sqlx::Result<(Vec<Entry>, Source)> {
        let board = self.board(challenge.id, challenge.ranking);
        let found = board.around(user, size(rows)).await;
        match found.and_then(|rows| rows.into_iter().map(Row::try_from).collect::<towerkeep::Result<_>>()) {
            Ok(rows) => Ok((self.named(rows).await?, Source::Board)),
            Err(error) => {
                tell(&error);
                let rows = self.places.around(challenge.id, challenge.ranking, user, rows).await?;
                Ok((rows, Source::Database))
            }
        }
    }

    /// With the users' names, in one query.
    async fn named(&self, rows: Vec<Row>) -> sqlx::Result<Vec<Entry>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let users: Vec<_> = rows.iter().map(|row| row.user_id).collect();
        let mut names = self.places.names(&users).await?;
        let entry = |Row { rank, user_id, score }| Entry { rank, user_id, username: names.remove(&user_id), score };
        Ok(rows.into_iter().map(entry).collect())
    }
}

/// One row of a board.
struct Row {
    rank: u64,
    user_id: i64,
    score: i64,
}

impl TryFrom<Standing> for Row {
    type Error = Error;

    fn try_from(Standing { member, score, rank }: Standing) -> towerkeep::Result<Self> {
        let user_id = member.parse().map_err(|_| Error::corrupt("a leaderboard has a member that is no user"))?;
        Ok(Self { rank, user_id, score: score as i64 })
    }
}

impl From<Ranking> for leaderboard::Ranking {
    fn from(ranking: Ranking) -> Self {
        match ranking {
            Ranking::Ordinal => Self::Ordinal,
            Ranking::Competition => Self::Competition,
            Ranking::Dense => Self::Dense,
        }
    }
}

/// An outage is told elsewhere, once; a board that cannot be read is told here.
fn tell(error: &Error) {
    if !error.is_unavailable() {
        tracing::warn!(%error, "a leaderboard cannot be used; the database answers instead");
    }
}

/// A count of rows, which is small.
fn size(rows: i64) -> usize {
    usize::try_from(rows).unwrap_or_default()
}

#[cfg(test)]
mod tests;
