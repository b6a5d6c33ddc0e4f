//! `CDN-Cache-Control` (RFC 9213), a dictionary of RFC 9651.

use super::steps::*;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = decides();
    rows.extend(is_read());
    rows
}

fn decides() -> Vec<Row> {
    vec![
        fresh("9213 2.2: alone", rfc, &["cdn-cache-control: max-age=60"], 60),
        fresh("9213 2.2: in the safe profile", safe, &["cdn-cache-control: max-age=60"], 60),
        fresh(
            "9213 2.2: longer than Cache-Control",
            rfc,
            &["cache-control: max-age=1", "cdn-cache-control: max-age=60"],
            60,
        ),
        fresh(
            "9213 2.2: shorter than Cache-Control",
            rfc,
            &["cache-control: max-age=600", "cdn-cache-control: max-age=60"],
            60,
        ),
        fresh("9213 2.2: before s-maxage", rfc, &["cache-control: s-maxage=600", "cdn-cache-control: max-age=60"], 60),
        fresh("9213 2.2: before no-store", rfc, &["cache-control: no-store", "cdn-cache-control: max-age=60"], 60),
        fresh("9213 2.2: before private", rfc, &["cache-control: private", "cdn-cache-control: max-age=60"], 60),
        fresh("9213 2.2: before a past Expires", rfc, &["expires: {date-60}", "cdn-cache-control: max-age=60"], 60),
        fresh("9213 2.2: before an unreadable Expires", rfc, &["expires: 0", "cdn-cache-control: max-age=60"], 60),
        fresh("9213 2.2: Age counts", rfc, &["cdn-cache-control: max-age=60", "age: 20"], 40),
        unkept("9213 2.2: an Age past it ends it", rfc, &["cdn-cache-control: max-age=3600", "age: 7200"]),
        unkept("9213 2.2: no-store", rfc, &["cache-control: max-age=60", "cdn-cache-control: no-store"]),
        unkept("9213 2.2: private", rfc, &["cache-control: max-age=60", "cdn-cache-control: private"]),
        unkept("9213 2.2: no-cache", safe, &["cache-control: max-age=60", "cdn-cache-control: no-cache"]),
        unkept("9213 2.2: max-age=0", rfc, &["cdn-cache-control: max-age=0", "expires: {date+60}"]),
        unkept("9213 2.2: no-store makes max-age nothing", rfc, &["cdn-cache-control: max-age=60, no-store"]),
        unkept("9213 2.2: Expires does not speak beside it", rfc, &["cdn-cache-control: public", "expires: {date+60}"]),
        fresh(
            "9213 2.2: the layer does, where it names no time",
            minute,
            &["cdn-cache-control: public", "cache-control: no-store"],
            60,
        ),
        row(
            "9213 2.2: must-revalidate is its own",
            rfc,
            [
                get().says(&["cache-control: max-age=60", "cdn-cache-control: max-age=60, must-revalidate"]).came(Kept),
                get().after(61).gone().came(Error),
            ],
        ),
        row(
            "9213 2.2: stale-while-revalidate too",
            rfc,
            [
                get().says(&["cdn-cache-control: max-age=60, stale-while-revalidate=60"]).came(Kept),
                get().after(61).came(StoredAndAsked),
            ],
        ),
        row(
            "9213 3.1: it is passed on, and stored",
            rfc,
            [
                get()
                    .says(&["cdn-cache-control: max-age=60", "etag: \"a\""])
                    .came(Kept)
                    .shows(&["cdn-cache-control: max-age=60"]),
                get().came(Stored).shows(&["cdn-cache-control: max-age=60"]),
                get().asks(&["if-none-match: \"a\""]).came(Stored).is(304).shows(&["cdn-cache-control: max-age=60"]),
            ],
        ),
        row(
            "9213 2: a request's means nothing",
            rfc,
            [
                get().says(&["cache-control: max-age=60"]).came(Kept),
                get().asks(&["cdn-cache-control: no-cache, no-store"]).came(Stored),
            ],
        ),
    ]
}

fn is_read() -> Vec<Row> {
    const NO_STORE: &str = "cache-control: no-store";
    const MAX_AGE: &str = "cache-control: max-age=60";
    vec![
        unkept("9213 2.2: an empty one is none", rfc, &[NO_STORE, "cdn-cache-control:"]),
        unkept("9213 2.2: one that is no dictionary is none", rfc, &[NO_STORE, "cdn-cache-control: max-age=60, &&&"]),
        unkept("9651 4.2.2: a comma at the end is an error", rfc, &[NO_STORE, "cdn-cache-control: max-age=60,"]),
        unkept("9651 3.2: keys are in lower case", rfc, &[NO_STORE, "cdn-cache-control: Max-Age=60"]),
        unkept("9651 3.2: no space before the sign", rfc, &[NO_STORE, "cdn-cache-control: max-age =60"]),
        unkept("9651 3.2: nor after it", rfc, &[NO_STORE, "cdn-cache-control: max-age= 60"]),
        fresh("9213 2.2: then Cache-Control holds", rfc, &[MAX_AGE, "cdn-cache-control: no-store, &"], 60),
        unkept("9213 2.1: a string is no number", rfc, &[MAX_AGE, "cdn-cache-control: max-age=\"60\""]),
        unkept("9213 2.1: nor is a decimal", rfc, &[MAX_AGE, "cdn-cache-control: max-age=60.0"]),
        unkept("9213 2.1: nor is nothing", rfc, &[MAX_AGE, "cdn-cache-control: max-age"]),
        fresh("9213 2.1: parameters are ignored", rfc, &["cdn-cache-control: max-age=60;no-store;x=1"], 60),
        fresh("9213 2.1: unknown directives are ignored", rfc, &["cdn-cache-control: foo, bar=(1 2), max-age=60"], 60),
        fresh("9651 3.3.6: a flag can be off", rfc, &["cdn-cache-control: max-age=60, no-store=?0"], 60),
        fresh("9651 4.2.2: the last of several", rfc, &["cdn-cache-control: max-age=1, max-age=60"], 60),
        fresh(
            "9651 4.2: two lines are one dictionary",
            rfc,
            &["cdn-cache-control: max-age=1", "cdn-cache-control: max-age=60"],
            60,
        ),
        fresh("9111 1.2.2: a large one", rfc, &["cdn-cache-control: max-age=99999999999"], 2_147_483_648),
    ]
}
