//! The contract of [`TokenStore`], held by memory and Redis, and what [`Tokens`] makes of it.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use towerkeep::{
    UserId,
    clock::{Clock, ManualClock, Timestamp, days, minutes, seconds},
    store::OutageSwitch,
    token::{Grant, MemoryTokenStore, RedisTokenStore, TokenStore, Tokens},
};

use crate::support::{FaultProxy, Mode, Monitor, RedisServer, eventually};

async fn all(server: &RedisServer) -> Vec<(&'static str, Tokens)> {
    let stores: [(_, Arc<dyn TokenStore>); 2] = [
        ("memory", Arc::new(MemoryTokenStore::new(Clock::system()))),
        ("redis", Arc::new(RedisTokenStore::new(&server.patient_handle().await))),
    ];
    stores.into_iter().map(|(name, store)| (name, Tokens::new(store))).collect()
}

#[tokio::test]
async fn a_token_is_redeemed_once_and_gives_what_it_was_issued_for() {
    let server = RedisServer::start();
    for (name, tokens) in all(&server).await {
        let grant = Grant::to(42).with(&("invoice", 17)).expect("fits");
        let token = tokens.issue("download", grant.clone()).await.expect("up");
        assert_eq!(tokens.peek("download", token.secret()).await.expect("up"), Some(grant.clone()), "{name}");
        let redeemed = tokens.redeem("download", token.secret()).await.expect("up").expect("a live one");
        assert_eq!((redeemed.user(), &redeemed), (Some(&UserId::new(42)), &grant), "{name}");
        assert_eq!(redeemed.data::<(String, u8)>().expect("as it was"), Some(("invoice".into(), 17)), "{name}");
        assert!(redeemed.data::<bool>().expect_err("no bool").is_corrupt());
        assert!(tokens.redeem("download", token.secret()).await.expect("up").is_none(), "{name}");
        assert!(tokens.peek("download", token.secret()).await.expect("up").is_none(), "{name}");
    }
}

#[tokio::test]
async fn a_token_is_good_for_its_purpose_alone() {
    let server = RedisServer::start();
    for (name, tokens) in all(&server).await {
        let token = tokens.issue("reset", Grant::anyone()).await.expect("up");
        assert!(tokens.redeem("confirm", token.secret()).await.expect("up").is_none(), "{name}");
        assert!(!tokens.revoke("confirm", token.secret()).await.expect("up"), "{name}");
        assert_eq!(tokens.redeem("reset", token.secret()).await.expect("up"), Some(Grant::anyone()), "{name}");
    }
}

