//! One check as `check.lua` takes it, and what it answered.

use super::super::{
    Policy, Verdict,
    bucket::Bucket,
    decide::Reading,
    policy::{Algorithm, Policies},
};
use crate::{
    Error, Result,
    conn::{Reply, ScriptCall},
};

/// One check: keys and arguments, and the policies by which its answer is read.
pub(super) struct Question {
    pub(super) call: ScriptCall,
    policies: Policies,
}

impl Question {
    /// Asks of at least one policy, each counted under its own key.
    pub(super) fn new(policies: &[Policy], cost: u32, name: impl Fn(&Policy) -> String) -> Self {
        let mut call = ScriptCall::new().int(cost).int(policies.len() as i128);
        for policy in policies {
            call = asked(call.key(name(policy)), policy, cost);
        }
        Self { call, policies: policies.iter().copied().collect() }
    }

    /// What is left of it once its call is sent.
    pub(super) fn sent(self) -> (ScriptCall, Policies) {
        (self.call, self.policies)
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

/// What was answered to one question.
pub(super) struct Answer {
    now: u64,
    is_charged: bool,
    readings: Vec<(Policy, Reading)>,
}

impl Answer {
    pub(super) fn verdict(&self, cost: u32) -> Verdict {
        self.decide(cost, self.is_charged)
    }

    /// How the client stands, where nothing was to be charged.
    pub(super) fn look(&self) -> Verdict {
        self.decide(0, false)
    }

    fn decide(&self, cost: u32, is_charged: bool) -> Verdict {
        let decide = |(policy, reading): &(Policy, Reading)| reading.decide(self.now, policy, cost, is_charged);
        self.readings.iter().map(decide).collect()
    }
}

/// What `check.lua` returned, to be taken apart in the order of the questions.
pub(super) struct Answers {
    now: u64,
    numbers: Vec<u64>,
    taken: usize,
}

/// The numbers of each policy.
const EACH: usize = 3;

impl Answers {
    pub(super) fn decode(reply: Reply) -> Result<Self> {
        let numbers = reply.array()?.into_iter().map(|reply| Ok(u64::try_from(reply.int()?).unwrap_or(0)));
        let numbers = numbers.collect::<Result<Vec<_>>>()?;
        let &[now, healed, ..] = numbers.as_slice() else { return Err(odd()) };
        tell_healed(healed);
        Ok(Self { now, numbers, taken: 2 })
    }

    pub(super) fn next(&mut self, policies: &Policies) -> Result<Answer> {
        let begin = self.taken;
        self.taken += 1 + policies.len() * EACH;
        let Some([charged, numbers @ ..]) = self.numbers.get(begin..self.taken) else { return Err(odd()) };
        let readings = policies.iter().zip(numbers.chunks_exact(EACH));
        let readings = readings.map(|(policy, numbers)| (*policy, reading(policy, numbers))).collect();
        Ok(Answer { now: self.now, is_charged: *charged == 1, readings })
    }
}

fn reading(policy: &Policy, numbers: &[u64]) -> Reading {
    match policy.algorithm() {
        Algorithm::SlidingWindow => Reading::Log { used: numbers[0], oldest: numbers[1], room: numbers[2] },
        Algorithm::TokenBucket | Algorithm::Concurrency => Reading::Bucket { full_at: numbers[0], rest: numbers[1] },
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
