//! Responses past their freshness (RFC 5861; RFC 9111, 4.2.4).

use towerkeep::clock::minutes;

use super::steps::*;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = if_error();
    rows.extend(while_revalidated());
    rows.extend(disconnected());
    rows.extend(beside());
    rows
}

/// A response of `says`, and after 61 seconds a handler that fails with `status`.
fn failing(name: &'static str, mount: Mount, says: &'static str, status: u16, came: Came) -> Row {
    let failing = get().after(61).status(status).came(came);
    row(name, mount, [get().says(&[says]).came(Kept), if came == Rescued { failing.body("call 1") } else { failing }])
}

fn lasting(cache: &towerkeep::cache::ResponseCache) -> towerkeep::cache::CacheLayer {
    minute(cache).stale_if_error(minutes(5)).stale_while_revalidate(minutes(1))
}

fn if_error() -> Vec<Row> {
    const SAYS: &str = "cache-control: max-age=60, stale-if-error=60";
    vec![
        failing("5861 4: a 500", safe, SAYS, 500, Rescued),
        failing("5861 4: a 502", safe, SAYS, 502, Rescued),
        failing("5861 4: a 503", safe, SAYS, 503, Rescued),
        failing("5861 4: a 504", safe, SAYS, 504, Rescued),
        failing("5861 4: a 404 is no failure", safe, SAYS, 404, Passed),
        failing("5861 4: without the directive a 503 is an answer", rfc, "cache-control: max-age=60", 503, Passed),
        failing("5861 4: not past its window", safe, "cache-control: max-age=1, stale-if-error=60", 503, Passed),
        failing(
            "9111 5.2.2.2: must-revalidate",
            rfc,
            "cache-control: max-age=60, stale-if-error=60, must-revalidate",
            503,
            Passed,
        ),
        failing(
            "9111 5.2.2.8: proxy-revalidate",
            rfc,
            "cache-control: max-age=60, stale-if-error=60, proxy-revalidate",
            503,
            Passed,
        ),
        failing("9111 5.2.2.10: s-maxage", rfc, "cache-control: s-maxage=60, stale-if-error=60", 503, Passed),
        failing(
            "5861 4: an unreadable number is no window",
            safe,
            "cache-control: max-age=60, stale-if-error=x",
            503,
            Passed,
        ),
        row(
            "5861 4: no answer at all",
            safe,
            [
                get().says(&[SAYS]).came(Kept),
                get().after(61).gone().came(Rescued).body("call 1").shows(&["age: 61"]),
                get().after(59).gone().came(Error),
            ],
        ),
        row(
            "5861 4: Age shortens the window",
            safe,
            [
                get().says(&["cache-control: max-age=60, stale-if-error=60", "age: 30"]).came(Kept),
                get().after(89).status(503).came(Rescued),
                get().after(1).status(503).came(Passed),
            ],
        ),
    ]
}

fn beside() -> Vec<Row> {
    const SAYS: &str = "cache-control: max-age=60, stale-if-error=60";
    vec![
        row(
            "5861 4: HEAD too",
            safe,
            [
                get().says(&[SAYS]).came(Kept),
                head().after(61).status(503).came(Rescued).is(200).body("").shows(&["content-length: 6"]),
                head().gone().came(Rescued).is(200),
                head().status(404).came(Passed).is(404),
                head().after(60).status(503).came(Passed).is(503),
            ],
        ),
        row(
            "5861 4: a part too",
            safe,
            [
                get().says(&[SAYS]).content("0123456789").came(Kept),
                get().after(61).asks(&["range: bytes=2-4"]).status(500).came(Rescued).is(206).body("234"),
                get().asks(&["range: bytes=2-4"]).gone().came(Rescued).is(206).body("234"),
            ],
        ),
        row(
            "9111 4.2.4: HEAD and parts of who is cut off",
            rfc,
            [
                get().says(&["cache-control: max-age=60"]).content("0123456789").came(Kept),
                head().after(61).gone().came(Rescued).is(200),
                get().asks(&["range: bytes=2-4"]).gone().came(Rescued).is(206).body("234"),
                head().status(503).came(Passed).is(503),
            ],
        ),
    ]
}

