//! What a request with an API key may do, and whose it is.

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::{
    items,
    keys::{KEYS, get, key, request, send},
    suite,
    support::{Answer, App, servers::RedisServer},
};

const BOOKMARKS: &str = "/api/v1/bookmarks";
const ME: &str = "/api/v1/auth/me";

suite![
    a_key_that_is_no_good_is_refused_everywhere,
    a_key_does_what_its_scopes_say,
    a_cached_list_is_its_owners_by_key_and_by_session,
    a_request_with_a_cookie_and_a_key_is_the_keys,
    a_key_is_no_way_around_the_check_of_the_origin,
];

fn is_hit(answer: &Answer) -> bool {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("cache-status").contains("; hit")
}

fn bookmark(title: &str) -> Option<Value> {
    Some(json!({ "url": "https://example.com", "title": title }))
}

fn assert_lacks(answer: &Answer, scope: &str) {
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains(scope)), "{answer:?}");
    assert!(answer.header("www-authenticate").contains(scope), "{answer:?}");
}

async fn a_key_that_is_no_good_is_refused_everywhere(app: App) {
    let mut alice = app.user("alice").await;
    let right = key(&mut alice, &["bookmarks:read"]).await;
    let (prefix, unknown) = (&right[..20], format!("tk_{}_{}", "0".repeat(16), "0".repeat(64)));
    let guessed = format!("{prefix}{}", "0".repeat(64));
    for wrong in ["tk_", "tk_x_y", &unknown, &guessed, &format!("{right}0")] {
        for path in [BOOKMARKS, ME, KEYS, "/openapi.json", "/docs/", "/nowhere"] {
            let answer = get(&app, path, wrong).await;
            assert_eq!(answer.status, 401, "{wrong} {path} {answer:?}");
            assert_eq!(answer.header("content-type"), "application/problem+json");
            assert_eq!(answer.header("www-authenticate"), "Bearer error=\"invalid_token\"");
            assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains("API key")));
        }
    }
    let login = json!({ "username": "alice", "password": "a good password" });
    assert_eq!(send(&app, Method::POST, "/api/v1/auth/login", "tk_x", Some(login)).await.status, 401);
    assert_eq!(get(&app, "/livez", "tk_x").await.status, 200, "nobody looks at keys there");
    let foreign = Request::get(format!("{}{ME}", app.url())).header(header::AUTHORIZATION, "Bearer eyJ0.e30.x");
    assert_eq!(alice.request(foreign.body(Full::<Bytes>::default()).expect("a request")).await.status, 200);
}

async fn a_key_does_what_its_scopes_say(app: App) {
    let mut alice = app.user("alice").await;
    let made = alice.post(BOOKMARKS, bookmark("one").expect("a bookmark")).await;
    let path = made.header("location").to_owned();
    assert_eq!(alice.get(BOOKMARKS).await.status, 200);
    assert!(is_hit(&alice.get(BOOKMARKS).await), "its owner's list is cached");
    let other = key(&mut alice, &["tasks:read", "bookmarks:write"]).await;
    assert_lacks(&get(&app, BOOKMARKS, &other).await, "bookmarks:read");
    assert_eq!(send(&app, Method::HEAD, BOOKMARKS, &other, None).await.status, 403);

    let reads = key(&mut alice, &["bookmarks:read"]).await;
    assert_eq!(get(&app, &path, &reads).await.body, made.body);
    assert_eq!(send(&app, Method::HEAD, BOOKMARKS, &reads, None).await.status, 200);
    assert_eq!(get(&app, ME, &reads).await.body["username"], "alice");
    for (method, path) in [(Method::POST, BOOKMARKS), (Method::PATCH, &path), (Method::DELETE, &path)] {
        assert_lacks(&send(&app, method, path, &reads, bookmark("two")).await, "bookmarks:write");
    }
    for (method, path) in [(Method::GET, "/openapi.json"), (Method::PUT, BOOKMARKS), (Method::OPTIONS, BOOKMARKS)] {
        assert_eq!(send(&app, method, path, &reads, None).await.status, 403, "{path} is not in the document");
    }
    assert_eq!(get(&app, "/nowhere", &reads).await.status, 404);
    let beget = json!({ "name": "child", "scopes": ["bookmarks:write"] });
    assert_eq!(send(&app, Method::POST, KEYS, &reads, Some(beget)).await.status, 403);
    assert_eq!(alice.get(&path).await.body, made.body);
}

