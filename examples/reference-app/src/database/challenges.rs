//! Challenges as they are stored: everybody sees them, their owner changes them.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Database, now, time, with_pool};
use crate::{
    choice::Choice,
    page::{Page, Paging},
};

/// How places are counted where scores are equal: 1500, 1500, 1200 are 1, 2, 3 or 1, 1, 3 or 1, 1, 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ranking {
    /// 1, 2, 3: each has a place of their own.
    Ordinal,
    /// 1, 1, 3: the places after a tie stay empty.
    #[default]
    Competition,
    /// 1, 1, 2: no place stays empty.
    Dense,
}

impl Choice for Ranking {
    const ALL: &'static [Self] = &[Self::Ordinal, Self::Competition, Self::Dense];

    fn as_str(self) -> &'static str {
        match self {
            Self::Ordinal => "ordinal",
            Self::Competition => "competition",
            Self::Dense => "dense",
        }
    }
}

impl Ranking {
    /// What was stored; a word of a later version counts as the default.
    pub(super) fn from_stored(word: &str) -> Self {
        Self::named(word).unwrap_or_default()
    }
}

/// A challenge, as everybody sees it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Challenge {
    pub(crate) id: i64,
    pub(crate) owner_id: i64,
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    pub(crate) starts_at: Timestamp,
    pub(crate) ends_at: Timestamp,
    /// How many may take part; null: everybody.
    pub(crate) capacity: Option<i64>,
    pub(crate) ranking: Ranking,
    /// How many take part.
    pub(crate) participants: i64,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// What a new challenge is made of.
#[derive(Clone, Debug, ToSchema)]
pub(crate) struct NewChallenge {
    #[schema(example = "A book a week")]
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    #[schema(example = "2026-01-01T00:00:00Z")]
    pub(crate) starts_at: Timestamp,
    #[schema(example = "2099-12-31T00:00:00Z")]
    pub(crate) ends_at: Timestamp,
    #[schema(minimum = 1, maximum = 1_000_000, example = 100)]
    pub(crate) capacity: Option<i64>,
    #[schema(nullable = false)]
    pub(crate) ranking: Option<Ranking>,
}

/// What changes; `None` stays as it is.
#[derive(Clone, Debug, Default, ToSchema)]
#[schema(as = ChallengeChanges)]
pub(crate) struct Changes {
    #[schema(nullable = false, example = "A book a month")]
    pub(crate) title: Option<String>,
    pub(crate) description: Option<Option<String>>,
    #[schema(nullable = false, example = "2026-01-01T00:00:00Z")]
    pub(crate) starts_at: Option<Timestamp>,
    #[schema(nullable = false, example = "2099-12-31T00:00:00Z")]
    pub(crate) ends_at: Option<Timestamp>,
    #[schema(minimum = 1, maximum = 1_000_000, example = 100)]
    pub(crate) capacity: Option<Option<i64>>,
    #[schema(nullable = false)]
    pub(crate) ranking: Option<Ranking>,
}

type Row = (i64, i64, String, Option<String>, i64, i64, Option<i64>, String, i64, i64, i64);

impl From<Row> for Challenge {
    fn from(row: Row) -> Self {
        let (id, owner_id, title, description, starts_at, ends_at, capacity, ranking, participants, made, changed) =
            row;
        let (starts_at, ends_at, ranking) = (time(starts_at), time(ends_at), Ranking::from_stored(&ranking));
        let (created_at, updated_at) = (time(made), time(changed));
        Self {
            id,
            owner_id,
            title,
            description,
            starts_at,
            ends_at,
            capacity,
            ranking,
            participants,
            created_at,
            updated_at,
        }
    }
}

macro_rules! columns {
    () => {
        "id, owner_id, title, description, starts_at, ends_at, capacity, ranking, participants, created_at, updated_at"
    };
}

/// The table of challenges.
#[derive(Clone, Debug)]
pub(crate) struct Challenges(Database);

impl Challenges {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// One page of all challenges, newest first: one query.
    pub(crate) async fn list(&self, paging: &Paging) -> sqlx::Result<Page<Challenge>> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM challenges WHERE id < $1 ORDER BY id DESC LIMIT $2");
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL)
            .bind(paging.before())
            .bind(paging.rows())
            .fetch_all(pool)
            .await)?;
        Ok(Page::new(paging, rows.into_iter().map(Challenge::from).collect(), |challenge| challenge.id))
    }

    pub(crate) async fn find(&self, id: i64) -> sqlx::Result<Option<Challenge>> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM challenges WHERE id = $1");
        let row: Option<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL).bind(id).fetch_optional(pool).await)?;
        Ok(row.map(Challenge::from))
    }

    pub(crate) async fn create(&self, owner: i64, new: &NewChallenge) -> sqlx::Result<Challenge> {
        const TRIES: usize = 5;
        for _ in 0..TRIES {
            if let Some(created) = self.insert(owner, new).await? {
                return Ok(created);
            }
        }
        Err(sqlx::Error::RowNotFound)
    }

    /// `None` when another challenge was made in this very microsecond.
    async fn insert(&self, owner: i64, new: &NewChallenge) -> sqlx::Result<Option<Challenge>> {
        const SQL: &str = concat!(
            "INSERT INTO challenges \
             (id, owner_id, title, description, starts_at, ends_at, capacity, ranking, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $1, $1) ON CONFLICT (id) DO NOTHING RETURNING ",
            columns!()
        );
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL)
            .bind(now())
            .bind(owner)
            .bind(&new.title)
            .bind(&new.description)
            .bind(new.starts_at.as_microsecond())
            .bind(new.ends_at.as_microsecond())
            .bind(new.capacity)
            .bind(new.ranking.unwrap_or_default().as_str())
            .fetch_all(pool)
            .await)?;
        Ok(rows.into_iter().next().map(Challenge::from))
    }

    /// Changes a challenge in one statement, unless it is not this owner's, would end before it starts, or has
    /// more participants than it would have places: then it is `None`.
    pub(crate) async fn update(&self, owner: i64, id: i64, changes: &Changes) -> sqlx::Result<Option<Challenge>> {
        const SQL: &str = concat!(
            "UPDATE challenges SET title = COALESCE($3, title), \
             description = CASE WHEN $4 THEN $5 ELSE description END, \
             starts_at = COALESCE($6, starts_at), ends_at = COALESCE($7, ends_at), \
             capacity = CASE WHEN $8 THEN $9 ELSE capacity END, ranking = COALESCE($10, ranking), updated_at = $11 \
             WHERE owner_id = $1 AND id = $2 AND COALESCE($6, starts_at) < COALESCE($7, ends_at) \
             AND participants <= COALESCE($9, participants) RETURNING ",
            columns!()
        );
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL)
            .bind(owner)
            .bind(id)
            .bind(&changes.title)
            .bind(changes.description.is_some())
            .bind(changes.description.clone().flatten())
            .bind(changes.starts_at.map(Timestamp::as_microsecond))
            .bind(changes.ends_at.map(Timestamp::as_microsecond))
            .bind(changes.capacity.is_some())
            .bind(changes.capacity.flatten())
            .bind(changes.ranking.map(Ranking::as_str))
            .bind(now())
            .fetch_all(pool)
            .await)?;
        Ok(rows.into_iter().next().map(Challenge::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rankings_are_stored_by_their_words() {
        for ranking in [Ranking::Ordinal, Ranking::Competition, Ranking::Dense] {
            assert_eq!(Ranking::from_stored(ranking.as_str()), ranking);
            assert_eq!(serde_json::to_value(ranking).expect("a word"), ranking.as_str());
        }
    }
}
