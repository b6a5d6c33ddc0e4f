//! Sessions in Redis: one string each, an index and a revocation mark per user.

mod endings;
mod epoch;
mod index;
mod recover;

use std::{
    num::NonZeroU32,
    sync::{Arc, Weak},
    time::Duration,
};

use self::{
    endings::END,
    epoch::KnownEpoch,
    index::{Creating, HEAL, REVOKE},
    recover::Recover,
};
use super::{
    Create, Endings, FallbackSessionStore, Record, Save, SecretHash, SessionConfig, SessionId, SessionStore, Stamp,
};
use crate::{
    Cx, Error, Result, Status, StoreFuture, UserId,
    clock::Timestamp,
    conn::{Command, Redis, Reply, ScriptCall, Stage, guarded_script},
};

guarded_script!(static SAVE = "session_save", "redis/save.lua");
guarded_script!(static TOUCH = "session_touch", "redis/touch.lua");

/// Keeps sessions in Redis.
///
/// | verb | commands |
/// |---|---|
/// | load | `GET` |
/// | save, touch | one script that never decodes JSON |
/// | create | `SET NX`; with a user also the index, between two looks at the user's revocations, in one pipeline |
/// | delete, logout | one script, and `ZREM` where there is a user |
///
/// Keys: `tk:session:{sid}`, `tk:user:sessions:{user}` (a sorted set of sids by absolute deadline, trimmed by each
/// login), `tk:user:revoked:{user}`. No command names keys of two slots. Sessions that end are told to all instances
/// over the channel `tk:session:ended`.
///
/// A value of another type in the place of a user's index is replaced by the next login; until then
/// [`list`](SessionStore::list) and [`revoke_all`](SessionStore::revoke_all) answer a corrupt error, because the
/// sessions of before cannot be found. One in the place of the revocation mark is replaced by the next revocation.
#[derive(Clone, Debug)]
pub struct RedisSessionStore {
    redis: Redis,
    known: KnownEpoch,
}

impl RedisSessionStore {
    /// Sessions behind this handle.
    pub fn new(redis: &Redis) -> Self {
        for script in [&SAVE, &TOUCH, &REVOKE, &END, &HEAL] {
            redis.register(script);
        }
        Self { redis: redis.clone(), known: KnownEpoch::default() }
    }

    /// Sessions behind this handle, with copies for the time that Redis is away.
    ///
    /// Whenever Redis is reached again it is told what happened meanwhile, before anything else uses it; if it lost
    /// its data, told by `tk:session:epoch`, the sessions seen here are written back. So they are where a Redis in use
    /// was emptied, as soon as one of them is missed. Of what ends elsewhere the copies hear at once, except outside
    /// of a Tokio runtime.
    pub fn with_fallback(redis: &Redis, config: &SessionConfig) -> FallbackSessionStore {
        let store = Self::new(redis);
        let known = store.known.clone();
        let fallback = FallbackSessionStore::new(store.clone(), config);
        store.keep_told(fallback.downgrade());
        let step = Arc::new(Recover { fallback: fallback.downgrade(), known });
        let weak: Weak<Recover> = Arc::downgrade(&step);
        redis.on_recovery(Stage::Sessions, weak);
        fallback.keep_alive(step);
        fallback
    }

    fn key(&self, id: SessionId) -> String {
        self.redis.keys().session(&id.to_string())
    }

    fn insert(&self, record: &Record, now: Timestamp) -> Command {
        let command = Command::write("SET").arg(self.key(record.id())).arg(record.encode()).arg("NX");
        command.arg("PX").arg(millis(record.time_to_live(now)))
    }

    fn save_plain(&self, cx: &Cx, Saving { record, over }: Saving<'_>) -> StoreFuture<Save> {
        let id = record.id();
        let call = ScriptCall::new()
            .key(self.key(id))
            .arg(format!("{:010}", over.generation))
            .arg(format!("{:010}", over.version))
            .arg(record.encode())
            .int(millis(record.time_to_live(self.now(cx))));
        self.redis.eval(cx, &SAVE, call, move |reply| {
            let mut answer = reply.array()?.into_iter();
            let mut next = || answer.next().ok_or_else(|| Error::corrupt("a script of ours answered too little"));
            Ok(match next()?.int()? {
                0 => Save::Gone,
                1 => Save::Saved,
                _ => decode(id, next())?.map_or(Save::Gone, |stored| Save::Conflict(Box::new(stored))),
            })
        })
    }
}

/// What a save is about.
struct Saving<'a> {
    record: &'a Record,
    over: Stamp,
}

impl SessionStore for RedisSessionStore {
    fn now(&self, cx: &Cx) -> Timestamp {
        self.now_of(cx)
    }

    fn load(&self, cx: &Cx, id: SessionId) -> StoreFuture<Option<Record>> {
        let now = self.now(cx);
        self.redis.call(cx, Command::read("GET").arg(self.key(id)), move |reply| {
            Ok(decode(id, Ok(reply))?.filter(|record| record.is_live(now)))
        })
    }

    fn create(&self, cx: &Cx, record: &Record, cap: Option<NonZeroU32>) -> StoreFuture<Create> {
        if let Some(user) = record.user() {
            return self.create_for(cx, record, user.clone(), Creating::New(cap));
        }
        self.redis.call(cx, self.insert(record, self.now(cx)), |reply| {
            Ok(if reply.is_nil() { Create::Exists } else { Create::Created })
        })
    }

