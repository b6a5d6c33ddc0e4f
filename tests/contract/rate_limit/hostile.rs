//! What clients do to get past a limit, or to make it costly, over the layer and a real Redis.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use towerkeep::{Keep, Key, PeerAddr, rate_limit::RateLimitLayer};

use super::*;
use crate::support::Monitor;

const FEW: Policy = Policy::sliding_window("few", 3, minutes(10));
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Trusts one proxy network, and waits for a busy machine.
async fn keep(server: &RedisServer) -> Keep {
    let keep = Keep::builder().redis(&server.url()).trust_proxies(["10.0.0.0/8"]);
    let keep = keep.deadline(seconds(5)).budget(seconds(50)).build().expect("valid");
    assert!(keep.ready(seconds(10)).await);
    keep
}

fn from(peer: &str) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(PeerAddr(std::net::SocketAddr::new(peer.parse().expect("an address"), 9)));
    request
}

async fn send(keep: &Keep, layer: &RateLimitLayer, request: Request<()>) -> StatusCode {
    let inner = service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
    let service = ServiceBuilder::new().layer(keep.layer()).service(layer.layer(inner));
    service.oneshot(request).await.expect("infallible").status()
}

async fn keys(server: &RedisServer) -> Vec<String> {
    redis::cmd("KEYS").arg("tk:rl:*").query_async(&mut server.client().await).await.expect("keys")
}

#[tokio::test]
async fn a_thousand_addresses_of_one_network_are_one_client() {
    let server = RedisServer::start();
    let keep = keep(&server).await;
    let layer = keep.limits().layer(FEW);
    let mut admitted = 0;
    for n in 0..1_000u32 {
        let address = format!("2001:db8:7:1:{:x}::{n:x}", n % 9);
        admitted += u32::from(send(&keep, &layer, from(&address)).await == StatusCode::OK);
    }
    assert_eq!(admitted, 3);
    assert_eq!(send(&keep, &layer, from("2001:db8:7:2::1")).await, StatusCode::OK, "the next network");
    assert_eq!(keys(&server).await.len(), 2);
}

#[tokio::test]
async fn a_client_that_writes_its_own_address_gains_nothing() {
    let server = RedisServer::start();
    let keep = keep(&server).await;
    let layer = keep.limits().layer(FEW);
    let endless = vec!["198.51.100.1"; 600].join(", ");
    let forty = (0..40).map(|n| format!("10.0.0.{n}")).collect::<Vec<_>>().join(", ");
    let claims =
        ["198.51.100.9", "198.51.100.10, 198.51.100.11", "unknown", "_hidden", "[2001:db8::1]:80", "", &endless];
    let mut admitted = 0;
    for claim in claims.iter().chain(&[forty.as_str()]).cycle().take(40) {
        let mut request = from("203.0.113.7");
        for name in ["x-forwarded-for", "forwarded", "x-real-ip", "cf-connecting-ip"] {
            request.headers_mut().append(name, claim.parse().expect("a value"));
        }
        admitted += u32::from(send(&keep, &layer, request).await == StatusCode::OK);
    }
    assert_eq!((admitted, keys(&server).await), (3, vec!["tk:rl:{203.0.113.7}:few".to_owned()]));

    // Through the proxy the last hop counts, whatever the client wrote before it; 40 trusted hops are not walked.
    let through = |line: &str| {
        let mut request = from("10.1.1.1");
        request.headers_mut().append("x-forwarded-for", line.parse().expect("a value"));
        request
    };
    for n in 0..4 {
        let wanted = if n < 3 { StatusCode::OK } else { StatusCode::TOO_MANY_REQUESTS };
        let line = format!("198.51.100.{n}, 192.0.2.{n}, {forty}, 192.0.2.77");
        assert_eq!(send(&keep, &layer, through(&line)).await, wanted);
    }
    assert_eq!(send(&keep, &layer, through(&forty)).await, StatusCode::OK, "no 500, some bucket");
    assert!(keys(&server).await.contains(&"tk:rl:{192.0.2.77}:few".to_owned()));
}

#[tokio::test]
async fn keys_made_of_anything_are_bounded_and_apart() {
    let server = RedisServer::start();
    let keep = keep(&server).await;
    let layer = keep.limits().layer(FEW).by(Key::header(API_KEY).or(Key::client_ip()));
    let long = "k".repeat(8 * 1024);
    let values: [&[u8]; 9] = [
        b"{203.0.113.7}",
        b"}:few",
        b"a{b}c",
        b"%0d%0aDEL *",
        b"' OR 1=1 --",
        b"\xff\xfe",
        b" ",
        long.as_bytes(),
        b"203.0.113.7",
    ];
    for value in values {
        for n in 0..4 {
            let mut request = from("203.0.113.9");
            request.headers_mut().insert(API_KEY, HeaderValue::from_bytes(value).expect("a value"));
            let status = send(&keep, &layer, request).await;
            // What is no visible ASCII is no key: the address counts, and both such values share it.
            if value.is_ascii() && !value.trim_ascii().is_empty() {
                assert_eq!(status.as_u16(), if n < 3 { 200 } else { 429 }, "{value:?}");
            } else {
                assert!([200, 429].contains(&status.as_u16()), "{value:?}: {status}");
            }
        }
    }
    let keys = keys(&server).await;
    assert!(keys.iter().all(|key| key.len() < 100 && key.is_ascii() && key.ends_with(":few")), "{keys:?}");
    let tags: std::collections::HashSet<_> = keys.iter().map(|key| &key["tk:rl:".len()..]).collect();
    assert!(keys.len() == tags.len() && keys.len() >= 8, "each its own: {keys:?}");
}

#[tokio::test]
async fn no_address_at_all_is_a_shared_bucket() {
    let server = RedisServer::start();
    let keep = keep(&server).await;
    let layer = keep.limits().layer(FEW);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(send(&keep, &layer, Request::new(())).await.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
}

#[tokio::test]
async fn a_denied_flood_costs_one_command_and_no_memory() {
    let server = RedisServer::start();
    let keep = keep(&server).await;
    let wide = Policy::sliding_window("flood", 600, minutes(60));
    let (layer, mut client) = (keep.limits().layer([FEW, wide]), server.client().await);
    for _ in 0..3 {
        send(&keep, &layer, from("203.0.113.7")).await;
    }
    let mut size = async || {
        let mut bytes = 0u64;
        for key in keys(&server).await {
            let usage: u64 = redis::cmd("MEMORY").arg("USAGE").arg(key).query_async(&mut client).await.expect("there");
            bytes += usage;
        }
        bytes
    };
    let before = size().await;
    let mut monitor = Monitor::start(&server).await;
    for _ in 0..10_000 {
        assert_eq!(send(&keep, &layer, from("203.0.113.7")).await, StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!((monitor.seen("tk:rl").await, size().await), (vec!["EVALSHA".to_owned()], before));
}
