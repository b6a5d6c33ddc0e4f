//! Stored responses in Redis, shared by all instances.

mod claims;
mod fixed;
mod journal;
mod mirror;
mod orphans;
mod strict;

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use moka::sync::Cache;
use tokio::time::{MissedTickBehavior, interval};

use self::{
    claims::{CLAIM, RELEASE, Waiters, claim_key, token_text},
    mirror::{EPOCHS, Mirror, Replay},
    orphans::Orphans,
};
use super::{
    CacheStore, Claim, Entry, Lookup, Place, Purge, Purged, Release, Stored, Ticket, Token, Variant,
    epochs::random,
    vary::{self, Index},
};
use crate::{
    Cx, Result, StoreFuture,
    clock::Timestamp,
    conn::{Command, Notice, Notices, RecoveryStep, Redis, Reply, ScriptCall, Stage, guarded_script},
    key::Keyspace,
};

guarded_script! {
    /// Keeps a response, unless its place has changed.
    static STORE = "cache_store", "redis/store.lua"
}

/// Keeps responses in Redis; clones share the connection.
///
/// 1. `P` is `tk:cache:{name}:{partition}:{hash}`. `P:v` is the note of a URL (its generation, which request fields
///    choose, which variants there are), `P:0` the first variant, `P:{generation}:{n}` the others.
///    A fixed key holds its one response itself.
/// 2. A hit is one `MGET` of the note and the variant; what chooses is remembered here.
/// 3. Where several instances beat, a miss asks for the right to fill its URL, `P:l`: one more trip. The others wait for what
///    it stores, two seconds at most.
/// 4. Purges are numbered in the sorted set `tk:cache:epochs`, followed by each instance over the channel
///    `tk:cache:purges` and once a second. Losing the set revives nothing: its random id is part of every entry.
///
/// # When Redis is down
/// Every verb but `purge` is unavailable. Purges count in this instance at once, are kept (at most 1,024; more become one
/// of everything) and replayed before lookups are answered again. Other instances hear of them then.
#[derive(Clone)]
pub struct RedisCacheStore(Arc<Inner>);

struct Inner {
    redis: Redis,
    mirror: Arc<Mirror>,
    /// The notes that were seen last.
    notes: Cache<Place, Arc<Note>>,
    waiters: Arc<Waiters>,
    orphans: Arc<Orphans>,
    is_strict: bool,
    damaged: AtomicU64,
    /// Registered with the handle, which holds it weakly.
    _replay: Arc<Replay>,
}

struct Note {
    raw: Bytes,
    index: Index,
}

/// How many notes are remembered.
const NOTES: u64 = 10_000;
/// How often Redis is asked for purges that nobody told of.
const CHECK: Duration = Duration::from_secs(1);

impl RedisCacheStore {
    /// Keeps responses behind `redis`. Outside of a Tokio runtime nothing is ever answered from it.
    pub fn new(redis: &Redis) -> Self {
        Self::with(redis, false)
    }

    /// As [`new`](Self::new), and a purge that has answered [`Purged::Everywhere`] holds on all instances from then on, not
    /// some milliseconds later: each lookup asks for purges in the same trip, two commands more. A fill that was claimed asks
    /// when it is kept, one command more.
    pub fn strict(redis: &Redis) -> Self {
        Self::with(redis, true)
    }

    fn with(redis: &Redis, is_strict: bool) -> Self {
        redis.register(&STORE);
        redis.register(&EPOCHS);
        redis.register(&CLAIM);
        redis.register(&RELEASE);
        let mirror = Arc::new(Mirror::default());
        let orphans = Arc::new(Orphans::default());
        let replay = Arc::new(Replay(Arc::clone(&mirror), Arc::clone(&orphans)));
        let step: Weak<dyn RecoveryStep> = Arc::downgrade(&(Arc::clone(&replay) as Arc<dyn RecoveryStep>));
        redis.on_recovery(Stage::Purges, step);
        let notes = Cache::builder().max_capacity(NOTES).build();
        let (waiters, damaged) = (Arc::default(), AtomicU64::new(0));
        let inner = Arc::new(Inner {
            redis: redis.clone(),
            mirror,
            notes,
            waiters,
            orphans,
            is_strict,
            damaged,
            _replay: replay,
        });
        let heard = [redis.keys().cache_purges(), redis.keys().cache_fills()].map(|channel| redis.subscribe(channel));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(follow(Arc::downgrade(&inner), heard))),
            Err(_) => tracing::error!("a response cache made outside of a Tokio runtime hears of no purges"),
        }
        Self(inner)
    }

    /// How many stored values were not what we wrote: damaged, or another program's.
    pub fn damaged(&self) -> u64 {
        self.0.damaged.load(Relaxed)
    }
}

