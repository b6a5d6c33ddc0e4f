//! Limits counted in Redis, over all instances.

use std::fmt;

use super::{
    Charge, Policy, RateStore, Verdict,
    bucket::Bucket,
    decide::{self, Reading},
    deny_cache::DenyCache,
    policy::Algorithm,
};
use crate::{
    Cx, Error, KeyValue, Result, StoreFuture,
    clock::Clock,
    conn::{Command, Redis, Reply, ScriptCall, guarded_script},
};

guarded_script!(static CHECK = "rate_limit.check", "check.lua");
guarded_script!(static REFUND = "rate_limit.refund", "refund.lua");

/// Counts in Redis: one limit over all instances.
///
/// 1. A check is one script call, however many policies it asks.
/// 2. The time is the server's, so instances need not agree about it.
/// 3. A refused client is remembered here until its `Retry-After`: it costs at most one command per instance until
///    then. A refund or reset made by another instance is noticed when that time has come.
/// 4. A value under our key that is not ours is replaced, and counted in `towerkeep_rate_limit_healed_total`.
///
/// A window of limit N takes up to 1.4 KB at 60 and 4.2 KB at any N, a bucket about 100 bytes; every key expires.
///
/// # When Redis is down
/// Every verb answers unavailable; [`FallbackRateStore`](super::FallbackRateStore) makes a decision of that. Clients that
/// are known to be over their limit stay refused.
#[derive(Clone)]
pub struct RedisRateStore {
    redis: Redis,
    denied: DenyCache,
}

impl RedisRateStore {
    /// Counts in this Redis.
    pub fn new(redis: &Redis) -> Self {
        redis.register(&CHECK);
        redis.register(&REFUND);
        Self { redis: redis.clone(), denied: DenyCache::new(Clock::system()) }
    }

    fn ask<T, F>(&self, cx: &Cx, key: &KeyValue, policies: &[Policy], cost: u32, read: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&Answer) -> T + Send + 'static,
    {
        let mut call = ScriptCall::new().int(cost);
        for policy in policies {
            call = asked(call.key(self.redis.keys().rate_limit(key, policy.name())), policy, cost);
        }
        let policies: Vec<_> = policies.to_vec();
        self.redis.eval(cx, &CHECK, call, move |reply| Ok(read(&Answer::decode(reply, policies)?)))
    }
}

/// One policy as `check.lua` takes it.
fn asked(call: ScriptCall, policy: &Policy, cost: u32) -> ScriptCall {
    match policy.algorithm() {
        Algorithm::SlidingWindow => {
            let call = call.arg("w").int(policy.limit());
            call.int(policy.per_micros()).int(policy.grain()).int(0).int(0)
        }
        Algorithm::TokenBucket | Algorithm::Concurrency => {
            let (price, rest) = Bucket::split(Bucket::price(policy, cost), policy);
            let (room, room_rest) = Bucket::split(Bucket::room(policy), policy);
            call.arg("b").int(policy.limit()).int(price).int(rest).int(room).int(room_rest)
        }
    }
}

/// One charge as `refund.lua` takes it.
fn given_back(call: ScriptCall, charge: &Charge) -> ScriptCall {
    let policy = &charge.policy;
    match policy.algorithm() {
        Algorithm::SlidingWindow => {
            let call = call.arg("w").int(policy.limit()).int(policy.per_micros()).int(policy.grain());
            call.int(charge.at.as_micros()).int(charge.cost)
        }
        Algorithm::TokenBucket | Algorithm::Concurrency => {
            let (price, rest) = Bucket::split(Bucket::price(policy, charge.cost), policy);
            call.arg("b").int(policy.limit()).int(price).int(rest).int(0).int(0)
        }
    }
}

/// What `check.lua` returned.
struct Answer {
    now: u64,
    charged: bool,
    readings: Vec<(Policy, Reading)>,
}

impl Answer {
    fn decode(reply: Reply, policies: Vec<Policy>) -> Result<Self> {
        let numbers = reply.array()?.into_iter().map(|reply| Ok(u64::try_from(reply.int()?).unwrap_or(0)));
        let numbers = numbers.collect::<Result<Vec<_>>>()?;
        let Some((&[now, charged, healed], rest)) = numbers.split_first_chunk::<3>() else { return Err(odd()) };
        if rest.len() != policies.len() * 3 {
            return Err(odd());
        }
        tell_healed(healed);
        let readings =
            policies.into_iter().zip(rest.chunks_exact(3)).map(|(policy, three)| (policy, reading(&policy, three)));
        Ok(Self { now, charged: charged == 1, readings: readings.collect() })
    }

    fn verdict(&self, cost: u32, charged: bool) -> Verdict {
        let decide = |(policy, reading): &(Policy, Reading)| reading.decide(self.now, policy, cost, charged);
        self.readings.iter().map(decide).collect()
    }
}

fn reading(policy: &Policy, three: &[u64]) -> Reading {
    match policy.algorithm() {
        Algorithm::SlidingWindow => Reading::Log { used: three[0], oldest: three[1], room: three[2] },
        Algorithm::TokenBucket | Algorithm::Concurrency => Reading::Bucket { full_at: three[0], rest: three[1] },
    }
}

fn odd() -> Error {
    Error::corrupt("the rate limit script answered something else than it should")
}

fn tell_healed(values: u64) {
    if values > 0 {
        crate::telemetry::count("towerkeep_rate_limit_healed_total", []);
        tracing::warn!(values, "rate limits: values under our keys were not ours and were replaced");
    }
}

impl RateStore for RedisRateStore {
    fn check(&self, cx: &Cx, key: &KeyValue, policies: &[Policy], cost: u32) -> StoreFuture<Verdict> {
        // A test that sets the time wants to hear of the server.
        if cx.now().is_some() {
            return self.ask(cx, key, policies, cost, move |answer| answer.verdict(cost, answer.charged));
        }
        if let Some(verdict) = decide::too_costly(policies, cost).or_else(|| self.denied.find(key, policies, cost)) {
            return StoreFuture::ok(verdict);
        }
        let (denied, client) = (self.denied.clone(), key.clone());
        let epoch = denied.epoch();
        self.ask(cx, key, policies, cost, move |answer| {
            let verdict = answer.verdict(cost, answer.charged);
            denied.note(&client, cost, &verdict, epoch);
            verdict
        })
    }

    fn peek(&self, cx: &Cx, key: &KeyValue, policies: &[Policy]) -> StoreFuture<Verdict> {
        self.ask(cx, key, policies, 0, |answer| answer.verdict(0, false))
    }

    fn refund(&self, cx: &Cx, key: &KeyValue, charges: &[Charge]) -> StoreFuture<()> {
        self.denied.forget(key);
        let mut call = ScriptCall::new();
        for charge in charges {
            call = given_back(call.key(self.redis.keys().rate_limit(key, charge.policy.name())), charge);
        }
        let (denied, client) = (self.denied.clone(), key.clone());
        self.redis.eval(cx, &REFUND, call, move |_| {
            denied.forget(&client);
            Ok(())
        })
    }

    fn reset(&self, cx: &Cx, key: &KeyValue, policies: &[Policy]) -> StoreFuture<()> {
        self.denied.forget(key);
        let keys: Vec<_> = policies.iter().map(|policy| self.redis.keys().rate_limit(key, policy.name())).collect();
        let (denied, client) = (self.denied.clone(), key.clone());
        self.redis.call(cx, Command::write("UNLINK").arg(keys), move |_| {
            denied.forget(&client);
            Ok(())
        })
    }
}

impl fmt::Debug for RedisRateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRateStore").field("redis", &self.redis).finish_non_exhaustive()
    }
}
