//! Which entry a request speaks of: the cache's name, the partition, and a hash of host, path and query.

use std::sync::Arc;

use http::{HeaderMap, Uri, header::HOST, request::Parts};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::{
    Tag,
    hosts::Hosts,
    reference::{Base, Resolved},
};
use crate::key::Keyspace;

/// Where the responses of one URL lie.
///
/// 1. The URL is the host in lower case, the path, and the query: without ignored parameters, the others ordered by
///    name (values of one name keep their order). 128 bits of its SHA-256 stand in keys.
/// 2. The scheme does not count, because a proxy ends TLS. `X-Forwarded-*` never counts.
/// 3. A partition keeps one user's or one key's responses from all others.
/// 4. A fixed place has a key without the URL, and room for one response. That it is the right URL's is told by
///    [`own_tag`](Self::own_tag).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    name: &'static str,
    partition: Option<Arc<str>>,
    url: [u8; 16],
    template: Option<&'static str>,
}

impl Place {
    /// The place of `url` in the cache `name`.
    pub fn new(name: &'static str, partition: Option<Arc<str>>, url: [u8; 16]) -> Self {
        Self { name, partition, url, template: None }
    }

    /// The same, under the key that `template` makes, where there is one.
    #[must_use]
    pub fn fixed(mut self, template: Option<&'static str>) -> Self {
        self.template = template;
        self
    }

    /// The template of its key; nothing where the key is made of the URL.
    pub fn template(&self) -> Option<&'static str> {
        self.template
    }

    /// The tag that every response of a fixed place has: it purges, and tells those of other URLs apart.
    pub fn own_tag(&self) -> Option<Tag> {
        self.template?;
        let mut place = format!("{}:{}:", self.name, self.partition().unwrap_or_default());
        crate::request_key::push_hex(&mut place, &self.url);
        Some(Tag::of_place(&place))
    }

    /// The cache's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The user or key that the responses are for; nothing for those that everybody shares.
    pub fn partition(&self) -> Option<&str> {
        self.partition.as_deref()
    }

    /// The hash of host, path and query.
    pub fn url(&self) -> [u8; 16] {
        self.url
    }

    /// The key that all keys of this place begin with: `tk:cache:{name}:{partition}:{hash}`, or that of the template.
    pub fn key(&self, keys: &Keyspace) -> String {
        if let Some(template) = self.template {
            return keys.cache_fixed(template, self.partition());
        }
        let mut hash = String::with_capacity(32);
        crate::request_key::push_hex(&mut hash, &self.url);
        match &self.partition {
            None => keys.cache_public(self.name, &hash),
            Some(partition) => keys.cache_private(self.name, partition, &hash),
        }
    }
}

/// The hash of a request's URL; `None` where the host is told twice, is no host, or is none of ours.
pub(crate) fn of_request(parts: &Parts, hosts: &Hosts, ignored: &[Box<str>]) -> Option<[u8; 16]> {
    let uri = original(parts);
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => host(&parts.headers)?,
    };
    Some(hash(hosts.own(host)?, uri.path(), uri.query(), ignored))
}

/// The hash of a URL that names its host.
pub(crate) fn of_uri(uri: &Uri, hosts: &Hosts, ignored: &[Box<str>]) -> [u8; 16] {
    let host = uri.authority().map_or("", |authority| authority.as_str());
    hash(hosts.own(host).unwrap_or(host), uri.path(), uri.query(), ignored)
}

/// The hash of what a reference of the response to a request names.
pub(crate) fn of_resolved(base: &Base, resolved: &Resolved, hosts: &Hosts, ignored: &[Box<str>]) -> [u8; 16] {
    let host = hosts.own(base.host()).unwrap_or(base.host());
    hash(host, &resolved.path, resolved.query.as_deref(), ignored)
}

/// The host that a request asks; empty where it names none.
pub(crate) fn host_of(parts: &Parts) -> String {
    let authority = original(parts).authority().map(http::uri::Authority::as_str);
    authority.or_else(|| host(&parts.headers)).unwrap_or_default().to_owned()
}

fn host(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all(HOST).iter();
    let first = lines.next().map_or(Some(""), |host| host.to_str().ok());
    first.filter(|host| lines.next().is_none() && host.bytes().all(is_of_a_host))
}

/// What a host and its port are made of (RFC 3986, 3.2.2): a slash or a question mark would reach into the path.
fn is_of_a_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

/// A URL up to so many bytes, and a query of so many parameters, take no allocation.
const USUAL_URL: usize = 256;
const USUAL_PAIRS: usize = 8;

/// The URL as the client wrote it: a nested axum router shows its routes a part of the path only, and two routers
/// would share their entries.
pub(crate) fn original(parts: &Parts) -> &Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = parts.extensions.get::<axum::extract::OriginalUri>() {
        return &original.0;
    }
    &parts.uri
}

