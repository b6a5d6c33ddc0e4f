//! How the participants of a challenge stand: the truth that boards are built from.
//!
//! 1. Places go by score, the highest first; equal scores by the user's id as a text, byte by byte, as on boards.
//! 2. Those who have no score yet have no place.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;
use utoipa::ToSchema;

use super::{Database, ago, challenges::Ranking, with_pool};

/// One row of a leaderboard.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Entry {
    pub(crate) rank: u64,
    pub(crate) user_id: i64,
    /// Null: this account does not exist any more.
    pub(crate) username: Option<String>,
    pub(crate) score: i64,
}

type EntryRow = (i64, i64, String, i64);

impl From<EntryRow> for Entry {
    fn from((rank, user_id, username, score): EntryRow) -> Self {
        Self { rank: rank.unsigned_abs(), user_id, username: Some(username), score }
    }
}

/// What a board needs to know about one participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) user: i64,
    pub(crate) score: i64,
    /// Events in the score that a board may be offered again.
    pub(crate) events: Vec<i64>,
}

/// A user's id as a text that is ordered by its bytes, whatever the language of the database.
macro_rules! member {
    (sqlite, $table:literal) => {
        concat!("CAST(", $table, ".user_id AS TEXT)")
    };
    (postgres, $table:literal) => {
        concat!("CAST(", $table, ".user_id AS TEXT) COLLATE \"C\"")
    };
}

/// Who stands before whom.
macro_rules! order {
    ($dialect:ident, $table:literal) => {
        concat!("ORDER BY ", $table, ".score DESC, ", member!($dialect, $table))
    };
}

/// The place of a row by the ranking.
macro_rules! place {
    ($dialect:ident, ordinal) => {
        concat!("ROW_NUMBER() OVER (", order!($dialect, "p"), ")")
    };
    ($dialect:ident, competition) => {
        "RANK() OVER (ORDER BY p.score DESC)"
    };
    ($dialect:ident, dense) => {
        "DENSE_RANK() OVER (ORDER BY p.score DESC)"
    };
}

/// The statement of this dialect and ranking.
macro_rules! by_ranking {
    ($database:expr, $ranking:expr, $sql:ident) => {
        match ($database, $ranking) {
            (Database::Sqlite(_), Ranking::Ordinal) => $sql!(sqlite, ordinal),
            (Database::Sqlite(_), Ranking::Competition) => $sql!(sqlite, competition),
            (Database::Sqlite(_), Ranking::Dense) => $sql!(sqlite, dense),
            (Database::Postgres(_), Ranking::Ordinal) => $sql!(postgres, ordinal),
            (Database::Postgres(_), Ranking::Competition) => $sql!(postgres, competition),
            (Database::Postgres(_), Ranking::Dense) => $sql!(postgres, dense),
        }
    };
}

/// The page is cut before the names are looked up, so that no more of them are read than are shown.
macro_rules! rows_sql {
    ($dialect:ident, $ranking:ident) => {
        concat!(
            "SELECT r.place, r.user_id, u.username, r.score FROM (SELECT p.user_id, p.score, ",
            place!($dialect, $ranking),
            " AS place FROM challenge_participants p WHERE p.challenge_id = $1 AND p.score > 0 ",
            order!($dialect, "p"),
            " LIMIT $2 OFFSET $3) r JOIN users u ON u.id = r.user_id ",
            order!($dialect, "r")
        )
    };
}

macro_rules! around_sql {
    (sqlite, $ranking:ident) => {
        around_sql!(sqlite, $ranking, "MAX", "MIN")
    };
    (postgres, $ranking:ident) => {
        around_sql!(postgres, $ranking, "GREATEST", "LEAST")
    };
    ($dialect:ident, $ranking:ident, $greater:literal, $less:literal) => {
        concat!(
            "WITH ranked AS (SELECT p.user_id, p.score, ",
            place!($dialect, $ranking),
            " AS place, ROW_NUMBER() OVER (",
            order!($dialect, "p"),
            ") AS above, COUNT(*) OVER () AS total \
             FROM challenge_participants p WHERE p.challenge_id = $1 AND p.score > 0), \
             first AS (SELECT ",
            $greater,
            "(0, ",
            $less,
            "(above - 1 - ($3 - 1) / 2, total - $3)) AS row FROM ranked WHERE user_id = $2) \
             SELECT r.place, r.user_id, u.username, r.score FROM ranked r JOIN users u ON u.id = r.user_id \
             JOIN first f ON r.above > f.row AND r.above <= f.row + $3 ",
            order!($dialect, "r")
        )
    };
}

