//! Several responses of one URL (RFC 9111, 4.1).

use super::steps::*;

/// A response that names `vary`, asked for by `first` and then by `second`.
fn twice(
    name: &'static str,
    vary: &'static [&'static str],
    first: &'static [&'static str],
    second: &'static [&'static str],
    came: Came,
) -> Row {
    let says = |step: Step| step.says(&["cache-control: max-age=60"]).says(vary);
    row(name, rfc, [says(get().asks(first)).came(Kept), says(get().asks(second)).came(came)])
}

const LANGUAGE: &[&str] = &["vary: accept-language"];

pub(super) fn rows() -> Vec<Row> {
    let mut rows = matching();
    rows.extend(meanings());
    rows.extend(several());
    rows
}

fn matching() -> Vec<Row> {
    vec![
        twice("9111 4.1: the same value", LANGUAGE, &["accept-language: de"], &["accept-language: de"], Stored),
        twice("9111 4.1: another value", LANGUAGE, &["accept-language: de"], &["accept-language: en"], Kept),
        twice("9111 4.1: absent from both", LANGUAGE, &[], &[], Stored),
        twice("9111 4.1: absent from the first", LANGUAGE, &[], &["accept-language: de"], Kept),
        twice("9111 4.1: absent from the second", LANGUAGE, &["accept-language: de"], &[], Kept),
        twice("9111 4.1: empty is not absent", LANGUAGE, &["accept-language:"], &[], Kept),
        twice(
            "9110 5.1: names of fields are case-insensitive",
            &["vary: Accept-LANGUAGE"],
            &["accept-language: de"],
            &["accept-language: en"],
            Kept,
        ),
        twice(
            "9111 4.1: spaces around elements do not count",
            LANGUAGE,
            &["accept-language: de, en"],
            &["accept-language: de ,en"],
            Stored,
        ),
        twice(
            "9111 4.1: lines are combined",
            LANGUAGE,
            &["accept-language: de, en"],
            &["accept-language: de", "accept-language: en"],
            Stored,
        ),
        twice("9111 4.1: order counts", LANGUAGE, &["accept-language: de, en"], &["accept-language: en, de"], Kept),
        twice("9111 4.1: values are compared by their letters", &["vary: x-a"], &["x-a: b"], &["x-a: B"], Kept),
        twice("9111 4.1: fields that are not named do not choose", LANGUAGE, &["accept: a"], &["accept: b"], Stored),
        twice(
            "9111 4.1: all of two fields have to match",
            &["vary: x-a, x-b"],
            &["x-a: 1", "x-b: 1"],
            &["x-a: 1", "x-b: 2"],
            Kept,
        ),
        twice(
            "9111 4.1: and it is a match where they do",
            &["vary: x-a, x-b"],
            &["x-a: 1", "x-b: 1"],
            &["x-b: 1", "x-a: 1"],
            Stored,
        ),
        twice("9110 5.3: names on two lines are one list", &["vary: x-a", "vary: x-b"], &["x-b: 1"], &["x-b: 2"], Kept),
        twice(
            "9110 12.5.3: encodings in another order",
            &["vary: accept-encoding"],
            &["accept-encoding: gzip, br"],
            &["accept-encoding: br, gzip"],
            Stored,
        ),
        twice(
            "9110 12.5.3: in other letters, with a weight of one",
            &["vary: accept-encoding"],
            &["accept-encoding: gzip"],
            &["accept-encoding: GZIP;q=1.0"],
            Stored,
        ),
        twice(
            "9110 12.5.3: another weight is another wish",
            &["vary: accept-encoding"],
            &["accept-encoding: gzip"],
            &["accept-encoding: gzip;q=0"],
            Kept,
        ),
        twice(
            "9110 12.5.4: languages in other letters",
            LANGUAGE,
            &["accept-language: de-DE"],
            &["accept-language: de-de"],
            Stored,
        ),
        unkept("9111 4.1: an asterisk never matches", rfc, &["cache-control: max-age=60", "vary: *"]),
        unkept("9111 4.1: nor does one among names", rfc, &["cache-control: max-age=60", "vary: accept, *"]),
        unkept("9111 4.1: nor on a line of its own", rfc, &["cache-control: max-age=60", "vary: accept", "vary: *"]),
        unkept("9111 4.1: what is no name is never matched", rfc, &["cache-control: max-age=60", "vary: a b"]),
    ]
}

