//! API keys as they are stored: the prefix that finds one, the digest of its secret, what it may do.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Database, counted, now, time, with_pool};
use crate::{
    access::ApiKey,
    page::{Page, Paging},
};

/// How many keys a user can have.
pub(crate) const MOST: i64 = 20;

/// Uses closer together than this are one.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// A key as its owner sees it: the secret is not there any more.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(crate) struct KeyInfo {
    pub(crate) id: i64,
    pub(crate) name: String,
    /// What the key begins with, after `tk_`.
    pub(crate) prefix: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) created_at: Timestamp,
    /// Exact to a minute.
    pub(crate) last_used_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// What a new key is made of.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = NewApiKey)]
pub(crate) struct NewKey {
    #[schema(max_length = 100, example = "nightly backup")]
    pub(crate) name: String,
    /// At least one; the operations name those that they ask for.
    #[schema(min_items = 1, example = json!(["bookmarks:read", "tasks:read"]))]
    pub(crate) scopes: Vec<String>,
    /// In the future; without it the key works until it is deleted.
    pub(crate) expires_at: Option<Timestamp>,
}

/// What is needed to judge a request that came with a key.
#[derive(Clone, Debug)]
pub(crate) struct StoredKey {
    pub(crate) id: i64,
    pub(crate) user: i64,
    pub(crate) digest: Vec<u8>,
    pub(crate) scopes: Vec<String>,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
}

type StoredRow = (i64, i64, Vec<u8>, String, Option<i64>, Option<i64>);

impl From<StoredRow> for StoredKey {
    fn from((id, user, digest, scopes, expires_at, last_used_at): StoredRow) -> Self {
        Self { id, user, digest, scopes: list(&scopes), expires_at, last_used_at }
    }
}

impl StoredKey {
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now.as_microsecond())
    }

    /// Whether its last use was noted long enough ago.
    pub(crate) fn is_used_anew(&self, now: Timestamp) -> bool {
        self.last_used_at.is_none_or(|at| at <= long_before(now))
    }
}

fn long_before(now: Timestamp) -> i64 {
    now.saturating_sub(NOTE_EVERY).map_or(i64::MIN, Timestamp::as_microsecond)
}

type Row = (i64, String, String, String, i64, Option<i64>, Option<i64>);

impl From<Row> for KeyInfo {
    fn from((id, name, prefix, scopes, created_at, last_used_at, expires_at): Row) -> Self {
        let (scopes, created_at) = (list(&scopes), time(created_at));
        let (last_used_at, expires_at) = (last_used_at.map(time), expires_at.map(time));
        Self { id, name, prefix, scopes, created_at, last_used_at, expires_at }
    }
}

/// The table of API keys.
#[derive(Clone, Debug)]
pub(crate) struct ApiKeys(Database);

impl ApiKeys {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// One page of a user's keys, newest first: one query.
    pub(crate) async fn list(&self, user: i64, paging: &Paging) -> sqlx::Result<Page<KeyInfo>> {
        const SQL: &str = "SELECT id, name, prefix, scopes, created_at, last_used_at, expires_at \
                           FROM api_keys WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL)
            .bind(user)
            .bind(paging.before())
            .bind(paging.rows())
            .fetch_all(pool)
            .await)?;
        Ok(Page::new(paging, rows.into_iter().map(KeyInfo::from).collect(), |key| key.id))
    }

    /// Adds a key; `None` when the user has as many as can be.
    pub(crate) async fn create(&self, user: i64, new: &NewKey, key: &ApiKey) -> sqlx::Result<Option<KeyInfo>> {
        const SQL: &str = "INSERT INTO api_keys (user_id, prefix, digest, name, scopes, created_at, expires_at) \
                           SELECT $1, $2, $3, $4, $5, $6, $7 \
                           WHERE (SELECT COUNT(*) FROM api_keys WHERE user_id = $1) < $8 \
                           RETURNING id, name, prefix, scopes, created_at, last_used_at, expires_at";
        let rows: Vec<Row> = counted!(&self.0, user, executor => sqlx::query_as(SQL)
            .bind(user)
            .bind(key.prefix())
            .bind(key.digest().to_vec())
            .bind(&new.name)
            .bind(serde_json::json!(new.scopes).to_string())
            .bind(now())
            .bind(new.expires_at.map(Timestamp::as_microsecond))
            .bind(MOST)
            .fetch_all(executor)
            .await)?;
        Ok(rows.into_iter().next().map(KeyInfo::from))
    }

    /// Whether there was one to delete.
    pub(crate) async fn delete(&self, user: i64, id: i64) -> sqlx::Result<bool> {
        self.0.delete_own("DELETE FROM api_keys WHERE user_id = $1 AND id = $2", user, id).await
    }

    /// The key with this prefix: one query, by an index.
    pub(crate) async fn find(&self, prefix: &str) -> sqlx::Result<Option<StoredKey>> {
        const SQL: &str = "SELECT id, user_id, digest, scopes, expires_at, last_used_at \
                           FROM api_keys WHERE prefix = $1";
        let row: Option<StoredRow> =
            with_pool!(&self.0, pool => sqlx::query_as(SQL).bind(prefix).fetch_optional(pool).await)?;
        Ok(row.map(StoredKey::from))
    }

    /// Notes that a key was used, unless another instance has done so within the minute.
    pub(crate) async fn note_use(&self, id: i64, at: Timestamp) -> sqlx::Result<()> {
        const SQL: &str = "UPDATE api_keys SET last_used_at = $2 \
                           WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)";
        with_pool!(&self.0, pool => sqlx::query(SQL)
            .bind(id)
            .bind(at.as_microsecond())
            .bind(long_before(at))
            .execute(pool)
            .await
            .map(drop))
    }
}

/// A list that cannot be read grants nothing.
fn list(scopes: &str) -> Vec<String> {
    serde_json::from_str(scopes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_valid_until_it_expires_and_noted_once_a_minute() {
        let at = |seconds| Timestamp::from_second(seconds).expect("a time");
        let (expires_at, last_used_at) = (Some(at(1_000).as_microsecond()), Some(at(900).as_microsecond()));
        let key = StoredKey { id: 1, user: 2, digest: Vec::new(), scopes: Vec::new(), expires_at, last_used_at };
        assert!(!key.is_expired(at(999)) && key.is_expired(at(1_000)));
        assert!(!key.is_used_anew(at(959)) && key.is_used_anew(at(960)));
        let new = StoredKey { expires_at: None, last_used_at: None, ..key };
        assert!(!new.is_expired(at(1_000)) && new.is_used_anew(at(0)));
    }
}
