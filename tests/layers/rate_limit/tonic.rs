//! A real gRPC server and client: tonic, over TCP.

use std::net::IpAddr;

use ::tonic::{
    Code,
    service::LayerExt as _,
    transport::{Channel, Server, server::TcpConnectInfo},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::util::MapRequestLayer;

use super::*;

const HEALTH: Policy = Policy::sliding_window("health", 2, minutes(1));
const ALL: Policy = Policy::sliding_window("grpc", 3, minutes(1));

fn with_peer<B>(mut request: Request<B>) -> Request<B> {
    let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    request.extensions_mut().insert(PeerAddr(peer.expect("connected over TCP")));
    request
}

/// A health service behind its own limit by API key, and one of the whole server by address; a client of it.
async fn health(limits: &RateLimits) -> HealthClient<Channel> {
    let (_, service) = tonic_health::server::health_reporter();
    let by_key = Key::header(http::HeaderName::from_static("x-api-key")).or(Key::client_ip());
    let service = limits.layer(HEALTH).by(by_key).named_layer(service);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = Server::builder().layer(MapRequestLayer::new(with_peer)).layer(limits.layer(ALL)).add_service(service);
    let incoming = ::tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(server.serve_with_incoming(incoming));
    let channel = Channel::from_shared(format!("http://{address}")).expect("an address");
    HealthClient::new(channel.connect().await.expect("it listens"))
}

fn ask(key: &'static str) -> ::tonic::Request<HealthCheckRequest> {
    let mut request = ::tonic::Request::new(HealthCheckRequest { service: String::new() });
    request.metadata_mut().insert("x-api-key", key.parse().expect("ascii"));
    request
}

#[tokio::test]
async fn calls_over_a_limit_are_resource_exhausted_and_the_service_keeps_its_name() {
    let limits = limits();
    let mut client = health(&limits).await;
    let answer = client.check(ask("a")).await.expect("served under its own name");
    assert_eq!(answer.metadata().get_all("ratelimit").iter().count(), 2, "both layers tell how the client stands");
    client.check(ask("a")).await.expect("the second of two");
    let refused = client.check(ask("a")).await.expect_err("the third by this key");
    assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, "too many requests"));
    assert_eq!(refused.metadata().get("retry-after").map(::tonic::metadata::MetadataValue::as_bytes), Some(&b"60"[..]));
    let refused = client.check(ask("b")).await.expect_err("another key, the fourth call of this address");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let peer: IpAddr = "127.0.0.1".parse().expect("an address");
    assert_eq!(limits.inspect(ALL, peer).await.expect("memory answers")[0].remaining(), 0, "counted by address");
}

#[tokio::test]
async fn an_outage_is_unavailable_to_a_real_client() {
    let outage = OutageSwitch::default();
    let limits = RateLimits::new(MemoryRateStore::new(Clock::system()).outage(outage.clone()));
    let strict = Policy::sliding_window("strict", 9, minutes(1)).on_outage(LimitOutage::Deny);
    let (_, service) = tonic_health::server::health_reporter();
    let service = limits.layer(strict).by(Key::global()).named_layer(service);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let incoming = ::tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    let channel = Channel::from_shared(format!("http://{address}")).expect("an address");
    let mut client = HealthClient::new(channel.connect().await.expect("it listens"));
    client.check(ask("a")).await.expect("served");
    outage.set(true);
    assert_eq!(client.check(ask("a")).await.expect_err("nobody counts").code(), Code::Unavailable);
}
