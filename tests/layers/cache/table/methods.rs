//! Methods that are not answered from the store, and what they purge (RFC 9111, 4.4).

use super::steps::*;

const MAX_AGE: &[&str] = &["cache-control: max-age=60"];

/// `/` is stored, then `step` happens; is it stored still?
fn then(name: &'static str, step: Step, came: Came) -> Row {
    row(name, rfc, [get().says(MAX_AGE).came(Kept), step, get().says(MAX_AGE).came(came)])
}

/// `/a/b` is stored, then an answer to `POST /a/c?x=1` says `line`; is it stored still?
fn names(name: &'static str, line: &'static str, came: Came) -> Row {
    let stored = get().at("/a/b?y=2").says(MAX_AGE);
    let post = method("POST").at("/a/c?x=1").status(201).says(&[line]).came(Passed);
    row(name, rfc, [stored.clone().came(Kept), post, stored.came(came)])
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = own();
    rows.extend(named());
    rows
}

fn own() -> Vec<Row> {
    let post = || method("POST").came(Passed);
    vec![
        then("9111 4.4: POST", post(), Kept),
        then("9111 4.4: PUT", method("PUT").came(Passed), Kept),
        then("9111 4.4: DELETE", method("DELETE").status(204).came(Passed), Kept),
        then("9111 4.4: PATCH", method("PATCH").came(Passed), Kept),
        then("9111 4.4: a method that nobody knows", method("FROB").came(Passed), Kept),
        then("9111 4.4: a redirect is no error", post().status(303), Kept),
        then("9111 4.4: a client's error changes nothing", post().status(404), Stored),
        then("9111 4.4: nor does the handler's", post().status(500), Stored),
        then("9111 4.4: nor no answer at all", method("POST").gone().came(Error), Stored),
        then("9110 9.2.1: OPTIONS changes nothing", method("OPTIONS").came(Passed), Stored),
        then("9110 9.2.1: nor does TRACE", method("TRACE").came(Passed), Stored),
        then("9110 9.2.1: nor does HEAD", head().came(Stored), Stored),
        then("9111 4.4: another URL is left alone", post().at("/other"), Stored),
        then("9111 4.4: another query is another URL", post().at("/?x=1"), Stored),
        row(
            "9111 3: the answer to POST is not stored",
            rfc,
            [method("POST").says(MAX_AGE).came(Passed), get().says(MAX_AGE).came(Kept), method("POST").came(Passed)],
        ),
        row(
            "9111 4.4: all variants of the URL",
            rfc,
            [
                get().asks(&["x-a: 1"]).says(MAX_AGE).says(&["vary: x-a"]).came(Kept),
                get().asks(&["x-a: 2"]).says(MAX_AGE).says(&["vary: x-a"]).came(Kept),
                post(),
                get().asks(&["x-a: 1"]).came(Asked),
                get().asks(&["x-a: 2"]).came(Asked),
            ],
        ),
    ]
}

fn named() -> Vec<Row> {
    vec![
        names("9111 4.4: Location, a path", "location: /a/b?y=2", Kept),
        names("9111 4.4: Content-Location, a path", "content-location: /a/b?y=2", Kept),
        names("9111 4.4: Location, a whole URL", "location: http://{host}/a/b?y=2", Kept),
        names("9111 4.4: Location of the other scheme: a proxy ends TLS", "location: https://{host}/a/b?y=2", Kept),
        names("3986 5.2: relative to the directory", "location: b?y=2", Kept),
        names("3986 5.2: over the directory above", "content-location: ../a/./b?y=2", Kept),
        names("3986 5.2: without a scheme", "location: //{host}/a/b?y=2", Kept),
        names("3986 5.2: a fragment does not count", "location: /a/b?y=2#z", Kept),
        names("9110 4.2.3: the default port is none", "location: http://{host}:80/a/b?y=2", Kept),
        names("9110 4.2.3: that of https too", "location: https://{host}:443/a/b?y=2", Kept),
        names("9110 4.2.3: a longer host is another", "location: http://x{host}/a/b?y=2", Stored),
        names("9111 4.4: another host is left alone", "location: http://other.example/a/b?y=2", Stored),
        names("9111 4.4: so is another port", "location: http://{host}:8080/a/b?y=2", Stored),
        names("9111 4.4: so is another query", "location: /a/b?y=3", Stored),
        names("9111 4.4: other fields name nothing", "link: </a/b?y=2>", Stored),
        row(
            "9111 4.4: all lines of both fields",
            rfc,
            [
                get().at("/1").says(MAX_AGE).came(Kept),
                get().at("/2").says(MAX_AGE).came(Kept),
                get().at("/3").says(MAX_AGE).came(Kept),
                method("PUT")
                    .at("/0")
                    .says(&["location: /1", "content-location: /2", "content-location: /3"])
                    .came(Passed),
                get().at("/1").came(Asked),
                get().at("/2").came(Asked),
                get().at("/3").came(Asked),
            ],
        ),
        row(
            "9111 4.4: an error names nothing",
            rfc,
            [
                get().at("/1").says(MAX_AGE).came(Kept),
                method("POST").status(409).says(&["location: /1"]).came(Passed),
                get().at("/1").came(Stored),
            ],
        ),
        row(
            "9111 4.4: a safe method's Location purges nothing",
            rfc,
            [
                get().at("/1").says(MAX_AGE).came(Kept),
                get().at("/2").status(302).says(&["location: /1"]).came(Passed),
                get().at("/1").came(Stored),
            ],
        ),
    ]
}
