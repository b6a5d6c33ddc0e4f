//! Which statuses are stored (RFC 9111, 3; RFC 9110, 15.1).

use super::steps::*;

const MAX_AGE: &[&str] = &["cache-control: max-age=60"];
const CHANGED: &[&str] = &["last-modified: {date-600}"];

fn with(name: &'static str, mount: Mount, status: u16, says: &'static [&'static str], is_kept: bool) -> Row {
    let (first, second) = if is_kept { (Kept, Stored) } else { (Passed, Asked) };
    row(
        name,
        mount,
        [get().status(status).says(says).came(first), get().came(second).is(if is_kept { status } else { 200 })],
    )
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        with("9111 3: 203 with max-age", rfc, 203, MAX_AGE, true),
        with("9111 3: 204 with max-age", rfc, 204, MAX_AGE, true),
        with("9111 3: 301 with max-age", rfc, 301, MAX_AGE, true),
        with("9111 3: 302 with max-age", rfc, 302, MAX_AGE, true),
        with("9111 3: 307 with max-age", safe, 307, MAX_AGE, true),
        with("9111 3: 308 with max-age", safe, 308, MAX_AGE, true),
        with("9111 3: 400 with max-age", rfc, 400, MAX_AGE, true),
        with("9111 3: 404 with max-age", safe, 404, MAX_AGE, true),
        with("9111 3: 410 with max-age", safe, 410, MAX_AGE, true),
        with("9111 3: 500 with max-age", rfc, 500, MAX_AGE, true),
        with("9111 3: 503 with max-age", rfc, 503, MAX_AGE, true),
        with("9111 3: a status that nobody knows, with max-age", rfc, 299, MAX_AGE, true),
        with("9111 3.3: 206 never", rfc, 206, MAX_AGE, false),
        with("9111 4.3.3: 304 never", rfc, 304, MAX_AGE, false),
        with("6585 4: 429 never", rfc, 429, MAX_AGE, false),
        with("9110 15.1: 404 by a guess", rfc, 404, CHANGED, true),
        with("9110 15.1: 410 by a guess", rfc, 410, CHANGED, true),
        with("9110 15.1: 301 by a guess", rfc, 301, CHANGED, true),
        with("9110 15.1: 501 by a guess", rfc, 501, CHANGED, true),
        with("9110 15.1: 302 not by a guess", rfc, 302, CHANGED, false),
        with("9110 15.1: 403 not by a guess", rfc, 403, CHANGED, false),
        with("9110 15.1: 500 not by a guess", rfc, 500, CHANGED, false),
        with("9110 15.1: the layer speaks for 301", minute, 301, &[], true),
        with("9110 15.1: and not for 302", minute, 302, &[], false),
        with("9110 15.1: nor for 404", minute, 404, &[], false),
        with("9110 15.1: nor for 500", minute, 500, &[], false),
    ]
}
