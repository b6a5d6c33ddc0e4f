//! What happens whenever Redis is reached: it is told what it has missed.

use super::{
    RedisSessionStore,
    epoch::{KnownEpoch, epoch_begun},
};
use crate::{
    Cx, StoreFuture,
    conn::{Recovery, RecoveryStep},
    session::{fallback::WeakFallback, replay::Data},
};

/// Tells Redis what it has missed, each time it is reached.
pub(super) struct Recover {
    pub(super) fallback: WeakFallback,
    pub(super) known: KnownEpoch,
}

impl RecoveryStep for Recover {
    fn run(&self, recovery: Recovery) -> StoreFuture<()> {
        let Some(fallback) = self.fallback.upgrade() else { return StoreFuture::ok(()) };
        let known = self.known.clone();
        StoreFuture::boxed(async move {
            let (mut store, cx) = (RedisSessionStore { redis: recovery.redis, known: known.clone() }, Cx::new());
            let current = store.epoch(&cx).await?;
            // What is lost from here on is lost again.
            store.known = KnownEpoch::of(&current);
            let is_lost = known.is_other_than(Some(&current));
            fallback.lost_at(epoch_begun(&current));
            let data = if is_lost { Data::Lost } else { Data::Unsure };
            fallback.replay(&store, &cx, data).await?;
            // Only now: a replay that was cut short is done again.
            known.set(current);
            Ok(())
        })
    }
}
