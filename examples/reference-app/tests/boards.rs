//! Leaderboards in a real Redis that is emptied, cut off and killed: what was scored is never lost, nor counted twice.
mod support;

use std::net::SocketAddr;

use serde_json::{Value, json};
use support::{
    Answer, App, Browser,
    servers::{FaultProxy, Mode, RedisServer, eventually},
};
use tokio::task::JoinSet;

const CHALLENGES: &str = "/api/v1/challenges";

/// Some users who take part in a running challenge.
struct Race {
    users: Vec<Browser>,
    path: String,
    /// The key of its board.
    key: String,
}

impl Race {
    async fn start(mut users: Vec<Browser>, ranking: &str) -> Self {
        let body = json!({
            "title": "Ten miles", "ranking": ranking, "starts_at": "2020-01-01T00:00:00Z",
            "ends_at": "2120-01-01T00:00:00Z",
        });
        let made = users[0].post(CHALLENGES, body).await;
        let path = made.header("location").to_owned();
        for user in &mut users {
            assert_eq!(user.post(&format!("{path}/join"), json!({})).await.status, 201);
        }
        Self { users, key: format!("tk:challenge:{{{}}}:leaderboard", made.body["id"]), path }
    }

    async fn score(&self, user: usize, event: &str, points: i64) -> Answer {
        let body = json!({ "event_id": event, "points": points });
        self.users[user].clone().post(&format!("{}/scores", self.path), body).await
    }

    /// The whole leaderboard, as `source` tells it, as soon as it does.
    async fn told_by(&self, app: &App, source: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        eventually(&format!("the leaderboard of the {source}"), async || {
            let page = self.page(app).await;
            rows = page.body["items"].as_array().cloned().unwrap_or_default();
            page.body["source"] == source
        })
        .await;
        rows
    }

    /// The whole leaderboard, the same row by row, and what each user sees around them: as soon as `source` tells all of it.
    async fn views(&self, app: &App, source: &str) -> Vec<Vec<Value>> {
        let mut views = Vec::new();
        eventually(&format!("all of it is told by the {source}"), async || {
            views = vec![self.told_by(app, source).await];
            let (rows, mut sources) = self.row_by_row(app).await;
            views.push(rows);
            for user in self.users.clone() {
                let own = user.elsewhere().get(&format!("{}/leaderboard/me?around=2", self.path)).await;
                views.push(own.body["items"].as_array().expect("rows").clone());
                sources.push(own.body["source"].clone());
            }
            sources.iter().all(|told| told == source)
        })
        .await;
        views
    }

    /// Pages of one row, and who told each.
    async fn row_by_row(&self, app: &App) -> (Vec<Value>, Vec<Value>) {
        let (mut visitor, mut query) = (app.visitor().elsewhere(), "limit=1".to_owned());
        let (mut rows, mut sources) = (Vec::new(), Vec::new());
        loop {
            let page = visitor.get(&format!("{}/leaderboard?{query}", self.path)).await;
            rows.extend(page.body["items"].as_array().expect("rows").clone());
            sources.push(page.body["source"].clone());
            let Some(cursor) = page.body["next_cursor"].as_str() else { return (rows, sources) };
            query = format!("limit=1&cursor={cursor}");
        }
    }

    async fn page(&self, app: &App) -> Answer {
        let page = app.visitor().elsewhere().get(&format!("{}/leaderboard?limit=100", self.path)).await;
        assert_eq!(page.status, 200, "{page:?}");
        page
    }

    /// Waits until the board has what the database has: the sum of these points by user.
    async fn board_has(&self, redis: &RedisServer, sums: &[i64]) {
        let mut expected = sums.to_vec();
        expected.sort_unstable();
        eventually(&format!("the board has {expected:?}"), async || self.sums_on_board(redis).await == expected).await;
    }

    /// The scores that the sorted set holds; the highest stands first in it by being negated.
    async fn sums_on_board(&self, redis: &RedisServer) -> Vec<i64> {
        let rows: Vec<(String, f64)> = redis::cmd("ZRANGE")
            .arg(&self.key)
            .arg(0)
            .arg(-1)
            .arg("WITHSCORES")
            .query_async(&mut redis.client().await)
            .await
            .expect("a sorted set");
        let mut sums: Vec<_> = rows.into_iter().map(|(_, score)| score.abs() as i64).collect();
        sums.sort_unstable();
        sums
    }
}

/// Users at addresses of their own.
async fn users(app: &App, count: usize) -> Vec<Browser> {
    let mut users = Vec::new();
    for n in 0..count {
        users.push(app.user_of(app.visitor().elsewhere(), &format!("user-{n}")).await);
    }
    users
}

fn start(redis: &str, more: &[&str]) -> App {
    App::start(&[&["--no-seed", "--trusted-proxy", "127.0.0.1/32", "--redis", redis], more].concat())
}

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("redis://").parse().expect("an address")
}

#[tokio::test]
async fn the_board_and_the_database_agree_in_all_rankings() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(address(&redis.url())).await;
    let app = start(&proxy.url(), &[]);
    app.says("ok").await;
    let users = users(&app, 3).await;
    let (mut races, mut told) = (Vec::new(), Vec::new());
    for (ranking, expected) in [("ordinal", [1, 2, 3]), ("competition", [1, 1, 3]), ("dense", [1, 1, 2])] {
        let race = Race::start(users.clone(), ranking).await;
        for (user, points) in [1200, 1500, 1500].into_iter().enumerate() {
            assert_eq!(race.score(user, "e", points).await.status, 201);
        }
        race.board_has(&redis, &[1200, 1500, 1500]).await;
        let views = race.views(&app, "board").await;
        let ranks: Vec<_> = views[0].iter().map(|row| row["rank"].clone()).collect();
        assert_eq!(ranks, expected, "{ranking}");
        assert_eq!(views[0], views[1], "page by page, {ranking}");
        races.push(race);
        told.push(views);
    }
    proxy.set(Mode::Reset);
    app.says("degraded").await;
    for (race, told) in races.iter().zip(&told) {
        assert_eq!(&race.views(&app, "database").await, told);
    }
}

