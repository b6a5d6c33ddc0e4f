//! The lines of both READMEs' "Try it", run as they stand there: by `sh`, with curl, against the real binary.
mod support;

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use support::{App, servers::RedisServer};

const README: &str = include_str!("../../../README.md");
const OWN_README: &str = include_str!("../README.md");
const LISTENS: &str = "127.0.0.1:3000";
const LOGIN: &str = "/api/v1/auth/login";
const ME: &str = "/api/v1/auth/me";
const WINDOW: Duration = Duration::from_secs(300);

/// The block that follows "While the app runs".
fn lines_to_try() -> &'static str {
    let (_, rest) = README.split_once("While the app runs").expect("the README says what to try");
    let (_, rest) = rest.split_once("```sh\n").expect("a block of shell");
    rest.split_once("```").expect("the end of the block").0
}

/// All blocks of the app's own README, one after the other.
fn own_lines_to_try() -> String {
    let blocks = OWN_README.split("```sh\n").skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).collect()
}

/// What one request of the block was answered.
#[derive(Debug, PartialEq)]
struct Reply {
    /// 0 where only the body was asked for.
    status: u16,
    headers: Vec<(String, String)>,
    body: Value,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

/// All answers in their order, and how long the block took.
struct Told {
    replies: Vec<Reply>,
    took: Duration,
}

fn run(app: &App, script: &str) -> Told {
    let found = Command::new("curl").arg("--version").output();
    assert!(found.is_ok(), "the README's lines need curl: `apt-get install curl` or `brew install curl` brings it");
    let address = app.url().strip_prefix("http://").expect("plain http");
    assert_eq!(script.matches(LISTENS).count(), 1, "one place to replace");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let began = Instant::now();
    let output = Command::new("sh")
        .args(["-c", &script.replace(LISTENS, address)])
        .current_dir(dir.path())
        .env("HOME", dir.path()) // no .curlrc
        .env("NO_PROXY", "*")
        .output()
        .expect("a shell");
    let took = began.elapsed();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{err}{out}");
    Told { replies: replies(&out), took }
}

/// Takes the output apart: bodies of one line, or whole answers from `HTTP/1.1` on.
fn replies(output: &str) -> Vec<Reply> {
    let mut replies = Vec::new();
    let mut lines = output.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let mut reply = Reply { status: 0, headers: Vec::new(), body: Value::Null };
        let mut body = line;
        if let Some(status) = line.strip_prefix("HTTP/1.1 ") {
            reply.status = status[..3].parse().expect("a status");
            let head = lines.by_ref().take_while(|line| !line.is_empty());
            let pair = |line: &str| {
                line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).expect("a header")
            };
            reply.headers = head.map(pair).collect();
            body = lines.next().unwrap_or_default();
        }
        if !body.is_empty() {
            reply.body = serde_json::from_str(body).unwrap_or_else(|_| body.into());
        }
        replies.push(reply);
    }
    replies
}

/// Checks what the README promises; answers the `Retry-After` of the sixth guess.
fn judge(told: &Told) -> u64 {
    let (first, rest) = told.replies.split_at(5);
    let (others, rest) = rest.split_at(11);
    let ([registered, logged_in, made, miss, hit], [guesses @ .., logout, me]) = (first, rest) else {
        panic!("{:?}", told.replies)
    };
    judge_others(made, others);
    assert_eq!((&registered.body["username"], &logged_in.body), (&json!("ann"), &registered.body));
    assert_eq!((&made.body["title"], &made.body["tags"]), (&json!("Redis"), &json!(["db"])));
    assert_eq!((miss.status, hit.status), (200, 200), "{miss:?} {hit:?}");
    assert!(miss.header("cache-status").starts_with("towerkeep; fwd=miss"), "{miss:?}");
    assert!(hit.header("cache-status").starts_with("towerkeep; hit; ttl="), "{hit:?}");
    assert_eq!((&miss.body, &hit.body), (&hit.body, &json!({ "items": [made.body], "next_cursor": null })));

    let statuses: Vec<_> = guesses.iter().map(|guess| guess.status).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429], "{guesses:?}");
    let wait: u64 = guesses[5].header("retry-after").parse().expect("whole seconds");
    // The first guess leaves the window first; it was made at most as long ago as the whole block took.
    let earliest = (WINDOW - told.took).as_secs();
    assert!((earliest..=WINDOW.as_secs()).contains(&wait), "{wait} s, after {:?}", told.took);

    assert_eq!((logout.status, me.status), (204, 401), "{logout:?} {me:?}");
    assert_eq!(me.header("content-type"), "application/problem+json");
    wait
}

/// Search, a challenge, actions, a key.
fn judge_others(bookmark: &Reply, replies: &[Reply]) {
    let [task, found, race, joined, score, board, logged, actions, key, by_key, denied] = replies else {
        panic!("{replies:?}")
    };
    let titles: Vec<_> = listed(found).iter().map(|item| &item["title"]).collect();
    assert_eq!(titles, [&task.body["title"], &bookmark.body["title"]]);
    assert_eq!((&joined.body["challenge_id"], &score.body["rank"]), (&race.body["id"], &json!(1)));
    assert_eq!((&listed(board)[0]["username"], &listed(board)[0]["score"]), (&json!("ann"), &json!(42)));
    assert_eq!(logged.body, json!({ "logged": 1, "stored": "everywhere" }));
    assert_eq!(
        (&listed(actions)[0]["action"], &listed(actions)[0]["metadata"]),
        (&json!("race.won"), &json!({ "lap": 1 }))
    );
    assert_eq!(key.body["scopes"], json!(["bookmarks:read"]));
    assert_eq!((listed(by_key), denied.status), ([bookmark.body.clone()].as_slice(), 403));
}

