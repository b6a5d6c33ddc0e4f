//! Conditional requests answered from the store (RFC 9110, 13; RFC 9111, 4.3.2).

use super::steps::*;

const STORED: &[&str] = &[
    "cache-control: max-age=60",
    "etag: \"a\"",
    "last-modified: Wed, 31 Dec 2025 00:00:00 GMT",
    "content-type: text/plain",
    "content-location: /x",
    "expires: {date+60}",
    "vary: accept",
];

/// A stored response, then a request with `condition`.
fn asked(name: &'static str, condition: &'static str, status: u16) -> Row {
    let again = get().after(1).asks(&[condition]).came(Stored).is(status);
    row(name, rfc, [get().says(STORED).came(Kept), if status == 304 { again.body("") } else { again.body("call 1") }])
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        asked("9110 13.1.2: the stored tag", "if-none-match: \"a\"", 304),
        asked("9110 13.1.2: tags are compared weakly", "if-none-match: W/\"a\"", 304),
        asked("9110 13.1.2: any of a list", "if-none-match: \"x\", \"a\", \"y\"", 304),
        asked("9110 13.1.2: any at all", "if-none-match: *", 304),
        asked("9110 13.1.2: another tag", "if-none-match: \"b\"", 200),
        asked("9110 13.1.2: a tag in other letters is another", "if-none-match: \"A\"", 200),
        asked("9110 8.8.3: without its quotes it is no tag", "if-none-match: a", 200),
        asked("9110 13.1.3: the date of the last change", "if-modified-since: Wed, 31 Dec 2025 00:00:00 GMT", 304),
        asked("9110 13.1.3: a later date", "if-modified-since: Wed, 31 Dec 2025 12:00:00 GMT", 304),
        asked("9110 13.1.3: an earlier date", "if-modified-since: Tue, 30 Dec 2025 00:00:00 GMT", 200),
        asked("9110 13.1.3: no date", "if-modified-since: yesterday", 200),
        asked("9110 5.6.7: a date of the second form", "if-modified-since: Wednesday, 31-Dec-25 00:00:00 GMT", 304),
        asked("9110 5.6.7: a date of the third form", "if-modified-since: Wed Dec 31 00:00:00 2025", 304),
        row(
            "9110 13.2.2: with a tag the date does not count",
            rfc,
            [
                get().says(STORED).came(Kept),
                get()
                    .asks(&["if-none-match: \"b\"", "if-modified-since: Wed, 31 Dec 2025 00:00:00 GMT"])
                    .came(Stored)
                    .is(200),
            ],
        ),
        row(
            "9110 15.4.5: what a 304 carries, and what not",
            rfc,
            [
                get().says(STORED).came(Kept),
                get().after(5).asks(&["if-none-match: \"a\""]).came(Stored).is(304).shows(&[
                    "cache-control: max-age=60",
                    "content-location: /x",
                    "date: {date-5}",
                    "etag: \"a\"",
                    "expires: {date+55}",
                    "vary: accept",
                    "age: 5",
                    "!content-type",
                    "!content-length",
                ]),
            ],
        ),
        row(
            "9111 4.3.2: a stored error is not what a tag is about",
            rfc,
            [
                get().status(404).says(STORED).came(Kept),
                get().asks(&["if-none-match: \"a\""]).came(Stored).is(404).body("call 1"),
            ],
        ),
        row(
            "9110 13.1.1: a precondition is the handler's",
            rfc,
            [
                get().says(STORED).came(Kept),
                get().asks(&["if-match: \"a\""]).came(Passed).told(&["if-match: \"a\""]),
                get().asks(&["if-unmodified-since: Wed, 31 Dec 2025 00:00:00 GMT"]).came(Passed),
            ],
        ),
        row(
            "9111 4.3.2: without a date of the last change that of the response counts",
            rfc,
            [
                get().says(&["cache-control: max-age=60"]).came(Kept),
                get().after(5).asks(&["if-modified-since: {date-5}"]).came(Stored).is(304),
                get().asks(&["if-modified-since: {date-6}"]).came(Stored).is(200),
            ],
        ),
        row(
            "9110 13.1.2: a stored response without a tag is another one",
            rfc,
            [
                get().says(&["cache-control: max-age=60"]).came(Kept),
                get().asks(&["if-none-match: \"a\""]).came(Stored).is(200),
            ],
        ),
        row(
            "9110 13.1.2: but it is one, for those who have any",
            rfc,
            [
                get().says(&["cache-control: max-age=60"]).came(Kept),
                get().asks(&["if-none-match: *"]).came(Stored).is(304),
            ],
        ),
    ]
}
