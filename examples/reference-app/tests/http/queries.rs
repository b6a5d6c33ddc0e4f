//! What a list costs the database: the same with one row and with many.

use http::Method;
use serde_json::json;

use crate::{
    items,
    support::{Browser, postgres::Postgres, queries::Counting},
};

const ROWS: usize = 50;

/// The paths, the statements that each may send, and whether it lists all rows that were added.
const LISTS: [(&str, usize, bool); 9] = [
    ("/api/v1/bookmarks?limit=100", 1, true),
    ("/api/v1/tasks?limit=100", 1, true),
    ("/api/v1/tasks?status=pending&priority=urgent&limit=100", 1, true),
    ("/api/v1/search?q=thing&type=bookmarks&limit=100", 1, true),
    ("/api/v1/search?q=thing&type=tasks&limit=100", 1, true),
    ("/api/v1/search?q=***", 0, false),
    ("/api/v1/analytics/dashboard?days=90", 1, false),
    ("/api/v1/recommendations?limit=100", 2, false),
    ("/api/v1/auth/me", 1, false),
];

async fn add_things(counting: &Counting, user: &mut Browser, many: usize) {
    for n in 0..many {
        let tags = [format!("tag {n}"), "all".to_owned()];
        let bookmark = json!({ "url": "https://example.com", "title": format!("thing {n}"), "tags": tags });
        let task = json!({ "title": format!("thing {n}"), "priority": "urgent", "tags": tags });
        for (path, body) in [("/api/v1/bookmarks", bookmark), ("/api/v1/tasks", task)] {
            let (_, made) = counting.send(user, Method::POST, path, Some(body)).await;
            assert_eq!(made.status, 201, "{made:?}");
        }
    }
}

async fn every_list_has_its_price(counting: &Counting) {
    for (name, many) in [("one", 1), ("many", ROWS)] {
        let mut user = counting.app().user(name).await;
        add_things(counting, &mut user, many).await;
        for (path, statements, lists_all) in LISTS {
            let answer = counting.asks(&mut user, path, statements).await;
            assert!(!lists_all || items(&answer).len() == many, "{path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn no_list_asks_once_more_for_each_row() {
    every_list_has_its_price(&Counting::start(&["--no-seed"])).await;
}

#[tokio::test]
async fn no_list_asks_once_more_for_each_row_on_postgresql() {
    let Some(mut server) = Postgres::start().await else { return };
    every_list_has_its_price(&Counting::start(&["--database", &server.database().await])).await;
}
