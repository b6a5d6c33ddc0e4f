//! Ending sessions, told to all instances over one channel.

use std::time::Duration;

use super::{RedisSessionStore, SessionStore, decode, millis, next};
use crate::{
    Cx, StoreFuture, UserId,
    clock::Timestamp,
    conn::{Command, Notice, Notices, Reply, ScriptCall, guarded_script},
    session::{Endings, Record, SecretHash, SessionId, fallback::WeakFallback},
};

guarded_script! {
    /// Ends a session.
    pub(super) static END = "session_end", "end.lua"
}

/// What a logout by its secret came to.
enum Asked {
    Nothing,
    Ended(Record),
    /// A newer version of the library wrote it: it is read here, and the script leaves it alone.
    Newer(Record),
}

impl RedisSessionStore {
    pub(super) fn now_of(&self, cx: &Cx) -> Timestamp {
        cx.now().unwrap_or_else(|| self.redis.now())
    }

    fn end_call(&self, id: SessionId, secret: String, mark: Option<Duration>) -> ScriptCall {
        let (channel, mark) = (self.redis.keys().session_endings(), mark.map_or(0, |mark| millis(mark).max(1)));
        ScriptCall::new().key(self.key(id)).arg(secret).arg(channel).arg(id.to_string()).int(mark)
    }

    fn delist(&self, user: &UserId, ids: &[SessionId]) -> Command {
        let members: Vec<String> = ids.iter().map(ToString::to_string).collect();
        Command::write("ZREM").arg(self.sessions_of(user)).arg(members)
    }

    /// Ends a session, then removes it from the index; both are on their way before the first is answered.
    pub(super) fn end(&self, cx: &Cx, id: SessionId, user: Option<&UserId>) -> StoreFuture<bool> {
        let ended = self.redis.eval(cx, &END, self.end_call(id, String::new(), None), |reply| {
            Ok(reply.array()?.into_iter().next().map(Reply::int).transpose()? == Some(1))
        });
        let delisted = user.map(|user| self.redis.call(cx, self.delist(user, &[id]), |_| Ok(())));
        StoreFuture::submit(async move {
            let was = ended.await;
            if let Some(delisted) = delisted {
                // An entry without a session is harmless, and an index of somebody else's making is not ours to judge.
                let _ = delisted.await;
            }
            was
        })
    }

    /// Ends sessions, then their index entries; which of them were there.
    pub(super) fn end_all(&self, cx: &Cx, user: &UserId, ids: &[SessionId]) -> StoreFuture<Vec<SessionId>> {
        if ids.is_empty() {
            return StoreFuture::ok(Vec::new());
        }
        let mut commands: Vec<Command> = ids.iter().map(|id| Command::write("DEL").arg(self.key(*id))).collect();
        commands.extend([self.delist(user, ids), self.told(ids)]);
        let ids = ids.to_vec();
        self.redis.pipeline(cx, commands, move |replies| {
            let mut ended = Vec::new();
            for (id, reply) in ids.into_iter().zip(replies) {
                if reply?.int()? == 1 {
                    ended.push(id);
                }
            }
            Ok(ended)
        })
    }

    /// Tells all instances that these sessions have ended.
    pub(super) fn told(&self, ids: &[SessionId]) -> Command {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        Command::write("PUBLISH").arg(self.redis.keys().session_endings()).arg(ids.join(" "))
    }

    /// Ends the session that `secret` opens, without reading it first: one script, and the entry of its user's index.
    pub(super) fn end_by_secret(
        &self,
        cx: &Cx,
        id: SessionId,
        secret: &SecretHash,
        mark: Option<Duration>,
    ) -> StoreFuture<Option<Record>> {
        let asked = self.redis.eval(cx, &END, self.end_call(id, secret.to_string(), mark), move |reply| {
            let mut replies = reply.array()?.into_iter().map(Ok);
            let outcome = next(&mut replies)?.int()?;
            let Some(record) = replies.next().map(|value| decode(id, value)).transpose()?.flatten() else {
                return Ok(Asked::Nothing);
            };
            Ok(if outcome == 1 { Asked::Ended(record) } else { Asked::Newer(record) })
        });
        let (store, cx, secret) = (self.clone(), cx.clone(), *secret);
        StoreFuture::submit(async move {
            let record = match asked.await? {
                Asked::Nothing => return Ok(None),
                Asked::Ended(record) => record,
                Asked::Newer(record) if !record.opens(&secret, store.now(&cx)) => return Ok(None),
                Asked::Newer(record) => {
                    match mark {
                        Some(mark) => store.bury(&cx, id, record.user(), mark).await?,
                        None => drop(store.end(&cx, id, record.user()).await?),
                    }
                    return Ok(Some(record));
                }
            };
            if let Some(user) = record.user() {
                // It has ended, whatever becomes of its entry.
                let _ = store.redis.call(&cx, store.delist(user, &[id]), |_| Ok(())).await;
            }
            Ok(Some(record))
        })
    }

    pub(super) fn follow_endings(&self, to: Endings) -> bool {
        self.spawn_listener(|notices| pass_on(notices, to))
    }

    /// Has the copies of a fallback hear what ends elsewhere.
    pub(super) fn keep_told(&self, copies: WeakFallback) {
        self.spawn_listener(|notices| tell_copies(notices, copies));
    }

    /// Listens to the channel, where there is a runtime to do it in; whether there is.
    fn spawn_listener<T>(&self, listen: impl FnOnce(Notices) -> T) -> bool
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return false };
        runtime.spawn(listen(self.redis.subscribe(self.redis.keys().session_endings())));
        true
    }
}

/// Passes on what the channel tells, until nobody listens or the handle is gone.
async fn pass_on(mut notices: Notices, to: Endings) {
    while let Some(notice) = notices.next().await {
        let goes_on = match &notice {
            Notice::Gap => to.gap(),
            Notice::Message(message) => ids(message).all(|id| to.tell(id)),
        };
        if !goes_on {
            return;
        }
    }
}

/// The same, for the copies of a fallback, until it is gone.
async fn tell_copies(mut notices: Notices, copies: WeakFallback) {
    while let Some(notice) = notices.next().await {
        let Some(copies) = copies.upgrade() else { return };
        match &notice {
            Notice::Gap => copies.look_again(&Cx::new()).await,
            Notice::Message(message) => ids(message).for_each(|id| copies.heard_of_ending(id)),
        }
    }
}

/// The sessions that a message names; what is no id is skipped.
fn ids(message: &[u8]) -> impl Iterator<Item = SessionId> {
    std::str::from_utf8(message).unwrap_or_default().split(' ').filter_map(|id| id.parse().ok())
}
