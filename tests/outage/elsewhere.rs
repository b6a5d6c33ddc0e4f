//! What one instance knows, when Redis falls, of sessions that ended on another; and a Redis that is emptied in use.

use std::{net::SocketAddr, time::Duration};

use http::StatusCode;
use towerkeep::{Keep, Status};

use crate::{
    app::{Client, app, keep},
    outcomes::counted,
    support::{FaultProxy, Mode, RedisServer, eventually, monitor::Monitor},
};

/// Two instances on one server, and a user who is logged in on the first and was seen on the second.
async fn two_and_a_user(server: &RedisServer) -> (Keep, Keep, Client) {
    let (first, second) = (keep(&server.url()).await, keep(&server.url()).await);
    eventually("both listen", async || listeners(server).await == 2).await;
    let mut user = Client::logged_in(&app(&first), 42).await;
    assert_eq!(user.at(&app(&second)).get("/me").await.body, "42");
    assert_eq!(user.get("/me").await.body, "42");
    (first, second, user)
}

pub(crate) async fn listeners(server: &RedisServer) -> u64 {
    let (_, count): (String, u64) = redis::cmd("PUBSUB")
        .arg("NUMSUB")
        .arg("tk:session:ended")
        .query_async(&mut server.client().await)
        .await
        .expect("counted");
    count
}

#[tokio::test]
async fn a_logout_elsewhere_just_before_the_outage_holds_in_it() {
    let mut server = RedisServer::start();
    let (_first, second, mut user) = two_and_a_user(&server).await;
    let stolen = user.at(&app(&second));
    assert_eq!(user.post("/logout").await.status, StatusCode::OK);
    server.kill();
    eventually("the outage is noticed", async || second.status() == Status::Down).await;
    // The message may still be on its way to the task that reads it.
    eventually("the other instance heard of it", async || refuses(&stolen).await).await;
}

async fn refuses(client: &Client) -> bool {
    client.clone().get("/me").await.status == StatusCode::UNAUTHORIZED
}

#[tokio::test]
async fn an_instance_that_heard_of_a_logout_ends_it_again_in_an_old_snapshot() {
    let mut server = RedisServer::start_with(&["--dbfilename", "old.rdb"]);
    let (first, second, mut user) = two_and_a_user(&server).await;
    let stolen = user.at(&app(&second));
    let () = redis::cmd("SAVE").query_async(&mut server.client().await).await.expect("saved");
    assert_eq!(user.post("/logout").await.status, StatusCode::OK);
    server.kill();
    eventually("the outage is noticed", async || second.status() == Status::Down).await;
    eventually("the other instance heard of it", async || refuses(&stolen).await).await;
    drop((first, user)); // and what it remembers with it
    server.launch(); // with the session of before the logout
    let third = keep(&server.url()).await;
    eventually("redis is reached again", async || second.status() == Status::Up).await;
    assert!(refuses(&stolen).await);
    assert!(refuses(&stolen.at(&app(&third))).await);
}

#[tokio::test]
async fn a_logout_that_was_not_heard_of_is_looked_for() {
    let mut server = RedisServer::start();
    let (_first, second, mut user) = two_and_a_user(&server).await;
    let mut stays = Client::logged_in(&app(&second), 7).await;
    let stolen = user.at(&app(&second));
    let killed: u64 = redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "pubsub"])
        .query_async(&mut server.client().await)
        .await
        .expect("cut off");
    assert!(killed >= 2, "{killed}");
    assert_eq!(user.post("/logout").await.status, StatusCode::OK);
    let mut monitor = Monitor::start(&server).await;
    eventually("both listen again", async || listeners(&server).await == 2).await;
    // The other finds a copy's session gone, and asks whether all of Redis' data is, which is its last question.
    eventually("it has looked", async || !monitor.seen("tk:session:epoch").await.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(100)).await; // for the answer
    server.kill();
    assert_eq!(stolen.clone().get("/me").await.status, StatusCode::SERVICE_UNAVAILABLE, "unknown here now");
    assert_eq!(stays.get("/me").await.body, "7");
}

#[tokio::test]
async fn a_redis_that_is_emptied_in_use_loses_nobody() {
    let server = RedisServer::start();
    let (first, second, mut user) = two_and_a_user(&server).await;
    let here = app(&first);
    let mut leaves = Client::logged_in(&here, 7).await;
    let stolen = leaves.clone();
    assert_eq!(leaves.post("/logout").await.status, StatusCode::OK);

    server.flush().await;
    assert_eq!(user.post("/count").await.body, "1");
    assert_eq!(user.get("/me").await.body, "42", "not anonymous for a moment");
    assert_eq!(user.at(&app(&second)).get("/me").await.body, "42");
    eventually("the sessions are written back", async || {
        let keys: Vec<String> =
            redis::cmd("KEYS").arg("tk:session:*").query_async(&mut server.client().await).await.expect("keys");
        // The session, the epoch, and the mark of the one that ended.
        keys.len() == 3
    })
    .await;
    let third = keep(&server.url()).await;
    for instance in [&first, &second, &third] {
        assert_eq!(user.at(&app(instance)).get("/me").await.body, "42");
        assert_eq!(stolen.at(&app(instance)).get("/me").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(instance.status(), Status::Up);
    }
    assert_eq!(user.at(&app(&third)).post("/count").await.body, "2", "with what was changed after it");
}

#[tokio::test]
async fn a_logout_from_an_emptied_redis_reaches_the_other_instance() {
    let server = RedisServer::start();
    let (_first, second, mut user) = two_and_a_user(&server).await;
    let stolen = user.at(&app(&second));
    server.flush().await;
    assert_eq!(user.post("/logout").await.status, StatusCode::OK);
    let began = std::time::Instant::now();
    eventually("it has ended there, too", async || refuses(&stolen).await).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn changes_of_an_outage_are_dropped_and_counted_where_the_session_ended_elsewhere() {
    let counts = counted("a logout beside a partition", async {
        let server = RedisServer::start();
        let proxy = FaultProxy::start(SocketAddr::from(([127, 0, 0, 1], server.port()))).await;
        let (first, second) = (keep(&server.url()).await, keep(&proxy.url()).await);
        let (here, there) = (app(&first), app(&second));
        let (mut leaves, mut stays) = (Client::logged_in(&here, 42).await, Client::logged_in(&here, 7).await);
        for user in [&leaves, &stays] {
            assert_eq!(user.at(&there).get("/me").await.status, StatusCode::OK);
        }
        proxy.set(Mode::Reset);
        eventually("one instance is cut off", async || second.status() == Status::Down).await;
        for user in [&leaves, &stays] {
            assert_eq!(user.at(&there).post("/count").await.body, "1");
        }
        assert_eq!(stays.post("/count").await.body, "1");
        let stolen = leaves.at(&there);
        assert_eq!(leaves.post("/logout").await.status, StatusCode::OK);
        assert_eq!(stolen.clone().get("/me").await.body, "42", "not to be had while it is cut off");
        proxy.set(Mode::Pass);
        eventually("it is back", async || second.status() == Status::Up).await;
        assert!(refuses(&stolen).await);
        assert_eq!(stays.post("/count").await.body, "3");
    });
    for (outcome, n) in [("kept", 2), ("merged", 1), ("dropped", 1)] {
        assert_eq!(counts.get(outcome), Some(&n), "{outcome}: {counts:?}");
    }
}
