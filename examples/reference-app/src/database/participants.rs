//! Who takes part in a challenge.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Database, now, time, with_pool, with_transaction};

/// One who takes part.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Participation {
    pub(crate) challenge_id: i64,
    pub(crate) user_id: i64,
    pub(crate) score: i64,
    pub(crate) joined_at: Timestamp,
}

/// What came of asking to take part.
#[derive(Debug)]
pub(crate) enum Joined {
    Now(Participation),
    Before(Participation),
    Full,
    NotYetOpen,
    Over,
    NoChallenge,
}

/// The table of participants.
#[derive(Clone, Debug)]
pub(crate) struct Participants(Database);

impl Participants {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// Takes one of the places that are left. A participant who asks again takes none.
    pub(crate) async fn join(&self, challenge: i64, user: i64) -> sqlx::Result<Joined> {
        let at = now();
        match self.take_place(challenge, user, at).await? {
            Some(true) => {
                let (challenge_id, user_id, joined_at) = (challenge, user, time(at));
                Ok(Joined::Now(Participation { challenge_id, user_id, score: 0, joined_at }))
            }
            Some(false) => Ok(Joined::Full),
            None => self.why_not(challenge, user, at).await,
        }
    }

    /// Whether there was room; `None` for a participant, or a challenge that cannot be joined now.
    ///
    /// The count is raised under a condition, in the row that all who join lock: there is no moment between looking and
    /// taking.
    async fn take_place(&self, challenge: i64, user: i64, at: i64) -> sqlx::Result<Option<bool>> {
        const ADD: &str = "INSERT INTO challenge_participants (challenge_id, user_id, joined_at) \
                           SELECT id, $2, $3 FROM challenges WHERE id = $1 AND starts_at <= $3 AND ends_at > $3 \
                           ON CONFLICT (challenge_id, user_id) DO NOTHING";
        const COUNT: &str = "UPDATE challenges SET participants = participants + 1 \
                             WHERE id = $1 AND participants < COALESCE(capacity, participants + 1)";
        with_transaction!(&self.0, transaction => {
            let added = sqlx::query(ADD).bind(challenge).bind(user).bind(at).execute(&mut *transaction).await?;
            if added.rows_affected() == 0 {
                transaction.rollback().await?;
                return Ok(None);
            }
            let counted = sqlx::query(COUNT).bind(challenge).execute(&mut *transaction).await?;
            let has_room = counted.rows_affected() > 0;
            if has_room { transaction.commit().await?; } else { transaction.rollback().await?; }
            Ok(Some(has_room))
        })
    }

    async fn why_not(&self, challenge: i64, user: i64, at: i64) -> sqlx::Result<Joined> {
        const SQL: &str = "SELECT c.starts_at, p.score, p.joined_at FROM challenges c \
                           LEFT JOIN challenge_participants p ON p.challenge_id = c.id AND p.user_id = $2 \
                           WHERE c.id = $1";
        let row: Option<(i64, Option<i64>, Option<i64>)> =
            with_pool!(&self.0, pool => sqlx::query_as(SQL).bind(challenge).bind(user).fetch_optional(pool).await)?;
        Ok(match row {
            None => Joined::NoChallenge,
            Some((_, Some(score), Some(joined_at))) => {
                let (challenge_id, user_id, joined_at) = (challenge, user, time(joined_at));
                Joined::Before(Participation { challenge_id, user_id, score, joined_at })
            }
            Some((starts_at, ..)) if starts_at > at => Joined::NotYetOpen,
            Some(_) => Joined::Over,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{
        challenges::{Challenges, NewChallenge},
        users::Users,
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_a_hundred_users_at_once_ten_find_a_place() {
        let (_dir, database) = crate::database::in_a_file().await;
        let (users, challenges) = (Users::new(database.clone()), Challenges::new(database.clone()));
        let mut ids = Vec::new();
        for n in 0..100 {
            let user = users.create(&format!("user-{n}"), "-", false).await.expect("stored");
            ids.push(user.expect("a new name").id);
        }
        let new = NewChallenge {
            title: "Ten miles".to_owned(),
            description: None,
            starts_at: time(0),
            ends_at: time(i64::MAX / 4_096),
            capacity: Some(10),
            ranking: None,
        };
        let challenge = challenges.create(ids[0], &new).await.expect("stored").id;
        let mut joins = tokio::task::JoinSet::new();
        for user in ids {
            let participants = Participants::new(database.clone());
            joins.spawn(async move { participants.join(challenge, user).await.expect("an answer") });
        }
        let (mut taken, mut full) = (0, 0);
        for joined in joins.join_all().await {
            match joined {
                Joined::Now(_) => taken += 1,
                Joined::Full => full += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((taken, full), (10, 90));
        let challenge = challenges.find(challenge).await.expect("read").expect("there");
        assert_eq!(challenge.participants, 10);
    }
}
