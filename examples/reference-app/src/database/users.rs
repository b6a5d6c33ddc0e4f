//! Users as they are stored.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Database, now, time, with_pool};

/// A user, fit to be shown to that user.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) username: String,
    pub(crate) is_admin: bool,
    pub(crate) created_at: Timestamp,
}

/// A user with what is kept about their password.
pub(crate) struct Credentials {
    pub(crate) user: User,
    pub(crate) password_hash: String,
}

type Row = (i64, String, bool, i64);

impl From<Row> for User {
    fn from((id, username, is_admin, created_at): Row) -> Self {
        Self { id, username, is_admin, created_at: time(created_at) }
    }
}

/// The table of users.
#[derive(Clone, Debug)]
pub(crate) struct Users(Database);

impl Users {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// Adds a user; `None` when the name is taken.
    pub(crate) async fn create(&self, username: &str, hash: &str, is_admin: bool) -> sqlx::Result<Option<User>> {
        const SQL: &str = "INSERT INTO users (id, username, password_hash, is_admin, created_at) \
                           VALUES ($1, $2, $3, $4, $5) \
                           ON CONFLICT (username) DO NOTHING RETURNING id, username, is_admin, created_at";
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL)
            .bind(random_id()?)
            .bind(username)
            .bind(hash)
            .bind(is_admin)
            .bind(now())
            .fetch_all(pool)
            .await)?;
        Ok(rows.into_iter().next().map(User::from))
    }

    pub(crate) async fn find(&self, id: i64) -> sqlx::Result<Option<User>> {
        const SQL: &str = "SELECT id, username, is_admin, created_at FROM users WHERE id = $1";
        let row: Option<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL).bind(id).fetch_optional(pool).await)?;
        Ok(row.map(User::from))
    }

    pub(crate) async fn credentials(&self, username: &str) -> sqlx::Result<Option<Credentials>> {
        const SQL: &str = "SELECT id, username, is_admin, created_at, password_hash FROM users WHERE username = $1";
        let row: Option<(i64, String, bool, i64, String)> =
            with_pool!(&self.0, pool => sqlx::query_as(SQL).bind(username).fetch_optional(pool).await)?;
        Ok(row.map(|(id, username, is_admin, created_at, password_hash)| Credentials {
            user: User::from((id, username, is_admin, created_at)),
            password_hash,
        }))
    }
}

/// 52 random bits: exact in every JSON reader.
fn random_id() -> sqlx::Result<i64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| sqlx::Error::Encode(error.into()))?;
    Ok((i64::from_ne_bytes(bytes) & ((1 << 52) - 1)) | 1)
}
