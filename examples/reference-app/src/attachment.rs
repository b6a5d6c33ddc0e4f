//! Files that go out as downloads, never as pages of this site.

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use url::form_urlencoded;

use crate::database::uploads::{Stored, UNKNOWN};

/// The file as a response that no browser takes for anything but a download.
pub(crate) fn attached(stored: Stored) -> Response {
    const NOSNIFF: (HeaderName, HeaderValue) = (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Should a browser show it all the same, it shows it as nobody's.
    const SANDBOX: (HeaderName, HeaderValue) =
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    let kind = if is_harmless(&essence(&stored.content_type)) { stored.content_type } else { UNKNOWN.to_owned() };
    let named = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, disposition(&stored.name))];
    ([NOSNIFF, SANDBOX], named, stored.content).into_response()
}

/// `text/plain` of `Text/Plain; charset=utf-8`.
pub(crate) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// What cannot run, wherever it is shown. Not so: HTML, XML, SVG, scripts, PDF.
fn is_harmless(essence: &str) -> bool {
    const HARMLESS: [&str; 10] = [
        "application/json",
        "application/zip",
        "audio/mpeg",
        "image/avif",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/plain",
        "video/mp4",
    ];
    HARMLESS.contains(&essence)
}

/// `attachment` with the name twice (RFC 6266): in plain letters, and for those who can read it as it is. Neither can
/// end the header.
fn disposition(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " .-()".contains(c);
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let encoded: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let encoded = encoded.replace('+', "%20").replace('*', "%2A");
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_so_that_it_ends_nothing() {
        let written = disposition("r\u{e9}sum\u{e9} \"1\"; x=*'.txt");
        let (plain, encoded) = ("r_sum_ _1__ x___.txt", "r%C3%A9sum%C3%A9%20%221%22%3B%20x%3D%2A%27.txt");
        assert_eq!(written, format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"));
    }

    #[test]
    fn what_could_run_goes_back_as_bytes() {
        for (sent, back) in [
            ("image/png", "image/png"),
            ("Text/Plain; charset=utf-8", "Text/Plain; charset=utf-8"),
            ("text/html", UNKNOWN),
            ("image/svg+xml", UNKNOWN),
            ("text/javascript", UNKNOWN),
            ("application/pdf", UNKNOWN),
            ("text/plain, text/html", UNKNOWN),
        ] {
            let stored = Stored { name: "x".to_owned(), content_type: sent.to_owned(), content: Vec::new() };
            assert_eq!(attached(stored).headers()[header::CONTENT_TYPE], back, "{sent}");
        }
    }
}
