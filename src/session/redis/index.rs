//! A user's sessions: the index that lists them, the mark that all were revoked, and logins between the two.

use std::{num::NonZeroU32, time::Duration};

use super::{RedisSessionStore, Saving, millis, next};
use crate::{
    Cx, Result, StoreFuture, UserId,
    clock::Timestamp,
    conn::{Command, Reply, ScriptCall, guarded_script},
    session::{Create, Record, Save, SessionId, SessionStore, codec::LOGIN},
};

guarded_script! {
    /// Marks that all sessions of a user are revoked.
    pub(super) static REVOKE = "session_revoke", "revoke.lua"
}
guarded_script! {
    /// Makes room for an index.
    pub(super) static HEAL = "session_heal", "heal.lua"
}

/// A user's revocations as they stood at a moment; what matters is whether two looks see the same.
type Mark = Option<Vec<u8>>;

/// Why a session is created.
#[derive(Clone, Copy)]
pub(super) enum Creating {
    /// Somebody logs in.
    New(Option<NonZeroU32>),
    /// It was there before.
    Again(Option<NonZeroU32>),
}

impl Creating {
    /// Whether a session of before is one that was revoked since.
    fn is_revoked(self, id: SessionId, login: Option<Timestamp>, mark: &Mark) -> bool {
        matches!(self, Self::Again(_)) && is_of_before(id, login, mark)
    }
}

/// Whether a login is one of before the user's sessions were revoked.
fn is_of_before(id: SessionId, login: Option<Timestamp>, mark: &Mark) -> bool {
    let text = mark.as_ref().map(|mark| String::from_utf8_lossy(mark)).unwrap_or_default();
    let (at, except) = text.split_once(' ').unwrap_or((&text, ""));
    let at = at.parse().map(Timestamp::from_micros).unwrap_or_default();
    login.is_some_and(|login| login <= at) && except != id.to_string()
}

/// What putting a session into its user's index came to.
struct Listed {
    mark: Mark,
    /// No, where another program's value stands in the index's place.
    is_listed: bool,
}

impl RedisSessionStore {
    pub(super) fn sessions_of(&self, user: &UserId) -> String {
        self.redis.keys().user_sessions(user)
    }

    fn revoked(&self, user: &UserId) -> Command {
        Command::read("GET").arg(self.redis.keys().user_revoked(user))
    }

    /// Looks at the user's revocations, then puts the session into the index and drops from it what has ended.
    fn enlist(&self, record: &Record, user: &UserId, now: Timestamp) -> Vec<Command> {
        let index = self.sessions_of(user);
        let lasting = millis(record.ends().since(now));
        let expire = |when| Command::write("PEXPIRE").arg(&index).arg(lasting).arg(when);
        vec![
            self.revoked(user),
            Command::write("ZREMRANGEBYSCORE").arg(&index).arg("-inf").arg(now.as_micros()),
            Command::write("ZADD").arg(&index).arg(record.ends().as_micros()).arg(record.id().to_string()),
            // Redis before 7 knows neither word; the index is then trimmed but never expires as a whole.
            expire("NX"),
            expire("GT"),
        ]
    }

    /// Puts a session into an index that another program's value stood in place of; the mark after that.
    async fn relist(&self, cx: &Cx, record: &Record, user: &UserId) -> Result<Mark> {
        tracing::warn!("a foreign value stood where the index of a user's sessions belongs; it is replaced");
        self.redis.eval(cx, &HEAL, ScriptCall::new().key(self.sessions_of(user)), Reply::int).await?;
        let mut commands = self.enlist(record, user, self.now_of(cx));
        commands.push(self.revoked(user));
        let listed = self.redis.pipeline(cx, commands, |replies| {
            let mut replies = replies.into_iter();
            next(&mut replies.by_ref().skip(2))?; // ZADD
            mark_of(next(&mut replies.skip(2)))
        });
        listed.await
    }

    pub(super) fn create_for(&self, cx: &Cx, record: &Record, user: UserId, how: Creating) -> StoreFuture<Create> {
        let (now, id) = (self.now_of(cx), record.id());
        let mut commands = self.enlist(record, &user, now);
        commands.extend([self.insert(record, now), self.revoked(&user)]);
        let answers = self.redis.pipeline(cx, commands, |replies| {
            let mut replies = replies.into_iter();
            let before = listed(&mut replies)?;
            let is_new = !next(&mut replies)?.is_nil();
            Ok((before, is_new, mark_of(next(&mut replies))?))
        });
        let (store, cx, record) = (self.clone(), cx.clone(), record.clone());
        StoreFuture::submit(async move {
            let (before, is_new, mut after) = answers.await?;
            if !is_new {
                return store.end_if_revoked(&cx, &record, &user, how, &after).await;
            }
            if !before.is_listed {
                after = store.relist(&cx, &record, &user).await?;
            }
            if before.mark != after || how.is_revoked(id, record.logged_in, &after) {
                store.end(&cx, id, Some(&user)).await?;
                return Ok(Create::Revoked);
            }
            let (Creating::New(cap) | Creating::Again(cap)) = how;
            store.evict(&cx, &user, cap).await?;
            Ok(Create::Created)
        })
    }

