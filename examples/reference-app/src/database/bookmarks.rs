//! Bookmarks as they are stored. Every statement names the owner: another user's bookmark is not there.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Database, list, now, time, with_pool};
use crate::page::{Page, Paging};

/// A bookmark, as its owner sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Bookmark {
    pub(crate) id: i64,
    pub(crate) url: String,
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) favorite: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// What a new bookmark is made of.
#[derive(Clone, Debug, ToSchema)]
pub(crate) struct NewBookmark {
    #[schema(example = "https://redis.io")]
    pub(crate) url: String,
    #[schema(example = "Redis")]
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    #[schema(required = false, example = json!(["db"]))]
    pub(crate) tags: Vec<String>,
    #[schema(required = false)]
    pub(crate) favorite: bool,
}

/// What changes; `None` stays as it is.
#[derive(Clone, Debug, ToSchema)]
#[schema(as = BookmarkChanges)]
pub(crate) struct Changes {
    #[schema(nullable = false, example = "https://redis.io")]
    pub(crate) url: Option<String>,
    #[schema(nullable = false, example = "Redis, again")]
    pub(crate) title: Option<String>,
    pub(crate) description: Option<Option<String>>,
    #[schema(nullable = false, example = json!(["db"]))]
    pub(crate) tags: Option<Vec<String>>,
    #[schema(nullable = false)]
    pub(crate) favorite: Option<bool>,
}

type Row = (i64, String, String, Option<String>, String, bool, i64, i64);

impl From<Row> for Bookmark {
    fn from((id, url, title, description, tags, favorite, created_at, updated_at): Row) -> Self {
        let tags = serde_json::from_str(&tags).unwrap_or_default();
        let (created_at, updated_at) = (time(created_at), time(updated_at));
        Self { id, url, title, description, tags, favorite, created_at, updated_at }
    }
}

/// The table of bookmarks.
///
/// Changes are read with `fetch_all`: SQLite commits a statement that returns rows when the last one is read, and
/// the next request, on another connection, must see it.
#[derive(Clone, Debug)]
pub(crate) struct Bookmarks(Database);

impl Bookmarks {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// One page of a user's bookmarks, newest first: one query.
    pub(crate) async fn list(&self, user: i64, paging: &Paging) -> sqlx::Result<Page<Bookmark>> {
        const SQL: &str = "SELECT id, url, title, description, tags, favorite, created_at, updated_at \
                           FROM bookmarks WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL)
            .bind(user)
            .bind(paging.before())
            .bind(paging.rows())
            .fetch_all(pool)
            .await)?;
        Ok(Page::new(paging, rows.into_iter().map(Bookmark::from).collect(), |bookmark| bookmark.id))
    }

    /// Favorites first, then what was not touched for longest.
    pub(crate) async fn neglected(&self, user: i64, most: i64) -> sqlx::Result<Vec<Bookmark>> {
        const SQL: &str = "SELECT id, url, title, description, tags, favorite, created_at, updated_at \
                           FROM bookmarks WHERE user_id = $1 ORDER BY favorite DESC, updated_at, id LIMIT $2";
        let rows: Vec<Row> =
            with_pool!(&self.0, pool => sqlx::query_as(SQL).bind(user).bind(most).fetch_all(pool).await)?;
        Ok(rows.into_iter().map(Bookmark::from).collect())
    }

    pub(crate) async fn find(&self, user: i64, id: i64) -> sqlx::Result<Option<Bookmark>> {
        const SQL: &str = "SELECT id, url, title, description, tags, favorite, created_at, updated_at \
                           FROM bookmarks WHERE user_id = $1 AND id = $2";
        let row: Option<Row> =
            with_pool!(&self.0, pool => sqlx::query_as(SQL).bind(user).bind(id).fetch_optional(pool).await)?;
        Ok(row.map(Bookmark::from))
    }

    pub(crate) async fn create(&self, user: i64, new: &NewBookmark) -> sqlx::Result<Bookmark> {
        const SQL: &str = "INSERT INTO bookmarks \
                           (user_id, url, title, description, tags, favorite, created_at, updated_at) \
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $7) \
                           RETURNING id, url, title, description, tags, favorite, created_at, updated_at";
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL)
            .bind(user)
            .bind(&new.url)
            .bind(&new.title)
            .bind(&new.description)
            .bind(list(&new.tags))
            .bind(new.favorite)
            .bind(now())
            .fetch_all(pool)
            .await)?;
        rows.into_iter().next().map(Bookmark::from).ok_or(sqlx::Error::RowNotFound)
    }

    /// Changes a bookmark in one statement, so that two changes at once do not undo each other.
    pub(crate) async fn update(&self, user: i64, id: i64, changes: &Changes) -> sqlx::Result<Option<Bookmark>> {
        const SQL: &str = "UPDATE bookmarks SET url = COALESCE($3, url), title = COALESCE($4, title), \
                           description = CASE WHEN $5 THEN $6 ELSE description END, \
                           tags = COALESCE($7, tags), favorite = COALESCE($8, favorite), updated_at = $9 \
                           WHERE user_id = $1 AND id = $2 \
                           RETURNING id, url, title, description, tags, favorite, created_at, updated_at";
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL)
            .bind(user)
            .bind(id)
            .bind(&changes.url)
            .bind(&changes.title)
            .bind(changes.description.is_some())
            .bind(changes.description.clone().flatten())
            .bind(changes.tags.as_deref().map(list))
            .bind(changes.favorite)
            .bind(now())
            .fetch_all(pool)
            .await)?;
        Ok(rows.into_iter().next().map(Bookmark::from))
    }

    /// Whether there was one to delete.
    pub(crate) async fn delete(&self, user: i64, id: i64) -> sqlx::Result<bool> {
        const SQL: &str = "DELETE FROM bookmarks WHERE user_id = $1 AND id = $2";
        self.0.delete(SQL, user, id).await
    }
}
