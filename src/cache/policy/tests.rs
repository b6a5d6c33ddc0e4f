//! The decisions, by the sections of RFC 9111.

use http::{StatusCode, header::CONNECTION};
use proptest::prelude::*;

use super::*;
use crate::clock::{Timestamp, minutes, seconds};

const NOW: Timestamp = Timestamp::from_micros(784_111_777_000_000);
const SHARED: CachePolicy = CachePolicy::shared();

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(HeaderName::try_from(*name).expect("a name"), value.parse().expect("a value"));
    }
    map
}

fn terms() -> Terms<'static> {
    Terms {
        policy: SHARED,
        is_private: false,
        ttl: Some(minutes(1)),
        also: &[],
        stale_if_error: None,
        stale_while_revalidate: None,
        hint_ttl: None,
    }
}

fn verdict(
    terms: &Terms<'_>,
    request: &[(&str, &str)],
    status: u16,
    response: &[(&str, &str)],
) -> Result<Span, Refusal> {
    let status = StatusCode::from_u16(status).expect("a status");
    decide(terms, Asked::of(&headers(request), NOW), status, &headers(response), NOW)
}

fn fresh_for(response: &[(&str, &str)]) -> Option<std::time::Duration> {
    verdict(&terms(), &[], 200, response).ok().map(|span| span.fresh_for)
}

/// RFC 9111, 3: "the no-store cache directive is not present in the response".
#[test]
fn section_3_no_store_of_either_side() {
    assert_eq!(verdict(&terms(), &[], 200, &[("cache-control", "No-Store, max-age=60")]), Err(Refusal::NoStore));
    assert_eq!(verdict(&terms(), &[("cache-control", "no-store")], 200, &[]), Err(Refusal::NoStore));
}

/// RFC 9111, 3: `private` is for private caches; one partition is one.
#[test]
fn section_3_private_only_in_a_private_partition() {
    let response = [("cache-control", "private, max-age=60")];
    assert_eq!(verdict(&terms(), &[], 200, &response), Err(Refusal::Private));
    let private = Terms { is_private: true, ..terms() };
    assert!(verdict(&private, &[("authorization", "Bearer x")], 200, &response).is_ok());
}

/// RFC 9111, 3.5: three directives allow to share an authorized response.
#[test]
fn section_3_5_authorization() {
    let asked = [("authorization", "Bearer x")];
    assert_eq!(verdict(&terms(), &asked, 200, &[("cache-control", "max-age=60")]), Err(Refusal::Authorization));
    assert_eq!(verdict(&terms(), &asked, 200, &[]), Err(Refusal::Authorization));
    for word in ["public", "must-revalidate", "s-maxage=60"] {
        let said = format!("max-age=60, {word}");
        assert!(verdict(&terms(), &asked, 200, &[("cache-control", &said)]).is_ok(), "{word}");
    }
    let proxy = [("cache-control", "max-age=60, proxy-revalidate")];
    assert_eq!(verdict(&terms(), &asked, 200, &proxy), Err(Refusal::Authorization));
}

/// RFC 9111, 3.1: what was said to this proxy alone is not stored.
#[test]
fn section_3_1_proxy_fields_are_not_stored() {
    let response =
        headers(&[("proxy-authorization", "Basic eA=="), ("proxy-authenticate", "Basic"), ("etag", "\"a\"")]);
    let kept = stored_headers(&response);
    assert_eq!(kept.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["etag"]);
}

/// RFC 9111, 7.3: Set-Cookie does not forbid storing; the safe profile does.
#[test]
fn section_7_3_set_cookie_only_by_the_rfc_profile() {
    let response = [("set-cookie", "sid=1"), ("cache-control", "max-age=60")];
    assert_eq!(verdict(&terms(), &[], 200, &response), Err(Refusal::SetCookie));
    assert_eq!(verdict(&Terms { is_private: true, ..terms() }, &[], 200, &response), Err(Refusal::SetCookie));
    assert!(verdict(&Terms { policy: CachePolicy::rfc(), ..terms() }, &[], 200, &response).is_ok());
}

/// RFC 9111, 3 and 15.3.7 of 9110: what is no whole final answer is not stored; RFC 6585, 4: nor is 429.
#[test]
fn section_3_status() {
    for status in [100, 206, 304, 429] {
        assert_eq!(
            verdict(&terms(), &[], status, &[("cache-control", "max-age=60")]),
            Err(Refusal::Status),
            "{status}"
        );
    }
}

