//! Each kind of fault, under 500 requests a second of all four layers, against its own criterion.
//!
//! What holds in each case, checked by [`Case::run`](case::Case::run): no answer is a 5xx, a user's session is the user's,
//! nobody who logged out is served (before the fault, in it, or after it; here or on a new instance), no limit admits more than its
//! bound, a cached body is the handler's, what was added in a session was added once. Each case prints a line of figures; `./check outages` makes a table of them.
//! In [`partition`] there are two instances, of which one is cut off.

pub(crate) mod case;
pub(crate) mod figures;
mod gone;
pub(crate) mod mix;
mod network;
mod partition;
pub(crate) mod paused;
mod refusals;
mod replies;
mod slow;
mod values;
