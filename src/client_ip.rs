//! The client's address: from the connection, or from proxies that are trusted to tell it.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use http::{Extensions, HeaderMap, header::FORWARDED};
use ipnet::IpNet;

use crate::{Error, Result};

/// The address at the other end of the connection; a plain hyper server inserts it into each request.
///
/// An axum server does the same with `into_make_service_with_connect_info::<SocketAddr>()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

impl PeerAddr {
    /// The peer of this request's connection, if the server told it.
    pub fn of(extensions: &Extensions) -> Option<Self> {
        #[cfg(feature = "axum")]
        if let Some(info) = extensions.get::<axum::extract::ConnectInfo<SocketAddr>>() {
            return Some(Self(info.0));
        }
        extensions.get::<Self>().copied()
    }
}

/// The address of the client that asked; as an axum extractor 500 where the server does not tell peers.
///
/// `keep.layer()` resolves it once per request by the trusted proxies' word; without that layer it is the peer's
/// address. IPv4 written as IPv6 (`::ffff:a.b.c.d`) is IPv4.
///
/// ```
/// use std::net::SocketAddr;
/// use towerkeep::{ClientIp, PeerAddr};
/// let mut request = http::Request::new(());
/// assert_eq!(ClientIp::of(request.extensions()), None);
/// request.extensions_mut().insert(PeerAddr("[::ffff:192.0.2.7]:99".parse::<SocketAddr>().unwrap()));
/// assert_eq!(ClientIp::of(request.extensions()).unwrap().to_string(), "192.0.2.7");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientIp(pub IpAddr);

impl ClientIp {
    /// The client's address, as resolved by `keep.layer()`, else the peer's.
    pub fn of(extensions: &Extensions) -> Option<Self> {
        let resolved = extensions.get::<Self>().copied();
        resolved.or_else(|| PeerAddr::of(extensions).map(|peer| Self(peer.0.ip().to_canonical())))
    }

    /// What limits count by: an IPv4 address itself, the /64 network of an IPv6 address.
    ///
    /// One customer holds at least a whole /64 (RFC 6177), so a limit by single addresses is none.
    pub fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            v4 @ IpAddr::V4(_) => v4,
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        }
    }
}

impl fmt::Display for ClientIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(feature = "axum")]
impl<S: Sync> axum::extract::FromRequestParts<S> for ClientIp {
    type Rejection = (http::StatusCode, &'static str);
    async fn from_request_parts(parts: &mut http::request::Parts, _: &S) -> Result<Self, Self::Rejection> {
        Self::of(&parts.extensions).ok_or_else(|| {
            tracing::error!(
                "the client's address is unknown: serve with into_make_service_with_connect_info::<SocketAddr>()"
            );
            (http::StatusCode::INTERNAL_SERVER_ERROR, "the client's address is unknown")
        })
    }
}

/// Which header trusted proxies write the chain of addresses into; only this one is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: client, proxy1`.
    #[default]
    XForwardedFor,
    /// `Forwarded: for=client, for=proxy1` (RFC 7239).
    Forwarded,
}

/// The networks whose word about the client's address is believed.
///
/// 1. A peer outside of them is the client, whatever its headers say.
/// 2. Else the chain is walked from right to left over all lines of the one header; the first address outside of
///    them is the client.
/// 3. A hop that is no address, and the 33rd hop, end the walk at the last trusted address.
///
/// The wrong use: trusting `0.0.0.0/0`, or the leftmost address, lets every client choose who it is.
///
/// ```
/// use http::HeaderMap;
/// use towerkeep::client_ip::TrustedProxies;
/// let proxies = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
/// let mut headers = HeaderMap::new();
/// headers.append("x-forwarded-for", "6.6.6.6, 203.0.113.7".parse().unwrap());
///
/// let ip = proxies.client_ip("10.0.0.1".parse().unwrap(), &headers);
/// assert_eq!(ip.to_string(), "203.0.113.7"); // 6.6.6.6 is what the client claimed
/// let ip = proxies.client_ip("198.51.100.1".parse().unwrap(), &headers);
/// assert_eq!(ip.to_string(), "198.51.100.1"); // not a proxy of ours
/// ```
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ForwardedHeader,
}

