//! Plays rows: the real layer, a handler that says what the step tells it, time that passes by hand.

use std::{
    future::{Ready, ready},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, service_fn};
use towerkeep::{
    Cx, StoreFuture,
    cache::{
        CacheStore, Entry, Lookup, MemoryCacheStore, Place, Purge, Purged, RedisCacheStore, ResponseCache, Stored,
        Ticket,
    },
    clock::{Clock, Timestamp},
};

use super::{
    super::{START, Said, said},
    steps::{Came, Row, Step},
};
use crate::support::{RedisServer, eventually};

/// A store that tells when what is to be kept has been kept.
#[derive(Clone)]
pub(super) struct Watched {
    store: Arc<dyn CacheStore>,
    under_way: Arc<AtomicUsize>,
}

struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Watched {
    fn new(store: impl CacheStore) -> Self {
        Self { store: Arc::new(store), under_way: Arc::default() }
    }

    async fn settled(&self) {
        eventually("everything is kept", async || self.under_way.load(Relaxed) == 0).await;
    }
}

impl CacheStore for Watched {
    fn now(&self, cx: &Cx) -> Timestamp {
        self.store.now(cx)
    }

    fn recall(&self, cx: &Cx, place: &Place, request: &HeaderMap) -> Option<Arc<Entry>> {
        self.store.recall(cx, place, request)
    }

    fn lookup(&self, cx: &Cx, place: &Place, request: &HeaderMap) -> StoreFuture<Lookup> {
        self.store.lookup(cx, place, request)
    }

    fn store(&self, cx: &Cx, place: &Place, ticket: &Ticket, entry: Arc<Entry>) -> StoreFuture<Stored> {
        self.under_way.fetch_add(1, Relaxed);
        let under_way = UnderWay(Arc::clone(&self.under_way));
        let storing = self.store.store(cx, place, ticket, entry);
        StoreFuture::submit(async move {
            let stored = storing.await;
            drop(under_way);
            stored
        })
    }

    fn purge(&self, cx: &Cx, purge: Purge) -> StoreFuture<Purged> {
        self.store.purge(cx, purge)
    }
}

pub(super) fn memory() -> Watched {
    Watched::new(MemoryCacheStore::new(Clock::system()))
}

/// A store in the server that all topics share; it ends with the last of them.
pub(super) async fn redis() -> (Arc<RedisServer>, Watched) {
    static SERVER: Mutex<Weak<RedisServer>> = Mutex::new(Weak::new());
    let server = {
        let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let started = Arc::new(RedisServer::start());
            *shared = Arc::downgrade(&started);
            started
        })
    };
    let store = RedisCacheStore::new(&server.patient_handle().await);
    let nowhere = Place::new("nowhere", None, [0; 16]);
    eventually("the store answers", async || store.lookup(&Cx::new(), &nowhere, &HeaderMap::new()).await.is_ok()).await;
    (server, Watched::new(store))
}

