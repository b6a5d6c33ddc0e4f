//! What happens whenever Redis is reached: it is told what it has missed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{RedisSessionStore, next};
use crate::{
    Cx, Error, StoreFuture,
    clock::Timestamp,
    conn::{Command, Recovery, RecoveryStep},
    session::{SessionId, fallback::WeakFallback, replay::Data},
};

/// Tells Redis what it has missed, each time it is reached.
pub(super) struct Recover {
    fallback: WeakFallback,
    /// The epoch of the data that this instance has worked with.
    epoch: Arc<Mutex<Option<String>>>,
}

impl Recover {
    pub(super) fn new(fallback: WeakFallback) -> Self {
        Self { fallback, epoch: Arc::default() }
    }
}

impl RecoveryStep for Recover {
    fn run(&self, recovery: Recovery) -> StoreFuture<()> {
        let Some(fallback) = self.fallback.upgrade() else { return StoreFuture::ok(()) };
        let epoch = Arc::clone(&self.epoch);
        StoreFuture::boxed(async move {
            let (store, cx) = (RedisSessionStore { redis: recovery.redis }, Cx::new());
            let current = store.epoch(&cx).await?;
            let is_lost = lock(&epoch).as_ref().is_some_and(|known| *known != current);
            fallback.lost_at(epoch_begun(&current));
            let data = if is_lost { Data::Lost } else { Data::Unsure };
            fallback.replay(&store, &cx, data).await?;
            // Only now: a replay that was cut short is done again.
            *lock(&epoch) = Some(current);
            Ok(())
        })
    }
}

impl RedisSessionStore {
    /// The epoch of the data in Redis: a random value, and when it was made; made now if there is none.
    fn epoch(&self, cx: &Cx) -> StoreFuture<String> {
        let key = self.redis.keys().session_epoch();
        let fresh = format!("{}:{}", SessionId::random(), self.now_of(cx).as_micros());
        let commands = vec![Command::write("SET").arg(&key).arg(fresh).arg("NX"), Command::read("GET").arg(&key)];
        self.redis.pipeline(cx, commands, |replies| {
            let mut replies = replies.into_iter();
            next(&mut replies)?;
            next(&mut replies)?.text()?.ok_or_else(|| Error::unavailable("redis lost the session epoch just now"))
        })
    }
}

/// When the data of an epoch began: what was there before is lost. A foreign value began never.
fn epoch_begun(epoch: &str) -> Timestamp {
    let begun = epoch.split_once(':').and_then(|(_, micros)| micros.parse().ok());
    begun.map(Timestamp::from_micros).unwrap_or_default()
}

fn lock(epoch: &Mutex<Option<String>>) -> MutexGuard<'_, Option<String>> {
    epoch.lock().unwrap_or_else(PoisonError::into_inner)
}
