//! What a hit says about time, with hardly an allocation.

use std::cell::RefCell;

use bytes::Bytes;
use http::HeaderValue;
use smallvec::SmallVec;

/// The values of `Age` and `Cache-Status` of a hit.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) age: HeaderValue,
    pub(crate) status: HeaderValue,
}

/// What a thread said lately: within one second all hits of a URL say the same.
const RECENT: usize = 32;
const STATUS: &[u8] = b"towerkeep; hit; ttl=";
/// Room for both texts with the longest of numbers, 60 bytes.
const ROOM: usize = 64;

type Said = Option<(u64, u64, Figures)>;

thread_local! {
    static LATELY: RefCell<[Said; RECENT]> = const { RefCell::new([const { None }; RECENT]) };
}

impl Figures {
    /// Of a response that is `age` seconds old and fresh for `left` more.
    pub(crate) fn of(age: u64, left: u64) -> Self {
        let slot = usize::try_from((age ^ left.rotate_left(2)) % RECENT as u64).unwrap_or_default();
        LATELY.with_borrow_mut(|lately| match &lately[slot] {
            Some((known_age, known_left, figures)) if (*known_age, *known_left) == (age, left) => figures.clone(),
            _ => lately[slot].insert((age, left, Self::written(age, left))).2.clone(),
        })
    }

    /// Both are cut from one piece of memory.
    fn written(age: u64, left: u64) -> Self {
        let mut text: SmallVec<[u8; ROOM]> = SmallVec::from_slice(STATUS);
        text.extend_from_slice(itoa::Buffer::new().format(left).as_bytes());
        let end = text.len();
        text.extend_from_slice(itoa::Buffer::new().format(age).as_bytes());
        let text = Bytes::from_owner(text);
        let value = |part: Bytes| HeaderValue::from_maybe_shared(part).expect("words and numbers are visible ascii");
        Self { age: value(text.slice(end..)), status: value(text.slice(..end)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever was said before in the same slot.
        #[test]
        fn figures_are_those_of_their_seconds(asked in prop::collection::vec((0u64..70, 0u64..70), 1..200), large: u64) {
            for (age, left) in asked.into_iter().chain([(large, u64::MAX), (0, large)]) {
                let said = Figures::of(age, left);
                prop_assert_eq!(said.age, age.to_string());
                prop_assert_eq!(said.status, format!("towerkeep; hit; ttl={left}"));
            }
        }
    }
}
