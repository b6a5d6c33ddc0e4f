//! What this instance knows of the purges in Redis, and how it learns and tells them.

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use super::{
    journal::{Batch, Journal, MOST_PLACES, MOST_TAGS},
    note_key,
    orphans::Orphans,
};
use crate::{
    Cx, Error, Result, StoreFuture,
    cache::{
        Entry, Place, Purge, Stamp, Tag,
        epochs::{Epochs, MAX_TAGS, random},
        vary::Index,
    },
    conn::{Command, Recovery, RecoveryStep, Redis, Reply, ScriptCall, guarded_script},
};

guarded_script! {
    /// Purges, and learns of purges.
    pub(crate) static EPOCHS = "cache_epochs", "epochs.lua"
}

/// A purge that has no answer for so long is sent again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a purge is tried before the process ends.
const RETRY: Duration = Duration::from_millis(50);
/// How long the note of a purged URL lasts: longer than any fill that was under way.
const PURGED: Duration = Duration::from_secs(3_600);

/// The purges, as far as they are known here.
#[derive(Debug, Default)]
pub(crate) struct Mirror(RwLock<State>);

#[derive(Debug, Default)]
struct State {
    /// Nothing until Redis was asked.
    epochs: Option<Epochs>,
    journal: Journal,
}

impl Mirror {
    /// Which purges came before now; unavailable until the first is known.
    pub(crate) fn stamp(&self) -> Result<Stamp> {
        let unknown = || Error::unavailable("the purges of the response cache are not known yet");
        self.read().epochs.as_ref().map(Epochs::stamp).ok_or_else(unknown)
    }

    /// Whether a message, `{record}:{number}`, tells nothing new.
    pub(crate) fn knows(&self, message: &[u8]) -> bool {
        let Some((boot, seq)) = std::str::from_utf8(message).ok().and_then(|text| text.split_once(':')) else {
            return false;
        };
        let (Ok(boot), Ok(seq), Ok(known)) = (boot.parse::<u64>(), seq.parse::<u64>(), self.stamp()) else {
            return false;
        };
        known.boot == boot && known.seq >= seq
    }

    pub(crate) fn is_current(&self, place: &Place, entry: &Entry) -> bool {
        let state = self.read();
        let is_current = |epochs: &Epochs| epochs.is_current(entry.stamp, &entry.tags);
        state.epochs.as_ref().is_some_and(is_current) && !state.journal.covers(place, &entry.tags)
    }

    /// Notes a purge; from here on it counts in this instance, whatever becomes of Redis.
    pub(crate) fn note(&self, purge: Purge) -> Batch {
        let number = self.write().journal.add(purge.clone(), Instant::now());
        let mut batch = Batch { numbers: vec![number], ..Batch::default() };
        batch.add(purge);
        batch
    }

    /// Asks Redis what happened since the last time, and sends again what has no answer.
    pub(crate) async fn refresh(self: &Arc<Self>, redis: &Redis) -> Result<()> {
        let overdue = self.read().journal.batches(AGAIN, Instant::now());
        if overdue.is_empty() {
            return self.learn(redis, &[], false).await;
        }
        self.send_all(redis, overdue).await
    }

