//! A password that is replaced while the instance runs, and somebody who says the new one.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use towerkeep::{
    Keep, Status,
    conn::Credentials,
    health::{Check, Reason},
};
use tracing::Level;

use crate::{
    app::{Client, app},
    logs::Lines,
    support::{RedisServer, eventually},
};

/// What the provider says now; nothing, and it fails.
#[derive(Clone, Default)]
struct Secret(Arc<Mutex<Option<&'static str>>>);

impl Secret {
    fn is(&self, password: &'static str) {
        *self.0.lock().expect("no panic while held") = Some(password);
    }

    /// An instance that asks for it at each connection.
    fn keep(&self, server: &RedisServer) -> Keep {
        let secret = self.clone();
        let provider = move || {
            let said = *secret.0.lock().expect("no panic while held");
            async move { said.map(|password| Credentials::new("rotated", password)).ok_or("the vault is sealed: hunter2") }
        };
        // Whether an answer is late on a busy machine is no matter here.
        let keep =
            Keep::builder().redis(&server.url()).deadline(Duration::from_secs(2)).budget(Duration::from_secs(10));
        keep.credentials(provider).build().expect("a valid url")
    }
}

async fn set_user(server: &RedisServer, rules: &[&str]) {
    let mut admin = server.client().await;
    redis::cmd("ACL").arg("SETUSER").arg("rotated").arg(rules).exec_async(&mut admin).await.expect("set");
}

async fn drop_connections(server: &RedisServer) {
    let kill = ["KILL", "USER", "rotated"];
    redis::cmd("CLIENT").arg(&kill).exec_async(&mut server.client().await).await.expect("killed");
}

#[tokio::test]
async fn a_new_password_beside_the_old_one_costs_no_outage() {
    let (server, secret) = (RedisServer::start(), Secret::default());
    set_user(&server, &["on", ">old", "~*", "&*", "+@all"]).await;
    secret.is("old");
    let keep = secret.keep(&server);
    assert!(keep.ready(Duration::from_secs(10)).await);
    let mut user = Client::logged_in(&app(&keep), 42).await;

    set_user(&server, &[">new"]).await;
    secret.is("new");
    set_user(&server, &["<old"]).await;
    for _ in 0..50 {
        let answer = user.get("/me").await;
        assert_eq!((answer.status, answer.header("redis-status")), (StatusCode::OK, "up"));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A later connection is made with the new one: in use, for the listener and for a health check.
    drop_connections(&server).await;
    eventually("the drop is noticed", async || keep.status() == Status::Down).await;
    eventually("redis is used again", async || keep.status() == Status::Up).await;
    eventually("all is well", async || keep.health().report().await.write.is_passed()).await;
    assert_eq!(user.get("/me").await.body, "42");
    eventually("the listener is let in", async || {
        let list: String = redis::cmd("CLIENT")
            .arg(&["LIST", "TYPE", "PUBSUB"])
            .query_async(&mut server.client().await)
            .await
            .expect("up");
        list.contains("user=rotated")
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_again_and_told_once() {
    let (lines, _guard) = Lines::listen().await;
    let (server, secret) = (RedisServer::start(), Secret::default());
    set_user(&server, &["on", ">first", "~*", "&*", "+@all"]).await;
    let keep = secret.keep(&server);
    eventually("it is told", async || !lines.at(Level::ERROR).is_empty()).await;
    assert_eq!(keep.health().report().await.connection, Check::Failed(Reason::NoCredentials));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(keep.status(), Status::Down);
    secret.is("first");
    eventually("redis is used", async || keep.status() == Status::Up).await;

    let errors = lines.at(Level::ERROR);
    assert!(errors.len() == 1 && errors[0].contains("no_credentials"), "{errors:?}");
    let all = [Level::ERROR, Level::WARN, Level::INFO].map(|level| lines.at(level)).concat();
    assert!(!all.iter().any(|line| line.contains("hunter2") || line.contains("first")), "{all:?}");
}
