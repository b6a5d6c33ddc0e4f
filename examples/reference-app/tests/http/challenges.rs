//! Challenges: seen by everybody, joined while there is room.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    items, suite,
    support::{App, Browser},
};

const CHALLENGES: &str = "/api/v1/challenges";

suite![
    with ["--no-seed", "--trusted-proxy", "127.0.0.1/32"];
    a_challenge_is_seen_by_everybody_and_changed_by_its_owner,
    a_challenge_tells_all_that_is_wrong,
    a_patch_fits_the_challenge_as_it_stands,
    the_list_shows_changes_at_once,
    joining_again_takes_no_place,
    a_challenge_is_joined_while_it_runs,
    of_a_hundred_joins_at_once_ten_find_a_place,
];

fn challenge(more: &Value) -> Value {
    let mut body =
        json!({ "title": "Ten miles", "starts_at": "2020-01-01T00:00:00Z", "ends_at": "2120-01-01T00:00:00Z" });
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

/// The path of a new challenge.
async fn made(by: &mut Browser, more: Value) -> String {
    let made = by.post(CHALLENGES, challenge(&more)).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.header("location").to_owned()
}

async fn join(browser: &mut Browser, path: &str) -> (u16, Value) {
    let answer = browser.post(&format!("{path}/join"), json!({})).await;
    (answer.status, answer.body["detail"].clone())
}

async fn a_challenge_is_seen_by_everybody_and_changed_by_its_owner(app: App) {
    let (mut alice, mut mallory) = (app.user("alice").await, app.user("mallory").await);
    let made = alice.post(CHALLENGES, challenge(&json!({ "description": "On foot", "capacity": 3 }))).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!((&made.body["ranking"], &made.body["participants"]), (&json!("competition"), &json!(0)));
    let path = made.header("location").to_owned();
    assert_eq!(path, format!("{CHALLENGES}/{}", made.body["id"]));
    assert_eq!(app.visitor().get(&path).await.body, made.body);
    assert_eq!(items(&app.visitor().get(CHALLENGES).await), std::slice::from_ref(&made.body));

    let changes = json!({ "title": "Twenty", "description": null, "capacity": null, "ranking": "dense" });
    assert_eq!(mallory.patch(&path, changes.clone()).await.status, 404);
    assert_eq!(app.visitor().patch(&path, changes.clone()).await.status, 401);
    let changed = alice.patch(&path, changes.clone()).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    for (name, value) in changes.as_object().expect("an object") {
        assert_eq!(&changed.body[name], value, "{name}");
    }
    assert_eq!(changed.body["starts_at"], made.body["starts_at"]);
    assert_eq!(app.visitor().get(&path).await.body, changed.body);
    assert_eq!(app.visitor().post(CHALLENGES, challenge(&json!({}))).await.status, 401);
    assert_eq!(alice.patch(&format!("{CHALLENGES}/7"), json!({})).await.status, 404);
    assert_eq!(alice.get(&format!("{CHALLENGES}/99999999999999999999")).await.status, 404);
}

async fn a_challenge_tells_all_that_is_wrong(app: App) {
    let mut alice = app.user("alice").await;
    let wrong = json!({
        "title": "x".repeat(10_000), "description": "a\u{0}b", "starts_at": "soon", "ends_at": 7, "capacity": 0,
        "ranking": "best", "owner_id": 1,
    });
    let all = ["capacity", "description", "ends_at", "owner_id", "ranking", "starts_at", "title"];
    assert_eq!(alice.post(CHALLENGES, wrong.clone()).await.refused(), all);
    assert_eq!(alice.post(CHALLENGES, json!({})).await.refused(), ["ends_at", "starts_at", "title"]);
    let backwards = json!({ "ends_at": "2019-12-31T23:59:59Z", "capacity": 1e300 });
    assert_eq!(alice.post(CHALLENGES, challenge(&backwards)).await.refused(), ["capacity", "ends_at"]);
    let path = made(&mut alice, json!({})).await;
    assert_eq!(alice.patch(&path, wrong).await.refused(), all);
    assert_eq!(alice.get(&format!("{CHALLENGES}?limit=101&cursor=x")).await.refused(), ["cursor", "limit"]);
    assert_eq!(alice.get(&format!("{CHALLENGES}?sort=title")).await.refused(), ["sort"]);
}

async fn a_patch_fits_the_challenge_as_it_stands(app: App) {
    let (mut alice, mut bob) = (app.user("alice").await, app.user("bob").await);
    let path = made(&mut alice, json!({})).await;
    assert_eq!(join(&mut alice, &path).await.0, 201);
    assert_eq!(join(&mut bob, &path).await.0, 201);
    let refused = alice.patch(&path, json!({ "ends_at": "2019-01-01T00:00:00Z", "capacity": 1 })).await;
    assert_eq!(refused.refused(), ["capacity", "ends_at"]);
    assert_eq!(alice.patch(&path, json!({ "starts_at": "2121-01-01T00:00:00Z" })).await.refused(), ["starts_at"]);
    let fits = alice.patch(&path, json!({ "capacity": 2 })).await;
    assert_eq!((fits.status, &fits.body["participants"]), (200, &json!(2)), "{fits:?}");
}

async fn the_list_shows_changes_at_once(app: App) {
    let (mut alice, mut visitor) = (app.user("alice").await, app.visitor());
    let path = made(&mut alice, json!({})).await;
    for _ in 0..2 {
        visitor.get(CHALLENGES).await;
    }
    let cached = visitor.get(CHALLENGES).await;
    assert!(cached.header("cache-status").contains("; hit"), "{cached:?}");
    join(&mut alice, &path).await;
    assert_eq!(items(&visitor.get(CHALLENGES).await)[0]["participants"], 1);
    alice.patch(&path, json!({ "title": "Eleven" })).await;
    assert_eq!(items(&visitor.get(CHALLENGES).await)[0]["title"], "Eleven");
    let newer = made(&mut alice, json!({ "title": "Newer" })).await;
    let first = visitor.get(&format!("{CHALLENGES}?limit=1")).await;
    assert_eq!(items(&first)[0]["title"], "Newer");
    let cursor = first.body["next_cursor"].as_str().expect("another page");
    let second = visitor.get(&format!("{CHALLENGES}?limit=1&cursor={cursor}")).await;
    assert_eq!((&items(&second)[0]["title"], &second.body["next_cursor"]), (&json!("Eleven"), &Value::Null));
    assert!(newer.ends_with(cursor));
}

async fn joining_again_takes_no_place(app: App) {
    let (mut alice, mut bob) = (app.user("alice").await, app.user("bob").await);
    let path = made(&mut alice, json!({ "capacity": 1 })).await;
    assert_eq!(join(&mut alice, &path).await.0, 201);
    assert_eq!(join(&mut alice, &path).await.0, 200);
    assert_eq!(join(&mut bob, &path).await, (409, json!("all places of this challenge are taken")));
    assert_eq!(alice.get(&path).await.body["participants"], 1);
    alice.patch(&path, json!({ "capacity": null })).await;
    assert_eq!(join(&mut bob, &path).await.0, 201);
}

async fn a_challenge_is_joined_while_it_runs(app: App) {
    let mut alice = app.user("alice").await;
    let later = made(&mut alice, json!({ "starts_at": "2119-01-01T00:00:00Z" })).await;
    assert_eq!(join(&mut alice, &later).await, (409, json!("this challenge has not begun")));
    let path = made(&mut alice, json!({})).await;
    join(&mut alice, &path).await;
    let over = json!({ "ends_at": "2020-01-02T00:00:00Z" });
    assert_eq!(alice.patch(&path, over.clone()).await.status, 200);
    assert_eq!(join(&mut alice, &path).await.0, 200, "takes part already");
    let over = made(&mut alice, over).await;
    assert_eq!(join(&mut alice, &over).await, (409, json!("this challenge is over")));
    assert_eq!(join(&mut alice, &format!("{CHALLENGES}/7")).await.0, 404);
    assert_eq!(join(&mut app.visitor(), &path).await.0, 401);
}

/// 25 users, each of them four times.
async fn of_a_hundred_joins_at_once_ten_find_a_place(app: App) {
    let mut users = Vec::new();
    for n in 0..25 {
        users.push(app.user_of(app.visitor().at(&format!("198.51.100.{n}")), &format!("user-{n}")).await);
    }
    let path = made(&mut users[0], json!({ "capacity": 10 })).await;
    let mut joins = JoinSet::new();
    for n in 0..100 {
        let (mut user, path) = (users[n % 25].clone(), path.clone());
        joins.spawn(async move { join(&mut user, &path).await.0 });
    }
    let mut answers = BTreeMap::new();
    for status in joins.join_all().await {
        *answers.entry(status).or_insert(0) += 1;
    }
    assert_eq!(answers, BTreeMap::from([(201, 10), (200, 30), (409, 60)]));
    assert_eq!(app.visitor().get(&path).await.body["participants"], 10);
}
