//! The service that all outage tests put through its faults, and one client's way to it.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, State},
    routing::{get, post},
};
use http::{HeaderMap, Request, StatusCode, header};
use tower::{ServiceBuilder, ServiceExt};
use towerkeep::{PeerAddr, counter::Counter, prelude::*, rate_limit::LimitOutage, session::SessionConfig};

const GENERAL: Policy = Policy::sliding_window("general", 100, minutes(1));
const FIVE: Policy = Policy::sliding_window("five", 5, minutes(1));
const TWO: Policy = Policy::sliding_window("two", 2, minutes(1));
const PLENTY: Policy = Policy::sliding_window("plenty", 100_000, minutes(10));
const STRICT: Policy = Policy::token_bucket("strict", 10, minutes(10)).on_outage(LimitOutage::Deny);
const HOUR: Policy = Policy::sliding_window("hour", 8, hours(1));
const OPEN: Policy = Policy::sliding_window("open", 5, minutes(1)).on_outage(LimitOutage::Skip);

/// All four layers around a few routes.
pub(crate) fn app(keep: &Keep) -> Router {
    let (limits, cache) = (keep.limits(), keep.cache());
    let login = async |Path(user): Path<u64>, session: Session| session.login(user).await;
    let logout = async |session: Session| session.logout().await;
    let me = async |user: CurrentUser<u64>| user.0.to_string();
    let maybe = async |user: Option<CurrentUser<u64>>| user.map_or("nobody".to_owned(), |user| user.0.to_string());
    let count = async |session: Session| session.update("n", |n: &mut u64| *n += 1).await.map(|n| n.to_string());
    let counted = async |session: Session| session.get::<u64>("n").await.map(|n| n.unwrap_or_default().to_string());
    let purge = async |cache: ResponseCache| cache.purge_tags(["clock"]).await.as_str();
    let add = async |State(keep): State<Keep>, Path(by): Path<i64>| keep.counters().add(&Counter::of("adds", by), by);
    Router::new()
        .route("/login/{user}", post(login))
        .route("/logout", post(logout))
        .route("/me", get(me))
        .route("/maybe", get(maybe))
        .route("/count", post(count))
        .route("/counted", get(counted))
        .route("/clock", get(clock).layer(cache.public("clock").ttl(minutes(5)).tags(["clock"])))
        .route("/page/{n}", get(async |Path(n): Path<u64>| page(n)).layer(cache.public("page").ttl(minutes(5))))
        .route("/purge", post(purge))
        .route("/add/{by}", post(add))
        .route("/limited", get(async || "ok").layer(limits.layer(GENERAL)))
        .route("/five", get(async || "ok").layer(limits.layer(FIVE)))
        .route("/hour", get(async || "ok").layer(limits.layer(HOUR)))
        .route("/plenty", get(async || "ok").layer(limits.layer(PLENTY)))
        .route("/refunded", get(async || "ok").layer(limits.layer(TWO).refund_if(|_| true)))
        .route("/strict", get(async || "ok").layer(limits.layer(STRICT)))
        .route("/open", get(async || "ok").layer(limits.layer(OPEN)))
        .layer(ServiceBuilder::new().layer(keep.layer().redis_status(true)).layer(keep.sessions().layer()))
        .with_state(keep.clone())
}

/// What `/page/{n}` answers, from whatever place.
pub(crate) fn page(n: u64) -> String {
    format!("page {n}: {}", "x".repeat(100 + usize::try_from(n).expect("small")))
}

/// A different answer each time the handler runs.
async fn clock() -> String {
    static TICKS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    TICKS.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string()
}

pub(crate) async fn keep(url: &str) -> Keep {
    let keep = Keep::builder().redis(url).sessions(SessionConfig::new()).build().expect("a valid url");
    assert!(keep.ready(Duration::from_secs(10)).await, "redis at {url} was not reached");
    keep
}

/// As [`keep`], where nothing is about time: on a busy machine an answer may be late, and another word of the layers would be right.
pub(crate) async fn patient(url: &str) -> Keep {
    let keep = Keep::builder().redis(url).deadline(Duration::from_secs(2)).budget(Duration::from_secs(10));
    let keep = keep.build().expect("a valid url");
    assert!(keep.ready(Duration::from_secs(10)).await, "redis at {url} was not reached");
    keep
}

/// A client with one address and one cookie.
#[derive(Clone)]
pub(crate) struct Client {
    router: Router,
    address: SocketAddr,
    pub(crate) cookie: Option<String>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ascii"))
    }
}

impl Client {
    pub(crate) fn new(router: &Router, host: u8) -> Self {
        Self { router: router.clone(), address: SocketAddr::from(([203, 0, 113, host], 9)), cookie: None }
    }

    /// The same person at another instance.
    pub(crate) fn at(&self, router: &Router) -> Self {
        Self { router: router.clone(), ..self.clone() }
    }

    pub(crate) async fn logged_in(router: &Router, user: u64) -> Self {
        let mut client = Self::new(router, u8::try_from(user % 250).expect("small"));
        let answer = client.post(&format!("/login/{user}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        client
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path).await
    }

    pub(crate) async fn post(&mut self, path: &str) -> Answer {
        self.send("POST", path).await
    }

    async fn send(&mut self, method: &str, path: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "a.example");
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let mut request = request.body(Body::empty()).expect("a request");
        request.extensions_mut().insert(PeerAddr(self.address));
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        if let Some(cookie) = parts.headers.get(header::SET_COOKIE) {
            let cookie = cookie.to_str().expect("ascii");
            let pair = cookie.split(';').next().expect("a pair").to_owned();
            self.cookie = (!pair.ends_with('=')).then_some(pair);
        }
        let body = to_bytes(body, 1 << 20).await.expect("a body");
        let body = String::from_utf8(body.to_vec()).expect("text");
        Answer { status: parts.status, headers: parts.headers, body }
    }
}
