//! What to do next: a user's open tasks and bookmarks, scored by rules.
//!
//! 1. A thing is worth the sum of its reasons ([`Reason::weight`]); what has no reason is not recommended.
//! 2. The most worth comes first; among equals tasks before bookmarks, then what is older. The same things at the same
//!    time give the same advice.

use std::{cmp::Reverse, collections::BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::database::{
    bookmarks::Bookmark,
    search::Kind,
    tasks::{Priority, Status, Task},
};

const DAY: SignedDuration = SignedDuration::from_hours(24);
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);
const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);
const NEARLY_DONE: i64 = 80;

/// Why something is recommended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// A task whose time has come: 50.
    Overdue,
    /// A task due within a day: 40.
    DueWithinADay,
    /// A task due within a week: 20.
    DueWithinAWeek,
    /// An urgent task: 30.
    Urgent,
    /// A task of high priority: 15.
    HighPriority,
    /// A task in progress: 10.
    InProgress,
    /// A task with progress of 80 or more: 10.
    NearlyDone,
    /// A bookmark that shares a tag with an open task: 25.
    HelpsWithATask,
    /// A favorite bookmark: 10.
    Favorite,
    /// A bookmark that was not touched for 30 days: 5.
    LongUntouched,
}

impl Reason {
    fn weight(self) -> u32 {
        match self {
            Self::Overdue => 50,
            Self::DueWithinADay => 40,
            Self::Urgent => 30,
            Self::HelpsWithATask => 25,
            Self::DueWithinAWeek => 20,
            Self::HighPriority => 15,
            Self::InProgress | Self::NearlyDone | Self::Favorite => 10,
            Self::LongUntouched => 5,
        }
    }
}

/// One thing to do next.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Recommendation {
    kind: Kind,
    /// Of the bookmark or task.
    id: i64,
    title: String,
    /// Of a bookmark.
    url: Option<String>,
    /// The sum of what its reasons weigh.
    score: u32,
    reasons: Vec<Reason>,
}

/// The best `limit` things to do next out of these.
pub(crate) fn next(tasks: &[Task], bookmarks: &[Bookmark], now: Timestamp, limit: usize) -> Vec<Recommendation> {
    let of_tasks = tasks.iter().map(|task| of_task(task, now));
    let wanted: BTreeSet<_> = tasks.iter().flat_map(|task| &task.tags).collect();
    let of_bookmarks = bookmarks.iter().map(|bookmark| of_bookmark(bookmark, &wanted, now));
    let mut all: Vec<_> = of_tasks.chain(of_bookmarks).filter(|recommended| recommended.score > 0).collect();
    all.sort_by_key(|it| (Reverse(it.score), it.kind == Kind::Bookmarks, it.id));
    all.truncate(limit);
    all
}

fn of_task(task: &Task, now: Timestamp) -> Recommendation {
    let due = task.due_at.map(|due| due.duration_since(now));
    let time = match due {
        Some(left) if left <= SignedDuration::ZERO => Some(Reason::Overdue),
        Some(left) if left <= DAY => Some(Reason::DueWithinADay),
        Some(left) if left <= WEEK => Some(Reason::DueWithinAWeek),
        _ => None,
    };
    let priority = match task.priority {
        Priority::Urgent => Some(Reason::Urgent),
        Priority::High => Some(Reason::HighPriority),
        Priority::Medium | Priority::Low => None,
    };
    let begun = (task.status == Status::InProgress).then_some(Reason::InProgress);
    let nearly = (task.progress >= NEARLY_DONE).then_some(Reason::NearlyDone);
    Recommendation::new(Kind::Tasks, task.id, &task.title, [time, priority, begun, nearly])
}

/// `wanted` are the tags of open tasks.
fn of_bookmark(bookmark: &Bookmark, wanted: &BTreeSet<&String>, now: Timestamp) -> Recommendation {
    let helps = bookmark.tags.iter().any(|tag| wanted.contains(tag)).then_some(Reason::HelpsWithATask);
    let favorite = bookmark.favorite.then_some(Reason::Favorite);
    let untouched = (now.duration_since(bookmark.updated_at) >= MONTH).then_some(Reason::LongUntouched);
    let made = Recommendation::new(Kind::Bookmarks, bookmark.id, &bookmark.title, [helps, favorite, untouched]);
    Recommendation { url: Some(bookmark.url.clone()), ..made }
}

