//! A database from before there was a search: what lies in it is found.

use serde_json::json;
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::{
    items,
    support::{App, Browser, postgres::Postgres},
};

const SEARCH: &str = "/api/v1/search";

/// What takes the search out again.
const WITHOUT_SQLITE: &str = "
    DROP TRIGGER bookmark_is_searchable; DROP TRIGGER bookmark_stays_searchable; DROP TRIGGER bookmark_is_gone;
    DROP TRIGGER task_is_searchable; DROP TRIGGER task_stays_searchable; DROP TRIGGER task_is_gone;
    DROP VIEW bookmark_words; DROP VIEW task_words; DROP TABLE search_words; DROP TABLE search_documents;
    DELETE FROM _sqlx_migrations WHERE version = 6;";
const WITHOUT_POSTGRES: &str = "
    DROP FUNCTION keep_bookmark_searchable CASCADE; DROP FUNCTION keep_task_searchable CASCADE;
    DROP FUNCTION forget_document CASCADE; DROP TABLE search_documents;
    DROP FUNCTION words_of; DROP FUNCTION tags_of; DROP FUNCTION host_of;
    DELETE FROM _sqlx_migrations WHERE version = 6;";

async fn add_things(app: &App) {
    let mut alice = app.user("alice").await;
    let url = "https://user@docs.example.com:8443/hidden";
    for (path, body) in [
        ("/api/v1/tasks", json!({ "title": "a thing", "tags": ["old"] })),
        ("/api/v1/bookmarks", json!({ "title": "two", "url": url, "description": "thing", "tags": ["old", "x"] })),
        ("/api/v1/tasks", json!({ "title": "three", "description": "things" })),
    ] {
        assert_eq!(alice.post(path, body).await.status, 201);
    }
}

async fn titles(alice: &mut Browser, q: &str) -> Vec<String> {
    let found = alice.get(&format!("{SEARCH}?q={q}")).await;
    items(&found).iter().map(|item| item["title"].as_str().expect("a title").to_owned()).collect()
}

async fn finds_what_was_there(app: &App) {
    let mut alice = app.visitor();
    let credentials = json!({ "username": "alice", "password": "a good password" });
    assert_eq!(alice.post("/api/v1/auth/login", credentials).await.status, 200);
    assert_eq!(titles(&mut alice, "thing").await, ["three", "two", "a thing"]);
    assert_eq!(titles(&mut alice, "old").await, ["two", "a thing"]);
    assert_eq!(titles(&mut alice, "docs.example.com").await, ["two"]);
    assert!(titles(&mut alice, "hidden").await.is_empty());
    let made = alice.post("/api/v1/tasks", json!({ "title": "new thing" })).await;
    assert_eq!(titles(&mut alice, "thing").await, ["new thing", "three", "two", "a thing"]);
    assert_eq!(alice.delete(made.header("location")).await.status, 204);
    assert_eq!(titles(&mut alice, "thing").await.len(), 3);
}

#[tokio::test]
async fn what_lay_in_sqlite_is_found() {
    let app = App::start(&["--no-seed"]);
    add_things(&app).await;
    let dir = app.stop();
    let file = format!("sqlite:{}", dir.path().join("towerkeep.db").display());
    let mut connection = SqliteConnection::connect(&file).await.expect("the app's database");
    sqlx::raw_sql(WITHOUT_SQLITE).execute(&mut connection).await.expect("it had a search");
    connection.close().await.expect("closed");
    finds_what_was_there(&App::start_in(dir, &["--no-seed"])).await;
}

#[tokio::test]
async fn what_lay_in_postgresql_is_found() {
    let Some(mut server) = Postgres::start().await else { return };
    let url = server.database().await;
    let app = App::start(&["--database", &url]);
    add_things(&app).await;
    drop(app);
    let mut connection = PgConnection::connect(&url).await.expect("the app's database");
    sqlx::raw_sql(WITHOUT_POSTGRES).execute(&mut connection).await.expect("it had a search");
    connection.close().await.expect("closed");
    finds_what_was_there(&App::start(&["--database", &url])).await;
}
