//! How Redis is, asked and not guessed: a connection, a write, a read, each with the reason if it fails.
//!
//! [`Keep::health`](crate::Keep::health) has one [`Health`], for the route of a load balancer and for an operator's page:
//!
//! 1. The checks go over a connection of their own, so that they find what the connection in use cannot know: a password
//!    that was changed, a server that takes no more connections.
//! 2. They are made at most once a second, and never twice at a time, however many ask; who asks in between gets the last
//!    [`HealthReport`]. A report takes half a second at most.
//! 3. They neither open nor close the breaker: requests have their own probes.
//! 4. What everybody may know is one word, [`HealthReport::verdict`]; as a response of axum the report says no more. Reasons
//!    and figures are for operators: [`HealthReport::details`].
//!
//! # When Redis is down
//! The verdict is `degraded`, with status 200: the service answers, and taking it out of a load balancer because of a
//! Redis that all instances share would turn an outage of Redis into one of the service.
//!
//! ```
//! use towerkeep::{Keep, health::Verdict};
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let keep = Keep::in_memory();
//! assert_eq!(keep.health().report().await.verdict(), Verdict::Ok);
//!
//! keep.force_outage(true);
//! let report = keep.health().report().await;
//! assert_eq!(report.verdict(), Verdict::Degraded);
//! assert!(report.details().contains(r#""connection":"forced""#));
//! # }
//! ```

mod probe;
mod report;

pub use crate::outcome::{Check, Reason};
pub use probe::Health;
pub use report::{HealthReport, Verdict};
