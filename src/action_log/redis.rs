//! Logs in Redis, shared by all instances.

use std::sync::{Arc, Weak};

use super::{ActionLog, ActionLogConfig, ActionStore, Entry, Held, Record, Retention, fallback::Inner, time};
use crate::{
    Cx, Result, StoreFuture, UserId,
    background::Background,
    clock::{Timestamp, micros},
    conn::{Command, Recovery, RecoveryStep, Redis, Reply, ScriptCall, Stage, guarded_script},
    telemetry,
};

guarded_script!(static APPEND = "action_log_append", "append.lua");
guarded_script!(static MERGE = "action_log_merge", "merge.lua");
guarded_script!(static CLEAR = "action_log_clear", "clear.lua");

/// Keeps logs in Redis.
///
/// | verb | commands |
/// |---|---|
/// | append | one script: `LPUSH`, `LTRIM`, `PEXPIRE` |
/// | recent | `LRANGE` |
/// | clear | one script: `UNLINK`, `SET` |
///
/// 1. `tk:user:{user}:actions` (no braces in the key) is a list, newest first, of JSON objects with `action`, `timestamp`
///    (RFC 3339), `metadata` and `id`. Other programs may push such objects too, with or without an `id`.
/// 2. `tk:user:cleared:{tk:user:42:actions}` tells when a log was cleared, for what an outage holds back elsewhere. Its
///    hash tag is the other key, so both are in one slot of Redis Cluster.
/// 3. An append whose answer was lost is repeated by a script that looks for its id in the list: it is there once.
#[derive(Clone, Debug)]
pub struct RedisActionStore {
    redis: Redis,
    /// Reaches Redis while everybody else is still refused.
    is_recovering: bool,
}

impl RedisActionStore {
    /// Logs behind this handle.
    pub fn new(redis: &Redis) -> Self {
        for script in [&APPEND, &MERGE, &CLEAR] {
            redis.register(script);
        }
        Self { redis: redis.clone(), is_recovering: false }
    }

    /// Logs behind this handle, told first of all when Redis is back what an outage held.
    ///
    /// # Errors
    /// Invalid, naming the setting that cannot work.
    pub fn with_fallback(redis: &Redis, config: ActionLogConfig) -> Result<ActionLog> {
        config.verify()?;
        Ok(Self::log(redis, config, Background::default()))
    }

    pub(crate) fn log(redis: &Redis, config: ActionLogConfig, background: Background) -> ActionLog {
        let log = ActionLog::over(Self::new(redis), config, background);
        let step: Weak<Inner> = Arc::downgrade(&log.fallback.0);
        redis.on_recovery(Stage::Records, step);
        log
    }

    fn call(&self, user: &UserId, keep: Retention) -> ScriptCall {
        let key = self.redis.keys().user_actions(user);
        let lasting = micros(keep.keep_for).div_ceil(1_000);
        ScriptCall::new().key(key).int(u32::try_from(keep.capacity).unwrap_or(u32::MAX)).int(lasting)
    }
}

impl RecoveryStep for Inner {
    fn run(&self, recovery: Recovery) -> StoreFuture<()> {
        let Some(inner) = self.myself.upgrade() else { return StoreFuture::ok(()) };
        StoreFuture::boxed(async move {
            inner.tell_all(&RedisActionStore { redis: recovery.redis, is_recovering: true }).await
        })
    }
}

impl ActionStore for RedisActionStore {
    fn now(&self, cx: &Cx) -> Timestamp {
        cx.now().unwrap_or_else(|| self.redis.now())
    }

    fn is_up(&self) -> bool {
        self.is_recovering || self.redis.status().is_up()
    }

    fn append(&self, cx: &Cx, user: &UserId, records: &[Arc<Record>], keep: Retention) -> StoreFuture<usize> {
        let mut call = self.call(user, keep);
        for record in records {
            let (before, after) = record.parts();
            let at = record.at().map(time::write).unwrap_or_default();
            call = call.arg(at).arg(before).arg(after);
        }
        self.redis.eval(cx, &APPEND, call, count)
    }

    fn merge(&self, cx: &Cx, user: &UserId, held: &Held, keep: Retention) -> StoreFuture<usize> {
        let mut call = self.call(user, keep).key(self.redis.keys().user_actions_cleared(user));
        call = match held.cleared {
            Some(cleared) => call.int(cleared.as_micros()).arg(time::write(cleared)),
            None => call.arg("").arg(""),
        };
        for (noted, record) in &held.records {
            let at = record.at().unwrap_or(*noted);
            call = call.int(noted.as_micros()).arg(format!("{:016x}", record.id()));
            call = call.arg(time::write(at)).arg(record.encode(at));
        }
        self.redis.eval(cx, &MERGE, call, count)
    }

    fn recent(&self, cx: &Cx, user: &UserId, limit: usize) -> StoreFuture<Vec<Entry>> {
        // 0 would ask for everything: the range ends at -1.
        let Some(last) = limit.checked_sub(1) else { return StoreFuture::ok(Vec::new()) };
        let command = Command::read("LRANGE").arg(self.redis.keys().user_actions(user)).arg(0).arg(last);
        self.redis.call(cx, command, |reply| reply.array()?.into_iter().filter_map(entry).collect())
    }

    fn clear(&self, cx: &Cx, user: &UserId, keep: Retention) -> StoreFuture<()> {
        let call = self.call(user, keep).key(self.redis.keys().user_actions_cleared(user));
        self.redis.eval(cx, &CLEAR, call, |_| Ok(()))
    }
}

fn count(reply: Reply) -> Result<usize> {
    Ok(usize::try_from(reply.int()?).unwrap_or(0))
}

/// An element of the list, unless it is none of ours.
fn entry(reply: Reply) -> Option<Result<Entry>> {
    let text = reply.bytes().map(|bytes| bytes.and_then(|bytes| String::from_utf8(bytes).ok()));
    let entry = text.map(|text| text.and_then(|text| Entry::decode(&text))).transpose();
    if entry.is_none() {
        telemetry::count("towerkeep_action_log_skipped_total", []);
    }
    entry
}