async fn a_cached_list_is_its_owners_by_key_and_by_session(app: App) {
    let (mut alice, mut bob) = (app.user("alice").await, app.user("bob").await);
    let scopes = ["bookmarks:read", "bookmarks:write"];
    let (alices, bobs) = (key(&mut alice, &scopes).await, key(&mut bob, &scopes).await);
    let made = send(&app, Method::POST, BOOKMARKS, &alices, bookmark("by key")).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert!(!is_hit(&alice.get(BOOKMARKS).await));
    let seen = get(&app, BOOKMARKS, &alices).await;
    assert!(is_hit(&seen), "the session's list is the key's: {seen:?}");
    assert_eq!(items(&seen), &[made.body]);

    let seen = get(&app, BOOKMARKS, &bobs).await;
    assert!(!is_hit(&seen) && items(&seen).is_empty(), "{seen:?}");
    assert!(is_hit(&bob.get(BOOKMARKS).await), "and the key's is the session's");
    assert_eq!(app.visitor().get(BOOKMARKS).await.status, 401);

    let made = send(&app, Method::POST, BOOKMARKS, &alices, bookmark("another")).await;
    assert_eq!(items(&alice.get(BOOKMARKS).await)[0], made.body, "a change by key shows at once");
}

async fn a_request_with_a_cookie_and_a_key_is_the_keys(app: App) {
    let (mut alice, mut bob) = (app.user("alice").await, app.user("bob").await);
    let bobs = key(&mut bob, &["bookmarks:read"]).await;
    assert_eq!(alice.get(ME).await.body["username"], "alice");
    assert_eq!(alice.request(request(&app, Method::GET, ME, &bobs, None)).await.body["username"], "bob");
    let write = request(&app, Method::POST, BOOKMARKS, &bobs, bookmark("not by this key"));
    assert_lacks(&alice.request(write).await, "bookmarks:write");
    assert_eq!(alice.request(request(&app, Method::GET, ME, "tk_x", None)).await.status, 401);
    assert_eq!(alice.request(request(&app, Method::POST, "/api/v1/auth/logout", &bobs, None)).await.status, 403);
    assert_eq!(alice.get(ME).await.body["username"], "alice", "the session goes on");
}

async fn a_key_is_no_way_around_the_check_of_the_origin(app: App) {
    let mut alice = app.user("alice").await;
    let alices = key(&mut alice, &["bookmarks:write"]).await;
    for key in [&*alices, "tk_x", "eyJ0.e30.x"] {
        let mut forged = request(&app, Method::POST, BOOKMARKS, key, bookmark("forged"));
        forged.headers_mut().insert("sec-fetch-site", "cross-site".parse().expect("a header"));
        assert_eq!(alice.request(forged).await.status, 403, "{key}");
    }
    assert!(items(&alice.get(BOOKMARKS).await).is_empty());
}

/// The limit of all requests per address counts those with wrong keys too, before the key is looked up.
#[tokio::test]
async fn wrong_keys_are_refused_a_hundred_times_a_minute() {
    let app = App::start(&["--no-seed"]);
    let mut visitor = app.visitor();
    let mut guess = async |n: usize| {
        let key = format!("tk_{}_{n:064x}", "0".repeat(16));
        visitor.request(request(&app, Method::GET, "/openapi.json", &key, None)).await.status
    };
    for n in 0..100 {
        assert_eq!(guess(n).await, 401, "guess {n}");
    }
    assert_eq!(guess(100).await, 429);
}

#[tokio::test]
async fn keys_need_no_redis() {
    let mut redis = RedisServer::start();
    let app = App::start(&["--no-seed", "--redis", &redis.url()]);
    app.says("ok").await;
    let mut alice = app.user("alice").await;
    let key = key(&mut alice, &["bookmarks:read"]).await;
    redis.kill();
    app.says("degraded").await;
    let other = App::start_in(app.stop(), &["--no-seed", "--redis", &redis.url()]);
    assert_eq!(get(&other, BOOKMARKS, &key).await.status, 200, "an instance that has seen nobody");
    assert_eq!(send(&other, Method::POST, BOOKMARKS, &key, bookmark("x")).await.status, 403);
    assert_eq!(get(&other, BOOKMARKS, "tk_x").await.status, 401);
}
