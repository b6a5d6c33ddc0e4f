//! Full-text search over one's own bookmarks and tasks.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::{
    items, suite,
    support::{Answer, App, Browser},
    walk,
};

const SEARCH: &str = "/api/v1/search";
const BOOKMARKS: &str = "/api/v1/bookmarks";
const TASKS: &str = "/api/v1/tasks";

suite![
    finds_title_description_tags_and_host,
    all_words_count_and_the_last_may_be_unfinished,
    letters_beyond_ascii_are_found,
    the_newest_comes_first_and_the_cursor_holds_still,
    a_change_is_found_at_once,
    nobody_finds_anothers_things,
    hostile_searches_find_nothing_and_break_nothing,
    long_hostile_searches_too,
    what_is_no_search_is_refused,
];

fn encoded(q: &str) -> String {
    url::form_urlencoded::byte_serialize(q.as_bytes()).collect()
}

async fn find(browser: &mut Browser, q: &str) -> Answer {
    browser.get(&format!("{SEARCH}?q={}", encoded(q))).await
}

async fn titles(browser: &mut Browser, q: &str) -> Vec<String> {
    let found = find(browser, q).await;
    items(&found).iter().map(|item| item["title"].as_str().expect("a title").to_owned()).collect()
}

async fn add_bookmark(browser: &mut Browser, url: &str, title: &str) -> String {
    let made = browser.post(BOOKMARKS, json!({ "url": url, "title": title })).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.header("location").to_owned()
}

async fn add_task(browser: &mut Browser, mut task: Value, title: &str) -> String {
    task["title"] = json!(title);
    let made = browser.post(TASKS, task).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.header("location").to_owned()
}

async fn finds_title_description_tags_and_host(app: App) {
    let mut alice = app.user("alice").await;
    let url = "https://user:secret@Docs.Example.com:8443/hidden/path?query=hidden#hidden";
    let bookmark = json!({ "url": url, "title": "On caches", "description": "What a\nshared one may keep",
        "tags": ["http/2", "web dev"] });
    let id = alice.post(BOOKMARKS, bookmark).await.body["id"].clone();
    let expected = json!([{ "kind": "bookmarks", "id": id, "title": "On caches", "snippet": "What a shared one may keep",
        "url": url }]);
    for q in ["caches", "SHARED", "http/2", "web-dev", "dev", "docs.example.com", "example", "on shared dev docs"] {
        assert_eq!(find(&mut alice, q).await.body["items"], expected, "{q}");
    }
    for q in ["hidden", "secret", "user", "8443", "https", "ache", "shared two"] {
        assert!(titles(&mut alice, q).await.is_empty(), "{q}");
    }
    let path = add_task(&mut alice, json!({ "tags": ["home"] }), "Clean the caches").await;
    let found = find(&mut alice, "caches").await;
    let task = &items(&found)[0];
    assert_eq!((&task["kind"], &task["snippet"], &task["url"]), (&json!("tasks"), &Value::Null, &Value::Null));
    assert_eq!(path, format!("{TASKS}/{}", task["id"]));
    for (kind, expected) in [("tasks", "Clean the caches"), ("bookmarks", "On caches")] {
        let found = alice.get(&format!("{SEARCH}?q=caches&type={kind}")).await;
        assert_eq!((items(&found).len(), &items(&found)[0]["title"]), (1, &json!(expected)));
    }
}

async fn all_words_count_and_the_last_may_be_unfinished(app: App) {
    let mut alice = app.user("alice").await;
    add_task(&mut alice, json!({ "description": "Leaderboards of 1500 points" }), "Sorted sets").await;
    for q in ["sorted", "sort", "s", "sets sorted", "sorted lead", "150", "points sorted sets"] {
        assert_eq!(titles(&mut alice, q).await, ["Sorted sets"], "{q}");
    }
    for q in ["sort sets", "sorted lists", "oints", "15000"] {
        assert!(titles(&mut alice, q).await.is_empty(), "{q}");
    }
}

