//! What is in Redis is not what was put there: scripts gone, other programs' values.

use std::time::Duration;

use tokio::time::sleep;
use towerkeep::{Error, Keep, Status, counter::Counter, prelude::*, token::Grant, trending::Window};

use super::{case::Case, paused::tell};
use crate::{
    app::{Client, app},
    support::{RedisServer, eventually},
};

/// Passes when scripts that are flushed ten times a second cost nothing but a second trip.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_are_flushed() {
    let server = RedisServer::start();
    let case = Case::patient("SCRIPT FLUSH", &server.url()).await;
    let figures = case
        .run(3, async |case| {
            case.broken().await;
            for _ in 0..20 {
                tell(&server, &["SCRIPT", "FLUSH"]).await;
                sleep(Duration::from_millis(100)).await;
            }
            case.is(Status::Up).await;
        })
        .await;
    assert!(figures.openings <= 1, "{figures:?}");
}

/// Puts a value of another type under every key that is there; how many.
async fn put_foreign(server: &RedisServer, is_list: bool) -> usize {
    let mut client = server.client().await;
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("tk:*").query_async(&mut client).await.expect("up");
    keys.push("tk:user:revoked:42".to_owned()); // there only after a revocation
    for key in &keys {
        let mut pipeline = redis::pipe();
        pipeline.del(key);
        match is_list {
            true => pipeline.rpush(key, "foreign"),
            false => pipeline.hset(key, "foreign", "value"),
        };
        pipeline.exec_async(&mut client).await.expect("up");
    }
    keys.len()
}

/// Every verb of the concerns that have no layer, each on a key of its own; what none of them may say of another's value is that
/// Redis is away.
async fn verbs(keep: &Keep) -> usize {
    let (counter, board) = (Counter::views("post", 7), keep.leaderboard(("challenge", 7)));
    let (trending, actions, tokens) = (keep.trending("marketplace"), keep.actions(), keep.tokens());
    let gathered = keep.counters().add(&Counter::of("downloads", 7), 1);
    let outcomes = [
        keep.counters().incr(&counter).await.map(drop),
        keep.counters().get(&counter).await.map(drop),
        gathered,
        keep.counters().flush().await,
        keep.kv().set_if_absent("greeting", "hello", minutes(5)).await.map(drop),
        keep.kv().get::<String>("greeting").await.map(drop),
        keep.kv().delete("greeting").await.map(drop),
        keep.kv().set("greeting", "hello", minutes(5)).await,
        board.record(7, 5.0).await.map(drop),
        board.add(7, 5.0, "event").await.map(drop),
        board.top(3).await.map(drop),
        board.rank_of(7).await.map(drop),
        trending.record("item", 1).await,
        trending.top(Window::Day, 3).await.map(drop),
        trending.remove("item").await.map(drop),
        trending.record("item", 1).await,
        actions.append(7, "seen").await.map(drop),
        actions.recent(7, 3).await.map(drop),
        tokens.issue("reset", Grant::to(7)).await.map(drop),
        tokens.redeem("reset", "never issued").await.map(drop),
    ];
    for (n, outcome) in outcomes.iter().enumerate() {
        assert!(!outcome.as_ref().is_err_and(Error::is_unavailable), "verb {n}: {outcome:?}");
    }
    outcomes.len()
}

/// A server that is started with such values is used again, though what the outage left to tell does not fit them.
async fn comes_back(keep: &Keep, mut server: RedisServer, is_list: bool) {
    let mut user = Client::logged_in(&app(keep), 42).await;
    put_foreign(&server, is_list).await;
    server.kill();
    eventually("redis is gone", async || keep.status() == Status::Down).await;
    assert_eq!(user.post("/logout").await.status, http::StatusCode::OK);
    keep.counters().add(&Counter::of("downloads", 7), 1).expect("gathered");
    keep.actions().append(7, "held").await.expect("held");
    assert!(keep.leaderboard(("challenge", 7)).record(7, 9.0).await.is_err());
    server.launch();
    eventually("redis is used again", async || keep.status() == Status::Up).await;
    assert_eq!(Client::logged_in(&app(keep), 42).await.get("/me").await.body, "42");
}

/// Passes when nobody is answered 5xx and Redis stays in use, whatever another program puts under all keys of ours. A session whose key
/// holds something else is gone: its user is anonymous.
async fn foreign(is_list: bool) {
    let server = RedisServer::start_with(&["--appendonly", "yes"]);
    let keep = crate::app::keep(&server.url()).await;
    let router = app(&keep);
    let mut user = Client::logged_in(&router, 42).await;
    let paths = ["/me", "/maybe", "/clock", "/page/1", "/limited", "/five", "/plenty", "/refunded", "/strict", "/open"];
    let (mut requests, mut keys) = (0, 0);
    for _ in 0..3 {
        for path in paths {
            user.get(path).await;
        }
        user.post("/count").await;
        verbs(&keep).await;
        keys = keys.max(put_foreign(&server, is_list).await);
        for path in paths {
            let answer = user.clone().get(path).await;
            let is_chosen = path == "/strict" && answer.status == http::StatusCode::SERVICE_UNAVAILABLE;
            assert!(!answer.status.is_server_error() || is_chosen, "{path}: {} {}", answer.status, answer.body);
            requests += 1;
        }
        requests += verbs(&keep).await;
        for path in ["/count", "/purge", "/login/42", "/logout"] {
            let answer = user.post(path).await;
            assert!(!answer.status.is_server_error(), "{path}: {} {}", answer.status, answer.body);
            requests += 1;
        }
    }
    sleep(Duration::from_millis(1_200)).await; // a heartbeat has met them, too
    assert_eq!(keep.status(), Status::Up, "another program's values are no outage");
    assert!(keys >= 16, "{keys} keys were there to be replaced");
    println!("{keys} keys held something else");
    comes_back(&keep, server, is_list).await;
    let what = if is_list { "lists" } else { "hashes" };
    println!("figures | foreign {what} under every key | {requests} | 0 | - | - | - | 0");
}

#[tokio::test]
async fn a_list_under_every_key() {
    foreign(true).await;
}

#[tokio::test]
async fn a_hash_under_every_key() {
    foreign(false).await;
}
