//! Tokens in Redis.

use std::{fmt, time::Duration};

use bytes::Bytes;

use super::{TokenDigest, TokenStore};
use crate::{
    Cx, Result, StoreFuture,
    clock::micros,
    conn::{Command, Redis, Reply},
};

/// Keeps tokens in Redis, one string each under `tk:token:{purpose}:{digest}`; one command a verb.
///
/// | verb | command |
/// |---|---|
/// | keep | `SET .. PX` |
/// | peek | `GET` |
/// | take | `GETDEL`, in a script that refuses to run late: a token is not spent on a caller who has gone |
/// | revoke | `UNLINK` |
#[derive(Clone)]
pub struct RedisTokenStore {
    redis: Redis,
}

impl RedisTokenStore {
    /// Tokens behind this handle.
    pub fn new(redis: &Redis) -> Self {
        Self { redis: redis.clone() }
    }

    fn about(&self, command: Command, purpose: &str, digest: &TokenDigest) -> Command {
        command.arg(self.redis.keys().token(purpose, digest.as_str()))
    }
}

fn bytes(reply: Reply) -> Result<Option<Bytes>> {
    Ok(reply.bytes()?.map(Bytes::from))
}

impl TokenStore for RedisTokenStore {
    fn keep(&self, cx: &Cx, purpose: &str, digest: &TokenDigest, grant: Bytes, ttl: Duration) -> StoreFuture<()> {
        let set = self.about(Command::write("SET"), purpose, digest).arg(&grant[..]);
        self.redis.call(cx, set.arg("PX").arg(micros(ttl).div_ceil(1_000)), |_| Ok(()))
    }

    fn peek(&self, cx: &Cx, purpose: &str, digest: &TokenDigest) -> StoreFuture<Option<Bytes>> {
        self.redis.call(cx, self.about(Command::read("GET"), purpose, digest), bytes)
    }

    fn take(&self, cx: &Cx, purpose: &str, digest: &TokenDigest) -> StoreFuture<Option<Bytes>> {
        self.redis.call(cx, self.about(Command::in_time("GETDEL"), purpose, digest), bytes)
    }

    fn revoke(&self, cx: &Cx, purpose: &str, digest: &TokenDigest) -> StoreFuture<bool> {
        let unlink = self.about(Command::write("UNLINK"), purpose, digest);
        self.redis.call(cx, unlink, |reply| Ok(reply.int()? > 0))
    }
}

impl fmt::Debug for RedisTokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTokenStore").field("redis", &self.redis).finish()
    }
}
