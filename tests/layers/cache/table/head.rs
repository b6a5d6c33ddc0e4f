//! HEAD, answered from what GET stored (RFC 9111, 4; RFC 9110, 9.3.2).

use super::steps::*;

const STORED: &[&str] = &["cache-control: max-age=60", "etag: \"a\"", "x-a: 1"];

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "9110 9.3.2: the fields of GET without its body",
            rfc,
            [
                get().says(STORED).came(Kept),
                head().after(5).came(Stored).is(200).body("").shows(&["content-length: 6", "x-a: 1", "age: 5"]),
            ],
        ),
        row(
            "9111 4: the answer to HEAD is not stored for GET",
            rfc,
            [
                head().says(STORED).content("").came(Passed),
                get().says(STORED).came(Kept),
                get().came(Stored).body("call 2"),
            ],
        ),
        row(
            "9111 4.2: HEAD is not answered by what is stale",
            rfc,
            [get().says(STORED).came(Kept), head().after(60).says(STORED).content("").came(Passed)],
        ),
        row(
            "9110 13.1.2: HEAD may be conditional",
            rfc,
            [get().says(STORED).came(Kept), head().asks(&["if-none-match: \"a\""]).came(Stored).is(304).body("")],
        ),
        row(
            "9110 9.3.2: HEAD of a stored error",
            rfc,
            [get().status(404).says(STORED).came(Kept), head().came(Stored).is(404).body("")],
        ),
        row(
            "9111 5.2.1.7: HEAD with only-if-cached",
            rfc,
            [head().asks(&["cache-control: only-if-cached"]).came(Nothing).is(504)],
        ),
    ]
}
