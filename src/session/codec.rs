//! A session as one string: JSON that begins with a header of fixed width.
//!
//! All that scripts need stands at fixed places of the header, so Lua reads and writes it with `GETRANGE` and
//! `SETRANGE` and never decodes JSON, while `redis-cli get` shows something a person can read.

use std::{fmt, fmt::Write as _, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Data, Record, SecretHash, SessionId, Stamp, applied::Applied, data::Text, in_place};
use crate::{Error, Result, UserId, clock::Timestamp, clock::micros};

/// The format that this version writes.
const FORMAT: &str = "1";
/// Numbers in the header stay below 2^53, which Lua holds exactly.
const MAX_MICROS: u64 = (1 << 53) - 1;

/// Where in the string the time of the login stands, in bytes.
#[cfg(any(test, feature = "redis"))]
pub(super) const LOGIN: std::ops::RangeInclusive<usize> = 348..=363;

impl Record {
    /// The session as the one string that stores keep.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(640 + self.data.as_json().len());
        // Writing to a String cannot fail.
        let _ = Header::of(self).write(&mut text);
        let tail = Tail {
            user: self.user.as_ref().map(UserId::as_str),
            created: self.created.as_micros(),
            device: self.device.as_deref(),
            ip: self.ip,
            applied: self.applied.encode(),
        };
        let tail = serde_json::to_string(&tail).expect("texts and numbers are always JSON");
        text.push_str(&tail[1..tail.len() - 1]);
        let _ = write!(text, ",\"data\":{}}}", self.data.as_json());
        text
    }

    /// Reads the string back. A newer format is read as far as this version knows its names, and never written.
    ///
    /// # Errors
    /// Corrupt, when the text is nothing that [`encode`](Record::encode) wrote.
    pub fn decode(id: SessionId, text: &[u8]) -> Result<Self> {
        if let Some(record) = in_place::read(id, text) {
            return Ok(record);
        }
        let value: Stored<'_> = serde_json::from_slice(text).map_err(|_| corrupt())?;
        if value.towerkeep == FORMAT && !value.is_in_place(text) {
            return Err(corrupt());
        }
        value.into_record(id).ok_or_else(corrupt)
    }
}

/// The header's fields, in their order.
struct Header {
    stamp: Stamp,
    secret: SecretHash,
    previous: SecretHash,
    previous_until: u64,
    renewed: u64,
    last_seen: u64,
    idle: u64,
    ends: u64,
    logged_in: u64,
}

impl Header {
    fn of(record: &Record) -> Self {
        let stamp = |time: Timestamp| time.as_micros().min(MAX_MICROS);
        Self {
            stamp: record.stamp,
            secret: record.secret,
            previous: record.previous,
            previous_until: stamp(record.previous_until),
            renewed: stamp(record.renewed),
            last_seen: stamp(record.last_seen),
            idle: micros(record.idle).min(MAX_MICROS),
            ends: stamp(record.ends),
            logged_in: record.logged_in.map_or(0, stamp),
        }
    }

    fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let Stamp { generation, version } = self.stamp;
        write!(out, r#"{{"towerkeep":"{FORMAT}","gen":"{generation:010}","ver":"{version:010}","#)?;
        write!(out, r#""secret":"{}","prev":"{}","until":"{:016}","#, self.secret, self.previous, self.previous_until)?;
        write!(out, r#""renewed":"{:016}","seen":"{:016}","#, self.renewed, self.last_seen)?;
        write!(out, r#""idle":"{:016}","ends":"{:016}","login":"{:016}","#, self.idle, self.ends, self.logged_in)
    }
}

/// What follows the header, before the data.
#[derive(Serialize)]
struct Tail<'a> {
    user: Option<&'a str>,
    created: u64,
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<String>,
}

/// The whole value by its names; unknown ones are ignored.
#[derive(Deserialize)]
struct Stored<'a> {
    towerkeep: &'a str,
    r#gen: &'a str,
    ver: &'a str,
    secret: &'a str,
    prev: &'a str,
    until: &'a str,
    renewed: &'a str,
    seen: &'a str,
    idle: &'a str,
    ends: &'a str,
    login: &'a str,
    #[serde(borrow)]
    user: Option<Text<'a>>,
    created: u64,
    #[serde(borrow)]
    device: Option<Text<'a>>,
    #[serde(borrow, default)]
    ip: Option<Text<'a>>,
    #[serde(borrow, default)]
    applied: Option<Text<'a>>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Stored<'_> {
    /// Whether scripts find every field of the header in its place, at its width.
    fn is_in_place(&self, text: &[u8]) -> bool {
        let fields = [
            (self.r#gen, 24, 10),
            (self.ver, 43, 10),
            (self.secret, 65, 64),
            (self.prev, 139, 64),
            (self.until, 214, 16),
            (self.renewed, 243, 16),
            (self.seen, 269, 16),
            (self.idle, 295, 16),
            (self.ends, 321, 16),
            (self.login, 348, 16),
        ];
        let start = text.as_ptr().addr();
        fields.iter().all(|(field, at, width)| {
            let is_fit = field.bytes().all(|byte| byte.is_ascii_hexdigit());
            field.as_ptr().addr() == start + at && field.len() == *width && is_fit
        })
    }

    fn into_record(self, id: SessionId) -> Option<Record> {
        let stamp = |text: &str| text.parse().ok().map(Timestamp::from_micros);
        Some(Record {
            id,
            stamp: Stamp { generation: self.r#gen.parse().ok()?, version: self.ver.parse().ok()? },
            secret: SecretHash::from_hex(self.secret)?,
            previous: SecretHash::from_hex(self.prev)?,
            previous_until: stamp(self.until)?,
            renewed: stamp(self.renewed)?,
            last_seen: stamp(self.seen)?,
            idle: Duration::from_micros(self.idle.parse().ok()?),
            ends: stamp(self.ends)?,
            logged_in: stamp(self.login).map(|at| (at != Timestamp::default()).then_some(at))?,
            user: self.user.map(|user| user.0.parse()).transpose().ok()?,
            created: Timestamp::from_micros(self.created),
            device: self.device.map(|device| device.0.into()),
            ip: self.ip.and_then(|ip| ip.0.parse().ok()),
            data: Data::from_raw(self.data).ok()?,
            applied: self.applied.map(|text| Applied::decode(&text.0)).unwrap_or_default(),
            read_only: self.towerkeep != FORMAT,
            changes: None,
            is_copy: false,
            is_login: false,
        })
    }
}

fn corrupt() -> Error {
    Error::corrupt("a stored session is not one of ours")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{applied::ChangeId, id::Token, record::tests::record};

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn sample() -> Record {
        let mut sample = record(&Token::random(), NOW);
        sample.user = Some(UserId::new("a\"b\\é"));
        sample.device = Some("Browser \"x\"".into());
        sample.ip = "2001:db8::7".parse().ok();
        sample.data = Data::from_json(r#"{"n":1,"t":"é\""}"#).expect("an object");
        sample.applied = sample.applied.with([ChangeId::new()].into_iter(), NOW);
        sample
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let sample = sample();
        let text = sample.encode();
        let read = Record::decode(sample.id, text.as_bytes()).expect("its own text");
        assert_eq!(read.encode(), text);
        assert!(!read.read_only);
        assert_eq!((read.user, read.ip, read.applied), (sample.user, sample.ip, sample.applied));
    }

    /// Reads with the parser alone.
    fn parsed(id: SessionId, text: &[u8]) -> Option<Record> {
        let value: Stored<'_> = serde_json::from_slice(text).ok()?;
        if value.towerkeep == FORMAT && !value.is_in_place(text) {
            return None;
        }
        value.into_record(id)
    }

    #[test]
    fn what_this_version_writes_is_read_in_place() {
        let mut sample = sample();
        for user in [None, Some(UserId::new("42")), Some(UserId::new("é"))] {
            for ip in [None, "2001:db8::7".parse().ok()] {
                for device in [None, Some("".into()), Some("Browser/1.0 (x; y)".into())] {
                    (sample.user, sample.ip, sample.device) = (user.clone(), ip, device);
                    let text = sample.encode();
                    assert!(in_place::read(sample.id, text.as_bytes()).is_some(), "{text}");
                }
            }
        }
    }

    proptest::proptest! {
        /// Where it is read in place, the parser reads the same; a byte changed, removed, added or doubled does not
        /// part them.
        #[test]
        fn both_ways_of_reading_agree(
            user in proptest::option::of(".{0,12}"),
            device in proptest::option::of(".{0,12}"),
            values in proptest::collection::btree_map("[a-z\"é]{1,4}", 0i64..9, 0..4),
            at in 0..2_000usize,
            byte in proptest::prelude::any::<u8>(),
            how in 0..4u8,
        ) {
            let mut sample = sample();
            sample.user = user.map(UserId::new);
            sample.device = device.map(Into::into);
            sample.data = Data::from_json(&serde_json::to_string(&values).expect("a map")).expect("an object");
            let mut text = sample.encode().into_bytes();
            let at = at % text.len();
            match how {
                0 => text[at] = byte,
                1 => drop(text.remove(at)),
                2 => text.insert(at, byte),
                _ => {}
            }
            if let Some(read) = in_place::read(sample.id, &text) {
                let parsed = parsed(sample.id, &text);
                proptest::prop_assert_eq!(parsed.map(|record| record.encode()), Some(read.encode()));
            }
        }
    }

    #[test]
    fn the_header_has_the_places_that_scripts_count_on() {
        let text = sample().encode();
        for (name, at, length) in [
            ("gen", 24, 10),
            ("ver", 43, 10),
            ("secret", 65, 64),
            ("prev", 139, 64),
            ("until", 214, 16),
            ("renewed", 243, 16),
            ("seen", 269, 16),
            ("idle", 295, 16),
            ("ends", 321, 16),
            ("login", *LOGIN.start(), LOGIN.count()),
        ] {
            let (before, after) = (format!("\"{name}\":\""), &text[at + length..at + length + 1]);
            assert!(text[..at].ends_with(&before) && after == "\"", "{name} in {text}");
        }
    }

    #[test]
    fn a_newer_format_is_read_and_never_written() {
        let sample = sample();
        let newer = sample.encode().replacen(r#""towerkeep":"1""#, r#""towerkeep":"20","new":[1]"#, 1);
        let read = Record::decode(sample.id, newer.as_bytes()).expect("names that we know");
        assert!(read.read_only);
        assert_eq!(read.data, sample.data);
    }

    #[test]
    fn anything_else_is_corrupt() {
        let sample = sample();
        let good = sample.encode();
        let shifted = good.replacen("\"gen\":", "\"gen\": ", 1);
        let no_object = good.replacen(r#"{"n":1,"t":"é\""}"#, "[1]", 1);
        for text in ["", "{}", "42", "\u{0}", &good[..good.len() - 1], &shifted, &no_object] {
            let error = Record::decode(sample.id, text.as_bytes()).expect_err(text);
            assert!(error.is_corrupt());
        }
    }
}