/// RFC 9111, 5.2.2.3: must-understand overrides no-store where the status is known.
#[test]
fn section_5_2_2_3_must_understand() {
    let said = [("cache-control", "must-understand, no-store, max-age=60")];
    assert!(verdict(&terms(), &[], 200, &said).is_ok());
    assert_eq!(verdict(&terms(), &[], 599, &said), Err(Refusal::Status));
}

/// RFC 9111, 4.1: "a stored response with a Vary header field value containing a member '*' always fails to match".
#[test]
fn section_4_1_vary_any() {
    assert_eq!(verdict(&terms(), &[], 200, &[("vary", "accept, *")]), Err(Refusal::VaryAny));
}

/// RFC 9111, 4.2: the layer's ttl speaks only where the response says nothing.
#[test]
fn section_4_2_the_handler_wins_over_ttl() {
    assert_eq!(fresh_for(&[]), Some(minutes(1)));
    assert_eq!(fresh_for(&[("cache-control", "max-age=5")]), Some(seconds(5)));
    assert_eq!(fresh_for(&[("cache-control", "public")]), Some(minutes(1)));
    assert_eq!(fresh_for(&[("cache-control", "max-age=0")]), None);
    assert_eq!(fresh_for(&[("expires", "0")]), None);
    assert_eq!(fresh_for(&[("cache-control", "max-age=60"), ("age", "60")]), None);
}

#[test]
fn a_hint_speaks_to_our_cache_alone() {
    let hinted = Terms { hint_ttl: Some(seconds(30)), ..terms() };
    let span = verdict(&hinted, &[], 200, &[("cache-control", "max-age=5")]).expect("stored");
    assert_eq!(span.fresh_for, seconds(30));
    assert!(verdict(&hinted, &[], 200, &[("cache-control", "no-store")]).is_err());
}

#[test]
fn errors_are_stored_only_when_somebody_says_so() {
    assert_eq!(verdict(&terms(), &[], 404, &[]), Err(Refusal::NotFresh));
    assert_eq!(verdict(&terms(), &[], 500, &[]), Err(Refusal::NotFresh));
    let also = [(StatusCode::NOT_FOUND, seconds(10))];
    let span = verdict(&Terms { also: &also, ..terms() }, &[], 404, &[]).expect("stored");
    assert_eq!(span.fresh_for, seconds(10));
}

/// RFC 9111, 4.2.2: only the RFC profile guesses.
#[test]
fn section_4_2_2_heuristic() {
    let response = [("last-modified", "Sun, 06 Nov 1994 08:47:57 GMT")];
    let silent = Terms { ttl: None, ..terms() };
    assert_eq!(verdict(&silent, &[], 200, &response), Err(Refusal::NotFresh));
    let guessing = Terms { policy: CachePolicy::rfc(), ..silent };
    assert_eq!(verdict(&guessing, &[], 200, &response).map(|span| span.fresh_for), Ok(seconds(10)));
}

/// RFC 5861, 4, and RFC 9111, 4.2.4: nothing stale past must-revalidate.
#[test]
fn section_4_2_4_stale_if_error_yields_to_must_revalidate() {
    let lasting = Terms { stale_if_error: Some(minutes(5)), ..terms() };
    let stale_for = |said: &str| verdict(&lasting, &[], 200, &[("cache-control", said)]).expect("stored").stale_for;
    assert_eq!(stale_for("max-age=5"), minutes(5));
    assert_eq!(stale_for("max-age=5, stale-if-error=7"), seconds(7));
    assert_eq!(stale_for("max-age=5, must-revalidate"), seconds(0));
    assert_eq!(stale_for("max-age=5, proxy-revalidate"), seconds(0));
    assert_eq!(stale_for("s-maxage=5"), seconds(0));
}

/// RFC 5861, 3: the window begins where the freshness ends, and what forbids stale answers forbids it.
#[test]
fn rfc_5861_stale_while_revalidate() {
    let lasting = Terms { stale_while_revalidate: Some(minutes(5)), ..terms() };
    let of = |lines: &[(&str, &str)]| {
        verdict(&lasting, &[], 200, lines).map(|span| span.refresh_for.saturating_sub(span.past))
    };
    assert_eq!(of(&[]), Ok(minutes(5)));
    assert_eq!(of(&[("cache-control", "max-age=5, stale-while-revalidate=7")]), Ok(seconds(7)));
    assert_eq!(of(&[("cache-control", "max-age=0, stale-while-revalidate=7")]), Ok(seconds(7)));
    assert_eq!(of(&[("cache-control", "max-age=5, stale-while-revalidate=7"), ("age", "9")]), Ok(seconds(3)));
    assert_eq!(of(&[("cache-control", "max-age=5, stale-while-revalidate=7"), ("age", "12")]), Err(Refusal::NotFresh));
    for forbids in ["must-revalidate", "proxy-revalidate", "s-maxage=5"] {
        let said = format!("max-age=5, stale-while-revalidate=7, {forbids}");
        assert_eq!(of(&[("cache-control", &said)]), Ok(seconds(0)), "{forbids}");
    }
    assert_eq!(of(&[("cache-control", "no-cache, stale-while-revalidate=7")]), Err(Refusal::NoCache));
    assert_eq!(of(&[("cache-control", "max-age=0")]), Err(Refusal::NotFresh), "the layer opens no window after none");
    let silent = [("cache-control", "stale-while-revalidate=7")];
    for status in [404, 500] {
        assert_eq!(verdict(&lasting, &[], status, &silent), Err(Refusal::NotFresh), "{status}");
    }
    let private = Terms { is_private: true, ..lasting };
    let span = verdict(&private, &[], 200, &[("cache-control", "s-maxage=5, max-age=5")]).expect("stored");
    assert_eq!(span.refresh_for, minutes(5), "s-maxage is for shared caches");
}