fn while_revalidated() -> Vec<Row> {
    const SAYS: &str = "cache-control: max-age=60, stale-while-revalidate=60";
    let forbidden = |name: &'static str, line: &'static str| {
        row(name, rfc, [get().says(&[SAYS, line]).came(Kept), get().after(61).came(Asked).body("call 2")])
    };
    vec![
        row(
            "5861 3: the stale response serves, and the next is fresh",
            safe,
            [
                get().says(&[SAYS]).came(Kept),
                get().after(119).says(&[SAYS]).came(StoredAndAsked).body("call 1").shows(&["age: 119"]),
                get().says(&[SAYS]).until("towerkeep; hit; ttl=60").came(Stored).body("call 2"),
            ],
        ),
        row(
            "5861 3: not past its window",
            safe,
            [get().says(&[SAYS]).came(Kept), get().after(120).says(&[SAYS]).came(Kept).body("call 2")],
        ),
        row(
            "5861 3: the layer's window, for what says none",
            lasting,
            [
                get().came(Kept),
                get().after(61).came(StoredAndAsked).body("call 1"),
                get().until("towerkeep; hit; ttl=60").body("call 2"),
            ],
        ),
        row(
            "5861 3: the refresh asks by the stored tag, and a 304 renews",
            safe,
            [
                get().says(&[SAYS, "etag: \"a\""]).came(Kept),
                get()
                    .after(61)
                    .asks(&["if-none-match: \"old\""])
                    .status(304)
                    .came(StoredAndAsked)
                    .told(&["if-none-match: \"a\""]),
                get().until("towerkeep; hit; ttl=60").body("call 1").shows(&["age: 0"]),
            ],
        ),
        row(
            "5861 3: a part is served, and the whole refreshed",
            safe,
            [
                get().says(&[SAYS]).content("0123456789").came(Kept),
                get()
                    .after(61)
                    .asks(&["range: bytes=0-1"])
                    .says(&[SAYS])
                    .content("9876543210")
                    .came(StoredAndAsked)
                    .is(206)
                    .body("01")
                    .told(&["!range"]),
                get().until("towerkeep; hit; ttl=60").body("9876543210"),
            ],
        ),
        row(
            "5861 3: max-age=0 with a window",
            safe,
            [
                get().says(&["cache-control: max-age=0, stale-while-revalidate=60"]).came(Kept),
                get().after(30).came(StoredAndAsked).body("call 1"),
            ],
        ),
        row(
            "5861 3: HEAD is served",
            safe,
            [get().says(&[SAYS]).came(Kept), head().after(61).came(Stored).body("").shows(&["content-length: 6"])],
        ),
        row(
            "9111 5.2.1.4: a request that wants to ask asks",
            rfc,
            [get().says(&[SAYS]).came(Kept), get().after(61).asks(&["cache-control: no-cache"]).came(Asked)],
        ),
        forbidden("5861 3: not with must-revalidate", "cache-control: must-revalidate"),
        forbidden("5861 3: not with proxy-revalidate", "cache-control: proxy-revalidate"),
        forbidden("5861 3: not with s-maxage", "cache-control: s-maxage=60"),
        row(
            "5861 3: not with no-cache",
            rfc,
            [
                get().says(&[SAYS, "cache-control: no-cache", "etag: \"a\""]).came(Kept),
                get().came(Asked).body("call 2"),
            ],
        ),
    ]
}

fn disconnected() -> Vec<Row> {
    let gone = |name: &'static str, mount: Mount, says: &'static [&'static str], came| {
        row(name, mount, [get().says(says).came(Kept), get().after(300).gone().came(came)])
    };
    vec![
        gone("9111 4.2.4: who is cut off may serve what is stale", rfc, &["cache-control: max-age=60"], Rescued),
        gone("9111 4.2.4: also by Expires", rfc, &["expires: {date+60}"], Rescued),
        gone("9111 4.2.4: also by a guess", rfc, &["last-modified: {date-600}"], Rescued),
        gone("9111 4.2.4: the safe profile wants to be told", safe, &["cache-control: max-age=60"], Error),
        gone("9111 4.2.4: not past must-revalidate", rfc, &["cache-control: max-age=60, must-revalidate"], Error),
        gone("9111 4.2.4: nor proxy-revalidate", rfc, &["cache-control: max-age=60, proxy-revalidate"], Error),
        gone("9111 4.2.4: nor s-maxage", rfc, &["cache-control: s-maxage=60"], Error),
        gone("9111 4.2.4: nor no-cache", rfc, &["cache-control: no-cache", "etag: \"a\""], Error),
    ]
}
