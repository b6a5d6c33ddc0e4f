//! Counters: whole numbers that many instances add to, as views and downloads are.
//!
//! [`Counters`] is the handle, [`Counter`] names one of them.
//!
//! 1. A counter is a plain integer in Redis (`tk:counter:downloads:17` holds `42`), so that other programs can `GET` and
//!    `INCRBY` it. It has no time to live; one that was never added to stands at 0.
//!    Count what exists: a counter for every id that somebody made up in a URL would stay for good.
//! 2. It holds an `i64`. What would leave that range is refused, and nothing is changed.
//! 3. [`incr`](Counters::incr) and [`incr_by`](Counters::incr_by) are one trip each, and answer the new value. One whose
//!    answer was lost may have been counted or not.
//! 4. [`add`](Counters::add) never waits: increments are gathered in this process and flushed every 100 ms, or as soon as
//!    1,000 have come. A flush has an id; one whose answer was lost is sent again with the same id and content, so it is
//!    counted once. Reading may lag behind `add` by those 100 ms, on every instance.
//! 5. [`sink`](Counters::sink) gives what was added to the application too, for its database.
//!
//! # When Redis is down
//! `incr`, `get` and `reset` are unavailable. `add` goes on gathering: increments of a counter become one number, so an
//! outage of any length takes the memory of its distinct counters: at most 10,000, and those of the flush that was under
//! way. Past them, `add` of another one is unavailable. All of it is flushed when Redis is back, before anybody else uses it. Only the end of the process loses
//! counts, and [`Keep::shutdown`](crate::Keep::shutdown) flushes them, or says in one warning what it could not.
//!
//! # Example
//! ```
//! use towerkeep::{Keep, counter::Counter};
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let keep = Keep::in_memory();
//! let counters = keep.counters();
//! let downloads = Counter::of("downloads", 17);
//! assert_eq!(counters.incr(&downloads).await.unwrap(), 1);
//! assert!(counters.incr_by(&downloads, i64::MAX).await.unwrap_err().is_invalid()); // too much, and not counted
//! assert_eq!(counters.get(&downloads).await.unwrap(), 1);
//!
//! let views = Counter::views("post", 7);
//! for _ in 0..3 {
//!     counters.add(&views, 1).unwrap(); // does not wait
//! }
//! counters.flush().await.unwrap();
//! assert_eq!(counters.get_many(&[views, downloads]).await.unwrap(), [3, 1]);
//! # }
//! ```

mod batch;
mod flush;
mod handle;
mod memory;
mod name;
#[cfg(feature = "redis")]
mod redis;
mod sink;
mod store;

pub use flush::{Flush, FlushId};
pub use handle::Counters;
pub use memory::MemoryCounterStore;
pub use name::Counter;
#[cfg(feature = "redis")]
pub use redis::RedisCounterStore;
pub use sink::CounterSink;
pub use store::CounterStore;
