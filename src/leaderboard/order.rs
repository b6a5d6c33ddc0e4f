//! Rows in their order, with their places, in O(log n).

/// A sorted list in pieces of bounded length: the place of an element costs one step for each piece before it.
#[derive(Clone, Debug)]
pub(super) struct SortedList<T> {
    pieces: Vec<Vec<T>>,
}

/// A piece that grows longer becomes two.
const LONGEST: usize = 512;

impl<T> Default for SortedList<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T: Ord> SortedList<T> {
    pub(super) fn len(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }

    /// Adds `item`, unless it is there.
    pub(super) fn insert(&mut self, item: T) {
        let at = self.piece_of(&item).min(self.pieces.len().saturating_sub(1));
        let Some(piece) = self.pieces.get_mut(at) else { return self.pieces.push(vec![item]) };
        if let Err(place) = piece.binary_search(&item) {
            piece.insert(place, item);
        }
        if piece.len() > LONGEST {
            let rest = piece.split_off(LONGEST / 2);
            self.pieces.insert(at + 1, rest);
        }
    }

    pub(super) fn remove(&mut self, item: &T) {
        let at = self.piece_of(item);
        let Some(piece) = self.pieces.get_mut(at) else { return };
        if let Ok(place) = piece.binary_search(item) {
            piece.remove(place);
        }
        if piece.is_empty() {
            self.pieces.remove(at);
        }
    }

    /// How many stand before the first for which `is_before` does not hold.
    pub(super) fn before(&self, is_before: impl Fn(&T) -> bool) -> usize {
        let at = self.pieces.partition_point(|piece| piece.last().is_some_and(&is_before));
        let whole: usize = self.pieces[..at].iter().map(Vec::len).sum();
        whole + self.pieces.get(at).map_or(0, |piece| piece.partition_point(&is_before))
    }

    /// All from place `offset` on.
    pub(super) fn from(&self, offset: usize) -> impl Iterator<Item = &T> {
        let (mut at, mut left) = (0, offset);
        while self.pieces.get(at).is_some_and(|piece| piece.len() <= left) {
            left -= self.pieces[at].len();
            at += 1;
        }
        self.pieces[at..].iter().flatten().skip(left)
    }

    fn piece_of(&self, item: &T) -> usize {
        self.pieces.partition_point(|piece| piece.last().is_some_and(|last| last < item))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_sorted_set(steps in prop::collection::vec((any::<bool>(), 0u32..3_000), 0..4_000), place in 0usize..3_000) {
            let (mut list, mut set) = (SortedList::default(), BTreeSet::new());
            for (is_insert, item) in steps {
                if is_insert { list.insert(item); set.insert(item); } else { list.remove(&item); set.remove(&item); }
            }
            prop_assert_eq!(list.len(), set.len());
            prop_assert!(list.from(place).eq(set.iter().skip(place)));
            let bound = u32::try_from(place).unwrap_or(0);
            prop_assert_eq!(list.before(|item| *item < bound), set.range(..bound).count());
        }
    }
}
