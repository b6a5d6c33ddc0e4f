//! What is done when Redis is reached: in order, before anybody else, and again where it fails.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use super::*;

/// Hands over a step to `redis`, for as long as it is kept.
fn add<S: RecoveryStep>(redis: &Redis, stage: Stage, step: S) -> Arc<S> {
    let step = Arc::new(step);
    let weak: std::sync::Weak<S> = Arc::downgrade(&step);
    redis.on_recovery(stage, weak);
    step
}

struct Count(AtomicUsize);

impl RecoveryStep for Count {
    fn run(&self, recovery: Recovery) -> StoreFuture<()> {
        let is_first = self.0.fetch_add(1, Relaxed) == 0;
        assert!(is_first || recovery.redis.status() == Status::Down, "nobody else reaches redis yet");
        set(&recovery.redis, "tk:step", "ran")
    }
}

#[tokio::test]
async fn recovery_steps_run_before_anybody_else_is_let_in() {
    let mut server = RedisServer::start();
    let redis = handle(&server).await;
    let step = add(&redis, Stage::Sessions, Count(AtomicUsize::new(0)));
    eventually("a step handed over late runs once", async || step.0.load(Relaxed) == 1).await;
    server.kill();
    eventually("the drop is noticed", async || get(&redis, "k").await.is_err()).await;
    server.launch();
    is_up(&redis).await;
    assert_eq!(step.0.load(Relaxed), 2);
    assert_eq!(get(&redis, "tk:step").await.expect("read").as_deref(), Some("ran"));
}

/// A step that writes, whatever it is worth.
struct Writes(&'static str, usize);

impl RecoveryStep for Writes {
    fn run(&self, recovery: Recovery) -> StoreFuture<()> {
        set(&recovery.redis, self.0, &"x".repeat(self.1))
    }
}

#[tokio::test]
async fn a_large_value_is_written_back_in_a_recovery() {
    let mut server = RedisServer::start();
    let redis = handle(&server).await;
    let _step = add(&redis, Stage::Sessions, Writes("tk:step", 2 * 1024 * 1024));
    server.kill();
    is_down(&redis).await;
    server.launch();
    is_up(&redis).await;
    let length = admin(&server, &["STRLEN", "tk:step"]).await.expect("read");
    assert_eq!(length, redis::Value::Int(2 * 1024 * 1024));
}

#[tokio::test]
async fn a_step_that_can_never_be_done_does_not_keep_redis_away() {
    let server = RedisServer::start();
    let rules = ["ACL", "SETUSER", "limited", "on", ">pw", "~tk:*", "+@all"];
    admin(&server, &rules).await.expect("set");
    let url = format!("redis://limited:pw@127.0.0.1:{}", server.port());
    let redis = Redis::new(RedisConfig::new(&url).expect("valid")).expect("in a runtime");
    let _step = add(&redis, Stage::Purges, Writes("not:ours", 1));
    is_up(&redis).await;
    set(&redis, "tk:ours", "v").await.expect("stored");
}

/// Does what it is told to, the first `fails` times.
struct Faulty {
    runs: AtomicUsize,
    fails: usize,
    how: fn() -> StoreFuture<()>,
}

impl Faulty {
    fn new(fails: usize, how: fn() -> StoreFuture<()>) -> Self {
        Self { runs: AtomicUsize::new(0), fails, how }
    }
}

impl RecoveryStep for Faulty {
    fn run(&self, _: Recovery) -> StoreFuture<()> {
        let is_over = self.runs.fetch_add(1, Relaxed) >= self.fails;
        if is_over { StoreFuture::ok(()) } else { (self.how)() }
    }
}

fn not_done() -> StoreFuture<()> {
    StoreFuture::err(Error::unavailable("not this time"))
}

fn panics() -> StoreFuture<()> {
    StoreFuture::boxed(async { panic!("a journal of the application's own") })
}

/// It ended the task that reconnects, and nobody did any more.
#[tokio::test]
async fn a_step_that_panics_is_one_that_fails() {
    for fails in [1, usize::MAX] {
        let mut server = RedisServer::start();
        let redis = handle(&server).await;
        let step = add(&redis, Stage::Sessions, Faulty::new(fails, panics));
        eventually("it has panicked, and is run again", async || step.runs.load(Relaxed) >= 2).await;
        is_up(&redis).await;
        server.kill();
        is_down(&redis).await;
        server.launch();
        is_up(&redis).await;
        set(&redis, "k", "v").await.expect("stored");
    }
}

/// Each try cost a connection and its whole proof anew, of a server that had come and gone some seconds of it.
#[tokio::test]
async fn a_step_that_is_not_done_is_run_again_over_the_same_connection() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address()).await;
    let redis = Redis::new(RedisConfig::new(&proxy.url()).expect("valid")).expect("in a runtime");
    assert!(redis.ready(Duration::from_secs(10)).await);
    redis.force_outage(true);
    let step = add(&redis, Stage::Sessions, Faulty::new(2, not_done));
    let before = proxy.accepted();
    redis.force_outage(false);
    is_up(&redis).await;
    assert_eq!((step.runs.load(Relaxed), proxy.accepted()), (3, before + 1));
}

