//! The session of one request: read when asked for, changed in memory, saved by the layer.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderValue, Request, header::USER_AGENT};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::OnceCell;

use super::{
    CONCERN, Record, SessionId, SessionLoad, SessionState, Sessions,
    data::read,
    delta::{Delta, write},
    id::Token,
    record::{Client, Proof},
};
use crate::{
    ClientIp, Cx, Detour, Error, Identify, Identity, Result, StoreFuture, UserId,
    clock::{Timestamp, seconds},
};

/// The session of one request.
///
/// 1. Nothing is read before somebody asks, and then once per request. A request that never asks costs no I/O.
/// 2. [`insert`](Session::insert), [`remove`](Session::remove) and [`update`](Session::update) are kept as changes and
///    saved by the layer when the handler is done, whatever the status. Changes of concurrent requests to
///    different keys, and all those made by `update`, add up; of two inserts to one key one wins.
/// 3. [`login`](Session::login), [`rotate`](Session::rotate), [`logout`](Session::logout) and [`save`](Session::save) act
///    at once, so that a handler can answer for them.
/// 4. A session that was ended never comes back: changes to it are dropped and counted.
///
/// ```
/// use std::convert::Infallible;
/// use http::{Request, Response};
/// use tower::{ServiceExt, service_fn, Layer};
/// use towerkeep::{clock::Clock, session::{MemorySessionStore, Session, Sessions}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> towerkeep::Result<()> {
/// let sessions = Sessions::new(MemorySessionStore::new(Clock::system()));
/// let app = sessions.layer().layer(service_fn(async |request: Request<()>| {
///     let session = Session::of(&request).expect("the layer is mounted");
///     let visits = session.update("visits", |n: &mut u32| *n += 1).await.unwrap();
///     Ok::<_, Infallible>(Response::new(visits))
/// }));
/// let issued = sessions.issue(42).await?;
/// for visit in 1..=2 {
///     let request = Request::builder().header("cookie", issued.cookie()).body(()).unwrap();
///     assert_eq!(app.clone().oneshot(request).await.unwrap().into_body(), visit);
/// }
/// let stranger = Request::builder().header("cookie", "__Host-sid=guess").body(()).unwrap();
/// assert_eq!(app.oneshot(stranger).await.unwrap().into_body(), 1); // a session of their own
/// # Ok(()) }
/// ```
///
/// # When Redis is down
/// With the fallback store (`Keep` has it) sessions that this instance has seen are served from their copies. Of
/// others nothing is known: reading answers unavailable (503 by `?`), changes are dropped and counted, the
/// cookie stays as it is.
///
/// # Caveats
/// A clone kept beyond the response can still `save`, but what it inserts after the response is saved by nobody.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

/// How the client's token came, and how a new one can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// Both by cookie.
    Cookie,
    /// It came as a bearer token; a new session could go by cookie.
    Either,
    /// The layer reads bearer tokens only, and nothing brings a new one to the client.
    Bearer,
}

struct Inner {
    sessions: Sessions,
    cx: Cx,
    token: Option<Token>,
    carrier: Carrier,
    agent: Option<HeaderValue>,
    ip: Option<ClientIp>,
    loading: OnceCell<()>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) base: Base,
    pub(super) delta: Delta,
    /// A periodic renewal of the secret is due.
    pub(super) renew: bool,
    cookie: Option<SetCookie>,
}

/// What the store holds, as far as this request knows.
#[derive(Clone, Default)]
pub(super) enum Base {
    #[default]
    Unread,
    Anonymous,
    /// The token was replaced by a login a moment ago; whoever holds it is about to get the new one.
    Superseded,
    Live(Box<Record>),
    Unavailable,
}

/// What the response tells the client.
enum SetCookie {
    Set(HeaderValue),
    /// The one that the client has, for longer; unless it has got a newer one since.
    Again(HeaderValue, Seen),
    Remove,
}

/// When a session was read, and how many new secrets this instance had counted before.
#[derive(Clone, Copy)]
struct Seen {
    at: Timestamp,
    secrets: u32,
}

/// For so long after a read no other instance is thought to have given the session a new secret.
const FRESH: Duration = seconds(1);

