//! Which requests are for the same response (RFC 9111, 2 and 4; RFC 9110, 4.2.3).

use super::steps::*;

/// What `GET /a/b?x=1&y=2` got is stored; a request for `path`, with `lines`, follows.
fn then(name: &'static str, path: &'static str, lines: &'static [&'static str], came: Came) -> Row {
    let says = |step: Step| step.says(&["cache-control: max-age=60"]);
    row(name, rfc, [says(get().at("/a/b?x=1&y=2")).came(Kept), says(get().at(path).asks(lines)).came(came)])
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        then("9111 4: the same URL", "/a/b?x=1&y=2", &[], Stored),
        then("9111 4: another path", "/a/c?x=1&y=2", &[], Kept),
        then("9110 4.2.3: paths are case-sensitive", "/a/B?x=1&y=2", &[], Kept),
        then("9111 4: a slash more", "/a/b/?x=1&y=2", &[], Kept),
        then("9111 4: another query", "/a/b?x=1&y=3", &[], Kept),
        then("9111 4: no query", "/a/b", &[], Kept),
        then("9111 4: a parameter more", "/a/b?x=1&y=2&z=3", &[], Kept),
        then("place: parameters in another order are the same", "/a/b?y=2&x=1", &[], Stored),
        then("place: empty parameters do not count", "/a/b?x=1&&y=2&", &[], Stored),
        then("place: what proxies tell does not choose", "/a/b?x=1&y=2", &["x-forwarded-host: other.example"], Stored),
        then("place: nor does who asks", "/a/b?x=1&y=2", &["user-agent: x", "cookie: a=1"], Stored),
        row(
            "place: the order of one parameter's values counts",
            rfc,
            [get().at("/?x=1&x=2").says(&["cache-control: max-age=60"]).came(Kept), get().at("/?x=2&x=1").came(Asked)],
        ),
        row(
            "place: ignored parameters do not count",
            |cache| rfc(cache).ignore_query(["utm"]),
            [
                get().at("/?utm=1&x=1").says(&["cache-control: max-age=60"]).came(Kept),
                get().at("/?x=1&utm=2").came(Stored),
                get().at("/?x=1").came(Stored),
            ],
        ),
        row(
            "place: partitions are apart",
            partitioned,
            [
                get().asks(&["x-key: a"]).says(&["cache-control: max-age=60"]).came(Kept),
                get().asks(&["x-key: b"]).says(&["cache-control: max-age=60"]).came(Kept),
                get().asks(&["x-key: a"]).came(Stored).body("call 1"),
                get().asks(&["x-key: b"]).came(Stored).body("call 2"),
            ],
        ),
        row(
            "vary_on: the layer chooses by a field too",
            |cache| rfc(cache).vary_on(http::header::ACCEPT),
            [
                get().asks(&["accept: a"]).says(&["cache-control: max-age=60"]).came(Kept).shows(&["vary: accept"]),
                get().asks(&["accept: b"]).came(Asked),
                get().asks(&["accept: a"]).came(Stored).shows(&["vary: accept"]),
            ],
        ),
    ]
}
