//! What the supervisor asks a server: is it there, does it take writes, what time has it, who else is there.

use std::{sync::Arc, time::Duration};

use redis::{Pipeline, Value};
use tokio::time::{Instant, timeout_at};

use super::{
    fault::Fault,
    link::{Link, STALL},
    supervisor::Shared,
};
use crate::{Error, Result, clock::Timestamp};

/// What a good probe found.
pub(super) struct Probed {
    /// Whether the server took a write and gave it back.
    pub(super) writes: bool,
    /// Whether it refused the write, and would any.
    pub(super) is_refused: bool,
    /// Whether its access rules are why not.
    pub(super) is_denied: bool,
}

/// How long an instance's beat counts.
const ALIVE: Duration = Duration::from_secs(15);
/// How many stalls of our own one trip may meet.
const STALLS: u32 = 2;
/// How long the key of the write test lives, in milliseconds.
const CANARY_TTL: u64 = 10_000;

/// A random name for this process among the instances.
pub(super) fn instance_name() -> Result<String> {
    let random = getrandom::u64().map_err(|_| Error::unavailable("the system has no randomness"))?;
    Ok(format!("{random:016x}"))
}

/// One probe: PING, TIME, a write and its read, and this instance's beat, in two trips.
pub(super) async fn probe(shared: &Arc<Shared>, link: &Link, patience: Duration) -> Result<Probed, Fault> {
    let canary = shared.config.keys.canary(&shared.instance);
    let before = shared.server_time.local();
    let mut pipeline = Pipeline::with_capacity(4);
    pipeline.cmd("PING").cmd("TIME");
    pipeline.cmd("SET").arg(&canary).arg(before.as_micros()).arg("PX").arg(CANARY_TTL);
    pipeline.cmd("GET").arg(&canary);
    let [ping, time, set, get] = send(link, &pipeline, patience).await?;
    match settle(ping) {
        // After a failed save even PING is answered MISCONF.
        Ok(_) | Err(Fault::WritesRefused) => {}
        Err(fault) => return Err(fault),
    }
    let now = server_time(&settle(time)?).ok_or(Fault::Protocol)?;
    shared.server_time.measured(now, before, shared.config.deadline);
    let (set, read) = (settle(set), settle(get));
    let (is_refused, is_denied) = (set == Err(Fault::WritesRefused), set == Err(Fault::NoPermission));
    if let (Err(fault), false) = (&set, is_refused || is_denied) {
        return Err(*fault);
    }
    let is_back = matches!(&read, Ok(Value::BulkString(text)) if *text == before.as_micros().to_string().into_bytes());
    let writes = set.is_ok() && is_back;
    if writes {
        beat(shared, link, now, patience).await?;
    }
    Ok(Probed { writes, is_refused, is_denied: is_denied || read == Err(Fault::NoPermission) })
}

/// Notes this instance among the living and counts them.
async fn beat(shared: &Shared, link: &Link, now: Timestamp, patience: Duration) -> Result<(), Fault> {
    let key = shared.config.keys.instances();
    let mut pipeline = Pipeline::with_capacity(4);
    pipeline.cmd("ZREMRANGEBYSCORE").arg(&key).arg("-inf").arg(format!("({}", (now - ALIVE).as_millis()));
    pipeline.cmd("ZADD").arg(&key).arg(now.as_millis()).arg(&shared.instance);
    pipeline.cmd("ZCARD").arg(&key);
    pipeline.cmd("PEXPIRE").arg(&key).arg(u64::try_from(ALIVE.as_millis()).unwrap_or(u64::MAX) * 2);
    let [_, _, card, _] = send(link, &pipeline, patience).await?;
    // Another program's value under the key, or too narrow access rules, are no outage.
    if let Ok(Value::Int(instances)) = settle(card) {
        shared.set_instances(u32::try_from(instances).unwrap_or(u32::MAX));
    }
    Ok(())
}

/// Loads all scripts that stores have registered so far.
pub(super) async fn load_scripts(shared: &Shared, link: &Link, patience: Duration) -> Result<(), Fault> {
    let scripts = shared.scripts();
    if scripts.is_empty() {
        return Ok(());
    }
    let mut pipeline = Pipeline::with_capacity(scripts.len());
    for script in &scripts {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(script.source());
    }
    for (value, script) in exchange(link, &pipeline, scripts.len(), patience).await?.into_iter().zip(scripts) {
        if settle(value) == Err(Fault::Other) {
            tracing::error!(script = script.name, "redis does not accept a script of ours");
        }
    }
    Ok(())
}

async fn send<const N: usize>(link: &Link, pipeline: &Pipeline, patience: Duration) -> Result<[Value; N], Fault> {
    exchange(link, pipeline, N, patience).await?.try_into().map_err(|_| Fault::Protocol)
}

/// Waits once more where the end of the time was noticed late: it was this process that stood still, and the answer may lie there.
pub(super) async fn exchange(
    link: &Link,
    pipeline: &Pipeline,
    count: usize,
    patience: Duration,
) -> Result<Vec<Value>, Fault> {
    let mut mux = link.mux.clone();
    let sending = mux.send_packed_commands(pipeline, 0, count);
    tokio::pin!(sending);
    for _ in 0..=STALLS {
        let ends = Instant::now() + patience;
        match timeout_at(ends, &mut sending).await {
            Ok(sent) => return sent.map_err(|error| Fault::of(&error)),
            Err(_) if Instant::now() > ends + STALL => {}
            Err(_) => break,
        }
    }
    Err(Fault::Timeout)
}

fn settle(value: Value) -> Result<Value, Fault> {
    match value {
        Value::ServerError(error) => Err(Fault::of_code(error.code(), error.details())),
        value => Ok(value),
    }
}

/// The reply of `TIME`: seconds and microseconds.
fn server_time(value: &Value) -> Option<Timestamp> {
    let Value::Array(parts) = value else { return None };
    let number = |part: &Value| match part {
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse::<u64>().ok(),
        _ => None,
    };
    let [seconds, micros] = parts.as_slice() else { return None };
    Some(Timestamp::from_micros(number(seconds)?.checked_mul(1_000_000)?.checked_add(number(micros)?)?))
}
