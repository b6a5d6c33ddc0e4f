//! Trends counted in Redis, over all instances.

use std::time::Duration;

use super::{
    Trend, TrendingStore, Window,
    board::{KEPT, LONGEST, MOST},
    window::Grain,
};
use crate::{
    Cx, Error, Result, StoreFuture,
    clock::{Timestamp, micros, seconds},
    conn::{Redis, Reply, ScriptCall, guarded_script},
};

guarded_script!(static RECORD = "trending_record", "record.lua");
guarded_script!(static TOP = "trending_top", "top.lua");
guarded_script!(static REMOVE = "trending_remove", "remove.lua");

/// Counts in Redis: one ranking over all instances. Every verb is one script.
///
/// 1. `tk:{marketplace:trending}:hour-{n}` and `:day-{n}` (the first braces literal: all keys of a board are in one slot of
///    Redis Cluster) are sorted sets of views, numbered by hours and days since 1970. They expire when no window
///    looks at them any more.
/// 2. `tk:{marketplace:trending}:day`, `:week` and `:month` are the rankings: the best 100 by score. They are made when
///    somebody asks, and last some seconds; so that is how old an answer may be.
/// 3. A ranking is made of at most 30 buckets of 1,250 items, which takes Redis some 8 ms; with 10,000 items a bucket it would take
///    longer than an operation may.
#[derive(Clone, Debug)]
pub struct RedisTrendingStore {
    redis: Redis,
    fresh_for: Duration,
}

/// How old a ranking may be.
const FRESH: Duration = seconds(5);

impl RedisTrendingStore {
    /// Counts behind this handle.
    pub fn new(redis: &Redis) -> Self {
        for script in [&RECORD, &TOP, &REMOVE] {
            redis.register(script);
        }
        Self { redis: redis.clone(), fresh_for: FRESH }
    }

    /// How old a ranking may be; zero has each question sum anew. Defaults to 5 s.
    #[must_use]
    pub fn fresh_for(mut self, time: Duration) -> Self {
        self.fresh_for = time;
        self
    }

    fn now(&self, cx: &Cx) -> Timestamp {
        cx.now().unwrap_or_else(|| self.redis.now())
    }

    fn bucket(&self, board: &str, grain: Grain, number: u64) -> String {
        self.redis.keys().trending(board, &grain.name(number))
    }

    fn ranking(&self, board: &str, window: Window) -> String {
        self.redis.keys().trending(board, window.as_str())
    }
}

impl TrendingStore for RedisTrendingStore {
    fn record(&self, cx: &Cx, board: &str, item: &str, weight: u32) -> StoreFuture<()> {
        let now = self.now(cx);
        let mut call = ScriptCall::new().arg(item).int(weight).int(KEPT as u64).int(MOST as u64);
        for grain in Grain::ALL {
            call = call.key(self.bucket(board, grain, grain.at(now))).int(millis(grain.lasts(now)));
        }
        self.redis.eval(cx, &RECORD, call, |_| Ok(()))
    }

    fn top(&self, cx: &Cx, board: &str, window: Window, count: usize) -> StoreFuture<Vec<Trend>> {
        let call = ScriptCall::new().key(self.ranking(board, window));
        let mut call = call.int(millis(self.fresh_for)).int(LONGEST as u64);
        for (bucket, worth) in window.buckets(self.now(cx)) {
            call = call.key(self.bucket(board, window.grain(), bucket)).int(worth);
        }
        self.redis.eval(cx, &TOP, call, move |reply| {
            let mut trends = trends(reply)?;
            trends.sort_unstable_by(Trend::order);
            trends.truncate(count);
            Ok(trends)
        })
    }

    fn remove(&self, cx: &Cx, board: &str, item: &str) -> StoreFuture<bool> {
        let now = self.now(cx);
        let mut call = ScriptCall::new().arg(item);
        for window in Window::ALL {
            call = call.key(self.ranking(board, window));
        }
        for (grain, bucket) in
            Grain::ALL.into_iter().flat_map(|grain| grain.all(now).map(move |bucket| (grain, bucket)))
        {
            call = call.key(self.bucket(board, grain, bucket));
        }
        self.redis.eval(cx, &REMOVE, call, |reply| Ok(reply.int()? > 0))
    }
}

fn millis(time: Duration) -> u64 {
    micros(time).div_ceil(1_000)
}

/// Items and sums by turns. An item that is no text is another program's, and left out.
fn trends(reply: Reply) -> Result<Vec<Trend>> {
    let mut replies = reply.array()?.into_iter();
    let mut trends = Vec::new();
    while let (Some(item), Some(sum)) = (replies.next(), replies.next()) {
        let sum = sum.text()?.and_then(|sum| sum.parse::<f64>().ok());
        let sum = sum.ok_or_else(|| Error::corrupt("a ranking in redis has a score that is no number"))?;
        if let Some(Ok(item)) = item.bytes()?.map(String::from_utf8) {
            trends.push(Trend { item, score: sum });
        }
    }
    Ok(trends)
}