impl Recommendation {
    fn new(kind: Kind, id: i64, title: &str, reasons: impl IntoIterator<Item = Option<Reason>>) -> Self {
        let reasons: Vec<_> = reasons.into_iter().flatten().collect();
        let score = reasons.iter().map(|reason| reason.weight()).sum();
        Self { kind, id, title: title.to_owned(), url: None, score, reasons }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().expect("a time")
    }

    fn task(id: i64, due_at: Option<&str>) -> Task {
        Task {
            id,
            title: format!("task {id}"),
            description: None,
            status: Status::Pending,
            priority: Priority::Medium,
            progress: 0,
            due_at: due_at.map(at),
            tags: Vec::new(),
            completed_at: None,
            created_at: at("2026-01-01T00:00:00Z"),
            updated_at: at("2026-01-01T00:00:00Z"),
        }
    }

    fn bookmark(id: i64, tags: &[&str]) -> Bookmark {
        Bookmark {
            id,
            url: "https://example.com".to_owned(),
            title: format!("bookmark {id}"),
            description: None,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            favorite: false,
            created_at: at("2026-06-01T00:00:00Z"),
            updated_at: at("2026-06-01T00:00:00Z"),
        }
    }

    fn advise(tasks: &[Task], bookmarks: &[Bookmark]) -> Vec<(Kind, i64, u32)> {
        let all = next(tasks, bookmarks, at("2026-06-10T12:00:00Z"), 100);
        all.into_iter().map(|it| (it.kind, it.id, it.score)).collect()
    }

    #[test]
    fn a_task_presses_more_the_sooner_it_is_due() {
        let due = ["2026-06-10T12:00:00Z", "2026-06-11T12:00:00Z", "2026-06-17T12:00:00Z", "2026-06-17T12:00:01Z"];
        let tasks: Vec<_> = (1..).zip(due).map(|(id, due)| task(id, Some(due))).chain([task(9, None)]).collect();
        assert_eq!(advise(&tasks, &[]), [(Kind::Tasks, 1, 50), (Kind::Tasks, 2, 40), (Kind::Tasks, 3, 20)]);
    }

    #[test]
    fn reasons_add_up() {
        let mut begun = task(1, Some("2026-06-01T00:00:00Z"));
        (begun.status, begun.priority, begun.progress) = (Status::InProgress, Priority::Urgent, 80);
        assert_eq!(advise(&[begun], &[]), [(Kind::Tasks, 1, 50 + 30 + 10 + 10)]);
        let mut favorite = bookmark(1, &[]);
        (favorite.favorite, favorite.updated_at) = (true, at("2026-05-11T12:00:00Z"));
        assert_eq!(advise(&[], &[favorite]), [(Kind::Bookmarks, 1, 10 + 5)]);
    }

    #[test]
    fn a_bookmark_helps_with_a_task_of_its_tag() {
        let mut tagged = task(1, None);
        tagged.tags = vec!["redis".to_owned(), "lua".to_owned()];
        let bookmarks = [bookmark(1, &["rust"]), bookmark(2, &["lua", "redis"]), bookmark(3, &[])];
        assert_eq!(advise(&[tagged], &bookmarks), [(Kind::Bookmarks, 2, 25)]);
    }

    #[test]
    fn among_equals_tasks_come_first_then_what_is_older() {
        let due = Some("2026-06-15T00:00:00Z");
        let urgent = |id| Task { priority: Priority::High, progress: 90, ..task(id, None) };
        let (mut shared, mut tagged) = (bookmark(1, &["lua"]), task(7, due));
        tagged.tags = vec!["lua".to_owned()];
        shared.updated_at = at("2026-06-09T00:00:00Z");
        let advised = advise(&[tagged, urgent(5), urgent(3)], &[shared]);
        let expected = [(Kind::Tasks, 3, 25), (Kind::Tasks, 5, 25), (Kind::Bookmarks, 1, 25), (Kind::Tasks, 7, 20)];
        assert_eq!(advised, expected);
    }

    #[test]
    fn times_at_the_end_of_the_calendar_are_no_trouble() {
        let far = [task(1, Some("9999-12-30T00:00:00Z")), task(2, Some("-009999-01-03T00:00:00Z"))];
        assert_eq!(advise(&far, &[]), [(Kind::Tasks, 2, 50)]);
    }
}