/// Hears of purges, and of claims given back, until the store is gone.
async fn follow(inner: Weak<Inner>, [mut purges, mut fills]: [Notices; 2]) {
    let mut check = interval(CHECK);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let heard = tokio::select! {
            notice = purges.next() => Some(notice),
            notice = fills.next() => {
                let Some(inner) = inner.upgrade() else { return };
                match notice {
                    Some(Notice::Message(key)) => inner.waiters.tell(&key),
                    // Who waits looks again by itself.
                    Some(Notice::Gap) => {}
                    None => return,
                }
                continue;
            }
            _ = check.tick() => None,
        };
        let Some(inner) = inner.upgrade() else { return };
        match heard {
            Some(None) => return,
            // Our own purges, and those that came with an earlier reading.
            Some(Some(Notice::Message(message))) if inner.mirror.knows(&message) => continue,
            _ => {}
        }
        if let Err(error) = inner.mirror.refresh(&inner.redis).await {
            tracing::debug!(%error, "the purges of the response cache were not read");
        }
    }
}

/// `P:v`.
fn note_key(place: &Place, keys: &Keyspace) -> String {
    place.key(keys) + ":v"
}

/// `P:v` and the key of a variant.
fn both_keys(place: &Place, keys: &Keyspace, generation: u64, number: usize) -> [String; 2] {
    let place = place.key(keys);
    let variant = if number == 0 { format!("{place}:0") } else { format!("{place}:{generation:016x}:{number}") };
    [place + ":v", variant]
}

/// One lookup: what was asked for, by what was known.
struct Query {
    inner: Arc<Inner>,
    place: Place,
    ticket: Ticket,
    known: Option<Arc<Note>>,
    variant: Variant,
    number: usize,
}

impl Query {
    fn new(inner: &Arc<Inner>, place: &Place, request: &HeaderMap) -> Result<Self> {
        let ticket = Ticket { stamp: inner.mirror.stamp()?, seen: Bytes::new(), claim: None };
        let known = inner.notes.get(place);
        let variant = known.as_ref().map(|note| vary::select(&note.index.names, request)).unwrap_or_default();
        let number = known.as_ref().and_then(|note| note.index.position(&variant)).unwrap_or(0);
        Ok(Self { inner: Arc::clone(inner), place: place.clone(), ticket, known, variant, number })
    }

    fn command(&self) -> Command {
        let generation = self.known.as_ref().map_or(0, |note| note.index.generation);
        let keys = both_keys(&self.place, self.inner.redis.keys(), generation, self.number);
        Command::read("MGET").arg(&keys[..])
    }

    fn read(mut self, reply: Reply) -> Result<Lookup> {
        if self.inner.is_strict {
            self.ticket.stamp = self.inner.mirror.stamp()?;
        }
        let mut values = reply.array()?.into_iter();
        let mut next = || values.next().map(Reply::bytes).transpose().map(|value| value.flatten().map(Bytes::from));
        let (note, frame) = (next()?, next()?);
        let Some(raw) = note else {
            self.inner.notes.invalidate(&self.place);
            return Ok(Lookup::Miss(self.ticket));
        };
        self.ticket.seen = raw.clone();
        let Some(note) = self.learn(raw) else { return Ok(self.damaged()) };
        let is_answered = match &self.known {
            None => note.index.names.is_empty(),
            Some(known) => known.index.names == note.index.names,
        };
        if !is_answered {
            return Ok(Lookup::Again);
        }
        let known_generation = self.known.as_ref().map(|known| known.index.generation);
        match note.index.position(&self.variant) {
            None => Ok(Lookup::Miss(self.ticket)),
            Some(0) if self.number == 0 => Ok(self.open(frame, &note.index)),
            Some(number) if number == self.number && known_generation == Some(note.index.generation) => {
                Ok(self.open(frame, &note.index))
            }
            Some(_) => Ok(Lookup::Again),
        }
    }

    /// Remembers the note, if it is another one than before.
    fn learn(&self, raw: Bytes) -> Option<Arc<Note>> {
        if let Some(known) = self.known.as_ref().filter(|known| known.raw == raw) {
            return Some(Arc::clone(known));
        }
        let index = Index::decode(&raw)?;
        let note = Arc::new(Note { raw, index });
        self.inner.notes.insert(self.place.clone(), Arc::clone(&note));
        Some(note)
    }

