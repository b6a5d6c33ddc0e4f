//! Writing a session: compare, set, and replay on what somebody else stored first.

use std::{fmt, mem, sync::Arc, time::Duration};

use tokio::sync::SemaphorePermit;

use super::{
    Record, Save, SessionId, SessionSave,
    applied::Applied,
    delta::Delta,
    handle::{Base, Carrier, Session},
    id::{Token, random_bytes},
    record,
};
use crate::{Error, Result, StoreFuture, UserId, clock::Timestamp};

/// How often a write is tried while others keep writing the same session. Writers of one process take turns, so what
/// is left are those of other instances, of whom one wins each round.
const TRIES: u32 = 12;

/// What is to be written beside the changes of values.
enum Change {
    Nothing,
    Renew,
    Rotate,
    Login(UserId),
}

/// What writing over a stored session came to.
enum Written {
    As(SessionSave),
    /// It is no longer the session it was; a login goes on without it.
    Lost(SessionSave),
}

impl Session {
    /// Logs `user` in, now: the session gets a new secret, and the old one opens nothing any more.
    ///
    /// Values of the anonymous session stay (a cart). A session of another user is ended, and a new one begins
    /// without its values.
    ///
    /// # Errors
    /// Unavailable: nobody is logged in. Invalid, when the session is carried as a bearer token, because a response
    /// does not bring new ones: [`Sessions::issue`](super::Sessions::issue) is the login of such clients.
    pub async fn login(&self, user: impl fmt::Display) -> Result<()> {
        self.write(Change::Login(UserId::new(user))).await.map(drop)
    }

    /// Gives the session a new secret, now: after each change of what its user may do.
    ///
    /// # Errors
    /// As [`login`](Session::login).
    pub async fn rotate(&self) -> Result<SessionSave> {
        self.write(Change::Rotate).await
    }

    /// Saves the changes made so far, now. The layer does it at the end of each request; this is for handlers that
    /// want to know, and for work that goes on after the response.
    ///
    /// # Errors
    /// Unavailable or invalid: the changes are kept and saved by a later try.
    pub async fn save(&self) -> Result<SessionSave> {
        self.write(Change::Nothing).await
    }

    /// Ends the session, now, with all its values, and has the response remove the cookie.
    ///
    /// # Errors
    /// Unavailable: the cookie is removed, the session may live on until Redis is back or it expires.
    pub async fn logout(&self) -> Result<()> {
        let mut ended = None;
        self.read_once_by(async |token| match token.and_then(|token| self.ask_to_end(token)) {
            Some(asked) => ended = Some(self.ended(asked.await)),
            None => self.read().await,
        })
        .await;
        self.forget();
        let base = {
            let mut state = self.locked();
            (state.delta, state.renew) = (Delta::default(), false);
            if ended.is_some() { Base::Anonymous } else { mem::replace(&mut state.base, Base::Anonymous) }
        };
        match (ended, base) {
            (Some(ended), _) => ended,
            (None, Base::Live(record)) => self.end(&record).await,
            (None, Base::Unavailable) => self.end_unknown().await,
            (None, _) => Ok(()),
        }
    }

    /// Ends a session that could not be read: what knows it may still be told, and told by its secret.
    async fn end_unknown(&self) -> Result<()> {
        match self.token().and_then(|token| self.ask_to_end(token)) {
            Some(asked) => self.ended(asked.await),
            None => {
                self.locked().base = Base::Unavailable;
                Err(Error::unavailable("the session cannot be ended now"))
            }
        }
    }

    fn ask_to_end(&self, token: &Token) -> Option<StoreFuture<Option<Record>>> {
        self.sessions().store().logout(self.cx(), token.id, &token.hash(), None)
    }

    /// What the answer to a logout by secret means for this request.
    fn ended(&self, answer: Result<Option<Record>>) -> Result<()> {
        let (base, outcome) = match answer {
            Ok(was) => {
                was.into_iter().for_each(|record| self.tell_ended(record.id()));
                (Base::Anonymous, Ok(()))
            }
            Err(error) if error.is_unavailable() => (Base::Unavailable, Err(error)),
            Err(error) => {
                tracing::warn!(%error, "a stored session cannot be read; its holder is anonymous");
                (Base::Anonymous, Ok(()))
            }
        };
        self.locked().base = base;
        outcome
    }

    async fn end(&self, record: &Record) -> Result<()> {
        self.sessions().store().delete(self.cx(), record.id(), record.user()).await?;
        self.tell_ended(record.id());
        Ok(())
    }

    fn tell_ended(&self, id: SessionId) {
        SessionSave::Deleted.count();
        self.sessions().announce(id);
    }

