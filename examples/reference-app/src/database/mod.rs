//! SQLite or PostgreSQL behind one repository per resource.
//!
//! 1. What both dialects read alike is written once: [`with_pool!`] compiles the same statement for each. `$1` is a
//!    placeholder in both. What differs is a `match` on [`Database`] in the repository.
//! 2. Times are microseconds since 1970 in a `BIGINT`, lists are JSON in a `TEXT`.

pub(crate) mod analytics;
pub(crate) mod api_keys;
pub(crate) mod bookmarks;
pub(crate) mod challenges;
pub(crate) mod counts;
pub(crate) mod items;
mod migrations;
pub(crate) mod participants;
pub(crate) mod places;
pub(crate) mod scores;
pub(crate) mod search;
pub(crate) mod tasks;
pub(crate) mod uploads;
pub(crate) mod users;

use std::{str::FromStr, time::Duration};

use anyhow::{Context, bail};
use jiff::Timestamp;
use sqlx::{
    Connection, PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

/// Runs `$body` with the pool in use; the body compiles once for each kind of database.
macro_rules! with_pool {
    ($database:expr, $pool:ident => $body:expr) => {
        match $database {
            $crate::database::Database::Sqlite($pool) => $body,
            $crate::database::Database::Postgres($pool) => $body,
        }
    };
}
use with_pool;

/// As [`with_pool!`], for a statement that adds a row only while the user has few: two at once are both counted.
///
/// SQLite runs one writing statement at a time, its reading included. PostgreSQL would read what was there before the
/// other one's row; the user's own row is the turn to wait for.
macro_rules! counted {
    ($database:expr, $user:expr, $executor:ident => $body:expr) => {
        match $database {
            $crate::database::Database::Sqlite($executor) => $body,
            $crate::database::Database::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                sqlx::query("SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE")
                    .bind($user)
                    .execute(&mut *transaction)
                    .await?;
                let $executor = &mut *transaction;
                let done = $body?;
                transaction.commit().await.map(|()| done)
            }
        }
    };
}
use counted;

/// Runs `$body` with a transaction begun; it commits, or what it did is undone.
///
/// On SQLite the transaction is one that writes from its first moment: one that begins to read cannot be made to wait for another
/// writer later on.
macro_rules! with_transaction {
    ($database:expr, $transaction:ident => $body:expr) => {
        match $database {
            $crate::database::Database::Sqlite(pool) => {
                let mut $transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
                $body
            }
            $crate::database::Database::Postgres(pool) => {
                let mut $transaction = pool.begin().await?;
                $body
            }
        }
    };
}
use with_transaction;

const CONNECTIONS: u32 = 10;
const ACQUIRE_WITHIN: Duration = Duration::from_secs(3);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The database in use, with its pool of connections.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Database {
    /// Opens the database of this URL and brings its tables up to date.
    ///
    /// # Errors
    /// One line that says what is wrong with it, without its password.
    pub(crate) async fn open(url: &str) -> anyhow::Result<Self> {
        let database = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Self::open_sqlite(url).await?,
            Some("postgres" | "postgresql") => Self::open_postgres(url).await?,
            _ => bail!("DATABASE_URL must be like sqlite:towerkeep.db or postgres://user:password@host/name"),
        };
        database.migrate().await.context("cannot bring the tables of DATABASE_URL up to date")?;
        Ok(database)
    }

    async fn open_sqlite(url: &str) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::from_str(url)
            .context("DATABASE_URL is not a SQLite URL; give one like sqlite:towerkeep.db")?
            .create_if_missing(!url.contains("mode="))
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT);
        let file = options.get_filename().display().to_string();
        if file.is_empty() {
            bail!("DATABASE_URL names no file; give one like sqlite:towerkeep.db");
        }
        // Each connection to `:memory:` is a database of its own, which ends with it.
        let pool = if url.contains(":memory:") {
            SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None)
        } else {
            SqlitePoolOptions::new().max_connections(CONNECTIONS)
        };
        let pool = pool.acquire_timeout(ACQUIRE_WITHIN).connect_with(options).await;
        Ok(Self::Sqlite(pool.with_context(|| format!("cannot open the SQLite database {file}"))?))
    }

    async fn open_postgres(url: &str) -> anyhow::Result<Self> {
        let options = PgConnectOptions::from_str(url)
            .context("DATABASE_URL is not a PostgreSQL URL; give one like postgres://user:password@host/name")?;
        let place = format!("{}:{}", options.get_host(), options.get_port());
        // A pool would retry for seconds and then say that it timed out; one connection says why.
        let first = tokio::time::timeout(CONNECT_WITHIN, PgConnection::connect_with(&options)).await;
        let first = first.with_context(|| format!("PostgreSQL at {place} did not answer"))?;
        first.with_context(|| format!("cannot use PostgreSQL at {place}"))?.close().await.ok();
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(ACQUIRE_WITHIN);
        Ok(Self::Postgres(pool.connect_lazy_with(options)))
    }

    async fn migrate(&self) -> Result<(), sqlx::migrate::MigrateError> {
        match self {
            Self::Sqlite(pool) => migrations::sqlite().run(pool).await,
            Self::Postgres(pool) => migrations::postgres().run(pool).await,
        }
    }

    /// Runs a `DELETE` of what this user owns; whether there was one to delete.
    async fn delete(&self, sql: &'static str, user: i64, id: i64) -> sqlx::Result<bool> {
        let rows = with_pool!(self, pool => sqlx::query(sql)
            .bind(user)
            .bind(id)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows > 0)
    }

    /// Whether a statement gets through.
    pub(crate) async fn answers(&self) -> bool {
        with_pool!(self, pool => sqlx::query("SELECT 1").execute(pool).await.is_ok())
    }

    /// Runs a statement that deletes one of a user's rows; whether there was one.
    async fn delete_own(&self, sql: &'static str, user: i64, id: i64) -> sqlx::Result<bool> {
        let done = with_pool!(self, pool => sqlx::query(sql)
            .bind(user)
            .bind(id)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }

    /// Closes all connections; SQLite tidies its file up.
    pub(crate) async fn close(&self) {
        with_pool!(self, pool => pool.close().await);
    }
}

/// Now, as it is stored.
fn now() -> i64 {
    Timestamp::now().as_microsecond()
}

/// The time that was so long ago, as it is stored.
fn ago(long: Duration) -> i64 {
    now().saturating_sub(i64::try_from(long.as_micros()).unwrap_or(i64::MAX))
}

/// A stored time; what is out of range was never written by us.
fn time(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or_default()
}

/// A list, as it is stored.
fn list(tags: &[String]) -> String {
    serde_json::json!(tags).to_string()
}

/// A new database in a file, and the directory that ends it.
#[cfg(test)]
pub(crate) async fn in_a_file() -> (tempfile::TempDir, Database) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", dir.path().join("test.db").display());
    (dir, Database::open(&url).await.expect("a new database"))
}
