//! Stale responses that the handler is asked about (RFC 9111, 4.3).

use super::steps::*;

const MAX_AGE: &str = "cache-control: max-age=60";
const TAG: &str = "etag: \"a\"";
const CHANGED: &str = "last-modified: Wed, 31 Dec 2025 00:00:00 GMT";

pub(super) fn rows() -> Vec<Row> {
    let mut rows = asked();
    rows.extend(updated());
    rows
}

fn asked() -> Vec<Row> {
    vec![
        row(
            "9111 4.3.1: the handler is asked by the stored tag",
            rfc,
            [
                get().says(&[MAX_AGE, TAG]).came(Kept),
                get().after(61).status(304).came(Validated).is(200).body("call 1").told(&["if-none-match: \"a\""]),
                get().after(59).came(Stored).body("call 1"),
            ],
        ),
        row(
            "9111 4.3.1: a weak tag is as good",
            rfc,
            [
                get().says(&[MAX_AGE, "etag: W/\"a\""]).came(Kept),
                get().after(61).status(304).came(Validated).told(&["if-none-match: W/\"a\""]),
            ],
        ),
        row(
            "9111 4.3.1: or by the date of the last change",
            rfc,
            [
                get().says(&[MAX_AGE, CHANGED]).came(Kept),
                get()
                    .after(61)
                    .status(304)
                    .came(Validated)
                    .told(&["if-modified-since: Wed, 31 Dec 2025 00:00:00 GMT", "!if-none-match"]),
            ],
        ),
        row(
            "9111 4.3.1: or by both",
            rfc,
            [
                get().says(&[MAX_AGE, TAG, CHANGED]).came(Kept),
                get()
                    .after(61)
                    .status(304)
                    .came(Validated)
                    .told(&["if-none-match: \"a\"", "if-modified-since: Wed, 31 Dec 2025 00:00:00 GMT"]),
            ],
        ),
        row(
            "9111 4.3.1: without a validator there is nothing to ask by",
            rfc,
            [
                get().says(&[MAX_AGE]).came(Kept),
                get()
                    .after(61)
                    .says(&[MAX_AGE])
                    .came(Kept)
                    .told(&["!if-none-match", "!if-modified-since"])
                    .body("call 2"),
            ],
        ),
        row(
            "9111 4.3.3: a whole response takes the place of the stored one",
            rfc,
            [
                get().says(&[MAX_AGE, TAG]).came(Kept),
                get().after(61).says(&[MAX_AGE, "etag: \"b\""]).came(Kept).body("call 2"),
                get().came(Stored).body("call 2").shows(&["etag: \"b\""]),
            ],
        ),
        row(
            "9111 4.3.2: the client's own condition is not the handler's",
            rfc,
            [
                get().says(&[MAX_AGE, TAG]).came(Kept),
                get().after(61).asks(&["if-none-match: \"old\""]).status(304).came(Validated).is(200).body("call 1"),
            ],
        ),
        row(
            "9111 4.3.2: a client that has what still holds is told so",
            rfc,
            [
                get().says(&[MAX_AGE, TAG]).came(Kept),
                get().after(61).asks(&["if-none-match: \"a\""]).status(304).came(Validated).is(304).body(""),
            ],
        ),
        row(
            "9111 4.3.1: a miss asks for the whole response",
            rfc,
            [get().asks(&["if-none-match: \"a\""]).says(&[MAX_AGE, TAG]).came(Kept).told(&["!if-none-match"])],
        ),
        row(
            "9111 4.3.3: an error of the handler's is passed on",
            rfc,
            [
                get().says(&[MAX_AGE, TAG]).came(Kept),
                get().after(61).status(500).came(Passed).is(500),
                get().status(304).came(Validated).body("call 1"),
            ],
        ),
    ]
}

