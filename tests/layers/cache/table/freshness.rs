//! How long a response serves (RFC 9111, 4.2).

use super::steps::*;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = stated();
    rows.extend(unreadable());
    rows.extend(expires());
    rows.extend(dates());
    rows.extend(guessed());
    rows
}

fn stated() -> Vec<Row> {
    vec![
        fresh("9111 5.2.2.1: max-age is how long a response serves", rfc, &["cache-control: max-age=60"], 60),
        fresh("9111 5.2.2.1: so it is in the safe profile", safe, &["cache-control: max-age=60"], 60),
        fresh("9111 4.2.1: a longer s-maxage goes before max-age", rfc, &["cache-control: max-age=1, s-maxage=60"], 60),
        fresh(
            "9111 4.2.1: a shorter s-maxage goes before max-age",
            rfc,
            &["cache-control: s-maxage=10, max-age=600"],
            10,
        ),
        unkept("9111 4.2.1: s-maxage=0 goes before max-age", rfc, &["cache-control: s-maxage=0, max-age=60"]),
        fresh("9111 5.2: names of directives are case-insensitive", rfc, &["cache-control: MAX-Age=60"], 60),
        fresh("9111 5.2: an argument may be quoted", rfc, &["cache-control: max-age=\"60\""], 60),
        fresh("9110 5.3: several lines are one list", rfc, &["cache-control: public", "cache-control: max-age=60"], 60),
        fresh("9110 5.6.1: empty elements do not count", rfc, &["cache-control: , ,max-age=60,,"], 60),
        fresh("9111 5.2.3: an unknown directive is ignored", rfc, &["cache-control: foo=bar, max-age=60, baz"], 60),
        fresh(
            "9110 5.6.4: a directive in a quoted string is text",
            rfc,
            &["cache-control: foo=\"no-store, max-age=1\", max-age=60"],
            60,
        ),
        fresh(
            "9110 5.6.4: an escaped quote does not end a quoted string",
            rfc,
            &["cache-control: foo=\"\\\", no-store, \\\"\", max-age=60"],
            60,
        ),
        fresh("9111 4.2.1: the same value twice is one", rfc, &["cache-control: max-age=60, max-age=60"], 60),
        fresh("9111 1.2.2: 2^31 is a long time", rfc, &["cache-control: max-age=2147483648"], 2_147_483_648),
        fresh(
            "9111 1.2.2: what is too large is 2^31",
            rfc,
            &["cache-control: max-age=99999999999999999999"],
            2_147_483_648,
        ),
        unkept("9111 4.2: max-age=0 is not fresh", rfc, &["cache-control: max-age=0"]),
        unkept("9111 4.2: a response that says nothing has no freshness", safe, &["content-type: text/plain"]),
        fresh("9111 4.2: the layer speaks for what says nothing", minute, &["content-type: text/plain"], 60),
        fresh("9111 4.2: what the handler says goes before the layer", minute, &["cache-control: max-age=10"], 10),
        unkept("9111 4.2: also where it says none", minute, &["cache-control: max-age=0"]),
    ]
}

fn unreadable() -> Vec<Row> {
    vec![
        unkept("9111 4.2.1: two values are none", rfc, &["cache-control: max-age=60, max-age=90"]),
        unkept(
            "9111 4.2.1: two values on two lines are none",
            rfc,
            &["cache-control: max-age=60", "cache-control: max-age=9"],
        ),
        unkept("9111 4.2.1: a fraction is no number of seconds", rfc, &["cache-control: max-age=60.5"]),
        unkept("9111 4.2.1: a negative number is none", rfc, &["cache-control: max-age=-60"]),
        unkept("9111 4.2.1: a unit makes it none", rfc, &["cache-control: max-age=60s"]),
        unkept("9111 4.2.1: a directive without its number is stale", rfc, &["cache-control: max-age"]),
        unkept("9111 4.2.1: an empty number is stale", rfc, &["cache-control: max-age="]),
        unkept("9111 4.2.1: half a quotation is stale", rfc, &["cache-control: max-age=\"60"]),
        unkept("9111 5.2: directives are divided by commas only", rfc, &["cache-control: max-age=60; public"]),
        unkept("9111 4.2.1: a number in another system is none", rfc, &["cache-control: max-age=0x60"]),
        unkept("9111 4.2.1: single quotes are no quotes", rfc, &["cache-control: max-age='60'"]),
        unkept(
            "9111 4.2.1: an unreadable s-maxage does not fall back",
            rfc,
            &["cache-control: s-maxage=x, max-age=60"],
        ),
        unkept("9111 4.2.1: nor does an unreadable max-age", rfc, &["cache-control: max-age=x", "expires: {date+60}"]),
    ]
}

