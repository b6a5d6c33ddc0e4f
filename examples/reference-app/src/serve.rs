//! Serving, until somebody wants it to stop.

use std::{future::Future, net::SocketAddr, time::Duration};

use anyhow::Context;
use axum::Router;
use tokio::{net::TcpListener, sync::oneshot};

/// How long requests that are under way have to end.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// Serves until ctrl-c or SIGTERM, then lets running requests end.
///
/// # Errors
/// When the signals cannot be heard or the listener fails.
pub(crate) async fn until_stopped(listener: TcpListener, app: Router) -> anyhow::Result<()> {
    let asked = stop_signal()?;
    let (stopping, stopped) = oneshot::channel();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async move {
        asked.await;
        tracing::info!("stopping: requests under way may end");
        let _ = stopping.send(());
    });
    let patience = async {
        let _ = stopped.await;
        tokio::time::sleep(DRAIN_WITHIN).await;
    };
    tokio::select! {
        served = server => served.context("serving failed"),
        () = patience => {
            tracing::warn!("some requests did not end in time and are cut off");
            Ok(())
        }
    }
}

#[cfg(unix)]
fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for ctrl-c")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