impl Session {
    /// The request's session; nothing where the session layer is not mounted.
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        request.extensions().get().cloned()
    }

    pub(super) fn new<B>(sessions: Sessions, request: &Request<B>, token: Option<Token>, carrier: Carrier) -> Self {
        let (cx, ip) = (Cx::of(request.extensions()), ClientIp::of(request.extensions()));
        let agent = request.headers().get(USER_AGENT).cloned();
        let (loading, state) = (OnceCell::new(), Mutex::default());
        Self(Arc::new(Inner { sessions, cx, token, carrier, agent, ip, loading, state }))
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// Unavailable; invalid, when the value is no `T`.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        if let Some(value) = self.locked().delta.view(key) {
            return value.map(read).transpose();
        }
        self.load().await?;
        self.locked().value(key, |raw| raw.map(read).transpose())
    }

    /// Sets `key` to `value`, when the request is done.
    ///
    /// # Errors
    /// Invalid, when the value is no JSON or larger than a session may be.
    pub fn insert(&self, key: &str, value: impl Serialize) -> Result<()> {
        let value = write(&value)?;
        self.check_size(value.get().len())?;
        self.locked().delta.insert(key, value);
        Ok(())
    }

    /// Removes `key`, when the request is done.
    pub fn remove(&self, key: &str) {
        self.locked().delta.remove(key);
    }

    /// Ends this session when it is not used for so long, in place of
    /// [`SessionConfig::idle`](super::SessionConfig::idle); when the request is done. For "stay logged in", and for the
    /// opposite on a shared computer. The absolute deadline stays. Without a stored session, and nothing to store in
    /// one, it does nothing.
    ///
    /// ```
    /// # use towerkeep::{clock::hours, session::Session};
    /// async fn login(session: Session, remember: bool) -> towerkeep::Result<()> {
    ///     session.set_idle(if remember { hours(24 * 14) } else { hours(1) })?;
    ///     session.login(42).await
    /// }
    /// ```
    ///
    /// # Errors
    /// Invalid, when it is shorter than a second.
    pub fn set_idle(&self, idle: Duration) -> Result<()> {
        if idle < seconds(1) {
            return Err(Error::invalid(
                "a session that is idle for less than a second cannot end: give a second or more",
            ));
        }
        self.locked().delta.idle = Some(idle);
        Ok(())
    }

    /// The value of `key`, which is removed: for notices shown once.
    ///
    /// # Errors
    /// As [`get`](Session::get).
    pub async fn take<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let value = self.get(key).await?;
        if value.is_some() {
            self.remove(key);
        }
        Ok(value)
    }

    /// Changes the value of `key`, or the default where there is none; the value as this request sees it.
    ///
    /// `change` runs once more on what is stored then, whenever another request was faster: two requests that
    /// count to one each make two. It must not do anything else. What was changed during an outage runs again after it,
    /// outside of the request; should it panic there, the session's changes are dropped and counted.
    ///
    /// # Errors
    /// As [`get`](Session::get) and [`insert`](Session::insert).
    pub async fn update<T>(&self, key: &str, change: impl Fn(&mut T) + Send + Sync + 'static) -> Result<T>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        self.load().await?;
        let apply = move |stored: Option<&serde_json::value::RawValue>| {
            let mut value: T = stored.map(read).transpose()?.unwrap_or_default();
            change(&mut value);
            Ok(value)
        };
        let mut state = self.locked();
        let value = state.value(key, &apply)?;
        let text = write(&value)?;
        self.check_size(text.get().len())?;
        state.delta.update(key, text, Arc::new(move |stored| write(&apply(stored)?)));
        Ok(value)
    }

    /// The user who is logged in.
    ///
    /// # Errors
    /// Unavailable.
    pub async fn user(&self) -> Result<Option<UserId>> {
        self.load().await?;
        Ok(self.locked().live().and_then(|record| record.user.clone()))
    }

    /// The session's handle; nothing while there is no stored session.
    ///
    /// # Errors
    /// Unavailable.
    pub async fn id(&self) -> Result<Option<SessionId>> {
        self.load().await?;
        Ok(self.locked().live().map(Record::id))
    }

    /// How the session stands.
    pub async fn state(&self) -> SessionState {
        self.read_once().await;
        match &self.locked().base {
            Base::Live(_) => SessionState::Live,
            Base::Unavailable => SessionState::Unavailable,
            Base::Unread | Base::Anonymous | Base::Superseded => SessionState::Anonymous,
        }
    }

    /// Reads the session, unless that was done; fails while it cannot be known.
    async fn load(&self) -> Result<()> {
        self.read_once().await;
        match self.locked().base {
            Base::Unavailable => Err(Error::unavailable("the session cannot be read now")),
            _ => Ok(()),
        }
    }

    pub(super) async fn read_once(&self) {
        self.0.loading.get_or_init(|| self.read()).await;
    }

    /// Has `read` find out about the session, in place of a read, unless that was done.
    pub(super) async fn read_once_by(&self, read: impl AsyncFnOnce(Option<&Token>)) {
        self.0.loading.get_or_init(|| read(self.0.token.as_ref())).await;
    }

    pub(super) async fn read(&self) {
        let Some(token) = &self.0.token else {
            self.locked().base = Base::Anonymous;
            return;
        };
        let (store, cx) = (self.0.sessions.store(), &self.0.cx);
        let secrets = self.0.sessions.touches().secrets(token.id);
        let found = store.load(cx, token.id).await;
        let now = store.now(cx);
        let (outcome, base, is_current) = judge(found, token, now);
        outcome.count();
        if outcome == SessionLoad::Unavailable {
            cx.note(CONCERN, Detour::Unavailable);
        }
        let mut state = self.locked();
        state.base = base;
        self.upkeep(&mut state, token, is_current, Seen { at: now, secrets });
    }

    /// Plans what a session needs now and then: a touch with a fresh cookie, or a new secret.
    fn upkeep(&self, state: &mut State, token: &Token, is_current: bool, seen: Seen) {
        let (config, now) = (self.0.sessions.settings(), seen.at);
        let Some(record) = state.live() else { return };
        let by_cookie = self.0.carrier == Carrier::Cookie;
        if is_current && by_cookie && record.wants_renewal(now, config.renew_every) {
            state.renew = true;
        } else if record.wants_touch(now, config.touch_interval())
            && self.0.sessions.touches().push(record.id(), record.stamp().generation, &self.0.cx)
            && is_current
            && by_cookie
        {
            let until = record.ends.min(now + record.idle);
            state.cookie = Some(SetCookie::Again(config.cookie.set(token, until.since(now)), seen));
        }
    }

    fn check_size(&self, size: usize) -> Result<()> {
        let max = self.0.sessions.settings().max_size;
        if size <= max {
            return Ok(());
        }
        Err(Error::invalid(format!("a value of {size} bytes is over the {max} that a session may hold")))
    }

    pub(super) fn locked(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    pub(super) fn cx(&self) -> &Cx {
        &self.0.cx
    }

    pub(super) fn token(&self) -> Option<&Token> {
        self.0.token.as_ref()
    }

    pub(super) fn carrier(&self) -> Carrier {
        self.0.carrier
    }

    /// What the client calls itself, cut to a length that a list can show, and where it is.
    pub(super) fn client(&self) -> Client {
        let agent = self.0.agent.as_ref().and_then(|agent| agent.to_str().ok());
        let device = agent.map(|agent| agent.chars().take(200).collect::<String>().into());
        Client { device, ip: self.0.ip.map(|ip| ip.0) }
    }

    /// Has the response bring `token` to the client.
    pub(super) fn send(&self, token: &Token, record: &Record, now: Timestamp) {
        let config = self.0.sessions.settings();
        let value = config.cookie.set(token, record.expires_at().since(now));
        self.locked().cookie = Some(SetCookie::Set(value));
    }

    /// Has the response remove the cookie.
    pub(super) fn forget(&self) {
        if self.0.carrier == Carrier::Cookie {
            self.locked().cookie = Some(SetCookie::Remove);
        }
    }

    /// Whether the layer has something to do before the headers go out.
    pub(super) fn is_dirty(&self) -> bool {
        self.has_changes() || self.is_in_doubt()
    }

    /// Whether the layer has something to save.
    pub(super) fn has_changes(&self) -> bool {
        let state = self.locked();
        state.renew || !state.delta.is_empty()
    }

    /// Whether the client may have got a newer cookie since a touch planned to send the one it had.
    fn is_in_doubt(&self) -> bool {
        let (sessions, state) = (&self.0.sessions, self.locked());
        let (Some(SetCookie::Again(_, seen)), Some(token)) = (&state.cookie, &self.0.token) else { return false };
        let is_ours = state.live().is_some_and(|record| record.secret.matches(&token.hash()));
        let is_fresh = sessions.store().now(&self.0.cx).since(seen.at) <= FRESH;
        !(is_ours && is_fresh && sessions.touches().secrets(token.id) == seen.secrets)
    }

    /// In doubt, sends the client's own cookie once more only where the store says that it is still the newest: what a slow
    /// request brings must not replace that of a login.
    pub(super) async fn look_again(&self) {
        let Some(token) = self.0.token.as_ref().filter(|_| self.is_in_doubt()) else { return };
        let (store, cx) = (self.0.sessions.store(), &self.0.cx);
        let stored = store.load(cx, token.id).await.ok().flatten().filter(|record| !record.is_copy);
        let is_newest = stored.is_some_and(|record| record.proof(&token.hash(), store.now(cx)) == Proof::Current);
        self.locked().cookie.take_if(|cookie| !is_newest && matches!(cookie, SetCookie::Again(..)));
    }

    /// The header that the response must carry.
    pub(super) fn take_cookie(&self) -> Option<HeaderValue> {
        let cookie = mem::take(&mut self.locked().cookie)?;
        let config = &self.0.sessions.settings().cookie;
        Some(match cookie {
            SetCookie::Remove => config.removal(),
            SetCookie::Set(value) | SetCookie::Again(value, _) => {
                self.0.sessions.watch().was_set(config.is_secure());
                value
            }
        })
    }

    fn identity(&self) -> Identity {
        match &self.locked().base {
            Base::Live(record) => record.user.clone().map_or(Identity::Anonymous, Identity::Known),
            Base::Unavailable => Identity::Unavailable,
            Base::Unread | Base::Anonymous | Base::Superseded => Identity::Anonymous,
        }
    }
}

