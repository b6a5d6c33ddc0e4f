//! Parts of stored responses (RFC 9110, 14; RFC 9111, 3.3).

use super::steps::*;

const STORED: &[&str] = &["cache-control: max-age=60", "etag: \"a\"", "last-modified: Wed, 31 Dec 2025 00:00:00 GMT"];

/// `0123456789` is stored, and a request with `lines` follows.
fn asked(name: &'static str, lines: &[&'static str], status: u16, body: &'static str) -> Row {
    row(
        name,
        rfc,
        [get().says(STORED).content("0123456789").came(Kept), get().asks(lines).came(Stored).is(status).body(body)],
    )
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = parts();
    rows.extend(passed());
    rows
}

fn parts() -> Vec<Row> {
    const WHOLE: &str = "0123456789";
    vec![
        asked("9110 14.1.2: from and to", &["range: bytes=2-4"], 206, "234"),
        asked("9110 14.1.2: from", &["range: bytes=7-"], 206, "789"),
        asked("9110 14.1.2: the last so many", &["range: bytes=-2"], 206, "89"),
        asked("9110 14.1.2: more than there are", &["range: bytes=-20"], 206, WHOLE),
        asked("9110 14.1.2: past the end", &["range: bytes=8-99"], 206, "89"),
        asked("9110 15.5.17: from behind the end", &["range: bytes=10-"], 416, ""),
        asked("9110 14.2: several may be ignored", &["range: bytes=0-1,4-5"], 200, WHOLE),
        asked("9110 14.2: so may another unit", &["range: lines=0-1"], 200, WHOLE),
        asked("9110 14.1.1: the wrong way round is no range", &["range: bytes=4-2"], 200, WHOLE),
        asked("9110 13.1.5: a part of this state, by its tag", &["range: bytes=0-1", "if-range: \"a\""], 206, "01"),
        asked("9110 13.1.5: by its date", &["range: bytes=0-1", "if-range: Wed, 31 Dec 2025 00:00:00 GMT"], 206, "01"),
        asked("9110 13.1.5: of another state", &["range: bytes=0-1", "if-range: \"b\""], 200, WHOLE),
        asked("9110 13.1.5: a weak tag names no state", &["range: bytes=0-1", "if-range: W/\"a\""], 200, WHOLE),
        asked("9110 13.2.2: a 304 goes before a part", &["range: bytes=0-1", "if-none-match: \"a\""], 304, ""),
        row(
            "9110 14.4: a part says which",
            rfc,
            [
                get().says(STORED).content("0123456789").came(Kept),
                get().asks(&["range: bytes=2-4"]).came(Stored).shows(&[
                    "content-range: bytes 2-4/10",
                    "content-length: 3",
                    "etag: \"a\"",
                ]),
                get().asks(&["range: bytes=10-"]).came(Stored).shows(&["content-range: bytes */10"]),
            ],
        ),
    ]
}

fn passed() -> Vec<Row> {
    vec![
        row(
            "9111 3.3: a part is not stored as the whole",
            rfc,
            [
                get()
                    .asks(&["range: bytes=0-1"])
                    .status(206)
                    .says(&["cache-control: max-age=60", "content-range: bytes 0-1/10"])
                    .came(Passed)
                    .told(&["range: bytes=0-1"]),
                get().says(STORED).came(Kept),
            ],
        ),
        row(
            "9111 3.3: nor is an unasked one",
            rfc,
            [
                get().status(206).says(&["cache-control: max-age=60", "content-range: bytes 0-1/10"]).came(Passed),
                get().came(Asked),
            ],
        ),
        row(
            "9110 14.2: only a 200 has parts",
            rfc,
            [
                get().status(404).says(STORED).content("0123456789").came(Kept),
                get().asks(&["range: bytes=0-1"]).came(Stored).is(404).body("0123456789"),
            ],
        ),
        row(
            "9110 14.2: a range means nothing to HEAD",
            rfc,
            [
                get().says(STORED).content("0123456789").came(Kept),
                head().asks(&["range: bytes=0-1"]).came(Stored).is(200).shows(&["content-length: 10"]),
            ],
        ),
    ]
}
