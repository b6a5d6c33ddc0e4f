//! The demo data: something to look at in the first minute, the same after a restart.
mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{Answer, App, Browser, servers::eventually};

fn items(answer: &Answer) -> &[Value] {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["items"].as_array().expect("a list")
}

async fn demo(app: &App) -> Browser {
    let mut browser = app.visitor();
    let login = json!({ "username": "demo", "password": "demo-password" });
    assert_eq!(browser.post("/api/v1/auth/login", login).await.status, 200);
    browser
}

/// How much there is of everything that is kept in the database.
async fn counts(browser: &mut Browser) -> Vec<usize> {
    let mut counts = Vec::new();
    for list in ["bookmarks", "tasks", "challenges", "items"] {
        counts.push(items(&browser.get(&format!("/api/v1/{list}?limit=100")).await).len());
    }
    counts
}

#[tokio::test]
async fn there_is_something_to_look_at() {
    let app = App::start(&[]);
    let mut browser = demo(&app).await;
    let tasks = browser.get("/api/v1/tasks").await;
    let states: BTreeSet<_> = items(&tasks).iter().filter_map(|task| task["status"].as_str()).collect();
    assert_eq!(states, ["pending", "in_progress", "completed", "cancelled"].into());

    for challenge in items(&browser.get("/api/v1/challenges").await) {
        assert_eq!(challenge["participants"], 12, "{challenge}");
        let board = browser.get(&format!("/api/v1/challenges/{}/leaderboard", challenge["id"])).await;
        let places: Vec<_> = items(&board).iter().filter_map(|row| row["rank"].as_u64()).collect();
        assert_eq!((places.len(), places[0]), (12, 1), "{board:?}");
        assert!(places.windows(2).any(|pair| pair[0] == pair[1]), "nobody is even: {places:?}");
    }
    let trends = browser.get("/api/v1/trending/week?limit=3").await;
    assert_eq!(items(&trends)[0]["item"]["title"], "HTTP status codes", "{trends:?}");
    eventually("views are in the database", async || {
        items(&browser.get("/api/v1/items").await).iter().all(|item| item["views"].as_i64() > Some(0))
    })
    .await;
    let actions = browser.get("/api/v1/user-actions").await;
    assert_eq!(items(&actions)[0]["action"], "challenge.opened");
    let login = json!({ "username": "ada", "password": "" });
    assert_eq!(app.visitor().post("/api/v1/auth/login", login).await.status, 401, "nobody is ada");
}

#[tokio::test]
async fn it_is_planted_once() {
    let app = App::start(&["--seed"]);
    let before = counts(&mut demo(&app).await).await;
    assert!(before.iter().all(|count| *count > 1), "{before:?}");
    let again = App::start_in(app.stop(), &["--seed"]);
    assert_eq!(counts(&mut demo(&again).await).await, before);
}

#[tokio::test]
async fn what_trended_before_a_restart_does_so_after_it() {
    let app = App::start(&[]);
    let mut browser = app.visitor();
    eventually("all views are in the database", async || {
        items(&browser.get("/api/v1/items").await).iter().all(|item| item["views"].as_i64() > Some(0))
    })
    .await;
    let titles = |trends: &Answer| items(trends).iter().map(|row| row["item"]["title"].clone()).collect::<Vec<_>>();
    let before = browser.get("/api/v1/trending/week").await;
    assert_eq!((before.body["source"].as_str(), titles(&before).is_empty()), (Some("board"), false));
    let again = App::start_in(app.stop(), &[]);
    let after = again.visitor().get("/api/v1/trending/week").await;
    assert_eq!((after.body["source"].as_str(), titles(&after)), (Some("database"), titles(&before)));
}
