//! Limits counted in Redis, over all instances.

mod batch;
mod question;

use std::fmt;

use super::{Charge, Policy, RateStore, Verdict, bucket::Bucket, decide, deny_cache::DenyCache, policy::Algorithm};
use crate::{
    Cx, KeyValue, StoreFuture,
    clock::Clock,
    conn::{Command, Redis, ScriptCall, guarded_script},
};
use batch::Batch;
use question::{Answer, Question};

guarded_script!(static CHECK = "rate_limit.check", "check.lua");
guarded_script!(static REFUND = "rate_limit.refund", "refund.lua");

/// Counts in Redis: one limit over all instances.
///
/// 1. A check is one script call, however many policies it asks; checks that come while another is under way share one,
///    up to 64, each decided by itself.
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
    batch: Batch,
}

impl RedisRateStore {
    /// Counts in this Redis.
    pub fn new(redis: &Redis) -> Self {
        redis.register(&CHECK);
        redis.register(&REFUND);
        Self { redis: redis.clone(), denied: DenyCache::new(Clock::system()), batch: Batch::new(redis) }
    }

    fn question(&self, key: &KeyValue, policies: &[Policy], cost: u32) -> Question {
        let name = |policy: &Policy| self.redis.keys().rate_limit(key, policy.name());
        Question::new(policies, cost, name)
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

impl RateStore for RedisRateStore {
    fn check(&self, cx: &Cx, key: &KeyValue, policies: &[Policy], cost: u32) -> StoreFuture<Verdict> {
        if policies.is_empty() {
            return StoreFuture::ok(Verdict::default());
        }
        // A test that sets the time wants to hear of the server.
        if cx.now().is_some() {
            return self.batch.ask(cx, self.question(key, policies, cost), move |answer| answer.verdict(cost));
        }
        if let Some(verdict) = decide::too_costly(policies, cost).or_else(|| self.denied.find(key, policies, cost)) {
            return StoreFuture::ok(verdict);
        }
        let (denied, client) = (self.denied.clone(), key.clone());
        let epoch = denied.epoch();
        self.batch.ask(cx, self.question(key, policies, cost), move |answer| {
            let verdict = answer.verdict(cost);
            denied.note(&client, cost, &verdict, epoch);
            verdict
        })
    }

    fn peek(&self, cx: &Cx, key: &KeyValue, policies: &[Policy]) -> StoreFuture<Verdict> {
        if policies.is_empty() {
            return StoreFuture::ok(Verdict::default());
        }
        self.batch.ask(cx, self.question(key, policies, 0), Answer::look)
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
        self.redis.call(cx, Command::in_time("UNLINK").arg(keys), move |_| {
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
