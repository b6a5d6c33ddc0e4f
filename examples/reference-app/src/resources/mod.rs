//! The resources of the API, one file each: its routes, its handlers, the fields it takes.

pub(crate) mod analytics;
pub(crate) mod api_keys;
pub(crate) mod auth;
pub(crate) mod bookmarks;
pub(crate) mod challenges;
pub(crate) mod items;
pub(crate) mod leaderboard;
pub(crate) mod recommendations;
pub(crate) mod scores;
pub(crate) mod search;
pub(crate) mod sessions;
pub(crate) mod tasks;
pub(crate) mod uploads;
pub(crate) mod user_actions;
