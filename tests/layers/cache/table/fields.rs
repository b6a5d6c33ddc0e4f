//! Which fields are stored (RFC 9111, 3.1; RFC 9110, 7.6.1).

use super::steps::*;

/// Are the fields of a response that is stored there with the next one?
fn of(name: &'static str, says: &'static [&'static str], shows: &'static [&'static str]) -> Row {
    row(name, rfc, [get().says(&["cache-control: max-age=60"]).says(says).came(Kept), get().came(Stored).shows(shows)])
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        of(
            "9111 3.1: what describes the content",
            &["content-type: text/x", "content-language: de"],
            &["content-type: text/x", "content-language: de"],
        ),
        of("9111 3.1: fields that nobody knows", &["x-a: 1"], &["x-a: 1"]),
        of("9110 5.3: several lines, in order", &["x-a: 2", "x-a: 1", "x-a: 2"], &["x-a: 2, 1, 2"]),
        of(
            "8288 3: two Link lines, as they are",
            &["link: </a>;  rel=\"next\"", "link: </b>; title=\"x, y\""],
            &["link: </a>;  rel=\"next\", </b>; title=\"x, y\""],
        ),
        of("9110 12.5.5: two Vary lines, as they are", &["vary: X-A", "vary: x-b"], &["vary: X-A, x-b"]),
        of("9110 5.5: values are not changed", &["x-a: \"B, c\";D=1"], &["x-a: \"B, c\";D=1"]),
        of(
            "9110 7.6.1: not what Connection names",
            &["connection: X-A, close", "x-a: 1", "x-b: 2"],
            &["!x-a", "x-b: 2"],
        ),
        of("9110 7.6.1: on any of its lines", &["connection: close", "connection: x-a", "x-a: 1"], &["!x-a"]),
        of("9110 7.6.1: nor Connection itself", &["connection: close"], &["!connection"]),
        of("9110 7.6.1: Keep-Alive", &["keep-alive: timeout=5"], &["!keep-alive"]),
        of("9110 7.6.1: Proxy-Connection", &["proxy-connection: close"], &["!proxy-connection"]),
        of("9110 7.8: Upgrade", &["upgrade: h2c"], &["!upgrade"]),
        of("9110 6.6.2: Trailer", &["trailer: x-a"], &["!trailer"]),
        of("9112 6.1: Transfer-Encoding", &["transfer-encoding: chunked"], &["!transfer-encoding"]),
        of("9110 10.1.4: TE", &["te: trailers"], &["!te"]),
        of("9111 3.1: Proxy-Authenticate", &["proxy-authenticate: Basic"], &["!proxy-authenticate"]),
        of("9111 3.1: Proxy-Authorization", &["proxy-authorization: Basic eA=="], &["!proxy-authorization"]),
        of("9111 3.1: Proxy-Authentication-Info", &["proxy-authentication-info: x"], &["!proxy-authentication-info"]),
        of(
            "9110 11.6: WWW-Authenticate is the handler's own",
            &["www-authenticate: Basic"],
            &["www-authenticate: Basic"],
        ),
        of(
            "limits: what a limit said to one client",
            &["ratelimit: a;r=1", "x-ratelimit-remaining: 1"],
            &["!ratelimit", "!x-ratelimit-remaining"],
        ),
        of("9110 8.6: a length that was not told is told", &[], &["content-length: 6"]),
        of("9110 8.6: one that was told stays", &["content-length: 6"], &["content-length: 6"]),
        row(
            "9112 6.3: a body of another length is not whole",
            rfc,
            // What becomes of a body is not known when its head leaves.
            [get().says(&["cache-control: max-age=60", "content-length: 7"]).came(Kept), get().came(Asked)],
        ),
    ]
}
