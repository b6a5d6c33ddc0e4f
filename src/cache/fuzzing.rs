//! What the targets in `fuzz/` call: each reads one kind of bytes from outside, and panics where a promise is broken.
//!
//! Each tells whether the bytes were something that it could read, so that seeds which no longer are get noticed.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header::HOST};

use super::{
    CachePolicy, Entry,
    frame::resealed,
    hosts::Hosts,
    place,
    policy::{self, Asked, Part, Reuse, Standing, Terms, directives::Directives},
    reference::{Base, Resolved},
    vary::{self, Index},
};
use crate::clock::{Timestamp, minutes};

/// Sun, 06 Nov 1994 08:49:37 GMT.
const NOW: Timestamp = Timestamp::from_micros(784_111_777_000_000);

/// A request's fields, an empty line, a status, a response's fields: what is stored and what it answers.
pub fn policy(bytes: &[u8]) -> bool {
    let Some(at) = bytes.windows(2).position(|end| end == b"\n\n") else { return false };
    let (request, response) = (fields(&bytes[..at]), &bytes[at + 2..]);
    let line = response.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let status = StatusCode::from_bytes(line).unwrap_or(StatusCode::OK);
    let response = fields(response);
    check_parts(&request, &response);
    let mut is_stored = false;
    for (policy, is_private) in [CachePolicy::shared(), CachePolicy::rfc()].into_iter().zip([false, true]) {
        is_stored |= check_decision(policy, is_private, status, &request, &response);
    }
    is_stored
}

fn check_decision(
    policy: CachePolicy,
    is_private: bool,
    status: StatusCode,
    request: &HeaderMap,
    response: &HeaderMap,
) -> bool {
    let terms = Terms {
        policy,
        is_private,
        ttl: Some(minutes(1)),
        also: &[],
        stale_if_error: Some(minutes(1)),
        stale_while_revalidate: None,
        hint_ttl: None,
    };
    let Ok(span) = policy::decide(&terms, Asked::of(request, NOW), status, response, NOW) else { return false };
    let said = Directives::of_response(response);
    assert!(!said.no_store || said.must_understand, "stored against no-store");
    assert!(is_private || !said.private, "private and shared");
    assert!(policy == CachePolicy::rfc() || !response.contains_key("set-cookie"), "somebody's cookie");
    let standing = Standing {
        age: span.initial_age,
        left: Some(span.fresh_for).filter(|left| !left.is_zero()),
        past: span.past,
        may_be_refreshed: false,
        may_be_stale: span.may_be_stale,
    };
    let reuse = policy::reuse(policy, request, standing);
    assert!(reuse != Reuse::Fresh || !span.fresh_for.is_zero(), "fresh without freshness");
    assert!(reuse != Reuse::Stale || span.may_be_stale, "stale where it is forbidden");
    true
}

fn check_parts(request: &HeaderMap, response: &HeaderMap) {
    let kept = policy::stored_headers(response);
    assert_eq!(policy::stored_headers(&kept), kept, "what is stored is stored again");
    let _ = (policy::is_not_modified(request, response, NOW), policy::is_for_the_handler(request));
    if let Part::Of(range) = policy::part(request, response, 1_000) {
        assert!(range.start < range.end && range.end <= 1_000, "outside of the body");
    }
    if let Some(names) = vary::names_of(response) {
        let variant = vary::select(&names, request);
        assert_eq!(Entry::variant_of(response, request), Some(variant));
    }
    let fresh = policy::freshened(&kept, &kept);
    assert_eq!(fresh, kept, "what still holds changes nothing");
}

/// A stored frame: what is read is written and read the same; what was not sealed by us is read or a miss.
pub fn frame(bytes: &[u8]) -> bool {
    let sealed = resealed(bytes.to_vec());
    let _ = Entry::decode(&Bytes::copy_from_slice(bytes));
    let Ok((entry, generation)) = Entry::decode(&sealed) else { return false };
    let again = Entry::decode(&entry.encode(generation)).expect("what is written can be read");
    assert_eq!(again, (entry, generation));
    true
}

/// The note about a URL's variants.
pub fn vary(bytes: &[u8]) -> bool {
    let Some(index) = Index::decode(bytes) else { return false };
    assert_eq!(Index::decode(&index.encode()).as_ref(), Some(&index));
    let (index, number) = Index::admit(Some(index.clone()), index.names.clone(), [7; 16], 1);
    assert_eq!(index.position(&[7; 16]), Some(number));
    Index::decode(&index.encode()).is_some()
}

/// Lines of `CDN-Cache-Control`, a structured field (RFC 9651): several lines say what one says that joins them.
pub fn structured(bytes: &[u8]) -> bool {
    let name = HeaderName::from_static("cdn-cache-control");
    let (mut apart, mut joined) = (HeaderMap::new(), HeaderMap::new());
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    for line in &lines {
        let Ok(value) = HeaderValue::from_bytes(line) else { return false };
        apart.append(name.clone(), value);
    }
    joined.append(name, HeaderValue::from_bytes(&lines.join(&b", "[..])).expect("each is one"));
    let said = Directives::of_response(&apart);
    assert_eq!(said, Directives::of_response(&joined));
    said.targeted
}

