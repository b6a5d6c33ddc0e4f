//! Conditional requests answered from a stored response (RFC 9110, 13; RFC 9111, 4.3.2).

use http::{
    HeaderMap, HeaderName,
    header::{
        CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, VARY,
    },
};

use super::{date::date, directives::list};
use crate::clock::Timestamp;

/// What a 304 carries of the stored response (RFC 9110, 15.4.5; what is for other caches by RFC 9213).
const KEPT: [HeaderName; 7] =
    [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, VARY, super::targeted::CDN_CACHE_CONTROL];

/// Whether the handler named this state of the resource, so that it can be asked about it.
pub(crate) fn has_validator(response: &HeaderMap, now: Timestamp) -> bool {
    response.contains_key(ETAG) || date(response, &LAST_MODIFIED, now).is_some()
}

/// Asks about the stored response in place of the client's copy (RFC 9111, 4.3.1); about nothing where there is none.
pub(crate) fn ask_about(stored: Option<&HeaderMap>, request: &mut HeaderMap) {
    for (validator, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
        request.remove(&condition);
        if let Some(value) = stored.and_then(|stored| stored.get(validator)) {
            request.insert(condition, value.clone());
        }
    }
}

/// Asks for the whole response, whatever part of it the client wants.
pub(crate) fn ask_for_all(request: &mut HeaderMap) {
    request.remove(RANGE);
    request.remove(IF_RANGE);
}

/// The stored fields with those of a 304 put in their place, but for what describes the stored bytes (RFC 9111, 3.2).
pub(crate) fn freshened(stored: &HeaderMap, by: &HeaderMap) -> HeaderMap {
    const OF_THE_BYTES: [&str; 5] = ["content-encoding", "content-length", "content-md5", "content-range", "etag"];
    let mut fresh = stored.clone();
    for name in by.keys().filter(|name| !OF_THE_BYTES.contains(&name.as_str())) {
        fresh.remove(name);
        for value in by.get_all(name) {
            fresh.append(name.clone(), value.clone());
        }
    }
    fresh
}

/// Whether the client's copy is the stored one: 304.
///
/// `If-None-Match` is compared weakly and hides `If-Modified-Since` (RFC 9110, 13.2.2). Where the handler does not tell when
/// the resource changed, it was not after the response was made (RFC 9111, 4.3.2).
pub(crate) fn is_not_modified(request: &HeaderMap, stored: &HeaderMap, now: Timestamp) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let etag = stored.get(ETAG).map(|etag| opaque(etag.as_bytes()));
        return list(request, &IF_NONE_MATCH).any(|asked| asked == b"*" || Some(opaque(asked)) == etag);
    }
    // Most requests name no date, and then none has to be read.
    let Some(asked) = date(request, &IF_MODIFIED_SINCE, now) else { return false };
    let changed = if stored.contains_key(LAST_MODIFIED) { &LAST_MODIFIED } else { &DATE };
    date(stored, changed, now).is_some_and(|changed| changed <= asked)
}

/// Whether only the handler can answer: preconditions of its own.
pub(crate) fn is_for_the_handler(request: &HeaderMap) -> bool {
    [IF_MATCH, IF_UNMODIFIED_SINCE].iter().any(|name| request.contains_key(name))
}

/// The fields of a 304, out of those of the stored response.
pub(crate) fn not_modified_headers(stored: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(KEPT.len() + 2);
    for name in KEPT {
        for value in stored.get_all(&name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

fn opaque(etag: &[u8]) -> &[u8] {
    etag.strip_prefix(b"W/").unwrap_or(etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: Timestamp = Timestamp::from_micros(784_111_777_000_000);

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line =
            |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().expect("a value"));
        lines.iter().map(line).collect()
    }

    /// RFC 9110, 13.1.2: the weak comparison, `*`, and lists.
    #[test]
    fn entity_tags_match_weakly() {
        let stored = headers(&[("etag", "\"a,b\"")]);
        for asked in ["\"a,b\"", "W/\"a,b\"", "\"x\", \"a,b\"", "*"] {
            assert!(is_not_modified(&headers(&[("if-none-match", asked)]), &stored, NOW), "{asked}");
        }
        for asked in ["\"x\"", "a,b", ""] {
            assert!(!is_not_modified(&headers(&[("if-none-match", asked)]), &stored, NOW), "{asked}");
        }
    }

    /// RFC 9110, 13.2.2: with If-None-Match the date is ignored.
    #[test]
    fn an_entity_tag_hides_the_date() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let stored = headers(&[("etag", "\"a\""), ("last-modified", date)]);
        assert!(is_not_modified(&headers(&[("if-modified-since", date)]), &stored, NOW));
        assert!(!is_not_modified(&headers(&[("if-modified-since", date), ("if-none-match", "\"x\"")]), &stored, NOW));
        assert!(!is_not_modified(&headers(&[("if-modified-since", "yesterday")]), &stored, NOW));
    }

    /// RFC 9111, 4.3.2: where no change is told, the date of the response stands for it.
    #[test]
    fn without_a_change_the_date_of_the_response_counts() {
        let stored = headers(&[("date", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        let asked = |date: &str| is_not_modified(&headers(&[("if-modified-since", date)]), &stored, NOW);
        assert!(asked("Sun, 06 Nov 1994 08:49:37 GMT") && !asked("Sun, 06 Nov 1994 08:49:36 GMT"));
        let unreadable = headers(&[("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("last-modified", "x")]);
        assert!(!is_not_modified(
            &headers(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")]),
            &unreadable,
            NOW
        ));
    }

    /// RFC 9110, 15.4.5: no representation fields in a 304.
    #[test]
    fn a_304_carries_no_content_fields() {
        let stored = headers(&[("etag", "\"a\""), ("content-type", "text/plain"), ("content-length", "3")]);
        let kept = not_modified_headers(&stored);
        assert!(kept.contains_key(ETAG) && kept.len() == 1);
    }
}