fn hash(host: &str, path: &str, query: Option<&str>, ignored: &[Box<str>]) -> [u8; 16] {
    // Neither a host nor a path has a zero byte, and a path no question mark, so the three never run into each other.
    let mut url: SmallVec<[u8; USUAL_URL]> = SmallVec::from_slice(host.as_bytes());
    url.make_ascii_lowercase();
    url.push(0);
    url.extend_from_slice(if path.starts_with('/') { b"" } else { b"/" });
    url.extend_from_slice(path.as_bytes());
    let is_kept = |pair: &&str| !pair.is_empty() && !ignored.iter().any(|name| **name == *name_of(pair));
    let mut pairs: SmallVec<[&str; USUAL_PAIRS]> = query.unwrap_or_default().split('&').filter(is_kept).collect();
    pairs.sort_by_key(|pair| name_of(pair));
    for (n, pair) in pairs.iter().enumerate() {
        url.push(if n == 0 { b'?' } else { b'&' });
        url.extend_from_slice(pair.as_bytes());
    }
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(&url)[..16]);
    short
}

fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(uri: &str, host: Option<&str>, ignored: &[&str]) -> Option<[u8; 16]> {
        let mut builder = http::Request::builder().uri(uri);
        if let Some(host) = host {
            builder = builder.header(HOST, host);
        }
        let ignored: Vec<Box<str>> = ignored.iter().map(|name| (*name).into()).collect();
        of_request(&builder.body(()).expect("a request").into_parts().0, &Hosts::default(), &ignored)
    }

    #[test]
    fn the_query_is_ordered_by_name_and_without_ignored_parameters() {
        assert_eq!(at("/a?y=2&x=1", None, &[]), at("/a?x=1&y=2", None, &[]));
        assert_ne!(at("/a?x=1&x=2", None, &[]), at("/a?x=2&x=1", None, &[]));
        assert_eq!(at("/a?x=1&utm=9", None, &["utm"]), at("/a?x=1", None, &[]));
        assert_eq!(at("/a?", None, &[]), at("/a", None, &[]));
        assert_ne!(at("/a?utmost=1", None, &["utm"]), at("/a", None, &[]));
    }

    #[test]
    fn hosts_differ_and_ignore_case() {
        assert_eq!(at("/a", Some("A.example"), &[]), at("http://a.EXAMPLE/a", None, &[]));
        assert_ne!(at("/a", Some("a.example"), &[]), at("/a", Some("b.example"), &[]));
    }

    /// One page answered under another page's URL.
    #[test]
    fn no_host_reaches_into_the_path() {
        for unfit in ["shop.example/items", "shop.example?x=1", "shop.example#a", "me@shop.example", "a b", "a\\b"] {
            assert_eq!(at("/7", Some(unfit), &[]), None, "{unfit}");
        }
        for fit in ["", "shop.example", "shop.example:8080", "[::1]:8080", "x_y.example", "%C3%A4.example"] {
            assert!(at("/7", Some(fit), &[]).is_some(), "{fit}");
        }
        assert_ne!(hash("shop.example/items", "/7", None, &[]), hash("shop.example", "/items/7", None, &[]));
    }

    #[test]
    fn two_hosts_are_no_host() {
        let request =
            http::Request::builder().uri("/").header(HOST, "a").header(HOST, "b").body(()).expect("a request");
        assert_eq!(of_request(&request.into_parts().0, &Hosts::default(), &[]), None);
    }

    /// RFC 9111, 4.4: what a response refers to is found under the spelling of the request's own host.
    #[test]
    fn references_are_found_at_the_requests_host() {
        let request = http::Request::get("/a/b?x=1").header(HOST, "Me:80").body(()).expect("a request");
        let base = Base::of(&request.into_parts().0);
        let hosts = Hosts::default();
        let of = |reference: &str| base.resolve(reference).map(|resolved| of_resolved(&base, &resolved, &hosts, &[]));
        assert_eq!(of("http://me/c?y=2"), at("/c?y=2", Some("me:80"), &[]));
        assert_eq!(of("../c"), at("/c", Some("me:80"), &[]));
        assert_eq!(of("https://you/a"), None);
    }

    #[test]
    fn keys_are_the_documented_ones() {
        let keys = Keyspace::default();
        let hash = [0x9f; 16];
        let hex = "9f".repeat(16);
        assert_eq!(
            Place::new("search", Some("1234".into()), hash).key(&keys),
            format!("tk:cache:search:1234:{{{hex}}}")
        );
        assert_eq!(Place::new("time", None, hash).key(&keys), format!("tk:cache:time:public:{{{hex}}}"));
    }
}