/// What means something else is another value, however little is different.
fn meanings() -> Vec<Row> {
    let origin = |name, second| twice(name, &["vary: origin"], &["origin: https://a.example"], second, Kept);
    vec![
        origin("9111 4.1: a comma after the value", &["origin: https://a.example,"]),
        origin("9111 4.1: a comma before the value", &["origin: ,https://a.example"]),
        origin("9111 4.1: an empty line beside the value", &["origin:", "origin: https://a.example"]),
        twice(
            "9110 5.6.1: in a list of preferences an empty element is none",
            &["vary: accept-encoding"],
            &["accept-encoding: gzip, br"],
            &["accept-encoding: gzip,, br,"],
            Stored,
        ),
        twice(
            "9111 4.1: a space inside of a value",
            LANGUAGE,
            &["accept-language: de"],
            &["accept-language: d e"],
            Kept,
        ),
        twice(
            "9110 12.4.2: spaces around a weight do not count",
            LANGUAGE,
            &["accept-language: de;q=0.5"],
            &["accept-language: de ; q = 0.5"],
            Stored,
        ),
    ]
}

fn several() -> Vec<Row> {
    let of =
        |language: &'static str| get().asks(&[language]).says(&["cache-control: max-age=60", "vary: accept-language"]);
    let tagged = |step: Step| step.says(&["cache-control: max-age=60", "vary: x-a", "etag: \"a\""]);
    vec![
        row(
            "9111 4.1: variants lie beside each other",
            rfc,
            [
                of("accept-language: de").came(Kept),
                of("accept-language: en").came(Kept),
                of("accept-language: de").came(Stored).body("call 1"),
                of("accept-language: en").came(Stored).body("call 2"),
                of("accept-language: fr").came(Kept).body("call 3"),
                of("accept-language: de").came(Stored).body("call 1"),
            ],
        ),
        row(
            "9111 4.1: a response that names other fields replaces all",
            rfc,
            [
                of("accept-language: de").came(Kept),
                get().asks(&["accept-language: en"]).says(&["cache-control: max-age=60", "vary: x-a"]).came(Kept),
                get().asks(&["accept-language: fr"]).came(Stored).body("call 2"),
            ],
        ),
        row(
            "9111 4.3.1: a variant is asked about by its own tag",
            rfc,
            [
                tagged(get().asks(&["x-a: 1"])).came(Kept),
                get().asks(&["x-a: 2"]).says(&["cache-control: max-age=60", "vary: x-a", "etag: \"b\""]).came(Kept),
                get()
                    .after(61)
                    .asks(&["x-a: 1"])
                    .status(304)
                    .came(Validated)
                    .body("call 1")
                    .told(&["if-none-match: \"a\""]),
                get().asks(&["x-a: 2"]).status(304).came(Validated).body("call 2").told(&["if-none-match: \"b\""]),
            ],
        ),
        row(
            "9111 4.1: HEAD chooses as GET does",
            rfc,
            [
                of("accept-language: de").came(Kept),
                head().asks(&["accept-language: de"]).came(Stored),
                head().asks(&["accept-language: en"]).came(Passed),
            ],
        ),
        row(
            "9111 4.1: so do ranges",
            rfc,
            [
                of("accept-language: de").came(Kept),
                get().asks(&["accept-language: de", "range: bytes=0-1"]).came(Stored).is(206),
                get().asks(&["accept-language: en", "range: bytes=0-1"]).came(Passed),
            ],
        ),
    ]
}
