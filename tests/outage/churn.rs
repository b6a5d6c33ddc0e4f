//! Users who log in and out, and work, while Redis is killed, frozen, emptied and put back to an old state.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::StatusCode;
use tokio::task::JoinSet;
use towerkeep::{Keep, Status};

use crate::{
    app::{Answer, Client, app, keep},
    faults::case::fresh,
    outcomes::{count, counted},
    support::{RedisServer, eventually},
};

const USERS: u64 = 12;

/// What of a user's session is left when the load ends.
#[derive(Default)]
pub(crate) struct Lives {
    user: u64,
    requests: u64,
    /// With how often `/count` was called, and answered, in this session.
    logged_in: Option<(Client, u64)>,
}

/// Clients with tokens of sessions that have ended.
pub(crate) type Ended = Arc<Mutex<Vec<Client>>>;

/// One user on one instance: logs in, works, logs out, and begins anew, until told to stop.
pub(crate) async fn live(
    mut client: Client,
    user: u64,
    pause: Duration,
    ended: Ended,
    stop: Arc<AtomicBool>,
) -> Result<Lives, String> {
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
            tokio::time::sleep(pause).await;
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
        ended.lock().expect("no panic while held").push(stolen);
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
    let (ended, stop) = (Ended::default(), Arc::new(AtomicBool::new(false)));
    let mut users = JoinSet::new();
    for user in 0..USERS {
        let client =
            Client::new(&routers[usize::try_from(user % 2).expect("small")], u8::try_from(user).expect("small"));
        let pause = Duration::from_millis(3 + user);
        users.spawn(live(client, user, pause, Arc::clone(&ended), Arc::clone(&stop)));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    fault(&mut server).await;
    let both_up = async || first.status() == Status::Up && second.status() == Status::Up;
    eventually("both are back", both_up).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Relaxed);
    let ended = || ended.lock().expect("no panic while held").clone();
    let (requests, logouts) = judge(what, &server, [&first, &second], users.join_all().await, ended()).await;
    assert!(requests > 200 && logouts > 20, "{what}: a load of nothing: {requests} requests, {logouts} logouts");
}

/// Who logged out is out everywhere; who did not is in, with what was counted. How many requests and logouts there were.
pub(crate) async fn judge(
    what: &str,
    server: &RedisServer,
    instances: [&Keep; 2],
    lives: Vec<Result<Lives, String>>,
    ended: Vec<Client>,
) -> (u64, usize) {
    let lives: Vec<_> =
        lives.into_iter().map(|lives| lives.unwrap_or_else(|wrong| panic!("{what}: {wrong}"))).collect();
    let fresh = fresh(&server.url()).await;
    let routers = [app(instances[0]), app(instances[1]), app(&fresh)];
    let are_up = || instances.iter().all(|keep| keep.status() == Status::Up);
    eventually("both are up", async || are_up()).await;
    for router in &routers {
        // Tells Redis what is left to tell.
        Client::logged_in(router, 1).await;
    }
    for stolen in &ended {
        for router in &routers {
            eventually(&format!("{what}: it can be told who is out"), async || {
                let answer = stolen.at(router).get("/me").await;
                let is_known = answer.status != StatusCode::SERVICE_UNAVAILABLE && are_up();
                assert!(!is_known || answer.status == StatusCode::UNAUTHORIZED, "{what}: alive: {}", answer.body);
                is_known
            })
            .await;
        }
    }
    for lives in &lives {
        let (user, Some((client, counted))) = (lives.user, &lives.logged_in) else { continue };
        for router in &routers {
            eventually(&format!("{what}: it can be told who is in"), async || {
                let answer = client.at(router).get("/me").await;
                let is_known = answer.status != StatusCode::SERVICE_UNAVAILABLE && are_up();
                assert!(!is_known || answer.body == user.to_string(), "{what}: lost a session: {}", answer.status);
                is_known
            })
            .await;
        }
        // What an instance was too late to tell is told with its next request that asks for a session.
        eventually(&format!("{what}: user {user} has counted {counted}"), async || {
            client.clone().get("/me").await;
            client.at(&routers[2]).get("/counted").await.body == counted.to_string()
        })
        .await;
    }
    let (requests, logouts) = (lives.iter().map(|lives| lives.requests).sum(), ended.len());
    println!("{what}: {requests} requests, {logouts} logouts");
    (requests, logouts)
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
