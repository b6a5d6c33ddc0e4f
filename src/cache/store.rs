//! The seam: where stored responses lie.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;

use super::{Entry, Place, Tag, epochs::Stamp};
use crate::{Cx, StoreFuture, clock::Timestamp, outcome::outcomes};

/// Keeps responses and forgets them when told.
///
/// 1. [`lookup`](Self::lookup) never answers an entry that was purged before the call. One that is stale is answered:
///    whether it serves is the cache's decision.
/// 2. [`store`](Self::store) keeps nothing that was purged since its ticket was given: a purge while the handler
///    runs wins.
/// 3. What cannot be read, is of another version, or was written by somebody else is a miss, and may be replaced. It
///    is not an error.
/// 4. The answer of `store` is not waited for, but its future is run to its end. That of `purge` can be dropped early: the
///    purge must count all the same.
///
/// **When the store is down** `lookup` and `store` are unavailable, and [`purge`](Self::purge) answers
/// [`Purged::Pending`]: it must take effect before the store answers lookups again.
pub trait CacheStore: Send + Sync + 'static {
    /// The time that entries are judged by; all instances should agree about it.
    fn now(&self, cx: &Cx) -> Timestamp {
        cx.now().unwrap_or_else(|| std::time::SystemTime::now().into())
    }

    /// What [`lookup`](Self::lookup) would find, where this process has it and knows that it is current; nothing otherwise.
    ///
    /// What it answers leaves at once, without a place among those who ask for the same URL. Defaults to nothing, which is
    /// always right.
    fn recall(&self, _: &Cx, _: &Place, _: &HeaderMap) -> Option<Arc<Entry>> {
        None
    }

    /// The variant that `request` asks for, and the ticket for a fill.
    fn lookup(&self, cx: &Cx, place: &Place, request: &HeaderMap) -> StoreFuture<Lookup>;

    /// Keeps `entry`; in place of a stored one of the same variant.
    fn store(&self, cx: &Cx, place: &Place, ticket: &Ticket, entry: Arc<Entry>) -> StoreFuture<Stored>;

    /// Asks for the right to fill `place` for all instances that share this store; `token` names who asks.
    ///
    /// A store of one process has nobody to agree with, which is what the default says.
    fn claim(&self, _: &Cx, _: &Place, _: Token) -> StoreFuture<Claim> {
        StoreFuture::ok(Claim::Unshared)
    }

    /// Gives a granted claim back without a response; [`store`](Self::store) gives that of its ticket back by itself, unless
    /// it refuses at once. One that is not held any more, or never was, is no error.
    fn release(&self, _: &Place, _: Token, _: Release) -> StoreFuture<()> {
        StoreFuture::ok(())
    }

    /// Forgets. Answers an error only if the purge is lost for good.
    fn purge(&self, cx: &Cx, purge: Purge) -> StoreFuture<Purged>;

    /// Before the process ends: tries for at most `within` to carry out the purges that were answered [`Purged::Pending`].
    /// Answers how many are left, which end with the process. Defaults to none, for stores that keep none.
    fn settle(&self, _: Duration) -> StoreFuture<usize> {
        StoreFuture::ok(0)
    }
}

const _: Option<&dyn CacheStore> = None;

/// What a lookup found.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// A stored response, fresh or stale.
    Found(Arc<Entry>, Ticket),
    /// None that this request may have.
    Miss(Ticket),
    /// The store has learned which request fields choose; asked again it knows.
    Again,
}

/// The state of a place when it was looked up; what [`CacheStore::store`] compares with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ticket {
    /// Which purges came before.
    pub stamp: Stamp,
    /// The store's own note about the place; empty where it had none.
    pub seen: Bytes,
    /// The claim that the fill was granted, if it had to ask for one.
    pub claim: Option<Token>,
}

/// Names one who asks to fill a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub u64);

/// What is said to one who asks to fill a place.
#[derive(Debug)]
pub enum Claim {
    /// No other instance is there to ask.
    Unshared,
    /// Granted, for some seconds.
    Granted,
    /// Another instance fills it. The future ends when it is worth looking again; waiting for it is not time in the store.
    Taken(StoreFuture<()>),
    /// What was answered last could not be shared: nobody waits.
    Alone,
}

outcomes! {
    /// Why a claim is given back without a response.
    pub enum Release {
        /// Whoever filled is gone or has failed: somebody else may try.
        Gone => "gone",
        /// The response cannot be shared: for a while nobody waits for this place.
        Alone => "alone",
    }
}

/// What is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    /// Responses with any of these tags.
    Tags(Vec<Tag>),
    /// All variants of these places.
    Places(Vec<Place>),
    /// Everything.
    All,
}

outcomes! {
    /// Whether an entry was kept.
    #[must_use]
    pub enum Stored {
        /// It is kept.
        Kept => "kept",
        /// The place changed since the ticket: purged, or filled by somebody else.
        Refused => "refused",
    }
}

outcomes! {
    /// How far a purge has come.
    ///
    /// Nobody has to look at it: in both cases the purged responses are not served by this instance any more.
    pub enum Purged {
        /// In the store; instances follow within milliseconds.
        Everywhere => "everywhere",
        /// Redis is down: the purge is kept here and replayed before the cache is used again.
        Pending => "pending",
    }
}
