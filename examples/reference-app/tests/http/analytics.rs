//! The dashboard.

use serde_json::{Value, json};

use crate::{suite, support::App};

const DASHBOARD: &str = "/api/v1/analytics/dashboard";
const BOOKMARKS: &str = "/api/v1/bookmarks";
const TASKS: &str = "/api/v1/tasks";

suite![
    counts_all_there_is,
    nothing_counts_as_zero,
    a_change_counts_at_once,
    nobody_counts_anothers_things,
    days_are_1_to_90,
];

async fn counts_all_there_is(app: App) {
    let mut alice = app.user("alice").await;
    for (favorite, tags) in [(true, json!(["b", "rust", "ä"])), (false, json!(["rust", "a \"b\" \\n"]))] {
        let bookmark = json!({ "url": "https://example.com", "title": "t", "favorite": favorite, "tags": tags });
        assert_eq!(alice.post(BOOKMARKS, bookmark).await.status, 201);
    }
    for (status, priority, due_at) in [
        ("completed", "low", "2020-01-01T00:00:00Z"),
        ("cancelled", "high", "2020-01-01T00:00:00Z"),
        ("pending", "high", "2020-01-01T00:00:00Z"),
        ("in_progress", "urgent", "2100-01-01T00:00:00Z"),
        ("pending", "urgent", "2100-01-01T00:00:00Z"),
    ] {
        let task =
            json!({ "title": "t", "status": status, "priority": priority, "due_at": due_at, "tags": ["rust", "Z"] });
        assert_eq!(alice.post(TASKS, task).await.status, 201);
    }
    let told = alice.get(&format!("{DASHBOARD}?days=2")).await;
    assert_eq!(told.status, 200, "{told:?}");
    assert_eq!(told.body["bookmarks"], json!({ "total": 2, "favorites": 1 }));
    let by_status = json!({ "pending": 2, "in_progress": 1, "completed": 1, "cancelled": 1 });
    let by_priority = json!({ "low": 1, "medium": 0, "high": 2, "urgent": 2 });
    let tasks = json!({
        "total": 5, "by_status": by_status, "by_priority": by_priority, "overdue": 1, "completion_rate": 0.25,
    });
    assert_eq!(told.body["tasks"], tasks);
    let tags = json!([
        { "tag": "rust", "count": 7 }, { "tag": "Z", "count": 5 }, { "tag": "a \"b\" \\n", "count": 1 },
        { "tag": "b", "count": 1 }, { "tag": "ä", "count": 1 },
    ]);
    assert_eq!(told.body["top_tags"], tags);
    // At midnight the things of this test may lie on two days.
    let by_day = told.body["by_day"].as_array().expect("days");
    let sum = |of: &str| by_day.iter().filter_map(|day| day[of].as_i64()).sum::<i64>();
    assert_eq!((by_day.len(), sum("bookmarks"), sum("tasks"), sum("completed")), (2, 2, 5, 1));
}

async fn nothing_counts_as_zero(app: App) {
    let mut alice = app.user("alice").await;
    let told = alice.get(DASHBOARD).await;
    assert_eq!(told.body["by_day"].as_array().map(Vec::len), Some(30));
    assert_eq!((&told.body["bookmarks"]["total"], &told.body["top_tags"]), (&json!(0), &json!([])));
    assert_eq!((&told.body["tasks"]["total"], &told.body["tasks"]["completion_rate"]), (&json!(0), &Value::Null));
    assert_eq!(told.body["tasks"]["by_status"]["pending"], 0);
}

async fn a_change_counts_at_once(app: App) {
    let mut alice = app.user("alice").await;
    let path = alice.post(TASKS, json!({ "title": "t" })).await.header("location").to_owned();
    for (change, rate) in [(json!({}), json!(0.0)), (json!({ "status": "completed" }), json!(1.0))] {
        assert_eq!(alice.patch(&path, change).await.status, 200);
        let (told, cached) = (alice.get(DASHBOARD).await, alice.get(DASHBOARD).await);
        assert_eq!((&told.body["tasks"]["completion_rate"], &told.body), (&rate, &cached.body));
        assert!(cached.header("cache-status").contains("; hit"), "{cached:?}");
    }
    let bookmark = alice.post(BOOKMARKS, json!({ "url": "https://example.com", "title": "t" })).await;
    assert_eq!(alice.get(DASHBOARD).await.body["bookmarks"]["total"], 1);
    assert_eq!(alice.delete(bookmark.header("location")).await.status, 204);
    assert_eq!(alice.delete(&path).await.status, 204);
    let told = alice.get(DASHBOARD).await;
    assert_eq!((&told.body["bookmarks"]["total"], &told.body["tasks"]["total"]), (&json!(0), &json!(0)));
}

async fn nobody_counts_anothers_things(app: App) {
    let (mut alice, mut bob) = (app.user("alice").await, app.user("bob").await);
    let task = json!({ "title": "t", "tags": ["secret"], "status": "completed", "due_at": "2020-01-01T00:00:00Z" });
    assert_eq!(alice.post(TASKS, task).await.status, 201);
    assert_eq!(alice.get(DASHBOARD).await.body["tasks"]["total"], 1);
    let told = bob.get(DASHBOARD).await;
    assert_eq!((&told.body["tasks"]["total"], &told.body["top_tags"]), (&json!(0), &json!([])));
    assert_eq!(app.visitor().get(DASHBOARD).await.status, 401);
}

async fn days_are_1_to_90(app: App) {
    let mut alice = app.user("alice").await;
    for days in ["0", "91", "-1", "", "x", "1.5", "99999999999999999999"] {
        assert_eq!(alice.get(&format!("{DASHBOARD}?days={days}")).await.refused(), ["days"], "{days}");
    }
    assert_eq!(alice.get(&format!("{DASHBOARD}?day=1&days=0")).await.refused(), ["day", "days"]);
    for days in [1, 90] {
        let told = alice.get(&format!("{DASHBOARD}?days={days}")).await;
        assert_eq!(told.body["by_day"].as_array().map(Vec::len), Some(days));
    }
}
