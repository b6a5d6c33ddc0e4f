//! Sessions and a limit on plain hyper, without axum.
//!
//! ```sh
//! cargo run --example hyper
//! curl -i -c jar -b jar http://127.0.0.1:3000/
//! ```
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tower::{ServiceBuilder, service_fn};
use towerkeep::{
    PeerAddr,
    prelude::*,
    session::{SessionConfig, SessionCookie},
};

const GENERAL: Policy = Policy::sliding_window("general", 100, minutes(1));

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, towerkeep::Error> {
    let session = Session::of(&request).expect("the session layer is mounted");
    let visits = session.update("visits", |n: &mut u32| *n += 1).await?;
    Ok(Response::new(Full::from(format!("visit {visits}\n"))))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let sessions = SessionConfig::new().cookie(SessionCookie::local_dev());
    let keep = Keep::builder().env().sessions(sessions).build()?;
    let service = ServiceBuilder::new()
        .layer(keep.layer())
        .layer(keep.limits().layer(GENERAL))
        .layer(keep.sessions().layer())
        .service(service_fn(hello));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    loop {
        let (stream, peer) = listener.accept().await?;
        // hyper does not tell the peer's address; the limit counts by it.
        let with_peer = move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(PeerAddr(peer));
            request
        };
        let service = ServiceBuilder::new().map_request(with_peer).service(service.clone());
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await.ok();
        });
    }
}