impl State {
    pub(super) fn live(&self) -> Option<&Record> {
        match &self.base {
            Base::Live(record) => Some(record),
            _ => None,
        }
    }

    /// Hands what this request sees under `key` to `then`.
    fn value<T>(&self, key: &str, then: impl FnOnce(Option<&serde_json::value::RawValue>) -> T) -> T {
        match self.delta.view(key) {
            Some(value) => then(value),
            None => then(self.live().and_then(|record| record.data.raw(key))),
        }
    }
}

/// What a read means for a client with this token, and whether its secret is the current one.
fn judge(found: Result<Option<Record>>, token: &Token, now: Timestamp) -> (SessionLoad, Base, bool) {
    let (outcome, base) = match found {
        Ok(Some(record)) if !record.is_live(now) => (SessionLoad::Expired, Base::Anonymous),
        Ok(Some(record)) => match record.proof(&token.hash(), now) {
            Proof::Current => return (SessionLoad::Hit, Base::Live(Box::new(record)), true),
            Proof::Previous => (SessionLoad::Hit, Base::Live(Box::new(record))),
            Proof::Superseded => (SessionLoad::Refused, Base::Superseded),
            // Another instance may have renewed it, or logged its user in: then the store knows this secret.
            Proof::None if record.is_copy => (SessionLoad::Unavailable, Base::Unavailable),
            Proof::None => (SessionLoad::Refused, Base::Anonymous),
        },
        Ok(None) => (SessionLoad::Miss, Base::Anonymous),
        Err(error) if error.is_unavailable() => (SessionLoad::Unavailable, Base::Unavailable),
        Err(error) => {
            tracing::warn!(%error, "a stored session cannot be read; its holder is anonymous");
            (SessionLoad::Corrupt, Base::Anonymous)
        }
    };
    (outcome, base, false)
}

impl Identify for Session {
    fn identify(&self) -> StoreFuture<Identity> {
        if self.0.token.is_none() || self.0.loading.initialized() {
            return StoreFuture::ok(self.identity());
        }
        let session = self.clone();
        StoreFuture::boxed(async move {
            session.read_once().await;
            Ok(session.identity())
        })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("delta", &self.locked().delta).finish_non_exhaustive()
    }
}