fn listed(reply: &Reply) -> &[Value] {
    reply.body["items"].as_array().unwrap_or_else(|| panic!("no list: {reply:?}"))
}

#[tokio::test]
async fn what_the_apps_own_readme_shows_holds() {
    let app = App::start(&[]);
    let told = run(&app, &own_lines_to_try());
    let statuses: Vec<_> = told.replies.iter().map(|reply| reply.status).collect();
    let expected: [&[u16]; 7] = [
        &[200, 200, 200],
        &[201, 200, 200, 204, 200, 200],
        &[200, 200, 200],
        &[201, 201, 200, 200, 200, 200, 200],
        &[201, 422, 200],
        &[201, 200, 200],
        &[401, 401, 401, 401, 401, 429],
    ];
    assert_eq!(statuses, expected.concat(), "{:#?}", told.replies);
    let [miss, hit] = [&told.replies[1], &told.replies[2]];
    assert!(miss.header("cache-status").starts_with("towerkeep; fwd=miss"), "{miss:?}");
    assert!(hit.header("cache-status").starts_with("towerkeep; hit; ttl="), "{hit:?}");
    let own = &told.replies[16];
    assert_eq!((&own.body["score"], own.body["items"].as_array().map(Vec::len)), (&json!(1_000), Some(3)), "{own:?}");
    assert_eq!(told.replies[20].body["errors"][0]["field"], "actions[1].action");
}

#[tokio::test]
async fn what_the_readme_promises_holds_in_memory() {
    let app = App::start(&[]);
    judge(&run(&app, lines_to_try()));
}

#[tokio::test]
async fn what_the_readme_promises_holds_on_redis() {
    let redis = RedisServer::start();
    let app = App::start(&["--redis", &redis.url()]);
    app.says("ok").await;
    // A session that is not logged out, to be seen in Redis below.
    let mut bob = app.user("bob").await;
    let sid = bob.cookies()["sid"].split('.').next().expect("an id").to_owned();
    let told = run(&app, lines_to_try());
    let wait = judge(&told);

    let mut client = redis.client().await;
    let stored = kinds(&mut client).await;
    let (ann, bob) = (id_of(&told.replies[0].body), id_of(&bob.get(ME).await.body));
    assert_eq!(stored[&format!("tk:session:{sid}")], "string");
    assert_eq!(stored[&format!("tk:user:sessions:{bob}")], "zset");
    assert!(!stored.contains_key(&format!("tk:user:sessions:{ann}")), "ann has logged out");
    assert_eq!(stored["tk:rl:{127.0.0.1}:general"], "zset");
    let cached = format!("tk:cache:bookmarks:{ann}:{{");
    assert!(stored.keys().any(|key| key.starts_with(&cached)), "{stored:?}");
    for (key, kind) in stored.iter().filter(|(key, _)| key.starts_with(&cached)) {
        assert_eq!(kind, "string", "{key}");
    }
    let index: Vec<String> = redis::cmd("ZRANGE")
        .arg(format!("tk:user:sessions:{bob}"))
        .arg(&["0", "-1"])
        .query_async(&mut client)
        .await
        .expect("an index");
    assert_eq!(index, [sid]);

    // Let the first guess grow so old that it leaves the window in two seconds, and ask an instance without a memory.
    let guesses = stored.keys().find(|key| key.ends_with(":login")).expect("the guesses are counted");
    let other = App::start(&["--no-seed", "--redis", &redis.url()]);
    other.says("ok").await;
    age(&mut client, guesses, Duration::from_secs(wait - 2)).await;
    let mut visitor = other.visitor();
    let guess = json!({ "username": "ann", "password": "a guess" });
    let denied = visitor.post(LOGIN, guess.clone()).await;
    assert_eq!(denied.status, 429, "{denied:?}");
    let wait: u64 = denied.header("retry-after").parse().expect("seconds");
    assert!((1..=2).contains(&wait), "{wait}");
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(visitor.post(LOGIN, guess).await.status, 401, "asked after Retry-After, it is admitted");
}

fn id_of(user: &Value) -> i64 {
    user["id"].as_i64().expect("a user's id")
}

/// All keys with their types.
async fn kinds(client: &mut MultiplexedConnection) -> BTreeMap<String, String> {
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(client).await.expect("redis is up");
    let mut kinds = BTreeMap::new();
    for key in keys {
        let kind = redis::cmd("TYPE").arg(&key).query_async(client).await.expect("redis is up");
        kinds.insert(key, kind);
    }
    kinds
}

/// Makes each entry of a window `by` older.
async fn age(client: &mut MultiplexedConnection, key: &str, by: Duration) {
    let by = i64::try_from(by.as_micros()).expect("small");
    let entries: Vec<(String, i64)> =
        redis::cmd("ZRANGE").arg(&[key, "0", "-1", "WITHSCORES"]).query_async(client).await.expect("a sorted set");
    for (member, at) in entries.into_iter().filter(|(_, at)| *at > 0) {
        let older = member.replace(&at.to_string(), &(at - by).to_string());
        assert_ne!(older, member, "an entry names its time");
        redis::cmd("ZREM").arg(key).arg(member).exec_async(client).await.expect("redis is up");
        redis::cmd("ZADD").arg(key).arg(at - by).arg(older).exec_async(client).await.expect("redis is up");
    }
}
