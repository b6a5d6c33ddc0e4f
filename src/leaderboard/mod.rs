//! Leaderboards: who is first, over all instances, in one command a question.
//!
//! [`Leaderboard`] comes from `keep.leaderboard(("challenge", 42))`; its setters say how it counts ([`Update`]), ranks
//! ([`Ranking`]), tells equals apart ([`TieBreak`]), for how long ([`Periods`]), and where its truth is ([`BoardSource`]).
//!
//! 1. The highest score stands first, by [`Update::Lowest`] the lowest. Equal scores follow by the bytes of the member, ascending,
//!    in Redis, in memory, and in SQL with `ORDER BY score DESC, member COLLATE "C"`.
//! 2. An update answers the old and the new score and rank, in the same command.
//! 3. Nothing costs more the more members there are, but for a logarithm.
//! 4. [`add`](Leaderboard::add) takes an event id: a retry counts once, from wherever it comes.
//!
//! # When Redis is down
//! Every verb answers unavailable, and the caller chooses: `.on_outage(Vec::new)`, the database, or `?`, which is 503.
//!
//! # The truth
//! A board in Redis is a copy of what a database knows. With a [`source`](Leaderboard::source):
//!
//! 1. **Commit first, then call the board.** An update that fails, or whose caller goes away, is in the database all the same: the
//!    board is noted as behind, and rebuilt when Redis is back, or with the next request for it.
//! 2. A board that Redis has lost is told from an empty one. It is rebuilt with the first request for it, which waits for 50 ms.
//!    After that reads are unavailable and updates [pending](RecordOutcome::Pending) until it is there; nobody sees half a board.
//!    A board that is only behind answers as it is, meanwhile.
//! 3. One instance rebuilds, under a lock that ends by itself if it dies. From before the source is read, updates are kept, too, and
//!    applied to what was read before it takes the place of the old board, in one step. What was committed before is in what is
//!    read; what was committed later is kept. Scores by [`Update::Best`] and [`Update::Lowest`] may be in both, and events are
//!    told apart by their ids. [`Update::Last`] is as exact as the order in which callers call.
//! 4. An update of a process that dies between the commit and the call is missing until the next rebuild:
//!    [`rebuild`](Leaderboard::rebuild) asks for one.
//!
//! What another program has put in the place of a board is told as corrupt, and replaced from the source; without one by
//! [`reset`](Leaderboard::reset).
//!
//! Without a source a lost board begins anew, and an update that failed is lost.
//!
//! # Example
//! ```
//! use towerkeep::{Keep, leaderboard::Ranking};
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let keep = Keep::in_memory();
//! let board = keep.leaderboard(("challenge", 42)).ranking(Ranking::Competition);
//! for (user, score) in [(17, 1500.0), (9, 1500.0), (98, 1200.0)] {
//!     board.record(user, score).await.unwrap();
//! }
//! let top = board.top(10).await.unwrap();
//! assert_eq!(top.iter().map(|row| (&*row.member, row.rank)).collect::<Vec<_>>(), [("17", 1), ("9", 1), ("98", 3)]);
//! assert!(board.top(0).await.unwrap_err().is_invalid());
//! # }
//! ```

mod ask;
mod boards;
mod check;
mod decide;
mod handle;
mod memory;
mod name;
mod order;
mod period;
mod rebuild;
mod rebuilds;
#[cfg(feature = "redis")]
mod redis;
mod rules;
mod source;
mod standing;
mod store;
mod table;

pub use boards::Leaderboards;
pub use handle::Leaderboard;
pub use memory::MemoryLeaderboardStore;
pub use name::Name;
pub use period::{Period, Periods, Window};
#[cfg(feature = "redis")]
pub use redis::RedisLeaderboardStore;
#[cfg(feature = "redis")]
pub(crate) use redis::boards as boards_in_redis;
pub use rules::{Ranking, Rules, TieBreak, Update};
pub use source::{BoardSource, SourcePage, SourceRow};
pub use standing::{RecordOutcome, Recorded, Standing};
pub use store::{Answer, Begun, BoardId, Change, Finished, LeaderboardStore, Query, Reading};
