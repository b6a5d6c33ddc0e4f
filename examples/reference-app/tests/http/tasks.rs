//! Tasks, as their owner sees them.

use serde_json::{Value, json};

use crate::{
    items, suite,
    support::{Answer, App},
    walk,
};

const TASKS: &str = "/api/v1/tasks";

suite![
    a_task_lives_and_ends,
    a_task_tells_all_that_is_wrong,
    completing_sets_progress_and_time,
    a_patch_clears_what_may_be_empty,
    other_users_tasks_are_not_there,
    a_list_is_filtered_by_status_and_priority,
    a_filter_that_does_not_exist_is_refused,
    a_change_shows_in_every_cached_list,
];

fn titles(answer: &Answer) -> Vec<&str> {
    items(answer).iter().filter_map(|item| item["title"].as_str()).collect()
}

async fn a_task_lives_and_ends(app: App) {
    let mut alice = app.user("alice").await;
    let made = alice.post(TASKS, json!({ "title": " Water the plants " })).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = made.header("location").to_owned();
    assert_eq!(path, format!("{TASKS}/{}", made.body["id"]));
    let mut expected = json!({
        "id": made.body["id"], "title": "Water the plants", "description": null, "status": "pending",
        "priority": "medium", "progress": 0, "due_at": null, "tags": [], "completed_at": null,
        "created_at": made.body["created_at"], "updated_at": made.body["created_at"],
    });
    assert_eq!(made.body, expected);
    assert_eq!(alice.get(&path).await.body, expected);

    let change = json!({ "status": "in_progress", "priority": "urgent", "progress": 40, "tags": ["home", "home"],
        "due_at": "2030-01-31T13:00:00.123456789+01:00", "description": "all of\nthem" });
    let changed = alice.patch(&path, change).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    for (field, value) in [
        ("status", json!("in_progress")),
        ("priority", json!("urgent")),
        ("progress", json!(40)),
        ("tags", json!(["home"])),
        ("due_at", json!("2030-01-31T12:00:00.123456Z")),
        ("description", json!("all of\nthem")),
        ("updated_at", changed.body["updated_at"].clone()),
    ] {
        expected[field] = value;
    }
    assert_eq!(changed.body, expected);
    assert_eq!(items(&alice.get(TASKS).await), &[expected]);

    assert_eq!(alice.delete(&path).await.status, 204);
    assert_eq!((alice.get(&path).await.status, alice.delete(&path).await.status), (404, 404));
    assert!(items(&alice.get(TASKS).await).is_empty());
}

async fn a_task_tells_all_that_is_wrong(app: App) {
    let mut alice = app.user("alice").await;
    let wrong = json!({
        "title": "x".repeat(201), "description": 7, "status": "done", "priority": "HIGH", "progress": 100.5,
        "due_at": "tomorrow", "tags": "home", "completed_at": "2030-01-31T12:00:00Z",
    });
    let fields = ["completed_at", "description", "due_at", "priority", "progress", "status", "tags", "title"];
    assert_eq!(alice.post(TASKS, wrong.clone()).await.refused(), fields);
    assert_eq!(alice.post(TASKS, json!({})).await.refused(), ["title"]);
    let path = alice.post(TASKS, json!({ "title": "One" })).await.header("location").to_owned();
    assert_eq!(alice.patch(&path, wrong).await.refused(), fields);
    for progress in [json!(-1), json!(101), json!(1e300), json!(null)] {
        assert_eq!(alice.patch(&path, json!({ "progress": progress })).await.refused(), ["progress"]);
    }
    for due_at in ["99999-01-01T00:00:00Z", "2030-02-30T00:00:00Z", "2030-01-31"] {
        assert_eq!(alice.patch(&path, json!({ "due_at": due_at })).await.refused(), ["due_at"]);
    }
    for due_at in ["-009998-01-01T00:00:00Z", "9999-12-30T22:00:00Z"] {
        assert_eq!(alice.patch(&path, json!({ "due_at": due_at })).await.body["due_at"], due_at);
    }
}

async fn completing_sets_progress_and_time(app: App) {
    let mut alice = app.user("alice").await;
    let path = alice.post(TASKS, json!({ "title": "One", "progress": 30 })).await.header("location").to_owned();
    let at_its_end = alice.patch(&path, json!({ "progress": 100 })).await;
    assert_eq!((&at_its_end.body["status"], &at_its_end.body["completed_at"]), (&json!("pending"), &Value::Null));
    let completed = alice.patch(&path, json!({ "status": "completed", "progress": 10 })).await;
    assert_eq!(completed.body["progress"], 100);
    assert_eq!(completed.body["completed_at"], completed.body["updated_at"]);
    let still = alice.patch(&path, json!({ "status": "completed", "title": "Two" })).await;
    assert_eq!(still.body["completed_at"], completed.body["completed_at"], "it was completed then, not now");
    assert_ne!(still.body["updated_at"], completed.body["updated_at"]);
    let opened = alice.patch(&path, json!({ "status": "in_progress", "progress": 90 })).await;
    assert_eq!((&opened.body["progress"], &opened.body["completed_at"]), (&json!(90), &Value::Null));

    let born = alice.post(TASKS, json!({ "title": "Two", "status": "completed", "progress": 5 })).await;
    assert_eq!((&born.body["progress"], &born.body["completed_at"]), (&json!(100), &born.body["created_at"]));
}

