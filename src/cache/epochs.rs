//! Purging by order of events: no list of keys, no scan, and a purge during a fill wins.

use std::collections::HashMap;

use super::tag::Tags;

/// The moment at which the making of a response began, in the order of purges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Which record of purges `seq` counts in; random, so that a lost record revives nothing.
    pub boot: u64,
    /// How many purges there were.
    pub seq: u64,
}

/// When each tag was purged last.
///
/// 1. A purge takes the next number. A response is current while none of its tags was purged after its stamp.
/// 2. The numbers of at most 16,384 tags are kept. Where more were purged, the older half is forgotten and
///    `floor` rises to the last number forgotten: what began before it counts as purged, whatever its tags.
/// 3. Purging everything is raising `floor`.
#[derive(Clone, Debug)]
pub(crate) struct Epochs {
    boot: u64,
    floor: u64,
    seq: u64,
    purged: HashMap<Box<str>, u64>,
}

/// At most this many purged tags are remembered.
pub(crate) const MAX_TAGS: usize = 16_384;

impl Epochs {
    pub(crate) fn new(boot: u64) -> Self {
        Self { boot, floor: 0, seq: 0, purged: HashMap::new() }
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { boot: self.boot, seq: self.seq }
    }

    pub(crate) fn is_current(&self, stamp: Stamp, tags: &Tags) -> bool {
        let is_untouched = |tag: &str| self.purged.get(tag).is_none_or(|&purge| purge <= stamp.seq);
        stamp.boot == self.boot && stamp.seq >= self.floor && tags.iter().all(is_untouched)
    }

    pub(crate) fn purge<'t>(&mut self, tags: impl IntoIterator<Item = &'t str>) {
        for tag in tags {
            self.seq += 1;
            self.purged.insert(tag.into(), self.seq);
        }
        if self.purged.len() > MAX_TAGS {
            self.raise(self.seq - (MAX_TAGS / 2) as u64);
        }
    }

    pub(crate) fn purge_all(&mut self) {
        self.seq += 1;
        self.raise(self.seq);
    }

    fn raise(&mut self, floor: u64) {
        self.floor = floor;
        self.purged.retain(|_, purge| *purge > floor);
    }

    /// Takes over what a shared record tells of the purges after `self.seq`.
    #[cfg(feature = "redis")]
    pub(crate) fn learn(&mut self, boot: u64, floor: u64, seq: u64, purged: Vec<(Box<str>, u64)>) {
        if boot != self.boot {
            *self = Self::new(boot);
        }
        // Two readings can come in the wrong order: numbers only ever rise.
        self.seq = self.seq.max(seq);
        for (tag, purge) in purged {
            let known = self.purged.entry(tag).or_default();
            *known = purge.max(*known);
        }
        if floor > self.floor {
            self.raise(floor);
        }
    }
}

/// A random number for a new record or a new generation; never zero.
pub(crate) fn random() -> u64 {
    getrandom::u64().expect("the operating system gives random bytes").max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Tag;

    fn tags(texts: &[&str]) -> Tags {
        Tags::new(&texts.iter().map(|text| Tag::from(*text)).collect::<Vec<_>>())
    }

    #[test]
    fn a_purge_after_the_stamp_wins_and_an_earlier_one_does_not() {
        let mut epochs = Epochs::new(1);
        epochs.purge(["t:a"]);
        let stamp = epochs.stamp();
        assert!(epochs.is_current(stamp, &tags(&["a"])));
        epochs.purge(["t:a"]);
        assert!(!epochs.is_current(stamp, &tags(&["b", "a"])));
        assert!(epochs.is_current(stamp, &tags(&["b"])));
    }

    #[test]
    fn another_record_revives_nothing() {
        let stamp = Epochs::new(1).stamp();
        assert!(!Epochs::new(2).is_current(stamp, &tags(&[])));
    }

    #[test]
    fn purging_everything_forgets_the_tags() {
        let mut epochs = Epochs::new(1);
        let before = epochs.stamp();
        epochs.purge(["t:a"]);
        epochs.purge_all();
        assert!(!epochs.is_current(before, &tags(&[])));
        assert!(epochs.is_current(epochs.stamp(), &tags(&["a"])));
        assert!(epochs.purged.is_empty());
    }

    #[test]
    fn what_is_forgotten_counts_as_purged() {
        let mut epochs = Epochs::new(1);
        let before = epochs.stamp();
        for n in 0..=MAX_TAGS {
            epochs.purge([format!("t:{n}").as_str()]);
        }
        assert!(epochs.purged.len() <= MAX_TAGS / 2);
        assert!(!epochs.is_current(before, &tags(&["0"])));
        assert!(epochs.is_current(epochs.stamp(), &tags(&["0"])));
    }
}
