//! Requests with `Authorization` (RFC 9111, 3.5), and responses that set cookies (7.3).

use super::steps::*;

const BEARER: &[&str] = &["authorization: Bearer x"];

fn authorized(name: &'static str, says: &'static str, is_kept: bool) -> Row {
    let first = get().asks(BEARER).says(&[says]);
    let (first, second) = if is_kept { (first.came(Kept), Stored) } else { (first.came(Passed), Asked) };
    row(name, rfc, [first, get().came(second)])
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        authorized("9111 3.5: max-age does not share", "cache-control: max-age=60", false),
        authorized("9111 3.5: public shares", "cache-control: public, max-age=60", true),
        authorized("9111 3.5: must-revalidate shares", "cache-control: must-revalidate, max-age=60", true),
        authorized("9111 3.5: s-maxage shares", "cache-control: s-maxage=60", true),
        authorized("9111 3.5: proxy-revalidate does not", "cache-control: proxy-revalidate, max-age=60", false),
        authorized("9111 3.5: no-store goes before", "cache-control: public, no-store, max-age=60", false),
        authorized("9111 3.5: so does private", "cache-control: public, private, max-age=60", false),
        authorized("9213 2.2: the targeted field shares too", "cdn-cache-control: public, max-age=60", true),
        row(
            "9111 3.5: the layer's own time does not share",
            minute,
            [get().asks(BEARER).came(Passed), get().came(Asked)],
        ),
        row(
            "9111 3.5: what is stored serves the authorized too",
            safe,
            [get().says(&["cache-control: max-age=60"]).came(Kept), get().asks(BEARER).came(Stored)],
        ),
        row(
            "9111 3.5: a partition is private",
            partitioned,
            [
                get().asks(&["x-key: a"]).asks(BEARER).says(&["cache-control: max-age=60"]).came(Kept),
                get().asks(&["x-key: a"]).came(Stored),
            ],
        ),
        unkept(
            "9111 7.3: the safe profile keeps no cookies",
            safe,
            &["cache-control: max-age=60", "set-cookie: sid=1"],
        ),
        unkept(
            "9111 7.3: also where the response is public",
            safe,
            &["cache-control: public, max-age=60", "set-cookie: sid=1"],
        ),
        row(
            "9111 7.3: the RFC does not forbid it",
            rfc,
            [
                get().says(&["cache-control: max-age=60", "set-cookie: a=1", "set-cookie: b=2"]).came(Kept),
                get().came(Stored).shows(&["set-cookie: a=1, b=2"]),
            ],
        ),
    ]
}
