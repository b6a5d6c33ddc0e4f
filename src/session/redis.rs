//! Sessions in Redis: one string each, an index and a revocation mark per user.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use super::{
    Create, FallbackSessionStore, Record, Save, SessionConfig, SessionId, SessionStore, Stamp, fallback::WeakFallback,
};
use crate::{
    Cx, Error, Result, StoreFuture, UserId,
    clock::Timestamp,
    conn::{Command, Recovery, RecoveryStep, Redis, Reply, ScriptCall, Stage, guarded_script},
};

guarded_script!(static SAVE = "session_save", "save.lua");
guarded_script!(static TOUCH = "session_touch", "touch.lua");
guarded_script!(static REVOKE = "session_revoke", "revoke.lua");

/// Keeps sessions in Redis.
///
/// | verb | commands |
/// |---|---|
/// | load | `GET` |
/// | save, touch | one script that never decodes JSON |
/// | create | `SET NX`; with a user also the index, between two looks at the user's revocations, in one pipeline |
/// | delete | `DEL`, then `ZREM` |
///
/// Keys: `tk:session:{sid}`, `tk:user:sessions:{user}` (a sorted set of sids by absolute deadline, trimmed by each
/// login), `tk:user:revoked:{user}`. No command names keys of two slots.
#[derive(Clone, Debug)]
pub struct RedisSessionStore {
    redis: Redis,
}

impl RedisSessionStore {
    /// Sessions behind this handle.
    pub fn new(redis: &Redis) -> Self {
        for script in [&SAVE, &TOUCH, &REVOKE] {
            redis.register(script);
        }
        Self { redis: redis.clone() }
    }

    /// Sessions behind this handle, with copies for the time that Redis is away.
    ///
    /// Whenever Redis is reached again it is told what happened meanwhile, before anything else uses it; if it lost
    /// its data, told by `tk:session:epoch`, the sessions seen here are written back.
    pub fn with_fallback(redis: &Redis, config: &SessionConfig) -> FallbackSessionStore {
        let fallback = FallbackSessionStore::new(Self::new(redis), config);
        let step = Arc::new(Recover { fallback: fallback.downgrade(), epoch: Arc::default() });
        let weak: Weak<Recover> = Arc::downgrade(&step);
        redis.on_recovery(Stage::Sessions, weak);
        fallback.keep_alive(step);
        fallback
    }

    fn key(&self, id: SessionId) -> String {
        self.redis.keys().session(&id.to_string())
    }

    fn sessions_of(&self, user: &UserId) -> String {
        self.redis.keys().user_sessions(user)
    }

    fn revoked(&self, user: &UserId) -> Command {
        Command::read("GET").arg(self.redis.keys().user_revoked(user))
    }

    /// Puts a session into its user's index, and drops from it what has ended.
    fn enlist(&self, record: &Record, user: &UserId, now: Timestamp) -> [Command; 4] {
        let index = self.sessions_of(user);
        let lasting = millis(record.ends().since(now));
        let expire = |when| Command::write("PEXPIRE").arg(&index).arg(lasting).arg(when);
        [
            Command::write("ZREMRANGEBYSCORE").arg(&index).arg("-inf").arg(now.as_micros()),
            Command::write("ZADD").arg(&index).arg(record.ends().as_micros()).arg(record.id().to_string()),
            // Redis before 7 knows neither word; the index is then trimmed but never expires as a whole.
            expire("NX"),
            expire("GT"),
        ]
    }

    fn insert(&self, record: &Record, now: Timestamp) -> Command {
        let command = Command::write("SET").arg(self.key(record.id())).arg(record.encode()).arg("NX");
        command.arg("PX").arg(millis(record.time_to_live(now)))
    }

