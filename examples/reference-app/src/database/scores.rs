//! Scores as they are stored: events are added and never changed, and a participant's score is their sum.
//!
//! What was committed here may be missing on the board in Redis until `on_board_at` says when it got there.

use std::time::Duration;

use super::{Database, ago, challenges::Ranking, now, with_pool, with_transaction};

/// A score that was counted.
#[derive(Clone, Debug)]
pub(crate) struct ScoreEvent {
    pub(crate) id: i64,
    pub(crate) challenge: i64,
    pub(crate) ranking: Ranking,
    pub(crate) user: i64,
    pub(crate) points: i64,
    /// The user's score with this event.
    pub(crate) total: i64,
    created_at: i64,
    pub(crate) is_on_board: bool,
}

impl ScoreEvent {
    pub(crate) fn is_older_than(&self, age: Duration) -> bool {
        self.created_at < ago(age)
    }
}

/// What came of a score.
#[derive(Debug)]
pub(crate) enum Recorded {
    Now(ScoreEvent),
    /// It was counted before, with the same points.
    Before(ScoreEvent),
    /// It was counted before, with other points.
    Differs,
    NoParticipant,
    NotYetOpen,
    Over,
    NoChallenge,
}

macro_rules! columns {
    () => {
        "e.id, e.challenge_id, c.ranking, e.user_id, e.points, e.total, e.created_at, e.on_board_at IS NOT NULL"
    };
}

type Row = (i64, i64, String, i64, i64, i64, i64, bool);

impl From<Row> for ScoreEvent {
    fn from((id, challenge, ranking, user, points, total, created_at, is_on_board): Row) -> Self {
        let ranking = Ranking::from_stored(&ranking);
        Self { id, challenge, ranking, user, points, total, created_at, is_on_board }
    }
}

/// The table of score events, with the sums in the table of participants.
#[derive(Clone, Debug)]
pub(crate) struct Scores(Database);

impl Scores {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// Counts an event, once for each `event_id` of a participant.
    pub(crate) async fn record(
        &self,
        challenge: i64,
        user: i64,
        event_id: &str,
        points: i64,
    ) -> sqlx::Result<Recorded> {
        match self.count(challenge, user, event_id, points).await? {
            Some(event) => Ok(Recorded::Now(event)),
            None => self.why_not(challenge, user, event_id, points).await,
        }
    }

    /// Raises the sum first, which locks the participant's row: scores of one participant come one after the other.
    async fn count(&self, challenge: i64, user: i64, event_id: &str, points: i64) -> sqlx::Result<Option<ScoreEvent>> {
        const RAISE: &str = "UPDATE challenge_participants SET score = score + $3 \
                             WHERE challenge_id = $1 AND user_id = $2 AND EXISTS (SELECT 1 FROM challenges c \
                             WHERE c.id = $1 AND c.starts_at <= $4 AND c.ends_at > $4) \
                             RETURNING score, (SELECT c.ranking FROM challenges c WHERE c.id = $1)";
        const ADD: &str = "INSERT INTO score_events (challenge_id, user_id, event_id, points, total, created_at) \
                           VALUES ($1, $2, $3, $4, $5, $6) \
                           ON CONFLICT (challenge_id, user_id, event_id) DO NOTHING RETURNING id";
        let at = now();
        with_transaction!(&self.0, transaction => {
            let raised: Vec<(i64, String)> = sqlx::query_as(RAISE)
                .bind(challenge)
                .bind(user)
                .bind(points)
                .bind(at)
                .fetch_all(&mut *transaction)
                .await?;
            let Some((total, ranking)) = raised.into_iter().next() else {
                transaction.rollback().await?;
                return Ok(None);
            };
            let added: Vec<(i64,)> = sqlx::query_as(ADD)
                .bind(challenge)
                .bind(user)
                .bind(event_id)
                .bind(points)
                .bind(total)
                .bind(at)
                .fetch_all(&mut *transaction)
                .await?;
            let Some(&(id,)) = added.first() else {
                transaction.rollback().await?;
                return Ok(None);
            };
            transaction.commit().await?;
            Ok(Some(ScoreEvent::from((id, challenge, ranking, user, points, total, at, false))))
        })
    }

