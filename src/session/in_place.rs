//! Reads a stored session by the places of its bytes: what this version writes needs no JSON parser but for its values.

use std::time::Duration;

use super::{Data, Record, SecretHash, SessionId, Stamp, applied::Applied, id::from_hex};
use crate::{UserId, clock::Timestamp};

/// Reads a session that is byte for byte as [`Record::encode`] writes it; nothing where it is not, which says nothing
/// about what it is.
pub(super) fn read(id: SessionId, text: &[u8]) -> Option<Record> {
    let mut at = Cursor(text);
    let generation = at.past(br#"{"towerkeep":"1","gen":""#)?.number::<10>()?.try_into().ok()?;
    let version = at.past(br#"","ver":""#)?.number::<10>()?.try_into().ok()?;
    let secret = at.past(br#"","secret":""#)?.hash()?;
    let previous = at.past(br#"","prev":""#)?.hash()?;
    let previous_until = at.past(br#"","until":""#)?.time()?;
    let renewed = at.past(br#"","renewed":""#)?.time()?;
    let last_seen = at.past(br#"","seen":""#)?.time()?;
    let idle = Duration::from_micros(at.past(br#"","idle":""#)?.number::<16>()?);
    let ends = at.past(br#"","ends":""#)?.time()?;
    let login = at.past(br#"","login":""#)?.time()?;
    let user = at.past(br#"","user":"#)?.text_or_null()?;
    let created = at.past(br#","created":"#)?.digits()?;
    let device = at.past(br#","device":"#)?.text_or_null()?;
    let ip = if at.skips(br#","ip":"#) { at.text_or_null()? } else { None };
    let applied = if at.skips(br#","applied":"#) { at.text_or_null()? } else { None };
    let data = at.past(br#","data":"#)?.0.strip_suffix(b"}")?;
    let data: &serde_json::value::RawValue = serde_json::from_slice(data).ok()?;
    Some(Record {
        id,
        stamp: Stamp { generation, version },
        secret,
        previous,
        previous_until,
        renewed,
        last_seen,
        idle,
        ends,
        logged_in: (login != Timestamp::default()).then_some(login),
        user: user.map(str::parse::<UserId>).transpose().ok()?,
        created: Timestamp::from_micros(created),
        device: device.map(Into::into),
        ip: ip.and_then(|ip| ip.parse().ok()),
        data: Data::from_raw(data).ok()?,
        applied: applied.map(Applied::decode).unwrap_or_default(),
        read_only: false,
        changes: None,
        is_copy: false,
        is_login: false,
    })
}

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn past(&mut self, known: &[u8]) -> Option<&mut Self> {
        self.0 = self.0.strip_prefix(known)?;
        Some(self)
    }

    fn skips(&mut self, known: &[u8]) -> bool {
        self.past(known).is_some()
    }

    fn take(&mut self, width: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(width)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of `WIDTH` digits, which are fewer than a `u64` could hold.
    fn number<const WIDTH: usize>(&mut self) -> Option<u64> {
        const { assert!(WIDTH < 20) };
        number(self.take(WIDTH)?)
    }

    fn time(&mut self) -> Option<Timestamp> {
        self.number::<16>().map(Timestamp::from_micros)
    }

    fn hash(&mut self) -> Option<SecretHash> {
        from_hex(self.take(64)?).map(SecretHash::from_bytes)
    }

    /// A number as JSON has it: of any width, and without zeros before it.
    fn digits(&mut self) -> Option<u64> {
        let width = self.0.iter().position(|byte| !byte.is_ascii_digit())?;
        let digits = self.take(width)?;
        let is_plain = width < 20 && (width == 1 || digits.first() != Some(&b'0'));
        if is_plain { number(digits) } else { None }
    }

    /// `null`, or a text; one with escapes is left to the parser.
    fn text_or_null(&mut self) -> Option<Option<&'a str>> {
        if self.skips(b"null") {
            return Some(None);
        }
        let rest = self.0.strip_prefix(b"\"")?;
        let ends = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20))?;
        let (text, rest) = rest.split_at(ends);
        self.0 = rest.strip_prefix(b"\"")?;
        Some(Some(std::str::from_utf8(text).ok()?))
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}
