//! Trends: what many look at lately.
//!
//! [`Trending`] counts views of a board's items and ranks them over a [`Window`].
//!
//! 1. Views are collected by the hour and by the day. A ranking sums the buckets of its window, each worth less the older it is:
//!    views of the same count are worth half after 6 hours in [`Window::Day`], 2 days in [`Window::Week`], 7 days in
//!    [`Window::Month`].
//! 2. Recording and ranking are one script each. Redis and memory come to the same scores, to the last bit.
//! 3. Equal scores are ordered by name. A ranking may be 5 seconds old.
//! 4. A bucket holds the 1,000 to 1,250 items with the most views, so that the cost of a ranking is bounded. Items with
//!    a share of the views hold their own among any number of items that are seen once.
//!
//! # When Redis is down
//! Everything here is unavailable. A view that is lost changes a trend little; for rankings ask a database or show an
//! earlier answer: `.on_outage(..)`, or a response cache before the route.
//!
//! # Example
//! ```
//! use towerkeep::{Keep, trending::Window};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> towerkeep::Result<()> {
//! let market = Keep::in_memory().trending("marketplace");
//! for item in ["lamp", "sofa", "lamp"] {
//!     market.record(item, 1).await?;
//! }
//! let top = market.top(Window::Day, 10).await?;
//! assert_eq!((top[0].item.as_str(), top[0].score), ("lamp", 2.0));
//! assert!(market.record("", 1).await.unwrap_err().is_invalid());
//! # Ok(()) }
//! ```

mod board;
mod handle;
mod memory;
#[cfg(feature = "redis")]
mod redis;
mod store;
mod trend;
mod window;

pub use handle::Trending;
pub use memory::MemoryTrendingStore;
#[cfg(feature = "redis")]
pub use redis::RedisTrendingStore;
pub use store::TrendingStore;
pub use trend::Trend;
pub use window::Window;
