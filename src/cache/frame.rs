//! A stored response, and how it stands in bytes.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{
    epochs::Stamp,
    policy::Standing,
    tag::Tags,
    vary::{self, Variant},
};
use crate::{
    Error, Result,
    clock::{Timestamp, micros},
};

/// A whole response and what is needed to serve it again: a hit compares numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The status.
    pub status: StatusCode,
    /// The fields, as they leave with each hit.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// When it came.
    pub stored: Timestamp,
    /// How old it was then.
    pub initial_age: Duration,
    /// It is fresh before this.
    pub fresh_until: Timestamp,
    /// Where the handler fails it serves before this; not earlier than `fresh_until`.
    pub stale_until: Timestamp,
    /// It serves before this while it is refreshed in the background; not earlier than `fresh_until`.
    pub refresh_until: Timestamp,
    /// It is kept before this: the latest of all.
    pub kept_until: Timestamp,
    /// Nothing forbids to serve it stale.
    pub may_be_stale: bool,
    /// It has a validator of the handler's, which can be asked whether it still holds.
    pub has_validator: bool,
    /// What purges it.
    pub tags: Tags,
    /// When its making began.
    pub stamp: Stamp,
    /// The request fields that chose it.
    pub variant: Variant,
}

const MAGIC: &[u8; 3] = b"tkc";
const VERSION: u8 = 3;
/// Where what the checksum covers begins.
const COVERED: usize = 12;
const FIXED: usize = 116;
const MAY_BE_STALE: u16 = 1;
const HAS_VALIDATOR: u16 = 2;

impl Entry {
    /// How old it is (RFC 9111, 4.2.3).
    pub fn age(&self, now: Timestamp) -> Duration {
        self.initial_age + now.since(self.stored)
    }

    /// How long it is still fresh; zero when it is stale.
    pub fn left(&self, now: Timestamp) -> Duration {
        self.fresh_until.since(now)
    }

    /// Whether it answers without asking the handler.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.fresh_until
    }

    /// Whether the handler can be asked if it still holds.
    pub(crate) fn can_be_validated(&self, now: Timestamp) -> bool {
        self.has_validator && now < self.kept_until
    }

    /// How far it is.
    pub(crate) fn standing(&self, now: Timestamp) -> Standing {
        Standing {
            age: self.age(now),
            left: Some(self.left(now)).filter(|_| self.is_fresh(now)),
            past: now.since(self.fresh_until),
            may_be_refreshed: now < self.refresh_until,
            may_be_stale: self.may_be_stale && now < self.kept_until,
        }
    }

    /// Whether `request` asks for this one of the URL's variants (RFC 9111, 4.1).
    pub fn matches(&self, request: &HeaderMap) -> bool {
        Self::variant_of(&self.headers, request) == Some(self.variant)
    }

    /// The variant that a response of these fields to `request` is; nothing where `Vary` is `*` or cannot be read.
    pub fn variant_of(response: &HeaderMap, request: &HeaderMap) -> Option<Variant> {
        vary::names_of(response).map(|names| vary::select(&names, request))
    }

    /// About how many bytes it takes in memory.
    pub fn weight(&self) -> usize {
        let fields: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        self.body.len() + fields + self.tags.as_bytes().len() + 256
    }

    /// The entry as bytes: magic, version, checksum, numbers, tags, fields in order, body. `generation` is the
    /// store's own number.
    pub fn encode(&self, generation: u64) -> Bytes {
        let fields: usize = self.headers.iter().map(|(name, value)| 6 + name.as_str().len() + value.len()).sum();
        let tags = self.tags.as_bytes();
        let mut out = BytesMut::with_capacity(FIXED + tags.len() + fields + self.body.len());
        out.put_slice(MAGIC);
        out.put_u8(VERSION);
        out.put_u64_le(0);
        out.put_u16_le(self.status.as_u16());
        out.put_u16_le(self.flags());
        for moment in [self.stored, self.fresh_until, self.stale_until, self.refresh_until, self.kept_until] {
            out.put_u64_le(moment.as_micros());
        }
        for number in [micros(self.initial_age), self.stamp.boot, self.stamp.seq, generation] {
            out.put_u64_le(number);
        }
        out.put_slice(&self.variant);
        for length in [tags.len(), fields, self.body.len()] {
            out.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
        }
        debug_assert_eq!(out.len(), FIXED);
        out.put_slice(tags);
        put_fields(&mut out, &self.headers);
        out.put_slice(&self.body);
        let sum = checksum(&out[COVERED..]);
        out[4..COVERED].copy_from_slice(&sum.to_le_bytes());
        out.freeze()
    }

    fn flags(&self) -> u16 {
        let flag = |is_set: bool, flag: u16| if is_set { flag } else { 0 };
        flag(self.may_be_stale, MAY_BE_STALE) | flag(self.has_validator, HAS_VALIDATOR)
    }

    /// Reads what [`encode`](Self::encode) wrote, and the generation; the body and the fields' values stay where they
    /// lie.
    ///
    /// # Errors
    /// Corrupt: not ours, of another version, cut short, or changed.
    pub fn decode(bytes: &Bytes) -> Result<(Self, u64)> {
        read(bytes).ok_or_else(|| Error::corrupt("a cached response is not what was stored"))
    }
}

