//! The cookie that carries a session's token, and the bearer token that may do so instead.

use std::{fmt::Write as _, time::Duration};

use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, COOKIE},
};

use super::id::Token;

/// Name and attributes of the session's cookie: always `HttpOnly` and `Path=/`.
///
/// The wrong use: [`local_dev`](SessionCookie::local_dev) in production. Without `Secure` the cookie goes over
/// plain HTTP, and without the `__Host-` prefix a sibling domain can set it.
///
/// ```
/// use towerkeep::session::SessionCookie;
/// assert_eq!(SessionCookie::host("sid").name(), "__Host-sid");
/// assert_eq!(SessionCookie::local_dev().name(), "sid");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookie {
    name: String,
    secure: bool,
    same_site: &'static str,
    partitioned: bool,
}

impl SessionCookie {
    /// The cookie `__Host-{name}`: `Secure`, for this host only, `SameSite=Lax`.
    ///
    /// # Panics
    /// When `name` is no cookie's name: 1 to 64 letters, digits, `-`, `_` or `.`.
    pub fn host(name: &'static str) -> Self {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let fits = (1..=64).contains(&name.len()) && name.bytes().all(is_fit);
        assert!(fits, "a session cookie's name is 1 to 64 letters, digits, '-', '_' or '.'");
        Self { name: format!("__Host-{name}"), secure: true, same_site: "Lax", partitioned: false }
    }

    /// The cookie `sid` without `Secure`: for plain HTTP on a developer's machine.
    pub fn local_dev() -> Self {
        Self { name: "sid".into(), secure: false, same_site: "Lax", partitioned: false }
    }

    /// Never sent along from other sites, not even by a link. Defaults to `SameSite=Lax`.
    #[must_use]
    pub fn same_site_strict(mut self) -> Self {
        self.same_site = "Strict";
        self
    }

    /// For use inside of other sites' frames: `SameSite=None; Partitioned`, a jar for each of those sites.
    ///
    /// Browsers take it only with `Secure`, so it changes nothing for [`local_dev`](SessionCookie::local_dev).
    #[must_use]
    pub fn partitioned(mut self) -> Self {
        if self.secure {
            (self.same_site, self.partitioned) = ("None", true);
        }
        self
    }

    /// The name as browsers see it.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    /// What the request carries under our name.
    pub(super) fn find(&self, headers: &HeaderMap) -> Carried {
        let mut values = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
        let name = self.name.as_bytes();
        let mut ours =
            values.by_ref().filter_map(|pair| pair.trim_ascii_start().strip_prefix(name)?.strip_prefix(b"="));
        match (ours.next(), ours.next()) {
            (None, _) => Carried::Nothing,
            (Some(value), None) => Token::parse(value.trim_ascii_end()).map_or(Carried::Unfit, Carried::Token),
            (Some(_), Some(_)) => Carried::Unfit,
        }
    }

    pub(super) fn set(&self, token: &Token, max_age: Duration) -> HeaderValue {
        self.render(&token.reveal(), max_age.as_secs())
    }

    pub(super) fn removal(&self) -> HeaderValue {
        self.render("", 0)
    }

    /// As the client sends it back.
    pub(super) fn pair(&self, token: &Token) -> HeaderValue {
        sensitive(&format!("{}={}", self.name, token.reveal()))
    }

    fn render(&self, value: &str, max_age: u64) -> HeaderValue {
        let mut text = String::with_capacity(192);
        // Writing to a String cannot fail.
        let _ = write!(text, "{}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite={}", self.name, self.same_site);
        if self.secure {
            text.push_str("; Secure");
        }
        if self.partitioned {
            text.push_str("; Partitioned");
        }
        sensitive(&text)
    }
}

/// What a request carries.
#[derive(Debug)]
pub(super) enum Carried {
    Nothing,
    /// Something that is no token, or two of them: as good as nothing.
    Unfit,
    Token(Token),
}

/// The token of `Authorization: Bearer ...`, if it is one of ours; other schemes and tokens are none of our business.
pub(super) fn bearer(headers: &HeaderMap) -> Option<Token> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?.as_bytes(), values.next()) else { return None };
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| Token::parse(token.trim_ascii()))?
}

pub(super) fn bearer_value(token: &Token) -> HeaderValue {
    sensitive(&format!("Bearer {}", token.reveal()))
}

fn sensitive(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).expect("names and tokens are visible ASCII");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::seconds;

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let value = |line: &&[u8]| (COOKIE, HeaderValue::from_bytes(line).expect("a header's value"));
        lines.iter().map(value).collect()
    }

    #[test]
    fn finds_the_one_token_among_other_cookies() {
        let (cookie, token) = (SessionCookie::host("sid"), Token::random());
        let ours = format!("a=b;  __Host-sid={} ; c=\"d\"", token.reveal());
        for lines in [&[ours.as_bytes()][..], &[b"x=\xff\xfe", ours.as_bytes()]] {
            let Carried::Token(found) = cookie.find(&headers(lines)) else { panic!("it is there") };
            assert!(found.hash().matches(&token.hash()));
        }
    }

    #[test]
    fn anything_but_one_token_is_nobody() {
        let (cookie, token) = (SessionCookie::local_dev(), Token::random().reveal());
        let twice = format!("sid={token}; sid={token}");
        let quoted = format!("sid=\"{token}\"");
        let longer = format!("sid={token}00");
        let upper = format!("sid={}", token.to_uppercase());
        for line in [twice.as_bytes(), quoted.as_bytes(), longer.as_bytes(), upper.as_bytes(), b"sid=\xff", b"sid="] {
            assert!(matches!(cookie.find(&headers(&[line])), Carried::Unfit), "{line:?}");
        }
        let foreign = format!("xsid={token}; SID={token}; sid");
        assert!(matches!(cookie.find(&headers(&[foreign.as_bytes()])), Carried::Nothing));
    }

    #[test]
    fn says_what_browsers_need_and_hides_it_from_logs() {
        let token = Token::random();
        let value = SessionCookie::host("sid").partitioned().set(&token, seconds(60));
        let expected =
            format!("__Host-sid={}; Path=/; Max-Age=60; HttpOnly; SameSite=None; Secure; Partitioned", token.reveal());
        assert_eq!(value.to_str().expect("ASCII"), expected);
        assert!(value.is_sensitive());
        let removal = SessionCookie::local_dev().partitioned().same_site_strict().removal();
        assert_eq!(removal.to_str().expect("ASCII"), "sid=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    }

    #[test]
    fn a_bearer_token_of_others_is_none_of_ours() {
        let token = Token::random();
        let with = |value: &str| HeaderMap::from_iter([(AUTHORIZATION, value.parse().expect("a header's value"))]);
        assert!(bearer(&with(&format!("bEaReR {}", token.reveal()))).is_some());
        for other in ["Bearer eyJhbGciOi", "Basic abc", "Bearer", &token.reveal()] {
            assert!(bearer(&with(other)).is_none(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_search(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                let found = SessionCookie::local_dev().find(&HeaderMap::from_iter([(COOKIE, value)]));
                prop_assert!(!matches!(found, Carried::Token(_)));
            }
        }
    }
}
