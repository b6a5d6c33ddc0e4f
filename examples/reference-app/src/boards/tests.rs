use super::*;
use crate::database::{
    Database,
    challenges::{Challenges, NewChallenge},
    participants::Participants,
    scores::Recorded,
    users::Users,
};

const USERS: usize = 102;

/// A challenge with a score of each user, many of them equal.
async fn challenge(database: &Database, boards: &Boards, ranking: Ranking, users: &[i64]) -> Challenge {
    let (challenges, participants) = (Challenges::new(database.clone()), Participants::new(database.clone()));
    let new = NewChallenge {
        title: "Ten miles".to_owned(),
        description: None,
        starts_at: "2020-01-01T00:00:00Z".parse().expect("a time"),
        ends_at: "2120-01-01T00:00:00Z".parse().expect("a time"),
        capacity: None,
        ranking: Some(ranking),
    };
    let challenge = challenges.create(users[0], &new).await.expect("stored");
    for (n, user) in (0..).zip(users) {
        participants.join(challenge.id, *user).await.expect("joined");
        let recorded = boards.scores.record(challenge.id, *user, "e", n % 7 + 1).await.expect("stored");
        let Recorded::Now(event) = recorded else { panic!("{recorded:?}") };
        boards.place(&event).await.expect("a place");
    }
    challenge
}

/// All pages of this size, and what is around some users.
async fn views(boards: &Boards, of: &Challenge, limit: i64, users: &[i64], source: Source) -> Vec<Vec<Entry>> {
    let mut views = Vec::new();
    for offset in (0..).step_by(size(limit)) {
        let (rows, has_more, told) = boards.rows(of, Slice { limit, offset }).await.expect("a page");
        assert_eq!(told, source);
        views.push(rows);
        if !has_more {
            break;
        }
    }
    for user in users.iter().step_by(17) {
        let (rows, told) = boards.around(of, *user, limit).await.expect("rows");
        assert_eq!(told, source);
        views.push(rows);
    }
    views
}

#[tokio::test]
async fn board_and_database_agree_on_every_page() {
    let (_dir, database) = crate::database::in_a_file().await;
    let keep = Keep::in_memory();
    let boards = Boards::new(keep.clone(), Places::new(database.clone()), Scores::new(database.clone()));
    let mut users = Vec::new();
    for n in 0..USERS {
        let user = Users::new(database.clone()).create(&format!("user-{n}"), "-", false).await.expect("stored");
        users.push(user.expect("a new name").id);
    }
    for ranking in [Ranking::Ordinal, Ranking::Competition, Ranking::Dense] {
        let challenge = challenge(&database, &boards, ranking, &users).await;
        for limit in [1, 2, 9, 100] {
            let of_board = views(&boards, &challenge, limit, &users, Source::Board).await;
            keep.force_outage(true);
            let of_database = views(&boards, &challenge, limit, &users, Source::Database).await;
            keep.force_outage(false);
            assert_eq!(of_board, of_database, "{ranking:?}, {limit} rows a page");
            let pages = USERS.div_ceil(size(limit));
            assert_eq!(of_board[..pages].iter().map(Vec::len).sum::<usize>(), USERS);
        }
    }
}