/// Ten seconds old, five to go.
const FRESH: Standing = Standing {
    age: seconds(10),
    left: Some(seconds(5)),
    past: seconds(0),
    may_be_refreshed: false,
    may_be_stale: false,
};
/// Ten seconds old, stale for five.
const STALE: Standing =
    Standing { age: seconds(10), left: None, past: seconds(5), may_be_refreshed: false, may_be_stale: true };

fn reused(policy: CachePolicy, line: &str, stored: Standing) -> Reuse {
    reuse(policy, &headers(&[("cache-control", line)]), stored)
}

/// RFC 9111, 5.2.1: a request's directives count by the RFC profile only.
#[test]
fn section_5_2_1_request_directives() {
    let rfc = CachePolicy::rfc();
    for line in ["no-cache", "max-age=0", "max-age=9", "min-fresh=6"] {
        assert_eq!(reused(rfc, line, FRESH), Reuse::Refused, "{line}");
        assert_eq!(reused(SHARED, line, FRESH), Reuse::Fresh, "{line}");
    }
    assert_eq!(reused(rfc, "max-age=10, min-fresh=5, max-stale=99", FRESH), Reuse::Fresh);
}

/// RFC 9111, 5.2.1.2: as stale as the request allows, where the response does not forbid it.
#[test]
fn section_5_2_1_2_max_stale() {
    let rfc = CachePolicy::rfc();
    for line in ["max-stale", "max-stale=5", "max-stale=5, max-age=10"] {
        assert_eq!(reused(rfc, line, STALE), Reuse::Stale, "{line}");
        assert_eq!(reused(SHARED, line, STALE), Reuse::Refused, "{line}");
        assert_eq!(reused(rfc, line, Standing { may_be_stale: false, ..STALE }), Reuse::Refused, "{line}");
    }
    for line in
        ["", "max-stale=4", "max-stale=x", "max-stale, no-cache", "max-stale, max-age=9", "max-stale, min-fresh=1"]
    {
        assert_eq!(reused(rfc, line, STALE), Reuse::Refused, "{line}");
    }
}

/// RFC 5861, 3; RFC 9111, 5.2.1.1: a request that names an age wants nothing stale.
#[test]
fn rfc_5861_in_its_window_a_stale_response_serves() {
    let stored = Standing { may_be_refreshed: true, ..STALE };
    assert_eq!(reused(SHARED, "no-cache", stored), Reuse::WhileRefreshed);
    assert_eq!(reused(CachePolicy::rfc(), "max-stale=1", stored), Reuse::WhileRefreshed);
    for line in ["no-cache", "max-age=99", "min-fresh=1"] {
        assert_eq!(reused(CachePolicy::rfc(), line, stored), Reuse::Refused, "{line}");
    }
}

/// RFC 9111, 3.1: the connection's own fields are not stored.
#[test]
fn section_3_1_connection_fields() {
    let mut all = headers(&[
        ("connection", "x-hop, close"),
        ("x-hop", "1"),
        ("keep-alive", "5"),
        ("transfer-encoding", "chunked"),
    ]);
    all.extend(headers(&[
        ("ratelimit", "1"),
        ("ratelimit-policy", "1"),
        ("x-ratelimit-limit", "1"),
        ("cache-status", "a; hit"),
    ]));
    all.append("x-kept", "1".parse().expect("a value"));
    all.append("x-kept", "2".parse().expect("a value"));
    let kept = stored_headers(&all);
    assert!(!kept.contains_key(CONNECTION));
    assert_eq!(kept.get_all("x-kept").iter().count(), 2);
    assert_eq!(kept.len(), 2);
}

