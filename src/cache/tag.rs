//! Names under which responses are purged together.

use std::fmt::Display;

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use crate::request_key::push_hex;

/// A name that a handler or a layer puts on responses, so that they can be purged together.
///
/// A pair is a kind and an id; `("challenge", 7)` is the tag `challenge:7`. Over 128 bytes a tag is kept as a hash.
///
/// ```
/// use towerkeep::cache::Tag;
/// assert_eq!(Tag::from(("challenge", 7)), Tag::from("challenge:7"));
/// assert_ne!(Tag::from("a"), Tag::from("b"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

/// Longer tags are hashed.
const MAX_LENGTH: usize = 128;

impl Tag {
    /// All responses of one cache.
    pub(crate) fn of_name(name: &str) -> Self {
        Self::marked('n', name)
    }

    /// All responses of one partition of one cache.
    pub(crate) fn of_partition(name: &str, partition: &str) -> Self {
        Self::marked('p', &format!("{name}:{partition}"))
    }

    /// The response of one fixed place.
    pub(crate) fn of_place(place: &str) -> Self {
        Self::marked('f', place)
    }

    /// The tag as it stands in stores: with a letter for its kind.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn marked(kind: char, text: &str) -> Self {
        if text.len() <= MAX_LENGTH {
            return Self(format!("{kind}:{text}").into());
        }
        let mut hashed = format!("{kind}#");
        push_hex(&mut hashed, &Sha256::digest(text)[..16]);
        Self(hashed.into())
    }
}

impl From<&str> for Tag {
    fn from(text: &str) -> Self {
        Self::marked('t', text)
    }
}

impl From<String> for Tag {
    fn from(text: String) -> Self {
        Self::marked('t', &text)
    }
}

impl From<&String> for Tag {
    fn from(text: &String) -> Self {
        Self::marked('t', text)
    }
}

impl<T: Display> From<(&str, T)> for Tag {
    fn from((kind, id): (&str, T)) -> Self {
        Self::marked('t', &format!("{kind}:{id}"))
    }
}

/// The tags of one response, as one piece of bytes: a hit reads them where they lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Bytes);

impl Tags {
    /// These tags, in order.
    pub fn new<'t>(tags: impl IntoIterator<Item = &'t Tag>) -> Self {
        let mut bytes = BytesMut::new();
        for Tag(text) in tags {
            // Longer than 255 bytes they never are: see MAX_LENGTH.
            bytes.put_u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
            bytes.put_slice(text.as_bytes());
        }
        Self(bytes.freeze())
    }

    /// These tags, and those of `more` that are not among them.
    pub(crate) fn and<'t>(&self, more: impl IntoIterator<Item = &'t Tag>) -> Self {
        let new = more.into_iter().filter(|tag| self.iter().all(|known| known != tag.as_str()));
        Self([&self.0[..], &Self::new(new).0[..]].concat().into())
    }

    /// Each tag's text.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (&length, after) = rest.split_first()?;
            let (text, after) = after.split_at_checked(usize::from(length))?;
            rest = after;
            std::str::from_utf8(text).ok()
        })
    }

    pub(crate) fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Reads what [`as_bytes`](Self::as_bytes) gave; `None` unless every byte belongs to a tag.
    pub(crate) fn decode(bytes: Bytes) -> Option<Self> {
        let tags = Self(bytes);
        let read: usize = tags.iter().map(|text| text.len() + 1).sum();
        (read == tags.0.len()).then_some(tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_where_they_lie() {
        let tags = [Tag::from("a"), Tag::from(("b", 7)), Tag::from("x".repeat(500))];
        let encoded = Tags::new(&tags);
        let read: Vec<&str> = encoded.iter().collect();
        assert_eq!(read[..2], ["t:a", "t:b:7"]);
        assert_eq!(read[2], tags[2].as_str());
        assert_eq!(Tags::decode(encoded.as_bytes().clone()), Some(encoded));
        assert_eq!(Tags::decode(Bytes::from_static(b"\x05ab")), None);
    }

    #[test]
    fn tags_are_added_once() {
        let tags = Tags::new(&[Tag::from("a"), Tag::from("b")]).and(&[Tag::from("b"), Tag::from("c")]);
        assert_eq!(tags.iter().collect::<Vec<_>>(), ["t:a", "t:b", "t:c"]);
    }

    #[test]
    fn our_own_marks_are_never_a_users_tag() {
        assert_ne!(Tag::from("search"), Tag::of_name("search"));
        assert_ne!(Tag::from("n:search"), Tag::of_name("search"));
        assert_ne!(Tag::of_partition("search", "7"), Tag::of_name("search:7"));
    }
}