/// Counts who is better: what lies above in the index by score, not the whole of it.
macro_rules! place_sql {
    ($dialect:ident, ordinal) => {
        place_sql!(@ "*", concat!("(o.score > p.score OR o.score = p.score AND ", member!($dialect, "o"), " < ", member!($dialect, "p"), ")"))
    };
    ($dialect:ident, competition) => {
        place_sql!(@ "*", "o.score > p.score")
    };
    ($dialect:ident, dense) => {
        place_sql!(@ "DISTINCT o.score", "o.score > p.score")
    };
    (@ $counted:literal, $($better:tt)*) => {
        concat!(
            "SELECT (SELECT COUNT(", $counted, ") FROM challenge_participants o \
             WHERE o.challenge_id = p.challenge_id AND o.score > 0 AND ", $($better)*, ") \
             FROM challenge_participants p WHERE p.challenge_id = $1 AND p.user_id = $2 AND p.score > 0"
        )
    };
}

macro_rules! sums_sql {
    ($events:literal) => {
        concat!(
            "SELECT p.user_id, p.score, (SELECT ",
            $events,
            " FROM score_events e WHERE e.challenge_id = p.challenge_id AND e.user_id = p.user_id \
             AND (e.on_board_at IS NULL OR e.on_board_at > $4)) FROM challenge_participants p \
             WHERE p.challenge_id = $1 AND p.score > 0 AND p.user_id > $2 ORDER BY p.user_id LIMIT $3"
        )
    };
}

/// Places, and the scores that make them.
#[derive(Clone, Debug)]
pub(crate) struct Places(Database);

impl Places {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// Rows of a leaderboard from `offset` on: one query, names included.
    pub(crate) async fn rows(
        &self,
        challenge: i64,
        ranking: Ranking,
        offset: i64,
        limit: i64,
    ) -> sqlx::Result<Vec<Entry>> {
        let sql = by_ranking!(&self.0, ranking, rows_sql);
        let rows: Vec<EntryRow> = with_pool!(&self.0, pool => sqlx::query_as(sql)
            .bind(challenge)
            .bind(limit)
            .bind(offset)
            .fetch_all(pool)
            .await)?;
        Ok(rows.into_iter().map(Entry::from).collect())
    }

    /// `count` rows with this user in the middle, shifted at the ends of the leaderboard; none without a score.
    pub(crate) async fn around(
        &self,
        challenge: i64,
        ranking: Ranking,
        user: i64,
        count: i64,
    ) -> sqlx::Result<Vec<Entry>> {
        let sql = by_ranking!(&self.0, ranking, around_sql);
        let rows: Vec<EntryRow> = with_pool!(&self.0, pool => sqlx::query_as(sql)
            .bind(challenge)
            .bind(user)
            .bind(count)
            .fetch_all(pool)
            .await)?;
        Ok(rows.into_iter().map(Entry::from).collect())
    }

    /// A user's place; `None` without a score. Counts all who are better.
    pub(crate) async fn place(&self, challenge: i64, ranking: Ranking, user: i64) -> sqlx::Result<Option<u64>> {
        let sql = by_ranking!(&self.0, ranking, place_sql);
        let row: Option<(i64,)> =
            with_pool!(&self.0, pool => sqlx::query_as(sql).bind(challenge).bind(user).fetch_optional(pool).await)?;
        Ok(row.map(|(better,)| better.unsigned_abs() + 1))
    }

    /// Scores of a challenge by user, after the user `after`, with the events that no board has taken, or only within
    /// `lately`. A row is of one moment.
    pub(crate) async fn sums(
        &self,
        challenge: i64,
        after: i64,
        limit: usize,
        lately: Duration,
    ) -> sqlx::Result<Vec<Sum>> {
        let sql = match &self.0 {
            Database::Sqlite(_) => sums_sql!("json_group_array(e.id)"),
            Database::Postgres(_) => sums_sql!("COALESCE(json_agg(e.id), '[]')::TEXT"),
        };
        let rows: Vec<(i64, i64, String)> = with_pool!(&self.0, pool => sqlx::query_as(sql)
            .bind(challenge)
            .bind(after)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(ago(lately))
            .fetch_all(pool)
            .await)?;
        let sum = |(user, score, events): (i64, i64, String)| {
            let events = serde_json::from_str(&events).map_err(|error| sqlx::Error::Decode(error.into()))?;
            Ok(Sum { user, score, events })
        };
        rows.into_iter().map(sum).collect()
    }

    /// The names of these users, in one query.
    pub(crate) async fn names(&self, users: &[i64]) -> sqlx::Result<HashMap<i64, String>> {
        let rows: Vec<(i64, String)> = match &self.0 {
            Database::Sqlite(pool) => {
                const SQL: &str = "SELECT id, username FROM users WHERE id IN (SELECT value FROM json_each($1))";
                sqlx::query_as(SQL).bind(serde_json::json!(users).to_string()).fetch_all(pool).await?
            }
            Database::Postgres(pool) => {
                const SQL: &str = "SELECT id, username FROM users WHERE id = ANY($1)";
                sqlx::query_as(SQL).bind(users).fetch_all(pool).await?
            }
        };
        Ok(rows.into_iter().collect())
    }
}