    async fn write(&self, change: Change) -> Result<SessionSave> {
        self.read_once().await;
        let (base, mut delta) = {
            let mut state = self.locked();
            (state.base.clone(), mem::take(&mut state.delta))
        };
        // A try whose answer is lost may have been made: the next one then leaves out what it brought.
        delta.name();
        let delta = Arc::new(delta);
        // Cancelled from here on, the changes are lost with the request, unless the store has them already.
        let written = self.write_onto(base, &delta, change).await;
        let outcome = written.as_ref().copied().unwrap_or_else(failure);
        if outcome != SessionSave::Unchanged {
            outcome.count();
        }
        let mut state = self.locked();
        match written {
            Ok(_) => state.renew = false,
            Err(_) => {
                let kept = Arc::try_unwrap(delta).unwrap_or_else(|shared| (*shared).clone());
                let later = mem::replace(&mut state.delta, kept);
                state.delta.append(later);
            }
        }
        drop(state);
        written
    }

    async fn write_onto(&self, base: Base, delta: &Arc<Delta>, change: Change) -> Result<SessionSave> {
        match (base, change) {
            (Base::Live(_), Change::Login(_) | Change::Rotate) if self.carrier() != Carrier::Cookie => {
                Err(no_way_back())
            }
            (Base::Live(record), Change::Login(user)) => self.login_over(*record, delta, user).await,
            (Base::Live(record), change) => match self.write_over(*record, delta, change).await? {
                Written::As(outcome) | Written::Lost(outcome) => Ok(outcome),
            },
            (_, Change::Login(user)) => self.begin(delta, Some(user)).await,
            (Base::Superseded, _) => Ok(SessionSave::Superseded),
            (Base::Unavailable, _) => Err(Error::unavailable("the session cannot be read now")),
            (Base::Unread | Base::Anonymous, _) => self.begin(delta, None).await,
        }
    }

    async fn login_over(&self, record: Record, delta: &Arc<Delta>, user: UserId) -> Result<SessionSave> {
        let is_others = record.user().is_some_and(|other| *other != user);
        if is_others {
            self.end(&record).await?;
        } else if let Written::As(outcome) = self.write_over(record, delta, Change::Login(user.clone())).await? {
            return Ok(outcome);
        }
        self.begin(delta, Some(user)).await
    }

    /// Stores a new session; nothing where there is nothing to keep in one.
    async fn begin(&self, delta: &Arc<Delta>, user: Option<UserId>) -> Result<SessionSave> {
        let data = delta.apply(&super::Data::empty(), &Applied::default())?;
        if user.is_none() && data == super::Data::empty() {
            return Ok(SessionSave::Unchanged);
        }
        if self.carrier() == Carrier::Bearer {
            return Err(no_way_back());
        }
        let created = self.sessions().create(self.cx(), |now, config, token| {
            let begun = record::begin(token, config, now);
            let record = Record { data: data.clone(), idle: delta.idle.unwrap_or(begun.idle), ..begun };
            match &user {
                Some(user) => record.login(user.clone(), self.client(), now, config),
                None => record,
            }
        });
        let (record, token) = created.await?;
        self.bring(&token, record);
        Ok(SessionSave::Created)
    }

    /// Compares and sets until it fits, replaying the changes on what others stored.
    async fn write_over(&self, mut record: Record, delta: &Arc<Delta>, mut change: Change) -> Result<Written> {
        let (store, config, cx) = (self.sessions().store(), self.sessions().settings(), self.cx());
        let generation = record.stamp().generation;
        let mut turn = None;
        for tries in 0..TRIES {
            // Dropped while waiting here, the changes are lost with the request.
            match self.line_up(&mut turn, tries, record).await {
                Ok(newest) => record = newest,
                Err(lost) => return Ok(Written::Lost(lost)),
            }
            if record.read_only {
                return Ok(Written::Lost(SessionSave::ReadOnly));
            }
            let now = store.now(cx);
            if matches!(change, Change::Renew) && !record.wants_renewal(now, config.renew_every) {
                change = Change::Nothing;
            }
            let changed = record.changed(delta, now)?;
            if changed.is_none() && matches!(change, Change::Nothing) {
                // Somebody else may have stored just this, or an earlier try of ours; from now on it is what this
                // request sees, too.
                self.locked().base = Base::Live(Box::new(record));
                return Ok(Written::As(SessionSave::Unchanged));
            }
            let unchanged = || Record { changes: Some(Arc::clone(delta)), ..record.next(record.data.clone(), now) };
            let next = changed.unwrap_or_else(unchanged);
            let (next, token) = self.step(next, &change, now);
            next.check_size(config.max_size)?;
            match store.save(cx, &next, record.stamp(), config.max_per_user).await? {
                Save::Saved => {
                    if next.idle != record.idle {
                        self.prolong(&next, now);
                    }
                    return Ok(Written::As(self.keep(next, token)));
                }
                Save::Gone => return Ok(Written::Lost(self.lost(SessionSave::Gone))),
                Save::Conflict(stored) if stored.stamp().generation != generation => {
                    return Ok(Written::Lost(self.lost(SessionSave::Superseded)));
                }
                Save::Conflict(stored) => record = *stored,
            }
        }
        Ok(Written::Lost(SessionSave::Contended))
    }

