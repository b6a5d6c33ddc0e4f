//! What a limit counts by and a cache divides by: the client's address, the user, a header, a path parameter.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use http::{HeaderName, request::Parts};
use sha2::{Digest, Sha256};
use smol_str::{SmolStr, ToSmolStr};

use crate::{ClientIp, Identity, Principal, StoreFuture, UserId};

/// A rule that finds a request's key.
///
/// 1. A rule that finds nothing answers `None`: [`or`](Key::or) asks the next one, [`and`](Key::and) needs both.
/// 2. [`Key::user`] finds nothing for anonymous requests and for users who cannot be proven now, so
///    `Key::user().or(Key::client_ip())` always counts somebody.
///
/// ```
/// use towerkeep::{Key, Principal};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let key = Key::user().or(Key::header(http::header::HOST));
/// let (mut parts, ()) = http::Request::builder().header("host", "a.example").body(()).unwrap().into_parts();
/// assert_eq!(key.resolve(&parts).await.unwrap().unwrap().as_str(), "h:host=a.example");
///
/// parts.extensions.insert(Principal::user(42));
/// assert_eq!(key.resolve(&parts).await.unwrap().unwrap().as_str(), "u:42");
/// # }
/// ```
#[derive(Clone)]
pub struct Key(Arc<Rule>);

type Find = Box<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

enum Rule {
    ClientIp,
    User,
    Global,
    Header(HeaderName),
    Path(Box<str>),
    From(Find),
    Or(Key, Key),
    And(Key, Key),
}

impl Key {
    /// The client's address; IPv6 by its /64 network.
    pub fn client_ip() -> Self {
        Self::of(Rule::ClientIp)
    }

    /// The user, as the request's [`Principal`] resolves to.
    pub fn user() -> Self {
        Self::of(Rule::User)
    }

    /// One key for everybody.
    pub fn global() -> Self {
        Self::of(Rule::Global)
    }

    /// The value of a header; nothing when it is missing, repeated or not visible ASCII.
    ///
    /// A header is what the client says. Count by it only where something in front checks it.
    pub fn header(name: HeaderName) -> Self {
        Self::of(Rule::Header(name))
    }

    /// The path parameter `name` of the matched axum route: `id` of `/challenges/{id}`.
    ///
    /// Finds nothing outside of axum's router, where the layer is mounted around all routes, or before a wildcard
    /// (`/files/{id}/{*rest}`).
    pub fn path(name: impl Into<Box<str>>) -> Self {
        Self::of(Rule::Path(name.into()))
    }

    /// Whatever `find` finds.
    pub fn from_fn(find: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::of(Rule::From(Box::new(find)))
    }

    /// This key, or where it finds nothing the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self::of(Rule::Or(self, other))
    }

    /// Both keys together; nothing where one of them finds nothing.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::of(Rule::And(self, other))
    }

    fn of(rule: Rule) -> Self {
        Self(Arc::new(rule))
    }

    /// Finds the key of this request; waits only for a user who is not known yet.
    pub fn resolve(&self, parts: &Parts) -> StoreFuture<Option<KeyValue>> {
        match self.find(parts) {
            Found::Now(value) => StoreFuture::ok(value),
            Found::Later(future) => future,
        }
    }

    fn find(&self, parts: &Parts) -> Found {
        Found::Now(match &*self.0 {
            Rule::ClientIp => ClientIp::of(&parts.extensions).map(KeyValue::from),
            Rule::User => return user(parts),
            Rule::Global => Some(KeyValue("global".into())),
            Rule::Header(name) => header(parts, name),
            Rule::Path(name) => path_parameter(parts, name),
            Rule::From(find) => find(parts).map(|value| KeyValue::readable('k', &value)),
            Rule::Or(first, second) => return first.find(parts).or(|| second.find(parts)),
            Rule::And(first, second) => return first.find(parts).and(second.find(parts)),
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Rule::ClientIp => f.write_str("client_ip"),
            Rule::User => f.write_str("user"),
            Rule::Global => f.write_str("global"),
            Rule::Header(name) => write!(f, "header({name})"),
            Rule::Path(name) => write!(f, "path({name})"),
            Rule::From(_) => f.write_str("from_fn"),
            Rule::Or(first, second) => write!(f, "({first:?} or {second:?})"),
            Rule::And(first, second) => write!(f, "({first:?} and {second:?})"),
        }
    }
}

