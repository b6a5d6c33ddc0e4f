//! The list of one's sessions, and ending them one by one.

use serde_json::{Value, json};

use crate::{
    items, suite,
    support::{App, Browser, servers::RedisServer},
};

const ME: &str = "/api/v1/auth/me";
const SESSIONS: &str = "/api/v1/auth/sessions";

suite![a_user_sees_and_ends_their_sessions, another_users_sessions_are_not_there,];

async fn again(app: &App, name: &str) -> Browser {
    let mut browser = app.visitor();
    let credentials = json!({ "username": name, "password": "a good password" });
    assert_eq!(browser.post("/api/v1/auth/login", credentials).await.status, 200);
    browser
}

/// Where the session that asks is, and where the others are.
async fn places(browser: &mut Browser) -> (String, Vec<String>) {
    let listed = browser.get(SESSIONS).await;
    assert_eq!((listed.status, &listed.body["next_cursor"]), (200, &Value::Null), "{listed:?}");
    let path = |item: &Value| format!("{SESSIONS}/{}", item["id"].as_str().expect("an id"));
    let (current, others): (Vec<_>, Vec<_>) = items(&listed).iter().partition(|item| item["current"] == true);
    assert_eq!((current.len(), &items(&listed)[0]["current"]), (1, &json!(true)), "{listed:?}");
    (path(current[0]), others.into_iter().map(path).collect())
}

async fn a_user_sees_and_ends_their_sessions(app: App) {
    let mut phone = app.user("alice").await;
    let mut laptop = again(&app, "alice").await;
    let (here, there) = places(&mut phone).await;
    let (laptop_here, laptop_there) = places(&mut laptop).await;
    assert_eq!((vec![here.clone()], vec![laptop_here.clone()]), (laptop_there, there));
    let listed = phone.get(SESSIONS).await;
    for name in ["created_at", "last_seen_at", "expires_at"] {
        assert!(items(&listed)[0][name].as_str().is_some_and(|at| at.ends_with('Z')), "{listed:?}");
    }
    let secret = phone.cookies()["sid"].rsplit('.').next().map(str::to_owned).expect("a secret");
    assert!(!listed.body.to_string().contains(&secret));

    assert_eq!(phone.delete(&laptop_here).await.status, 204);
    assert_eq!((laptop.get(ME).await.status, phone.get(ME).await.status), (401, 200));
    assert_eq!(phone.delete(&laptop_here).await.status, 404);

    let stolen = phone.cookies();
    assert_eq!(phone.delete(&here).await.status, 204);
    assert!(phone.cookies().is_empty(), "the browser was told to drop it");
    phone.set_cookies(stolen);
    assert_eq!((phone.get(ME).await.status, phone.get(SESSIONS).await.status), (401, 401));
}

async fn another_users_sessions_are_not_there(app: App) {
    let (mut alice, mut mallory) = (app.user("alice").await, app.user("mallory").await);
    let (here, _) = places(&mut alice).await;
    assert_eq!(places(&mut mallory).await.1.len(), 0);
    assert_eq!(mallory.delete(&here).await.status, 404);
    for unknown in ["1", "00112233445566778899aabbccddeeff", "%00", &"x".repeat(5_000)] {
        assert_eq!(mallory.delete(&format!("{SESSIONS}/{unknown}")).await.status, 404, "{unknown}");
    }
    assert_eq!(app.visitor().delete(&here).await.status, 401);
    assert_eq!(app.visitor().get(SESSIONS).await.status, 401);
    assert_eq!(alice.get(ME).await.status, 200);
}

#[tokio::test]
async fn without_redis_the_list_is_not_known_and_ones_own_session_can_be_ended() {
    let mut redis = RedisServer::start();
    let app = App::start(&["--no-seed", "--redis", &redis.url()]);
    app.says("ok").await;
    let mut alice = app.user("alice").await;
    let (here, _) = places(&mut alice).await;
    redis.kill();
    app.says("degraded").await;
    let listed = alice.get(SESSIONS).await;
    assert_eq!(listed.status, 503, "{listed:?}");
    assert!(listed.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1), "{listed:?}");
    assert_eq!(alice.get(ME).await.status, 200, "the session goes on");
    let stolen = alice.cookies();
    assert_eq!(alice.delete(&here).await.status, 204);
    alice.set_cookies(stolen);
    assert_eq!(alice.get(ME).await.status, 401);
}
