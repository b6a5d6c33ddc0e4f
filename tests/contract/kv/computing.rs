//! A missing value is computed once, and what fails is nobody else's.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::Semaphore;
use towerkeep::{Error, Result, StoreFuture};

use super::*;

fn in_memory() -> (Kv, OutageSwitch) {
    let switch = OutageSwitch::default();
    (Kv::new(MemoryKvStore::new(ManualClock::at(START).clock()).outage(switch.clone())), switch)
}

/// Lets all tasks go as far as they can.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn those_who_ask_together_compute_once() {
    for is_down in [false, true] {
        let (kv, switch) = in_memory();
        switch.set(is_down);
        let (computed, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (kv, computed, gate) = (kv.clone(), Arc::clone(&computed), Arc::clone(&gate));
            asking.spawn(async move {
                let compute = async || {
                    computed.fetch_add(1, Relaxed);
                    gate.acquire().await.expect("open").forget();
                    Ok::<_, Error>("computed".to_owned())
                };
                kv.get_or_compute("a", minutes(1), compute).await
            });
        }
        settle().await;
        gate.add_permits(1);
        while let Some(answer) = asking.join_next().await {
            assert_eq!(answer.expect("no panic").expect("computed"), "computed");
        }
        assert_eq!(computed.load(Relaxed), 1, "down: {is_down}");
        switch.set(false);
        assert_eq!(kv.get::<String>("a").await.expect("up").is_some(), !is_down);
    }
}

#[tokio::test]
async fn a_failure_is_its_callers_alone_and_the_next_computes() {
    let (kv, _) = in_memory();
    let turns = Arc::new(AtomicUsize::new(0));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let (kv, turns) = (kv.clone(), Arc::clone(&turns));
        asking.spawn(async move {
            let compute = async || {
                let turn = turns.fetch_add(1, Relaxed);
                tokio::task::yield_now().await;
                if turn < 2 { Err(Error::unavailable("the third is lucky")) } else { Ok(turn) }
            };
            kv.get_or_compute("a", minutes(1), compute).await
        });
    }
    let answers = asking.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 2, "{answers:?}");
    assert!(answers.iter().flatten().all(|turn| *turn == 2), "{answers:?}");
    assert_eq!(kv.get::<usize>("a").await.expect("up"), Some(2));
}

#[tokio::test]
async fn who_goes_away_leaves_the_computation_to_the_next() {
    let (kv, _) = in_memory();
    let first = {
        let kv = kv.clone();
        tokio::spawn(async move {
            let never = async || std::future::pending::<Result<u8>>().await;
            kv.get_or_compute("a", minutes(1), never).await
        })
    };
    settle().await;
    let second = {
        let kv = kv.clone();
        tokio::spawn(async move { kv.get_or_compute("a", minutes(1), async || Ok::<u8, Error>(2)).await })
    };
    settle().await;
    assert!(!second.is_finished());
    first.abort();
    assert_eq!(second.await.expect("no panic").expect("computed"), 2);
}

#[tokio::test]
async fn what_was_set_meanwhile_stays() {
    let (kv, _) = in_memory();
    let compute = async || {
        kv.set("a", &1, minutes(1)).await?;
        Ok::<u8, Error>(2)
    };
    assert_eq!(kv.get_or_compute("a", minutes(1), compute).await.expect("up"), 2);
    assert_eq!(kv.get::<u8>("a").await.expect("up"), Some(1));
}

#[tokio::test]
async fn who_comes_after_a_deletion_gets_nothing_of_before() {
    let (kv, _) = in_memory();
    for expected in 1..4_u8 {
        let found = kv.get_or_compute("a", minutes(1), async || Ok::<u8, Error>(expected)).await;
        assert_eq!(found.expect("up"), expected);
        assert!(kv.delete("a").await.expect("up"));
    }
}

#[tokio::test]
async fn what_was_deleted_meanwhile_is_not_stored_again() {
    let (kv, _) = in_memory();
    let compute = async || {
        kv.delete("a").await?;
        Ok::<u8, Error>(2)
    };
    assert_eq!(kv.get_or_compute("a", minutes(1), compute).await.expect("up"), 2);
    assert_eq!(kv.get::<u8>("a").await.expect("up"), None);
}

/// Deletes at once, and never answers.
struct Mute(MemoryKvStore);

impl KvStore for Mute {
    fn load(&self, cx: &Cx, key: &str) -> StoreFuture<Option<Bytes>> {
        self.0.load(cx, key)
    }

    fn save(&self, cx: &Cx, key: &str, value: Bytes, ttl: Duration) -> StoreFuture<()> {
        self.0.save(cx, key, value, ttl)
    }

    fn save_if_absent(&self, cx: &Cx, key: &str, value: Bytes, ttl: Duration) -> StoreFuture<bool> {
        self.0.save_if_absent(cx, key, value, ttl)
    }

    fn delete(&self, cx: &Cx, key: &str) -> StoreFuture<bool> {
        drop(self.0.delete(cx, key));
        StoreFuture::boxed(std::future::pending())
    }
}

#[tokio::test]
async fn a_deletion_that_is_not_answered_yet_counts_and_so_does_one_that_is_given_up() {
    for is_given_up in [false, true] {
        let kv = Kv::new(Mute(MemoryKvStore::new(ManualClock::at(START).clock())));
        let deleting = std::sync::Mutex::new(None);
        let compute = async || {
            let mut deletion = Box::pin(kv.delete("a"));
            std::future::poll_fn(|cx| {
                assert!(deletion.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            *deleting.lock().expect("no panic") = (!is_given_up).then_some(deletion);
            Ok::<u8, Error>(2)
        };
        assert_eq!(kv.get_or_compute("a", minutes(1), compute).await.expect("up"), 2);
        assert_eq!(kv.get::<u8>("a").await.expect("up"), None, "given up: {is_given_up}");
    }
}

#[tokio::test]
async fn who_has_set_a_value_gets_it_though_others_still_compute() {
    let (kv, _) = in_memory();
    let gate = Arc::new(Semaphore::new(0));
    let waiting = {
        let (kv, gate) = (kv.clone(), Arc::clone(&gate));
        tokio::spawn(async move {
            let compute = async || {
                gate.acquire().await.expect("open").forget();
                Ok::<u8, Error>(1)
            };
            kv.get_or_compute("a", minutes(1), compute).await
        })
    };
    settle().await;
    kv.set("a", &2, minutes(1)).await.expect("up");
    let never = async || panic!("the value is there") as Result<u8>;
    assert_eq!(kv.get_or_compute("a", minutes(1), never).await.expect("up"), 2);
    gate.add_permits(1);
    assert_eq!(waiting.await.expect("no panic").expect("computed"), 1);
    assert_eq!(kv.get::<u8>("a").await.expect("up"), Some(2));
}

#[tokio::test]
async fn an_error_of_the_applications_own_comes_through() {
    let (kv, _) = in_memory();
    let failed = kv.get_or_compute("a", minutes(1), async || anyhow::bail!("no such city") as anyhow::Result<u8>).await;
    assert_eq!(failed.expect_err("it failed").to_string(), "no such city");
    let late = kv.get_or_compute("a", seconds(0), async || anyhow::Ok(1_u8)).await.expect_err("no time to live");
    assert!(late.downcast::<Error>().expect("ours").is_invalid());
}
