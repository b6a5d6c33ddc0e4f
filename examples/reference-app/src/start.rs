//! From the configuration to instances that serve.

use std::net::IpAddr;

use anyhow::Context;
use towerkeep::{
    Status,
    prelude::*,
    session::{SessionConfig, SessionCookie},
};

use crate::{
    config::Config,
    database::{Database, counts::Counts},
    greeting::Greeting,
    instance::{self, Instance},
    market::CountsOfItems,
    password::Passwords,
    seed,
};

/// Everything that can be wrong with the configuration is found before the first request is served. Redis that does
/// not answer is not among it.
///
/// # Errors
/// What cannot work, on one line.
pub(crate) async fn run(config: &Config) -> anyhow::Result<()> {
    let listeners = instance::listen(config.listen(), config.instances()).await?;
    let addresses: Vec<_> = listeners.iter().map(tokio::net::TcpListener::local_addr).collect::<Result<_, _>>()?;
    let listening = addresses.first().context("listens nowhere")?.ip();
    let (database, passwords) = (Database::open(config.database()).await?, Passwords::new()?);
    let mut instances = Vec::new();
    for (listener, keep) in listeners.into_iter().zip(keeps(config, listening, &database)?) {
        instances.push(Instance::new(listener, &keep, &database, &passwords)?);
    }
    let first = instances[0].state.clone();
    let admin_password = if config.wants_demo_data() { seed::plant(&first).await? } else { None };
    warn(config, listening);
    let has_demo = config.wants_demo_data();
    Greeting { addresses, shares_memory: is_in_memory(&first.keep), has_demo, admin_password }.say();
    instance::run_all(instances).await?;
    database.close().await;
    Ok(())
}

/// One for each instance: its own connection to Redis, or the one memory that all of them share.
fn keeps(config: &Config, listening: IpAddr, database: &Database) -> anyhow::Result<Vec<Keep>> {
    let mut keeps = vec![keep(config, listening, database)?];
    for _ in 1..config.instances() {
        let next = if is_in_memory(&keeps[0]) { keeps[0].clone() } else { keep(config, listening, database)? };
        keeps.push(next);
    }
    Ok(keeps)
}

fn is_in_memory(keep: &Keep) -> bool {
    keep.status() == Status::InMemory
}

fn keep(config: &Config, listening: IpAddr, database: &Database) -> anyhow::Result<Keep> {
    let is_plain = config.may_use_plain_cookies(listening);
    let cookie = if is_plain { SessionCookie::local_dev() } else { SessionCookie::host("sid") };
    let builder =
        Keep::builder().sessions(SessionConfig::new().cookie(cookie)).trust_proxies(config.trusted_proxies()?);
    let builder = builder.deadline(config.redis_deadline());
    let builder = match config.redis() {
        Some(url) => builder.redis(url),
        None => builder.env(),
    };
    let keep = builder.build()?;
    keep.counters().sink(CountsOfItems(Counts::new(database.clone())))?;
    Ok(keep)
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