fn put_fields(out: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
        let name = name.as_str();
        out.put_u16_le(u16::try_from(name.len()).unwrap_or(u16::MAX));
        out.put_u32_le(u32::try_from(value.len()).unwrap_or(u32::MAX));
        out.put_slice(name.as_bytes());
        out.put_slice(value.as_bytes());
    }
}

fn read(bytes: &Bytes) -> Option<(Entry, u64)> {
    let mut cursor = Cursor { bytes, at: 0 };
    let is_ours = cursor.take::<3>()? == *MAGIC && cursor.take::<1>()? == [VERSION];
    if !is_ours || cursor.u64()? != checksum(bytes.get(COVERED..)?) {
        return None;
    }
    let status = StatusCode::from_u16(u16::from_le_bytes(cursor.take()?)).ok()?;
    let flags = u16::from_le_bytes(cursor.take()?);
    let [stored, fresh_until, stale_until, refresh_until, kept_until] =
        [cursor.u64()?, cursor.u64()?, cursor.u64()?, cursor.u64()?, cursor.u64()?].map(Timestamp::from_micros);
    let initial_age = Duration::from_micros(cursor.u64()?);
    let stamp = Stamp { boot: cursor.u64()?, seq: cursor.u64()? };
    let generation = cursor.u64()?;
    let variant = cursor.take::<16>()?;
    let [tags, fields, body] = [cursor.u32()?, cursor.u32()?, cursor.u32()?];
    let tags = Tags::decode(cursor.slice(tags)?)?;
    let headers = read_fields(&cursor.slice(fields)?)?;
    let body = cursor.slice(body)?;
    let is_whole = cursor.at == bytes.len();
    let entry = Entry {
        status,
        headers,
        body,
        stored,
        initial_age,
        fresh_until,
        stale_until,
        refresh_until,
        kept_until,
        may_be_stale: flags & MAY_BE_STALE != 0,
        has_validator: flags & HAS_VALIDATOR != 0,
        tags,
        stamp,
        variant,
    };
    is_whole.then_some((entry, generation))
}

fn read_fields(bytes: &Bytes) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(16);
    let mut cursor = Cursor { bytes, at: 0 };
    while cursor.at < bytes.len() {
        let name = usize::from(u16::from_le_bytes(cursor.take()?));
        let value = cursor.u32()?;
        let name = HeaderName::from_bytes(&cursor.slice(name)?).ok()?;
        headers.try_append(name, HeaderValue::from_maybe_shared(cursor.slice(value)?).ok()?).ok()?;
    }
    Some(headers)
}

struct Cursor<'b> {
    bytes: &'b Bytes,
    at: usize,
}

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(taken)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.take()?)).ok()
    }

    /// The next bytes, shared and not copied.
    fn slice(&mut self, length: usize) -> Option<Bytes> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        let slice = self.bytes.slice(self.at..end);
        self.at = end;
        Some(slice)
    }
}

/// Tells damage, not forgery: who can write to Redis can write anything. Each step maps different inputs to
/// different sums, so a change within one word is always seen.
fn checksum(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let step = |sum: u64, word: u64| (sum ^ word).wrapping_mul(ODD).rotate_left(29);
    let sum = words.iter().fold(bytes.len() as u64, |sum, word| step(sum, u64::from_le_bytes(*word)));
    step(sum, u64::from_le_bytes(last))
}

