//! What the demo user sees of the demo data, which is planted in the tables, past the API.

use serde_json::{Value, json};

use crate::{
    items, suite,
    support::{App, Browser},
};

suite![
    with ["--seed"];
    the_demo_user_has_something_to_do,
    what_was_planted_is_found,
];

async fn demo(app: &App) -> Browser {
    let mut demo = app.visitor();
    let credentials = json!({ "username": "demo", "password": "demo-password" });
    assert_eq!(demo.post("/api/v1/auth/login", credentials).await.status, 200);
    demo
}

async fn the_demo_user_has_something_to_do(app: App) {
    let mut demo = demo(&app).await;
    let told = demo.get("/api/v1/recommendations").await;
    let first = &items(&told)[0];
    assert_eq!(
        (&first["title"], &first["reasons"]),
        (&json!("Answer the incident report"), &json!(["overdue", "urgent"]))
    );
    assert_eq!(items(&demo.get("/api/v1/tasks").await).len(), 6);
    assert!(items(&demo.get("/api/v1/bookmarks").await).len() >= 5);
}

async fn what_was_planted_is_found(app: App) {
    let found = demo(&app).await.get("/api/v1/search?q=sliding%20window").await;
    let titles: Vec<_> = items(&found).iter().filter_map(|item| item["title"].as_str()).collect();
    assert_eq!(titles, ["Redis sorted sets"]);
    assert_eq!(app.visitor().get("/api/v1/search?q=sliding").await.body["items"], Value::Null, "nobody else's");
}