    fn save(&self, cx: &Cx, record: &Record, over: Stamp, cap: Option<NonZeroU32>) -> StoreFuture<Save> {
        let save = Saving { record, over };
        match record.user() {
            Some(user) if record.logs_in_over(over) => self.save_login(cx, save, user.clone(), cap),
            _ => self.save_plain(cx, save),
        }
    }

    fn touch(&self, cx: &Cx, id: SessionId, generation: u32) -> StoreFuture<bool> {
        let call = ScriptCall::new().key(self.key(id)).arg(format!("{generation:010}"));
        self.redis.eval(cx, &TOUCH, call, |reply| Ok(reply.int()? == 1))
    }

    fn delete(&self, cx: &Cx, id: SessionId, user: Option<&UserId>) -> StoreFuture<bool> {
        self.end(cx, id, user)
    }

    fn logout(
        &self,
        cx: &Cx,
        id: SessionId,
        secret: &SecretHash,
        mark: Option<Duration>,
    ) -> Option<StoreFuture<Option<Record>>> {
        Some(self.end_by_secret(cx, id, secret, mark))
    }

    fn tell_endings(&self, to: Endings) -> bool {
        self.follow_endings(to)
    }

    fn is_away(&self) -> bool {
        self.redis.status() == Status::Down
    }

    fn has_lost_data(&self, cx: &Cx) -> StoreFuture<bool> {
        self.look_at_epoch(cx)
    }

    fn list(&self, cx: &Cx, user: &UserId) -> StoreFuture<Vec<Record>> {
        let (store, cx, user) = (self.clone(), cx.clone(), user.clone());
        StoreFuture::submit(async move {
            let now = store.now(&cx);
            let ids = store.ids_of(&cx, &user).await?;
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let gets = ids.iter().map(|id| Command::read("GET").arg(store.key(*id))).collect();
            let values = store.redis.pipeline(&cx, gets, Ok).await?;
            let mut records = Vec::new();
            for (id, value) in ids.into_iter().zip(values) {
                match decode(id, value) {
                    Ok(record) => {
                        records.extend(record.filter(|record| record.user() == Some(&user) && record.is_live(now)));
                    }
                    Err(error) if error.is_corrupt() => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(records)
        })
    }

    fn revoke(&self, cx: &Cx, user: &UserId, id: SessionId) -> StoreFuture<bool> {
        let load = self.load(cx, id);
        let (store, cx, user) = (self.clone(), cx.clone(), user.clone());
        StoreFuture::submit(async move {
            match load.await? {
                Some(record) if record.user() == Some(&user) => store.delete(&cx, id, Some(&user)).await,
                _ => Ok(false),
            }
        })
    }

    fn revoke_all(
        &self,
        cx: &Cx,
        user: &UserId,
        except: Option<SessionId>,
        lasting: Duration,
    ) -> StoreFuture<Vec<SessionId>> {
        let marked = self.mark(cx, user, None, except, lasting);
        let (store, cx, user) = (self.clone(), cx.clone(), user.clone());
        StoreFuture::submit(async move {
            // The mark stands before the index is read: a login that is not in it yet will see the mark.
            marked.await?;
            let mut ids = store.ids_of(&cx, &user).await?;
            ids.retain(|id| Some(*id) != except);
            store.end_all(&cx, &user, &ids).await
        })
    }

    fn bury(&self, cx: &Cx, id: SessionId, user: Option<&UserId>, lasting: Duration) -> StoreFuture<()> {
        let lasting = millis(lasting).max(1);
        let mut commands = vec![Command::write("SET").arg(self.key(id)).arg(ENDED).arg("PX").arg(lasting)];
        let index = user.map(|user| Command::write("ZREM").arg(self.sessions_of(user)).arg(id.to_string()));
        commands.extend(index);
        commands.push(self.told(&[id]));
        self.redis.pipeline(cx, commands, |replies| {
            replies.into_iter().try_for_each(|reply| match reply {
                // It has ended, whatever stands in the place of the index.
                Err(error) if error.is_corrupt() => Ok(()),
                reply => reply.map(drop),
            })
        })
    }

    fn restore(&self, cx: &Cx, record: &Record, cap: Option<NonZeroU32>) -> StoreFuture<Create> {
        match record.user() {
            Some(user) => self.create_for(cx, record, user.clone(), Creating::Again(cap)),
            None => self.create(cx, record, None),
        }
    }

    fn revoke_before(
        &self,
        cx: &Cx,
        user: &UserId,
        at: Timestamp,
        except: Option<SessionId>,
        lasting: Duration,
    ) -> StoreFuture<()> {
        let marked = self.mark(cx, user, Some(at), except, lasting);
        StoreFuture::submit(async move { marked.await.map(drop) })
    }
}

/// What stands in the place of a session that was ended, where somebody might write it back.
const ENDED: &str = "{\"towerkeep\":\"ended\"}";

fn decode(id: SessionId, reply: Result<Reply>) -> Result<Option<Record>> {
    let value = reply?.bytes()?.filter(|value| value != ENDED.as_bytes());
    value.map(|value| Record::decode(id, &value)).transpose()
}

fn next(replies: &mut impl Iterator<Item = Result<Reply>>) -> Result<Reply> {
    replies.next().unwrap_or_else(|| Err(Error::corrupt("redis answered too little")))
}

/// Whole milliseconds, rounded up.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(i64::MAX / 1_000)
}
