//! The tables, embedded; a file that was released is never changed, a new one is added.

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

macro_rules! migrator {
    ($dialect:literal) => {
        Migrator::with_migrations(vec![
            step(1, "users", include_str!(concat!("../../migrations/", $dialect, "/0001_users.sql"))),
            step(2, "bookmarks", include_str!(concat!("../../migrations/", $dialect, "/0002_bookmarks.sql"))),
        ])
    };
}

pub(super) fn sqlite() -> Migrator {
    migrator!("sqlite")
}

pub(super) fn postgres() -> Migrator {
    migrator!("postgres")
}

fn step(version: i64, name: &'static str, sql: &'static str) -> Migration {
    Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
}
