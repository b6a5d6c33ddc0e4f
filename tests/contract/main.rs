//! One suite per store trait, run against every implementation.

#[path = "../support/mod.rs"]
mod support;

mod action_log;
mod cache;
mod counter;
mod harness;
mod kv;
mod late;
mod leaderboard;
mod rate_limit;
mod session;
mod token;
mod trending;
