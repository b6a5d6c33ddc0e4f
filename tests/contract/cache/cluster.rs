//! One fill for all instances: over the layer, with several instances on one Redis.

use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_test::{assert_pending, task};
use towerkeep::{Keep, KeepBuilder, cache::CacheLayer};

use super::*;
use crate::support::{FaultProxy, Mode, Monitor};

const CLAIM: &str = ":l";

/// Instances that know how many they are.
async fn instances(server: &RedisServer, count: usize) -> Vec<Keep> {
    instances_of(count, || Keep::builder().redis(&server.url())).await
}

async fn instances_of(count: usize, builder: impl Fn() -> KeepBuilder) -> Vec<Keep> {
    let mut keeps = Vec::new();
    for _ in 0..count {
        let keep = builder().deadline(seconds(5)).budget(seconds(50)).build().expect("valid");
        assert!(keep.ready(seconds(10)).await);
        keeps.push(keep);
    }
    let wanted = format!("instances: {count}");
    eventually("they know of each other", async || {
        keeps.iter().all(|keep| format!("{:?}", keep.limits()).contains(&wanted))
    })
    .await;
    keeps
}

/// A handler of all instances that answers as often as the gate allows, and counts its calls.
#[derive(Clone)]
struct Handler {
    calls: Arc<AtomicU32>,
    gate: Arc<Semaphore>,
    cookie: bool,
}

impl Handler {
    fn new(cookie: bool) -> Self {
        Self { calls: Arc::default(), gate: Arc::new(Semaphore::new(0)), cookie }
    }

    fn calls(&self) -> u32 {
        self.calls.load(Relaxed)
    }

    async fn answer(self) -> Result<Response<Full<Bytes>>, Infallible> {
        let call = self.calls.fetch_add(1, Relaxed) + 1;
        self.gate.acquire().await.expect("open").forget();
        let mut response = Response::new(Full::from(format!("call {call}")));
        if self.cookie {
            response.headers_mut().insert(http::header::SET_COOKIE, "sid=1".parse().expect("a value"));
        }
        Ok(response)
    }
}

fn layer(keep: &Keep) -> CacheLayer {
    keep.cache().public("demo").ttl(minutes(5))
}

/// One request to an instance; its body.
async fn ask(keep: Keep, handler: Handler, path: String) -> Bytes {
    let service = layer(&keep).layer(service_fn(move |_: Request<()>| handler.clone().answer()));
    let request = Request::get(path).header(http::header::HOST, "a.example").body(()).expect("a request");
    let response = service.oneshot(request).await.expect("infallible");
    response.into_body().collect().await.expect("whole").to_bytes()
}

fn spawn(keep: &Keep, handler: &Handler) -> tokio::task::JoinHandle<Bytes> {
    tokio::spawn(ask(keep.clone(), handler.clone(), "/".into()))
}

/// The claims that are held, and what they are.
async fn claims(server: &RedisServer) -> Vec<String> {
    let mut client = server.client().await;
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("tk:cache:*:l").query_async(&mut client).await.expect("up");
    let mut claims = Vec::new();
    for key in keys.iter().filter(|key| key.ends_with(CLAIM)) {
        let claim: Option<String> = ::redis::cmd("GET").arg(key).query_async(&mut client).await.expect("up");
        claims.extend(claim);
    }
    claims
}

