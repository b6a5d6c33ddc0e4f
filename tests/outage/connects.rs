//! How often an instance connects while Redis is down or comes and goes: at most ten times in any second, all of its
//! connections together.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tokio::time::{Instant, sleep};
use towerkeep::{Keep, Status, session::SessionConfig};

use crate::{
    app::{Client, app},
    support::{FaultProxy, Load, Mode, RedisServer, eventually, redis_server::free_port},
    turns::alone,
};

const SECOND: Duration = Duration::from_secs(1);
const MOST: usize = 10;

/// The most of these moments in any second.
fn most(moments: &[Instant]) -> usize {
    let within = |from: &Instant| moments.iter().filter(|at| **at >= *from && **at < *from + SECOND).count();
    moments.iter().map(within).max().unwrap_or_default()
}

/// Notes when `towerkeep_redis_connects_total` is counted.
#[derive(Clone, Default)]
struct Connects(Arc<Mutex<Vec<Instant>>>);

impl Connects {
    fn all(&self) -> Vec<Instant> {
        self.0.lock().expect("no panic while held").clone()
    }
}

impl CounterFn for Connects {
    fn increment(&self, _: u64) {
        self.0.lock().expect("no panic while held").push(Instant::now());
    }
    fn absolute(&self, _: u64) {}
}

impl Recorder for Connects {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() != "towerkeep_redis_connects_total" {
            return Counter::noop();
        }
        Counter::from_arc(Arc::new(self.clone()))
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// An instance of everything under load: users, limits, pages, values too large for the connection in use, and somebody who
/// asks for its health without a pause.
async fn under_load(keep: &Keep, length: Duration, fault: impl Future<Output = ()>) {
    let router = app(keep);
    let user = Client::logged_in(&router, 7).await;
    let ends = Instant::now() + length;
    let load = Load::new(200, length).run(move |number| {
        let mut user = user.clone();
        async move { user.get(["/me", "/clock", "/limited", "/counted"][number as usize % 4]).await.status }
    });
    let (health, kv) = (keep.health().clone(), keep.kv().clone());
    let asking = tokio::spawn(async move {
        while Instant::now() < ends {
            tokio::time::timeout(SECOND / 10, health.report()).await.ok();
        }
    });
    let large = tokio::spawn(async move {
        // The largest that is taken: with its command it is too large for the connection that all share.
        let value = "x".repeat((1 << 20) - 2);
        while Instant::now() < ends {
            let error = kv.set("large", &value, Duration::from_secs(60)).await.err();
            assert!(error.is_none_or(|error| error.is_unavailable()));
            sleep(SECOND / 20).await;
        }
    });
    let load = tokio::spawn(load);
    fault.await;
    let report = load.await.expect("the load ends");
    assert!(report.samples().iter().all(|sample| !sample.outcome.is_server_error()), "an error that nobody chose");
    asking.await.expect("it ends");
    large.await.expect("it ends");
}

/// Patient, so that a stall of this machine is no outage beside the fault.
fn instance(url: &str) -> Keep {
    let keep = Keep::builder().redis(url).deadline(SECOND / 10).budget(SECOND / 5);
    keep.sessions(SessionConfig::new()).build().expect("a valid url")
}

async fn proxied() -> (RedisServer, FaultProxy, Keep) {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address()).await;
    let keep = instance(&proxy.url());
    assert!(keep.ready(10 * SECOND).await);
    eventually("the listener is connected", async || proxy.accepted() == 2).await;
    (server, proxy, keep)
}

