//! One response under a key of the application's: no note, no variants.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use bytes::Bytes;

use super::{Inner, claims, strict};
use crate::{
    Cx, Result, StoreFuture,
    cache::{Entry, Lookup, Place, Release, Stored, Ticket},
    conn::{Command, Reply},
};

/// What lies under the key, whatever URL it is of.
pub(super) fn lookup(inner: &Arc<Inner>, cx: &Cx, place: &Place) -> StoreFuture<Lookup> {
    let stamp = match inner.mirror.stamp() {
        Ok(stamp) => stamp,
        Err(error) => return StoreFuture::err(error),
    };
    // Of several keys, because then a value of another type is none instead of an error.
    let command = Command::read("MGET").arg(place.key(inner.redis.keys()));
    let (inner, place) = (Arc::clone(inner), place.clone());
    let mut ticket = Ticket { stamp, seen: Bytes::new(), claim: None };
    strict::read(&Arc::clone(&inner), cx, command, move |reply| {
        if inner.is_strict {
            ticket.stamp = inner.mirror.stamp()?;
        }
        read(&inner, &place, ticket, reply)
    })
}

fn read(inner: &Inner, place: &Place, ticket: Ticket, reply: Reply) -> Result<Lookup> {
    let value = reply.array()?.into_iter().next().map(Reply::bytes).transpose()?.flatten();
    let Some(frame) = value else { return Ok(Lookup::Miss(ticket)) };
    Ok(match Entry::decode(&Bytes::from(frame)) {
        Ok((entry, _)) if inner.mirror.is_current(place, &entry) => Lookup::Found(Arc::new(entry), ticket),
        Ok(_) => Lookup::Miss(ticket),
        Err(_) => {
            inner.damaged.fetch_add(1, Relaxed);
            crate::telemetry::count("towerkeep_cache_damaged_total", [("cache", place.name())]);
            Lookup::Miss(ticket)
        }
    })
}

/// Replaces what lies there. Purges are told by the stamp, which each lookup compares.
pub(super) fn store(
    inner: &Arc<Inner>,
    cx: &Cx,
    place: &Place,
    ticket: &Ticket,
    entry: &Entry,
    lasts: u64,
) -> StoreFuture<Stored> {
    let frame = entry.encode(0);
    let key = place.key(inner.redis.keys());
    let command = Command::in_time("SET").arg(key).arg(&frame[..]).arg("PX").arg(lasts.to_string());
    let storing = inner.redis.call(cx, command, |reply| {
        drop(reply);
        Ok(Stored::Kept)
    });
    let Some(token) = ticket.claim else { return storing };
    let (inner, place) = (Arc::clone(inner), place.clone());
    StoreFuture::submit(async move {
        let stored = storing.await;
        claims::release(&inner, &place, token, Release::Gone).await?;
        stored
    })
}