async fn letters_beyond_ascii_are_found(app: App) {
    let mut alice = app.user("alice").await;
    add_task(&mut alice, json!({ "tags": ["日本語 テスト"] }), "Die größte Hürde nehmen — x²").await;
    for q in ["größte", "größ", "hürde", "Die Hürde neh", "日本", "テスト", "nehmen — x²", "größte \u{1F389} hürde"]
    {
        assert_eq!(titles(&mut alice, q).await.len(), 1, "{q}");
    }
    let endless = json!({ "title": "short", "description": "\u{1F9F5}ß".repeat(1_000) });
    assert_eq!(alice.post(TASKS, endless).await.status, 201, "a word that no index takes");
    assert_eq!(titles(&mut alice, "short").await, ["short"]);
    for q in ["großte", "本語"] {
        assert!(titles(&mut alice, q).await.is_empty(), "{q}");
    }
}

async fn the_newest_comes_first_and_the_cursor_holds_still(app: App) {
    let mut alice = app.user("alice").await;
    for n in 1..=6 {
        match n % 2 {
            0 => add_task(&mut alice, json!({}), &format!("thing {n}")).await,
            _ => add_bookmark(&mut alice, "https://example.com", &format!("thing {n}")).await,
        };
    }
    let all = walk(&mut alice, &format!("{SEARCH}?q=thing&limit=4")).await;
    let order: Vec<_> = all.iter().map(|item| item["title"].as_str().expect("a title")).collect();
    assert_eq!(order, ["thing 6", "thing 5", "thing 4", "thing 3", "thing 2", "thing 1"]);

    let first = alice.get(&format!("{SEARCH}?q=thing&limit=2")).await;
    let cursor = first.body["next_cursor"].as_str().expect("more").to_owned();
    add_task(&mut alice, json!({ "description": "thing thing thing" }), "thing 7").await;
    let oldest = format!("{TASKS}/{}", all[4]["id"]);
    assert_eq!(alice.patch(&oldest, json!({ "title": "thing 2 of 6" })).await.status, 200);
    let second = alice.get(&format!("{SEARCH}?q=thing&limit=3&cursor={cursor}")).await;
    let second: Vec<_> = items(&second).iter().map(|item| &item["title"]).collect();
    assert_eq!(second, ["thing 4", "thing 3", "thing 2 of 6"]);
}

async fn a_change_is_found_at_once(app: App) {
    let mut alice = app.user("alice").await;
    assert!(titles(&mut alice, "one").await.is_empty());
    let bookmark = add_bookmark(&mut alice, "https://one.example", "Bookmark").await;
    let task = add_task(&mut alice, json!({ "tags": ["one"] }), "Task").await;
    assert_eq!(titles(&mut alice, "one").await, ["Task", "Bookmark"]);
    assert!(find(&mut alice, "one").await.header("cache-status").contains("; hit"));

    assert_eq!(alice.patch(&bookmark, json!({ "url": "https://two.example" })).await.status, 200);
    assert_eq!(
        (titles(&mut alice, "one").await, titles(&mut alice, "two").await),
        (vec!["Task".into()], vec!["Bookmark".into()])
    );
    assert_eq!(alice.patch(&task, json!({ "tags": ["two"], "title": "Doing" })).await.status, 200);
    assert_eq!((titles(&mut alice, "one").await.len(), titles(&mut alice, "two").await.len()), (0, 2));
    assert_eq!((alice.delete(&bookmark).await.status, alice.delete(&task).await.status), (204, 204));
    assert!(titles(&mut alice, "two").await.is_empty());
}

async fn nobody_finds_anothers_things(app: App) {
    let (mut alice, mut bob) = (app.user("alice").await, app.user("bob").await);
    let id = alice.get("/api/v1/auth/me").await.body["id"].clone();
    add_bookmark(&mut alice, "https://example.com", "secret plan").await;
    let page = add_task(&mut alice, json!({}), "secret task").await;
    for _ in 0..2 {
        assert_eq!(titles(&mut alice, "secret").await, ["secret task", "secret plan"]);
        assert!(titles(&mut bob, "secret").await.is_empty());
    }
    assert!(find(&mut bob, "secret").await.header("cache-status").contains("; hit"), "both are warm");
    add_task(&mut bob, json!({}), "secret of bob").await;
    assert_eq!(titles(&mut bob, "secret").await, ["secret of bob"]);
    for q in [format!("u{id}"), format!("owner:u{id}"), format!("x OR owner : u{id}"), format!("{page} secret")] {
        assert!(titles(&mut bob, &q).await.is_empty(), "{q}");
    }
    assert_eq!(find(&mut app.visitor(), "secret").await.status, 401);
}

