//! A caching reverse proxy: the cache alone, in front of any HTTP/1.1 server.
//!
//! ```sh
//! cargo run --example caching_proxy -- --listen 127.0.0.1:8080 --upstream http://127.0.0.1:3000 --profile rfc
//! curl -i http://127.0.0.1:8080/
//! ```
//!
//! `--profile shared` is the safe default of the library, `rfc` all that RFC 9111 permits. `--redis URL` shares what is
//! stored between proxies, and a Redis that falls costs the cache, not the answers. Bodies stream both ways.
use std::{convert::Infallible, net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header, uri};
use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use towerkeep::{
    cache::{CachePolicy, MemoryCacheStore, RedisCacheStore, ResponseCache},
    clock::Clock,
    conn::{Redis, RedisConfig},
};

/// Fields of one connection, beside those that `Connection` names (RFC 9110, 7.6.1).
const HOP_BY_HOP: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { listen, upstream, policy, redis } = Arguments::read(std::env::args().skip(1))?;
    let cache = match redis {
        // An upstream over the network is worth a longer wait for Redis than a handler in this process is.
        Some(url) => {
            let redis = Redis::new(RedisConfig::new(&url)?.deadline(Duration::from_millis(250)))?;
            ResponseCache::new(RedisCacheStore::new(&redis))
        }
        None => ResponseCache::new(MemoryCacheStore::new(Clock::system())),
    };
    let client = Client::builder(TokioExecutor::new()).set_host(false).build_http();
    let forward = service_fn(move |request| forward(client.clone(), upstream.clone(), request));
    let service = ServiceBuilder::new().layer(cache.public("proxy").policy(policy)).service(forward);
    let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // Outside of the cache, which may have a stale answer for an upstream that gives none.
        let cached = service.clone();
        let answer = service_fn(move |request| {
            let answer = cached.clone().oneshot(request);
            async { or_bad_gateway(answer.await) }
        });
        let service = TowerToHyperService::new(answer);
        tokio::spawn(async move {
            auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

fn or_bad_gateway<B>(answer: Result<Response<B>, Error>) -> Result<Response<Either<B, Empty<Bytes>>>, Infallible> {
    Ok(answer.map(|response| response.map(Either::Left)).unwrap_or_else(|error| {
        eprintln!("no answer: {error}");
        let mut response = Response::new(Either::Right(Empty::new()));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    }))
}

/// Sends a request on.
async fn forward(
    client: Client<HttpConnector, Incoming>,
    upstream: Uri,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>, Error> {
    // Over HTTP/2 the host stands in the URI.
    let host = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
    let mut parts = uri::Parts::from(upstream);
    parts.path_and_query = request.uri().path_and_query().cloned().or(parts.path_and_query);
    *request.uri_mut() = Uri::from_parts(parts).expect("the upstream's scheme and authority, and a path");
    *request.version_mut() = http::Version::HTTP_11;
    end_to_end(request.headers_mut());
    let mut response = client.request(request).await?;
    end_to_end(response.headers_mut());
    Ok(response)
}

/// Removes what speaks of one connection only.
fn end_to_end(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(',').filter_map(|name| name.trim().parse().ok()))
        .collect();
    let fixed = HOP_BY_HOP.map(HeaderName::from_static);
    for name in named.iter().chain(&fixed) {
        headers.remove(name);
    }
    headers.append(header::VIA, HeaderValue::from_static("1.1 towerkeep"));
}

struct Arguments {
    listen: SocketAddr,
    upstream: Uri,
    policy: CachePolicy,
    redis: Option<String>,
}

const USAGE: &str = "--listen ADDR --upstream URL [--profile rfc|shared] [--redis URL]";

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let (mut listen, mut upstream, mut policy, mut redis) = (None, None, CachePolicy::shared(), None);
        while let Some(name) = words.next() {
            let value = words.next().with_context(|| format!("{name} needs a value; usage: {USAGE}"))?;
            match (name.as_str(), value.as_str()) {
                ("--listen", _) => listen = Some(value.parse().with_context(|| format!("{value} is no address"))?),
                ("--upstream", _) => upstream = Some(value.parse().with_context(|| format!("{value} is no URL"))?),
                ("--profile", "rfc") => policy = CachePolicy::rfc(),
                ("--profile", "shared") => policy = CachePolicy::shared(),
                ("--redis", _) => redis = Some(value),
                _ => bail!("{name} {value} is not known; usage: {USAGE}"),
            }
        }
        let upstream: Uri = upstream.with_context(|| format!("--upstream is missing; usage: {USAGE}"))?;
        if upstream.scheme_str() != Some("http") || upstream.path() != "/" || upstream.query().is_some() {
            bail!("{upstream}: give the upstream as http://HOST:PORT, without a path");
        }
        let listen = listen.with_context(|| format!("--listen is missing; usage: {USAGE}"))?;
        Ok(Self { listen, upstream, policy, redis })
    }
}