    fn create_for(&self, cx: &Cx, record: &Record, user: UserId, how: Creating) -> StoreFuture<Create> {
        let (now, id) = (self.now(cx), record.id());
        let login = record.logged_in;
        let mut commands = vec![self.revoked(&user)];
        commands.extend(self.enlist(record, &user, now));
        commands.extend([self.insert(record, now), self.revoked(&user)]);
        let answers = self.redis.pipeline(cx, commands, move |replies| {
            let mut replies = replies.into_iter();
            let before = next(&mut replies)?.bytes()?;
            next(&mut replies.by_ref().skip(1))?; // ZADD: without an index entry nothing could revoke it
            let is_new = !next(&mut replies.by_ref().skip(2))?.is_nil();
            let after = next(&mut replies)?.bytes()?;
            Ok((is_new, before == after && !how.is_revoked(id, login, after)))
        });
        let (store, cx) = (self.clone(), cx.clone());
        StoreFuture::submit(async move {
            let (is_new, is_unrevoked) = answers.await?;
            if !is_new {
                return Ok(Create::Exists);
            }
            if !is_unrevoked {
                store.delete(&cx, id, Some(&user)).await?;
                return Ok(Create::Revoked);
            }
            if let Creating::New(cap) = how {
                store.evict(&cx, &user, id, cap).await?;
            }
            Ok(Create::Created)
        })
    }

