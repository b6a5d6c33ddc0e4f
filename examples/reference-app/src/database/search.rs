//! Full-text search over a user's bookmarks and tasks.
//!
//! Triggers keep one document for each of them in step (`migrations/*/0006_search.sql`), whoever writes. What differs
//! between FTS5 and tsvector is only how the words are asked for.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Database, with_pool};
use crate::{
    choice::Choice,
    page::{Page, Paging},
    words::{Words, snippet},
};

/// What a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Bookmarks,
    Tasks,
}

impl Choice for Kind {
    const ALL: &'static [Self] = &[Self::Bookmarks, Self::Tasks];

    fn as_str(self) -> &'static str {
        match self {
            Self::Bookmarks => "bookmarks",
            Self::Tasks => "tasks",
        }
    }
}

/// One result.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Found {
    #[serde(skip)]
    document: i64,
    kind: Kind,
    /// Of the bookmark or task.
    id: i64,
    title: String,
    /// The part of the description that has the first word found in it, else its beginning.
    snippet: Option<String>,
    /// Of a bookmark.
    url: Option<String>,
}

type Row = (i64, String, i64, String, Option<String>, Option<String>);

/// The statement, with what differs: which documents have the words `$1`.
macro_rules! statement {
    ($has_words:literal) => {
        concat!(
            "SELECT d.id, d.kind, d.item_id, COALESCE(b.title, t.title), COALESCE(b.description, t.description), b.url \
             FROM search_documents d \
             LEFT JOIN bookmarks b ON d.kind = 'bookmarks' AND b.id = d.item_id \
             LEFT JOIN tasks t ON d.kind = 'tasks' AND t.id = d.item_id WHERE ",
            $has_words,
            " AND d.user_id = $2 AND d.id < $3 AND (CAST($4 AS TEXT) IS NULL OR d.kind = $4) \
             ORDER BY d.id DESC LIMIT $5"
        )
    };
}

const SQLITE: &str = statement!("d.id IN (SELECT rowid FROM search_words WHERE search_words MATCH $1)");
const POSTGRES: &str = statement!("d.words @@ to_tsquery('simple', $1)");

/// The searchable documents.
#[derive(Clone, Debug)]
pub(crate) struct Search(Database);

impl Search {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// One page of what has all these words, what was added last first: one query.
    pub(crate) async fn find(
        &self,
        user: i64,
        words: &Words,
        kind: Option<Kind>,
        paging: &Paging,
    ) -> sqlx::Result<Page<Found>> {
        let (sql, question) = match &self.0 {
            Database::Sqlite(_) => (SQLITE, words.fts5(user)),
            Database::Postgres(_) => (POSTGRES, words.tsquery()),
        };
        let rows: Vec<Row> = with_pool!(&self.0, pool => sqlx::query_as(sql)
            .bind(question)
            .bind(user)
            .bind(paging.before())
            .bind(kind.map(Choice::as_str))
            .bind(paging.rows())
            .fetch_all(pool)
            .await)?;
        let found = rows.into_iter().filter_map(|row| Found::of(row, words)).collect();
        Ok(Page::new(paging, found, |found| found.document))
    }
}

impl Found {
    fn of((document, kind, id, title, description, url): Row, words: &Words) -> Option<Self> {
        let snippet = description.map(|description| snippet(&description, words));
        Some(Self { document, kind: Kind::named(&kind)?, id, title, snippet, url })
    }
}
