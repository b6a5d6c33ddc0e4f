//! The API over HTTP, as its users see it: on SQLite, and all of it again on PostgreSQL.
#[path = "../support/mod.rs"]
mod support;

mod access;
mod analytics;
mod api_keys;
mod auth;
mod bookmarks;
mod challenges;
mod demo;
mod gone_database;
mod items;
mod keys;
mod on_redis;
mod openapi;
mod problems;
mod queries;
mod recommendations;
mod scopes;
mod scores;
mod search;
mod sessions;
mod tasks;
mod upgrade;
mod uploads;
mod user_actions;

use serde_json::Value;
use support::{Answer, Browser};

/// Runs each case against an app with a new database: on SQLite as a test of its own, on PostgreSQL one after the
/// other on one server. The app has no demo data, unless `with ["--seed"];` in front of the cases asks for it.
macro_rules! suite {
    (with $args:expr; $($case:ident),* $(,)?) => {
        const ARGS: &[&str] = &$args;

        mod sqlite {
            $(#[tokio::test] async fn $case() { super::$case(crate::support::App::start(super::ARGS)).await; })*
        }

        #[tokio::test]
        async fn all_of_it_on_postgresql() {
            let Some(mut server) = crate::support::postgres::Postgres::start().await else { return };
            $(
                eprintln!("on PostgreSQL: {}", stringify!($case));
                let database = server.database().await;
                let args = [&["--database", &*database], ARGS].concat();
                $case(crate::support::App::start(&args)).await;
            )*
        }
    };
    ($($case:ident),* $(,)?) => { suite![with ["--no-seed"]; $($case),*]; };
}
use suite;

/// The items of a list.
fn items(answer: &Answer) -> &Vec<Value> {
    answer.body["items"].as_array().expect("a list of items")
}

/// All items of a list, page after page; `path` has a query.
async fn walk(browser: &mut Browser, path: &str) -> Vec<Value> {
    let mut page = browser.get(path).await;
    let mut all = items(&page).clone();
    while let Some(cursor) = page.body["next_cursor"].as_str() {
        page = browser.get(&format!("{path}&cursor={cursor}")).await;
        all.extend_from_slice(items(&page));
    }
    all
}
