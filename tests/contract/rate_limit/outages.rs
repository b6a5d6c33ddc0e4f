//! What each instance does when its store does not answer.

use super::*;

/// A fallback over memory whose clock and outage a test holds.
fn breakable(policy_instances: u32) -> (Store, ManualClock, OutageSwitch) {
    let (manual, outage) = (ManualClock::at(START), OutageSwitch::default());
    let inner = MemoryRateStore::new(manual.clock()).outage(outage.clone());
    let store = FallbackRateStore::new(inner, move || policy_instances).clock(manual.clock());
    (Arc::new(store), manual, outage)
}

async fn ask(store: &Store, policies: &[Policy]) -> Vec<Outcome> {
    outcomes(&store.check(&Cx::new(), &"a".into(), policies, 1).await.expect("a fallback always answers"))
}

#[tokio::test]
async fn an_outage_leaves_each_instance_its_share_and_no_fresh_quota() {
    let six = Policy::sliding_window("six", 6, minutes(1));
    let (store, manual, outage) = breakable(2);
    assert_eq!(ask(&store, &[six]).await, [Outcome::Admitted]);
    outage.set(true);
    assert_eq!(ask(&store, &[six]).await, [Outcome::Local]);
    assert_eq!(ask(&store, &[six]).await, [Outcome::Local]);
    assert_eq!(ask(&store, &[six]).await, [Outcome::LocalDenied], "3 are the share, 1 was used before");
    manual.advance(minutes(1));
    assert_eq!(ask(&store, &[six]).await, [Outcome::Local]);
    outage.set(false);
    assert_eq!(ask(&store, &[six]).await, [Outcome::Admitted]);
}

#[tokio::test]
async fn a_client_over_its_limit_stays_so_when_the_outage_begins() {
    let (store, _, outage) = breakable(3);
    for _ in 0..3 {
        ask(&store, &[WINDOW]).await;
    }
    outage.set(true);
    assert_eq!(ask(&store, &[WINDOW]).await, [Outcome::LocalDenied]);
}

#[tokio::test]
async fn each_policy_follows_its_own_choice() {
    let skip = Policy::sliding_window("skip", 1, minutes(1)).on_outage(LimitOutage::Skip);
    let deny = Policy::sliding_window("deny", 1, minutes(1)).on_outage(LimitOutage::Deny);
    let (store, _, outage) = breakable(1);
    outage.set(true);
    assert_eq!(ask(&store, &[skip, BUCKET]).await, [Outcome::Skipped, Outcome::Local]);
    assert_eq!(ask(&store, &[skip]).await, [Outcome::Skipped]);
    assert_eq!(ask(&store, &[BUCKET, deny]).await, [Outcome::Uncharged, Outcome::Unavailable]);
    assert_eq!(ask(&store, &[BUCKET]).await, [Outcome::Local]);
    assert_eq!(ask(&store, &[BUCKET]).await, [Outcome::Local]);
    assert_eq!(ask(&store, &[BUCKET]).await, [Outcome::LocalDenied], "what another policy refused was not charged");
}

#[tokio::test]
async fn a_refund_reaches_what_was_counted_along() {
    let (store, _, outage) = breakable(1);
    for _ in 0..9 {
        let verdict = store.check(&Cx::new(), &"a".into(), &[WINDOW], 1).await.expect("answers");
        let charges: Vec<_> = verdict.decisions().iter().filter_map(Decision::charge).collect();
        store.refund(&Cx::new(), &"a".into(), &charges).await.expect("answers");
    }
    outage.set(true);
    assert_eq!(ask(&store, &[WINDOW]).await, [Outcome::Local]);
}

#[tokio::test]
async fn a_share_smaller_than_one_request_is_taken_whole() {
    let (store, _, outage) = breakable(3);
    outage.set(true);
    let ask = async || outcomes(&store.check(&Cx::new(), &"a".into(), &[WINDOW], 3).await.expect("answers"));
    assert_eq!(ask().await, [Outcome::Local]);
    assert_eq!(ask().await, [Outcome::LocalDenied]);
}

#[tokio::test]
async fn a_killed_server_is_an_outage_and_comes_back() {
    let mut server = RedisServer::start();
    let redis = server.handle().await;
    let store: Store = Arc::new(FallbackRateStore::new(RedisRateStore::new(&redis), || 1));
    assert_eq!(ask(&store, &[WIDE]).await, [Outcome::Admitted]);
    server.kill();
    eventually("limits are local", async || ask(&store, &[WIDE]).await == [Outcome::Local]).await;
    server.launch();
    eventually("limits are shared again", async || ask(&store, &[WIDE]).await == [Outcome::Admitted]).await;
}

#[tokio::test]
async fn a_frozen_server_delays_nobody_and_charges_nothing_late() {
    let server = RedisServer::start();
    let redis = server.handle().await;
    let store: Store = Arc::new(FallbackRateStore::new(RedisRateStore::new(&redis), || 1));
    // Answers that a busy machine brings too late may have been charged; those of the frozen server may not.
    let (mut admitted, mut unsure) = (0u64, 0u64);
    let mut admit_one = async || {
        eventually("redis decides", async || {
            eventually("redis is reached", async || redis.status().is_up()).await;
            let is_admitted = ask(&store, &[WIDE]).await == [Outcome::Admitted];
            (admitted, unsure) = (admitted + u64::from(is_admitted), unsure + u64::from(!is_admitted));
            is_admitted
        })
        .await;
        (admitted, unsure)
    };
    admit_one().await;
    server.freeze();
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(ask(&store, &[WIDE]).await, [Outcome::Local]);
    }
    assert!(begun.elapsed() < seconds(2), "20 checks took {:?}", begun.elapsed());
    server.thaw();
    let (admitted, unsure) = admit_one().await;
    let mut client = server.client().await;
    let mut head = redis::cmd("ZRANGE");
    let head: Vec<String> =
        head.arg("tk:rl:{k:a}:wide").arg(0).arg(0).query_async(&mut client).await.expect("redis answers");
    let charged: u64 = head[0].strip_prefix("w1:").and_then(|total| total.parse().ok()).expect("a total");
    assert!((admitted..=admitted + unsure).contains(&charged), "{charged} of {admitted} and {unsure}");
}

#[tokio::test]
async fn a_server_that_refuses_writes_is_an_outage() {
    let server = RedisServer::start();
    let store: Store = Arc::new(FallbackRateStore::new(RedisRateStore::new(&server.handle().await), || 1));
    let mut client = server.client().await;
    let replicas = async |client: &mut redis::aio::MultiplexedConnection, least: u32| {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg("min-replicas-to-write").arg(least);
        command.exec_async(client).await.expect("redis answers");
    };
    eventually("redis decides", async || ask(&store, &[WIDE]).await == [Outcome::Admitted]).await;
    replicas(&mut client, 1).await;
    assert_eq!(ask(&store, &[WIDE, BUCKET]).await, [Outcome::Local, Outcome::Local]);
    replicas(&mut client, 0).await;
    eventually("redis decides again", async || ask(&store, &[WIDE]).await == [Outcome::Admitted]).await;
}
