//! Boards of ten thousand and of a million members: what a question and an update cost, and what the other records cost.

use std::time::Duration;

use towerkeep::{
    Keep, StoreFuture,
    action_log::Action,
    clock::minutes,
    counter::Counter,
    leaderboard::{BoardId, BoardSource, Leaderboard, SourcePage, SourceRow},
};
use towerkeep_benches::{Contender, RedisServer, compare};

const ROUNDS: usize = 7;
const PER_ROUND: usize = 1_000;
const FEW: u64 = 10_000;
const MANY: u64 = 1_000_000;
const REBUILT_WITHIN: Duration = Duration::from_secs(600);

/// So many members, every fourth score taken twice.
struct Members(u64);

impl BoardSource for Members {
    fn read(&self, _: &BoardId, after: Option<&str>, limit: usize) -> StoreFuture<SourcePage> {
        let first = after.map_or(0, |after| after.parse().expect("our own cursor"));
        let end = self.0.min(first + limit as u64);
        let rows = (first..end).map(|n| SourceRow::new(format!("member-{n:07}"), (n - n % 4 / 3) as f64)).collect();
        StoreFuture::ok(SourcePage { rows, next: (end < self.0).then(|| end.to_string()) })
    }
}

async fn filled(keep: &Keep, members: u64) -> Leaderboard {
    let board = keep.leaderboard(("bench", members)).source(Members(members));
    let patience = tokio::time::Instant::now() + REBUILT_WITHIN;
    while board.count().await.ok() != Some(members) {
        assert!(tokio::time::Instant::now() < patience, "a board of {members} was not rebuilt in {REBUILT_WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    board
}

/// The same question, asked again and again.
macro_rules! asks {
    ($name:expr, $handle:expr, |$own:ident| $ask:expr) => {{
        let handle = $handle.clone();
        Contender::new($name, move || {
            let $own = handle.clone();
            async move {
                $ask.await.expect("up");
            }
        })
    }};
}

async fn boards(server: &RedisServer, keep: &Keep) {
    let (few, many) = (filled(keep, FEW).await, filled(keep, MANY).await);
    let connection = server.client().await;
    let bare = Contender::new("ZRANGE of 100 rows, 1M members (floor)", move || {
        let mut connection = connection.clone();
        async move {
            let rows: Vec<(String, f64)> = redis::cmd("ZRANGE")
                .arg("tk:bench:{1000000}:leaderboard")
                .arg((0, 99))
                .arg("WITHSCORES")
                .query_async(&mut connection)
                .await
                .expect("up");
            assert_eq!(rows.len(), 100);
        }
    });
    let tops = vec![
        bare,
        asks!("top 100 of 10,000", few, |board| board.top(100)),
        asks!("top 100 of 1,000,000", many, |board| board.top(100)),
        asks!("around a member, 11 rows, 1,000,000", many, |board| board.around("member-0500000", 11)),
        asks!("rank of a member, 10,000", few, |board| board.rank_of("member-0005000")),
        asks!("rank of a member, 1,000,000", many, |board| board.rank_of("member-0500000")),
    ];
    compare("Questions to a leaderboard", ROUNDS, PER_ROUND, Some(server), tops).await;

    let connection = server.client().await;
    let mut n = 0.0;
    let bare = Contender::new("ZADD, 1M members (floor)", move || {
        let mut connection = connection.clone();
        n += 1.0;
        let score = n;
        async move {
            redis::cmd("ZADD").arg("bare").arg(score).arg("x").exec_async(&mut connection).await.expect("up");
        }
    });
    let updates = [("update and rank, 10,000", few), ("update and rank, 1,000,000", many)].map(|(name, board)| {
        let mut score = 1_000_000.0;
        Contender::new(name, move || {
            score += 1.0;
            let (board, score) = (board.clone(), score);
            async move {
                board.record("member-0005000", score).await.expect("up");
            }
        })
    });
    let all = [bare].into_iter().chain(updates).collect();
    compare("Updates of a leaderboard", ROUNDS, PER_ROUND, Some(server), all).await;
}

async fn records(server: &RedisServer, keep: &Keep) {
    let connection = server.client().await;
    let bare = Contender::new("INCR (floor)", move || {
        let mut connection = connection.clone();
        async move { redis::cmd("INCR").arg("bare:n").exec_async(&mut connection).await.expect("up") }
    });
    let views = Counter::views("post", 7);
    let (log, kv, counters) = (keep.actions().clone(), keep.kv().clone(), keep.counters().clone());
    let all = vec![
        bare,
        asks!("counter, waited for", (counters, views), |own| own.0.incr(&own.1)),
        asks!("action log, one entry", log, |log| log.append(42, "viewed")),
        asks!("action log, a batch of 100", log, |log| log.append_batch(42, vec![Action::new("viewed"); 100])),
        asks!("action log, the newest 100", log, |log| log.recent(42, 100)),
        asks!("plain value, set", kv, |kv| kv.set("k", "value", minutes(5))),
        asks!("plain value, get", kv, |kv| kv.get::<String>("k")),
    ];
    compare("Counters, action log, plain values", ROUNDS, PER_ROUND, Some(server), all).await;
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = RedisServer::start();
    // A busy machine is not what is measured.
    let keep = Keep::builder().redis(&server.url()).deadline(Duration::from_secs(2)).build().expect("a valid url");
    assert!(keep.ready(Duration::from_secs(5)).await);
    boards(&server, &keep).await;
    records(&server, &keep).await;
}
