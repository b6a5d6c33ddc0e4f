//! A bounded table of clients that forgets idle ones first, and full ones last.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash, Hasher},
};

use super::{Policy, decide::State};
use crate::KeyValue;

/// How many clients a new one looks at to find idle ones, and how many are compared when all places are taken.
const SWEEP: usize = 2;
const COMPARE: usize = 16;

#[derive(Default)]
pub(super) struct Table {
    index: HashMap<Hashed, usize, BuildHasherDefault<AsItIs>>,
    slots: Vec<Slot>,
    /// Where the next sweep begins.
    hand: usize,
}

/// A client with the hash of its key, which is made once for shard and table.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hashed {
    pub(super) hash: u64,
    pub(super) key: KeyValue,
}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Takes the hash that a [`Hashed`] has.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a Hashed writes one u64");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

struct Slot {
    key: Hashed,
    states: States,
}

/// The states of one client; few, so they are searched one by one.
#[derive(Default)]
pub(super) struct States(Vec<(Policy, State)>);

impl States {
    /// The state under `policy`, a new one where there is none or the algorithm was another.
    pub(super) fn of(&mut self, policy: &Policy) -> &mut State {
        let place = match self.find(policy) {
            Some(place) => place,
            None => {
                self.0.push((*policy, State::new(policy)));
                self.0.len() - 1
            }
        };
        let (known, state) = &mut self.0[place];
        *known = *policy;
        if !state.fits(policy) {
            *state = State::new(policy);
        }
        state
    }

    pub(super) fn get(&self, policy: &Policy) -> Option<&State> {
        self.find(policy).map(|place| &self.0[place].1).filter(|state| state.fits(policy))
    }

    pub(super) fn remove(&mut self, policy: &Policy) {
        if let Some(place) = self.find(policy) {
            self.0.swap_remove(place);
        }
    }

    fn find(&self, policy: &Policy) -> Option<usize> {
        self.0.iter().position(|(known, _)| known.is_named(policy))
    }

    /// How full the fullest window or bucket is.
    fn fill(&mut self, now: u64) -> u64 {
        self.0.iter_mut().map(|(policy, state)| state.fill(now, policy)).max().unwrap_or(0)
    }
}

impl Table {
    pub(super) fn get(&mut self, key: &Hashed) -> Option<&mut States> {
        self.index.get(key).map(|&place| &mut self.slots[place].states)
    }

    /// The client's states; for a new client of a full table the emptiest of a few others is forgotten.
    pub(super) fn states(&mut self, key: &Hashed, now: u64, max: usize) -> &mut States {
        let place = match self.index.get(key) {
            Some(&place) => place,
            None => self.insert(key, now, max),
        };
        &mut self.slots[place].states
    }

    fn insert(&mut self, key: &Hashed, now: u64, max: usize) -> usize {
        for _ in 0..SWEEP {
            if let Some(place) = self.next().filter(|&place| self.slots[place].states.fill(now) == 0) {
                self.forget(place);
            }
        }
        while self.slots.len() >= max {
            let some: [usize; COMPARE] = std::array::from_fn(|_| self.next().unwrap_or(0));
            let emptiest = some.into_iter().min_by_key(|&place| self.slots[place].states.fill(now));
            self.forget(emptiest.expect("16 were compared"));
        }
        self.slots.push(Slot { key: key.clone(), states: States::default() });
        self.index.insert(key.clone(), self.slots.len() - 1);
        self.slots.len() - 1
    }

    /// The next place under the hand.
    fn next(&mut self) -> Option<usize> {
        self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { 0 };
        (!self.slots.is_empty()).then_some(self.hand)
    }

    fn forget(&mut self, place: usize) {
        let slot = self.slots.swap_remove(place);
        self.index.remove(&slot.key);
        if let Some(moved) = self.slots.get(place) {
            self.index.insert(moved.key.clone(), place);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::seconds;

    const POLICY: Policy = Policy::sliding_window("p", 4, seconds(1));

    fn hashed(key: &str) -> Hashed {
        let mut hasher = std::hash::DefaultHasher::new();
        key.hash(&mut hasher);
        Hashed { hash: hasher.finish(), key: key.into() }
    }

    fn charge(table: &mut Table, key: &str, cost: u32) {
        let states = table.states(&hashed(key), 1_000, 64);
        states.of(&POLICY).charge(1_000, &POLICY, cost);
    }

    #[test]
    fn the_index_follows_every_move() {
        let mut table = Table::default();
        for n in 0..1_000 {
            charge(&mut table, &n.to_string(), 1 + n % 4);
        }
        assert_eq!((table.len(), table.index.len()), (64, 64));
        assert!(table.index.iter().all(|(key, &place)| table.slots[place].key == *key));
    }

    #[test]
    fn spraying_keys_does_not_free_full_ones() {
        let mut table = Table::default();
        for n in 0..8 {
            charge(&mut table, &format!("full-{n}"), 4);
        }
        for n in 0..10_000 {
            charge(&mut table, &n.to_string(), 1);
        }
        assert!((0..8).all(|n| table.index.contains_key(&hashed(&format!("full-{n}")))));
    }

    #[test]
    fn idle_clients_are_swept() {
        let mut table = Table::default();
        for n in 0..64 {
            charge(&mut table, &n.to_string(), 4);
        }
        for n in 0..100 {
            table.states(&hashed(&format!("late-{n}")), 9_000_000, 256).of(&POLICY).charge(9_000_000, &POLICY, 1);
        }
        let idle = table.slots.iter().filter(|slot| !slot.key.key.as_str().contains("late")).count();
        assert_eq!((idle, table.len()), (0, 100));
    }
}
