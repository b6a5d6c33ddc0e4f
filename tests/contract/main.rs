//! One suite per store trait, run against every implementation.

#[path = "../support/mod.rs"]
mod support;

mod cache;
mod harness;
mod rate_limit;
mod session;
