//! Views and downloads, added to items in flushes that count once.

use std::time::Duration;

use super::{Database, ago, now, with_transaction};

const DAY: i64 = 86_400_000_000;

/// Processes that have not flushed for so long have ended.
const FORGET: Duration = Duration::from_secs(30 * 86_400);

/// Days that are kept: the longest window of trends has 30 of them.
const KEPT_DAYS: i64 = 31;

/// The current day of UTC, since 1970.
pub(crate) fn today() -> i64 {
    now() / DAY
}

/// What is added to an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) views: i64,
    pub(crate) downloads: i64,
}

/// The rows of a JSON text `[[item, views, downloads], ...]`.
macro_rules! rows {
    (sqlite) => {
        "(SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS views, \
         json_extract(value, '$[2]') AS downloads FROM json_each($1))"
    };
    (postgres) => {
        "(SELECT (value ->> 0)::BIGINT AS id, (value ->> 1)::BIGINT AS views, (value ->> 2)::BIGINT AS downloads \
         FROM jsonb_array_elements($1::JSONB))"
    };
}

macro_rules! to_items {
    ($dialect:ident) => {
        concat!(
            "UPDATE items SET views = items.views + a.views, downloads = items.downloads + a.downloads FROM ",
            rows!($dialect),
            " a WHERE items.id = a.id"
        )
    };
}

macro_rules! to_days {
    ($dialect:ident) => {
        concat!(
            "INSERT INTO item_days (item_id, day, views, downloads) SELECT i.id, $2, a.views, a.downloads FROM ",
            rows!($dialect),
            " a JOIN items i ON i.id = a.id WHERE TRUE ON CONFLICT (day, item_id) DO UPDATE \
             SET views = item_days.views + excluded.views, downloads = item_days.downloads + excluded.downloads"
        )
    };
}

/// The counts of items.
#[derive(Clone, Debug)]
pub(crate) struct Counts(Database);

impl Counts {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// Adds to items what a process has gathered; nothing if it has stored this flush, or a later one, before. Items
    /// that there are not are left out.
    pub(crate) async fn store(&self, writer: &str, number: i64, added: &[(i64, Added)]) -> sqlx::Result<()> {
        const NOTE: &str = "INSERT INTO count_flushes (writer, number, at) VALUES ($1, $2, $3) \
                            ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = excluded.at \
                            WHERE count_flushes.number < excluded.number";
        const FORGOTTEN: &str = "DELETE FROM count_flushes WHERE at < $1";
        const PAST: &str = "DELETE FROM item_days WHERE day < $1";
        let [to_items, to_days] = match &self.0 {
            Database::Sqlite(_) => [to_items!(sqlite), to_days!(sqlite)],
            Database::Postgres(_) => [to_items!(postgres), to_days!(postgres)],
        };
        let mut rows: Vec<_> = added.iter().map(|(item, added)| [*item, added.views, added.downloads]).collect();
        // In one order everywhere, so that two flushes at once do not wait for each other.
        rows.sort_unstable();
        let rows = serde_json::json!(rows).to_string();
        with_transaction!(&self.0, transaction => {
            let noted = sqlx::query(NOTE).bind(writer).bind(number).bind(now()).execute(&mut *transaction).await?;
            if noted.rows_affected() == 0 {
                transaction.rollback().await?;
                return Ok(());
            }
            sqlx::query(to_items).bind(&rows).execute(&mut *transaction).await?;
            sqlx::query(to_days).bind(&rows).bind(today()).execute(&mut *transaction).await?;
            sqlx::query(FORGOTTEN).bind(ago(FORGET)).execute(&mut *transaction).await?;
            sqlx::query(PAST).bind(today() - KEPT_DAYS).execute(&mut *transaction).await?;
            transaction.commit().await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{
        items::{Items, Kind, NewItem},
        users::Users,
    };

    #[tokio::test]
    async fn a_flush_that_comes_again_counts_once() {
        let (_dir, database) = crate::database::in_a_file().await;
        let owner = Users::new(database.clone()).create("ann", "-", false).await.expect("stored").expect("a new name");
        let items = Items::new(database.clone());
        let new = NewItem { title: "Lamp".to_owned(), description: None, kind: Kind::Tool };
        let item = items.create(owner.id, &new).await.expect("stored").id;
        let counts = Counts::new(database);
        let added = |views, downloads| [(item, Added { views, downloads }), (7, Added { views: 1, downloads: 1 })];
        for (writer, number, added) in [
            ("one", 1, added(3, 1)),
            ("one", 1, added(3, 1)),
            ("two", 1, added(10, 0)),
            ("one", 2, added(20, 0)),
            ("one", 1, added(3, 1)),
        ] {
            counts.store(writer, number, &added).await.expect("stored");
        }
        let item = items.find(item).await.expect("read").expect("there");
        assert_eq!((item.views, item.downloads), (33, 1));
        let most = items.most_viewed(today(), 5, 10).await.expect("read");
        assert_eq!(most, [(item, 38)]);
        assert!(items.most_viewed(today() + 1, 5, 10).await.expect("read").is_empty());
    }

    #[tokio::test]
    async fn days_that_no_trend_looks_back_to_are_not_kept() {
        let (_dir, database) = crate::database::in_a_file().await;
        let owner = Users::new(database.clone()).create("ann", "-", false).await.expect("stored").expect("a new name");
        let new = NewItem { title: "Lamp".to_owned(), description: None, kind: Kind::Tool };
        let item = Items::new(database.clone()).create(owner.id, &new).await.expect("stored").id;
        let Database::Sqlite(pool) = &database else { panic!("SQLite") };
        for ago in [30, 31, 32, 400] {
            const OLD: &str = "INSERT INTO item_days (item_id, day, views, downloads) VALUES ($1, $2, 1, 1)";
            sqlx::query(OLD).bind(item).bind(today() - ago).execute(pool).await.expect("stored");
        }
        let added = [(item, Added { views: 1, downloads: 0 })];
        Counts::new(database.clone()).store("one", 1, &added).await.expect("stored");
        let days = sqlx::query_as("SELECT day FROM item_days ORDER BY day DESC").fetch_all(pool).await;
        let kept: Vec<_> = days.expect("read").into_iter().map(|(day,): (i64,)| today() - day).collect();
        assert_eq!(kept, [0, 30, 31]);
    }
}