    /// What is to be written back is there: by a creation that came late, perhaps after a revocation.
    async fn end_if_revoked(
        &self,
        cx: &Cx,
        record: &Record,
        user: &UserId,
        how: Creating,
        mark: &Mark,
    ) -> Result<Create> {
        let id = record.id();
        if !how.is_revoked(id, record.logged_in, mark) {
            return Ok(Create::Exists);
        }
        let stored = SessionStore::load(self, cx, id).await?;
        if stored.is_some_and(|stored| how.is_revoked(id, stored.logged_in, mark)) {
            self.end(cx, id, Some(user)).await?;
        }
        Ok(Create::Revoked)
    }

    /// Logs in by a save: in the index before it is written, revoked if a revocation came in between.
    ///
    /// The index and the save are on their way together; the second look at the mark follows the save.
    pub(super) fn save_login(
        &self,
        cx: &Cx,
        save: Saving<'_>,
        user: UserId,
        cap: Option<NonZeroU32>,
    ) -> StoreFuture<Save> {
        let record = save.record.clone();
        let commands = self.enlist(&record, &user, self.now_of(cx));
        let before = self.redis.pipeline(cx, commands, |replies| listed(&mut replies.into_iter()));
        let saved = self.save_plain(cx, save);
        let (store, cx) = (self.clone(), cx.clone());
        StoreFuture::submit(async move {
            let (before, saved) = (before.await?, saved.await?);
            if !matches!(saved, Save::Saved) {
                return Ok(saved);
            }
            // Asked only now: a script that the server had to be sent once more ran later than it was called.
            let after = if before.is_listed {
                let mark = vec![store.revoked(&user)];
                store.redis.pipeline(&cx, mark, |replies| mark_of(next(&mut replies.into_iter()))).await?
            } else {
                store.relist(&cx, &record, &user).await?
            };
            // A login during an outage is saved long after it was made.
            if before.mark != after || is_of_before(record.id(), record.logged_in, &after) {
                store.end(&cx, record.id(), Some(&user)).await?;
                return Ok(Save::Gone);
            }
            store.evict(&cx, &user, cap).await?;
            Ok(saved)
        })
    }

    pub(super) fn mark(
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

    /// Ends the user's oldest logins beyond `cap`. Whoever looks ends the same ones, so that of logins at once none ends the
    /// one that stays. Best effort: what is told is about the login, which stands.
    async fn evict(&self, cx: &Cx, user: &UserId, cap: Option<NonZeroU32>) -> Result<()> {
        let Some(cap) = cap.map(|cap| cap.get() as usize) else { return Ok(()) };
        let ids = self.ids_of(cx, user).await?;
        if ids.len() <= cap {
            return Ok(());
        }
        let logins = ids.iter().map(|id| self.login_at(*id)).collect();
        let logins = self
            .redis
            .pipeline(cx, logins, |replies| replies.into_iter().map(login_of).collect::<Result<Vec<Option<u64>>>>());
        // Entries without a session stay: it may be a login that is just about to write its own.
        let mut live: Vec<_> = logins.await?.into_iter().zip(ids).filter(|(login, _)| login.is_some()).collect();
        live.sort_unstable_by(|a, b| b.cmp(a));
        let ended: Vec<SessionId> = live.into_iter().skip(cap).map(|(_, id)| id).collect();
        self.end_all(cx, user, &ended).await.map(drop)
    }

    fn login_at(&self, id: SessionId) -> Command {
        Command::read("GETRANGE").arg(self.key(id)).arg(*LOGIN.start()).arg(*LOGIN.end())
    }

    /// What the index holds, the session that ends last first.
    pub(super) fn ids_of(&self, cx: &Cx, user: &UserId) -> StoreFuture<Vec<SessionId>> {
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
}

/// Reads the replies to what [`RedisSessionStore::enlist`] sends.
fn listed(replies: &mut impl Iterator<Item = Result<Reply>>) -> Result<Listed> {
    let mark = mark_of(next(replies))?;
    // Without an index entry nothing could revoke the session.
    let is_listed = match next(&mut replies.by_ref().skip(1)) {
        Ok(_) => true,
        Err(error) if error.is_corrupt() => false,
        Err(error) => return Err(error),
    };
    // A word that an old Redis does not know is no reason to fail.
    let _ = replies.by_ref().take(2).count();
    Ok(Listed { mark, is_listed })
}

/// When a session's user logged in; nothing where there is no session, or none that this version knows the places of.
fn login_of(reply: Result<Reply>) -> Result<Option<u64>> {
    match reply.and_then(Reply::text) {
        Err(error) if error.is_corrupt() => Ok(None),
        text => Ok(text?.and_then(|text| text.parse().ok())),
    }
}

/// A foreign value is a mark like any other: what matters is that it does not change during a login.
fn mark_of(reply: Result<Reply>) -> Result<Mark> {
    match reply.and_then(Reply::bytes) {
        Err(error) if error.is_corrupt() => Ok(Some(Vec::new())),
        mark => mark,
    }
}