/// Plays all rows of a topic, and names those that come out otherwise.
pub(super) async fn play(topic: &str, rows: Vec<Row>, store: Watched) {
    let cache = ResponseCache::new(store.clone());
    let mut wrong = Vec::new();
    for (n, row) in rows.into_iter().enumerate() {
        let stage = Stage::new(format!("{topic}-{n}.example"));
        let mut service = (row.mount)(&cache).layer(stage.handler());
        for (n, step) in row.steps.iter().enumerate() {
            let played = stage.step(step, &mut service).await;
            store.settled().await;
            if let Err(why) = played {
                wrong.push(format!("{}; step {}: {why}", row.name, n + 1));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// One row's host, time and handler.
#[derive(Clone)]
struct Stage {
    host: String,
    now: Arc<Mutex<Timestamp>>,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    step: Option<Step>,
    calls: u32,
    /// The fields of the request that came last.
    seen: HeaderMap,
}

type Answered = Result<Response<Full<Bytes>>, &'static str>;

impl Stage {
    fn new(host: String) -> Self {
        Self { host, now: Arc::new(Mutex::new(START)), script: Arc::default() }
    }

    fn now(&self) -> Timestamp {
        *self.now.lock().expect("no panic while held")
    }

    fn calls(&self) -> u32 {
        self.script.lock().expect("no panic while held").calls
    }

    fn handler(
        &self,
    ) -> impl Service<Request<()>, Response = Response<Full<Bytes>>, Error = &'static str, Future: Send> + Clone + use<>
    {
        let stage = self.clone();
        service_fn(move |request: Request<()>| -> Ready<Answered> { ready(stage.answer(&request)) })
    }

    fn answer(&self, request: &Request<()>) -> Answered {
        let mut script = self.script.lock().expect("no panic while held");
        script.calls += 1;
        script.seen = request.headers().clone();
        let step = script.step.as_ref().expect("a step is played");
        if step.is_gone {
            return Err("gone");
        }
        let body = match (step.content, step.status) {
            (Some(content), _) => content.to_owned(),
            (None, 204 | 304) => String::new(),
            (None, _) => format!("call {}", script.calls),
        };
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = step.status.try_into().expect("a status");
        self.write(&step.says, response.headers_mut());
        Ok(response)
    }

    /// The lines as fields, with hosts and dates filled in.
    fn write(&self, lines: &[&str], headers: &mut HeaderMap) {
        for line in lines {
            let (name, value) = line.split_once(':').expect("a field has a colon");
            let name: http::HeaderName = name.parse().expect("a name");
            headers.append(name, self.filled(value.trim_start()).parse().expect("a value"));
        }
    }

    fn filled(&self, text: &str) -> String {
        let mut filled = text.replace("{host}", &self.host);
        while let Some((before, rest)) = filled.split_once('{') {
            let (told, after) = rest.split_once('}').expect("a closed brace");
            filled = format!("{before}{}{after}", date(told, self.now()));
        }
        filled
    }

    async fn step<S, B>(&self, step: &Step, service: &mut S) -> Result<(), String>
    where
        S: Service<Request<()>, Response = Response<B>, Error = &'static str> + Clone,
        B: http_body::Body<Data = Bytes>,
        B::Error: std::fmt::Debug,
    {
        *self.now.lock().expect("no panic while held") = self.now() + Duration::from_secs(step.after);
        self.script.lock().expect("no panic while held").step = Some(step.clone());
        if let Some(until) = step.until {
            let head = Step { method: "HEAD", ..step.clone() };
            let is_so = async || self.send(&head, service).await.is_ok_and(|said| said.cache() == until);
            eventually(&format!("{}: {until}", self.host), is_so).await;
        }
        let before = self.calls();
        let answer = self.send(step, service).await;
        self.judge(step, &answer, self.calls() - before)
    }

    async fn send<S, B>(&self, step: &Step, service: &S) -> Result<Said, &'static str>
    where
        S: Service<Request<()>, Response = Response<B>, Error = &'static str> + Clone,
        B: http_body::Body<Data = Bytes>,
        B::Error: std::fmt::Debug,
    {
        let uri = format!("http://{}{}", self.host, step.path);
        let mut request = Request::builder().method(step.method).uri(uri).body(()).expect("a request");
        self.write(&step.asks, request.headers_mut());
        request.extensions_mut().insert(Cx::new().at(self.now()));
        said(service.clone(), request).await
    }

    fn judge(&self, step: &Step, answer: &Result<Said, &str>, calls: u32) -> Result<(), String> {
        let came = came(answer, calls);
        let is_right = step.came.is_none_or(|wanted| wanted == came || wanted == Came::Asked && is_asked(came));
        let Ok(said) = answer else {
            return if is_right { Ok(()) } else { Err(format!("{came:?}, expected {:?}", step.came)) };
        };
        if !is_right {
            return Err(format!("{came:?} ({}, {}), expected {:?}", said.status, said.cache(), step.came));
        }
        if step.is.is_some_and(|status| said.status != status) {
            return Err(format!("status {}, expected {:?}", said.status, step.is));
        }
        if step.body.is_some_and(|body| said.body != body) {
            return Err(format!("body {:?}, expected {:?}", said.body, step.body));
        }
        self.compare(&step.shows, &said.headers)?;
        let seen = self.script.lock().expect("no panic while held").seen.clone();
        self.compare(&step.told, &seen).map_err(|why| format!("the handler saw {why}"))
    }

    /// Each line says which values a field has, all of its lines together, or with `!` that it has none.
    fn compare(&self, lines: &[&str], headers: &HeaderMap) -> Result<(), String> {
        for line in lines {
            let (name, wanted) = match line.strip_prefix('!') {
                Some(name) => (name, None),
                None => line.split_once(": ").map(|(name, value)| (name, Some(self.filled(value)))).expect("a field"),
            };
            let found: Vec<_> =
                headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            let found = Some(found.join(", ")).filter(|_| headers.contains_key(name));
            if found != wanted {
                return Err(format!("{name}: {found:?}, expected {wanted:?}"));
            }
        }
        Ok(())
    }
}

fn came(answer: &Result<Said, &str>, calls: u32) -> Came {
    let Ok(said) = answer else { return Came::Error };
    let cache = said.headers.get_all("cache-status").iter().next_back().and_then(|line| line.to_str().ok());
    let says = |word: &str| cache.is_some_and(|cache| cache.split("; ").any(|part| part == word));
    match calls {
        0 if says("hit") => Came::Stored,
        0 => Came::Nothing,
        _ if says("hit") => Came::StoredAndAsked,
        _ if says("fwd-status=304") => Came::Validated,
        _ if says("detail=stale-if-error") || says("detail=disconnected") => Came::Rescued,
        _ if says("stored") => Came::Kept,
        _ => Came::Passed,
    }
}

fn is_asked(came: Came) -> bool {
    matches!(came, Came::Kept | Came::Passed | Came::Validated)
}

/// `date+60`: the moment so many seconds from `now`, in one of the three forms (RFC 9110, 5.6.7).
fn date(told: &str, now: Timestamp) -> String {
    let at = told.find(['+', '-']).expect("a form and seconds");
    let seconds: i64 = told[at..].parse().expect("seconds");
    let by = Duration::from_secs(seconds.unsigned_abs());
    let moment = if seconds < 0 { now - by } else { now + by };
    let fixed = httpdate::fmt_http_date(moment.to_system_time());
    // Thu, 01 Jan 2026 00:00:00 GMT
    let (weekday, day, month) = (&fixed[..3], &fixed[5..7], &fixed[8..11]);
    let (year, time) = (&fixed[12..16], &fixed[17..25]);
    match &told[..at] {
        "date" => fixed,
        "rfc850" => {
            let names = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
            let name = names.iter().find(|name| name.starts_with(weekday)).expect("a weekday");
            format!("{name}, {day}-{month}-{} {time} GMT", &year[2..])
        }
        "asctime" => format!("{weekday} {month} {:>2} {time} {year}", day.trim_start_matches('0')),
        other => panic!("{other} is no form of a date"),
    }
}