/// Passes when Redis is not given up while `during` runs.
async fn stays_in_use(redis: &Redis, during: impl AsyncFnOnce()) {
    let was_down = Arc::new(AtomicBool::new(false));
    let (noted, mut seen) = (Arc::clone(&was_down), redis.shared.gate.watch());
    let noting = tokio::spawn(async move {
        while seen.changed().await.is_ok() {
            noted.fetch_or(*seen.borrow() == Status::Down, Relaxed);
        }
    });
    during().await;
    tokio::task::yield_now().await;
    noting.abort();
    assert!(!was_down.load(Relaxed), "reads were refused, too");
}

#[tokio::test]
async fn a_step_that_is_not_done_over_the_connection_in_use_is_no_outage() {
    let server = RedisServer::start();
    let redis = handle(&server).await;
    let step = add(&redis, Stage::Sessions, Faulty::new(2, not_done));
    stays_in_use(&redis, async || {
        eventually("it is done in the end", async || step.runs.load(Relaxed) == 3).await;
        redis.doubt();
        eventually("once more, when the data is in doubt", async || step.runs.load(Relaxed) == 4).await;
    })
    .await;
    assert_eq!(redis.status(), Status::Up);
}

#[tokio::test]
async fn what_cannot_be_written_back_leaves_reads_alone() {
    let server = RedisServer::start();
    let redis = handle(&server).await;
    // More than there is room for, in a server that takes small writes; then less.
    let step = Arc::new(Grows { big: AtomicBool::new(true) });
    let weak: std::sync::Weak<Grows> = Arc::downgrade(&step);
    let used: u64 = server.info("used_memory").await.parse().expect("a number");
    admin(&server, &["CONFIG", "SET", "maxmemory", &(used + 512 * 1024).to_string()]).await.expect("set");
    stays_in_use(&redis, async || {
        redis.on_recovery(Stage::Sessions, weak);
        eventually("writes are refused", async || redis.status() == Status::Degraded).await;
        step.big.store(false, Relaxed);
        admin(&server, &["DEL", "tk:big:0", "tk:big:1", "tk:big:2"]).await.expect("deleted");
        is_up(&redis).await;
    })
    .await;
    set(&redis, "k", "v").await.expect("stored");
}

/// Writes three values of half a megabyte, or nothing.
struct Grows {
    big: AtomicBool,
}

impl RecoveryStep for Grows {
    fn run(&self, recovery: Recovery) -> StoreFuture<()> {
        let is_big = self.big.load(Relaxed);
        StoreFuture::boxed(async move {
            for n in 0..if is_big { 3 } else { 0 } {
                set(&recovery.redis, &format!("tk:big:{n}"), &"x".repeat(512 * 1024)).await?;
            }
            Ok(())
        })
    }
}

/// Nobody writes: it was found only by the first request that did.
#[tokio::test]
async fn a_server_that_refuses_writes_is_found_by_the_heartbeat() {
    let server = RedisServer::start();
    let redis = handle(&server).await;
    admin(&server, &["CONFIG", "SET", "maxmemory", "1"]).await.expect("set");
    eventually("writes are refused", async || redis.status() == Status::Degraded).await;
    admin(&server, &["CONFIG", "SET", "maxmemory", "0"]).await.expect("set");
    is_up(&redis).await;
}

/// It sat out its half second, though requests had found the connection dead by then.
#[tokio::test]
async fn a_heartbeat_under_way_does_not_put_off_the_next_connection() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address()).await;
    let redis = Redis::new(RedisConfig::new(&proxy.url()).expect("valid")).expect("in a runtime");
    assert!(redis.ready(Duration::from_secs(10)).await);
    proxy.hold_old();
    redis.shared.look();
    tokio::time::sleep(Duration::from_millis(5)).await; // for the supervisor to wake up
    let asked: Vec<_> = (0..5).map(|_| get(&redis, "k")).collect();
    for answer in asked {
        assert!(answer.await.expect_err("held").is_unavailable());
    }
    is_down(&redis).await;
    let down = std::time::Instant::now();
    is_up(&redis).await;
    assert!(down.elapsed() < Duration::from_millis(400), "{:?}", down.elapsed());
}
