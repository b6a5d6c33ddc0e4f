//! Parts of a stored response (RFC 9110, 14).

use std::ops::Range;

use http::{
    HeaderMap, HeaderValue,
    header::{ETAG, IF_RANGE, LAST_MODIFIED, RANGE},
};

/// What a request wants of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it: it asks for no range, for several, or for one of something else.
    Whole,
    Of(Range<usize>),
    /// A range that begins after the end: 416.
    Unsatisfiable,
}

/// Which part of a body of `length` bytes `request` wants.
///
/// One range of bytes is answered; several, and units that we do not know, may be ignored (RFC 9110, 14.2). So is a
/// range whose `If-Range` names another state of the resource (13.1.5).
pub(crate) fn part(request: &HeaderMap, stored: &HeaderMap, length: usize) -> Part {
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Part::Whole };
    if !is_of_this_state(request, stored) {
        return Part::Whole;
    }
    line.to_str().ok().and_then(|line| one_of_bytes(line, length)).unwrap_or(Part::Whole)
}

/// `If-Range` compares strongly: a weak tag, and a date that is not exactly the stored one, name another state.
fn is_of_this_state(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(condition) = request.get(IF_RANGE) else { return true };
    let is_weak = condition.as_bytes().starts_with(b"W/");
    let named = if condition.as_bytes().starts_with(b"\"") { stored.get(ETAG) } else { stored.get(LAST_MODIFIED) };
    !is_weak && named == Some(condition)
}

fn one_of_bytes(line: &str, length: usize) -> Option<Part> {
    let (unit, range) = line.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let whole = match (number(first)?, number(last)?) {
        (None, None) => return None,
        (Some(first), Some(last)) if last < first => return None,
        (Some(first), last) => first..last.map_or(length, |last| length.min(last.saturating_add(1))),
        // The last so many.
        (None, Some(0)) => return Some(Part::Unsatisfiable),
        (None, Some(last)) => length.saturating_sub(last)..length,
    };
    Some(if whole.start >= length { Part::Unsatisfiable } else { Part::Of(whole) })
}

/// A number or nothing; `None` where it is neither. One too large is a large one.
fn number(text: &str) -> Option<Option<usize>> {
    if text.is_empty() {
        return Some(None);
    }
    let add = |sum: usize, digit: u8| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| Some(text.bytes().fold(0, add)))
}

/// `Content-Range` of a part, or of a length without one.
pub(crate) fn content_range(part: Option<&Range<usize>>, length: usize) -> HeaderValue {
    let text = match part {
        Some(part) => format!("bytes {}-{}/{length}", part.start, part.end - 1),
        None => format!("bytes */{length}"),
    };
    HeaderValue::try_from(text).expect("words and numbers are visible ascii")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    fn of(line: &str) -> Part {
        part(&headers(&[("range", line)]), &HeaderMap::new(), 10)
    }

    /// RFC 9110, 14.1.2.
    #[test]
    fn one_range_of_bytes_is_a_part() {
        for (line, range) in [
            ("bytes=0-0", 0..1),
            ("bytes=2-5", 2..6),
            ("bytes=2-", 2..10),
            ("bytes=9-99999999999999999999999999", 9..10),
            ("bytes=-1", 9..10),
            ("bytes=-10", 0..10),
            ("bytes=-11", 0..10),
            ("Bytes = 0-1", 0..2),
        ] {
            assert_eq!(of(line), Part::Of(range), "{line}");
        }
    }

    /// RFC 9110, 14.2: what is invalid is ignored; 15.5.17: what begins after the end is 416.
    #[test]
    fn anything_else_is_the_whole_or_nothing() {
        for line in [
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "lines=0-1",
            "bytes=0-1,3-4",
            "bytes=1",
            "bytes=+1-2",
        ] {
            assert_eq!(of(line), Part::Whole, "{line}");
        }
        for line in ["bytes=10-", "bytes=10-11", "bytes=-0", "bytes=99999999999999999999999999-"] {
            assert_eq!(of(line), Part::Unsatisfiable, "{line}");
        }
        assert_eq!(part(&headers(&[("range", "bytes=0-")]), &HeaderMap::new(), 0), Part::Unsatisfiable);
        assert_eq!(
            part(&headers(&[("range", "bytes=0-1"), ("range", "bytes=0-1")]), &HeaderMap::new(), 10),
            Part::Whole
        );
    }

    /// RFC 9110, 13.1.5.
    #[test]
    fn if_range_names_the_stored_state_or_the_range_is_ignored() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let stored = headers(&[("etag", "\"a\""), ("last-modified", date)]);
        let asked = |condition: &str| part(&headers(&[("range", "bytes=0-1"), ("if-range", condition)]), &stored, 10);
        for condition in ["\"a\"", date] {
            assert_eq!(asked(condition), Part::Of(0..2), "{condition}");
        }
        for condition in ["\"b\"", "W/\"a\"", "Sun, 06 Nov 1994 08:49:38 GMT", "x", ""] {
            assert_eq!(asked(condition), Part::Whole, "{condition}");
        }
        let weak = headers(&[("etag", "W/\"a\"")]);
        assert_eq!(part(&headers(&[("range", "bytes=0-1"), ("if-range", "W/\"a\"")]), &weak, 10), Part::Whole);
    }

    proptest! {
        #[test]
        fn a_part_is_never_outside_of_the_body(line in "bytes=[0-9]{0,4}-[0-9]{0,4}", length in 0..2_000usize) {
            if let Part::Of(range) = part(&headers(&[("range", &line)]), &HeaderMap::new(), length) {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }
    }
}