#[tokio::test]
async fn a_revoked_token_is_worth_nothing() {
    let server = RedisServer::start();
    for (name, tokens) in all(&server).await {
        let token = tokens.issue("reset", Grant::to("alice")).await.expect("up");
        assert!(tokens.revoke("reset", token.secret()).await.expect("up"), "{name}");
        assert!(!tokens.revoke("reset", token.secret()).await.expect("up"), "{name}");
        assert!(tokens.redeem("reset", token.secret()).await.expect("up").is_none(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_redeem_at_once_one_wins() {
    let server = RedisServer::start();
    for (name, tokens) in all(&server).await {
        for _ in 0..10 {
            let token = tokens.issue("reset", Grant::to(1)).await.expect("up");
            let mut asking = tokio::task::JoinSet::new();
            for _ in 0..16 {
                let (tokens, token) = (tokens.clone(), token.clone());
                asking.spawn(async move { tokens.redeem("reset", token.secret()).await.expect("up") });
            }
            let won = asking.join_all().await.into_iter().flatten().count();
            assert_eq!(won, 1, "{name}");
        }
    }
}

#[tokio::test]
async fn a_token_ends_at_its_time() {
    let time = ManualClock::at(Timestamp::from_micros(1_760_000_000_000_000));
    let tokens = Tokens::new(MemoryTokenStore::new(time.clock()));
    let (short, long) = (tokens.clone().ttl(seconds(1)), tokens.clone());
    let issue = async |tokens: &Tokens| tokens.issue("reset", Grant::to(1)).await.expect("up");
    let (first, second, third) = (issue(&short).await, issue(&long).await, issue(&long).await);
    time.advance(seconds(1));
    assert!(tokens.redeem("reset", first.secret()).await.expect("up").is_none());
    time.advance(minutes(15) - seconds(1) - std::time::Duration::from_micros(1));
    assert!(tokens.redeem("reset", second.secret()).await.expect("up").is_some());
    time.advance(std::time::Duration::from_micros(1));
    assert!(!tokens.revoke("reset", third.secret()).await.expect("up"));
    assert!(tokens.redeem("reset", third.secret()).await.expect("up").is_none());
}

#[tokio::test]
async fn what_cannot_be_a_token_is_none_without_asking() {
    let switch = OutageSwitch::default();
    switch.set(true);
    let tokens = Tokens::new(MemoryTokenStore::new(Clock::system()).outage(switch));
    let huge = "a".repeat(1_000_000);
    for text in ["", "a", &huge, &"A".repeat(64), &"a".repeat(63), &"g".repeat(64), "%00", &"ä".repeat(32)] {
        assert!(tokens.redeem("reset", text).await.expect("not asked").is_none());
        assert!(tokens.peek("reset", text).await.expect("not asked").is_none());
        assert!(!tokens.revoke("reset", text).await.expect("not asked"));
    }
    let possible = "a".repeat(64);
    assert!(tokens.redeem("reset", &possible).await.expect_err("an outage").is_unavailable());
    assert!(tokens.issue("reset", Grant::anyone()).await.expect_err("an outage").is_unavailable());
    for purpose in ["", "a b", "a:b", &"p".repeat(65)] {
        assert!(tokens.issue(purpose, Grant::anyone()).await.expect_err("a purpose").is_invalid());
        assert!(tokens.redeem(purpose, &possible).await.expect_err("a purpose").is_invalid());
    }
    for ttl in [seconds(0), days(30) + seconds(1)] {
        assert!(tokens.clone().ttl(ttl).issue("reset", Grant::anyone()).await.expect_err("a time").is_invalid());
    }
}

#[tokio::test]
async fn redis_never_sees_a_token_and_each_verb_is_one_command() {
    let server = RedisServer::start();
    let tokens = Tokens::new(RedisTokenStore::new(&server.patient_handle().await));
    let mut lines = Monitor::start(&server).await;
    let token = tokens.issue("reset", Grant::to(42)).await.expect("up");
    let mut client = server.client().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("tk:token:reset:*").query_async(&mut client).await.expect("up");
    assert!(keys.len() == 1 && !keys[0].contains(token.secret()), "{keys:?}");
    let stored: String = redis::cmd("GET").arg(&keys[0]).query_async(&mut client).await.expect("up");
    assert_eq!(stored, r#"1{"user":"42"}"#);
    let life: i64 = redis::cmd("TTL").arg(&keys[0]).query_async(&mut client).await.expect("up");
    assert!((890..=900).contains(&life), "{life}");
    lines.seen("tk:token:").await;
    tokens.peek("reset", token.secret()).await.expect("up");
    tokens.redeem("reset", token.secret()).await.expect("up").expect("a live one");
    tokens.redeem("reset", token.secret()).await.expect("up");
    tokens.revoke("reset", token.secret()).await.expect("up");
    tokens.redeem("reset", "made up").await.expect("not asked");
    tokens.issue("reset", Grant::anyone()).await.expect("up");
    assert_eq!(lines.seen("tk:token:").await, ["GET", "EVALSHA", "EVALSHA", "UNLINK", "SET"]);
    let shown = format!("{token:?} {tokens:?}");
    assert!(!shown.contains(token.secret()), "{shown}");
}

#[tokio::test]
async fn a_foreign_value_is_corrupt_and_used_up() {
    let server = RedisServer::start();
    let tokens = Tokens::new(RedisTokenStore::new(&server.patient_handle().await));
    let token = tokens.issue("reset", Grant::to(42)).await.expect("up");
    let mut client = server.client().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("tk:token:*").query_async(&mut client).await.expect("up");
    redis::cmd("SET").arg(&keys[0]).arg("2{}").exec_async(&mut client).await.expect("up");
    assert!(tokens.redeem("reset", token.secret()).await.expect_err("another version").is_corrupt());
    assert!(tokens.redeem("reset", token.secret()).await.expect("up").is_none());
    redis::cmd("RPUSH").arg(&keys[0]).arg(1).exec_async(&mut client).await.expect("up");
    assert!(tokens.redeem("reset", token.secret()).await.expect_err("a list").is_corrupt());
    assert!(tokens.revoke("reset", token.secret()).await.expect("up"));
}

#[tokio::test]
async fn an_outage_makes_every_verb_unavailable_and_uses_no_token_up() {
    let server = RedisServer::start();
    let redis = server.patient_handle().await;
    let tokens = Tokens::new(RedisTokenStore::new(&redis));
    let token = tokens.issue("reset", Grant::to(42)).await.expect("up");
    redis.force_outage(true);
    assert!(tokens.issue("reset", Grant::to(42)).await.expect_err("an outage").is_unavailable());
    assert!(tokens.peek("reset", token.secret()).await.expect_err("an outage").is_unavailable());
    assert!(tokens.redeem("reset", token.secret()).await.expect_err("an outage").is_unavailable());
    assert!(tokens.revoke("reset", token.secret()).await.expect_err("an outage").is_unavailable());
    redis.force_outage(false);
    assert!(redis.ready(seconds(10)).await);
    assert_eq!(tokens.redeem("reset", token.secret()).await.expect("up"), Some(Grant::to(42)));
}

#[tokio::test]
async fn a_redemption_whose_answer_was_lost_uses_the_token_up() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address()).await;
    let redis = server.handle_via(&proxy).await;
    let tokens = Tokens::new(RedisTokenStore::new(&redis));
    let mut token = None;
    eventually("a token is issued", async || {
        token = tokens.issue("reset", Grant::to(42)).await.ok();
        token.is_some()
    })
    .await;
    let token = token.expect("issued");
    proxy.set(Mode::OneWay);
    assert!(tokens.redeem("reset", token.secret()).await.expect_err("nobody answers").is_unavailable());
    let mut client = server.client().await;
    eventually("redis has carried it out", async || {
        let keys: Vec<String> = redis::cmd("KEYS").arg("tk:token:*").query_async(&mut client).await.expect("up");
        keys.is_empty()
    })
    .await;
    proxy.set(Mode::Pass);
    assert!(redis.ready(seconds(10)).await);
    eventually("it is worth nothing", async || {
        tokens.redeem("reset", token.secret()).await.is_ok_and(|grant| grant.is_none())
    })
    .await;
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Issue(usize, usize),
    Peek(usize, usize),
    Redeem(usize, usize),
    Revoke(usize, usize),
    /// What is issued from now on lives so many seconds.
    Pass(u64),
}

const PURPOSES: [&str; 2] = ["reset", "confirm"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = (0..4_usize, 0..2_usize);
    let step = prop_oneof![
        3 => which.clone().prop_map(|(token, purpose)| Step::Issue(token, purpose)),
        1 => which.clone().prop_map(|(token, purpose)| Step::Peek(token, purpose)),
        2 => which.clone().prop_map(|(token, purpose)| Step::Redeem(token, purpose)),
        1 => which.prop_map(|(token, purpose)| Step::Revoke(token, purpose)),
        1 => (100..600_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..60)
}

/// Tokens by their place, with what they are good for, for whom and until when; the latest in a place counts.
#[derive(Default)]
struct Model {
    live: BTreeMap<usize, (usize, usize, u64)>,
    now: u64,
}

impl Model {
    /// For whom the token is, if it is a live one of this purpose.
    fn find(&self, token: usize, purpose: usize) -> Option<usize> {
        let found = self.live.get(&token).filter(|(own, _, ends)| *own == purpose && self.now < *ends);
        found.map(|(_, user, _)| *user)
    }

    fn take(&mut self, token: usize, purpose: usize) -> Option<usize> {
        let found = self.find(token, purpose);
        if found.is_some() {
            self.live.remove(&token);
        }
        found
    }
}

/// Runs a trace; what passes time is told to `pass`.
async fn run(name: &str, tokens: &Tokens, steps: &[Step], mut pass: impl AsyncFnMut(u64)) {
    let (mut model, mut texts) = (Model::default(), vec!["f".repeat(64); 4]);
    for (n, step) in steps.iter().enumerate() {
        let user =
            |grant: Option<Grant>| grant.map(|grant| grant.user().expect("one").parse::<usize>().expect("a number"));
        let (found, expected) = match *step {
            Step::Issue(token, purpose) => {
                let issued = tokens.issue(PURPOSES[purpose], Grant::to(n)).await.expect("up");
                issued.secret().clone_into(&mut texts[token]);
                model.live.insert(token, (purpose, n, model.now + 900));
                (None, None)
            }
            Step::Peek(token, purpose) => {
                (user(tokens.peek(PURPOSES[purpose], &texts[token]).await.expect("up")), model.find(token, purpose))
            }
            Step::Redeem(token, purpose) => {
                (user(tokens.redeem(PURPOSES[purpose], &texts[token]).await.expect("up")), model.take(token, purpose))
            }
            Step::Revoke(token, purpose) => {
                let was_live = tokens.revoke(PURPOSES[purpose], &texts[token]).await.expect("up");
                (was_live.then_some(0), model.take(token, purpose).map(|_| 0))
            }
            Step::Pass(seconds) => {
                pass(seconds).await;
                model.now += seconds;
                (None, None)
            }
        };
        assert_eq!(found, expected, "{name}, step {n} of {steps:#?}");
    }
}

#[tokio::test]
async fn redis_and_memory_keep_tokens_as_a_map_with_ends_does() {
    let server = RedisServer::start();
    let in_redis = Tokens::new(RedisTokenStore::new(&server.patient_handle().await));
    let client = server.client().await;
    let mut runner = TestRunner::default();
    for _ in 0..25 {
        let steps = steps().new_tree(&mut runner).expect("a trace").current();
        let time = ManualClock::at(Timestamp::from_micros(1_760_000_000_000_000));
        let in_memory = Tokens::new(MemoryTokenStore::new(time.clock()));
        run("memory", &in_memory, &steps, async |passed| time.advance(seconds(passed))).await;
        server.flush().await;
        run("redis", &in_redis, &steps, async |passed| server.age(&client, "tk:token:*", seconds(passed)).await).await;
    }
}

#[test]
fn handles_are_fit_to_be_shared() {
    fn check<T: Send + Sync + Clone + 'static>() {}
    check::<Tokens>();
    check::<MemoryTokenStore>();
    check::<RedisTokenStore>();
}