#[tokio::test]
async fn a_board_deleted_while_it_is_written_to_is_rebuilt_and_equals_the_database() {
    let redis = RedisServer::start();
    let app = start(&redis.url(), &[]);
    app.says("ok").await;
    let race = std::sync::Arc::new(Race::start(users(&app, 4).await, "competition").await);
    let mut scores = JoinSet::new();
    for n in 0..64 {
        let race = std::sync::Arc::clone(&race);
        scores.spawn(async move { race.score(n % 4, &format!("event-{}", n / 8), 10).await.status });
    }
    let mut client = redis.client().await;
    let mut counted = 0;
    while let Some(status) = scores.join_next().await {
        counted += usize::from(status.expect("no panic") == 201);
        if counted % 9 == 0 {
            redis::cmd("DEL").arg(&race.key).query_async::<()>(&mut client).await.expect("deleted");
        }
    }
    assert_eq!(counted, 32, "each event was sent twice");
    race.board_has(&redis, &[80; 4]).await;
    redis.flush().await;
    let rows = race.told_by(&app, "board").await;
    assert_eq!(rows.iter().map(|row| &row["score"]).collect::<Vec<_>>(), [80; 4]);
    race.board_has(&redis, &[80; 4]).await;
}

#[tokio::test]
async fn what_is_scored_while_redis_is_gone_reaches_the_board() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(address(&redis.url())).await;
    let app = start(&proxy.url(), &[]);
    app.says("ok").await;
    let race = Race::start(users(&app, 3).await, "dense").await;
    assert_eq!(race.score(0, "first", 100).await.status, 201);
    for mode in [Mode::Hold, Mode::Reset] {
        proxy.set(mode);
        let event = format!("{mode:?}");
        let answers = [race.score(0, &event, 100).await, race.score(1, &event, 200).await];
        for answer in &answers {
            assert_eq!((answer.status, &answer.body["source"]), (201, &json!("database")), "{answer:?}");
        }
        app.says("degraded").await;
        let repeated = race.score(1, &event, 200).await;
        assert_eq!((repeated.status, &repeated.body["source"]), (200, &json!("database")), "{repeated:?}");
        let told = race.told_by(&app, "database").await;
        proxy.set(Mode::Pass);
        app.says("ok").await;
        eventually("the board caught up", async || race.told_by(&app, "board").await == told).await;
    }
    race.board_has(&redis, &[300, 400]).await;
}

#[tokio::test]
async fn what_a_killed_instance_left_behind_reaches_the_board_once() {
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let database = format!("sqlite:{}", dir.path().join("shared.db").display());
    let app = start(&redis.url(), &["--database", &database]);
    app.says("ok").await;
    let race = Race::start(users(&app, 2).await, "competition").await;
    race.score(0, "there", 10).await;
    race.board_has(&redis, &[10]).await;
    redis.kill();
    assert_eq!(race.score(0, "left", 10).await.status, 201);
    assert_eq!(race.score(1, "left", 30).await.status, 201);
    drop(app);
    redis.launch();
    let apps = [start(&redis.url(), &["--database", &database]), start(&redis.url(), &["--database", &database])];
    let pool = sqlx::SqlitePool::connect(&database).await.expect("the database of both");
    eventually("nothing waits", async || {
        let waiting = sqlx::query_as::<_, (i64,)>("SELECT COUNT(*) FROM score_events WHERE on_board_at IS NULL");
        waiting.fetch_one(&pool).await.expect("a count").0 == 0
    })
    .await;
    assert_eq!(race.sums_on_board(&redis).await, [20, 30], "two sweep, and each event counts once");
    for app in &apps {
        app.says("ok").await;
    }
}

#[tokio::test]
async fn a_board_that_has_gone_back_to_a_snapshot_is_rebuilt() {
    let mut redis = RedisServer::start();
    let app = start(&redis.url(), &[]);
    app.says("ok").await;
    let race = Race::start(users(&app, 2).await, "competition").await;
    race.score(0, "before", 10).await;
    race.score(1, "before", 20).await;
    race.board_has(&redis, &[10, 20]).await;
    redis::cmd("SAVE").query_async::<()>(&mut redis.client().await).await.expect("a snapshot");
    race.score(0, "after", 30).await;
    race.board_has(&redis, &[20, 40]).await;
    redis.kill();
    app.says("degraded").await;
    redis.launch();
    race.board_has(&redis, &[20, 40]).await;
}

#[tokio::test]
async fn a_list_makes_at_most_two_queries() {
    let redis = RedisServer::start();
    let app = App::start_with_queries(&["--no-seed", "--trusted-proxy", "127.0.0.1/32", "--redis", &redis.url()]);
    app.says("ok").await;
    let race = Race::start(users(&app, 3).await, "competition").await;
    for user in 0..3 {
        race.score(user, "e", 10).await;
    }
    let mut user = race.users[0].clone();
    for source in ["board", "database"] {
        race.told_by(&app, source).await;
        for path in [
            CHALLENGES.to_owned(),
            format!("{}/leaderboard?limit=9", race.path),
            format!("{}/leaderboard/me", race.path),
        ] {
            let queries = app.queries_during(async { assert_eq!(user.get(&path).await.status, 200) }).await;
            assert!((1..=2).contains(&queries), "{path}: {queries}");
        }
        redis.freeze();
    }
}
