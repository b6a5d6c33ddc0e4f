//! Sessions over HTTP: requests per second and the server's CPU, towerkeep beside tower-sessions and no layer at all.
//!
//! Each connection has a session of its own.

use towerkeep_benches::{
    RedisServer,
    over_http::{CONNECTIONS, Contender, compare, serve},
    session_apps::{floor, ours, theirs},
};

/// A session's cookie, as a line of a request.
async fn session(contender: &Contender) -> String {
    let answer = contender.ask("/fill").await;
    let set = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    format!("cookie: {}\r\n", set.split(';').next().expect("a pair"))
}

async fn start(label: &'static str, which: &str, redis: &str) -> Contender {
    let mut contender = Contender::start(label, &[which, redis]);
    for n in 0..CONNECTIONS {
        contender.fields[n] = session(&contender).await;
    }
    contender
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, verb, which, redis] = &arguments[..]
        && verb == "serve"
    {
        return serve(match which.as_str() {
            "floor" => floor(redis).await,
            "ours" => ours(redis).await,
            "theirs" => theirs(redis).await,
            other => panic!("no contender is called {other}"),
        })
        .await;
    }
    let server = RedisServer::start();
    let mut contenders = Vec::new();
    for (label, which) in [
        ("no layer: a bare GET, parsed", "floor"),
        ("towerkeep", "ours"),
        ("tower-sessions 0.14, redis-store 0.16", "theirs"),
    ] {
        contenders.push(start(label, which, &server.url()).await);
    }
    compare("session read over HTTP", "/", &mut contenders).await;
    compare("session change over HTTP", "/change", &mut contenders[1..]).await;
}