/// A key found at once costs no allocation beyond itself; only an unknown user is waited for.
enum Found {
    Now(Option<KeyValue>),
    Later(StoreFuture<Option<KeyValue>>),
}

impl Found {
    /// The second rule must be asked while the request is at hand, even if the first one answers later.
    fn or(self, second: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Now(Some(value)) => Self::Now(Some(value)),
            Self::Now(None) => second(),
            Self::Later(first) => {
                let second = second();
                Self::Later(StoreFuture::boxed(async move {
                    match first.await? {
                        Some(value) => Ok(Some(value)),
                        None => second.wait().await,
                    }
                }))
            }
        }
    }

    fn and(self, second: Self) -> Self {
        match (self, second) {
            (Self::Now(first), Self::Now(second)) => Self::Now(join(first, second)),
            (first, second) => Self::Later(StoreFuture::boxed(async move {
                let (first, second) = (first.wait().await?, second.wait().await?);
                Ok(join(first, second))
            })),
        }
    }

    async fn wait(self) -> crate::Result<Option<KeyValue>> {
        match self {
            Self::Now(value) => Ok(value),
            Self::Later(future) => future.await,
        }
    }
}

fn join(first: Option<KeyValue>, second: Option<KeyValue>) -> Option<KeyValue> {
    Some(KeyValue(format!("{},{}", first?.0, second?.0).into()))
}

fn user(parts: &Parts) -> Found {
    let mut resolving = Principal::of(&parts.extensions).resolve();
    if let Some(identity) = resolving.take_ready() {
        return Found::Now(identity.ok().and_then(known));
    }
    Found::Later(StoreFuture::boxed(async move { Ok(resolving.await.ok().and_then(known)) }))
}

fn known(identity: Identity) -> Option<KeyValue> {
    match identity {
        Identity::Known(user) => Some(KeyValue::from(&user)),
        Identity::Anonymous | Identity::Unavailable => None,
    }
}

fn header(parts: &Parts, name: &HeaderName) -> Option<KeyValue> {
    let mut values = parts.headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| KeyValue::readable('h', &format!("{name}={value}")))
}

#[cfg(feature = "axum")]
fn path_parameter(parts: &Parts, name: &str) -> Option<KeyValue> {
    let route = parts.extensions.get::<axum::extract::MatchedPath>()?;
    let value = parameter(route.as_str(), parts.uri.path(), name)?;
    Some(KeyValue::readable('p', &format!("{name}={}", decoded(value))))
}

#[cfg(not(feature = "axum"))]
fn path_parameter(_: &Parts, _: &str) -> Option<KeyValue> {
    None
}

/// The segment of `path` that stands where `route` has `{name}`, counted from the end: a nested router sees a
/// path without its prefix and a route with it.
#[cfg(feature = "axum")]
fn parameter<'p>(route: &str, path: &'p str, name: &str) -> Option<&'p str> {
    let is_wanted = |segment: &str| segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) == Some(name);
    // Behind a wildcard there is no counting from the end: whoever asks chooses how much follows.
    let mut behind = route.rsplit('/').take_while(|segment| !is_wanted(segment));
    if behind.any(|segment| segment.starts_with("{*")) {
        return None;
    }
    let from_end = route.rsplit('/').position(is_wanted)?;
    path.rsplit('/').nth(from_end).filter(|value| !value.is_empty())
}

