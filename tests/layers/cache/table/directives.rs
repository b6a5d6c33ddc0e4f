//! What a response says about storing (RFC 9111, 5.2.2).

use super::steps::*;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = forbidding();
    rows.extend(asking());
    rows.extend(understanding());
    rows
}

fn forbidding() -> Vec<Row> {
    vec![
        unkept("9111 5.2.2.5: no-store", rfc, &["cache-control: no-store"]),
        unkept("9111 5.2.2.5: no-store beside max-age", rfc, &["cache-control: no-store, max-age=60"]),
        unkept(
            "9111 5.2.2.5: no-store on another line",
            rfc,
            &["cache-control: max-age=60", "cache-control: no-store"],
        ),
        unkept("9111 5.2.2.5: no-store beside Expires", rfc, &["cache-control: no-store", "expires: {date+60}"]),
        unkept("9111 5.2.2.5: No-Store in other letters", safe, &["cache-control: max-age=60, No-Store"]),
        unkept("9111 5.2.2.5: no-store goes before the layer", minute, &["cache-control: no-store"]),
        unkept("9111 5.2.2.5: no-store goes before public", rfc, &["cache-control: public, no-store, max-age=60"]),
        unkept("9111 5.2.2.7: private", rfc, &["cache-control: private, max-age=60"]),
        unkept("9111 5.2.2.7: private beside s-maxage", rfc, &["cache-control: private, s-maxage=60"]),
        unkept("9111 5.2.2.7: private with names is private", rfc, &["cache-control: private=\"x-a\", max-age=60"]),
        row(
            "9111 5.2.2.7: one key's partition is private",
            partitioned,
            [
                get().asks(&["x-key: a"]).says(&["cache-control: private, max-age=60"]).came(Kept),
                get().asks(&["x-key: a"]).came(Stored),
                get().asks(&["x-key: b"]).came(Asked),
                get().came(Asked),
            ],
        ),
        row(
            "9111 5.2.2.10: s-maxage says nothing to a private one",
            partitioned,
            [
                get().asks(&["x-key: a"]).says(&["cache-control: max-age=60, s-maxage=1"]).came(Kept),
                get().after(59).asks(&["x-key: a"]).came(Stored),
            ],
        ),
    ]
}

fn asking() -> Vec<Row> {
    let no_cache: fn(&'static str) -> Vec<Step> = |line| {
        vec![
            get().says(&[line, "etag: \"a\""]).came(Kept),
            get().status(304).says(&[line]).came(Validated).body("call 1").told(&["if-none-match: \"a\""]),
            get().status(304).says(&[line]).came(Validated).body("call 1"),
        ]
    };
    vec![
        row("9111 5.2.2.4: no-cache asks each time", rfc, no_cache("cache-control: no-cache")),
        row("9111 5.2.2.4: also beside max-age", rfc, no_cache("cache-control: no-cache, max-age=60")),
        row("9111 5.2.2.4: also with names", rfc, no_cache("cache-control: no-cache=\"x-a\", max-age=60")),
        row("9111 4.2: max-age=0 asks each time", rfc, no_cache("cache-control: max-age=0")),
        unkept("9111 5.2.2.4: no-cache without a validator", rfc, &["cache-control: no-cache"]),
        unkept(
            "9111 5.2.2.4: in the safe profile it is not kept",
            safe,
            &["cache-control: no-cache, max-age=60", "etag: \"a\""],
        ),
        fresh(
            "9111 5.2.2.2: must-revalidate changes nothing before",
            rfc,
            &["cache-control: max-age=60, must-revalidate"],
            60,
        ),
        fresh("9111 5.2.2.8: nor does proxy-revalidate", rfc, &["cache-control: max-age=60, proxy-revalidate"], 60),
        row(
            "9111 5.2.2.2: past it a failing handler's answer passes",
            |cache| minute(cache).stale_if_error(towerkeep::clock::minutes(5)),
            [
                get().says(&["cache-control: max-age=60, must-revalidate"]).came(Kept),
                get().after(61).status(503).came(Passed).is(503),
                get().gone().came(Error),
            ],
        ),
        row(
            "9111 5.2.2.8: also with proxy-revalidate",
            |cache| minute(cache).stale_if_error(towerkeep::clock::minutes(5)),
            [
                get().says(&["cache-control: max-age=60, proxy-revalidate"]).came(Kept),
                get().after(61).gone().came(Error),
            ],
        ),
    ]
}

fn understanding() -> Vec<Row> {
    vec![
        fresh("9111 5.2.2.9: public changes nothing about a 200", rfc, &["cache-control: public, max-age=60"], 60),
        fresh("9111 5.2.2.6: no-transform changes nothing", rfc, &["cache-control: no-transform, max-age=60"], 60),
        fresh(
            "9111 5.2.2.3: who understands the status ignores no-store",
            rfc,
            &["cache-control: must-understand, no-store, max-age=60"],
            60,
        ),
        row(
            "9111 5.2.2.3: who does not stores nothing",
            rfc,
            [get().status(299).says(&["cache-control: must-understand, max-age=60"]).came(Passed), get().came(Asked)],
        ),
        fresh(
            "9111 5.4: Pragma of a response means nothing",
            rfc,
            &["pragma: no-cache", "cache-control: max-age=60"],
            60,
        ),
        fresh("9111 5.4: nor where it stands alone", minute, &["pragma: no-cache"], 60),
        fresh(
            "9111 5.2.1: nor do directives of requests",
            rfc,
            &["cache-control: max-age=60, only-if-cached, max-stale"],
            60,
        ),
    ]
}
