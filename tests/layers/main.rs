//! The layers through mocked services and paused time.

#[path = "../support/mod.rs"]
mod support;

mod cache;
mod rate_limit;
mod session;
