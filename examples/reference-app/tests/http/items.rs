//! Items of the marketplace, and what is looked at among them.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    items, suite,
    support::{App, Browser, servers::eventually},
};

const ITEMS: &str = "/api/v1/items";

suite![
    with ["--no-seed", "--trusted-proxy", "127.0.0.1/32"];
    an_item_is_seen_by_everybody,
    an_item_tells_all_that_is_wrong,
    a_visitor_counts_once_a_minute,
    looks_at_once_are_all_counted_and_make_a_trend,
];

async fn made(by: &mut Browser, title: &str) -> String {
    let made = by.post(ITEMS, json!({ "title": title, "kind": "tool" })).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.header("location").to_owned()
}

async fn look(browser: &mut Browser, path: &str, how: &str) -> (u16, Value) {
    let answer = browser.post(&format!("{path}/{how}"), json!({})).await;
    (answer.status, answer.body["counted"].clone())
}

/// Waits until the item shows so many views and downloads.
async fn shows(app: &App, path: &str, views: i64, downloads: i64) {
    eventually(&format!("{views} views and {downloads} downloads"), async || {
        let item = app.visitor().elsewhere().get(path).await.body;
        (&item["views"], &item["downloads"]) == (&json!(views), &json!(downloads))
    })
    .await;
}

async fn an_item_is_seen_by_everybody(app: App) {
    let mut alice = app.user("alice").await;
    let first = made(&mut alice, "First").await;
    let body = json!({ "title": "Second", "kind": "dataset", "description": "Rows\nand rows" });
    let second = alice.post(ITEMS, body).await;
    assert_eq!((&second.body["kind"], &second.body["views"]), (&json!("dataset"), &json!(0)), "{second:?}");
    let mut visitor = app.visitor();
    assert_eq!(visitor.get(second.header("location")).await.body, second.body);
    let page = visitor.get(&format!("{ITEMS}?limit=1")).await;
    assert_eq!(items(&page), std::slice::from_ref(&second.body));
    let cursor = page.body["next_cursor"].as_str().expect("another page");
    let page = visitor.get(&format!("{ITEMS}?limit=1&cursor={cursor}")).await;
    assert_eq!((&items(&page)[0]["title"], &page.body["next_cursor"]), (&json!("First"), &Value::Null));
    assert_eq!(visitor.post(ITEMS, json!({ "title": "x", "kind": "tool" })).await.status, 401);
    assert_eq!(visitor.patch(&first, json!({})).await.status, 405);
}

async fn an_item_tells_all_that_is_wrong(app: App) {
    let mut alice = app.user("alice").await;
    let wrong = json!({ "title": "", "kind": "car", "description": "a\u{0}b", "price": 1 });
    assert_eq!(alice.post(ITEMS, wrong).await.refused(), ["description", "kind", "price", "title"]);
    assert_eq!(alice.post(ITEMS, json!({})).await.refused(), ["kind", "title"]);
    assert_eq!(alice.get(&format!("{ITEMS}/7")).await.status, 404);
    assert_eq!(alice.post(&format!("{ITEMS}/7/view"), json!({})).await.status, 404);
    assert_eq!(alice.get("/api/v1/trending/year").await.status, 404);
    assert_eq!(alice.get("/api/v1/trending/day?limit=0&page=2").await.refused(), ["limit", "page"]);
}

async fn a_visitor_counts_once_a_minute(app: App) {
    let (mut alice, mut visitor) = (app.user("alice").await, app.visitor());
    let (path, other) = (made(&mut alice, "Lamp").await, made(&mut alice, "Sofa").await);
    for (path, counted) in [(&path, true), (&path, false), (&other, true)] {
        assert_eq!(look(&mut visitor, path, "view").await, (200, json!(counted)));
        assert_eq!(look(&mut visitor, path, "download").await, (200, json!(counted)));
    }
    assert_eq!(look(&mut alice, &path, "view").await, (200, json!(true)), "a user, though of the same address");
    shows(&app, &path, 2, 1).await;
    shows(&app, &other, 1, 1).await;
}

/// The lamp is viewed by 40, the sofa downloaded by 10, worth 50 views; the rug is of no interest.
async fn looks_at_once_are_all_counted_and_make_a_trend(app: App) {
    let mut alice = app.user("alice").await;
    let [lamp, sofa] = [made(&mut alice, "Lamp").await, made(&mut alice, "Sofa").await];
    made(&mut alice, "Rug").await;
    let mut looks = JoinSet::new();
    for n in 0..50 {
        let mut visitor = app.visitor().at(&format!("203.0.113.{n}"));
        let (path, how) = if n < 40 { (lamp.clone(), "view") } else { (sofa.clone(), "download") };
        looks.spawn(async move { look(&mut visitor, &path, how).await });
    }
    assert!(looks.join_all().await.into_iter().all(|look| look == (200, json!(true))));
    shows(&app, &lamp, 40, 0).await;
    shows(&app, &sofa, 0, 10).await;
    let mut visitor = app.visitor();
    for period in ["day", "week", "month"] {
        let trends = visitor.get(&format!("/api/v1/trending/{period}")).await;
        let seen: Vec<_> =
            items(&trends).iter().map(|row| (row["item"]["title"].clone(), row["score"].clone())).collect();
        assert_eq!(seen, [(json!("Sofa"), json!(50.0)), (json!("Lamp"), json!(40.0))], "{trends:?}");
        assert_eq!(trends.body["source"], "board");
    }
    let again = visitor.get("/api/v1/trending/day").await;
    assert!(again.header("cache-status").contains("; hit"), "{again:?}");
    assert_eq!(items(&visitor.get("/api/v1/trending/day?limit=1").await).len(), 1);
}
