//! The decisions beside those of http-cache-semantics, where both read RFC 9111 alike.
//!
//! What the generator leaves out, because the two are known to differ:
//!
//! 1. Directives in capitals: there `No-Store` is a directive that nobody knows.
//! 2. One directive twice: there it means `must-revalidate`, here the value is none (4.2.1).
//! 3. Values with a sign, over 64 bits, or missing (`max-age`): there `+5` is 5, too large is zero, and without a value
//!    `Expires` counts.
//! 4. Commas inside of quoted strings, which there end a directive.
//! 5. `proxy-revalidate`, which there makes a response stale at once.
//! 6. `must-understand`, `stale-while-revalidate`, `CDN-Cache-Control`: unknown there. `Pragma` of a response: unknown here, as in
//!    5.4.
//! 7. Statuses that are unknown there, as 418 or 500: here they are stored where they say how long.
//! 8. `Set-Cookie`: stored there if `public`, here by the RFC profile only.
//! 9. `Last-Modified`, from which each guesses by its own rules; `immutable` has a time of its own there, switched off here.
//! 10. A `Date` of the past without an `Age` as high: there it is no age (4.2.3). Dates in other forms than the first.
//! 11. `max-stale` of a request: there a shared response with `s-maxage` is served stale, and the bound itself is excluded.
//! 12. A number of a request that is none: there as if it were not there, here zero.
//! 13. Several lines, spaces and other spellings of a field that `Vary` names: there it is another variant.

use std::{collections::BTreeSet, time::SystemTime};

use http::{Request, Response, StatusCode};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy as Peer};
use proptest::{prelude::*, sample::select, strategy::ValueTree, test_runner::TestRunner};

use super::*;
use crate::{
    cache::vary,
    clock::{days, seconds},
};

/// Sun, 06 Nov 1994 08:49:37 GMT.
const NOW: Timestamp = Timestamp::from_micros(784_111_777_000_000);

type Lines = Vec<(&'static str, String)>;

/// A request and its response, and a second request some seconds later.
#[derive(Clone, Debug)]
struct Scene {
    policy: CachePolicy,
    first: Lines,
    status: u16,
    response: Lines,
    second: Lines,
    later: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Decision {
    Unstorable,
    /// Stored or not, it does not answer the second request.
    Asked,
    Answered,
}

fn headers(lines: &Lines) -> HeaderMap {
    let line =
        |(name, value): &(&'static str, String)| (HeaderName::from_static(name), value.parse().expect("visible ascii"));
    lines.iter().map(line).collect()
}

impl Scene {
    fn ours(&self) -> Decision {
        let (first, response, second) = (headers(&self.first), headers(&self.response), headers(&self.second));
        let terms = Terms {
            policy: self.policy,
            is_private: false,
            ttl: None,
            also: &[],
            stale_if_error: None,
            stale_while_revalidate: None,
            hint_ttl: None,
        };
        let status = StatusCode::from_u16(self.status).expect("a status");
        let span = match decide(&terms, Asked::of(&first, NOW), status, &response, NOW) {
            Ok(span) => span,
            Err(Refusal::NotFresh | Refusal::NoCache | Refusal::VaryAny) => return Decision::Asked,
            Err(_) => return Decision::Unstorable,
        };
        let names = vary::names_of(&response).expect("fit, or refused");
        let is_same = vary::select(&names, &first) == vary::select(&names, &second);
        match is_same && reuse(self.policy, &second, self.standing(span)) == Reuse::Fresh {
            true => Decision::Answered,
            false => Decision::Asked,
        }
    }

    fn standing(&self, span: Span) -> Standing {
        let later = seconds(self.later);
        Standing {
            age: span.initial_age + later,
            left: span.fresh_for.checked_sub(later).filter(|left| !left.is_zero()),
            past: span.past,
            may_be_refreshed: false,
            may_be_stale: false,
        }
    }

    fn theirs(&self) -> Decision {
        let request = |lines: &Lines| {
            let mut request = Request::get("http://a.example/").body(()).expect("a request");
            *request.headers_mut() = headers(lines);
            request
        };
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a status");
        *response.headers_mut() = headers(&self.response);
        let options = CacheOptions {
            shared: true,
            cache_heuristic: 0.0,
            immutable_min_time_to_live: Duration::ZERO,
            ignore_cargo_cult: false,
        };
        let now: SystemTime = NOW.to_system_time();
        let peer = Peer::new_options(&request(&self.first), &response, now, options);
        match peer.before_request(&request(&self.second), now + seconds(self.later)) {
            _ if !peer.is_storable() => Decision::Unstorable,
            BeforeRequest::Fresh(_) => Decision::Answered,
            BeforeRequest::Stale { .. } => Decision::Asked,
        }
    }

    /// Where both do not answer, each may say in its own way that it does not.
    fn agree(&self) -> bool {
        let (ours, theirs) = (self.ours(), self.theirs());
        match ours {
            Decision::Unstorable => theirs == Decision::Unstorable,
            Decision::Asked => theirs != Decision::Answered,
            Decision::Answered => theirs == Decision::Answered,
        }
    }
}

/// Seconds in their spellings.
fn seconds_of() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (0u32..240).prop_map(|seconds| seconds.to_string()),
        1 => (0u32..240).prop_map(|seconds| format!("\"{seconds}\"")),
        1 => (0u32..240).prop_map(|seconds| format!("00{seconds}")),
        1 => Just("99999999999".to_owned()),
    ]
}

/// The same, and what is no number.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![6 => seconds_of(), 1 => select(vec!["x", "-1", "1.5", "\"\""]).prop_map(str::to_owned)]
}