async fn a_patch_clears_what_may_be_empty(app: App) {
    let mut alice = app.user("alice").await;
    let new = json!({ "title": "One", "description": "why", "due_at": "2030-01-31T12:00:00Z", "tags": ["home"] });
    let path = alice.post(TASKS, new).await.header("location").to_owned();
    let absent = alice.patch(&path, json!({ "title": "Two" })).await.body;
    assert_eq!((&absent["description"], &absent["due_at"]), (&json!("why"), &json!("2030-01-31T12:00:00Z")));
    let cleared = alice.patch(&path, json!({ "description": null, "due_at": null })).await.body;
    assert_eq!((&cleared["description"], &cleared["due_at"]), (&Value::Null, &Value::Null));
    assert_eq!((&cleared["title"], &cleared["tags"]), (&json!("Two"), &json!(["home"])));
    let wrong = json!({ "title": null, "status": null, "priority": null, "tags": null });
    assert_eq!(alice.patch(&path, wrong).await.refused(), ["priority", "status", "tags", "title"]);
}

async fn other_users_tasks_are_not_there(app: App) {
    let (mut alice, mut mallory) = (app.user("alice").await, app.user("mallory").await);
    let made = alice.post(TASKS, json!({ "title": "Private" })).await;
    let path = made.header("location").to_owned();
    assert_eq!(mallory.get(&path).await.status, 404);
    assert_eq!(mallory.patch(&path, json!({ "title": "Mine" })).await.status, 404);
    assert_eq!(mallory.delete(&path).await.status, 404);
    assert!(items(&mallory.get(TASKS).await).is_empty());
    assert_eq!(alice.get(&path).await.body, made.body);
    assert_eq!((app.visitor().get(&path).await.status, app.visitor().get(TASKS).await.status), (401, 401));
}

async fn a_list_is_filtered_by_status_and_priority(app: App) {
    let mut alice = app.user("alice").await;
    for (title, status, priority) in [
        ("a", "pending", "low"),
        ("b", "pending", "urgent"),
        ("c", "in_progress", "urgent"),
        ("d", "pending", "urgent"),
        ("e", "pending", "urgent"),
    ] {
        let made = alice.post(TASKS, json!({ "title": title, "status": status, "priority": priority })).await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    assert_eq!(titles(&alice.get(TASKS).await), ["e", "d", "c", "b", "a"]);
    assert_eq!(titles(&alice.get(&format!("{TASKS}?status=pending")).await), ["e", "d", "b", "a"]);
    assert_eq!(titles(&alice.get(&format!("{TASKS}?priority=low")).await), ["a"]);
    assert!(titles(&alice.get(&format!("{TASKS}?status=cancelled")).await).is_empty());
    let walked = walk(&mut alice, &format!("{TASKS}?status=pending&priority=urgent&limit=2")).await;
    assert_eq!(walked.iter().map(|task| &task["title"]).collect::<Vec<_>>(), ["e", "d", "b"]);
}

async fn a_filter_that_does_not_exist_is_refused(app: App) {
    let mut alice = app.user("alice").await;
    let answer = alice.get(&format!("{TASKS}?status=done&priority=&limit=0&cursor=x&sort=title")).await;
    assert_eq!(answer.refused(), ["cursor", "limit", "priority", "sort", "status"]);
    assert_eq!(alice.get(&format!("{TASKS}?status=pending&status=pending")).await.refused(), ["status"]);
    assert_eq!(alice.get(&format!("{TASKS}?%00=%FF")).await.refused(), ["\0"]);
}

async fn a_change_shows_in_every_cached_list(app: App) {
    let mut alice = app.user("alice").await;
    let path = alice.post(TASKS, json!({ "title": "One" })).await.header("location").to_owned();
    let lists = [TASKS.to_owned(), format!("{TASKS}?status=pending"), format!("{TASKS}?status=completed")];
    for (change, counts) in [(json!({}), [1, 1, 0]), (json!({ "status": "completed" }), [1, 0, 1])] {
        assert_eq!(alice.patch(&path, change).await.status, 200);
        for (list, count) in lists.iter().zip(counts) {
            let (fresh, cached) = (alice.get(list).await, alice.get(list).await);
            assert!(cached.header("cache-status").contains("; hit"), "{cached:?}");
            assert_eq!((items(&fresh).len(), &fresh.body), (count, &cached.body), "{list}");
        }
    }
    assert_eq!(alice.delete(&path).await.status, 204);
    assert!(items(&alice.get(&lists[2]).await).is_empty());
}
