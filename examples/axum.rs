//! All four layers around an axum service. Runs without Redis; with `REDIS_URL` it uses that.
//!
//! ```sh
//! cargo run --example axum
//! curl -i -c jar -b jar http://127.0.0.1:3000/     # counts your visits
//! curl -i http://127.0.0.1:3000/time               # Cache-Status: a miss, then hits for 5 s
//! ```
use std::net::SocketAddr;

use axum::{Router, routing::get};
use tower::ServiceBuilder;
use towerkeep::{
    prelude::*,
    session::{SessionConfig, SessionCookie},
};

const GENERAL: Policy = Policy::sliding_window("general", 100, minutes(1));

async fn hello(session: Session) -> towerkeep::Result<String> {
    let visits: u32 = session.update("visits", |n: &mut u32| *n += 1).await?;
    Ok(format!("visit {visits}\n"))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Over plain HTTP on one's own machine; on the internet leave the cookie as it is by default.
    let sessions = SessionConfig::new().cookie(SessionCookie::local_dev());
    let keep = Keep::builder().env().sessions(sessions).build()?;
    let app = Router::new()
        .route("/", get(hello))
        .route("/time", get(async || "tick\n").layer(keep.cache().public("time").ttl(seconds(5))))
        .layer(
            ServiceBuilder::new() // read downwards: the first line sees the request first
                .layer(keep.layer())
                .layer(keep.limits().layer(GENERAL))
                .layer(keep.sessions().layer()),
        );
    keep.verify()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}