/// RFC 9213, 2.2: the targeted field hides Cache-Control and Expires, unless it is empty or cannot be read.
#[test]
fn rfc_9213_the_targeted_field_goes_first() {
    let with = |line: &'static str, others: &[(&'static str, &'static str)]| {
        let lines: Vec<_> = [("cdn-cache-control", line)].iter().chain(others).copied().collect();
        verdict(&terms(), &[], 200, &lines).map(|span| span.fresh_for)
    };
    for forbids in ["no-store", "private", "max-age=1"] {
        assert_eq!(with("max-age=30", &[("cache-control", forbids)]), Ok(seconds(30)), "{forbids}");
        assert_eq!(with("max-age=30", &[("cache-control", forbids), ("expires", "0")]), Ok(seconds(30)), "{forbids}");
    }
    assert_eq!(with("no-store", &[("cache-control", "max-age=60")]), Err(Refusal::NoStore));
    assert_eq!(with("public", &[("cache-control", "max-age=5"), ("expires", "0")]), Ok(minutes(1)), "the layer's ttl");
    for ignored in ["", "max-age=30, &", "Max-Age=30"] {
        assert_eq!(with(ignored, &[("cache-control", "no-store")]), Err(Refusal::NoStore), "{ignored}");
    }
    let stored = stored_headers(&headers(&[("cdn-cache-control", "max-age=30")]));
    assert!(stored.contains_key("cdn-cache-control"), "it is for the caches behind ours too");
}

/// RFC 9111, 4.4 and RFC 9110, 9.2.1.
#[test]
fn section_4_4_unknown_methods_are_unsafe() {
    assert!(is_safe(&Method::HEAD) && is_safe(&Method::OPTIONS));
    assert!(!is_safe(&Method::POST) && !is_safe(&Method::from_bytes(b"FROB").expect("a method")));
}

fn wild() -> impl Strategy<Value = HeaderMap> {
    let name = prop::sample::select(vec![
        "cache-control",
        "cdn-cache-control",
        "expires",
        "date",
        "age",
        "vary",
        "last-modified",
        "set-cookie",
    ]);
    let value = prop_oneof![
        "[a-zA-Z0-9=,\"; -]{0,40}".prop_map(String::into_bytes),
        prop::sample::select(vec!["No-Store", "PRIVATE", "max-age=60", "Sun, 06 Nov 1994 08:50:37 GMT", "*"])
            .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec((name, value), 0..6).prop_map(|lines| {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                map.append(name, value);
            }
        }
        map
    })
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_private_is_shared(request in wild(), response in wild(), status in 100u16..600) {
        let status = StatusCode::from_u16(status).expect("in range");
        if let Ok(span) = decide(&terms(), Asked::of(&request, NOW), status, &response, NOW) {
            let said = Directives::of_response(&response);
            prop_assert!(!said.no_store || said.must_understand);
            prop_assert!(!said.private && !response.contains_key("set-cookie") && status != 429);
            prop_assert!(span.fresh_for + span.refresh_for > seconds(0));
        }
        let _ = (is_not_modified(&request, &response, NOW), stored_headers(&response), is_for_the_handler(&request));
    }

    /// What the layer and the hint say is any number, and a handler takes its time.
    #[test]
    fn no_duration_is_too_long(secs: u64, nanos in 0u32..1_000_000_000, delay in 1u64..1_000, status in 200u16..210) {
        let any = std::time::Duration::new(secs, nanos);
        let status = StatusCode::from_u16(status).expect("in range");
        for any in [any, std::time::Duration::MAX] {
            let also = [(status, any)];
            let layer = Terms { ttl: Some(any), also: &also, stale_if_error: Some(any), stale_while_revalidate: Some(any), ..terms() };
            for terms in [layer, Terms { hint_ttl: Some(any), ..layer }, Terms { also: &[], ..layer }] {
                let asked = Asked { at: NOW - std::time::Duration::from_millis(delay), ..Asked::default() };
                if let Ok(span) = decide(&terms, asked, status, &HeaderMap::new(), NOW) {
                    prop_assert!(span.fresh_for <= any);
                }
            }
        }
    }

    /// RFC 9111, 4.2.3: an older response never serves longer.
    #[test]
    fn age_only_shortens(age in 0u64..200, max_age in 1u64..200) {
        let said = format!("max-age={max_age}");
        let young = fresh_for(&[("cache-control", &said)]).unwrap_or_default();
        let old = fresh_for(&[("cache-control", &said), ("age", &age.to_string())]).unwrap_or_default();
        prop_assert_eq!(old, young.saturating_sub(seconds(age)));
    }
}
