//! The rules as rows: each is played through the layer over memory, and over a real Redis.

mod age;
mod authorization;
mod cache_status;
mod conditional;
mod directives;
mod fields;
mod freshness;
mod head;
mod keys;
mod methods;
mod play;
mod ranges;
mod requests;
mod stale;
mod statuses;
mod steps;
mod targeted;
mod validation;
mod vary;

use std::collections::BTreeSet;

use play::{memory, play, redis};
use steps::Row;

macro_rules! topics {
    ($($topic:ident)+) => {
        mod in_memory {
            $(#[tokio::test] async fn $topic() {
                super::play(stringify!($topic), super::$topic::rows(), super::memory()).await;
            })+
        }

        mod in_redis {
            $(#[tokio::test] async fn $topic() {
                let (_server, store) = super::redis().await;
                super::play(stringify!($topic), super::$topic::rows(), store).await;
            })+
        }

        fn all() -> Vec<Row> {
            let mut all = Vec::new();
            $(all.extend($topic::rows());)+
            all
        }
    };
}

topics! {
    freshness age validation conditional vary requests directives authorization methods ranges head statuses fields stale
    targeted cache_status keys
}

/// Their number is told by the test itself: `--nocapture` shows it.
#[test]
fn there_are_at_least_400_rows_and_each_has_its_own_name() {
    let rows = all();
    let names: BTreeSet<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len(), "two rows share a name");
    println!("{} rows", rows.len());
    assert!(rows.len() >= 400, "{} rows", rows.len());
}
