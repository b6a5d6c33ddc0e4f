//! The dashboard, made of the counts that the database answers.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    choice::Choice,
    database::{
        analytics::{Count, DAY},
        tasks::{Priority, Status},
    },
};

/// What a user's bookmarks and tasks amount to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Dashboard {
    bookmarks: BookmarkCounts,
    tasks: TaskCounts,
    /// Each of the days asked for in UTC, the oldest first, today last.
    by_day: Vec<DayCounts>,
    /// The most used tags of both, at most ten; the more used first, equals by name.
    top_tags: Vec<TagCount>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
struct BookmarkCounts {
    total: i64,
    favorites: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
struct TaskCounts {
    total: i64,
    /// Every status, also those without tasks.
    by_status: BTreeMap<String, i64>,
    /// Every priority, also those without tasks.
    by_priority: BTreeMap<String, i64>,
    /// Open tasks whose time has come.
    overdue: i64,
    /// Completed tasks among all but the cancelled ones, from 0 to 1; null without any.
    completion_rate: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
struct DayCounts {
    day: Date,
    /// Added on this day.
    bookmarks: i64,
    /// Added on this day.
    tasks: i64,
    /// Completed on this day.
    completed: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
struct TagCount {
    tag: String,
    count: i64,
}

/// The last so many days, today among them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Days {
    now: Timestamp,
    count: i64,
}

impl Days {
    pub(crate) fn until(now: Timestamp, count: i64) -> Self {
        Self { now, count }
    }

    /// When the first day began, as it is stored.
    pub(crate) fn since(&self) -> i64 {
        (self.today() - self.count + 1) * DAY
    }

    pub(crate) fn now(&self) -> i64 {
        self.now.as_microsecond()
    }

    /// Days since 1970.
    fn today(&self) -> i64 {
        self.now().div_euclid(DAY)
    }

    fn each(&self) -> impl Iterator<Item = i64> {
        self.today() - self.count + 1..=self.today()
    }
}

impl Dashboard {
    pub(crate) fn of(counts: Vec<Count>, days: Days) -> Self {
        let top_tags = counts.iter().filter(|(what, ..)| what == "tag");
        let top_tags = top_tags.map(|(_, tag, count)| TagCount { tag: tag.clone(), count: *count }).collect();
        let counts: BTreeMap<_, _> = counts.into_iter().map(|(what, of, count)| ((what, of), count)).collect();
        let count = |what: &str, of: &str| counts.get(&(what.to_owned(), of.to_owned())).copied().unwrap_or_default();
        let by_day = days.each().map(|day| DayCounts {
            day: date(day),
            bookmarks: count("bookmarks_of_day", &day.to_string()),
            tasks: count("tasks_of_day", &day.to_string()),
            completed: count("completed_of_day", &day.to_string()),
        });
        Self {
            bookmarks: BookmarkCounts { total: count("bookmarks", ""), favorites: count("favorites", "") },
            tasks: TaskCounts::of(count),
            by_day: by_day.collect(),
            top_tags,
        }
    }
}

impl TaskCounts {
    fn of(count: impl Fn(&str, &str) -> i64) -> Self {
        let by_status = by::<Status>(|status| count("status", status));
        let total = by_status.values().sum();
        let completed = count("status", Status::Completed.as_str());
        let wanted = total - count("status", Status::Cancelled.as_str());
        Self {
            total,
            by_status,
            by_priority: by::<Priority>(|priority| count("priority", priority)),
            overdue: count("overdue", ""),
            completion_rate: (wanted > 0).then(|| completed as f64 / wanted as f64),
        }
    }
}

fn by<T: Choice>(count: impl Fn(&str) -> i64) -> BTreeMap<String, i64> {
    T::ALL.iter().map(|choice| (choice.as_str().to_owned(), count(choice.as_str()))).collect()
}

/// The date of a day since 1970.
fn date(day: i64) -> Date {
    Timestamp::from_microsecond(day * DAY).unwrap_or_default().to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn count(what: &str, of: &str, count: i64) -> Count {
        (what.to_owned(), of.to_owned(), count)
    }

    fn days(count: i64) -> Days {
        Days::until("2026-03-01T23:59:59.999999Z".parse().expect("a time"), count)
    }

    #[test]
    fn days_without_anything_are_there() {
        let day = days(1).since() / DAY;
        let counts =
            vec![count("tasks_of_day", &day.to_string(), 2), count("completed_of_day", &(day - 1).to_string(), 1)];
        let by_day = json!(Dashboard::of(counts, days(3)).by_day);
        let empty = |day: &str| json!({ "day": day, "bookmarks": 0, "tasks": 0, "completed": 0 });
        let (mut yesterday, mut today) = (empty("2026-02-28"), empty("2026-03-01"));
        (yesterday["completed"], today["tasks"]) = (json!(1), json!(2));
        assert_eq!(by_day, json!([empty("2026-02-27"), yesterday, today]));
    }

    #[test]
    fn the_first_day_begins_at_midnight() {
        assert_eq!(Timestamp::from_microsecond(days(90).since()).expect("a time").to_string(), "2025-12-02T00:00:00Z");
    }

    #[test]
    fn cancelled_tasks_do_not_lower_the_rate() {
        let rate = |counts| Dashboard::of(counts, days(1)).tasks.completion_rate;
        assert_eq!(rate(vec![]), None);
        assert_eq!(rate(vec![count("status", "cancelled", 9)]), None);
        let of = |status, n| count("status", status, n);
        assert_eq!(
            rate(vec![of("cancelled", 9), of("completed", 1), of("pending", 2), of("in_progress", 1)]),
            Some(0.25)
        );
    }
}