/// The parameter as handlers get it: each way to write it would else be a client of its own. What is no UTF-8 stays.
#[cfg(feature = "axum")]
fn decoded(value: &str) -> std::borrow::Cow<'_, str> {
    if !value.contains('%') {
        return value.into();
    }
    let hex =
        |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).and_then(|n| u8::try_from(n).ok());
    let (mut bytes, mut rest) = (Vec::with_capacity(value.len()), value.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| Some(hex(after.first())? << 4 | hex(after.get(1))?)).flatten();
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).map_or(value.into(), Into::into)
}

/// A key's value: what a limit counts by, fit to stand in a Redis key.
///
/// An address stands bare, everything else carries its kind: `u:` a user, `h:` a header, `p:` a path parameter,
/// `k:` anything else. Up to 64 safe characters are readable; other texts become a 128-bit prefix of their
/// SHA-256, equal on all instances. Different inputs give different values. Up to 23 bytes, as addresses have, take no
/// allocation; clones never do.
///
/// ```
/// use towerkeep::{ClientIp, KeyValue};
/// let ip = ClientIp("203.0.113.7".parse().unwrap());
/// assert_eq!(KeyValue::from((ip, "alice")).as_str(), "203.0.113.7,k:alice");
/// assert!(KeyValue::from("a b").as_str().starts_with("k#"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyValue(SmolStr);

/// Longer values are hashed.
const MAX_READABLE: usize = 64;

impl KeyValue {
    /// The value as it stands in keys.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn readable(kind: char, value: &str) -> Self {
        let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~@+/=:".contains(&byte);
        if value.len() <= MAX_READABLE && value.bytes().all(is_safe) {
            return Self(format!("{kind}:{value}").into());
        }
        let mut text = format!("{kind}#");
        push_hex(&mut text, &Sha256::digest(value)[..16]);
        Self(text.into())
    }
}

/// The address as `Display` writes it, without its machinery: most requests need it.
fn dotted(ip: Ipv4Addr) -> SmolStr {
    let (mut text, mut length) = ([0; 15], 0);
    for (n, octet) in ip.octets().into_iter().enumerate() {
        if n > 0 {
            text[length] = b'.';
            length += 1;
        }
        let (mut digits, end) = (itoa::Buffer::new(), length);
        let digits = digits.format(octet).as_bytes();
        length += digits.len();
        text[end..length].copy_from_slice(digits);
    }
    SmolStr::new(std::str::from_utf8(&text[..length]).expect("digits and dots"))
}

/// Appends `bytes` in lower-case hexadecimal.
pub(crate) fn push_hex(text: &mut String, bytes: &[u8]) {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    for byte in bytes {
        text.extend([digit(byte >> 4), digit(byte & 15)]);
    }
}

impl fmt::Display for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ClientIp> for KeyValue {
    fn from(ip: ClientIp) -> Self {
        Self(match ip.network() {
            IpAddr::V4(ip) => dotted(ip),
            IpAddr::V6(ip) => ip.to_smolstr(),
        })
    }
}

impl From<IpAddr> for KeyValue {
    fn from(ip: IpAddr) -> Self {
        ClientIp(ip).into()
    }
}

impl From<&UserId> for KeyValue {
    fn from(user: &UserId) -> Self {
        Self::readable('u', user.as_str())
    }
}

impl From<UserId> for KeyValue {
    fn from(user: UserId) -> Self {
        Self::from(&user)
    }
}

impl From<&str> for KeyValue {
    fn from(text: &str) -> Self {
        Self::readable('k', text)
    }
}

impl From<&String> for KeyValue {
    fn from(text: &String) -> Self {
        Self::readable('k', text)
    }
}

impl From<String> for KeyValue {
    fn from(text: String) -> Self {
        Self::readable('k', &text)
    }
}

impl From<i64> for KeyValue {
    fn from(number: i64) -> Self {
        Self::readable('k', &number.to_string())
    }
}

impl From<u64> for KeyValue {
    fn from(number: u64) -> Self {
        Self::readable('k', &number.to_string())
    }
}

