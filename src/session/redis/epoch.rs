//! Whose data it is: a random value that is gone with it.

use std::sync::{Arc, Mutex, PoisonError};

use super::{RedisSessionStore, next};
use crate::{
    Cx, Error, StoreFuture,
    clock::Timestamp,
    conn::Command,
    session::{SessionId, SessionStore},
};

/// The epoch of the data that this instance has worked with; clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownEpoch(Arc<Mutex<Option<String>>>);

impl KnownEpoch {
    pub(super) fn of(current: &str) -> Self {
        Self(Arc::new(Mutex::new(Some(current.to_owned()))))
    }

    /// Whether an earlier epoch than `current` is known.
    pub(super) fn is_other_than(&self, current: Option<&str>) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_deref().is_some_and(|known| Some(known) != current)
    }

    pub(super) fn set(&self, current: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(current);
    }
}

impl RedisSessionStore {
    /// The epoch of the data in Redis: a random value, and when it was made; made now if there is none.
    pub(super) fn epoch(&self, cx: &Cx) -> StoreFuture<String> {
        let key = self.redis.keys().session_epoch();
        let fresh = format!("{}:{}", SessionId::random(), self.now(cx).as_micros());
        let commands = vec![Command::write("SET").arg(&key).arg(fresh).arg("NX"), Command::read("GET").arg(&key)];
        self.redis.pipeline(cx, commands, |replies| {
            let mut replies = replies.into_iter();
            next(&mut replies)?;
            next(&mut replies)?.text()?.ok_or_else(|| Error::unavailable("redis lost the session epoch just now"))
        })
    }

    /// Looks whether the epoch is still the one known; if not, has everything recovered that can be.
    pub(super) fn look_at_epoch(&self, cx: &Cx) -> StoreFuture<bool> {
        let (known, redis) = (self.known.clone(), self.redis.clone());
        self.redis.call(cx, Command::read("GET").arg(self.redis.keys().session_epoch()), move |reply| {
            let is_other = known.is_other_than(reply.text()?.as_deref());
            if is_other {
                redis.doubt();
            }
            Ok(is_other)
        })
    }
}

/// When the data of an epoch began: what was there before is lost. A foreign value began never.
pub(super) fn epoch_begun(epoch: &str) -> Timestamp {
    let begun = epoch.split_once(':').and_then(|(_, micros)| micros.parse().ok());
    begun.map(Timestamp::from_micros).unwrap_or_default()
}