fn expires() -> Vec<Row> {
    vec![
        fresh("9111 5.3: Expires counts without Date from now", rfc, &["expires: {date+60}"], 60),
        fresh("9111 4.2.1: Expires counts from Date", rfc, &["date: {date+0}", "expires: {date+60}"], 60),
        fresh(
            "9111 4.2.3: a Date in the past is age, and Expires counts from it",
            rfc,
            &["date: {date-30}", "expires: {date+30}"],
            30,
        ),
        fresh(
            "9111 4.2.1: a clock ahead of ours changes nothing",
            rfc,
            &["date: {date+600}", "expires: {date+660}"],
            60,
        ),
        fresh("9111 5.3: max-age goes before Expires", rfc, &["cache-control: max-age=60", "expires: {date+600}"], 60),
        fresh("9111 5.3: also before one in the past", rfc, &["cache-control: max-age=60", "expires: {date-60}"], 60),
        fresh("9111 5.3: also before an unreadable one", rfc, &["cache-control: max-age=60", "expires: 0"], 60),
        fresh("9111 5.3: s-maxage goes before Expires", rfc, &["cache-control: s-maxage=60", "expires: 0"], 60),
        unkept("9111 5.3: 0 is the past", rfc, &["expires: 0"]),
        unkept("9111 5.3: so is anything that is no date", rfc, &["expires: tomorrow"]),
        unkept("9111 5.3: so is a past date", rfc, &["expires: {date-1}"]),
        unkept("9111 5.3: so is the date of the response", rfc, &["date: {date+0}", "expires: {date+0}"]),
        unkept("9111 4.2.1: two different dates are none", rfc, &["expires: {date+60}", "expires: {date+600}"]),
        fresh("9111 4.2.1: the same date twice is one", rfc, &["expires: {date+60}", "expires: {date+60}"], 60),
        unkept("9111 5.3: an unreadable Expires is no silence", minute, &["expires: 0"]),
        fresh("9110 5.6.7: the second form of a date", rfc, &["expires: {rfc850+60}"], 60),
        fresh("9110 5.6.7: the third form of a date", rfc, &["expires: {asctime+60}"], 60),
        fresh(
            "9110 5.6.7: two digits at most 50 years ahead are the future",
            rfc,
            &["expires: Tuesday, 01-Jan-75 00:00:00 GMT"],
            1_546_300_800,
        ),
        unkept(
            "9110 5.6.7: more than 50 years ahead they are the past",
            rfc,
            &["expires: Saturday, 01-Jan-77 00:00:00 GMT"],
        ),
        unkept("9110 5.6.7: another zone than GMT is no date", rfc, &["expires: Thu, 01 Jan 2026 01:00:00 CET"]),
    ]
}

fn dates() -> Vec<Row> {
    let fifty = |name, line| {
        row(
            name,
            rfc,
            [get().says(&[line]).came(Kept), get().after(775_000_000).came(Stored), get().after(9_000_000).came(Asked)],
        )
    };
    vec![
        fifty("9111 4.2: the weekday in capitals", "expires: THU, 18 Aug 2050 02:01:18 GMT"),
        fifty("9111 4.2: the month in capitals", "expires: Thu, 18 AUG 2050 02:01:18 GMT"),
        fifty("9111 4.2: the zone in small letters", "expires: Thu, 18 Aug 2050 02:01:18 gmt"),
        fifty("9110 5.6.7: the second form, of the next decades", "expires: Thursday, 18-Aug-50 02:01:18 GMT"),
        unkept("9111 4.2: UTC is not GMT", rfc, &["expires: Thu, 18 Aug 2050 02:01:18 UTC"]),
        unkept("9110 5.6.7: two digits in the first form", rfc, &["expires: Thu, 18 Aug 50 02:01:18 GMT"]),
        unkept("9110 5.6.7: four digits in the second form", rfc, &["expires: Thursday, 18-Aug-2050 02:01:18 GMT"]),
        unkept("9110 5.6.7: dashes in the first form", rfc, &["expires: Thu, 18-Aug-2050 02:01:18 GMT"]),
        unkept("9110 5.6.7: no comma", rfc, &["expires: Thu 18 Aug 2050 02:01:18 GMT"]),
        unkept("9110 5.6.7: a space too many", rfc, &["expires: Thu, 18  Aug 2050 02:01:18 GMT"]),
        unkept("9110 5.6.7: periods in the time", rfc, &["expires: Thu, 18 Aug 2050 02.01.18 GMT"]),
        unkept("9110 5.6.7: an hour of one digit", rfc, &["expires: Thu, 18 Aug 2050 2:01:18 GMT"]),
        fresh("9111 1.2.2: leading zeros", rfc, &["cache-control: max-age=0060"], 60),
    ]
}

fn guessed() -> Vec<Row> {
    let changed = &["last-modified: {date-600}"];
    vec![
        fresh("9111 4.2.2: a tenth of the time since the last change", rfc, changed, 60),
        unkept("9111 4.2.2: the safe profile does not guess", safe, changed),
        fresh("9111 4.2.2: the change counts from Date", rfc, &["date: {date-60}", "last-modified: {date-1260}"], 60),
        fresh("9111 4.2.2: a day at most", rfc, &["last-modified: {date-31536000}"], 86_400),
        row(
            "9111 4.2.2: a change in the future tells nothing",
            rfc,
            [get().says(&["last-modified: {date+600}"]).came(Kept), get().came(Asked)],
        ),
        fresh(
            "9111 4.2.2: what is stated goes before",
            rfc,
            &["cache-control: max-age=10", "last-modified: {date-600}"],
            10,
        ),
        row(
            "9111 4.2.2: some statuses are never guessed",
            rfc,
            [get().status(302).says(changed).came(Passed), get().came(Asked)],
        ),
        row(
            "9111 4.2.2: unless the response is public",
            rfc,
            [
                get().status(302).says(changed).says(&["cache-control: public"]).came(Kept),
                get().after(59).came(Stored).is(302),
            ],
        ),
    ]
}
