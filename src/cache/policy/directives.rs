//! The directives of `Cache-Control`, as far as a shared cache acts on them (RFC 9111, 5.2).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header::CACHE_CONTROL};

use super::targeted;

/// What all lines of `Cache-Control`, or of the field in its place, say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    pub(crate) present: bool,
    /// They stand in a field for caches like ours, beside which `Cache-Control` and `Expires` say nothing.
    pub(crate) targeted: bool,
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) private: bool,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) s_maxage: Option<Duration>,
    pub(crate) min_fresh: Option<Duration>,
    /// The longest staleness that a request puts up with.
    pub(crate) max_stale: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) stale_while_revalidate: Option<Duration>,
}

/// A larger number is this one: "infinity" (RFC 9111, 1.2.2).
pub(super) const MAX_SECONDS: u64 = 1 << 31;
/// A longer name is none that we know.
const LONGEST_NAME: usize = "stale-while-revalidate".len();

impl Directives {
    /// What a response says to us: in `CDN-Cache-Control`, if it can be read and is not empty (RFC 9213, 2.2).
    pub(crate) fn of_response(headers: &HeaderMap) -> Self {
        targeted::read(headers).unwrap_or_else(|| Self::of(headers))
    }

    /// Reads every line of the field. Names are case-insensitive; a number that is none, or given twice with
    /// different values, is zero: stale is the safe side (RFC 9111, 4.2.1).
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            all.present = true;
            elements(line.as_bytes()).for_each(|element| all.add(element));
        }
        all
    }

    fn add(&mut self, element: &[u8]) {
        let (name, value) = match element.iter().position(|&byte| byte == b'=') {
            Some(at) => (&element[..at], Some(&element[at + 1..])),
            None => (element, None),
        };
        let (name, mut lower) = (name.trim_ascii(), [0; LONGEST_NAME]);
        let Some(lower) = lower.get_mut(..name.len()) else { return };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let name = &*lower;
        if let Some(flag) = self.flag(name) {
            *flag = true;
        } else if name == b"max-stale" && value.is_none() {
            // Of any age (RFC 9111, 5.2.1.2).
            self.max_stale = Some(Duration::MAX);
        } else if let Some(slot) = self.number(name) {
            put(slot, value);
        }
    }

    /// The directive that is there or not; its arguments, if it has any, do not count.
    pub(super) fn flag(&mut self, name: &[u8]) -> Option<&mut bool> {
        Some(match name {
            b"no-store" => &mut self.no_store,
            // With field names (`no-cache="set-cookie"`) a cache may treat both as if they had none.
            b"no-cache" => &mut self.no_cache,
            b"private" => &mut self.private,
            b"public" => &mut self.public,
            b"must-revalidate" => &mut self.must_revalidate,
            b"proxy-revalidate" => &mut self.proxy_revalidate,
            b"must-understand" => &mut self.must_understand,
            b"only-if-cached" => &mut self.only_if_cached,
            _ => return None,
        })
    }

    /// The directive that tells seconds.
    pub(super) fn number(&mut self, name: &[u8]) -> Option<&mut Option<Duration>> {
        Some(match name {
            b"max-age" => &mut self.max_age,
            b"s-maxage" => &mut self.s_maxage,
            b"min-fresh" => &mut self.min_fresh,
            b"max-stale" => &mut self.max_stale,
            b"stale-if-error" => &mut self.stale_if_error,
            b"stale-while-revalidate" => &mut self.stale_while_revalidate,
            _ => return None,
        })
    }
}

fn put(slot: &mut Option<Duration>, value: Option<&[u8]>) {
    let seconds = value.and_then(delta_seconds).unwrap_or(Duration::ZERO);
    *slot = match *slot {
        Some(earlier) if earlier != seconds => Some(Duration::ZERO),
        _ => Some(seconds),
    };
}

/// Digits, bare or quoted (RFC 9111, 5.2: recipients ought to accept both forms).
pub(crate) fn delta_seconds(value: &[u8]) -> Option<Duration> {
    let value = value.trim_ascii();
    let bare = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
    if bare.is_empty() || !bare.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| (sum * 10 + u64::from(digit - b'0')).min(MAX_SECONDS);
    Some(Duration::from_secs(bare.iter().fold(0, add)))
}

/// The elements of a comma-separated list; those that are empty are none (RFC 9110, 5.6.1).
pub(crate) fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    parts(line).filter(|element| !element.is_empty())
}

/// What stands between the commas of a line, also where that is nothing; commas inside of quoted strings do not count.
pub(crate) fn parts(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    line.split(move |&byte| {
        let is_comma = byte == b',' && !quoted;
        if byte == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && byte == b'\\' && !escaped;
        is_comma
    })
    .map(<[u8]>::trim_ascii)
}

/// The elements of all lines of one field, as one list.
pub(crate) fn list<'h>(headers: &'h HeaderMap, name: &http::HeaderName) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes).flat_map(elements)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(lines: &[&str]) -> Directives {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, line.parse().expect("a header value"));
        }
        Directives::of(&headers)
    }

    /// RFC 9111, 5.2: "cache directives are identified by a token, to be compared case-insensitively".
    #[test]
    fn names_are_case_insensitive() {
        let read = read(&["No-Store, PRIVATE, Max-Age=60"]);
        assert!(read.no_store && read.private);
        assert_eq!(read.max_age, Some(Duration::from_secs(60)));
    }

    /// RFC 9110, 5.3: several lines of one field are one list.
    #[test]
    fn all_lines_count() {
        let read = read(&["max-age=60", "no-store"]);
        assert!(read.no_store);
        assert_eq!(read.max_age, Some(Duration::from_secs(60)));
    }

    /// RFC 9111, 4.2.1: invalid or conflicting freshness is stale.
    #[test]
    fn unparsable_and_conflicting_numbers_are_zero() {
        for line in ["max-age=1.5", "max-age=-1", "max-age", "max-age=", "max-age=60s", "max-age=1, max-age=2"] {
            assert_eq!(read(&[line]).max_age, Some(Duration::ZERO), "{line}");
        }
        assert_eq!(read(&["max-age=5, max-age=5"]).max_age, Some(Duration::from_secs(5)));
    }

    /// RFC 9111, 1.2.2: a number too large is 2^31.
    #[test]
    fn large_numbers_saturate_and_quoted_ones_are_read() {
        let read = read(&["max-age=99999999999999999999999, s-maxage=\"7\""]);
        assert_eq!(read.max_age, Some(Duration::from_secs(MAX_SECONDS)));
        assert_eq!(read.s_maxage, Some(Duration::from_secs(7)));
    }

    /// RFC 9110, 5.6.4: a comma in a quoted string is text.
    #[test]
    fn a_quoted_directive_is_no_directive() {
        assert!(!read(&[r#"x="a, no-store, \", no-store""#]).no_store);
        assert!(read(&[r#"private="set-cookie, x", no-store"#]).private);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)) {
            let mut headers = HeaderMap::new();
            for line in lines {
                if let Ok(value) = HeaderValue::from_bytes(&line) {
                    headers.append(CACHE_CONTROL, value);
                }
            }
            let _ = Directives::of(&headers);
        }
    }
}
