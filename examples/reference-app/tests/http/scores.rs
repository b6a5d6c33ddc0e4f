//! Scores of challenges, and the places that they lead to.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    items, suite,
    support::{Answer, App, Browser},
};

const CHALLENGES: &str = "/api/v1/challenges";

suite![
    with ["--no-seed", "--trusted-proxy", "127.0.0.1/32"];
    only_participants_score_while_it_runs,
    a_score_tells_all_that_is_wrong,
    a_repeated_event_counts_once,
    scores_at_once_add_up_exactly,
    ties_share_a_place_by_the_ranking,
    ones_own_place_is_shown_among_others,
    a_flood_of_scores_is_slowed_down,
];

/// A running challenge that these users take part in.
async fn running(users: &mut [Browser], ranking: &str) -> String {
    let body = json!({
        "title": "Ten miles", "starts_at": "2020-01-01T00:00:00Z", "ends_at": "2120-01-01T00:00:00Z", "ranking": ranking,
    });
    let made = users[0].post(CHALLENGES, body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = made.header("location").to_owned();
    for user in users {
        assert_eq!(user.post(&format!("{path}/join"), json!({})).await.status, 201);
    }
    path
}

async fn score(user: &mut Browser, path: &str, event: &str, points: i64) -> Answer {
    user.post(&format!("{path}/scores"), json!({ "event_id": event, "points": points })).await
}

async fn users<const N: usize>(app: &App) -> [Browser; N] {
    let mut users = Vec::new();
    for n in 0..N {
        users.push(app.user_of(app.visitor().at(&format!("198.51.100.{n}")), &format!("user-{n}")).await);
    }
    users.try_into().unwrap_or_else(|_| unreachable!("as many as asked for"))
}

/// Place and score of each row.
fn places(page: &Answer) -> Vec<(i64, i64)> {
    let number = |value: &Value| value.as_i64().expect("a number");
    items(page).iter().map(|row| (number(&row["rank"]), number(&row["score"]))).collect()
}

async fn only_participants_score_while_it_runs(app: App) {
    let [mut alice, mut bob] = users(&app).await;
    let path = running(std::slice::from_mut(&mut alice), "competition").await;
    assert_eq!(score(&mut bob, &path, "e", 1).await.status, 403);
    assert_eq!(score(&mut app.visitor(), &path, "e", 1).await.status, 401);
    assert_eq!(score(&mut alice, &format!("{CHALLENGES}/7"), "e", 1).await.status, 404);
    let first = score(&mut alice, &path, "e", 1).await;
    assert_eq!(first.status, 201, "{first:?}");
    alice.patch(&path, json!({ "ends_at": "2020-01-02T00:00:00Z" })).await;
    let late = score(&mut alice, &path, "late", 1).await;
    assert_eq!((late.status, &late.body["detail"]), (409, &json!("this challenge is over")));
    let again = score(&mut alice, &path, "e", 1).await;
    assert_eq!((again.status, again.body), (200, first.body), "it was counted when it ran");
    alice.patch(&path, json!({ "starts_at": "2119-01-01T00:00:00Z", "ends_at": "2120-01-01T00:00:00Z" })).await;
    let early = score(&mut alice, &path, "early", 1).await;
    assert_eq!((early.status, &early.body["detail"]), (409, &json!("this challenge has not begun")));
}

async fn a_score_tells_all_that_is_wrong(app: App) {
    let [mut alice] = users(&app).await;
    let path = running(std::slice::from_mut(&mut alice), "competition").await;
    let scores = format!("{path}/scores");
    assert_eq!(alice.post(&scores, json!({ "bonus": 1 })).await.refused(), ["bonus", "event_id", "points"]);
    for points in [json!(0), json!(-1), json!(1_000_001), json!(1.5), json!("7"), json!(1e300)] {
        let refused = alice.post(&scores, json!({ "event_id": "e", "points": points })).await;
        assert_eq!(refused.refused(), ["points"], "{points}");
    }
    for event in [String::new(), "x".repeat(65), "a\u{0}b".to_owned()] {
        assert_eq!(score(&mut alice, &path, &event, 1).await.refused(), ["event_id"], "{event:?}");
    }
    assert_eq!(score(&mut alice, &path, &"ä".repeat(64), 1).await.status, 201);
}

async fn a_repeated_event_counts_once(app: App) {
    let [mut alice, mut bob] = users(&app).await;
    let path = running(&mut [alice.clone(), bob.clone()], "competition").await;
    let first = score(&mut alice, &path, "run-1", 10).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!((&first.body["total"], &first.body["rank"]), (&json!(10), &json!(1)));
    let again = score(&mut alice, &path, "run-1", 10).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    let other = score(&mut alice, &path, "run-1", 11).await;
    assert_eq!(other.status, 409, "{other:?}");
    let bobs = score(&mut bob, &path, "run-1", 11).await;
    assert_eq!((bobs.status, &bobs.body["rank"]), (201, &json!(1)), "an id is the participant's own");
    assert_eq!(score(&mut alice, &path, "run-2", 1).await.body["total"], 11);
    assert_eq!(places(&alice.get(&format!("{path}/leaderboard")).await), [(1, 11), (1, 11)]);
}

/// Four participants send sixteen scores each at once, a quarter of them the same one.
async fn scores_at_once_add_up_exactly(app: App) {
    let users: [Browser; 4] = users(&app).await;
    let path = running(&mut users.clone(), "competition").await;
    let mut scores = JoinSet::new();
    for user in &users {
        for n in 0..16 {
            let (mut user, path) = (user.clone(), path.clone());
            let event = if n % 4 == 0 { "same".to_owned() } else { format!("event-{n}") };
            scores.spawn(async move { score(&mut user, &path, &event, 10).await.status });
        }
    }
    let answers = scores.join_all().await;
    assert_eq!(answers.iter().filter(|status| **status == 201).count(), 4 * 13, "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 4 * 3, "{answers:?}");
    assert_eq!(places(&app.visitor().get(&format!("{path}/leaderboard")).await), [(1, 130); 4]);
}

/// Each page on its own: the cut is inside of the tie.
async fn ties_share_a_place_by_the_ranking(app: App) {
    let users: [Browser; 3] = users(&app).await;
    for (ranking, expected) in [("ordinal", [1, 2, 3]), ("competition", [1, 1, 3]), ("dense", [1, 1, 2])] {
        let path = running(&mut users.clone(), ranking).await;
        for (mut user, points) in users.clone().into_iter().zip([1200, 1500, 1500]) {
            assert_eq!(score(&mut user, &path, "e", points).await.status, 201);
        }
        let mut visitor = app.visitor();
        let board = format!("{path}/leaderboard");
        let whole = visitor.get(&board).await;
        let expected: Vec<_> = expected.into_iter().zip([1500, 1500, 1200]).collect();
        assert_eq!((places(&whole), &whole.body["next_cursor"]), (expected, &Value::Null), "{ranking}");
        let ids: Vec<_> = items(&whole)[..2].iter().map(|row| row["user_id"].to_string()).collect();
        assert!(ids.is_sorted(), "equals stand by their ids as texts: {ids:?}");
        assert_eq!(items(&whole)[2]["username"], "user-0");

        let (mut rows, mut next) = (Vec::new(), format!("{board}?limit=1"));
        loop {
            let page = visitor.get(&next).await;
            rows.extend(items(&page).clone());
            let Some(cursor) = page.body["next_cursor"].as_str() else { break };
            next = format!("{board}?limit=1&cursor={cursor}");
        }
        assert_eq!(&rows, items(&whole), "{ranking}");
        assert!(items(&visitor.get(&format!("{board}?cursor=7")).await).is_empty());
    }
    let refused = app.visitor().get(&format!("{CHALLENGES}/7/leaderboard?limit=0&cursor=-1")).await;
    assert_eq!(refused.refused(), ["cursor", "limit"]);
    assert_eq!(app.visitor().get(&format!("{CHALLENGES}/7/leaderboard")).await.status, 404);
}

async fn ones_own_place_is_shown_among_others(app: App) {
    let users: [Browser; 5] = users(&app).await;
    let path = running(&mut users.clone(), "dense").await;
    let me = format!("{path}/leaderboard/me");
    let [mut first, .., mut last] = users.clone();
    let nobody = first.get(&me).await;
    assert_eq!((nobody.status, &nobody.body["rank"], &nobody.body["score"]), (200, &Value::Null, &json!(0)));
    for (mut user, points) in users.into_iter().zip([50, 40, 40, 20, 10]) {
        assert_eq!(score(&mut user, &path, "e", points).await.status, 201);
    }
    let own = last.get(&format!("{me}?around=3")).await;
    assert_eq!((&own.body["rank"], &own.body["score"]), (&json!(4), &json!(10)), "{own:?}");
    assert_eq!(places(&own), [(2, 40), (3, 20), (4, 10)]);
    assert_eq!(places(&first.get(&format!("{me}?around=2")).await), [(1, 50), (2, 40)]);
    assert_eq!(places(&first.get(&me).await).len(), 5);
    for query in ["around=0", "around=101", "around=x", "rows=1"] {
        assert_eq!(first.get(&format!("{me}?{query}")).await.status, 422, "{query}");
    }
    assert_eq!(app.visitor().get(&me).await.status, 401);
    assert_eq!(first.get(&format!("{CHALLENGES}/7/leaderboard/me")).await.status, 404);
}

async fn a_flood_of_scores_is_slowed_down(app: App) {
    let [mut alice] = users(&app).await;
    let path = running(std::slice::from_mut(&mut alice), "competition").await;
    let mut scores = JoinSet::new();
    for n in 0..64 {
        let (mut alice, path) = (alice.clone(), path.clone());
        scores.spawn(async move { score(&mut alice, &path, &n.to_string(), 1).await.status });
    }
    let answers = scores.join_all().await;
    let of = |status| answers.iter().filter(|answer| **answer == status).count();
    assert!(of(201) >= 30 && of(429) > 0 && of(201) + of(429) == 64, "{answers:?}");
}
