//! The Redis handle that all concerns share: connections, deadlines, the breaker, recovery.

mod alarm;
mod breaker;
mod command;
mod config;
mod credentials;
mod eviction;
mod examine;
mod fault;
mod gate;
mod handle;
mod link;
mod pace;
mod probe;
mod recovery;
mod script;
mod subscriber;
mod supervisor;
#[cfg(test)]
mod tests;
mod time;

pub use config::RedisConfig;
pub use credentials::Credentials;
pub use handle::Redis;

pub(crate) use command::{Command, Reply};
pub(crate) use credentials::Provider;
pub(crate) use recovery::{Recovery, RecoveryStep, Stage};
pub(crate) use script::{Script, ScriptCall, guarded_script};
pub(crate) use subscriber::{Notice, Notices};
