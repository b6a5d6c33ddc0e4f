//! Boards in Redis: sorted sets, changed and read by scripts.

mod reply;

use std::{fmt, sync::Arc};

use self::reply::{answers, odd, reading};
use super::{
    Answer, Begun, BoardId, Change, Finished, LeaderboardStore, Query, Ranking, Reading, Recorded, Rules, SourceRow,
    Update, rebuild::LOCK, rebuilds::Rebuilds,
};
use crate::{
    Cx, StoreFuture,
    clock::Timestamp,
    conn::{Recovery, RecoveryStep, Redis, Script, ScriptCall},
};

/// A script of boards: the guard, what all of them share, and its own part.
macro_rules! board_script {
    ($name:ident = $label:literal, $file:literal) => {
        static $name: Script = Script::new(
            $label,
            concat!(include_str!("../conn/guard.lua"), include_str!("redis/board.lua"), include_str!($file)),
        );
    };
}

board_script!(UPDATE = "leaderboard.update", "redis/update.lua");
board_script!(READ = "leaderboard.read", "redis/read.lua");
board_script!(REBUILD = "leaderboard.rebuild", "redis/rebuild.lua");

/// Keeps boards in Redis; every verb is one script call.
///
/// | key | what |
/// |---|---|
/// | `K` = `tk:{resource}:{id}:leaderboard`, the id in literal braces | a sorted set of members |
/// | `K:mark` | tells an empty board from a lost one, and how the board is kept |
/// | `K:reached` | a hash of when each score was reached, for ties by time |
/// | `K:scores` | a sorted set of the distinct scores, for dense ranks |
/// | `K:events` | a sorted set of the event ids of the last 24 hours |
/// | `K:rebuild`, `K:pending`, `K:rebuild:{token}...` | the lock of a rebuild, what waits for it, what is being built |
///
/// The board of a period has the period in the place of `K`: `tk:challenge:{42}:leaderboard:day:2026-11-22`.
///
/// **The scores in the sorted set are negated where the highest stands first**: `ZRANGE` then has them in the order of the board,
/// with equal scores by member ascending, which `ZREVRANGE` would turn round.
///
/// A member takes some 95 bytes; with ties by time some 60 more.
///
/// # When Redis is down
/// Every verb is unavailable. What a board with a source has missed is made good by a rebuild, see
/// [`Leaderboard::source`](super::Leaderboard::source).
#[derive(Clone)]
pub struct RedisLeaderboardStore {
    redis: Redis,
}

impl RedisLeaderboardStore {
    /// Boards behind this handle.
    pub fn new(redis: &Redis) -> Self {
        for script in [&UPDATE, &READ, &REBUILD] {
            redis.register(script);
        }
        Self { redis: redis.clone() }
    }

    fn key(&self, board: &BoardId) -> String {
        let key = self.redis.keys().leaderboard(board.name.resource(), board.name.id());
        match &board.window {
            Some(window) => format!("{key}:{window}"),
            None => key,
        }
    }

    fn call(&self, rules: &Rules, boards: &[BoardId]) -> ScriptCall {
        let mut call = ScriptCall::new();
        for board in boards {
            let key = self.key(board);
            for part in [":mark", ":reached", ":scores", ":events", ":pending", ":rebuild"] {
                if part == ":mark" {
                    call = call.key(key.as_str());
                }
                call = call.key(format!("{key}{part}"));
            }
        }
        let ranking = match rules.ranking {
            Ranking::Ordinal => "o",
            Ranking::Competition => "c",
            Ranking::Dense => "d",
        };
        let call = call.arg(rules.layout()).arg(ranking).int(u8::from(rules.has_source));
        call.int(rules.cap.map_or(0, std::num::NonZeroU32::get)).int(rules.remember.as_millis() as i128)
    }

    /// A call about what is being built with `token`.
    fn rebuild(&self, rules: &Rules, board: &BoardId, step: &str, token: &str) -> ScriptCall {
        let mut call = self.call(rules, std::slice::from_ref(board));
        let built = format!("{}:rebuild:{token}", self.key(board));
        call = call.key(built.as_str());
        for part in ["reached", "scores", "events"] {
            call = call.key(format!("{built}:{part}"));
        }
        call.arg(step).arg(token).int(LOCK.as_millis() as i128)
    }
}

fn expires(rules: &Rules, board: &BoardId) -> u64 {
    rules.expires(board).map_or(0, Timestamp::as_millis)
}

/// A score as Lua reads it, exactly.
fn number(score: f64) -> String {
    format!("{score:e}")
}