fn updated() -> Vec<Row> {
    vec![
        row(
            "9111 3.2: a 304 replaces the fields that it has",
            rfc,
            [
                get().says(&[MAX_AGE, TAG, "x-a: 1", "x-b: 1", "x-b: 2"]).came(Kept),
                get()
                    .after(61)
                    .status(304)
                    .says(&["x-b: 3", "x-c: 4"])
                    .came(Validated)
                    .shows(&["x-a: 1", "x-b: 3", "x-c: 4"]),
                get().came(Stored).shows(&["x-a: 1", "x-b: 3", "x-c: 4"]),
            ],
        ),
        row(
            "9111 3.2: but none that describes the stored bytes",
            rfc,
            [
                get().says(&[MAX_AGE, TAG, "content-encoding: gzip"]).came(Kept),
                get()
                    .after(61)
                    .status(304)
                    .says(&["content-length: 0", "content-encoding: br", "content-range: bytes 0-0/9"])
                    .came(Validated)
                    .shows(&["content-length: 6", "content-encoding: gzip", "!content-range"])
                    .body("call 1"),
            ],
        ),
        row(
            "9111 3.2: nor those of the connection",
            rfc,
            [
                get().says(&[MAX_AGE, TAG]).came(Kept),
                get().after(61).status(304).says(&["connection: x-hop", "x-hop: 1", "keep-alive: 5"]).came(Validated),
                get().came(Stored).shows(&["!x-hop", "!keep-alive", "!connection"]),
            ],
        ),
        row(
            "9111 4.3.4: the new freshness is that of the 304",
            rfc,
            [
                get().says(&[MAX_AGE, TAG]).came(Kept),
                get().after(61).status(304).says(&["cache-control: max-age=600"]).came(Validated),
                get().after(599).came(Stored),
                get().after(1).status(304).came(Validated),
            ],
        ),
        row(
            "9111 4.3.4: its Age counts",
            rfc,
            [
                get().says(&[MAX_AGE, TAG]).came(Kept),
                get().after(61).status(304).says(&["age: 20"]).came(Validated).shows(&["age: 20"]),
                get().after(39).came(Stored).shows(&["age: 59"]),
                get().after(1).status(304).came(Validated),
            ],
        ),
        row(
            "9111 4.3.4: the age of the stored response is over",
            rfc,
            [
                get().says(&[MAX_AGE, TAG, "age: 30", "date: {date-30}"]).came(Kept),
                get().after(61).status(304).came(Validated).shows(&["age: 0", "date: {date+0}"]),
                get().after(59).came(Stored),
            ],
        ),
        row(
            "9111 4.3.4: a 304 that forbids to keep it ends the storing",
            rfc,
            [
                get().says(&[MAX_AGE, TAG]).came(Kept),
                get().after(61).status(304).says(&["cache-control: no-store"]).came(Validated).body("call 1"),
                get().status(304).came(Validated),
            ],
        ),
        row(
            "9111 4.3.4: another tag in a 304 changes neither whose answer it is nor the stored tag",
            rfc,
            [
                get().says(&[MAX_AGE, TAG, "x-a: 1"]).came(Kept),
                get()
                    .after(61)
                    .status(304)
                    .says(&["etag: \"b\"", "x-a: 2"])
                    .came(Validated)
                    .shows(&["x-a: 2", "etag: \"a\""]),
                get().came(Stored).shows(&["x-a: 2", "etag: \"a\""]),
            ],
        ),
        row(
            "9111 4.3.4: a weak tag in a 304 names the same response",
            rfc,
            [
                get().says(&[MAX_AGE, TAG]).came(Kept),
                get().after(61).status(304).says(&["etag: W/\"a\"", "x-a: 2"]).came(Validated).shows(&["x-a: 2"]),
                get().came(Stored),
            ],
        ),
        row(
            "9111 4.3.4: an unasked 304 is an answer of the handler's",
            rfc,
            [get().status(304).says(&[MAX_AGE, TAG]).came(Passed).is(304), get().says(&[MAX_AGE]).came(Kept)],
        ),
        row(
            "9111 4.3.4: a redirect is not asked about",
            rfc,
            [
                get().status(301).says(&[MAX_AGE, TAG, "location: /x"]).came(Kept),
                get().after(61).status(301).says(&[MAX_AGE]).came(Kept).told(&["!if-none-match"]),
            ],
        ),
    ]
}