/// Sends searches that are to find the one thing that is there, or nothing, and never fail.
async fn hostile(app: &App, searches: &[String]) {
    let mut alice = app.user("alice").await;
    add_task(&mut alice, json!({ "tags": ["near"] }), "here it is").await;
    for q in searches {
        let found = find(&mut alice, q).await;
        assert_eq!(found.status, 200, "{q:?}: {found:?}");
        assert!(items(&found).is_empty(), "{q:?}: {found:?}");
    }
    for q in ["\"here", "here*", "(here)", "here\0", "here & it", "NEAR", "^here", "-here"] {
        assert_eq!(titles(&mut alice, q).await, ["here it is"], "{q:?}");
    }
}

async fn hostile_searches_find_nothing_and_break_nothing(app: App) {
    let searches = [
        "\"",
        "''",
        "*",
        "here AND",
        "here OR x",
        "NOT here",
        "NEAR(here it, 2)",
        "here NEAR it x",
        "title:here",
        "title : here",
        "{title} : here",
        "- title : here",
        "he*re",
        "x* here*",
        "x +",
        "(x",
        "x)",
        ")(",
        "&|!",
        "here | x",
        "!here & x",
        "here <-> x",
        "here:* x",
        "here:A",
        "\\",
        "x\\'",
        "x'; DROP TABLE tasks; --",
        "%",
        "$1",
        "\0",
        "\u{1}\u{7f}",
        "\u{FFFD}\u{FEFF}",
        "\u{301}\u{20AC}",
        "zzz\u{10FFFF}",
        "\u{202E}ereh",
    ];
    hostile(&app, &searches.map(str::to_owned)).await;
}

async fn long_hostile_searches_too(app: App) {
    let mut searches = vec!["x ".repeat(100), "\"".repeat(200), "(".repeat(200), "x".repeat(200), "ß".repeat(200)];
    searches.extend(["日".repeat(200), "\"x\" OR ".repeat(28), "a\u{301}".repeat(100), "1e5-2.0/".repeat(25)]);
    hostile(&app, &searches).await;
}

async fn what_is_no_search_is_refused(app: App) {
    let mut alice = app.user("alice").await;
    for q in ["", "   ", "\t\n", &"x".repeat(201), &"y".repeat(10_240)] {
        assert_eq!(find(&mut alice, q).await.refused(), ["q"], "{q:.20?}");
    }
    assert_eq!(alice.get(SEARCH).await.refused(), ["q"]);
    let wrong = alice.get(&format!("{SEARCH}?type=users&limit=0&cursor=-1&sort=title&q=a&q=b")).await;
    assert_eq!(wrong.refused(), ["cursor", "limit", "q", "sort", "type"]);
    assert_eq!(alice.get(&format!("{SEARCH}?q=%FF%FE")).await.status, 200, "not UTF-8");
}

#[tokio::test]
async fn a_user_may_search_100_times_a_minute_from_wherever() {
    let app = App::start(&["--no-seed", "--trusted-proxy", "127.0.0.1/32"]);
    let mut alice = app.user("alice").await;
    for n in 0..=100 {
        let request = Request::get(format!("{}{SEARCH}?q=x", app.url()));
        let request = request.header("x-forwarded-for", format!("203.0.113.{}", n % 2));
        let answer = alice.request(request.body(Full::<Bytes>::default()).expect("a request")).await;
        assert_eq!(answer.status, if n < 100 { 200 } else { 429 }, "search {n}: {answer:?}");
    }
    assert_eq!(alice.get(TASKS).await.status, 200, "the rest goes on");
    let mut bob = app.user("bob").await;
    assert_eq!(find(&mut bob, "x").await.status, 200);
}