/// Lines of `Cache-Control`, each directive once.
fn control(
    flags: &'static [&'static str],
    numbers: &'static [&'static str],
    values: impl Strategy<Value = String>,
) -> impl Strategy<Value = Lines> {
    let flag = select(flags).prop_map(|name| (name, name.to_owned()));
    let number = (select(numbers), select(vec!["=", " = "]), values)
        .prop_map(|(name, sign, value)| (name, format!("{name}{sign}{value}")));
    let directive = prop_oneof![1 => flag, 4 => number];
    let commas = select(vec![",", ", ", " ,, "]);
    (prop::collection::vec(directive, 0..4), commas, any::<bool>()).prop_map(|(directives, comma, apart)| {
        let mut names = BTreeSet::new();
        let once = directives.into_iter().filter(|(name, _)| names.insert(*name));
        let texts: Vec<String> = once.map(|(_, text)| text).collect();
        let lines = if apart { texts } else { vec![texts.join(comma)] };
        lines.into_iter().filter(|line| !line.is_empty()).map(|line| ("cache-control", line)).collect()
    })
}

/// `Date` and `Age`: what is old by its date is as old by its age.
fn dated() -> impl Strategy<Value = Lines> {
    (prop::option::of(0u64..60), prop::option::of(0u64..90)).prop_map(|(past, age)| {
        let age = age.map(|age| age.max(past.unwrap_or_default())).or(past.filter(|past| *past > 0));
        let date = past.map(|past| ("date", http_date(NOW - seconds(past))));
        date.into_iter().chain(age.map(|age| ("age", age.to_string()))).collect()
    })
}

fn expires() -> impl Strategy<Value = Lines> {
    prop_oneof![
        3 => Just(Vec::new()),
        2 => (0u64..240).prop_map(|end| vec![("expires", http_date(NOW - seconds(120) + seconds(end)))]),
        1 => select(vec!["0", "-1", "tomorrow", ""]).prop_map(|text| vec![("expires", text.to_owned())]),
        1 => Just(vec![("expires", http_date(NOW - days(400)))]),
    ]
}

fn http_date(at: Timestamp) -> String {
    httpdate::fmt_http_date(at.to_system_time())
}

fn vary() -> impl Strategy<Value = Lines> {
    select(vec!["", "", "", "", "", "", "x-a", "X-A, x-b", "*", "x-b, *"])
        .prop_map(|names| if names.is_empty() { Vec::new() } else { vec![("vary", names.to_owned())] })
}

fn chosen_by() -> impl Strategy<Value = Lines> {
    let value = || prop::option::of(select(vec!["1", "1", "1", "2"]));
    (value(), value()).prop_map(|(a, b)| {
        let lines = [("x-a", a), ("x-b", b)].into_iter();
        lines.filter_map(|(name, value)| Some((name, value?.to_owned()))).collect()
    })
}

fn asked() -> impl Strategy<Value = Lines> {
    let authorization = prop::bool::weighted(0.2)
        .prop_map(|is_there| if is_there { vec![("authorization", "Bearer x".to_owned())] } else { Vec::new() });
    let no_store = prop::bool::weighted(0.1)
        .prop_map(|is_there| if is_there { vec![("cache-control", "no-store".to_owned())] } else { Vec::new() });
    (chosen_by(), authorization, no_store).prop_map(|(a, b, c)| [a, b, c].concat())
}

fn asked_again() -> impl Strategy<Value = Lines> {
    let plain = Just(Vec::new());
    let demanding = control(&["no-cache", "no-transform"], &["max-age", "min-fresh"], seconds_of());
    (chosen_by(), prop_oneof![2 => plain, 1 => demanding]).prop_map(|(a, b)| [a, b].concat())
}

fn answer() -> impl Strategy<Value = Lines> {
    const FLAGS: &[&str] =
        &["no-store", "no-cache", "private", "public", "must-revalidate", "no-transform", "immutable", "x-new"];
    let control = control(FLAGS, &["max-age", "s-maxage", "max-age", "stale-if-error", "x-new-too"], number());
    (control, dated(), expires(), vary()).prop_map(|(a, b, c, d)| [a, b, c, d].concat())
}

fn scene() -> impl Strategy<Value = Scene> {
    let status = prop_oneof![
        6 => Just(200u16),
        2 => select(vec![203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501]),
        1 => select(vec![100, 206, 304, 429]),
    ];
    (any::<bool>(), asked(), status, answer(), asked_again(), 0u64..100).prop_map(
        |(is_rfc, first, status, response, mut second, later)| {
            let policy = if is_rfc { CachePolicy::rfc() } else { CachePolicy::shared() };
            if !is_rfc {
                // What a client says does not count by the safe profile.
                second.retain(|(name, _)| *name != "cache-control");
            }
            Scene { policy, first, status, response, second, later }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn what_is_stored_and_fresh_is_what_http_cache_semantics_says(scene in scene()) {
        prop_assert!(scene.agree(), "ours: {:?}, theirs: {:?}", scene.ours(), scene.theirs());
    }
}

/// A comparison in which nothing is ever answered would agree too.
#[test]
fn the_scenes_reach_every_decision() {
    let mut runner = TestRunner::deterministic();
    let mut reached = [0; 3];
    for _ in 0..1_000 {
        let scene = scene().new_tree(&mut runner).expect("a scene").current();
        reached[scene.ours() as usize] += 1;
    }
    assert!(reached.iter().all(|times| *times > 100), "{reached:?}");
}
