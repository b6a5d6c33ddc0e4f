//! The layers through mocked services and paused time.

mod cache;
mod rate_limit;
mod session;
