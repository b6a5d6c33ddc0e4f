//! What a request says about storing (RFC 9111, 5.2.1 and 5.4).

use super::steps::*;

/// What was stored ten seconds ago with fifty to go, and a request with `line`, in both profiles.
fn asked(names: [&'static str; 2], line: &'static str, by_the_rfc: Came) -> [Row; 2] {
    let steps = |came| {
        let stored = get().says(&["cache-control: max-age=60"]).came(Kept);
        [stored, get().after(10).asks(&[line]).says(&["cache-control: max-age=60"]).came(came)]
    };
    [row(names[0], rfc, steps(by_the_rfc)), row(names[1], safe, steps(Stored))]
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(asked(
        ["9111 5.2.1.4: no-cache asks the handler", "9111 5.2.1.4: in the safe profile no-cache does nothing"],
        "cache-control: no-cache",
        Kept,
    ));
    rows.extend(asked(
        ["9111 5.2.1.1: max-age=0 asks the handler", "9111 5.2.1.1: in the safe profile max-age=0 does nothing"],
        "cache-control: max-age=0",
        Kept,
    ));
    rows.extend(asked(
        ["9111 5.2.1.1: older than max-age", "9111 5.2.1.1: in the safe profile max-age does nothing"],
        "cache-control: max-age=9",
        Kept,
    ));
    rows.extend(asked(
        ["9111 5.2.1.1: as old as max-age", "9111 5.2.1.1: as old as max-age, in the safe profile"],
        "cache-control: max-age=10",
        Stored,
    ));
    rows.extend(asked(
        [
            "9111 5.2.1.3: min-fresh longer than what is left",
            "9111 5.2.1.3: in the safe profile min-fresh does nothing",
        ],
        "cache-control: min-fresh=51",
        Kept,
    ));
    rows.extend(asked(
        ["9111 5.2.1.3: min-fresh as long as what is left", "9111 5.2.1.3: min-fresh in the safe profile"],
        "cache-control: min-fresh=50",
        Stored,
    ));
    rows.extend(asked(
        ["9111 5.4: Pragma is for want of Cache-Control", "9111 5.4: in the safe profile Pragma does nothing"],
        "pragma: no-cache",
        Kept,
    ));
    rows.extend(asked(
        ["9111 5.2.1: directives of requests are case-insensitive", "9111 5.2.1: in the safe profile too"],
        "cache-control: No-CACHE",
        Kept,
    ));
    rows.extend(asked(
        ["9111 5.2.1.5: no-store does not forbid what is stored", "9111 5.2.1.5: nor in the safe profile"],
        "cache-control: no-store",
        Stored,
    ));
    rows.extend(asked(
        ["9111 5.2.1.7: only-if-cached is served what is stored", "9111 5.2.1.7: also in the safe profile"],
        "cache-control: only-if-cached",
        Stored,
    ));
    rows.extend(others());
    rows.extend(max_stale());
    rows
}

fn others() -> Vec<Row> {
    vec![
        row(
            "9111 5.4: with Cache-Control Pragma does not count",
            rfc,
            [
                get().says(&["cache-control: max-age=60"]).came(Kept),
                get().asks(&["pragma: no-cache", "cache-control: max-age=60"]).came(Stored),
            ],
        ),
        row(
            "9111 5.2.1.4: what is stored is asked about",
            rfc,
            [
                get().says(&["cache-control: max-age=60", "etag: \"a\""]).came(Kept),
                get()
                    .asks(&["cache-control: no-cache"])
                    .status(304)
                    .came(Validated)
                    .body("call 1")
                    .told(&["if-none-match: \"a\""]),
            ],
        ),
        row(
            "9111 5.2.1.5: the answer to no-store is not kept",
            safe,
            [
                get().asks(&["cache-control: no-store"]).says(&["cache-control: max-age=60"]).came(Passed),
                get().came(Asked),
            ],
        ),
        row(
            "9111 5.2.1.7: only-if-cached without anything stored",
            rfc,
            [get().asks(&["cache-control: only-if-cached"]).came(Nothing).is(504)],
        ),
        row(
            "9111 5.2.1.7: only-if-cached with something stale",
            rfc,
            [
                get().says(&["cache-control: max-age=60"]).came(Kept),
                get().after(60).asks(&["cache-control: only-if-cached"]).came(Nothing).is(504),
            ],
        ),
        row(
            "9111 5.2.1.7: only-if-cached with something stale that the request puts up with",
            rfc,
            [
                get().says(&["cache-control: max-age=60"]).came(Kept),
                get().after(70).asks(&["cache-control: only-if-cached, max-stale=10"]).came(Stored),
            ],
        ),
        row(
            "9111 5.2.1.3: min-fresh wants nothing stale",
            rfc,
            [
                get().says(&["cache-control: max-age=60, stale-while-revalidate=60"]).came(Kept),
                get().after(70).asks(&["cache-control: min-fresh=0"]).came(StoredAndAsked),
                get().asks(&["cache-control: min-fresh=1"]).came(Asked),
            ],
        ),
        row(
            "9111 5.2.1.7: in the safe profile the handler answers",
            safe,
            [get().asks(&["cache-control: only-if-cached"]).came(Passed).is(200)],
        ),
    ]
}

fn max_stale() -> Vec<Row> {
    let stale = |line: &'static str, came| {
        [
            get().says(&["cache-control: max-age=60"]).came(Kept),
            get().after(70).asks(&[line]).says(&["cache-control: max-age=60"]).came(came),
        ]
    };
    vec![
        row("9111 5.2.1.2: as stale as max-stale", rfc, stale("cache-control: max-stale=10", Stored)),
        row("9111 5.2.1.2: staler than max-stale", rfc, stale("cache-control: max-stale=9", Kept)),
        row("9111 5.2.1.2: max-stale without a number", rfc, stale("cache-control: max-stale", Stored)),
        row("9111 5.2.1.2: an unreadable max-stale is none", rfc, stale("cache-control: max-stale=x", Kept)),
        row("9111 5.2.1.2: in the safe profile max-stale does nothing", safe, stale("cache-control: max-stale", Kept)),
        row("9111 5.2.1.1: max-age holds beside max-stale", rfc, stale("cache-control: max-stale, max-age=69", Kept)),
        row(
            "9111 5.2.2.2: must-revalidate goes before max-stale",
            rfc,
            [
                get().says(&["cache-control: max-age=60, must-revalidate"]).came(Kept),
                get().after(70).asks(&["cache-control: max-stale"]).came(Asked),
            ],
        ),
        row(
            "9111 5.2.2.10: so does s-maxage",
            rfc,
            [
                get().says(&["cache-control: s-maxage=60"]).came(Kept),
                get().after(70).asks(&["cache-control: max-stale"]).came(Asked),
            ],
        ),
    ]
}
