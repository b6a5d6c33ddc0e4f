//! The reference app of towerkeep: one binary, from a laptop without any server to several instances on Redis and
//! PostgreSQL.

mod app;
mod config;
mod database;
mod form;
mod health;
mod logging;
mod page;
mod password;
mod problem;
mod resources;
mod rules;
mod seed;
mod serve;
mod state;

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use crate::{config::Config, database::Database, password::Passwords, state::AppState};
use anyhow::Context;
use clap::Parser;
use tokio::net::TcpListener;
use towerkeep::{
    prelude::*,
    session::{SessionConfig, SessionCookie},
};

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    logging::start(config.log_format);
    match run(&config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reference-app: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// Everything that can be wrong with the configuration is found before the first request is served. Redis that does
/// not answer is not among it.
async fn run(config: &Config) -> anyhow::Result<()> {
    let listener = TcpListener::bind(config.listen()).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", config.listen()))?;
    let address = listener.local_addr().context("cannot tell where it listens")?;
    let database = Database::open(config.database()).await?;
    let keep = keep(config, address.ip())?;
    let state = AppState::new(keep.clone(), database.clone(), Passwords::new()?);
    let app = app::app(&keep, state.clone());
    keep.verify()?;
    let admin_password = if config.wants_demo_data() { seed::plant(&state).await? } else { None };
    warn(config, address.ip());
    greet(address, config.wants_demo_data(), admin_password.as_deref());
    serve::until_stopped(listener, app).await?;
    keep.shutdown(seconds(5)).await;
    database.close().await;
    Ok(())
}

fn keep(config: &Config, listening: IpAddr) -> anyhow::Result<Keep> {
    let is_plain = config.may_use_plain_cookies(listening);
    let cookie = if is_plain { SessionCookie::local_dev() } else { SessionCookie::host("sid") };
    let builder =
        Keep::builder().sessions(SessionConfig::new().cookie(cookie)).trust_proxies(config.trusted_proxies()?);
    let builder = match config.redis() {
        Some(url) => builder.redis(url),
        None => builder.env(),
    };
    Ok(builder.build()?)
}

/// Says what a deployment may not have meant.
fn warn(config: &Config, listening: IpAddr) {
    if listening.is_loopback() {
        return;
    }
    if config.wants_demo_data() {
        tracing::warn!("others can connect, and the demo user's password is public; --no-seed adds no demo user");
    }
    if !config.is_behind_proxy() && !config.may_use_plain_cookies(listening) {
        tracing::warn!(
            "session cookies need HTTPS: name the proxy that ends TLS with --trusted-proxy, or give --insecure-cookies"
        );
    }
}

/// Tells where it is and what to try. Output that nobody reads is no reason to stop.
fn greet(address: SocketAddr, has_demo: bool, admin_password: Option<&str>) {
    let address = if address.ip().is_unspecified() { (Ipv4Addr::LOCALHOST, address.port()).into() } else { address };
    let (name, password) = if has_demo { seed::DEMO } else { ("you", "your-password") };
    let url = format!("http://{address}");
    let json = format!("--json '{{\"username\":\"{name}\",\"password\":\"{password}\"}}'");
    let first = if has_demo { format!("{url}/health") } else { format!("{url}/api/v1/auth/register {json}") };
    let admin =
        admin_password.map(|password| format!("user admin has the password {password}, shown only this once\n"));
    let _ = write!(
        std::io::stdout(),
        "towerkeep reference app: {url}\n{}\n  curl -i {first}\n  \
         curl -i -c cookies.txt {url}/api/v1/auth/login {json}\n  \
         curl -i -b cookies.txt {url}/api/v1/bookmarks\n\n",
        admin.unwrap_or_default()
    );
}

/// The error and its causes on one line, each said once.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        let cause = cause.split_whitespace().collect::<Vec<_>>().join(" ");
        if !line.contains(&cause) {
            line = if line.is_empty() { cause } else { format!("{line}: {cause}") };
        }
    }
    line
}
