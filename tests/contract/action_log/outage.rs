//! Outages: what is held, what comes in later, and that nothing comes twice or comes back.

use towerkeep::store::OutageSwitch;

use super::*;

/// Two instances before one Redis, each behind a network of its own.
struct Instances {
    server: RedisServer,
    proxies: [FaultProxy; 2],
    redis: [Redis; 2],
    logs: [ActionLog; 2],
}

impl Instances {
    async fn start() -> Self {
        let server = RedisServer::start();
        let proxies = [FaultProxy::start(server.address()).await, FaultProxy::start(server.address()).await];
        let connect = |proxy: &FaultProxy| {
            let url = proxy.url().replace("redis://", "redis://towerkeep:change-me@");
            Redis::new(RedisConfig::new(&url).expect("a url").deadline(Duration::from_millis(250)))
                .expect("in a runtime")
        };
        let redis = [connect(&proxies[0]), connect(&proxies[1])];
        let log = |n: usize| RedisActionStore::with_fallback(&redis[n], ActionLogConfig::new()).expect("fit");
        let logs = [log(0), log(1)];
        let instances = Self { server, proxies, redis, logs };
        instances.all_are(true).await;
        instances
    }

    async fn is(&self, n: usize, up: bool) {
        eventually("the instance notices", async || self.redis[n].status().is_up() == up).await;
    }

    async fn all_are(&self, up: bool) {
        self.is(0, up).await;
        self.is(1, up).await;
    }

    /// Lets the server's clock go on, by more than the instances' ideas of it differ.
    async fn a_moment(&self) {
        let begin = self.time().await;
        eventually("the time goes on", async || self.time().await.since(begin) > Duration::from_millis(100)).await;
    }

    async fn time(&self) -> Timestamp {
        let (seconds, micros): (u64, u64) = ask(&self.server, &["TIME"]).await;
        Timestamp::from_micros(seconds * 1_000_000 + micros)
    }

    /// The first instance's network; waits until it has noticed.
    async fn network(&self, mode: Mode) {
        self.proxies[0].set(mode);
        self.is(0, mode == Mode::Pass).await;
    }
}

async fn held(log: &ActionLog, action: impl Into<Action>) {
    assert_eq!(log.append(42, action).await.expect("held"), Appended::Local(1));
}

#[tokio::test]
async fn what_is_appended_during_an_outage_is_there_after_it() {
    let mut both = Instances::start().await;
    let [here, there] = both.logs.clone();
    append(&here, "lost with the server's memory").await;
    both.server.kill();
    both.all_are(false).await;
    // Of a time of their own: the instances' ideas of the server's clock differ.
    for action in ["a", "b", "c"] {
        held(&here, Action::new(action).at(START)).await;
    }
    let batch = there.append_batch(42, (0..100).map(|n| n.to_string())).await.expect("held");
    assert_eq!(batch, Appended::Local(100));
    assert!(here.recent(42, 9).await.expect_err("half a log").is_unavailable());
    assert_eq!(names(&here.pending(42)), ["c", "b", "a"]);
    assert_eq!(here.pending(43), []);

    both.server.launch();
    both.all_are(true).await;
    assert_eq!(names(&here.pending(42)), [""; 0]);
    eventually("both were told", async || ask::<usize>(&both.server, &["LLEN", KEY]).await == 100).await;
    let expected: Vec<_> = (0..100).rev().map(|n: u8| n.to_string()).collect();
    assert_eq!(newest(&here, 100).await, expected, "the batch was the last, and all that fits");
    append(&here, "d").await;
    assert_eq!(newest(&there, 2).await, ["d", "99"]);
}

