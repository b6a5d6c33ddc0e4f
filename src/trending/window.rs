//! Which buckets a ranking sums, and what each is worth.

use std::time::Duration;

use crate::{
    clock::{Timestamp, days, hours, micros},
    outcome::outcomes,
};

outcomes! {
    /// How far back a ranking looks.
    ///
    /// What was recorded counts less with every bucket that has begun since: it halves in each half-life.
    pub enum Window {
        /// The current hour and the 23 before it; half-life 6 hours.
        Day => "day",
        /// Today, by UTC, and the 6 days before it; half-life 2 days.
        Week => "week",
        /// Today, by UTC, and the 29 days before it; half-life 7 days.
        Month => "month",
    }
}

/// What one view in the current bucket is worth. A whole number, so that sums do not depend on their order: exact up
/// to 2^33 views of an item.
pub(super) const ONE: u64 = 1 << 20;

/// How long a bucket collects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Grain {
    Hour,
    Day,
}

impl Grain {
    pub(super) const ALL: [Self; 2] = [Self::Hour, Self::Day];

    fn length(self) -> Duration {
        match self {
            Self::Hour => hours(1),
            Self::Day => days(1),
        }
    }

    /// So many buckets are of use at any time.
    pub(super) fn count(self) -> u64 {
        match self {
            Self::Hour => 24,
            Self::Day => 30,
        }
    }

    /// The number of the bucket that collects at `now`.
    pub(super) fn at(self, now: Timestamp) -> u64 {
        now.as_micros() / micros(self.length())
    }

    /// The buckets of use at `now`, the current one first.
    pub(super) fn all(self, now: Timestamp) -> impl Iterator<Item = u64> {
        newest(self.at(now), self.count())
    }

    /// How long from `now` until the current bucket is of no use.
    #[cfg(any(test, feature = "redis"))]
    pub(super) fn lasts(self, now: Timestamp) -> Duration {
        let length = micros(self.length());
        Duration::from_micros(length * self.count() - now.as_micros() % length)
    }

    /// What a bucket's key is called.
    #[cfg(any(test, feature = "redis"))]
    pub(super) fn name(self, bucket: u64) -> String {
        match self {
            Self::Hour => format!("hour-{bucket}"),
            Self::Day => format!("day-{bucket}"),
        }
    }
}

fn newest(current: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..count).map_while(move |age| current.checked_sub(age))
}

impl Window {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    pub(super) fn grain(self) -> Grain {
        match self {
            Self::Day => Grain::Hour,
            Self::Week | Self::Month => Grain::Day,
        }
    }

    fn count(self) -> u64 {
        match self {
            Self::Day => 24,
            Self::Week => 7,
            Self::Month => 30,
        }
    }

    /// After so many buckets a view is worth half.
    fn half_life(self) -> f64 {
        match self {
            Self::Day => 6.0,
            Self::Week => 2.0,
            Self::Month => 7.0,
        }
    }

    /// The buckets that it sums at `now`, and what one view in each is worth in parts of [`ONE`].
    pub(super) fn buckets(self, now: Timestamp) -> impl Iterator<Item = (u64, u64)> {
        (0u32..).zip(newest(self.grain().at(now), self.count())).map(move |(age, bucket)| (bucket, self.worth(age)))
    }

    #[allow(clippy::cast_precision_loss, reason = "2^20 is exact")]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 2^20")]
    fn worth(self, age: u32) -> u64 {
        (ONE as f64 * (-f64::from(age) / self.half_life()).exp2()).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_halves_in_each_half_life() {
        for (window, half_life) in [(Window::Day, 6), (Window::Week, 2), (Window::Month, 7)] {
            for halves in 0..4 {
                assert_eq!(window.worth(half_life * halves), ONE >> halves, "{window}");
            }
            let worths: Vec<_> = window.buckets(Timestamp::from_micros(u64::MAX)).map(|(_, worth)| worth).collect();
            assert!(worths.windows(2).all(|two| two[0] > two[1]) && worths.iter().all(|worth| *worth > 0), "{window}");
        }
    }

    #[test]
    fn windows_count_back_from_now() {
        let now = Timestamp::from_micros(0) + days(100) + hours(5);
        let buckets = |window: Window| window.buckets(now).map(|(bucket, _)| bucket).collect::<Vec<_>>();
        assert_eq!(buckets(Window::Day), (2_382..=2_405).rev().collect::<Vec<_>>());
        assert_eq!(buckets(Window::Week), (94..=100).rev().collect::<Vec<_>>());
        assert_eq!(buckets(Window::Month).len(), 30);
        assert_eq!(Window::Day.buckets(Timestamp::default()).count(), 1, "nothing was before 1970");
    }

    #[test]
    fn a_bucket_lasts_exactly_as_long_as_it_counts() {
        let now = Timestamp::from_micros(0) + days(100) + hours(5) + Duration::from_micros(7);
        for window in Window::ALL {
            let grain = window.grain();
            let end = now + grain.lasts(now);
            let counts = |at: Timestamp| grain.all(at).any(|bucket| bucket == grain.at(now));
            assert!(counts(end - Duration::from_micros(1)) && !counts(end), "{window}");
        }
    }

    #[test]
    fn keys_are_named_by_grain() {
        assert_eq!(Grain::ALL.map(|grain| grain.name(7)), ["hour-7", "day-7"]);
    }
}
