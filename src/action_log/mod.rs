//! Action logs: what each user did lately, newest first.
//!
//! [`ActionLog`] appends and reads; [`Action`] is what goes in, [`Entry`] what comes out.
//!
//! 1. A log keeps its newest 100 entries, and itself for 30 days after the last append; see [`ActionLogConfig`].
//! 2. An append, a batch of up to 100 and a clear are one command each. A batch is all or nothing.
//! 3. The order is that of the appends. The time of an entry is the server's, unless the application gives one.
//! 4. An entry is a JSON object `{action, timestamp, metadata, id}` that other programs can read and write.
//! 5. An entry whose append was answered after a clear was answered is there; one from before is not.
//!
//! # When Redis is down
//! Appends are held in this instance and answer [`Appended::Local`]; clears too, [`Cleared::Pending`]. [`recent`]
//! is unavailable, because half a log would look like a loss; [`pending`] answers what is held.
//!
//! When Redis is back it is told before anybody reads: the entries come in by their times, each once, even where
//! an answer was lost after the work was done. A clear drops what bears an earlier time, and nothing comes back that was noted
//! before it, whichever instance cleared.
//!
//! Held are the capacity of each user (at most 1,000 entries), 10,000 users and 16 MiB. Beyond that appends are unavailable. What
//! is held ends with the process; `keep.shutdown(..)` waits for Redis as long as it may, and then says in one warning of
//! how many users something was lost.
//!
//! [`recent`]: ActionLog::recent
//! [`pending`]: ActionLog::pending
//!
//! # Example
//! ```
//! use towerkeep::{Keep, action_log::Action};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> towerkeep::Result<()> {
//! #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
//! struct Search { words: String }
//!
//! let (keep, user) = (Keep::in_memory(), 42);
//! keep.actions().append(user, "login").await?;
//! keep.actions().append(user, Action::new("search").metadata(Search { words: "tower".into() })).await?;
//!
//! let newest = &keep.actions().recent(user, 1).await?[0];
//! assert_eq!(newest.metadata()?, Some(Search { words: "tower".into() }));
//! assert!(keep.actions().recent(user, 0).await.unwrap_err().is_invalid());
//! # Ok(()) }
//! ```

mod action;
mod config;
mod entry;
mod fallback;
mod handle;
mod journal;
mod log;
mod memory;
mod outcome;
#[cfg(feature = "redis")]
mod redis;
mod store;
mod time;

pub use action::{Action, Record};
pub use config::{ActionLogConfig, Retention};
pub use entry::Entry;
pub use handle::ActionLog;
pub use memory::MemoryActionStore;
pub use outcome::{Appended, Cleared};
#[cfg(feature = "redis")]
pub use redis::RedisActionStore;
pub use store::{ActionStore, Held};
