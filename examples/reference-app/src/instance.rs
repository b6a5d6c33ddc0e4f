//! One instance of the app: where it listens, its own [`Keep`], its own layers.

use anyhow::Context;
use axum::Router;
use tokio::{net::TcpListener, task::JoinSet};
use towerkeep::prelude::*;

use crate::{app, boards, database::Database, password::Passwords, serve, state::AppState};

pub(crate) struct Instance {
    listener: TcpListener,
    pub(crate) state: AppState,
    app: Router,
}

impl Instance {
    /// # Errors
    /// When two policies or caches have one name.
    pub(crate) fn new(
        listener: TcpListener,
        keep: &Keep,
        database: &Database,
        passwords: &Passwords,
    ) -> anyhow::Result<Self> {
        let state = AppState::new(keep.clone(), database.clone(), passwords.clone());
        let app = app::app(keep, state.clone());
        keep.verify()?;
        Ok(Self { listener, state, app })
    }

    /// Serves until it is asked to stop, then finishes what is under way in the background.
    async fn run(self) -> anyhow::Result<()> {
        let alike = boards::keep_alike(self.state.boards);
        let served = serve::until_stopped(self.listener, self.app).await;
        alike.abort();
        self.state.keep.shutdown(seconds(5)).await;
        served
    }
}

/// Runs all of them until they are asked to stop.
///
/// # Errors
/// When one of them cannot go on: half of what was asked for is not served on.
pub(crate) async fn run_all(instances: Vec<Instance>) -> anyhow::Result<()> {
    let mut running: JoinSet<_> = instances.into_iter().map(Instance::run).collect();
    while let Some(ended) = running.join_next().await {
        ended.context("an instance broke off")??;
    }
    Ok(())
}

/// Listens at `address`, and for each further instance at the port after; each on a free one where the port is 0.
///
/// # Errors
/// Names the address that cannot be had.
pub(crate) async fn listen(address: &str, instances: u16) -> anyhow::Result<Vec<TcpListener>> {
    let first = bind(address).await?;
    let own = first.local_addr().context("cannot tell where it listens")?;
    let takes_any = address.ends_with(":0");
    let mut listeners = vec![first];
    for n in 1..instances {
        let port = if takes_any { Some(0) } else { own.port().checked_add(n) };
        let port = port.with_context(|| format!("{instances} instances from {address} on go beyond port 65535"))?;
        listeners.push(bind(&format!("{}", std::net::SocketAddr::new(own.ip(), port))).await?);
    }
    Ok(listeners)
}

async fn bind(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
