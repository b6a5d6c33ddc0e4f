//! Plain values by key: set, get, delete, each with a time to live.
//!
//! [`Kv`] is the handle.
//!
//! 1. A value is stored as plain JSON under `tk:kv:{key}`, without anything of ours around it: other programs can read
//!    and write it. What changes in the shape of a type is the application's to allow for, as with any JSON.
//! 2. Every value has a time to live, from a second to a year. A key is text of 1 to 1,024 bytes; over 128 it is hashed.
//! 3. A value is at most 1 MiB of JSON unless [`max_value`](Kv::max_value) says otherwise. Key, time to live and size are
//!    checked before anything is sent.
//! 4. Each verb is one command: `SET`, `SET NX`, `GET`, `UNLINK`. A verb whose answer was lost may have been carried out.
//! 5. [`get_or_compute`](Kv::get_or_compute) computes a missing value once for all who ask for it in this process at the
//!    same time. Other processes may compute it too; the first one stored stays.
//!
//! # When Redis is down
//! Every verb is unavailable, except that `get_or_compute` computes and answers without storing.
//!
//! # Example
//! ```
//! use towerkeep::{Keep, clock::{minutes, seconds}};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> towerkeep::Result<()> {
//! let keep = Keep::in_memory();
//! let kv = keep.kv();
//! kv.set("greeting", &"hello", minutes(5)).await?;
//! assert_eq!(kv.get::<String>("greeting").await?.as_deref(), Some("hello"));
//! assert!(!kv.set_if_absent("greeting", &"moin", minutes(5)).await?);
//! assert!(kv.delete("greeting").await?);
//! assert_eq!(kv.get::<String>("greeting").await?, None);
//! assert!(kv.set("greeting", &"hello", seconds(0)).await.unwrap_err().is_invalid()); // would end at once
//!
//! let sum: u64 = kv.get_or_compute("sum", minutes(1), async || Ok::<_, towerkeep::Error>((1..=100).sum())).await?;
//! assert_eq!(sum, 5_050);
//! # Ok(())
//! # }
//! ```

mod flight;
mod handle;
mod memory;
#[cfg(feature = "redis")]
mod redis;
mod store;

pub use handle::Kv;
pub use memory::MemoryKvStore;
#[cfg(feature = "redis")]
pub use redis::RedisKvStore;
pub use store::KvStore;
