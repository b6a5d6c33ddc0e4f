//! What to do next.

use serde_json::{Value, json};

use crate::{items, suite, support::App};

const RECOMMENDATIONS: &str = "/api/v1/recommendations";
const BOOKMARKS: &str = "/api/v1/bookmarks";
const TASKS: &str = "/api/v1/tasks";

suite![
    what_presses_most_comes_first,
    a_change_is_heeded_at_once,
    nobody_is_advised_from_anothers_things,
    the_limit_of_recommendations_is_1_to_100,
];

async fn what_presses_most_comes_first(app: App) {
    let mut alice = app.user("alice").await;
    for task in [
        json!({ "title": "done", "status": "completed", "priority": "urgent", "tags": ["done"] }),
        json!({ "title": "whenever" , "tags": ["lua"] }),
        json!({ "title": "late", "due_at": "2020-01-01T00:00:00Z", "priority": "high" }),
        json!({ "title": "urgent", "priority": "urgent", "status": "in_progress", "progress": 95 }),
    ] {
        assert_eq!(alice.post(TASKS, task).await.status, 201);
    }
    for bookmark in [
        json!({ "title": "of no use", "url": "https://example.com", "tags": ["done"] }),
        json!({ "title": "of use", "url": "https://lua.example", "tags": ["x", "lua"], "favorite": true }),
    ] {
        assert_eq!(alice.post(BOOKMARKS, bookmark).await.status, 201);
    }
    let told = alice.get(RECOMMENDATIONS).await;
    assert_eq!((told.status, &told.body["next_cursor"]), (200, &Value::Null), "{told:?}");
    let brief: Vec<_> = items(&told).iter().map(|it| json!([it["title"], it["score"], it["reasons"]])).collect();
    let expected = [
        json!(["late", 65, ["overdue", "high_priority"]]),
        json!(["urgent", 50, ["urgent", "in_progress", "nearly_done"]]),
        json!(["of use", 35, ["helps_with_a_task", "favorite"]]),
    ];
    assert_eq!(brief, expected);
    assert_eq!(
        (&items(&told)[2]["kind"], &items(&told)[2]["url"]),
        (&json!("bookmarks"), &json!("https://lua.example"))
    );
    assert_eq!((&items(&told)[0]["kind"], &items(&told)[0]["url"]), (&json!("tasks"), &Value::Null));
    assert_eq!(items(&alice.get(&format!("{RECOMMENDATIONS}?limit=1")).await), &items(&told)[..1]);
}

async fn a_change_is_heeded_at_once(app: App) {
    let mut alice = app.user("alice").await;
    assert!(items(&alice.get(RECOMMENDATIONS).await).is_empty());
    let path = alice.post(TASKS, json!({ "title": "t", "priority": "urgent" })).await.header("location").to_owned();
    assert_eq!(items(&alice.get(RECOMMENDATIONS).await).len(), 1);
    let cached = alice.get(RECOMMENDATIONS).await;
    assert!(cached.header("cache-status").contains("; hit"), "{cached:?}");
    assert_eq!(alice.patch(&path, json!({ "status": "completed" })).await.status, 200);
    assert!(items(&alice.get(RECOMMENDATIONS).await).is_empty());
    let bookmark = json!({ "title": "b", "url": "https://example.com", "favorite": true });
    assert_eq!(alice.post(BOOKMARKS, bookmark).await.status, 201);
    assert_eq!(items(&alice.get(RECOMMENDATIONS).await)[0]["title"], "b");
}

async fn nobody_is_advised_from_anothers_things(app: App) {
    let (mut alice, mut bob) = (app.user("alice").await, app.user("bob").await);
    let task = json!({ "title": "secret", "priority": "urgent", "tags": ["lua"] });
    assert_eq!(alice.post(TASKS, task).await.status, 201);
    let bookmark = json!({ "title": "b", "url": "https://example.com", "tags": ["lua"] });
    assert_eq!(bob.post(BOOKMARKS, bookmark).await.status, 201);
    assert_eq!(items(&alice.get(RECOMMENDATIONS).await).len(), 1);
    assert!(items(&bob.get(RECOMMENDATIONS).await).is_empty());
    assert_eq!(app.visitor().get(RECOMMENDATIONS).await.status, 401);
}

async fn the_limit_of_recommendations_is_1_to_100(app: App) {
    let mut alice = app.user("alice").await;
    for limit in ["0", "101", "x"] {
        assert_eq!(alice.get(&format!("{RECOMMENDATIONS}?limit={limit}")).await.refused(), ["limit"]);
    }
    assert_eq!(alice.get(&format!("{RECOMMENDATIONS}?cursor=1&limit=1")).await.refused(), ["cursor"]);
}

#[tokio::test]
async fn a_user_may_ask_20_times_a_minute() {
    let app = App::start(&["--no-seed"]);
    let mut alice = app.user("alice").await;
    let began = std::time::Instant::now();
    for n in 0..20 {
        assert_eq!(alice.get(RECOMMENDATIONS).await.status, 200, "{n}");
    }
    let refused = alice.get(RECOMMENDATIONS).await;
    // A token comes back every three seconds.
    assert!(refused.status == 429 || began.elapsed().as_secs() >= 3, "{refused:?}");
    let mut bob = app.user("bob").await;
    assert_eq!(bob.get(RECOMMENDATIONS).await.status, 200, "another user");
}
