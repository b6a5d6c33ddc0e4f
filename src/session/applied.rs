//! Which changes of lately a session's values hold, so that a change whose answer was lost is made once.

use std::{
    fmt::Write as _,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use super::id::random_bytes;
use crate::clock::{Timestamp, minutes};

/// Names the changes that one write brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChangeId(u32);

impl ChangeId {
    /// One that no other change of lately has: they are counted from a random number, which costs less than one each.
    pub(super) fn new() -> Self {
        static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(u32::from_ne_bytes(random_bytes())));
        Self(NEXT.fetch_add(1, Relaxed))
    }
}

/// The changes that a session has in it, the newest last. Kept for a while and up to a number: a writer who got no answer
/// asks again long before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied(Vec<Entry>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    id: ChangeId,
    /// Seconds, of which only the last 18 hours are told apart.
    at: u16,
}

/// How long a change is remembered.
const REMEMBERED: Duration = minutes(5);
/// So many are remembered at most, at 12 bytes each.
const MOST: usize = 32;
/// An entry's hexadecimal digits.
const WIDTH: usize = 12;

impl Applied {
    pub(super) fn holds(&self, id: ChangeId) -> bool {
        self.0.iter().any(|entry| entry.id == id)
    }

    /// These and `ids`, which are applied at `now`, for the first time or once more.
    pub(super) fn with(&self, ids: impl Iterator<Item = ChangeId>, now: Timestamp) -> Self {
        let at = second(now);
        let is_fresh = |entry: &&Entry| u64::from(at.wrapping_sub(entry.at)) < REMEMBERED.as_secs();
        let mut entries: Vec<Entry> = self.0.iter().filter(is_fresh).copied().collect();
        for id in ids {
            entries.retain(|entry| entry.id != id);
            entries.push(Entry { id, at });
        }
        let surplus = entries.len().saturating_sub(MOST);
        entries.drain(..surplus);
        Self(entries)
    }

    /// The text that is stored; nothing where nothing is remembered.
    pub(super) fn encode(&self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let mut text = String::with_capacity(self.0.len() * WIDTH);
        for entry in &self.0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{:08x}{:04x}", entry.id.0, entry.at);
        }
        Some(text)
    }

    /// Reads the text back; what cannot be read is not remembered.
    pub(super) fn decode(text: &str) -> Self {
        let read = |text: &[u8]| {
            let (id, at) = std::str::from_utf8(text).ok()?.split_at_checked(8)?;
            Some(Entry { id: ChangeId(u32::from_str_radix(id, 16).ok()?), at: u16::from_str_radix(at, 16).ok()? })
        };
        Self(text.as_bytes().chunks_exact(WIDTH).take(MOST).filter_map(read).collect())
    }
}

fn second(time: Timestamp) -> u16 {
    u16::try_from(time.as_secs() & 0xffff).expect("sixteen bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::seconds;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    #[test]
    fn remembers_the_newest_of_the_last_minutes() {
        let ids: Vec<ChangeId> = (0..40).map(ChangeId).collect();
        let applied = Applied::default().with(ids.iter().copied(), NOW);
        assert!(!applied.holds(ids[7]) && applied.holds(ids[8]) && applied.holds(ids[39]));
        let later = applied.with([ids[0]].into_iter(), NOW + seconds(299));
        assert!(!later.holds(ids[8]) && later.holds(ids[9]) && later.holds(ids[0]));
        let again = later.with([ids[9]].into_iter(), NOW + seconds(299));
        assert!(again.with([].into_iter(), NOW + seconds(301)).holds(ids[9]), "made once more since");
        let much_later = later.with([ids[1]].into_iter(), NOW + seconds(300));
        assert!(!much_later.holds(ids[39]) && much_later.holds(ids[0]) && much_later.holds(ids[1]));
    }

    #[test]
    fn reads_back_what_it_wrote_and_skips_what_it_cannot_read() {
        let applied = Applied::default().with([ChangeId(7), ChangeId(u32::MAX)].into_iter(), NOW);
        let text = applied.encode().expect("two");
        assert_eq!((text.len(), Applied::decode(&text)), (24, applied.clone()));
        assert_eq!(Applied::decode(&format!("zzzzzzzzzzzz{text}0011")), applied);
        assert_eq!(Applied::decode("ééééééééé"), Applied::default());
        assert_eq!(Applied::default().encode(), None);
    }
}
