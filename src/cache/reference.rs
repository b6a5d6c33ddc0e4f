//! Which URL of ours a reference in a response names (RFC 3986, 5.2).

use http::request::Parts;

use super::place;

/// The URL of a request, against which references are resolved.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    host: String,
    path: String,
    query: Option<String>,
}

/// A URL of the base's own host: its path and query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) path: String,
    pub(crate) query: Option<String>,
}

/// A reference in its parts (RFC 3986, appendix B); the fragment is none of the server's business.
struct Reference<'r> {
    scheme: Option<&'r str>,
    authority: Option<&'r str>,
    path: &'r str,
    query: Option<&'r str>,
}

impl Base {
    pub(crate) fn of(parts: &Parts) -> Self {
        let uri = place::original(parts);
        let path = Some(uri.path()).filter(|path| path.starts_with('/')).unwrap_or("/");
        Self { host: place::host_of(parts), path: path.to_owned(), query: uri.query().map(str::to_owned) }
    }

    /// The host as the request spells it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// What `reference` names, absolute or relative; nothing where that is another origin's (RFC 9111, 4.4).
    pub(crate) fn resolve(&self, reference: &str) -> Option<Resolved> {
        let Reference { scheme, authority, path, query } = Reference::read(reference);
        match (scheme, authority) {
            (Some(scheme), _) if !is_http(scheme) => return None,
            (_, Some(authority)) if !self.is_own(scheme, authority) => return None,
            // A scheme without a host names no place.
            (Some(_), None) => return None,
            _ => {}
        }
        let own_query = || self.query.as_deref().filter(|_| path.is_empty() && authority.is_none());
        let path = match path {
            "" if authority.is_none() => self.path.clone(),
            "" => "/".to_owned(),
            _ if path.starts_with('/') => without_dots(path),
            _ => without_dots(&format!("{}{path}", directory(&self.path))),
        };
        Some(Resolved { path, query: query.or_else(own_query).map(str::to_owned) })
    }

    /// The same host and port. The scheme does not count, because a proxy ends TLS; it tells the default port.
    fn is_own(&self, scheme: Option<&str>, authority: &str) -> bool {
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        without_default_port(None, &self.host).eq_ignore_ascii_case(without_default_port(scheme, authority))
    }
}

impl<'r> Reference<'r> {
    fn read(text: &'r str) -> Self {
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
            _ => (None, text),
        };
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (Some(authority), path)
            }
            None => (None, rest),
        };
        Self { scheme, authority, path, query }
    }
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// A letter, then letters, digits and three signs (RFC 3986, 3.1).
fn is_scheme(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_part)
}

/// Without the port that the scheme stands for; without that of either where it is not known (RFC 9110, 4.2).
pub(super) fn without_default_port<'a>(scheme: Option<&str>, authority: &'a str) -> &'a str {
    let stripped = |port: &str, of: &str| {
        let may_be = scheme.is_none_or(|scheme| scheme.eq_ignore_ascii_case(of));
        authority.strip_suffix(port).filter(|_| may_be)
    };
    stripped(":80", "http").or_else(|| stripped(":443", "https")).unwrap_or(authority)
}

/// The path up to its last slash (RFC 3986, 5.2.3).
fn directory(path: &str) -> &str {
    path.rfind('/').map_or("/", |slash| &path[..=slash])
}

/// An absolute path without `.` and `..` (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
        if segments.peek().is_none() && matches!(segment, "." | "..") {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use http::{Request, header::HOST};
    use proptest::prelude::*;

    use super::*;

    fn base(uri: &str, host: Option<&str>) -> Base {
        let mut request = Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        Base::of(&request.body(()).expect("a request").into_parts().0)
    }

    fn resolved(base: &Base, reference: &str) -> Option<String> {
        let Resolved { path, query } = base.resolve(reference)?;
        Some(query.map_or(path.clone(), |query| format!("{path}?{query}")))
    }

    /// RFC 3986, 5.4: its own examples, as far as they have the scheme and host of the base.
    #[test]
    fn section_5_4_examples() {
        let base = base("http://a/b/c/d;p?q", None);
        for (reference, url) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("#s", "/b/c/d;p?q"),
            ("g#s", "/b/c/g"),
            ("g?y#s", "/b/c/g?y"),
            (";x", "/b/c/;x"),
            ("", "/b/c/d;p?q"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../g", "/g"),
            ("../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            ("..g", "/b/c/..g"),
            ("./../g", "/b/g"),
            ("./g/.", "/b/c/g/"),
            ("g/./h", "/b/c/g/h"),
            ("g/../h", "/b/c/h"),
            ("g;x=1/../y", "/b/c/y"),
            ("g?y/../x", "/b/c/g?y/../x"),
            ("//a/g", "/g"),
            ("//a", "/"),
            ("//a?y", "/?y"),
            ("http://a/b/../g", "/g"),
        ] {
            assert_eq!(resolved(&base, reference).as_deref(), Some(url), "{reference}");
        }
        for other in ["g:h", "//g", "http:g", "http://b/", "ftp://a/g", "mailto:a@b"] {
            assert_eq!(resolved(&base, other), None, "{other}");
        }
    }

    /// RFC 9110, 4.2.3: the default port is as good as none; RFC 9110, 4.3.1: another one is another origin.
    #[test]
    fn default_ports_are_equal_and_others_are_not() {
        for host in ["me", "me:80", "me:443", "ME"] {
            let base = base("/a", Some(host));
            for own in
                ["http://me:80/b", "https://me:443/b", "https://me/b", "//me:80/b", "//x@Me:443/b", "HTTP://ME/b"]
            {
                assert_eq!(resolved(&base, own).as_deref(), Some("/b"), "{own} at {host}");
            }
            for other in ["https://me:80/b", "http://me:443/b", "//me:8080/b", "http://me.example/b", "//you/b"] {
                assert_eq!(resolved(&base, other), None, "{other} at {host}");
            }
        }
        let elsewhere = base("/a", Some("[::1]:8080"));
        assert!(elsewhere.resolve("http://[::1]:8080/b").is_some() && elsewhere.resolve("http://[::1]/b").is_none());
    }

    proptest! {
        #[test]
        fn any_text_is_no_panic_and_has_no_dots_left(reference in "[a-z/.?#:@%]{0,24}") {
            if let Some(Resolved { path, .. }) = base("http://a/b/c", None).resolve(&reference) {
                prop_assert!(path.starts_with('/') && path.split('/').all(|segment| segment != "." && segment != ".."));
            }
        }
    }
}