    /// Sends what waits until nothing does, for at most `within`; how many purges still wait then.
    pub(crate) async fn settle(self: &Arc<Self>, redis: &Redis, within: Duration) -> usize {
        let settling = async {
            loop {
                let waiting = self.read().journal.batches(Duration::ZERO, Instant::now());
                if waiting.is_empty() {
                    return;
                }
                if self.send_all(redis, waiting).await.is_err() {
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        // Whether it ended in time is seen by what is left.
        tokio::time::timeout(within, settling).await.ok();
        self.read().journal.len()
    }

    /// Each as [`send`](Self::send); what has arrived before one fails is not sent again.
    async fn send_all(self: &Arc<Self>, redis: &Redis, batches: Vec<Batch>) -> Result<()> {
        for batch in batches {
            self.send(redis, batch).await?;
        }
        Ok(())
    }

    /// Carries purges to Redis, and strikes them off when they have arrived. The first command is under way when this
    /// is first polled.
    pub(crate) async fn send(self: &Arc<Self>, redis: &Redis, batch: Batch) -> Result<()> {
        if batch.all || !batch.tags.is_empty() {
            let mut chunks = batch.tags.chunks(MOST_TAGS);
            self.learn(redis, chunks.next().unwrap_or_default(), batch.all).await?;
            for chunk in chunks {
                self.learn(redis, chunk, false).await?;
            }
        }
        for chunk in batch.places.chunks(MOST_PLACES) {
            renew(redis, chunk).await?;
        }
        self.write().journal.strike(&batch.numbers, batch.all);
        Ok(())
    }

    /// One trip: purges these tags, and learns what everybody else purged.
    fn learn(self: &Arc<Self>, redis: &Redis, tags: &[Tag], all: bool) -> StoreFuture<()> {
        let known = self.read().epochs.as_ref().map(Epochs::stamp).unwrap_or_default();
        let mut call = ScriptCall::new()
            .key(redis.keys().cache_epochs())
            .arg(redis.keys().cache_purges())
            .int(random())
            .int(known.boot)
            .int(known.seq)
            .arg(if all { "all" } else { "tags" })
            .int(MAX_TAGS as u64);
        for tag in tags {
            call = call.arg(tag.as_str());
        }
        let mirror = Arc::clone(self);
        redis.eval(&Cx::new(), &EPOCHS, call, move |reply| {
            let told = Told::read(reply)?;
            let mut state = mirror.write();
            let epochs = state.epochs.get_or_insert_with(|| Epochs::new(told.boot));
            epochs.learn(told.boot, told.floor, told.last, told.purged);
            Ok(())
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives purged URLs a new generation, which no fill under way has seen.
fn renew(redis: &Redis, places: &[Place]) -> StoreFuture<()> {
    let lasts = PURGED.as_millis().to_string();
    let command = |place: &Place| {
        let note = Index::new(random(), Vec::new()).encode();
        Command::write("SET").arg(note_key(place, redis.keys())).arg(&note[..]).arg("PX").arg(&lasts)
    };
    let commands = places.iter().map(command).collect();
    redis.pipeline(&Cx::new(), commands, |replies| replies.into_iter().try_for_each(|reply| reply.map(drop)))
}

/// What the script tells.
struct Told {
    boot: u64,
    floor: u64,
    last: u64,
    purged: Vec<(Box<str>, u64)>,
}

impl Told {
    fn read(reply: Reply) -> Result<Self> {
        let mut replies = reply.array()?.into_iter();
        let mut next = || replies.next().ok_or_else(|| Error::corrupt("the record of purges is cut short"));
        let (boot, floor, last) = (number(next()?)?, number(next()?)?, number(next()?)?);
        let (mut purged, mut told) = (Vec::new(), next()?.array()?.into_iter());
        while let (Some(tag), Some(purge)) = (told.next(), told.next()) {
            // The record's own mark is no tag of anybody's, and does no harm among them.
            purged.push((tag.text()?.unwrap_or_default().into(), number(purge)?));
        }
        Ok(Self { boot, floor, last, purged })
    }
}

fn number(reply: Reply) -> Result<u64> {
    let number = reply.text()?.and_then(|text| text.parse().ok());
    number.ok_or_else(|| Error::corrupt("the record of purges holds something else than numbers"))
}

/// Replays the purges of an outage before anybody looks anything up, and gives back what nobody fills any more.
pub(super) struct Replay(pub(super) Arc<Mirror>, pub(super) Arc<Orphans>);

impl RecoveryStep for Replay {
    fn run(&self, recovery: Recovery) -> StoreFuture<()> {
        let (mirror, orphans) = (Arc::clone(&self.0), Arc::clone(&self.1));
        StoreFuture::boxed(async move {
            let waiting = mirror.read().journal.batches(Duration::ZERO, Instant::now());
            // Once in any case: the record can be another one now.
            mirror.learn(&recovery.redis, &[], false).await?;
            mirror.send_all(&recovery.redis, waiting).await?;
            orphans.give_back(&recovery.redis).await;
            Ok(())
        })
    }
}
