//! Lookups that ask for purges in the same trip.

use std::sync::Arc;

use super::Inner;
use crate::{
    Cx, Result, StoreFuture,
    cache::{Entry, Lookup, Place, Stored, Ticket},
    conn::{Command, Reply},
};

/// Sends the read of a place. Where the store is strict, the record of purges is read with it, and what is new there is
/// learnt before anything is judged.
pub(super) fn read<D>(inner: &Arc<Inner>, cx: &Cx, command: Command, decode: D) -> StoreFuture<Lookup>
where
    D: FnOnce(Reply) -> Result<Lookup> + Send + 'static,
{
    if !inner.is_strict {
        return inner.redis.call(cx, command, decode);
    }
    let record = inner.redis.keys().cache_epochs();
    let mark = Command::read("ZRANGE").arg(&record).arg(0).arg(0);
    let last = Command::read("ZRANGE").arg(&record).arg(-1).arg(-1).arg("WITHSCORES");
    let reading = inner.redis.pipeline(cx, vec![command, mark, last], Ok);
    let inner = Arc::clone(inner);
    StoreFuture::submit(async move {
        let mut replies = reading.await?.into_iter();
        let mut next = || replies.next().unwrap_or_else(|| Err(crate::Error::corrupt("a reply is missing")));
        let values = next()?;
        // A record that cannot be read is renewed by asking for it.
        if !next().and_then(|mark| Ok((mark, next()?))).is_ok_and(|(mark, last)| is_known(&inner, mark, last)) {
            inner.mirror.refresh(&inner.redis).await?;
        }
        decode(values)
    })
}

/// The answer of a store to a fill for which others may wait. Where it is strict, none of them gets what was purged before
/// they asked: the record of purges is read after the response was kept.
pub(super) fn confirmed(
    inner: &Arc<Inner>,
    place: &Place,
    ticket: &Ticket,
    entry: Arc<Entry>,
    storing: StoreFuture<Stored>,
) -> StoreFuture<Stored> {
    if !inner.is_strict || ticket.claim.is_none() {
        return storing;
    }
    let (inner, place) = (Arc::clone(inner), place.clone());
    StoreFuture::submit(async move {
        let stored = storing.await?;
        inner.mirror.refresh(&inner.redis).await?;
        Ok(if inner.mirror.is_current(&place, &entry) { stored } else { Stored::Refused })
    })
}

/// Whether this instance has heard of the last purge of the record.
fn is_known(inner: &Inner, mark: Reply, last: Reply) -> bool {
    let texts = |reply: Reply| -> Result<Vec<String>> {
        reply.array()?.into_iter().map(|reply| Ok(reply.text()?.unwrap_or_default())).collect()
    };
    let (Ok(mark), Ok(last)) = (texts(mark), texts(last)) else { return false };
    match (mark.first().and_then(|mark| mark.strip_prefix("boot:")), last.get(1)) {
        (Some(boot), Some(last)) => inner.mirror.knows(format!("{boot}:{last}").as_bytes()),
        _ => false,
    }
}