    /// Logs in by a save: in the index before it is written, revoked if a revocation came in between.
    ///
    /// All three trips are on their way before the first is answered.
    fn save_login(&self, cx: &Cx, save: Saving<'_>, user: UserId, cap: Option<NonZeroU32>) -> StoreFuture<Save> {
        let id = save.record.id();
        let mut commands = vec![self.revoked(&user)];
        commands.extend(self.enlist(save.record, &user, self.now(cx)));
        let before = self.redis.pipeline(cx, commands, |replies| {
            let mut replies = replies.into_iter();
            let mark = next(&mut replies)?.bytes()?;
            next(&mut replies.skip(1))?; // ZADD
            Ok(mark)
        });
        let saved = self.save_plain(cx, save);
        let after = self.redis.call(cx, self.revoked(&user), Reply::bytes);
        let (store, cx) = (self.clone(), cx.clone());
        StoreFuture::submit(async move {
            let (before, saved, after) = (before.await?, saved.await?, after.await?);
            if matches!(saved, Save::Saved) && before != after {
                store.delete(&cx, id, Some(&user)).await?;
                return Ok(Save::Gone);
            }
            if matches!(saved, Save::Saved) {
                store.evict(&cx, &user, id, cap).await?;
            }
            Ok(saved)
        })
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

    fn mark(
        &self,
        cx: &Cx,
        user: &UserId,
        at: Option<Timestamp>,
        except: Option<SessionId>,
        lasting: Duration,
    ) -> StoreFuture<i64> {
        let call = ScriptCall::new()
            .key(self.redis.keys().user_revoked(user))
            .int(millis(lasting).max(1))
            .arg(except.map_or_else(String::new, |id| id.to_string()))
            .arg(at.map_or_else(String::new, |at| at.as_micros().to_string()));
        self.redis.eval(cx, &REVOKE, call, Reply::int)
    }

    /// Ends the user's oldest sessions beyond `cap`. Best effort: what is told is about the login, which stands.
    async fn evict(&self, cx: &Cx, user: &UserId, newest: SessionId, cap: Option<NonZeroU32>) -> Result<()> {
        let Some(cap) = cap else { return Ok(()) };
        let mut ids = self.ids_of(cx, user).await?;
        ids.retain(|id| *id != newest);
        let room = cap.get() as usize - 1;
        if ids.len() <= room {
            return Ok(());
        }
        let exists = ids.iter().map(|id| Command::read("EXISTS").arg(self.key(*id))).collect();
        let exists = self.redis.pipeline(cx, exists, |replies| {
            replies.into_iter().map(|reply| Ok(reply?.int()? == 1)).collect::<Result<Vec<bool>>>()
        });
        // Entries without a session stay: it may be a login that is just about to write its own.
        let live = ids.into_iter().zip(exists.await?).filter_map(|(id, exists)| exists.then_some(id));
        let ended: Vec<SessionId> = live.skip(room).collect();
        self.delete_of(cx, user, &ended).await.map(drop)
    }

    /// What the index holds, the session that ends last first.
    fn ids_of(&self, cx: &Cx, user: &UserId) -> StoreFuture<Vec<SessionId>> {
        let command = Command::read("ZREVRANGE").arg(self.sessions_of(user)).arg(0).arg(-1);
        self.redis.call(cx, command, |reply| {
            let mut ids = Vec::new();
            for member in reply.array()? {
                // A member of somebody else's making is not ours to judge.
                ids.extend(member.text()?.and_then(|text| text.parse::<SessionId>().ok()));
            }
            Ok(ids)
        })
    }

    /// Deletes sessions, then their index entries; which of them were there.
    fn delete_of(&self, cx: &Cx, user: &UserId, ids: &[SessionId]) -> StoreFuture<Vec<SessionId>> {
        if ids.is_empty() {
            return StoreFuture::ok(Vec::new());
        }
        let mut commands: Vec<Command> = ids.iter().map(|id| Command::write("DEL").arg(self.key(*id))).collect();
        let members: Vec<String> = ids.iter().map(ToString::to_string).collect();
        commands.push(Command::write("ZREM").arg(self.sessions_of(user)).arg(members));
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
}

/// Why a session is created.
#[derive(Clone, Copy)]
enum Creating {
    /// Somebody logs in.
    New(Option<NonZeroU32>),
    /// It was there before.
    Again,
}

impl Creating {
    /// Whether a session of before is one that was revoked since.
    fn is_revoked(self, id: SessionId, login: Option<Timestamp>, mark: Option<Vec<u8>>) -> bool {
        let Self::Again = self else { return false };
        let text = mark.and_then(|mark| String::from_utf8(mark).ok()).unwrap_or_default();
        let (at, except) = text.split_once(' ').unwrap_or((&text, ""));
        let at = at.parse().map(Timestamp::from_micros).unwrap_or_default();
        login.is_some_and(|login| login <= at) && except != id.to_string()
    }
}

/// What a save is about.
struct Saving<'a> {
    record: &'a Record,
    over: Stamp,
}

impl SessionStore for RedisSessionStore {
    fn now(&self, cx: &Cx) -> Timestamp {
        cx.now().unwrap_or_else(|| self.redis.now())
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
        let Some(user) = user else {
            return self.redis.call(cx, Command::write("DEL").arg(self.key(id)), |reply| Ok(reply.int()? == 1));
        };
        let deleted = self.delete_of(cx, user, &[id]);
        StoreFuture::submit(async move { Ok(!deleted.await?.is_empty()) })
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
            store.delete_of(&cx, &user, &ids).await
        })
    }

    fn bury(&self, cx: &Cx, id: SessionId, user: Option<&UserId>, lasting: Duration) -> StoreFuture<()> {
        let lasting = millis(lasting).max(1);
        let mut commands = vec![Command::write("SET").arg(self.key(id)).arg(ENDED).arg("PX").arg(lasting)];
        let index = user.map(|user| Command::write("ZREM").arg(self.sessions_of(user)).arg(id.to_string()));
        commands.extend(index);
        self.redis.pipeline(cx, commands, |replies| replies.into_iter().try_for_each(|reply| reply.map(drop)))
    }

    fn restore(&self, cx: &Cx, record: &Record) -> StoreFuture<Create> {
        match record.user() {
            Some(user) => self.create_for(cx, record, user.clone(), Creating::Again),
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

/// Tells Redis what it has missed, each time it is reached.
struct Recover {
    fallback: WeakFallback,
    /// The epoch of the data that this instance has worked with.
    epoch: Arc<Mutex<Option<String>>>,
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
            fallback.replay(&store, &cx, is_lost).await?;
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
        let fresh = format!("{}:{}", SessionId::random(), self.now(cx).as_micros());
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