impl<A: Into<Self>, B: Into<Self>> From<(A, B)> for KeyValue {
    fn from((first, second): (A, B)) -> Self {
        let (first, second) = (first.into(), second.into());
        Self(format!("{first},{second}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> Parts {
        build(http::Request::builder()).body(()).expect("a request").into_parts().0
    }

    async fn found(key: &Key, parts: &Parts) -> Option<String> {
        key.resolve(parts).await.expect("rules do not fail").map(|value| value.to_string())
    }

    #[tokio::test]
    async fn a_repeated_header_is_no_key() {
        let twice = parts(|b| b.header("x-tenant", "a").header("x-tenant", "b"));
        assert_eq!(found(&Key::header(HeaderName::from_static("x-tenant")), &twice).await, None);
    }

    #[tokio::test]
    async fn and_needs_both() {
        let key = Key::global().and(Key::header(HeaderName::from_static("x-tenant")));
        assert_eq!(found(&key, &parts(|b| b)).await, None);
        let tenant = parts(|b| b.header("x-tenant", "acme"));
        assert_eq!(found(&key, &tenant).await.as_deref(), Some("global,h:x-tenant=acme"));
    }

    #[tokio::test]
    async fn or_moves_on_when_the_user_cannot_be_proven() {
        struct Down;
        impl crate::Identify for Down {
            fn identify(&self) -> StoreFuture<Identity> {
                StoreFuture::boxed(async { Ok(Identity::Unavailable) })
            }
        }
        let mut parts = parts(|b| b);
        parts.extensions.insert(Principal::lazy(Down));
        assert_eq!(found(&Key::user().or(Key::global()), &parts).await.as_deref(), Some("global"));
        assert_eq!(found(&Key::user().and(Key::global()), &parts).await, None);
    }

    #[test]
    #[cfg(feature = "axum")]
    fn finds_path_parameters_from_the_end() {
        assert_eq!(parameter("/api/v1/challenges/{id}/scores", "/challenges/42/scores", "id"), Some("42"));
        assert_eq!(parameter("/a/{id}", "/a/7", "name"), None);
    }

    #[test]
    #[cfg(feature = "axum")]
    fn a_path_parameter_is_not_chosen_by_what_follows_it() {
        assert_eq!(parameter("/files/{id}/{*rest}", "/files/7/a/b/c", "id"), None);
        assert_eq!(parameter("/files/{id}/{*rest}", "/files/7/a", "id"), None);
    }

    #[test]
    #[cfg(feature = "axum")]
    fn a_path_parameter_has_one_key_however_it_is_encoded() {
        for written in ["42", "4%32", "%34%32", "%342"] {
            assert_eq!(decoded(written), "42");
        }
        assert_eq!(decoded("caf%C3%A9"), "caf\u{e9}");
        for not_text in ["%", "%4", "%zz", "%FF"] {
            assert_eq!(decoded(not_text), not_text);
        }
    }

    proptest! {
        #[test]
        fn an_address_is_written_as_everywhere(octets in any::<[u8; 4]>()) {
            let ip = Ipv4Addr::from(octets);
            let value = KeyValue::from(IpAddr::V4(ip));
            prop_assert_eq!(value.as_str(), ip.to_string());
        }

        #[test]
        fn different_texts_have_different_values(a in ".{0,80}", b in ".{0,80}") {
            prop_assert_eq!(a == b, KeyValue::from(a.as_str()) == KeyValue::from(b.as_str()));
        }

        #[test]
        fn pairs_do_not_run_into_each_other(a in "[a-c,:]{0,3}", b in "[a-c,:]{0,3}", c in "[a-c,:]{0,3}", d in "[a-c,:]{0,3}") {
            let (left, right) = (KeyValue::from((a.as_str(), b.as_str())), KeyValue::from((c.as_str(), d.as_str())));
            prop_assert_eq!((a, b) == (c, d), left == right);
        }

        #[test]
        fn an_address_is_never_another_kind(bits: u128, text in "[0-9a-f:.]{0,40}") {
            let ip = KeyValue::from(ClientIp(IpAddr::V6(bits.into())));
            prop_assert_ne!(ip, KeyValue::from(text.as_str()));
        }
    }
}
