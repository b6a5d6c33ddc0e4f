//! Stretches of time that have a board of their own.

use std::{fmt, time::Duration};

use crate::clock::{Timestamp, days, seconds};

/// How long a board counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// For good.
    All,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday (ISO 8601).
    Week,
    /// A month of the calendar.
    Month,
}

impl Period {
    /// The word in keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

/// Which periods a board has, by which clock, and how long one that is over stays.
///
/// ```
/// use towerkeep::{clock::days, leaderboard::{Period, Periods}};
/// let periods = Periods::of([Period::All, Period::Day, Period::Week]).utc_offset_minutes(120).keep(days(30));
/// assert_eq!(periods.iter().count(), 3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Periods {
    periods: Vec<Period>,
    offset: i32,
    keep: Duration,
}

impl Default for Periods {
    fn default() -> Self {
        Self { periods: vec![Period::All], offset: 0, keep: days(7) }
    }
}

const DAY: i64 = 86_400;

impl Periods {
    /// These periods, in UTC; of none, [`Period::All`].
    pub fn of(periods: impl IntoIterator<Item = Period>) -> Self {
        let mut periods: Vec<_> = periods.into_iter().collect();
        periods.sort_unstable();
        periods.dedup();
        if periods.is_empty() {
            periods.push(Period::All);
        }
        Self { periods, ..Self::default() }
    }

    /// Begins days at midnight of a clock so many minutes ahead of UTC, the whole year. Defaults to 0.
    ///
    /// Offsets of more than 14 hours are no time on earth and become 14 hours.
    #[must_use]
    pub fn utc_offset_minutes(mut self, minutes: i32) -> Self {
        self.offset = minutes.clamp(-840, 840);
        self
    }

    /// Keeps a board so long after its period is over. Defaults to 7 days.
    #[must_use]
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// The periods, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Period> {
        self.periods.iter().copied()
    }

    pub(super) fn kept(&self) -> Duration {
        self.keep
    }

    pub(super) fn has(&self, period: Period) -> bool {
        self.periods.contains(&period)
    }

    /// The period of this kind that `at` is in; nothing for [`Period::All`].
    pub fn window(&self, period: Period, at: Timestamp) -> Option<Window> {
        let offset = i64::from(self.offset) * 60;
        let day = (i64::try_from(at.as_secs()).ok()? + offset).div_euclid(DAY);
        let (year, month, date) = civil_from_days(day);
        let (first, after, label) = match period {
            Period::All => return None,
            Period::Day => (day, day + 1, format!("{year:04}-{month:02}-{date:02}")),
            Period::Week => {
                let monday = day - (day + 3).rem_euclid(7);
                let (of_year, ..) = civil_from_days(monday + 3);
                let week = (monday + 3 - days_from_civil(of_year, 1, 1)) / 7 + 1;
                (monday, monday + 7, format!("{of_year:04}-W{week:02}"))
            }
            Period::Month => {
                let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                let after = days_from_civil(next_year, next, 1);
                (days_from_civil(year, month, 1), after, format!("{year:04}-{month:02}"))
            }
        };
        let midnight = |day: i64| Timestamp::default() + seconds(u64::try_from(day * DAY - offset).unwrap_or(0));
        Some(Window { period, label, start: midnight(first), end: midnight(after) })
    }
}

/// One period: this day, that week.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    period: Period,
    label: String,
    start: Timestamp,
    end: Timestamp,
}

impl Window {
    /// What kind of period.
    pub fn period(&self) -> Period {
        self.period
    }

    /// Which one: `2026-11-22`, `2026-W47`, `2026-11`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its first moment.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// The first moment after it.
    pub fn end(&self) -> Timestamp {
        self.end
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.period.as_str(), self.label)
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar; years begin in March here, so that a leap day is a year's last.
fn days_from_civil(year: i64, month: i64, date: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + date - 1;
    year.div_euclid(400) * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The other way round: year, month, date.
fn civil_from_days(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(year: i64, month: i64, date: i64, second: i64) -> Timestamp {
        let seconds_since = days_from_civil(year, month, date) * DAY + second;
        Timestamp::default() + seconds(u64::try_from(seconds_since).expect("after 1970"))
    }

    fn label(period: Period, minutes: i32, at: Timestamp) -> String {
        Periods::of([period]).utc_offset_minutes(minutes).window(period, at).expect("a window").label
    }

    #[test]
    fn weeks_are_those_of_iso_8601() {
        for (date, week) in [
            ((2021, 1, 3), "2020-W53"),
            ((2021, 1, 4), "2021-W01"),
            ((2024, 12, 30), "2025-W01"),
            ((2026, 12, 31), "2026-W53"),
            ((2027, 1, 3), "2026-W53"),
            ((2023, 1, 1), "2022-W52"),
        ] {
            assert_eq!(label(Period::Week, 0, at(date.0, date.1, date.2, 43_200)), week, "{date:?}");
        }
    }

    #[test]
    fn an_offset_moves_midnight() {
        let late = at(2026, 2, 28, 86_400 - 1);
        assert_eq!(label(Period::Day, 0, late), "2026-02-28");
        assert_eq!(label(Period::Day, 60, late), "2026-03-01");
        assert_eq!(label(Period::Month, 60, late), "2026-03");
        assert_eq!(label(Period::Day, -300, at(2026, 3, 1, 0)), "2026-02-28");
        assert_eq!(label(Period::Day, 0, at(2024, 2, 29, 0)), "2024-02-29");
    }

    proptest! {
        #[test]
        fn dates_and_days_are_the_same_thing(day in -200_000i64..200_000) {
            let (year, month, date) = civil_from_days(day);
            prop_assert_eq!(days_from_civil(year, month, date), day);
            prop_assert!((1..=12).contains(&month) && (1..=31).contains(&date));
        }

        #[test]
        fn windows_follow_each_other_without_gap(second in 86_400u64 * 40..5_000_000_000, minutes in -840i32..=840) {
            let now = Timestamp::default() + seconds(second);
            let periods = Periods::default().utc_offset_minutes(minutes);
            for period in [Period::Day, Period::Week, Period::Month] {
                let window = periods.window(period, now).expect("a window");
                prop_assert!(window.start() <= now && now < window.end());
                let next = periods.window(period, window.end()).expect("a window");
                prop_assert_eq!(next.start(), window.end());
                prop_assert_ne!(next.label(), window.label());
                let last = periods.window(period, window.end() - seconds(1)).expect("a window");
                prop_assert_eq!(last, window);
            }
        }
    }
}
