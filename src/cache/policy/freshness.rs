//! How long a response stays fresh, and how old it is (RFC 9111, 4.2).

use std::time::Duration;

use http::{
    HeaderMap,
    header::{AGE, DATE, EXPIRES, LAST_MODIFIED},
};

use super::{
    date::{date, date_once},
    directives::{Directives, delta_seconds, list},
};
use crate::clock::Timestamp;

/// The freshness that the response itself states; `None` when it states none (RFC 9111, 4.2.1).
pub(crate) fn stated(headers: &HeaderMap, said: &Directives, is_private: bool, now: Timestamp) -> Option<Duration> {
    let shared = if is_private { None } else { said.s_maxage };
    shared.or(said.max_age).or_else(|| expires(headers, now).filter(|_| !said.targeted))
}

/// `Expires` minus `Date`; anything unparsable, like `0`, is the past (RFC 9111, 5.3).
fn expires(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    headers.get(EXPIRES)?;
    let date = date(headers, &DATE, now).unwrap_or(now);
    Some(date_once(headers, &EXPIRES, now).map_or(Duration::ZERO, |end| end.since(date)))
}

/// A tenth of the time since the last change, at most a day (RFC 9111, 4.2.2).
pub(crate) fn heuristic(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let changed = date(headers, &LAST_MODIFIED, now)?;
    Some((date(headers, &DATE, now).unwrap_or(now).since(changed) / 10).min(crate::clock::days(1)))
}

/// How old the response was when it came to us, `delay` after the handler was asked (RFC 9111, 4.2.3).
pub(crate) fn initial_age(headers: &HeaderMap, delay: Duration, now: Timestamp) -> Duration {
    let apparent = date(headers, &DATE, now).map_or(Duration::ZERO, |date| now.since(date));
    let told = told_age(headers);
    // `Date` has whole seconds: under one second of apparent age is none.
    let apparent = if apparent < Duration::from_secs(1) { Duration::ZERO } else { apparent };
    // Its age may have been told at any moment since.
    apparent.max(told + delay)
}

/// What `Age` says. RFC 9111, 5.1 lets a cache take the first of several and ignore what it cannot read; but such a
/// response can be of any age, and stale is the safe side.
fn told_age(headers: &HeaderMap) -> Duration {
    let mut elements = list(headers, &AGE);
    match (headers.contains_key(AGE), elements.next(), elements.next()) {
        (false, ..) => Duration::ZERO,
        (true, Some(only), None) => delta_seconds(only).unwrap_or(ANY_AGE),
        (true, ..) => ANY_AGE,
    }
}

/// Older than anything is fresh: a century.
const ANY_AGE: Duration = crate::clock::days(36_525);

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::clock::seconds;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: Timestamp = Timestamp::from_micros(784_111_777_000_000);

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&str, &str)| {
            (HeaderName::try_from(*name).expect("a name"), value.parse().expect("a value"))
        };
        lines.iter().map(line).collect()
    }

    fn stated_by(lines: &[(&str, &str)], is_private: bool) -> Option<Duration> {
        let headers = headers(lines);
        stated(&headers, &Directives::of(&headers), is_private, NOW)
    }

    /// RFC 9111, 4.2.1: s-maxage before max-age before Expires; s-maxage is for shared caches (5.2.2.10).
    #[test]
    fn the_order_of_precedence() {
        let all = [("cache-control", "max-age=5, s-maxage=9"), ("expires", "Sun, 06 Nov 1994 08:49:38 GMT")];
        assert_eq!(stated_by(&all, false), Some(seconds(9)));
        assert_eq!(stated_by(&all, true), Some(seconds(5)));
        assert_eq!(stated_by(&all[1..], false), Some(seconds(1)));
        assert_eq!(stated_by(&[], false), None);
    }

    /// RFC 9111, 5.3: an invalid Expires, "especially including the value 0", is the past.
    #[test]
    fn an_invalid_or_past_or_contradicting_expires_is_stale() {
        assert_eq!(stated_by(&[("expires", "0")], false), Some(seconds(0)));
        assert_eq!(stated_by(&[("expires", "Sun, 06 Nov 1994 08:49:00 GMT")], false), Some(seconds(0)));
        let two = [("expires", "Sun, 06 Nov 1994 08:50:37 GMT"), ("expires", "Sun, 06 Nov 1994 09:49:37 GMT")];
        let mut map = headers(&two[..1]);
        map.append(EXPIRES, two[1].1.parse().expect("a value"));
        assert_eq!(stated(&map, &Directives::default(), false, NOW), Some(seconds(0)));
    }

    /// RFC 9111, 4.2.1: Expires counts from the response's Date, not from our clock.
    #[test]
    fn expires_counts_from_date() {
        let lines = [("date", "Sun, 06 Nov 1994 08:49:27 GMT"), ("expires", "Sun, 06 Nov 1994 08:49:47 GMT")];
        assert_eq!(stated_by(&lines, false), Some(seconds(20)));
    }

    /// RFC 9111, 4.2.3: the larger of the apparent age and the Age field.
    #[test]
    fn initial_age_is_the_larger_one() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:27 GMT");
        let age = |lines: &[(&str, &str)]| initial_age(&headers(lines), seconds(0), NOW);
        assert_eq!(age(&[date]), seconds(10));
        assert_eq!(age(&[date, ("age", "30")]), seconds(30));
        assert_eq!(age(&[("age", "x")]), ANY_AGE);
        assert_eq!(age(&[("age", "7, 9")]), ANY_AGE);
    }

    /// RFC 9111, 4.2.3: what was told may be as old as the request; what `Date` shows has it in it already.
    #[test]
    fn the_time_that_the_handler_took_is_added_to_the_age_that_it_told() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:27 GMT");
        let age = |lines: &[(&str, &str)]| initial_age(&headers(lines), seconds(4), NOW);
        assert_eq!(age(&[]), seconds(4));
        assert_eq!(age(&[("age", "7")]), seconds(11));
        assert_eq!(age(&[date]), seconds(10));
        assert_eq!(age(&[date, ("age", "7")]), seconds(11));
    }

    /// RFC 9111, 4.2.2: a tenth of the interval since the last change.
    #[test]
    fn the_heuristic_is_a_tenth() {
        let lines = [("last-modified", "Sun, 06 Nov 1994 08:47:57 GMT")];
        assert_eq!(heuristic(&headers(&lines), NOW), Some(seconds(10)));
    }
}
