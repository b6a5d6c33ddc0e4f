//! Users who log in and out, and work, while Redis is killed, frozen, emptied and put back to an old state.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::StatusCode;
use tokio::task::JoinSet;
use towerkeep::{Keep, Status};

use crate::{
    app::{Answer, Client, app, keep},
    outcomes::{count, counted},
    support::{RedisServer, eventually},
};

const USERS: u64 = 12;

/// What of a user's session is left when the load ends.
#[derive(Default)]
struct Lives {
    user: u64,
    requests: u64,
    /// With how often `/count` was called, and answered, in this session.
    logged_in: Option<(Client, u64)>,
    logged_out: Vec<Client>,
}

/// One user on one instance: logs in, works, logs out, and begins anew, until told to stop.
async fn live(mut client: Client, user: u64, stop: Arc<AtomicBool>) -> Result<Lives, String> {
    let mut lives = Lives { user, ..Lives::default() };
    let login = format!("/login/{user}");
    while !stop.load(Relaxed) {
        right(&login, &client.post(&login).await, "")?;
        let mut counted = 0;
        for turn in 0..4 + user % 5 {
            right("/me", &client.get("/me").await, &user.to_string())?;
            if turn % 2 == 0 {
                counted += 1;
                right("/count", &client.post("/count").await, &counted.to_string())?;
            }
            right("/clock", &client.get("/clock").await, "")?;
            lives.requests += 3;
            tokio::time::sleep(Duration::from_millis(3 + user)).await;
        }
        lives.logged_in = Some((client.clone(), counted));
        if stop.load(Relaxed) {
            break;
        }
        let stolen = client.clone();
        right("/logout", &client.post("/logout").await, "")?;
        lives.logged_in = None;
        let refused = stolen.clone().get("/me").await;
        if refused.status != StatusCode::UNAUTHORIZED {
            return Err(format!("user {user} logged out, and is {} {}", refused.status, refused.body));
        }
        lives.logged_out.push(stolen);
    }
    Ok(lives)
}

fn right(path: &str, answer: &Answer, body: &str) -> Result<(), String> {
    if answer.status == StatusCode::OK && (body.is_empty() || answer.body == body) {
        return Ok(());
    }
    Err(format!("{path}: {} {}, not {body}", answer.status, answer.body))
}

/// Twelve users on two instances through one fault, and what is left after it.
async fn through(what: &str, mut server: RedisServer, fault: impl AsyncFnOnce(&mut RedisServer)) {
    let (first, second) = (keep(&server.url()).await, keep(&server.url()).await);
    let routers = [app(&first), app(&second)];
    let stop = Arc::new(AtomicBool::new(false));
    let mut users = JoinSet::new();
    for user in 0..USERS {
        let client =
            Client::new(&routers[usize::try_from(user % 2).expect("small")], u8::try_from(user).expect("small"));
        users.spawn(live(client, user, Arc::clone(&stop)));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    fault(&mut server).await;
    let both_up = async || first.status() == Status::Up && second.status() == Status::Up;
    eventually("both are back", both_up).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Relaxed);
    judge(what, &server, [&first, &second], users.join_all().await).await;
}

/// Who logged out is out everywhere; who did not is in, with what was counted.
async fn judge(what: &str, server: &RedisServer, instances: [&Keep; 2], lives: Vec<Result<Lives, String>>) {
    let lives: Vec<_> =
        lives.into_iter().map(|lives| lives.unwrap_or_else(|wrong| panic!("{what}: {wrong}"))).collect();
    // A request on each tells Redis what is left to tell; an instance that has just started knows nothing of its own.
    let fresh = keep(&server.url()).await;
    let (requests, logged_out): (u64, usize) =
        lives.iter().fold((0, 0), |sum, lives| (sum.0 + lives.requests, sum.1 + lives.logged_out.len()));
    for stolen in lives.iter().flat_map(|lives| &lives.logged_out) {
        for instance in [instances[0], instances[1], &fresh] {
            let refused = stolen.at(&app(instance)).get("/me").await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{what}: alive after a logout: {}", refused.body);
        }
    }
    for lives in &lives {
        let (user, Some((client, counted))) = (lives.user, &lives.logged_in) else { continue };
        assert_eq!(client.clone().get("/me").await.body, user.to_string());
        for instance in [instances[0], instances[1], &fresh] {
            assert_eq!(client.at(&app(instance)).get("/me").await.body, user.to_string(), "{what}: lost a session");
        }
        assert_eq!(
            client.at(&app(&fresh)).post("/count").await.body,
            (counted + 1).to_string(),
            "{what}: lost a count"
        );
    }
    println!("{what}: {requests} requests, {logged_out} logouts");
    assert!(requests > 200 && logged_out > 20, "{what}: a load of nothing: {requests} requests, {logged_out} logouts");
}

#[test]
fn killed_and_started_empty() {
    let counts = counted("killed", async {
        through("killed", RedisServer::start(), async |server| {
            server.kill();
            tokio::time::sleep(Duration::from_millis(700)).await;
            server.launch();
        })
        .await;
    });
    for outcome in ["served", "kept", "merged", "ended", "restored"] {
        assert!(count(&counts, outcome) > 0, "{outcome}: {counts:?}");
    }
    assert_eq!(count(&counts, "unknown"), 0, "{counts:?}");
}

#[test]
fn frozen_and_thawed() {
    let counts = counted("frozen", async {
        through("frozen", RedisServer::start(), async |server| {
            server.freeze();
            tokio::time::sleep(Duration::from_millis(900)).await;
            server.thaw();
        })
        .await;
    });
    for outcome in ["served", "kept", "merged", "ended"] {
        assert!(count(&counts, outcome) > 0, "{outcome}: {counts:?}");
    }
}

#[test]
fn emptied_in_use() {
    let counts = counted("emptied", async {
        through("emptied", RedisServer::start(), async |server| {
            server.flush().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            server.flush().await;
        })
        .await;
    });
    assert!(count(&counts, "restored") > 0, "{counts:?}");
}

#[test]
fn put_back_to_an_old_state() {
    let counts = counted("put back", async {
        through("put back", RedisServer::start_with(&["--dbfilename", "old.rdb"]), async |server| {
            let () = redis::cmd("SAVE").query_async(&mut server.client().await).await.expect("saved");
            tokio::time::sleep(Duration::from_millis(500)).await;
            server.kill();
            tokio::time::sleep(Duration::from_millis(500)).await;
            server.launch();
        })
        .await;
    });
    assert!(count(&counts, "ended") > 0, "{counts:?}");
}
