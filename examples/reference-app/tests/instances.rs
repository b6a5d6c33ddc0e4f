//! Several instances on one Redis and one database, and what they do when Redis stops answering.
mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{App, Browser, PATIENT, servers::RedisServer};

const BOOKMARKS: &str = "/api/v1/bookmarks";
const ME: &str = "/api/v1/auth/me";

/// Two instances that share everything but their memory.
struct Pair {
    redis: RedisServer,
    one: App,
    two: App,
    _dir: tempfile::TempDir,
}

impl Pair {
    async fn start() -> Self {
        let (redis, dir) = (RedisServer::start(), tempfile::tempdir().expect("a temporary directory"));
        let database = format!("sqlite:{}", dir.path().join("shared.db").display());
        let url = redis.url();
        let args = [PATIENT.as_slice(), &["--redis", &url, "--database", &database]].concat();
        let one = App::start(&args);
        let two = App::start(&args);
        let pair = Self { redis, one, two, _dir: dir };
        pair.both_say("ok").await;
        pair
    }

    /// Waits until both instances are ready with this status.
    async fn both_say(&self, status: &str) {
        self.one.says(status).await;
        self.two.says(status).await;
    }
}

/// The same person at another instance.
fn same_user(at: &App, browser: &Browser) -> Browser {
    let mut there = at.visitor();
    there.set_cookies(browser.cookies());
    there
}

fn login(name: &str, password: &str) -> Value {
    json!({ "username": name, "password": password })
}

#[tokio::test]
async fn a_session_is_known_and_ended_everywhere() {
    let pair = Pair::start().await;
    let mut here = pair.one.user("alice").await;
    let mut there = same_user(&pair.two, &here);
    assert_eq!(there.get(ME).await.status, 200);
    assert_eq!(there.post(BOOKMARKS, json!({ "url": "https://example.com", "title": "shared" })).await.status, 201);
    assert_eq!(here.get(BOOKMARKS).await.body["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(here.post("/api/v1/auth/logout", json!({})).await.status, 204);
    assert_eq!(there.get(BOOKMARKS).await.status, 401);
}

#[tokio::test]
async fn guesses_are_counted_over_all_instances() {
    let pair = Pair::start().await;
    pair.one.user("alice").await;
    let mut last = 0;
    for app in [&pair.one, &pair.two, &pair.one, &pair.two, &pair.one, &pair.two] {
        last = app.visitor().post("/api/v1/auth/login", login("alice", "wrong password")).await.status;
    }
    assert_eq!(last, 429);
}

#[tokio::test]
async fn a_change_on_one_shows_on_the_other() {
    let pair = Pair::start().await;
    let mut here = pair.one.user("alice").await;
    let mut there = same_user(&pair.two, &here);
    for (n, title) in ["one", "two", "three"].into_iter().enumerate() {
        // Both have the list in the cache, from before the change.
        for browser in [&mut here, &mut there] {
            browser.get(BOOKMARKS).await;
            let cached = browser.get(BOOKMARKS).await;
            assert!(cached.header("cache-status").contains("; hit"), "{cached:?}");
        }
        let bookmark = json!({ "url": "https://example.com", "title": title });
        assert_eq!(there.post(BOOKMARKS, bookmark).await.status, 201);
        let deadline = Instant::now() + Duration::from_secs(1);
        while here.get(BOOKMARKS).await.body["items"].as_array().map(Vec::len) != Some(n + 1) {
            assert!(Instant::now() < deadline, "a second later the list still lacks {title}");
        }
    }
}

#[tokio::test]
async fn redis_that_freezes_degrades_and_heals() {
    let pair = Pair::start().await;
    let (mut alice, mut carol) = (pair.one.user("alice").await, pair.one.user("carol").await);
    assert_eq!((alice.get(ME).await.status, carol.get(ME).await.status), (200, 200));
    let mut elsewhere = same_user(&pair.two, &alice);
    pair.redis.freeze();
    pair.both_say("degraded").await;

    let asked = Instant::now();
    assert_eq!(alice.get(ME).await.status, 200, "seen here before");
    let unknown = elsewhere.get(ME).await;
    assert_eq!(unknown.status, 503, "never seen there: neither logged in nor out {unknown:?}");
    assert!(unknown.header("retry-after").parse::<u64>().is_ok_and(|wait| wait > 0), "{unknown:?}");
    let stolen = carol.cookies();
    assert_eq!(carol.post("/api/v1/auth/logout", json!({})).await.status, 204);
    let mut visitor = pair.one.visitor();
    assert_eq!(visitor.get("/livez").await.status, 200);
    assert_eq!(visitor.get(BOOKMARKS).await.status, 401);
    assert_eq!(visitor.post("/api/v1/auth/register", login("bob", "a good password")).await.status, 201);
    assert_eq!(visitor.post("/api/v1/auth/login", login("bob", "a good password")).await.status, 200);
    assert_eq!(visitor.get(ME).await.status, 200, "logged in here, without Redis");
    assert!(asked.elapsed() < Duration::from_secs(5), "nothing hangs: {:?}", asked.elapsed());

    pair.redis.thaw();
    pair.both_say("ok").await;
    assert_eq!(alice.get(BOOKMARKS).await.status, 200, "nobody was logged out");
    assert_eq!(elsewhere.get(ME).await.status, 200);
    assert_eq!(same_user(&pair.two, &visitor).get(ME).await.status, 200, "the login is known everywhere");
    for app in [&pair.one, &pair.two] {
        let mut thief = app.visitor();
        thief.set_cookies(stolen.clone());
        assert_eq!(thief.get(ME).await.status, 401, "the logout too");
    }
}
