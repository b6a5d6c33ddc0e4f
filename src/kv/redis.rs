//! Plain values in Redis.

use std::{fmt, time::Duration};

use bytes::Bytes;

use super::KvStore;
use crate::{
    Cx, StoreFuture,
    clock::micros,
    conn::{Command, Redis, Reply},
};

/// Keeps values in Redis, one string each under `tk:kv:{key}`; one command a verb. Those that write run by their deadline or not
/// at all, in a script: what a caller was told to have failed overwrites nothing later.
///
/// | verb | command |
/// |---|---|
/// | load | `GET` |
/// | save, save_if_absent | `SET .. PX`, `SET .. NX PX` |
/// | delete | `UNLINK` |
///
/// A value over 1 MiB is sent over a connection of its own, so that small ones do not wait behind it. A key that holds
/// another type is corrupt to `load`; `save` and `delete` replace it.
#[derive(Clone)]
pub struct RedisKvStore {
    redis: Redis,
}

impl RedisKvStore {
    /// Values behind this handle.
    pub fn new(redis: &Redis) -> Self {
        Self { redis: redis.clone() }
    }

    fn set(&self, key: &str, value: &[u8], ttl: Duration) -> Command {
        let millis = micros(ttl).div_ceil(1_000);
        Command::in_time("SET").arg(self.redis.keys().kv(key)).arg(value).arg("PX").arg(millis)
    }
}

impl KvStore for RedisKvStore {
    fn load(&self, cx: &Cx, key: &str) -> StoreFuture<Option<Bytes>> {
        let get = Command::read("GET").arg(self.redis.keys().kv(key));
        self.redis.call(cx, get, |reply| Ok(reply.bytes()?.map(Bytes::from)))
    }

    fn save(&self, cx: &Cx, key: &str, value: Bytes, ttl: Duration) -> StoreFuture<()> {
        self.redis.call(cx, self.set(key, &value, ttl), |_| Ok(()))
    }

    fn save_if_absent(&self, cx: &Cx, key: &str, value: Bytes, ttl: Duration) -> StoreFuture<bool> {
        self.redis.call(cx, self.set(key, &value, ttl).arg("NX"), |reply| Ok(!reply.is_nil()))
    }

    fn delete(&self, cx: &Cx, key: &str) -> StoreFuture<bool> {
        let unlink = Command::in_time("UNLINK").arg(self.redis.keys().kv(key));
        self.redis.call(cx, unlink, |reply: Reply| Ok(reply.int()? > 0))
    }
}

impl fmt::Debug for RedisKvStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisKvStore").field("redis", &self.redis).finish()
    }
}
