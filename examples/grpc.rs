//! Limits for tonic: one for the server, another for one service. Refused calls get `RESOURCE_EXHAUSTED`.
//!
//! ```sh
//! cargo run --example grpc
//! grpcurl -plaintext -proto health.proto 127.0.0.1:50051 grpc.health.v1.Health/Check
//! ```
use http::{HeaderName, Request};
use tonic::{
    service::LayerExt as _,
    transport::{Server, server::TcpConnectInfo},
};
use tower::util::MapRequestLayer;
use towerkeep::{PeerAddr, prelude::*};

const ALL: Policy = Policy::sliding_window("grpc", 600, minutes(1));
const HEALTH: Policy = Policy::token_bucket("health", 10, seconds(1)).burst(20);

/// tonic has its own word for who connected; limits by address need ours.
fn with_peer<B>(mut request: Request<B>) -> Request<B> {
    let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    if let Some(peer) = peer {
        request.extensions_mut().insert(PeerAddr(peer));
    }
    request
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let keep = Keep::from_env()?;
    let (_, health) = tonic_health::server::health_reporter();
    let by_key = Key::header(HeaderName::from_static("x-api-key")).or(Key::client_ip());
    let health = keep.limits().layer(HEALTH).by(by_key).named_layer(health);
    keep.verify()?;
    Server::builder()
        .layer(MapRequestLayer::new(with_peer))
        .layer(keep.layer())
        .layer(keep.limits().layer(ALL))
        .add_service(health)
        .serve("127.0.0.1:50051".parse()?)
        .await?;
    Ok(())
}