/// Longer chains are cut: nobody has 32 proxies, but anybody can send 4,000 addresses.
const MAX_HOPS: usize = 32;

impl TrustedProxies {
    /// Trusts these networks (`10.0.0.0/8`) and single addresses.
    ///
    /// # Errors
    /// Invalid, naming the text that is neither.
    pub fn new<T: AsRef<str>>(networks: impl IntoIterator<Item = T>) -> Result<Self> {
        let networks = networks.into_iter().map(|text| parse_network(text.as_ref())).collect::<Result<_>>()?;
        Ok(Self { networks, header: ForwardedHeader::default() })
    }

    /// Reads `header` instead of `X-Forwarded-For`.
    #[must_use]
    pub fn header(mut self, header: ForwardedHeader) -> Self {
        self.header = header;
        self
    }

    /// The client's address, given the peer's and what the headers claim.
    pub fn client_ip(&self, peer: IpAddr, headers: &HeaderMap) -> ClientIp {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return ClientIp(client);
        }
        let name = match self.header {
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => FORWARDED.as_str(),
        };
        let lines: Vec<_> = headers.get_all(name).iter().collect();
        let hops = lines.iter().rev().flat_map(|line| hops(line.as_bytes(), self.header));
        for hop in hops.take(MAX_HOPS) {
            let Some(address) = hop else { break };
            client = address;
            if !self.trusts(client) {
                break;
            }
        }
        ClientIp(client)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }
}

fn parse_network(text: &str) -> Result<IpNet> {
    let single = |_| IpAddr::from_str(text).map(|address| IpNet::from(address.to_canonical()));
    IpNet::from_str(text).or_else(single).map_err(|_| {
        Error::invalid(format!("trusted proxy {text:?} is neither a network like \"10.0.0.0/8\" nor an address"))
    })
}

/// The addresses of one line from right to left; `None` for a hop that is no address.
fn hops(line: &[u8], header: ForwardedHeader) -> impl Iterator<Item = Option<IpAddr>> {
    let line = std::str::from_utf8(line).unwrap_or("?");
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let element = match header {
            ForwardedHeader::XForwardedFor => rsplit(&mut rest, b',', false)?,
            ForwardedHeader::Forwarded => rsplit(&mut rest, b',', true)?,
        };
        Some(match header {
            ForwardedHeader::XForwardedFor => parse_node(element.trim()),
            ForwardedHeader::Forwarded => forwarded_for(element).and_then(parse_node),
        })
    })
}

/// Takes what stands behind the last separator, with `quotes` the last one outside of quotes.
///
/// From the right, because what stands there was written by our own proxies: quotes that a client left open further
/// left do not reach it.
fn rsplit<'l>(rest: &mut Option<&'l str>, separator: u8, quotes: bool) -> Option<&'l str> {
    let text = (*rest)?;
    let bytes = text.as_bytes();
    let is_escaped = |at: usize| bytes[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
    let mut is_quoted = false;
    let found = (0..bytes.len()).rev().find(|&at| {
        is_quoted ^= quotes && bytes[at] == b'"' && !is_escaped(at);
        bytes[at] == separator && !is_quoted
    });
    // Separators are ASCII, so both sides are whole characters.
    *rest = found.map(|at| &text[..at]);
    Some(found.map_or(text, |at| &text[at + 1..]))
}

/// The value of `for=` in one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<&str> {
    let mut rest = Some(element);
    let mut pairs = std::iter::from_fn(|| rsplit(&mut rest, b';', true)).filter_map(|pair| pair.trim().split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    Some(node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node))
}