    /// The entry, unless it is missing, damaged, of another generation, or purged.
    fn open(self, frame: Option<Bytes>, index: &Index) -> Lookup {
        let Some(frame) = frame else { return Lookup::Miss(self.ticket) };
        let Ok((entry, generation)) = Entry::decode(&frame) else { return self.damaged() };
        let is_it = generation == index.generation && entry.variant == self.variant;
        if is_it && self.inner.mirror.is_current(&self.place, &entry) {
            Lookup::Found(Arc::new(entry), self.ticket)
        } else {
            Lookup::Miss(self.ticket)
        }
    }

    fn damaged(self) -> Lookup {
        self.inner.damaged.fetch_add(1, Relaxed);
        crate::telemetry::count("towerkeep_cache_damaged_total", [("cache", self.place.name())]);
        Lookup::Miss(self.ticket)
    }
}

impl CacheStore for RedisCacheStore {
    fn now(&self, cx: &Cx) -> Timestamp {
        cx.now().unwrap_or_else(|| self.0.redis.now())
    }

    fn lookup(&self, cx: &Cx, place: &Place, request: &HeaderMap) -> StoreFuture<Lookup> {
        if place.template().is_some() {
            return fixed::lookup(&self.0, cx, place);
        }
        match Query::new(&self.0, place, request) {
            Err(error) => StoreFuture::err(error),
            Ok(query) => {
                let command = query.command();
                strict::read(&self.0, cx, command, move |reply| query.read(reply))
            }
        }
    }

    fn store(&self, cx: &Cx, place: &Place, ticket: &Ticket, entry: Arc<Entry>) -> StoreFuture<Stored> {
        let names = vary::names_of(&entry.headers).filter(|_| self.0.mirror.is_current(place, &entry));
        let Some(names) = names else { return StoreFuture::ok(Stored::Refused) };
        let lasts = entry.kept_until.since(self.now(cx)).as_millis().max(1);
        let lasts = u64::try_from(lasts).unwrap_or(u64::MAX);
        if place.template().is_some() {
            return fixed::store(&self.0, cx, place, ticket, &entry, lasts);
        }
        let (index, number) = Index::admit(Index::decode(&ticket.seen), names, entry.variant, random());
        let note = index.encode();
        let [note_key, variant_key] = both_keys(place, self.0.redis.keys(), index.generation, number);
        let call = ScriptCall::new()
            .key(note_key)
            .key(variant_key)
            .arg(ticket.seen.to_vec())
            .arg(note.to_vec())
            .arg(entry.encode(index.generation).to_vec())
            .int(lasts)
            .key(claim_key(place, self.0.redis.keys()))
            .arg(ticket.claim.map(token_text).unwrap_or_default())
            .arg(self.0.redis.keys().cache_fills());
        let (inner, noted) = (Arc::clone(&self.0), place.clone());
        let storing = self.0.redis.eval(cx, &STORE, call, move |reply| {
            if reply.int()? == 0 {
                return Ok(Stored::Refused);
            }
            inner.notes.insert(noted, Arc::new(Note { raw: note, index }));
            Ok(Stored::Kept)
        });
        claims::given_back(&self.0, place, ticket.claim, strict::confirmed(&self.0, place, ticket, entry, storing))
    }

    fn claim(&self, cx: &Cx, place: &Place, token: Token) -> StoreFuture<Claim> {
        claims::claim(&self.0, cx, place, token)
    }

    fn release(&self, place: &Place, token: Token, how: Release) -> StoreFuture<()> {
        claims::release(&self.0, place, token, how)
    }

    fn settle(&self, within: Duration) -> StoreFuture<usize> {
        let inner = Arc::clone(&self.0);
        StoreFuture::boxed(async move { Ok(inner.mirror.settle(&inner.redis, within).await) })
    }

    /// Counts here before it is sent, so that a caller that goes away leaves no purge undone.
    fn purge(&self, _: &Cx, purge: Purge) -> StoreFuture<Purged> {
        let batch = self.0.mirror.note(purge);
        let inner = Arc::clone(&self.0);
        StoreFuture::submit(async move {
            match inner.mirror.send(&inner.redis, batch).await {
                Ok(()) => Ok(Purged::Everywhere),
                Err(error) => {
                    tracing::debug!(%error, "a purge of the response cache waits for redis");
                    Ok(Purged::Pending)
                }
            }
        })
    }
}

impl fmt::Debug for RedisCacheStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCacheStore").field("redis", &self.0.redis).field("damaged", &self.damaged()).finish()
    }
}
