//! Items of the marketplace as they are stored: everybody sees them.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Database, now, time, with_pool};
use crate::{
    choice::Choice,
    page::{Page, Paging},
};

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ItemKind)]
pub(crate) enum Kind {
    Template,
    Dataset,
    Tool,
}

impl Choice for Kind {
    const ALL: &'static [Self] = &[Self::Template, Self::Dataset, Self::Tool];

    fn as_str(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Dataset => "dataset",
            Self::Tool => "tool",
        }
    }
}

impl Kind {
    /// What was stored; a word of a later version counts as a tool.
    fn from_stored(word: &str) -> Self {
        Self::named(word).unwrap_or(Self::Tool)
    }
}

/// An item, as everybody sees it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Item {
    pub(crate) id: i64,
    pub(crate) owner_id: i64,
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    pub(crate) kind: Kind,
    /// How often it was viewed, up to some 100 ms ago.
    pub(crate) views: i64,
    /// How often it was downloaded, up to some 100 ms ago.
    pub(crate) downloads: i64,
    pub(crate) created_at: Timestamp,
}

/// What a new item is made of.
#[derive(Clone, Debug, ToSchema)]
pub(crate) struct NewItem {
    #[schema(example = "Weekly review")]
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    pub(crate) kind: Kind,
}

pub(super) type Row = (i64, i64, String, Option<String>, String, i64, i64, i64);

impl From<Row> for Item {
    fn from((id, owner_id, title, description, kind, views, downloads, created_at): Row) -> Self {
        let (kind, created_at) = (Kind::from_stored(&kind), time(created_at));
        Self { id, owner_id, title, description, kind, views, downloads, created_at }
    }
}

macro_rules! columns {
    () => {
        "items.id, items.owner_id, items.title, items.description, items.kind, items.views, items.downloads, \
         items.created_at"
    };
}

macro_rules! most_viewed {
    ($id:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ", d.score FROM (SELECT item_id, CAST(SUM(views + $2 * downloads) AS BIGINT) AS score FROM item_days \
             WHERE day >= $1 GROUP BY item_id) d JOIN items ON items.id = d.item_id \
             ORDER BY d.score DESC, ",
            $id,
            " LIMIT $3"
        )
    };
}

/// The table of items.
#[derive(Clone, Debug)]
pub(crate) struct Items(Database);

impl Items {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// One page of all items, newest first: one query.
    pub(crate) async fn list(&self, paging: &Paging) -> sqlx::Result<Page<Item>> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM items WHERE id < $1 ORDER BY id DESC LIMIT $2");
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL)
            .bind(paging.before())
            .bind(paging.rows())
            .fetch_all(pool)
            .await)?;
        Ok(Page::new(paging, rows.into_iter().map(Item::from).collect(), |item| item.id))
    }

    pub(crate) async fn find(&self, id: i64) -> sqlx::Result<Option<Item>> {
        Ok(self.all_of(&[id]).await?.into_iter().next())
    }

    /// Those of these items that there are, in any order: one query.
    pub(crate) async fn all_of(&self, ids: &[i64]) -> sqlx::Result<Vec<Item>> {
        let rows: Vec<Row> = match &self.0 {
            Database::Sqlite(pool) => {
                const SQL: &str =
                    concat!("SELECT ", columns!(), " FROM items WHERE id IN (SELECT value FROM json_each($1))");
                sqlx::query_as(SQL).bind(serde_json::json!(ids).to_string()).fetch_all(pool).await?
            }
            Database::Postgres(pool) => {
                const SQL: &str = concat!("SELECT ", columns!(), " FROM items WHERE id = ANY($1)");
                sqlx::query_as(SQL).bind(ids).fetch_all(pool).await?
            }
        };
        Ok(rows.into_iter().map(Item::from).collect())
    }

    pub(crate) async fn create(&self, owner: i64, new: &NewItem) -> sqlx::Result<Item> {
        const TRIES: usize = 5;
        for _ in 0..TRIES {
            if let Some(created) = self.insert(owner, new).await? {
                return Ok(created);
            }
        }
        Err(sqlx::Error::RowNotFound)
    }

    /// `None` when another item was made in this very microsecond.
    async fn insert(&self, owner: i64, new: &NewItem) -> sqlx::Result<Option<Item>> {
        const SQL: &str = concat!(
            "INSERT INTO items (id, owner_id, title, description, kind, created_at) \
             VALUES ($1, $2, $3, $4, $5, $1) ON CONFLICT (id) DO NOTHING RETURNING ",
            columns!()
        );
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(SQL)
            .bind(now())
            .bind(owner)
            .bind(&new.title)
            .bind(&new.description)
            .bind(new.kind.as_str())
            .fetch_all(pool)
            .await)?;
        Ok(rows.into_iter().next().map(Item::from))
    }

    /// The items with the most views since a day of UTC, a download being worth `download` views; equal ones by their
    /// id as a text. Items that nobody looked at are not among them.
    pub(crate) async fn most_viewed(&self, since: i64, download: i64, limit: i64) -> sqlx::Result<Vec<(Item, i64)>> {
        let sql = match &self.0 {
            Database::Sqlite(_) => most_viewed!("CAST(items.id AS TEXT)"),
            Database::Postgres(_) => most_viewed!("CAST(items.id AS TEXT) COLLATE \"C\""),
        };
        type Counted = (i64, i64, String, Option<String>, String, i64, i64, i64, i64);
        let rows: Vec<Counted> = with_pool!(&self.0, pool => sqlx::query_as(sql)
            .bind(since)
            .bind(download)
            .bind(limit)
            .fetch_all(pool)
            .await)?;
        let split = |(a, b, c, d, e, f, g, h, score): Counted| (Item::from((a, b, c, d, e, f, g, h)), score);
        Ok(rows.into_iter().map(split).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_stored_by_their_words() {
        for kind in [Kind::Template, Kind::Dataset, Kind::Tool] {
            assert_eq!(Kind::from_stored(kind.as_str()), kind);
            assert_eq!(serde_json::to_value(kind).expect("a word"), kind.as_str());
        }
    }
}
