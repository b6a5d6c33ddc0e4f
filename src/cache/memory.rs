//! Stored responses in this process: bounded by bytes, the least recently used go first.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;
use http::HeaderMap;
use moka::{ops::compute::Op, policy::EvictionPolicy, sync::Cache};

use super::{
    CacheStore, Entry, Lookup, Place, Purge, Purged, Stored, Ticket,
    epochs::{Epochs, random},
    vary::{self, Index, Variant},
};
use crate::{
    Cx, StoreFuture,
    clock::{Clock, Timestamp},
    store::OutageSwitch,
};

/// Keeps responses in memory; clones share them.
///
/// Each instance has its own, so a purge reaches this process only.
///
/// ```
/// use towerkeep::{cache::{MemoryCacheStore, ResponseCache}, clock::Clock};
/// let store = MemoryCacheStore::new(Clock::system()).max_bytes(16 << 20);
/// let cache = ResponseCache::new(store);
/// assert!(cache.verify().is_ok());
/// ```
#[derive(Clone)]
pub struct MemoryCacheStore {
    clock: Clock,
    outage: OutageSwitch,
    sites: Cache<Place, Arc<Site>>,
    epochs: Arc<RwLock<Epochs>>,
}

/// All variants of one URL.
struct Site {
    note: Bytes,
    index: Index,
    entries: HashMap<Variant, Arc<Entry>>,
}

/// Defaults to 64 MiB.
const MAX_BYTES: u64 = 64 << 20;

impl MemoryCacheStore {
    /// An empty store of at most 64 MiB that takes the time from `clock`.
    pub fn new(clock: Clock) -> Self {
        let epochs = Arc::new(RwLock::new(Epochs::new(random())));
        Self { clock, outage: OutageSwitch::default(), sites: sites(MAX_BYTES), epochs }
    }

    /// Forgets the least recently used over `bytes`. Defaults to 64 MiB. Set it before the store is used.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.sites = sites(bytes);
        self
    }

    /// Refuses while `outage` is on.
    #[must_use]
    pub fn outage(mut self, outage: OutageSwitch) -> Self {
        self.outage = outage;
        self
    }

    fn find(&self, place: &Place, request: &HeaderMap) -> Lookup {
        let epochs = self.epochs.read().unwrap_or_else(PoisonError::into_inner);
        let site = self.sites.get(place);
        let seen = site.as_ref().map_or_else(Bytes::new, |site| site.note.clone());
        let ticket = Ticket { stamp: epochs.stamp(), seen, claim: None };
        let entry = site.and_then(|site| site.entries.get(&vary::select(&site.index.names, request)).cloned());
        match entry.filter(|entry| epochs.is_current(entry.stamp, &entry.tags)) {
            Some(entry) => Lookup::Found(entry, ticket),
            None => Lookup::Miss(ticket),
        }
    }

    /// As [`find`](Self::find), without a ticket.
    fn find_current(&self, place: &Place, request: &HeaderMap) -> Option<Arc<Entry>> {
        let site = self.sites.get(place)?;
        let entry = site.entries.get(&vary::select(&site.index.names, request))?;
        let epochs = self.epochs.read().unwrap_or_else(PoisonError::into_inner);
        epochs.is_current(entry.stamp, &entry.tags).then(|| Arc::clone(entry))
    }

    fn keep(&self, place: &Place, ticket: &Ticket, entry: Arc<Entry>) -> Stored {
        let is_current =
            self.epochs.read().unwrap_or_else(PoisonError::into_inner).is_current(entry.stamp, &entry.tags);
        let Some(names) = vary::names_of(&entry.headers).filter(|_| is_current) else { return Stored::Refused };
        let mut stored = Stored::Refused;
        self.sites.entry_by_ref(place).and_compute_with(|old| {
            let old = old.map(moka::Entry::into_value);
            if old.as_ref().map_or(&[][..], |site| &site.note[..]) != &ticket.seen[..] {
                return Op::Nop;
            }
            stored = Stored::Kept;
            Op::Put(Arc::new(Site::admit(old.as_deref(), names, entry)))
        });
        stored
    }

    fn forget(&self, purge: Purge) {
        let mut epochs = self.epochs.write().unwrap_or_else(PoisonError::into_inner);
        match purge {
            Purge::Tags(tags) => epochs.purge(tags.iter().map(super::Tag::as_str)),
            Purge::All => epochs.purge_all(),
            Purge::Places(places) => {
                for place in places {
                    self.sites.insert(place, Arc::new(Site::of(Index::new(random(), Vec::new()), HashMap::new())));
                }
            }
        }
    }
}

fn sites(bytes: u64) -> Cache<Place, Arc<Site>> {
    // Least recently used, because it always admits: the note of a purge must not be turned away.
    let weigh = |_: &Place, site: &Arc<Site>| u32::try_from(site.weight()).unwrap_or(u32::MAX);
    Cache::builder().max_capacity(bytes).weigher(weigh).eviction_policy(EvictionPolicy::lru()).build()
}

impl Site {
    fn of(index: Index, entries: HashMap<Variant, Arc<Entry>>) -> Self {
        Self { note: index.encode(), index, entries }
    }

    fn admit(old: Option<&Self>, names: Vec<http::HeaderName>, entry: Arc<Entry>) -> Self {
        let (index, _) = Index::admit(old.map(|site| site.index.clone()), names, entry.variant, random());
        let stays = |variant: &Variant| index.position(variant).is_some();
        let old = old.filter(|site| site.index.generation == index.generation);
        let kept = old.into_iter().flat_map(|site| &site.entries).filter(|(variant, _)| stays(variant));
        let mut entries: HashMap<_, _> = kept.map(|(variant, entry)| (*variant, Arc::clone(entry))).collect();
        entries.insert(entry.variant, entry);
        Self::of(index, entries)
    }

    fn weight(&self) -> usize {
        256 + self.note.len() + self.entries.values().map(|entry| entry.weight()).sum::<usize>()
    }
}

impl CacheStore for MemoryCacheStore {
    fn now(&self, cx: &Cx) -> Timestamp {
        cx.now().unwrap_or_else(|| self.clock.now())
    }

    fn recall(&self, _: &Cx, place: &Place, request: &HeaderMap) -> Option<Arc<Entry>> {
        if self.outage.is_on() { None } else { self.find_current(place, request) }
    }

    fn lookup(&self, _: &Cx, place: &Place, request: &HeaderMap) -> StoreFuture<Lookup> {
        StoreFuture::ready(self.outage.check().map(|()| self.find(place, request)))
    }

    fn store(&self, _: &Cx, place: &Place, ticket: &Ticket, entry: Arc<Entry>) -> StoreFuture<Stored> {
        StoreFuture::ready(self.outage.check().map(|()| self.keep(place, ticket, entry)))
    }

    /// Takes effect at once, in an outage too: there is nobody else to tell.
    fn purge(&self, _: &Cx, purge: Purge) -> StoreFuture<Purged> {
        self.forget(purge);
        StoreFuture::ok(if self.outage.is_on() { Purged::Pending } else { Purged::Everywhere })
    }
}

impl fmt::Debug for MemoryCacheStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.sites.weighted_size();
        f.debug_struct("MemoryCacheStore").field("urls", &self.sites.entry_count()).field("bytes", &bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clones_share_and_debug_shows_no_content() {
        let store = MemoryCacheStore::new(Clock::system());
        assert!(Arc::ptr_eq(&store.epochs, &store.clone().epochs));
        assert_eq!(format!("{store:?}"), "MemoryCacheStore { urls: 0, bytes: 0 }");
    }
}
