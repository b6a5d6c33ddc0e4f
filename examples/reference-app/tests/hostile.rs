//! Cookies that nobody was given, and other programs' values under our keys: never an error of the server.
mod support;

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use redis::aio::MultiplexedConnection;
use serde_json::json;
use support::{App, Browser, PATIENT, servers::RedisServer};

const BOOKMARKS: &str = "/api/v1/bookmarks";
const LOGIN: &str = "/api/v1/auth/login";
const LOGOUT: &str = "/api/v1/auth/logout";
const GENERAL: &str = "tk:rl:{127.0.0.1}:general";
const ME: &str = "/api/v1/auth/me";

async fn status_with(app: &App, path: &str, cookies: &[Vec<u8>]) -> u16 {
    let mut request = Request::get(format!("{}{path}", app.url()));
    for cookie in cookies {
        request = request.header("cookie", HeaderValue::from_bytes(cookie).expect("what a client can send"));
    }
    app.visitor().request(request.body(Full::<Bytes>::default()).expect("a request")).await.status
}

async fn cookies_are_judged(app: &App) {
    let (alice, mallory) = (app.user("alice").await, app.user("mallory").await);
    let (token, other) = (alice.cookies()["sid"].clone(), mallory.cookies()["sid"].clone());
    let (id, secret) = token.split_once('.').expect("an id and a secret");
    let (_, others_secret) = other.split_once('.').expect("an id and a secret");
    let last = if secret.ends_with('A') { "E" } else { "A" };
    let tampered = format!("sid={}{last}", &token[..token.len() - 1]);
    let own = format!("sid={token}").into_bytes();
    let strange: Vec<Vec<Vec<u8>>> = vec![
        vec![b"sid=".to_vec()],
        vec![b"sid".to_vec()],
        vec![b"=;;=".to_vec()],
        vec![b"sid=hello".to_vec()],
        vec![tampered.into_bytes()],
        vec![format!("sid={id}.{others_secret}").into_bytes()],
        vec![format!("sid={id}").into_bytes()],
        vec![format!("sid={id}.").into_bytes()],
        vec![format!("sid={token}x").into_bytes()],
        vec![format!("sid={}", "a".repeat(8 * 1024)).into_bytes()],
        vec![format!("sid={token}{}", " x".repeat(4 * 1024)).into_bytes()],
        vec![format!("sid={token}; sid={other}").into_bytes()],
        vec![own.clone(), own.clone()],
        vec![b"sid=\xff\xfe\x80".to_vec()],
        vec![[own.as_slice(), b"\xff"].concat()],
    ];
    for cookies in strange {
        let told = || cookies.iter().map(|cookie| String::from_utf8_lossy(cookie).into_owned()).collect::<Vec<_>>();
        for path in [ME, BOOKMARKS] {
            assert_eq!(status_with(app, path, &cookies).await, 401, "{path} {:.200?}", told());
        }
        assert_eq!(status_with(app, "/nowhere", &cookies).await, 404, "{:.200?}", told());
    }
    // Neither did any of it end the real session, nor does a neighbour's cookie hide it.
    for cookies in [vec![own.clone()], vec![[b"theirs=\xff; ", own.as_slice()].concat()]] {
        assert_eq!(status_with(app, ME, &cookies).await, 200);
    }
}

#[tokio::test]
async fn a_cookie_that_nobody_was_given_is_nobodys() {
    cookies_are_judged(&App::start(&["--no-seed"])).await;
}

#[tokio::test]
async fn a_cookie_that_nobody_was_given_is_nobodys_on_redis_too() {
    let redis = RedisServer::start();
    cookies_are_judged(&on(&redis).await).await;
}

async fn on(redis: &RedisServer) -> App {
    let app = App::start(&[PATIENT.as_slice(), &["--no-seed", "--redis", &redis.url()]].concat());
    app.says("ok").await;
    app
}

/// Puts what another program would leave behind in the place of `key`, at once: the app writes its books by itself, too.
async fn spoil(client: &mut MultiplexedConnection, key: &str, foreign: &[&str]) {
    let mut both = redis::pipe();
    both.atomic().del(key).cmd(foreign[0]).arg(key).arg(&foreign[1..]);
    both.exec_async(client).await.expect("redis is up");
}

async fn kind(client: &mut MultiplexedConnection, key: &str) -> String {
    redis::cmd("TYPE").arg(key).query_async(client).await.expect("redis is up")
}

async fn log_in(browser: &mut Browser) -> u16 {
    browser.post(LOGIN, json!({ "username": "alice", "password": "a good password" })).await.status
}

const LIST: [&str; 3] = ["RPUSH", "of", "others"];
const TEXT: [&str; 2] = ["SET", "of others"];

