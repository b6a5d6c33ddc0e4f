//! What the demo is made of.

use crate::database::{
    items::Kind,
    tasks::{Priority, Status},
};

/// Address, title, description, tags, favorite; the last one is shown first.
pub(super) type Sample = (&'static str, &'static str, Option<&'static str>, &'static [&'static str], bool);

pub(super) const BOOKMARKS: [Sample; 6] = [
    (
        "https://www.rfc-editor.org/rfc/rfc9111",
        "RFC 9111: HTTP Caching",
        Some("What a shared cache may keep, and when it must not."),
        &["http", "standards"],
        false,
    ),
    ("https://www.rfc-editor.org/rfc/rfc9457", "RFC 9457: Problem Details", None, &["http", "standards"], false),
    (
        "https://redis.io/docs/latest/develop/data-types/sorted-sets/",
        "Redis sorted sets",
        Some("Leaderboards and sliding windows are made of these."),
        &["redis"],
        false,
    ),
    (
        "https://docs.rs/tower/latest/tower/trait.Service.html",
        "tower: the Service trait",
        Some("Read the part about clones and readiness twice."),
        &["rust", "tower"],
        true,
    ),
    (
        "https://brooker.co.za/blog/2022/02/28/retries.html",
        "Fixing retries with token buckets",
        None,
        &["reliability"],
        false,
    ),
    (
        "https://how.complexsystems.fail/",
        "How Complex Systems Fail",
        Some("Eighteen short points.\nThe seventh changes how one writes incident reports."),
        &["reliability", "reading"],
        true,
    ),
];

/// Title, status, priority, progress, hours until it is due, tags; the last one is shown first.
pub(super) type Errand = (&'static str, Status, Priority, i64, Option<i64>, &'static [&'static str]);

pub(super) const TASKS: [Errand; 6] = [
    ("Read the chapter on cache stampedes", Status::Completed, Priority::Medium, 0, None, &["reading", "http"]),
    ("Write down what happens when Redis is gone", Status::InProgress, Priority::High, 80, Some(48), &["redis"]),
    ("Try a token bucket in place of the window", Status::Pending, Priority::Medium, 0, Some(120), &["reliability"]),
    ("Answer the incident report", Status::Pending, Priority::Urgent, 20, Some(-24), &["reliability", "writing"]),
    ("Write a retry loop without an end", Status::Cancelled, Priority::Low, 10, None, &["reliability"]),
    ("Tidy up the bookmarks", Status::Pending, Priority::Low, 0, None, &[]),
];

/// Those who take part; nobody can log in as them.
pub(super) const PLAYERS: [&str; 12] =
    ["ada", "barbara", "edsger", "frances", "grace", "hedy", "ken", "leslie", "linus", "margaret", "radia", "tony"];

/// Title, description, capacity, the points of each of the players in their order; the last one is shown first.
pub(super) type Contest = (&'static str, &'static str, Option<i64>, [i64; 12]);

pub(super) const CHALLENGES: [Contest; 2] = [
    (
        "Twelve RFCs in a month",
        "Ten points for each that was read to its end, and one for each erratum found.",
        Some(20),
        [74, 32, 120, 10, 63, 32, 41, 32, 20, 63, 51, 5],
    ),
    (
        "Thirty days without a retry",
        "A point for each request that was answered at the first attempt.",
        None,
        [1_500, 980, 1_200, 640, 1_500, 310, 890, 980, 310, 1_200, 45, 980],
    ),
];

/// Title, description, kind, views, downloads; the last one is shown first.
pub(super) type Ware = (&'static str, &'static str, Kind, u32, u32);

pub(super) const ITEMS: [Ware; 6] = [
    ("Weekly review", "One page: what went well, what did not, what comes next.", Kind::Template, 12, 2),
    ("HTTP status codes", "All of them, with the RFC that each is from.", Kind::Dataset, 31, 9),
    ("Postmortem", "A form that asks for causes and not for culprits.", Kind::Template, 24, 4),
    ("Link checker", "Tells which bookmarks lead nowhere.", Kind::Tool, 45, 6),
    ("Ports in use", "Names for the numbers from 1 to 65535.", Kind::Dataset, 7, 0),
    ("Flame graph", "Shows where the time goes.", Kind::Tool, 18, 3),
];

/// What the demo user did, and how many minutes ago; the oldest first.
pub(super) const ACTIONS: [(&str, u64); 5] =
    [("login", 190), ("bookmark.opened", 185), ("task.completed", 120), ("search", 45), ("challenge.opened", 12)];