/// What was accepted from the first moment of the fault on.
fn told(what: &str, moments: &[Instant], began: Instant) {
    let during: Vec<_> = moments.iter().copied().filter(|at| *at >= began).collect();
    let first = during.iter().filter(|at| **at < began + SECOND).count();
    println!("{what}: {} connects, at most {} in a second, {first} in the first", during.len(), most(&during));
    assert!(during.len() > 3, "{what}: {} connects: nobody tries", during.len());
    assert!(most(&during) <= MOST, "{what}: {} connects in a second", most(&during));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_resets_everybody_is_not_stormed() {
    let _turn = alone().await;
    let (_server, proxy, keep) = proxied().await;
    let began = Instant::now() + Duration::from_millis(300);
    under_load(&keep, 5 * SECOND, async {
        tokio::time::sleep_until(began).await;
        proxy.set(Mode::Reset);
        sleep(4 * SECOND).await;
        proxy.set(Mode::Pass);
        eventually("redis is used again", async || keep.status() == Status::Up).await;
    })
    .await;
    told("reset for 4 s", &proxy.accepted_at(), began);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_and_goes_is_not_stormed() {
    let _turn = alone().await;
    let (_server, proxy, keep) = proxied().await;
    let began = Instant::now() + Duration::from_millis(300);
    under_load(&keep, 5 * SECOND, async {
        tokio::time::sleep_until(began).await;
        for _ in 0..20 {
            proxy.cut();
            sleep(Duration::from_millis(200)).await;
        }
        eventually("redis is used again", async || keep.status() == Status::Up).await;
    })
    .await;
    told("reset every 200 ms", &proxy.accepted_at(), began);
}

/// As [`a_server_that_comes_and_goes_is_not_stormed`], of one that is away for half of the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_every_other_moment_is_not_stormed() {
    let _turn = alone().await;
    let (_server, proxy, keep) = proxied().await;
    let began = Instant::now() + Duration::from_millis(300);
    let length = 5 * SECOND;
    under_load(&keep, length, async {
        tokio::time::sleep_until(began).await;
        for _ in 0..10 {
            proxy.set(Mode::Reset);
            sleep(Duration::from_millis(200)).await;
            proxy.set(Mode::Pass);
            sleep(Duration::from_millis(200)).await;
        }
        eventually("redis is used again", async || keep.status() == Status::Up).await;
    })
    .await;
    told("away every other 200 ms", &proxy.accepted_at(), began);
}

/// The connection in use goes on meanwhile: large values, the listener and health checks want others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_room_for_a_connection_is_not_stormed() {
    let _turn = alone().await;
    let (server, _proxy, keep) = proxied().await;
    let mut admin = server.client().await;
    let config = async |mut admin: redis::aio::MultiplexedConnection, most: &str| {
        redis::cmd("CONFIG").arg(&["SET", "maxclients", most]).exec_async(&mut admin).await.expect("set");
    };
    let listed: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut admin).await.expect("listed");
    let before: usize = server.info("rejected_connections").await.parse().expect("a number");
    config(admin.clone(), &listed.lines().count().to_string()).await;
    under_load(&keep, 2 * SECOND, sleep(2 * SECOND)).await;
    assert_eq!(keep.status(), Status::Up);
    config(admin, "1000").await;
    let after: usize = server.info("rejected_connections").await.parse().expect("a number");
    println!("no room for 2 s: {} connects", after - before);
    assert!((1..=2 * MOST).contains(&(after - before)), "{} connects in two seconds", after - before);
}

/// Nobody is there who could count, so the library's own counter does; that it tells the truth is seen while somebody is there.
#[test]
fn a_refused_port_is_not_stormed() {
    let connects = Connects::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    metrics::with_local_recorder(&connects, || {
        runtime.block_on(async {
            let _turn = alone().await;
            let began = Instant::now();
            let keep = instance(&format!("redis://127.0.0.1:{}", free_port()));
            under_load(&keep, 4 * SECOND, sleep(4 * SECOND)).await;
            told("refused for 4 s", &connects.all(), began);
        });
    });
}

#[test]
fn the_counter_of_connects_tells_the_truth() {
    let connects = Connects::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    metrics::with_local_recorder(&connects, || {
        runtime.block_on(async {
            let (_server, proxy, keep) = proxied().await;
            let is_over = AtomicBool::new(false);
            under_load(&keep, 3 * SECOND, async {
                proxy.set(Mode::Reset);
                sleep(SECOND).await;
                proxy.set(Mode::Pass);
                eventually("redis is used again", async || keep.status() == Status::Up).await;
                is_over.store(true, Relaxed);
            })
            .await;
            assert!(is_over.load(Relaxed));
            eventually("both count the same", async || connects.all().len() == proxy.accepted()).await;
            assert!(proxy.accepted() > 8, "{}", proxy.accepted());
        });
    });
}
