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
            step(3, "api_keys", include_str!(concat!("../../migrations/", $dialect, "/0003_api_keys.sql"))),
            step(4, "uploads", include_str!(concat!("../../migrations/", $dialect, "/0004_uploads.sql"))),
            step(5, "tasks", include_str!(concat!("../../migrations/", $dialect, "/0005_tasks.sql"))),
            step(6, "search", include_str!(concat!("../../migrations/", $dialect, "/0006_search.sql"))),
            step(7, "challenges", include_str!(concat!("../../migrations/", $dialect, "/0007_challenges.sql"))),
            step(8, "items", include_str!(concat!("../../migrations/", $dialect, "/0008_items.sql"))),
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