/// The same bytes with the right beginning and checksum, as only somebody who forges them would write.
#[cfg(any(test, feature = "testing"))]
pub(super) fn resealed(mut bytes: Vec<u8>) -> Bytes {
    if bytes.len() > COVERED {
        let sum = checksum(&bytes[COVERED..]);
        bytes[..3].copy_from_slice(MAGIC);
        bytes[3] = VERSION;
        bytes[4..COVERED].copy_from_slice(&sum.to_le_bytes());
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Tag;
    use proptest::prelude::*;

    fn entry() -> Entry {
        let mut headers = HeaderMap::new();
        headers.append("x-twice", HeaderValue::from_static("1"));
        headers.append("content-type", HeaderValue::from_static("text/plain"));
        headers.append("x-twice", HeaderValue::from_static("2"));
        Entry {
            status: StatusCode::OK,
            headers,
            body: Bytes::from_static(b"hello, body"),
            stored: Timestamp::from_micros(1),
            initial_age: Duration::from_secs(2),
            fresh_until: Timestamp::from_micros(3),
            stale_until: Timestamp::from_micros(4),
            refresh_until: Timestamp::from_micros(7),
            kept_until: Timestamp::from_micros(8),
            may_be_stale: true,
            has_validator: false,
            tags: Tags::new(&[Tag::from("a"), Tag::from(("b", 7))]),
            stamp: Stamp { boot: 5, seq: 6 },
            variant: [7; 16],
        }
    }

    #[test]
    fn decodes_what_it_encoded_without_copying_the_body() {
        let bytes = entry().encode(9);
        let (read, generation) = Entry::decode(&bytes).expect("whole");
        assert_eq!((&read, generation), (&entry(), 9));
        let twice: Vec<_> = read.headers.get_all("x-twice").iter().collect();
        assert_eq!(twice, ["1", "2"]);
        assert!(bytes.as_ptr_range().contains(&read.body.as_ptr()));
    }

    #[test]
    fn cut_short_or_changed_at_any_byte_it_is_corrupt() {
        let bytes = entry().encode(9);
        for at in 0..bytes.len() {
            assert!(Entry::decode(&bytes.slice(..at)).is_err_and(|error| error.is_corrupt()), "cut at {at}");
            for flip in [1, 0x80, 0xff] {
                let mut changed = bytes.to_vec();
                changed[at] ^= flip;
                assert!(Entry::decode(&changed.into()).is_err(), "changed at {at} by {flip}");
            }
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(Entry::decode(&longer.into()).is_err());
    }

    #[test]
    fn newer_and_older_versions_are_not_read() {
        for version in [0, VERSION + 1] {
            let mut other = entry().encode(9).to_vec();
            other[3] = version;
            assert!(Entry::decode(&other.into()).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Entry::decode(&bytes.clone().into());
            let _ = Entry::decode(&resealed(bytes));
        }

        /// A right checksum over wrong lengths: whoever writes into our keys gets no panic out of us.
        #[test]
        fn forged_numbers_are_no_panic(at in COVERED..FIXED + 60, byte: u8) {
            let mut bytes = entry().encode(9).to_vec();
            let at = at.min(bytes.len() - 1);
            bytes[at] = byte;
            let _ = Entry::decode(&resealed(bytes));
        }

        #[test]
        fn flags_survive(may_be_stale: bool, has_validator: bool) {
            let entry = Entry { may_be_stale, has_validator, ..entry() };
            prop_assert_eq!(Entry::decode(&entry.encode(1)).expect("whole").0, entry);
        }

        #[test]
        fn any_response_survives(body in prop::collection::vec(any::<u8>(), 0..2_000), status in 200u16..600,
            fields in prop::collection::vec(("[a-z-]{1,12}", "[ -~]{0,20}"), 0..12)) {
            let mut entry = entry();
            entry.body = body.into();
            entry.status = StatusCode::from_u16(status).expect("in range");
            for (name, value) in fields {
                entry.headers.append(HeaderName::try_from(name).expect("a name"), value.parse().expect("a value"));
            }
            prop_assert_eq!(Entry::decode(&entry.encode(1)).expect("whole").0, entry);
        }
    }
}
