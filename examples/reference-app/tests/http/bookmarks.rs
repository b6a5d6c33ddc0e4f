//! Bookmarks, as their owner sees them.

use serde_json::{Value, json};

use crate::{items, suite, support::App, walk};

const BOOKMARKS: &str = "/api/v1/bookmarks";

suite![
    a_bookmark_lives_and_ends,
    a_bookmark_tells_all_that_is_wrong,
    a_patch_tells_null_from_absent,
    other_users_bookmarks_are_not_there,
    the_cursor_walks_through_all_once,
    the_limit_is_1_to_100,
];

fn bookmark(title: &str) -> Value {
    json!({ "url": "https://example.com/a?b=c", "title": title })
}

async fn a_bookmark_lives_and_ends(app: App) {
    let mut alice = app.user("alice").await;
    let me = alice.get("/api/v1/auth/me").await;
    assert_eq!((me.status, &me.body["username"], &me.body["is_admin"]), (200, &json!("alice"), &json!(false)));
    assert!(me.body.get("password_hash").is_none());

    let made = alice.post(BOOKMARKS, bookmark("First")).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = made.header("location").to_owned();
    assert_eq!(path, format!("{BOOKMARKS}/{}", made.body["id"]));
    assert_eq!(made.body["url"], "https://example.com/a?b=c");
    assert_eq!((&made.body["tags"], &made.body["favorite"]), (&json!([]), &json!(false)));
    let shown = alice.get(&path).await;
    assert_eq!((&shown.body, shown.header("cache-control")), (&made.body, "no-store"));

    let changed = alice.patch(&path, json!({ "title": "Second", "tags": ["rust"], "favorite": true })).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!((&changed.body["title"], &changed.body["tags"]), (&json!("Second"), &json!(["rust"])));
    assert_eq!((&changed.body["favorite"], &changed.body["url"]), (&json!(true), &made.body["url"]));
    assert_eq!(items(&alice.get(BOOKMARKS).await), &[changed.body]);

    assert_eq!(alice.delete(&path).await.status, 204);
    assert_eq!(alice.get(&path).await.status, 404);
    assert_eq!(alice.delete(&path).await.status, 404);
    assert!(items(&alice.get(BOOKMARKS).await).is_empty());
}

async fn a_bookmark_tells_all_that_is_wrong(app: App) {
    let mut alice = app.user("alice").await;
    let wrong = json!({
        "url": "javascript:alert(1)", "title": "", "description": 7, "tags": ["ok", ""], "favorite": "yes", "owner": 1,
    });
    let answer = alice.post(BOOKMARKS, wrong.clone()).await;
    assert_eq!(answer.refused(), ["description", "favorite", "owner", "tags", "title", "url"]);
    assert_eq!(alice.post(BOOKMARKS, json!({})).await.refused(), ["title", "url"]);
    let path = alice.post(BOOKMARKS, bookmark("One")).await.header("location").to_owned();
    assert_eq!(alice.patch(&path, wrong).await.refused().len(), 6);
    assert_eq!(alice.patch(&path, json!({ "title": "a\u{0}b" })).await.refused(), ["title"]);
    assert_eq!(alice.get(&path).await.body["title"], "One");
}

async fn a_patch_tells_null_from_absent(app: App) {
    let mut alice = app.user("alice").await;
    let mut new = bookmark("One");
    new["description"] = json!("worth\nreading");
    let path = alice.post(BOOKMARKS, new).await.header("location").to_owned();
    let absent = alice.patch(&path, json!({ "favorite": true })).await;
    assert_eq!(absent.body["description"], "worth\nreading");
    let null = alice.patch(&path, json!({ "description": null })).await;
    assert_eq!((&null.body["description"], &null.body["favorite"]), (&Value::Null, &json!(true)));
    assert_eq!(alice.patch(&path, json!({ "title": null })).await.refused(), ["title"]);
    assert_eq!(alice.patch(&path, json!({})).await.body["title"], "One");
}

async fn other_users_bookmarks_are_not_there(app: App) {
    let mut alice = app.user("alice").await;
    let mut mallory = app.user("mallory").await;
    let made = alice.post(BOOKMARKS, bookmark("Private")).await;
    let path = made.header("location").to_owned();
    assert_eq!(mallory.get(&path).await.status, 404);
    assert_eq!(mallory.patch(&path, json!({ "title": "Mine" })).await.status, 404);
    assert_eq!(mallory.delete(&path).await.status, 404);
    assert!(items(&mallory.get(BOOKMARKS).await).is_empty());
    assert_eq!(alice.get(&path).await.body, made.body);
    assert_eq!(app.visitor().get(&path).await.status, 401);
}

async fn the_cursor_walks_through_all_once(app: App) {
    let mut alice = app.user("alice").await;
    for n in 1..=5 {
        assert_eq!(alice.post(BOOKMARKS, bookmark(&n.to_string())).await.status, 201);
    }
    let seen = walk(&mut alice, &format!("{BOOKMARKS}?limit=2")).await;
    let seen: Vec<_> = seen.iter().map(|item| &item["title"]).collect();
    assert_eq!(seen, ["5", "4", "3", "2", "1"]);
}

async fn the_limit_is_1_to_100(app: App) {
    let mut alice = app.user("alice").await;
    for limit in ["0", "101", "-1", "many"] {
        assert_eq!(alice.get(&format!("{BOOKMARKS}?limit={limit}")).await.refused(), ["limit"]);
    }
    assert_eq!(alice.get(&format!("{BOOKMARKS}?limit=0&cursor=x")).await.refused(), ["cursor", "limit"]);
    assert_eq!(alice.get(&format!("{BOOKMARKS}?limit=100")).await.status, 200);
}