/// What `update.lua` is told to do.
fn operation(rules: &Rules, change: &Change, call: ScriptCall) -> ScriptCall {
    match change {
        Change::Record { member, score } => {
            let op = match rules.update {
                Update::Best => "b",
                Update::Lowest => "w",
                Update::Last => "l",
                Update::IfAbsent => "i",
                Update::Sum => "s",
            };
            call.arg(op).arg(member.as_str()).arg(number(*score)).arg("")
        }
        Change::Add { member, points, event } => {
            call.arg("a").arg(member.as_str()).arg(number(*points)).arg(event.as_str())
        }
        Change::Remove { member } => call.arg("r").arg(member.as_str()).arg("").arg(""),
    }
}

impl LeaderboardStore for RedisLeaderboardStore {
    fn now(&self, cx: &Cx) -> Timestamp {
        cx.now().unwrap_or_else(|| self.redis.now())
    }

    fn change(
        &self,
        cx: &Cx,
        rules: &Rules,
        boards: &[BoardId],
        change: &Change,
    ) -> StoreFuture<Vec<Answer<Recorded>>> {
        let call = operation(rules, change, self.call(rules, boards));
        let call = boards.iter().fold(call, |call, board| call.int(expires(rules, board)));
        self.redis.eval(cx, &UPDATE, call, answers)
    }

    fn read(&self, cx: &Cx, rules: &Rules, board: &BoardId, query: &Query) -> StoreFuture<Answer<Reading>> {
        let call = self.call(rules, std::slice::from_ref(board));
        let call = match query {
            Query::Page { offset, limit } => call.arg("page").int(*offset).int(*limit),
            Query::Around { member, rows } => call.arg("around").arg(member.as_str()).int(*rows),
            Query::Members(members) => {
                members.iter().fold(call.arg("members"), |call, member| call.arg(member.as_str()))
            }
            Query::Percentile(member) => call.arg("percentile").arg(member.as_str()),
        };
        let (rules, query) = (*rules, query.clone());
        self.redis.eval_read(cx, &READ, call, move |reply| reading(reply, &rules, &query))
    }

    fn reset(&self, cx: &Cx, rules: &Rules, boards: &[BoardId]) -> StoreFuture<()> {
        let call = self.call(rules, boards).arg("x").arg("").arg("").arg("");
        let call = boards.iter().fold(call, |call, board| call.int(expires(rules, board)));
        self.redis.eval(cx, &UPDATE, call, |reply| answers(reply).map(drop))
    }

    fn begin(&self, cx: &Cx, rules: &Rules, board: &BoardId, token: &str, force: bool) -> StoreFuture<Begun> {
        let call = self.rebuild(rules, board, "begin", token).int(u8::from(force));
        self.redis.eval(cx, &REBUILD, call, |reply| match reply.text()?.as_deref() {
            Some("begun") => Ok(Begun::Begun),
            Some("busy") => Ok(Begun::Busy),
            Some("done") => Ok(Begun::Done),
            _ => Err(odd()),
        })
    }

    fn load(&self, cx: &Cx, rules: &Rules, board: &BoardId, token: &str, rows: &[SourceRow]) -> StoreFuture<bool> {
        let mut call = self.rebuild(rules, board, "load", token);
        for row in rows {
            let reached = row.reached.map_or(String::new(), |at| at.as_millis().to_string());
            call = call.arg(row.member.as_str()).arg(number(row.score)).arg(reached).int(row.events.len() as u64);
            call = row.events.iter().fold(call, |call, event| call.arg(event.as_str()));
        }
        self.redis.eval(cx, &REBUILD, call, |reply| Ok(reply.text()?.as_deref() == Some("ok")))
    }

    fn finish(&self, cx: &Cx, rules: &Rules, board: &BoardId, token: &str) -> StoreFuture<Finished> {
        let call = self.rebuild(rules, board, "finish", token).int(expires(rules, board));
        self.redis.eval(cx, &REBUILD, call, |reply| match reply.text()?.as_deref() {
            Some("done") => Ok(Finished::Done),
            Some("more") => Ok(Finished::More),
            Some("gone") => Ok(Finished::Gone),
            _ => Err(odd()),
        })
    }
}

/// Whenever Redis is back, boards that have missed changes are rebuilt, once requests are served again.
pub(crate) struct CatchUp(pub(super) Rebuilds);

impl RecoveryStep for CatchUp {
    fn run(&self, _: Recovery) -> StoreFuture<()> {
        self.0.catch_all_up();
        StoreFuture::ok(())
    }
}

/// Boards in Redis, which are made good after an outage.
pub(crate) fn boards(redis: &Redis, background: crate::background::Background) -> super::Leaderboards {
    let boards = super::Leaderboards::new(RedisLeaderboardStore::new(redis)).background(background);
    let step = Arc::new(CatchUp(boards.rebuilds().clone()));
    let weak = Arc::downgrade(&step);
    redis.on_recovery(crate::conn::Stage::Records, weak);
    boards.keep_alive(step)
}

impl fmt::Debug for RedisLeaderboardStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLeaderboardStore").field("redis", &self.redis).finish()
    }
}