/// `192.0.2.7`, `192.0.2.7:99`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:99`.
fn parse_node(node: &str) -> Option<IpAddr> {
    let bracketed = || node.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || SocketAddr::from_str(node).ok().map(|socket| socket.ip());
    node.parse().ok().or_else(bracketed).or_else(with_port).map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(header: ForwardedHeader, lines: &[&str]) -> String {
        let proxies = TrustedProxies::new(["10.0.0.0/8", "fd00::1"]).expect("valid").header(header);
        let mut headers = HeaderMap::new();
        for line in lines {
            let name = if header == ForwardedHeader::Forwarded { "forwarded" } else { "x-forwarded-for" };
            headers.append(name, line.parse().expect("header"));
        }
        proxies.client_ip("10.0.0.1".parse().expect("ip"), &headers).to_string()
    }

    #[test]
    fn walks_right_to_left_over_all_lines() {
        let chain = ["6.6.6.6", "203.0.113.7, 10.0.0.3", "10.0.0.2"];
        assert_eq!(walk(ForwardedHeader::XForwardedFor, &chain), "203.0.113.7");
    }

    #[test]
    fn stops_at_the_last_trusted_before_an_unparsable_hop() {
        assert_eq!(walk(ForwardedHeader::XForwardedFor, &["203.0.113.7, unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(walk(ForwardedHeader::XForwardedFor, &["203.0.113.7, "]), "10.0.0.1");
    }

    #[test]
    fn never_walks_more_than_32_hops() {
        let long = format!("203.0.113.7{}", ", 10.0.0.9".repeat(40));
        assert_eq!(walk(ForwardedHeader::XForwardedFor, &[&long]), "10.0.0.9");
    }

    #[test]
    fn reads_the_nodes_of_forwarded() {
        let quoted = r#"for="[2001:db8::7]:4711";proto=https, For=10.0.0.2"#;
        assert_eq!(walk(ForwardedHeader::Forwarded, &[quoted]), "2001:db8::7");
        assert_eq!(walk(ForwardedHeader::Forwarded, &["for=_hidden, for=10.0.0.2"]), "10.0.0.2");
    }

    #[test]
    fn what_stands_in_quotes_is_no_hop() {
        let walk = |line| walk(ForwardedHeader::Forwarded, &[line]);
        // A proxy that passes the client's Host on: a host may hold commas, semicolons and equals signs.
        assert_eq!(walk(r#"for=203.0.113.7;host="a,for=6.6.6.6;x=""#), "203.0.113.7");
        assert_eq!(walk(r#"host="x;for=6.6.6.6;y=";for=203.0.113.7"#), "203.0.113.7");
        assert_eq!(walk(r#"for=203.0.113.7;host="a\",for=6.6.6.6;x=""#), "203.0.113.7");
        // A client's own unfinished quotes do not reach what the proxies wrote behind it.
        assert_eq!(walk(r#"for="evil, for=203.0.113.7, for=10.0.0.2"#), "203.0.113.7");
    }

    #[test]
    fn a_proxy_given_as_mapped_ipv6_is_the_ipv4_one() {
        let proxies = TrustedProxies::new(["::ffff:10.0.0.1"]).expect("valid");
        assert!(proxies.trusts("10.0.0.1".parse().expect("ip")));
    }

    #[test]
    fn reads_ports_and_mapped_addresses() {
        assert_eq!(walk(ForwardedHeader::XForwardedFor, &["192.0.2.7:99"]), "192.0.2.7");
        assert_eq!(walk(ForwardedHeader::XForwardedFor, &["::ffff:192.0.2.7"]), "192.0.2.7");
    }

    #[test]
    fn counts_ipv6_by_its_64() {
        let ip = ClientIp("2001:db8:1:2:3:4:5:6".parse().expect("ip"));
        assert_eq!(ip.network().to_string(), "2001:db8:1:2::");
    }

    #[test]
    fn names_the_network_it_cannot_read() {
        let error = TrustedProxies::new(["10.0.0.0/99"]).expect_err("no such prefix");
        assert!(error.is_invalid() && error.to_string().contains("10.0.0.0/99"));
    }
}
