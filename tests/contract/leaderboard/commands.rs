//! What a verb costs on a real server: one script call, and no more inside of it the more members there are.

use std::collections::BTreeMap;

use super::*;

/// A board in Redis, and how many commands reach the server from outside of scripts, by name.
async fn calls(server: &RedisServer, work: impl Future<Output = ()>) -> u64 {
    let calls = server.commands_during(work).await;
    // The handle's own probes are none of these.
    for single in ["eval", "script|load", "sadd"] {
        assert_eq!(calls.get(single), None, "{calls:?}");
    }
    calls.get("evalsha").copied().unwrap_or(0)
}

#[tokio::test]
async fn every_verb_is_one_script_call() {
    let server = RedisServer::start();
    let boards = Leaderboards::new(RedisLeaderboardStore::new(&patient(&server).await));
    let board = boards.board(("challenge", 42)).ranking(Ranking::Dense).ties(TieBreak::FirstToReach);
    // Loads the scripts.
    board.record("warm", 1.0).await.expect("up");
    board.top(1).await.expect("up");
    let verbs = calls(&server, async {
        board.record("a", 1500.0).await.expect("up");
        board.add("a", 1.0, "e1").await.expect("up");
        board.top(100).await.expect("up");
        board.page(1, 100).await.expect("up");
        board.around("a", 9).await.expect("up");
        board.rank_of("a").await.expect("up");
        board.many(["a", "b", "c"]).await.expect("up");
        board.percentile("a").await.expect("up");
        board.count().await.expect("up");
        board.remove("a").await.expect("up");
        board.reset().await.expect("up");
    });
    assert_eq!(verbs.await, 11);
}

#[tokio::test]
async fn a_script_runs_no_more_commands_on_a_large_board() {
    let server = RedisServer::start();
    let boards = Leaderboards::new(RedisLeaderboardStore::new(&patient(&server).await));
    boards.board("warm").record(1, 1.0).await.expect("loads the script");
    boards.board("warm").top(1).await.expect("loads the script");
    let mut costs = Vec::new();
    for members in [150u32, 3_000] {
        let board = boards.board(("size", members)).ranking(Ranking::Dense);
        for first in (0..members).step_by(50) {
            let records = (first..first + 50).map(|n| {
                let board = board.clone();
                tokio::spawn(async move { board.record(n, f64::from(n / 3)).await.expect("up") })
            });
            for record in records.collect::<Vec<_>>() {
                record.await.expect("no panic");
            }
        }
        board.remove(7).await.expect("up");
        let mut spent = work(&server, &board).await;
        // The handle has told that it is alive meanwhile, which takes such commands, too.
        while spent.contains_key("zremrangebyscore") {
            spent = work(&server, &board).await;
        }
        spent.retain(|command, _| command.starts_with('z') || command == "evalsha");
        costs.push(spent);
    }
    assert_eq!(costs[0], costs[1]);
}

/// What some verbs make the server do.
async fn work(server: &RedisServer, board: &Leaderboard) -> BTreeMap<String, u64> {
    let verbs = async {
        board.record(7, 1e6).await.expect("up");
        board.remove(7).await.expect("up");
        board.top(100).await.expect("up");
        board.around(70, 100).await.expect("up");
        board.percentile(70).await.expect("up");
    };
    server.commands_during(verbs).await
}
