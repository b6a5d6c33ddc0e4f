//! One fill for all instances: claims, and who waits for one to be given back.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::Inner;
use crate::{
    Cx, StoreFuture,
    cache::{Claim, Place, Release, Stored, Token, epochs::random},
    conn::{Redis, ScriptCall, guarded_script},
    key::Keyspace,
};

guarded_script! {
    /// Asks for the right to fill a place.
    pub(super) static CLAIM = "cache_claim", "claim.lua"
}
guarded_script! {
    /// Gives it back without a response.
    pub(super) static RELEASE = "cache_release", "release.lua"
}

/// How long a claim lasts: the instance that holds it can be lost.
pub(super) const LASTS: Duration = Duration::from_secs(5);
/// How long nobody waits for a place whose response could not be shared.
const ALONE: Duration = Duration::from_secs(10);
/// Who waits looks again after so long, and up to as long again, because a message can be lost.
const POLL_MILLIS: u64 = 100;

/// `P:l`.
pub(super) fn claim_key(place: &Place, keys: &Keyspace) -> String {
    place.key(keys) + ":l"
}

pub(super) fn token_text(token: Token) -> String {
    format!("{:016x}", token.0)
}

pub(super) fn claim(inner: &Arc<Inner>, cx: &Cx, place: &Place, token: Token) -> StoreFuture<Claim> {
    // Nobody else beats in Redis: a trip for nothing.
    if inner.redis.instances() < 2 {
        return StoreFuture::ok(Claim::Unshared);
    }
    let key = claim_key(place, inner.redis.keys());
    // Before the question, so that no message is missed.
    let waiter = inner.waiters.join(&key);
    let lost = inner.orphans.token_of(&key).map(token_text).unwrap_or_default();
    let call = ScriptCall::new().key(&*key).arg(token_text(token)).arg(LASTS.as_millis().to_string()).arg(lost);
    let (redis, asker) = (inner.redis.clone(), Arc::clone(inner));
    inner.redis.eval(cx, &CLAIM, call, move |reply| {
        let answer = reply.int()?;
        asker.orphans.forget(&key);
        Ok(match answer {
            1 => Claim::Granted,
            2 => Claim::Alone,
            _ => Claim::Taken(StoreFuture::boxed(async move {
                waiter.told(redis.impaired()).await;
                Ok(())
            })),
        })
    })
}

pub(super) fn release(inner: &Arc<Inner>, place: &Place, token: Token, how: Release) -> StoreFuture<()> {
    let key = claim_key(place, inner.redis.keys());
    inner.orphans.note(&key, token);
    let given = give_back(&inner.redis, &Cx::new(), &key, token, how);
    let inner = Arc::clone(inner);
    StoreFuture::boxed(async move {
        given.await?;
        inner.orphans.over(&key, token);
        Ok(())
    })
}

/// Gives back the claim at `key`, if it is held by this token.
pub(super) fn give_back(redis: &Redis, cx: &Cx, key: &str, token: Token, how: Release) -> StoreFuture<()> {
    let lasts = match how {
        Release::Gone => 0,
        Release::Alone => ALONE.as_millis(),
    };
    let call = ScriptCall::new()
        .key(key.to_owned())
        .arg(token_text(token))
        .arg(redis.keys().cache_fills())
        .arg(lasts.to_string());
    redis.eval(cx, &RELEASE, call, |reply| {
        drop(reply);
        Ok(())
    })
}

/// The answer of a store that gives the claim back by itself; where it gives none, nobody has to wait for what it was.
pub(super) fn given_back(
    inner: &Arc<Inner>,
    place: &Place,
    claim: Option<Token>,
    storing: StoreFuture<Stored>,
) -> StoreFuture<Stored> {
    let Some(token) = claim else { return storing };
    let (inner, place) = (Arc::clone(inner), place.clone());
    let key = claim_key(&place, inner.redis.keys());
    inner.orphans.note(&key, token);
    StoreFuture::submit(async move {
        let stored = storing.await;
        match stored {
            Ok(_) => inner.orphans.over(&key, token),
            Err(_) => drop(release(&inner, &place, token, Release::Gone).await),
        }
        stored
    })
}

/// Who waits for which claim.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<HashMap<String, Arc<Notify>>>);

/// One who waits.
struct Waiter {
    all: Arc<Waiters>,
    key: String,
    notify: Arc<Notify>,
}

impl Waiters {
    /// One per key and instance: the others of an instance wait for that one.
    fn join(self: &Arc<Self>, key: &str) -> Waiter {
        let notify = Arc::clone(self.lock().entry(key.to_owned()).or_default());
        Waiter { all: Arc::clone(self), key: key.to_owned(), notify }
    }

    /// The claim named by a message was given back.
    pub(super) fn tell(&self, key: &[u8]) {
        let waiting = std::str::from_utf8(key).ok().and_then(|key| self.lock().get(key).cloned());
        if let Some(notify) = waiting {
            // Kept for who has not begun to wait yet.
            notify.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Waits until it is time to look again: told or not, or because nothing is to be heard of any more.
    async fn told(self, away: impl Future<Output = ()>) {
        let patience = Duration::from_millis(POLL_MILLIS + random() % POLL_MILLIS);
        tokio::select! {
            () = self.notify.notified() => {}
            () = away => {}
            () = tokio::time::sleep(patience) => {}
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Entry::Occupied(entry) = all.entry(std::mem::take(&mut self.key)) {
            // The table's and ours.
            if Arc::strong_count(entry.get()) <= 2 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_or_looks_by_itself_and_leaves_nothing_behind() {
        let waiters = Arc::new(Waiters::default());
        let began = tokio::time::Instant::now();
        let (told, other) = (waiters.join("a"), waiters.join("b"));
        waiters.tell(b"a");
        told.told(pending()).await;
        assert_eq!(began.elapsed(), Duration::ZERO, "told before it began to wait");
        waiters.join("c").told(ready(())).await;
        assert_eq!(began.elapsed(), Duration::ZERO, "redis is away");
        other.told(pending()).await;
        assert!((100..200).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
        waiters.tell(b"nobody");
        waiters.tell(b"\xff");
        assert!(waiters.lock().is_empty());
    }
}
