//! One board, as pure functions of its state: what the scripts do in Redis.

use std::collections::{BTreeMap, HashMap};

use super::{
    Trend, Window,
    window::{Grain, ONE},
};
use crate::clock::Timestamp;

/// A bucket is cut down to so many items,
pub(super) const KEPT: usize = 1_000;
/// when it has more than so many. What is new has that much room to grow in.
pub(super) const MOST: usize = 1_250;
/// The longest ranking.
pub(super) const LONGEST: usize = 100;

type Bucket = HashMap<Box<str>, u64>;

#[derive(Debug, Default)]
pub(super) struct Board {
    hours: BTreeMap<u64, Bucket>,
    days: BTreeMap<u64, Bucket>,
}

impl Board {
    pub(super) fn record(&mut self, item: &str, weight: u32, now: Timestamp) {
        for grain in Grain::ALL {
            let (buckets, current) = (self.buckets(grain), grain.at(now));
            let oldest = grain.all(now).last().unwrap_or(current);
            buckets.retain(|bucket, _| *bucket >= oldest);
            let bucket = buckets.entry(current).or_default();
            *bucket.entry(item.into()).or_default() += u64::from(weight);
            trim(bucket);
        }
    }

    pub(super) fn top(&self, window: Window, count: usize, now: Timestamp) -> Vec<Trend> {
        let mut sums = HashMap::<&str, u64>::new();
        for (bucket, worth) in window.buckets(now) {
            for (item, views) in self.of(window.grain()).get(&bucket).into_iter().flatten() {
                *sums.entry(item).or_default() += views * worth;
            }
        }
        let mut trends: Vec<_> =
            sums.into_iter().map(|(item, sum)| Trend { item: item.into(), score: score(sum) }).collect();
        trends.sort_unstable_by(Trend::order);
        trends.truncate(count);
        trends
    }

    /// Whether it was in any bucket that still counts.
    pub(super) fn remove(&mut self, item: &str, now: Timestamp) -> bool {
        let mut was_there = false;
        for grain in Grain::ALL {
            for number in grain.all(now) {
                let bucket = self.buckets(grain).get_mut(&number);
                was_there |= bucket.is_some_and(|bucket| bucket.remove(item).is_some());
            }
        }
        was_there
    }

    fn buckets(&mut self, grain: Grain) -> &mut BTreeMap<u64, Bucket> {
        match grain {
            Grain::Hour => &mut self.hours,
            Grain::Day => &mut self.days,
        }
    }

    fn of(&self, grain: Grain) -> &BTreeMap<u64, Bucket> {
        match grain {
            Grain::Hour => &self.hours,
            Grain::Day => &self.days,
        }
    }
}

/// A sum of worths as views: exact, because `ONE` is a power of two.
#[allow(clippy::cast_precision_loss, reason = "2^53 are more views than anybody counts")]
pub(super) fn score(sum: u64) -> f64 {
    sum as f64 / ONE as f64
}

/// Drops the items with the fewest views, the first of the alphabet first, as `ZREMRANGEBYRANK` does.
fn trim(bucket: &mut Bucket) {
    if bucket.len() <= MOST {
        return;
    }
    let mut items: Vec<_> = bucket.iter().map(|(item, views)| (*views, item.clone())).collect();
    items.sort_unstable();
    for (_, item) in &items[..items.len() - KEPT] {
        bucket.remove(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{days, hours};

    const NOW: Timestamp = Timestamp::from_micros(1_760_000_000_000_000);

    #[test]
    fn newer_views_count_more_and_ties_go_by_the_alphabet() {
        let mut board = Board::default();
        board.record("old", 8, NOW - hours(6));
        for item in ["b", "a", "c"] {
            board.record(item, 3, NOW);
        }
        board.record("c", 2, NOW);
        let top: Vec<_> = board.top(Window::Day, 9, NOW).into_iter().map(|trend| (trend.item, trend.score)).collect();
        let expected = [("c", 5.0), ("old", 4.0), ("a", 3.0), ("b", 3.0)];
        assert_eq!(top, expected.map(|(item, score)| (item.to_owned(), score)));
    }

    #[test]
    fn buckets_are_bounded_in_items_and_in_number() {
        let mut board = Board::default();
        board.record("popular", 1_000, NOW);
        for n in 0..5_000 {
            board.record(&format!("{n}"), 1, NOW);
            assert!(board.hours.values().all(|bucket| bucket.len() <= MOST));
        }
        assert_eq!(board.top(Window::Day, 1, NOW)[0].item, "popular");
        for n in 0..100 {
            board.record("a", 1, NOW + days(n));
        }
        assert_eq!((board.hours.len(), board.days.len()), (1, 30));
    }
}