/// A request's URL, its `Host`, and a reference of its response (RFC 3986, 5.2), each on a line.
pub fn reference(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut lines = text.splitn(3, '\n');
    let (Some(url), Some(host), Some(reference)) = (lines.next(), lines.next(), lines.next()) else { return false };
    let Ok(request) = Request::get(url).header(HOST, host).body(()) else { return false };
    let base = Base::of(&request.into_parts().0);
    let Some(resolved) = base.resolve(reference) else { return false };
    let Resolved { path, .. } = &resolved;
    assert!(path.starts_with('/'), "{path}");
    let _ = place::of_resolved(&base, &resolved, &Hosts::default(), &["utm".into()]);
    true
}

/// Lines of a name, a colon and a value; others are left out.
fn fields(text: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Duration};

    use proptest::prelude::*;

    use super::*;
    use crate::cache::{Stamp, Tag, Tags};

    type Target = fn(&[u8]) -> bool;

    /// The seeds of `fuzz/`, and what was found with them, as far as it has a file: without a fuzzer, on any toolchain.
    fn replay(target: &str, run: Target) {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let seeds = fs::read_dir(&seeds).expect("a directory of seeds");
        let read = seeds.map(|seed| fs::read(seed.expect("readable").path()).expect("readable"));
        let (mut all, mut understood) = (0, 0);
        for seed in read {
            all += 1;
            understood += usize::from(run(&seed));
            for end in 0..seed.len() {
                run(&seed[..end]);
            }
        }
        assert!(all >= 3 && understood * 2 >= all, "{understood} of {all} seeds for {target} are still understood");
    }

    #[test]
    fn the_seeds_break_no_promise() {
        let targets: [(&str, Target); 5] = [
            ("policy", policy),
            ("frame", frame),
            ("vary", vary),
            ("structured", structured),
            ("reference", reference),
        ];
        for (target, run) in targets {
            replay(target, run);
        }
    }

    /// What is done to the bytes of a frame on their way.
    #[derive(Clone, Debug)]
    enum Damage {
        Cut(usize),
        Flip(usize, u8),
        Insert(usize, u8),
        Swap(usize, usize),
    }

    fn damage() -> impl Strategy<Value = Damage> {
        prop_oneof![
            any::<usize>().prop_map(Damage::Cut),
            (any::<usize>(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
            (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
            (any::<usize>(), any::<usize>()).prop_map(|(from, to)| Damage::Swap(from, to)),
        ]
    }

    fn damaged(bytes: &[u8], by: &[Damage]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for damage in by {
            let within = |at: &usize| at % (bytes.len() + 1);
            match damage {
                Damage::Cut(at) => bytes.truncate(within(at)),
                Damage::Insert(at, byte) => bytes.insert(within(at), *byte),
                _ if bytes.is_empty() => {}
                Damage::Flip(at, bit) => {
                    let at = at % bytes.len();
                    bytes[at] ^= 1 << bit;
                }
                Damage::Swap(from, to) => {
                    let length = bytes.len();
                    bytes.swap(from % length, to % length);
                }
            }
        }
        bytes
    }

    fn entry(body: Vec<u8>, lines: &[(String, String)], moment: u64) -> Entry {
        let line = |(name, value): &(String, String)| {
            (HeaderName::try_from(name).expect("a name"), HeaderValue::try_from(value).expect("a value"))
        };
        Entry {
            status: StatusCode::OK,
            headers: lines.iter().map(line).collect(),
            body: body.into(),
            stored: Timestamp::from_micros(moment),
            initial_age: Duration::from_micros(moment / 3),
            fresh_until: Timestamp::from_micros(moment / 2),
            stale_until: NOW,
            refresh_until: NOW,
            kept_until: NOW,
            may_be_stale: moment < NOW.as_micros(),
            has_validator: moment > NOW.as_micros() / 2,
            tags: Tags::new(&[Tag::from("a"), Tag::from(("b", moment))]),
            stamp: Stamp { boot: moment, seq: 6 },
            variant: [7; 16],
        }
    }

    proptest! {
        #[test]
        fn a_damaged_frame_is_a_miss(body in prop::collection::vec(any::<u8>(), 0..400),
            lines in prop::collection::vec(("[a-z-]{1,9}", "[ -~]{0,16}"), 0..8), moment: u64, generation: u64,
            by in prop::collection::vec(damage(), 1..4)) {
            let whole = entry(body, &lines, moment).encode(generation);
            let damaged = Bytes::from(damaged(&whole, &by));
            let read = Entry::decode(&damaged);
            prop_assert!(damaged == whole || read.is_err_and(|error| error.is_corrupt()));
            // Sealed anew it may be read, and then it is an entry like any other.
            frame(&damaged);
        }
    }
}
