//! Uploaded files as they are stored. Every statement names the owner: another user's file is not there.

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::{Database, counted, now, time, with_pool};
use crate::page::{Page, Paging};

/// How many files a user can keep.
pub(crate) const MOST: i64 = 100;

/// The type of a file of which nothing is known, or nothing good.
pub(crate) const UNKNOWN: &str = "application/octet-stream";

/// A file as its owner sees it in a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Upload {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) content_type: String,
    /// In bytes.
    pub(crate) size: i64,
    /// In hex.
    pub(crate) sha256: String,
    pub(crate) created_at: Timestamp,
}

/// A file to keep.
#[derive(Clone, Debug)]
pub(crate) struct NewUpload {
    pub(crate) name: String,
    pub(crate) content_type: String,
    pub(crate) content: Vec<u8>,
}

/// A file that comes back.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) content_type: String,
    pub(crate) content: Vec<u8>,
}

type Row = (i64, String, String, i64, String, i64);

impl From<Row> for Upload {
    fn from((id, name, content_type, size, sha256, created_at): Row) -> Self {
        Self { id, name, content_type, size, sha256, created_at: time(created_at) }
    }
}

/// The table of uploads.
#[derive(Clone, Debug)]
pub(crate) struct Uploads(Database);

impl Uploads {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// One page of a user's files, newest first, without what is in them: one query.
    pub(crate) async fn list(&self, user: i64, paging: &Paging) -> sqlx::Result<Page<Upload>> {
        const SQL: &str = "SELECT id, name, content_type, size, sha256, created_at \
                           FROM uploads WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL)
            .bind(user)
            .bind(paging.before())
            .bind(paging.rows())
            .fetch_all(pool)
            .await)?;
        Ok(Page::new(paging, rows.into_iter().map(Upload::from).collect(), |upload| upload.id))
    }

    /// Keeps a file; `None` when the user has as many as can be.
    pub(crate) async fn create(&self, user: i64, new: &NewUpload) -> sqlx::Result<Option<Upload>> {
        const SQL: &str = "INSERT INTO uploads (user_id, name, content_type, size, sha256, created_at, content) \
                           SELECT $1, $2, $3, $4, $5, $6, $7 \
                           WHERE (SELECT COUNT(*) FROM uploads WHERE user_id = $1) < $8 \
                           RETURNING id, name, content_type, size, sha256, created_at";
        let rows: Vec<Row> = counted!(&self.0, user, executor => sqlx::query_as(SQL)
            .bind(user)
            .bind(&new.name)
            .bind(&new.content_type)
            .bind(i64::try_from(new.content.len()).unwrap_or(i64::MAX))
            .bind(sha256(&new.content))
            .bind(now())
            .bind(&new.content)
            .bind(MOST)
            .fetch_all(executor)
            .await)?;
        Ok(rows.into_iter().next().map(Upload::from))
    }

    pub(crate) async fn find(&self, user: i64, id: i64) -> sqlx::Result<Option<Stored>> {
        const SQL: &str = "SELECT name, content_type, content FROM uploads WHERE user_id = $1 AND id = $2";
        let row: Option<(String, String, Vec<u8>)> =
            with_pool!(&self.0, pool => sqlx::query_as(SQL).bind(user).bind(id).fetch_optional(pool).await)?;
        Ok(row.map(|(name, content_type, content)| Stored { name, content_type, content }))
    }

    /// Whether there was one to delete.
    pub(crate) async fn delete(&self, user: i64, id: i64) -> sqlx::Result<bool> {
        self.0.delete_own("DELETE FROM uploads WHERE user_id = $1 AND id = $2", user, id).await
    }
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_well_known_one() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