#[tokio::test]
async fn anothers_value_in_a_sessions_place_is_left_alone_and_nobodys() {
    let redis = RedisServer::start();
    let app = on(&redis).await;
    let mut client = redis.client().await;
    for (name, foreign, left) in [("alice", LIST.as_slice(), "list"), ("bob", &TEXT, "string")] {
        let mut browser = app.user(name).await;
        assert_eq!(browser.get(ME).await.status, 200);
        let key = format!("tk:session:{}", browser.cookies()["sid"].split('.').next().expect("an id"));
        assert_eq!(kind(&mut client, &key).await, "string");
        spoil(&mut client, &key, foreign).await;
        for path in [ME, BOOKMARKS] {
            assert_eq!(browser.get(path).await.status, 401, "{left} {path}");
        }
        assert_eq!(browser.get("/nowhere").await.status, 404);
        assert_eq!(kind(&mut client, &key).await, left, "not ours to delete");
        let again = json!({ "username": name, "password": "a good password" });
        assert_eq!(browser.post(LOGIN, again).await.status, 200, "{left}");
        assert_eq!(browser.get(ME).await.status, 200);
        assert_eq!(kind(&mut client, &key).await, left, "the new session has a key of its own");
        assert_eq!(browser.post(LOGOUT, json!({})).await.status, 204);
        assert_eq!(browser.get(ME).await.status, 401);
    }
}

#[tokio::test]
async fn anothers_value_in_a_limits_place_is_replaced() {
    let redis = RedisServer::start();
    let app = on(&redis).await;
    let mut client = redis.client().await;
    let mut visitor = app.visitor();
    for foreign in [LIST.as_slice(), &["ZADD", "1", "of others"], &TEXT] {
        spoil(&mut client, GENERAL, foreign).await;
        assert_eq!(visitor.get("/nowhere").await.status, 404, "{foreign:?}");
        assert_eq!(kind(&mut client, GENERAL).await, "zset");
    }
    for _ in 0..99 {
        assert_eq!(visitor.get("/nowhere").await.status, 404);
    }
    assert_eq!(visitor.get("/nowhere").await.status, 429, "it counts again");
}

#[tokio::test]
async fn anothers_value_in_a_cached_responses_place_is_replaced() {
    let redis = RedisServer::start();
    let app = on(&redis).await;
    let mut client = redis.client().await;
    let mut alice = app.user("alice").await;
    alice.get(BOOKMARKS).await;
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("tk:cache:bookmarks:*").query_async(&mut client).await.expect("redis is up");
    for (key, foreign) in keys.iter().flat_map(|key| [(key, LIST.as_slice()), (key, &TEXT)]) {
        spoil(&mut client, key, foreign).await;
        let miss = alice.get(BOOKMARKS).await;
        assert_eq!(miss.status, 200, "{miss:?}");
        assert!(!miss.header("cache-status").contains("; hit"), "{miss:?}");
        let hit = alice.get(BOOKMARKS).await;
        assert!(hit.header("cache-status").contains("; hit"), "{hit:?}");
    }
}

/// What a user does, as statuses: who am I, add, list, log in elsewhere, log out.
async fn a_users_day(app: &App, alice: &mut Browser) -> [u16; 5] {
    let bookmark = json!({ "url": "https://example.com", "title": "one more" });
    let me = alice.get(ME).await.status;
    let made = alice.post(BOOKMARKS, bookmark).await.status;
    let list = alice.get(BOOKMARKS).await.status;
    let mut elsewhere = app.visitor();
    let login = log_in(&mut elsewhere).await;
    [me, made, list, login, elsewhere.post(LOGOUT, json!({})).await.status]
}

#[tokio::test]
async fn anothers_values_in_our_own_books_stop_nothing_else() {
    let redis = RedisServer::start();
    let app = on(&redis).await;
    let mut client = redis.client().await;
    let mut alice = app.user("alice").await;
    let id = alice.get(ME).await.body["id"].clone();
    // What is not ours is replaced: a session that is in no index could not be revoked.
    let books = [
        format!("tk:user:sessions:{id}"),
        format!("tk:user:revoked:{id}"),
        "tk:cache:epochs".to_owned(),
        "tk:instances".to_owned(),
        "tk:session:epoch".to_owned(),
    ];
    for key in books {
        for foreign in [LIST.as_slice(), &["SADD", "of others"]] {
            spoil(&mut client, &key, foreign).await;
            assert_eq!(a_users_day(&app, &mut alice).await, [200, 201, 200, 200, 204], "{key} {foreign:?}");
            let ready = app.visitor().get("/readyz").await;
            assert_eq!(ready.body["redis"], "up", "a value is no outage: {key}");
            // The limit goes along: it is not what this test counts.
            redis::cmd("DEL").arg(&key).arg(GENERAL).exec_async(&mut client).await.expect("redis is up");
            assert_eq!(a_users_day(&app, &mut alice).await, [200, 201, 200, 200, 204], "{key} is gone");
        }
    }
}