async fn somebody_waits(server: &RedisServer) {
    eventually("another instance waits", async || claims(server).await.iter().any(|claim| claim.ends_with('+'))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_misses_on_three_instances_are_one_call() {
    let server = RedisServer::start();
    let (keeps, handler) = (instances(&server, 3).await, Handler::new(false));
    let asked: Vec<_> = (0..1_000).map(|n| spawn(&keeps[n % 3], &handler)).collect();
    somebody_waits(&server).await;
    handler.gate.add_permits(1_000);
    for answer in asked {
        assert_eq!(answer.await.expect("no panic"), "call 1");
    }
    assert_eq!((handler.calls(), claims(&server).await), (1, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_shared_is_waited_for_once() {
    let server = RedisServer::start();
    let (keeps, handler) = (instances(&server, 2).await, Handler::new(true));
    let asked: Vec<_> = (0..20).map(|n| spawn(&keeps[n % 2], &handler)).collect();
    somebody_waits(&server).await;
    let began = Instant::now();
    handler.gate.add_permits(100);
    for answer in asked {
        answer.await.expect("no panic");
    }
    assert_eq!((handler.calls(), claims(&server).await), (20, vec!["alone".to_owned()]));
    ask(keeps[1].clone(), handler.clone(), "/".into()).await;
    assert!(began.elapsed() < seconds(2), "nobody waited for its patience to end: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_goes_away_is_followed_by_another_instance() {
    let server = RedisServer::start();
    let (keeps, handler) = (instances(&server, 2).await, Handler::new(false));
    let first = spawn(&keeps[0], &handler);
    eventually("it claims", async || claims(&server).await.len() == 1).await;
    eventually("it asks its handler", async || handler.calls() == 1).await;
    let second = spawn(&keeps[1], &handler);
    somebody_waits(&server).await;
    let began = Instant::now();
    first.abort();
    handler.gate.add_permits(1);
    assert_eq!(second.await.expect("no panic"), "call 2");
    assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
    eventually("its claim is given back", async || claims(&server).await.is_empty()).await;
}

/// It looked again only a tenth of a second later, or two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_another_instance_once_redis_is_away() {
    let server = RedisServer::start();
    let (keeps, handler) = (instances(&server, 2).await, Handler::new(false));
    let spawn = |keep: &Keep, n| tokio::spawn(ask(keep.clone(), handler.clone(), format!("/{n}")));
    let filling: Vec<_> = (0..8).map(|n| spawn(&keeps[0], n)).collect();
    eventually("all are claimed", async || claims(&server).await.len() == 8 && handler.calls() == 8).await;
    let waiting: Vec<_> = (0..8).map(|n| spawn(&keeps[1], n)).collect();
    eventually("all are waited for", async || {
        let claims = claims(&server).await;
        claims.len() == 8 && claims.iter().all(|claim| claim.ends_with('+'))
    })
    .await;
    let began = Instant::now();
    keeps[1].force_outage(true);
    eventually("they ask their own handler", async || handler.calls() == 16).await;
    assert!(began.elapsed() < Duration::from_millis(90), "{:?}", began.elapsed());
    handler.gate.add_permits(16);
    for answer in filling.into_iter().chain(waiting) {
        answer.await.expect("no panic");
    }
}

/// Its claim stood for five seconds, and everybody waited two of them for a fill that was over, on the instance itself too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fill_that_is_kept_too_late_is_waited_for_by_nobody() {
    let server = RedisServer::start();
    let proxy = crate::support::FaultProxy::start(server.address()).await;
    let (others, handler) = (instances(&server, 1).await, Handler::new(false));
    let keep = Keep::builder().redis(&proxy.url()).deadline(Duration::from_millis(100)).budget(seconds(1));
    let keep = keep.build().expect("valid");
    assert!(keep.ready(seconds(10)).await);
    eventually("it knows of the other", async || format!("{:?}", keep.limits()).contains("instances: 2")).await;
    // So long that giving the claim back is too late as well, and so long that it is not.
    for (again, held) in [(&keep, 300), (&others[0], 150)] {
        let path = format!("/{}", handler.calls());
        let calls = handler.calls();
        let first = tokio::spawn(ask(keep.clone(), handler.clone(), path.clone()));
        eventually("it asks its handler", async || handler.calls() == calls + 1).await;
        assert_eq!(claims(&server).await.len(), 1, "it has claimed");
        proxy.set(crate::support::Mode::Hold);
        handler.gate.add_permits(2);
        first.await.expect("no panic");
        tokio::time::sleep(Duration::from_millis(held)).await;
        proxy.set(crate::support::Mode::Pass);
        eventually("redis is used", async || keep.status() == towerkeep::Status::Up).await;
        tokio::time::sleep(Duration::from_millis(150)).await; // longer than giving it back may take
        let began = Instant::now();
        ask(again.clone(), handler.clone(), path).await;
        assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_claim_of_a_lost_instance_delays_by_two_seconds_at_most() {
    let server = RedisServer::start();
    let (keeps, handler) = (instances(&server, 2).await, Handler::new(false));
    handler.gate.add_permits(9);
    let mut client = server.client().await;
    ask(keeps[0].clone(), handler.clone(), "/".into()).await;
    let notes = async |client: &mut ::redis::aio::MultiplexedConnection| -> Vec<String> {
        ::redis::cmd("KEYS").arg("tk:cache:demo:*:v").query_async(client).await.expect("up")
    };
    eventually("it is kept", async || !notes(&mut client).await.is_empty()).await;
    let note = notes(&mut client).await.remove(0);
    let claim = format!("{}{CLAIM}", note.strip_suffix(":v").expect("a note"));
    let forget = async |client: &mut ::redis::aio::MultiplexedConnection| {
        ::redis::cmd("DEL").arg(&note).exec_async(client).await.expect("up");
    };

    forget(&mut client).await;
    ::redis::cmd("SET")
        .arg(&claim)
        .arg("0123456789abcdef")
        .arg("PX")
        .arg(60_000)
        .exec_async(&mut client)
        .await
        .expect("up");
    let began = Instant::now();
    assert_eq!(ask(keeps[1].clone(), handler.clone(), "/".into()).await, "call 2");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1_900) && took < seconds(4), "{took:?}");

    // What is not ours, or never ends, is replaced without waiting.
    for foreign in [&["SET", "?", "another program's"][..], &["SET", "?", "0123456789abcdef"], &["LPUSH", "?", "a"]] {
        forget(&mut client).await;
        ::redis::cmd("DEL").arg(&claim).exec_async(&mut client).await.expect("up");
        let mut plant = ::redis::cmd(foreign[0]);
        plant.arg(&claim).arg(foreign[2]).exec_async(&mut client).await.expect("up");
        let began = Instant::now();
        ask(keeps[1].clone(), handler.clone(), "/".into()).await;
        assert!(began.elapsed() < seconds(1), "{foreign:?}: {:?}", began.elapsed());
        eventually("the claim is given back", async || {
            let left: bool = ::redis::cmd("EXISTS").arg(&claim).query_async(&mut client).await.expect("up");
            !left
        })
        .await;
    }
}

/// An instance behind a proxy with a claim that its store was not told to take back, and another one.
async fn orphaned(server: &RedisServer, broken: Mode) -> (FaultProxy, [Keep; 2], Handler) {
    let (handler, proxy) = (Handler::new(false), FaultProxy::start(server.address()).await);
    let keep = |url: &str| Keep::builder().redis(url).deadline(Duration::from_millis(60)).instances(2).build();
    let keeps = [keep(&proxy.url()).expect("valid"), keep(&server.url()).expect("valid")];
    for keep in &keeps {
        assert!(keep.ready(seconds(10)).await);
    }
    let first = spawn(&keeps[0], &handler);
    eventually("it asks its handler", async || handler.calls() == 1).await;
    assert_eq!(claims(server).await.len(), 1);
    proxy.set(broken);
    handler.gate.add_permits(9);
    assert_eq!(first.await.expect("no panic"), "call 1");
    assert_eq!(claims(server).await.len(), 1, "nobody could give it back");
    (proxy, keeps, handler)
}

#[tokio::test]
async fn what_an_outage_kept_from_being_given_back_is_before_redis_is_used_again() {
    let server = RedisServer::start();
    let (proxy, keeps, _) = orphaned(&server, Mode::Reset).await;
    assert_eq!(keeps[0].status(), towerkeep::Status::Down);
    proxy.set(Mode::Pass);
    eventually("redis is used", async || keeps[0].status() == towerkeep::Status::Up).await;
    assert_eq!(claims(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn who_could_not_give_it_back_does_not_wait_for_itself() {
    let server = RedisServer::start();
    let (proxy, keeps, handler) = orphaned(&server, Mode::Hold).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.set(Mode::Pass);
    eventually("redis is used", async || keeps[0].status() == towerkeep::Status::Up).await;
    let began = Instant::now();
    assert_eq!(ask(keeps[0].clone(), handler, "/".into()).await, "call 2");
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    eventually("both claims are given back", async || claims(&server).await.is_empty()).await;
}

#[tokio::test]
async fn a_miss_claims_only_where_there_is_another_instance() {
    let server = RedisServer::start();
    let handler = Handler::new(false);
    handler.gate.add_permits(9);
    let mut keeps = instances(&server, 1).await;
    let mut monitor = Monitor::start(&server).await;
    let mut client = server.client().await;
    let mut miss = async |keep: &Keep, path: &str, kept: usize| {
        ask(keep.clone(), handler.clone(), path.into()).await;
        eventually("it is kept", async || {
            let notes: Vec<String> =
                ::redis::cmd("KEYS").arg("tk:cache:demo:*:v").query_async(&mut client).await.expect("up");
            notes.len() == kept
        })
        .await;
        let mut seen = monitor.seen("tk:cache:demo").await;
        seen.retain(|command| command != "KEYS");
        seen
    };
    assert_eq!(miss(&keeps[0], "/alone", 1).await, ["MGET", "EVALSHA"]);
    let second = Keep::builder().redis(&server.url()).build().expect("valid");
    eventually("the first knows", async || format!("{:?}", keeps[0].limits()).contains("instances: 2")).await;
    keeps.push(second);
    assert_eq!(miss(&keeps[0], "/two", 2).await, ["MGET", "EVALSHA", "EVALSHA"]);
}

/// A fill of an instance that has asked its handler already.
async fn begun(server: &RedisServer, keep: &Keep, handler: &Handler, path: &str) -> tokio::task::JoinHandle<Bytes> {
    let calls = handler.calls();
    let first = tokio::spawn(ask(keep.clone(), handler.clone(), path.into()));
    eventually("it asks its handler", async || handler.calls() == calls + 1).await;
    assert_eq!(claims(server).await.len(), 1, "it has claimed");
    first
}

/// A request that waits for the fill under way, whose handler then answers; its body.
async fn beside(keep: &Keep, handler: &Handler, path: &str, first: tokio::task::JoinHandle<Bytes>) -> Bytes {
    let mut second = task::spawn(ask(keep.clone(), handler.clone(), path.into()));
    assert_pending!(second.poll());
    handler.gate.add_permits(2);
    assert_eq!(first.await.expect("no panic"), "call 1");
    second.await
}

/// It boarded a fill that had begun before the purge, and was answered with what that one's handler had read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_after_another_instance_has_purged_the_url_gets_nothing_older() {
    let server = RedisServer::start();
    let (keeps, handler) = (instances(&server, 2).await, Handler::new(false));
    let _mounted = layer(&keeps[1]).layer(service_fn(async |_: Request<()>| Handler::new(false).answer().await));
    let first = begun(&server, &keeps[0], &handler, "/").await;
    let url = "http://a.example/".parse().expect("a url");
    assert_eq!(keeps[1].cache().purge_url(&url).await, Purged::Everywhere);
    assert_eq!(beside(&keeps[0], &handler, "/", first).await, "call 2");
    eventually("its claim is given back", async || claims(&server).await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_after_a_purge_was_heard_of_gets_nothing_older() {
    let server = RedisServer::start();
    let (keeps, handler, other) = (instances(&server, 2).await, Handler::new(false), Handler::new(false));
    other.gate.add_permits(1_000);
    let other = async || ask(keeps[0].clone(), other.clone(), "/other".into()).await;
    eventually("another page is kept", async || other().await == other().await).await;
    let (first, page) = (begun(&server, &keeps[0], &handler, "/").await, other().await);
    assert_eq!(keeps[1].cache().purge_name("demo").await, Purged::Everywhere);
    eventually("the purge is heard of", async || other().await != page).await;
    assert_eq!(beside(&keeps[0], &handler, "/", first).await, "call 2");
    eventually("its claim is given back", async || claims(&server).await.is_empty()).await;
}

/// A message can be lost, and the record is asked only once a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_after_a_strict_purge_that_nobody_told_of_gets_nothing_older() {
    let server = RedisServer::start();
    let keeps = instances_of(2, || Keep::builder().redis(&server.url()).strict_purges()).await;
    let handler = Handler::new(false);
    let first = begun(&server, &keeps[0], &handler, "/").await;
    let mut client = server.client().await;
    ::redis::cmd("ZADD").arg("tk:cache:epochs").arg(1_000).arg("n:demo").exec_async(&mut client).await.expect("up");
    assert_eq!(beside(&keeps[0], &handler, "/", first).await, "call 2");
}

/// Nobody knows then whether it is purged, and nobody waits for longer than a command may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_what_redis_could_not_be_told_asks_the_handler() {
    let server = RedisServer::start();
    let (handler, proxy) = (Handler::new(false), FaultProxy::start(server.address()).await);
    let keep = Keep::builder().redis(&proxy.url()).deadline(Duration::from_millis(60)).instances(2);
    let keep = keep.build().expect("valid");
    assert!(keep.ready(seconds(10)).await);
    let first = begun(&server, &keep, &handler, "/").await;
    proxy.set(Mode::Hold);
    let began = Instant::now();
    assert_eq!(beside(&keep, &handler, "/", first).await, "call 2");
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}
