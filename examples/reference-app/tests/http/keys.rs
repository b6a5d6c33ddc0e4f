//! Requests with API keys, and databases looked at from outside: what several resources' tests need.

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::support::{Answer, App, Browser, postgres::Postgres};

pub(crate) const KEYS: &str = "/api/v1/api-keys";

/// A new key of this user, whole.
pub(crate) async fn key(user: &mut Browser, scopes: &[&str]) -> String {
    let made = user.post(KEYS, json!({ "name": "a key", "scopes": scopes })).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.body["key"].as_str().expect("a key").to_owned()
}

/// A request with this key; nothing else tells whose it is.
pub(crate) fn request(app: &App, method: Method, path: &str, key: &str, body: Option<Value>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(format!("{}{path}", app.url()));
    request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    request.body(Full::from(body)).expect("a request")
}

pub(crate) async fn send(app: &App, method: Method, path: &str, key: &str, body: Option<Value>) -> Answer {
    app.visitor().request(request(app, method, path, key, body)).await
}

pub(crate) async fn get(app: &App, path: &str, key: &str) -> Answer {
    send(app, Method::GET, path, key, None).await
}

/// Runs `case` with the URL of a new database: of SQLite, and of PostgreSQL where there is one.
pub(crate) async fn on_both(case: impl AsyncFn(String)) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    case(format!("sqlite:{}", dir.path().join("test.db").display())).await;
    if let Some(mut server) = Postgres::start().await {
        case(server.database().await).await;
    }
}

/// Runs a statement beside the app.
pub(crate) async fn execute(database: &str, sql: String) {
    let sql = sqlx::AssertSqlSafe(sql);
    if database.starts_with("sqlite:") {
        let mut connection = SqliteConnection::connect(database).await.expect("a database");
        sqlx::query(sql).execute(&mut connection).await.expect("a statement");
    } else {
        let mut connection = PgConnection::connect(database).await.expect("a database");
        sqlx::query(sql).execute(&mut connection).await.expect("a statement");
    }
}
