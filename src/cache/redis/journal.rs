//! Purges that are not in Redis yet: under way, or waiting for the end of an outage.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::cache::{Place, Purge, Tag, Tags};

/// Purges in order; what is in it counts as purged for this instance already.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    entries: BTreeMap<u64, (Instant, Purge)>,
    last: u64,
}

/// More purges become one of everything.
pub(crate) const MAX_JOURNAL: usize = 1_024;

/// So many tags go in one script: it must not hold up the server.
pub(crate) const MOST_TAGS: usize = 512;
/// So many places go in one trip: it has the deadline of any other.
pub(crate) const MOST_PLACES: usize = 256;

/// Purges of several entries as one, and the numbers by which they are struck off.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) numbers: Vec<u64>,
    pub(crate) all: bool,
    pub(crate) tags: Vec<Tag>,
    pub(crate) places: Vec<Place>,
}

impl Journal {
    /// Notes a purge; a full journal becomes one purge of everything.
    pub(crate) fn add(&mut self, purge: Purge, now: Instant) -> u64 {
        self.last += 1;
        if self.entries.len() >= MAX_JOURNAL {
            self.entries.clear();
            self.entries.insert(self.last, (now, Purge::All));
        } else {
            self.entries.insert(self.last, (now, purge));
        }
        self.last
    }

    /// Strikes off what has arrived. A number that went up in a purge of everything is not struck off with it.
    pub(crate) fn strike(&mut self, numbers: &[u64], sent_all: bool) {
        for number in numbers {
            let is_sent = self.entries.get(number).is_some_and(|(_, purge)| sent_all || *purge != Purge::All);
            if is_sent {
                self.entries.remove(number);
            }
        }
    }

    /// What waits for at least `age`, in batches that arrive one after the other.
    pub(crate) fn batches(&self, age: Duration, now: Instant) -> Vec<Batch> {
        let due = self.entries.iter().filter(|(_, (noted, _))| now.saturating_duration_since(*noted) >= age);
        due.fold(Vec::new(), |mut batches: Vec<Batch>, (number, (_, purge))| {
            let mut batch = batches.pop_if(|batch| !batch.is_full()).unwrap_or_default();
            batch.numbers.push(*number);
            batch.add(purge.clone());
            batches.push(batch);
            batches
        })
    }

    /// How many purges wait.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether an entry of `place` with these tags is purged by what is noted here.
    pub(crate) fn covers(&self, place: &Place, tags: &Tags) -> bool {
        self.entries.values().any(|(_, purge)| match purge {
            Purge::All => true,
            Purge::Places(places) => places.contains(place),
            Purge::Tags(purged) => tags.iter().any(|tag| purged.iter().any(|purged| purged.as_str() == tag)),
        })
    }
}

impl Batch {
    pub(crate) fn add(&mut self, purge: Purge) {
        match purge {
            Purge::All => self.all = true,
            Purge::Tags(tags) => self.tags.extend(tags),
            // What lies under a fixed key has no note, and a tag of its own in place of it.
            Purge::Places(places) => {
                for place in places {
                    match place.own_tag() {
                        Some(tag) => self.tags.push(tag),
                        None => self.places.push(place),
                    }
                }
            }
        }
    }

    fn is_full(&self) -> bool {
        self.tags.len() >= MOST_TAGS || self.places.len() >= MOST_PLACES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(text: &str) -> Purge {
        Purge::Tags(vec![Tag::from(text)])
    }

    fn place(n: u8) -> Place {
        Place::new("a", None, [n; 16])
    }

    #[test]
    fn what_is_noted_counts_until_it_is_struck_off() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        let first = journal.add(tags("x"), now);
        let second = journal.add(tags("x"), now);
        journal.add(Purge::Places(vec![place(1)]), now);
        let entry = Tags::new(&[Tag::from("x")]);
        journal.strike(&[first], false);
        assert!(journal.covers(&place(2), &entry), "the second purge of the same tag still waits");
        journal.strike(&[second], false);
        assert!(!journal.covers(&place(2), &entry) && journal.covers(&place(1), &entry));
    }

    #[test]
    fn a_fixed_place_is_purged_by_its_tag() {
        let mut batch = Batch::default();
        let fixed = place(1).fixed(Some("user:profile"));
        batch.add(Purge::Places(vec![fixed.clone(), place(2)]));
        assert_eq!((batch.places, batch.tags), (vec![place(2)], vec![fixed.own_tag().expect("it is fixed")]));
    }

    #[test]
    fn a_full_journal_purges_everything() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        let mut last = 0;
        for n in 0..=MAX_JOURNAL {
            last = journal.add(tags(&n.to_string()), now);
        }
        assert!(journal.covers(&place(9), &Tags::default()));
        journal.strike(&[last], false);
        let waiting = journal.batches(Duration::ZERO, now);
        assert!(waiting.len() == 1 && waiting[0].all, "the last purge has arrived, the others have not");
        journal.strike(&[last], true);
        assert!(journal.batches(Duration::ZERO, now).is_empty());
    }

    #[test]
    fn what_has_arrived_of_many_purges_is_struck_off() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        for n in 0..1_000u32 {
            journal.add(
                Purge::Places((0..33).map(|m| Place::new("a", None, u128::from(n * 33 + m).to_be_bytes())).collect()),
                now,
            );
        }
        let mut sent = 0;
        for batch in journal.batches(Duration::ZERO, now) {
            assert!(batch.places.len() < MOST_PLACES + 33, "{}", batch.places.len());
            sent += batch.places.len();
            journal.strike(&batch.numbers, batch.all);
        }
        assert!(sent == 33_000 && journal.batches(Duration::ZERO, now).is_empty());
    }

    #[test]
    fn only_what_has_waited_is_sent_again() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        journal.add(tags("x"), now);
        assert!(journal.batches(Duration::from_secs(1), now).is_empty());
        let due = journal.batches(Duration::from_secs(1), now + Duration::from_secs(1));
        assert!(due.len() == 1 && due[0].tags == [Tag::from("x")]);
    }
}