    /// An event that was counted is answered again even after the end: it is the same request, sent twice.
    async fn why_not(&self, challenge: i64, user: i64, event_id: &str, points: i64) -> sqlx::Result<Recorded> {
        if let Some(event) = self.find(challenge, user, event_id).await? {
            return Ok(if event.points == points { Recorded::Before(event) } else { Recorded::Differs });
        }
        const SQL: &str = "SELECT c.starts_at, p.user_id FROM challenges c \
                           LEFT JOIN challenge_participants p ON p.challenge_id = c.id AND p.user_id = $2 \
                           WHERE c.id = $1";
        let row: Option<(i64, Option<i64>)> =
            with_pool!(&self.0, pool => sqlx::query_as(SQL).bind(challenge).bind(user).fetch_optional(pool).await)?;
        Ok(match row {
            None => Recorded::NoChallenge,
            Some((_, None)) => Recorded::NoParticipant,
            Some((starts_at, _)) if starts_at > now() => Recorded::NotYetOpen,
            Some(_) => Recorded::Over,
        })
    }

    async fn find(&self, challenge: i64, user: i64, event_id: &str) -> sqlx::Result<Option<ScoreEvent>> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM score_events e JOIN challenges c ON c.id = e.challenge_id \
                           WHERE e.challenge_id = $1 AND e.user_id = $2 AND e.event_id = $3"
        );
        let row: Option<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL)
            .bind(challenge)
            .bind(user)
            .bind(event_id)
            .fetch_optional(pool)
            .await)?;
        Ok(row.map(ScoreEvent::from))
    }

    /// Events after `after`, of this age at least, that no board is known to have taken.
    pub(crate) async fn waiting(&self, after: i64, age: Duration, limit: i64) -> sqlx::Result<Vec<ScoreEvent>> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM score_events e JOIN challenges c ON c.id = e.challenge_id \
                           WHERE e.on_board_at IS NULL AND e.id > $1 AND e.created_at < $2 ORDER BY e.id LIMIT $3"
        );
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL)
            .bind(after)
            .bind(ago(age))
            .bind(limit)
            .fetch_all(pool)
            .await)?;
        Ok(rows.into_iter().map(ScoreEvent::from).collect())
    }

    /// Of each challenge the event that its board took last, if that was within `lately`.
    pub(crate) async fn last_taken(&self, lately: Duration) -> sqlx::Result<Vec<ScoreEvent>> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM challenges c JOIN score_events e ON e.id = \
                           (SELECT l.id FROM score_events l WHERE l.challenge_id = c.id AND l.on_board_at > $1 \
                           ORDER BY l.on_board_at DESC LIMIT 1)"
        );
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL).bind(ago(lately)).fetch_all(pool).await)?;
        Ok(rows.into_iter().map(ScoreEvent::from).collect())
    }

    /// Notes that boards have taken these events.
    pub(crate) async fn taken(&self, events: &[i64]) -> sqlx::Result<()> {
        match &self.0 {
            Database::Sqlite(pool) => {
                const SQL: &str = "UPDATE score_events SET on_board_at = $1 \
                                   WHERE on_board_at IS NULL AND id IN (SELECT value FROM json_each($2))";
                let events = serde_json::json!(events).to_string();
                sqlx::query(SQL).bind(now()).bind(events).execute(pool).await?;
            }
            Database::Postgres(pool) => {
                const SQL: &str = "UPDATE score_events SET on_board_at = $1 WHERE on_board_at IS NULL AND id = ANY($2)";
                sqlx::query(SQL).bind(now()).bind(events).execute(pool).await?;
            }
        }
        Ok(())
    }
}
