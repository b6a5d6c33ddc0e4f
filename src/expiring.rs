//! Values that end by themselves, in this process and within a bounded size.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    Cx, Result, StoreFuture,
    clock::{Clock, Timestamp},
    store::OutageSwitch,
};

/// What memory stores of values with a time to live stand on. Clones share the values.
#[derive(Clone)]
pub(crate) struct Shelf {
    values: Arc<Mutex<Values>>,
    clock: Clock,
    outage: OutageSwitch,
}

impl Shelf {
    /// Holds at most `bytes`, over which what ends soonest goes first, as with Redis' policy `volatile-ttl`.
    pub(crate) fn new(clock: Clock, bytes: usize) -> Self {
        let values = Values { most: bytes, ..Values::default() };
        Self { values: Arc::new(Mutex::new(values)), clock, outage: OutageSwitch::default() }
    }

    pub(crate) fn outage(mut self, switch: OutageSwitch) -> Self {
        self.outage = switch;
        self
    }

    pub(crate) fn resize(&self, bytes: usize) {
        self.lock().most = bytes;
    }

    pub(crate) fn verb<T>(&self, cx: &Cx, verb: impl FnOnce(&mut Values, Timestamp) -> T) -> StoreFuture<T> {
        let now = cx.now().unwrap_or_else(|| self.clock.now());
        StoreFuture::ready(self.outage.check().map(|()| verb(&mut self.lock(), now)) as Result<T>)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// No verb panics half-way, so what a poisoned lock holds is whole.
    fn lock(&self) -> MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Values by key, and their ends in order.
#[derive(Default)]
pub(crate) struct Values {
    entries: HashMap<Arc<str>, Entry>,
    ends: BTreeSet<(Timestamp, Arc<str>)>,
    size: usize,
    most: usize,
}

struct Entry {
    value: Bytes,
    ends: Timestamp,
}

/// What a value takes beside its own bytes and twice its key, roughly.
const OVERHEAD: usize = 160;

impl Values {
    pub(crate) fn get(&self, key: &str, now: Timestamp) -> Option<Bytes> {
        self.entries.get(key).filter(|entry| now < entry.ends).map(|entry| entry.value.clone())
    }

    pub(crate) fn insert(&mut self, key: &str, value: Bytes, ttl: Duration, now: Timestamp) {
        self.remove(key, now);
        self.make_room(size_of(key, &value), now);
        let (key, ends): (Arc<str>, _) = (key.into(), now + ttl);
        self.size += size_of(&key, &value);
        self.ends.insert((ends, Arc::clone(&key)));
        self.entries.insert(key, Entry { value, ends });
    }

    pub(crate) fn remove(&mut self, key: &str, now: Timestamp) -> Option<Bytes> {
        let (key, entry) = self.entries.remove_entry(key)?;
        self.size -= size_of(&key, &entry.value);
        self.ends.remove(&(entry.ends, key));
        (now < entry.ends).then_some(entry.value)
    }

    fn make_room(&mut self, wanted: usize, now: Timestamp) {
        while let Some((ends, key)) = self.ends.first().cloned() {
            if now < ends && self.size + wanted <= self.most {
                return;
            }
            self.remove(&key, now);
        }
    }
}

fn size_of(key: &str, value: &Bytes) -> usize {
    key.len() + value.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::seconds;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn holding(entries: usize) -> Values {
        Values { most: entries * (OVERHEAD + 2), ..Values::default() }
    }

    #[test]
    fn a_value_ends_at_its_time_and_not_before() {
        let mut values = holding(9);
        values.insert("a", Bytes::from_static(b"1"), seconds(5), at(10));
        assert!(values.get("a", at(14)).is_some());
        assert!(values.get("a", at(15)).is_none() && values.remove("a", at(15)).is_none());
        assert_eq!((values.entries.len(), values.ends.len(), values.size), (0, 0, 0));
    }

    proptest! {
        #[test]
        fn its_parts_agree_and_it_stays_within_its_size(
            steps in prop::collection::vec((0..8_u8, 0..30_u64, 0..20_u64, 0..40_usize), 1..80)
        ) {
            let mut values = Values { most: 4 * (OVERHEAD + 20), ..Values::default() };
            let mut now = 0;
            for (key, ttl, passed, size) in steps {
                now += passed;
                let key = key.to_string();
                if ttl == 0 {
                    values.remove(&key, at(now));
                    prop_assert!(values.get(&key, at(now)).is_none());
                } else {
                    values.insert(&key, vec![0; size].into(), seconds(ttl), at(now));
                    prop_assert_eq!(values.get(&key, at(now)).map(|value| value.len()), Some(size));
                }
                let sizes = values.entries.iter().map(|(key, entry)| size_of(key, &entry.value)).sum::<usize>();
                let ends = values.entries.iter().map(|(key, entry)| (entry.ends, Arc::clone(key))).collect::<BTreeSet<_>>();
                prop_assert!(values.size <= values.most);
                prop_assert_eq!((values.size, &values.ends), (sizes, &ends));
            }
        }
    }

    #[test]
    fn over_its_size_it_drops_what_ended_and_then_what_ends_soonest() {
        let mut values = holding(2);
        for (key, ttl) in [("a", 5), ("b", 90), ("c", 20)] {
            values.insert(key, Bytes::from_static(b"1"), seconds(ttl), at(0));
        }
        let left = |values: &Values| ["a", "b", "c", "d"].map(|key| values.get(key, at(0)).is_some());
        assert_eq!(left(&values), [false, true, true, false]);
        values.insert("d", Bytes::from_static(b"1"), seconds(1), at(30));
        assert_eq!(values.entries.len(), 2);
        assert!(values.get("d", at(30)).is_some() && values.get("b", at(30)).is_some());
    }
}