    /// Waits for a turn where others of this process write the session too. The state to write over, which is read anew
    /// after a wait: else the first try would be in vain.
    async fn line_up<'t>(
        &'t self,
        turn: &mut Option<Option<SemaphorePermit<'t>>>,
        tries: u32,
        record: Record,
    ) -> Result<Record, SessionSave> {
        let (turns, id) = (self.sessions().turns(), record.id());
        if turn.is_some() {
            // Those who still win are other instances, or there was no turn in time.
            tokio::time::sleep(backoff(tries)).await;
            return Ok(record);
        }
        let must_wait = turns.is_taken(id);
        if tries > 0 || must_wait {
            *turn = Some(turns.take(id).await);
        }
        if !must_wait {
            return Ok(record);
        }
        match self.sessions().store().load(self.cx(), id).await {
            Ok(Some(newest)) if newest.stamp().generation == record.stamp().generation => Ok(newest),
            Ok(Some(_)) => Err(self.lost(SessionSave::Superseded)),
            Ok(None) => Err(self.lost(SessionSave::Gone)),
            // The save will say so.
            Err(_) => Ok(record),
        }
    }

    fn lost(&self, outcome: SessionSave) -> SessionSave {
        self.locked().base = if outcome == SessionSave::Gone { Base::Anonymous } else { Base::Superseded };
        outcome
    }

    /// `next` with what the change brings to it, and the new token where it brings one.
    fn step(&self, mut next: Record, change: &Change, now: Timestamp) -> (Record, Option<Token>) {
        if matches!(change, Change::Nothing) {
            return (next, None);
        }
        let token = Token::renewed(next.id());
        match change {
            Change::Nothing => {}
            Change::Renew => next.renew(token.hash(), now),
            Change::Rotate => next.rotate(token.hash(), now),
            Change::Login(user) => {
                next.rotate(token.hash(), now);
                next = next.login(user.clone(), self.client(), now, self.sessions().settings());
            }
        }
        (next, Some(token))
    }

    /// Has the client keep its cookie for as long as the session now lives; one with a new secret goes out anyway.
    fn prolong(&self, record: &Record, now: Timestamp) {
        let own = self.token().filter(|token| record.secret.matches(&token.hash()));
        if let Some(token) = own.filter(|_| self.carrier() == Carrier::Cookie) {
            self.send(token, record, now);
        }
    }

    fn keep(&self, mut record: Record, token: Option<Token>) -> SessionSave {
        record.changes = None;
        let Some(token) = token else {
            self.locked().base = Base::Live(Box::new(record));
            return SessionSave::Saved;
        };
        self.sessions().touches().renewed(record.id());
        self.bring(&token, record);
        SessionSave::Rotated
    }

    fn bring(&self, token: &Token, record: Record) {
        self.send(token, &record, self.sessions().store().now(self.cx()));
        self.locked().base = Base::Live(Box::new(record));
    }
}

/// What the layer does before the headers go out. An error is no part of the response: it is counted and logged.
pub(super) async fn commit(session: Session) {
    if session.has_changes() {
        save(&session).await;
    }
    session.look_again().await;
}

async fn save(session: &Session) {
    let change = if session.locked().renew { Change::Renew } else { Change::Nothing };
    match session.write(change).await {
        Ok(SessionSave::Contended) => tracing::warn!("changes to a session are dropped: others kept writing it"),
        Ok(_) => {}
        Err(error) if error.is_unavailable() => tracing::debug!(%error, "changes to a session are dropped"),
        Err(error) => tracing::error!(%error, "changes to a session are dropped"),
    }
}

fn failure(error: &Error) -> SessionSave {
    if error.is_unavailable() { SessionSave::Unavailable } else { SessionSave::Invalid }
}

fn no_way_back() -> Error {
    Error::invalid("a bearer token's holder gets no new token by a response: log such clients in with Sessions::issue")
}

/// Between nothing and 1, 2, 4 ... 16 ms, at random, so that writers who collided once do not do so again.
fn backoff(tries: u32) -> Duration {
    let most = 1_000u32 << tries.min(4);
    Duration::from_micros(u64::from(u32::from_ne_bytes(random_bytes()) % most))
}