#[tokio::test]
async fn what_is_held_comes_in_between_what_others_wrote_meanwhile() {
    let both = Instances::start().await;
    let [here, there] = &both.logs;
    append(there, "1").await;
    both.network(Mode::Reset).await;
    for (log, action) in [(here, "2"), (there, "3"), (here, "4"), (there, "5")] {
        log.append(42, action).await.expect("held or up");
        both.a_moment().await;
    }
    assert_eq!(newest(there, 9).await, ["5", "3", "1"]);
    both.network(Mode::Pass).await;
    assert_eq!(newest(there, 9).await, ["5", "4", "3", "2", "1"]);
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_there_once() {
    let both = Instances::start().await;
    let [here, there] = &both.logs;
    append(here, "before").await;
    both.proxies[0].set(Mode::OneWay);
    held(here, "unheard").await;
    assert_eq!(newest(there, 9).await, ["unheard", "before"], "it was carried out");
    held(here, "after").await;
    both.a_moment().await;
    append(there, "elsewhere").await;
    both.is(0, false).await;
    both.network(Mode::Pass).await;
    let mut all = newest(there, 9).await;
    assert_eq!(all.first().map(String::as_str), Some("elsewhere"));
    all.sort_unstable();
    assert_eq!(all, ["after", "before", "elsewhere", "unheard"]);
}

#[tokio::test]
async fn a_frozen_server_gets_each_entry_once() {
    let both = Instances::start().await;
    let [here, there] = &both.logs;
    both.server.freeze();
    let appends: Vec<_> = (0..20)
        .map(|n| {
            let log = here.clone();
            tokio::spawn(async move { log.append(42, n.to_string()).await.expect("held") })
        })
        .collect();
    for append in appends {
        assert_eq!(append.await.expect("no panic"), Appended::Local(1));
    }
    both.server.thaw();
    both.all_are(true).await;
    // A busy machine may have noticed nothing but late answers: then it is tried again, and not at once.
    eventually("all are told", async || here.pending(42).is_empty()).await;
    let mut all: Vec<u32> = newest(there, 100).await.iter().map(|n| n.parse().expect("a number")).collect();
    all.sort_unstable();
    assert_eq!(all, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_append_that_nobody_waits_for_any_more_is_there_once() {
    let both = Instances::start().await;
    let [here, there] = &both.logs;
    both.proxies[0].set(Mode::Hold);
    {
        let mut append = std::pin::pin!(here.append(42, "abandoned"));
        assert!(is_pending(append.as_mut()).await, "it waits for the network");
    }
    assert_eq!(names(&here.pending(42)), ["abandoned"]);
    both.proxies[0].set(Mode::Pass);
    eventually("it was tried again", async || newest(there, 9).await == ["abandoned"]).await;
    eventually("and is not held any more", async || here.pending(42).is_empty()).await;
    assert_eq!(newest(there, 9).await, ["abandoned"]);
}

/// Polls once; whether the future waits.
pub(super) async fn is_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

#[tokio::test]
async fn a_clear_during_an_outage_keeps_its_place() {
    let both = Instances::start().await;
    let [here, there] = &both.logs;
    append(here, "stored before").await;
    both.a_moment().await;
    both.network(Mode::Reset).await;
    held(here, "held before").await;
    assert_eq!(here.clear(42).await.expect("held"), Cleared::Pending);
    held(here, "held after").await;
    assert_eq!(names(&here.pending(42)), ["held after"]);
    both.a_moment().await;
    append(there, "elsewhere after").await;
    both.network(Mode::Pass).await;
    assert_eq!(newest(there, 9).await, ["elsewhere after", "held after"]);
}

#[tokio::test]
async fn a_clear_elsewhere_ends_what_is_held_here() {
    let both = Instances::start().await;
    let [here, there] = &both.logs;
    both.network(Mode::Reset).await;
    held(here, "held before").await;
    both.a_moment().await;
    assert_eq!(there.clear(42).await.expect("up"), Cleared::Everywhere);
    both.a_moment().await;
    held(here, "held after").await;
    both.network(Mode::Pass).await;
    assert_eq!(newest(there, 9).await, ["held after"]);
}

#[tokio::test]
async fn a_foreign_value_does_not_keep_redis_from_coming_back() {
    let both = Instances::start().await;
    let here = &both.logs[0];
    both.network(Mode::Reset).await;
    held(here, "a").await;
    ask::<redis::Value>(&both.server, &["SET", KEY, "foreign"]).await;
    both.network(Mode::Pass).await;
    assert!(here.recent(42, 9).await.expect_err("foreign").is_corrupt());
    assert_eq!(here.pending(42), []);
}

#[tokio::test]
async fn memory_holds_back_too_and_tells_at_the_next_question() {
    let (clock, outage) = (ManualClock::at(START), OutageSwitch::default());
    let store = MemoryActionStore::new(clock.clock());
    let (here, there) = (ActionLog::new(store.clone().outage(outage.clone())), ActionLog::new(store));
    append(&here, "1").await;
    outage.set(true);
    clock.advance(seconds(1));
    held(&here, "2").await;
    clock.advance(seconds(1));
    append(&there, "3").await;
    outage.set(false);
    assert_eq!(newest(&here, 9).await, ["3", "2", "1"]);

    outage.set(true);
    clock.advance(seconds(1));
    assert_eq!(here.clear(42).await.expect("held"), Cleared::Pending);
    outage.set(false);
    append(&here, "4").await;
    assert_eq!(newest(&there, 9).await, ["4"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_told_even_if_nobody_asks() {
    let outage = OutageSwitch::default();
    let store = MemoryActionStore::new(Clock::system());
    let (here, there) = (ActionLog::new(store.clone().outage(outage.clone())), ActionLog::new(store));
    for round in 0..3 {
        outage.set(true);
        here.append(round, "a").await.expect("held");
        tokio::time::sleep(seconds(5)).await;
        outage.set(false);
        tokio::time::sleep(seconds(2)).await;
        assert_eq!(names(&there.recent(round, 9).await.expect("up")), ["a"]);
    }
}

#[tokio::test]
async fn a_full_journal_refuses_and_loses_nothing_that_it_took() {
    let outage = OutageSwitch::default();
    let store = MemoryActionStore::new(Clock::system()).max_users(20_000);
    let log = ActionLog::new(store.outage(outage.clone()));
    outage.set(true);
    let mut refused = 0;
    for user in 0..10_050 {
        refused += usize::from(log.append(user, "a").await.is_err_and(|error| error.is_unavailable()));
    }
    assert_eq!(refused, 50);
    outage.set(false);
    for user in 0..10_050 {
        let count = log.recent(user, 9).await.expect("up").len();
        assert_eq!(count, usize::from(user < 10_000), "{user}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hurried_shutdown_brings_in_what_is_held_if_the_store_is_there() {
    let keep = Keep::in_memory();
    keep.force_outage(true);
    held(keep.actions(), "a").await;
    keep.force_outage(false);
    keep.shutdown(Duration::from_millis(100)).await;
    assert_eq!(keep.actions().pending(42), [], "it would end with the process");
    assert_eq!(newest(keep.actions(), 9).await, ["a"]);
}

#[tokio::test]
async fn a_shutdown_brings_in_what_is_held_if_the_store_is_back_in_time() {
    let keep = Keep::in_memory();
    keep.force_outage(true);
    held(keep.actions(), "a").await;
    keep.force_outage(false);
    keep.shutdown(seconds(10)).await;
    assert_eq!(keep.actions().pending(42), []);
    assert_eq!(newest(keep.actions(), 9).await, ["a"]);
}
