//! Counters in Redis: plain integers, and marks by which a flush counts once.

mod slot;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{Counter, CounterStore, Counters, Flush, FlushId, batch::Outlet, store::out_of_range};
use crate::{
    Cx, Error, Result, StoreFuture,
    background::Background,
    clock::days,
    conn::{Command, Recovery, RecoveryStep, Redis, Reply, ScriptCall, Stage, guarded_script},
};

guarded_script!(static ADD = "counter_add", "add.lua");

/// How long the mark of a writer lives after its last flush: longer than any outage that a flush should outlive.
const MARK_LIFE: Duration = days(7);
/// Script calls of a flush that are under way at once.
const AT_ONCE: usize = 64;

/// Counts in Redis, as plain integers that other programs can read and add to.
///
/// | verb | commands |
/// |---|---|
/// | add | one script (`INCRBY`, and `GET`, because a script's numbers hold only 53 bits) |
/// | read | `GET` for each, in one trip |
/// | reset | `UNLINK` |
/// | apply | one script for each slot of Redis Cluster that the flush touches, up to 64 under way at once |
///
/// A script's keys must lie in one slot, and counters lie anywhere. So a flush goes out as one call for each slot, and
/// each has its own mark there: `tk:counter:flush:{n}:{writer}` holds the number of the writer's last flush, and the
/// call that brings it again does nothing. Marks are at most 16,384 for each running process, whatever it counts, and
/// expire after seven days: only an outage longer than that can have the flush counted twice that was under way when it
/// began.
///
/// # When Redis is down
/// Every verb is unavailable. A call that reaches Redis after its deadline does nothing.
#[derive(Clone)]
pub struct RedisCounterStore {
    redis: Redis,
}

impl RedisCounterStore {
    /// Counts behind this handle.
    pub fn new(redis: &Redis) -> Self {
        redis.register(&ADD);
        Self { redis: redis.clone() }
    }

    /// A handle that flushes what it gathered during an outage before anybody else uses Redis again.
    pub fn with_recovery(redis: &Redis) -> Counters {
        Self::recovering(redis, Background::default())
    }

    pub(crate) fn recovering(redis: &Redis, background: Background) -> Counters {
        let counters = Counters::over(Self::new(redis), background);
        let step = Arc::new(Recover(Arc::downgrade(counters.outlet())));
        let weak: Weak<Recover> = Arc::downgrade(&step);
        redis.on_recovery(Stage::Records, weak);
        counters.keep_alive(step);
        counters
    }

    fn key(&self, counter: &Counter) -> String {
        counter.key(self.redis.keys())
    }

    /// What a flush adds, by the slots of Redis Cluster.
    fn by_slot(&self, flush: &Flush) -> Vec<(u16, Vec<(String, i64)>)> {
        let mut slots: BTreeMap<u16, Vec<(String, i64)>> = BTreeMap::new();
        for (counter, by) in flush.additions() {
            let key = self.key(counter);
            slots.entry(slot::of(&key)).or_default().push((key, *by));
        }
        slots.into_iter().collect()
    }

    /// One slot's part of a flush; answers how many counters refused.
    fn apply_part(&self, cx: &Cx, id: &FlushId, slot: u16, part: &[(String, i64)]) -> StoreFuture<usize> {
        let mark = self.redis.keys().counter_flush(&slot::tag(slot).to_string(), id.writer());
        let mut call = ScriptCall::new().key(mark);
        for (key, _) in part {
            call = call.key(key.as_str());
        }
        let life = u64::try_from(MARK_LIFE.as_millis()).unwrap_or(u64::MAX);
        call = call.int(id.number()).int(life);
        for (_, by) in part {
            call = call.int(*by);
        }
        let asked = part.len();
        self.redis.eval(cx, &ADD, call, move |reply| refused(reply, asked))
    }
}

/// How many of the counters of a call refused.
fn refused(reply: Reply, asked: usize) -> Result<usize> {
    let answers = reply.array()?.into_iter().map(Reply::text).collect::<Result<Vec<_>>>()?;
    match answers.as_slice() {
        [Some(done)] if done == "done" => Ok(0),
        all if all.len() == asked => Ok(all.iter().filter(|answer| value(answer.as_deref()).is_err()).count()),
        _ => Err(odd_answer()),
    }
}

/// What the script tells of one counter.
fn value(answer: Option<&str>) -> Result<i64> {
    if answer == Some("over") { Err(out_of_range()) } else { integer(answer) }
}

/// A stored value, exactly as Redis itself reads integers; 0 where there is none.
fn integer(text: Option<&str>) -> Result<i64> {
    let Some(text) = text else { return Ok(0) };
    let number = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
    number.ok_or_else(|| Error::corrupt("a counter's value in redis is no integer; reset it, or find who wrote it"))
}

fn odd_answer() -> Error {
    Error::corrupt("the counter script answered something else than it should")
}

impl CounterStore for RedisCounterStore {
    fn add(&self, cx: &Cx, counter: &Counter, by: i64) -> StoreFuture<i64> {
        let call = ScriptCall::new().key(self.key(counter)).arg("").arg("").int(by);
        self.redis.eval(cx, &ADD, call, |reply| {
            let answer = reply.array()?.pop().ok_or_else(odd_answer)?.text()?;
            value(answer.as_deref())
        })
    }

    fn read(&self, cx: &Cx, counters: &[Counter]) -> StoreFuture<Vec<i64>> {
        let commands = counters.iter().map(|counter| Command::read("GET").arg(self.key(counter))).collect();
        self.redis.pipeline(cx, commands, |replies| {
            replies.into_iter().map(|reply| integer(reply?.text()?.as_deref())).collect()
        })
    }

    fn reset(&self, cx: &Cx, counter: &Counter) -> StoreFuture<()> {
        self.redis.call(cx, Command::in_time("UNLINK").arg(self.key(counter)), |reply| reply.int().map(drop))
    }

    fn apply(&self, cx: &Cx, flush: &Flush) -> StoreFuture<usize> {
        let (store, cx, flush) = (self.clone(), cx.clone(), flush.clone());
        StoreFuture::submit(async move {
            let mut all_refused = 0;
            for parts in store.by_slot(&flush).chunks(AT_ONCE) {
                let sent: Vec<_> =
                    parts.iter().map(|(slot, part)| store.apply_part(&cx, flush.id(), *slot, part)).collect();
                for answer in sent {
                    all_refused += answer.await?;
                }
            }
            Ok(all_refused)
        })
    }
}

/// Flushes what was gathered during an outage.
struct Recover(Weak<Outlet>);

impl RecoveryStep for Recover {
    fn run(&self, recovery: Recovery) -> StoreFuture<()> {
        let Some(outlet) = self.0.upgrade() else { return StoreFuture::ok(()) };
        let store = RedisCounterStore { redis: recovery.redis };
        StoreFuture::boxed(async move {
            let flushed = outlet.flush_by(&move |flush| store.apply(&Cx::new(), flush)).await;
            // The task that has waited out the outage need not wait on.
            outlet.hurry();
            flushed
        })
    }
}

impl fmt::Debug for RedisCounterStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCounterStore").field("redis", &self.redis).finish()
    }
}
