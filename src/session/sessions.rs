//! The handle of an application's sessions: makes the layer, lists, revokes, issues.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use http::HeaderValue;

use super::{
    Create, Record, SessionConfig, SessionId, SessionInfo, SessionLayer, SessionStore, cookie,
    endings::{Told, Waiting},
    id::Token,
    record,
    touch::Touches,
    turns::Turns,
};
use crate::{Cx, Error, Result, UserId, background::Background};

/// The sessions of one application. Cheap to clone; all clones are the same.
///
/// ```
/// use towerkeep::{clock::Clock, session::{MemorySessionStore, Sessions}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> towerkeep::Result<()> {
/// let sessions = Sessions::new(MemorySessionStore::new(Clock::system()));
/// let phone = sessions.issue(42).await?;
/// assert_eq!(sessions.list(42).await?.len(), 1);
///
/// assert!(!sessions.revoke(43, &phone.id()).await?); // not theirs
/// assert!(sessions.revoke(42, &phone.id()).await?);
/// assert!(sessions.list(42).await?.is_empty());
/// # Ok(()) }
/// ```
///
/// # When Redis is down
/// Each of these verbs is the caller's own: it answers an unavailable error unless the store has a fallback
/// ([`FallbackSessionStore`](super::FallbackSessionStore)). Requests go on, see [`Session`](super::Session).
#[derive(Clone)]
pub struct Sessions(Arc<Shared>);

struct Shared {
    store: Arc<dyn SessionStore>,
    config: SessionConfig,
    touches: Touches,
    turns: Turns,
    waiting: Waiting,
    watch: CookieWatch,
}

/// How often `ended` looks whether a session was ended elsewhere, where the store does not tell or is away.
const LOOK: Duration = Duration::from_secs(5);
/// The same, where the store tells.
const LOOK_ANYWAY: Duration = Duration::from_secs(60);
/// How often a creation is tried against ids taken and revocations under way.
const CREATE_TRIES: u32 = 3;

impl Sessions {
    /// Sessions kept in `store`, with the default settings.
    pub fn new(store: impl SessionStore) -> Self {
        Self::make(Arc::new(store), SessionConfig::default(), Background::default())
    }

    /// Other settings. Call it before making layers: those made earlier keep theirs.
    #[must_use]
    pub fn config(self, config: SessionConfig) -> Self {
        Self::make(Arc::clone(&self.0.store), config, self.0.touches.background().clone())
    }

    /// Puts work that nobody waits for into this queue.
    pub(crate) fn background(self, background: Background) -> Self {
        Self::make(Arc::clone(&self.0.store), self.0.config.clone(), background)
    }

    fn make(store: Arc<dyn SessionStore>, config: SessionConfig, background: Background) -> Self {
        let touches = Touches::new(Arc::clone(&store), background);
        Self(Arc::new(Shared {
            store,
            config,
            touches,
            turns: Turns::default(),
            waiting: Waiting::default(),
            watch: CookieWatch::default(),
        }))
    }

    /// The layer that gives each request its [`Session`](super::Session), carried by a cookie.
    pub fn layer(&self) -> SessionLayer {
        SessionLayer::new(self.clone())
    }

    /// A user's live sessions, the newest login first.
    ///
    /// # Errors
    /// Unavailable.
    pub async fn list(&self, user: impl fmt::Display) -> Result<Vec<SessionInfo>> {
        let records = self.store().list(&Cx::new(), &UserId::new(user)).await?;
        Ok(records.iter().map(Record::info).collect())
    }

    /// Ends one session if it is this user's; whether it was.
    ///
    /// # Errors
    /// Unavailable.
    pub async fn revoke(&self, user: impl fmt::Display, id: &SessionId) -> Result<bool> {
        let was = self.store().revoke(&Cx::new(), &UserId::new(user), *id).await?;
        if was {
            self.announce(*id);
        }
        Ok(was)
    }

    /// Ends all of a user's sessions but `current`; how many.
    ///
    /// # Errors
    /// Unavailable.
    pub async fn revoke_others(&self, user: impl fmt::Display, current: &SessionId) -> Result<usize> {
        self.revoke_but(UserId::new(user), Some(*current)).await
    }

    /// Ends all of a user's sessions, those whose login is under way too; how many.
    ///
    /// # Errors
    /// Unavailable.
    pub async fn revoke_all(&self, user: impl fmt::Display) -> Result<usize> {
        self.revoke_but(UserId::new(user), None).await
    }

    async fn revoke_but(&self, user: UserId, except: Option<SessionId>) -> Result<usize> {
        let ended = self.store().revoke_all(&Cx::new(), &user, except, self.0.config.absolute).await?;
        ended.iter().for_each(|id| self.announce(*id));
        Ok(ended.len())
    }

    /// Logs `user` in outside of any request: for a mobile app's login, and for tests.
    ///
    /// # Errors
    /// Unavailable.
    pub async fn issue(&self, user: impl fmt::Display) -> Result<Issued> {
        let user = UserId::new(user);
        let (record, token) = self
            .create(&Cx::new(), |now, config, token| {
                record::begin(token, config, now).login(user.clone(), record::Client::default(), now, config)
            })
            .await?;
        let max_age = record.time_to_live(self.store().now(&Cx::new()));
        Ok(Issued { token, max_age, config: self.0.config.clone() })
    }

    /// Waits until a session has ended: by logout, by a revocation or by expiry.
    ///
    /// At once for what this instance ends, within seconds for what others end. An outage ends nothing: it waits
    /// on. Nothing is kept for it: dropping the future is all it takes to stop.
    ///
    /// ```
    /// # use towerkeep::{clock::Clock, session::{MemorySessionStore, Sessions}};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> towerkeep::Result<()> {
    /// # let sessions = Sessions::new(MemorySessionStore::new(Clock::system()));
    /// let issued = sessions.issue(42).await?;
    /// let (id, watch) = (issued.id(), sessions.clone());
    /// let socket = tokio::spawn(async move { watch.ended(&id).await });
    /// sessions.revoke_all(42).await?;
    /// socket.await.expect("closes the socket here");
    /// # Ok(()) }
    /// ```
    pub async fn ended(&self, id: &SessionId) {
        let waiting = &self.0.waiting;
        let mut waiter = waiting.wait_for(*id);
        let every = if waiting.is_told(|to| self.store().tell_endings(to)) { LOOK_ANYWAY } else { LOOK };
        loop {
            let Some(left) = self.look_for(*id, every).await else { return };
            if let Ok(Told::Ended) = tokio::time::timeout(left, waiter.told()).await {
                return;
            }
        }
    }

    /// When to look again for a session's end; nothing where it has ended.
    async fn look_for(&self, id: SessionId, every: Duration) -> Option<Duration> {
        let _turn = self.0.waiting.turn().await;
        let cx = Cx::new();
        match self.store().load(&cx, id).await {
            Ok(Some(record)) => Some(every.min(record.time_to_live(self.store().now(&cx)))),
            Ok(None) => None,
            Err(_) => Some(LOOK),
        }
    }

    /// Stores the session that `make` makes, with an id and a secret of its own.
    pub(super) async fn create(
        &self,
        cx: &Cx,
        make: impl Fn(crate::clock::Timestamp, &SessionConfig, &Token) -> Record,
    ) -> Result<(Record, Token)> {
        let config = &self.0.config;
        for _ in 0..CREATE_TRIES {
            let token = Token::random();
            let record = make(self.store().now(cx), config, &token);
            record.check_size(config.max_size)?;
            if self.store().create(cx, &record, config.max_per_user).await? == Create::Created {
                return Ok((record, token));
            }
        }
        Err(Error::unavailable("all sessions of this user are being revoked"))
    }

    pub(super) fn store(&self) -> &dyn SessionStore {
        &*self.0.store
    }

    pub(super) fn settings(&self) -> &SessionConfig {
        &self.0.config
    }

    pub(super) fn turns(&self) -> &Turns {
        &self.0.turns
    }

    pub(super) fn touches(&self) -> &Touches {
        &self.0.touches
    }

    pub(super) fn watch(&self) -> &CookieWatch {
        &self.0.watch
    }

    /// Tells those who wait for the end of a session.
    pub(super) fn announce(&self, id: SessionId) {
        self.0.waiting.announce(id);
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// A session that was made outside of a request, with the token that opens it.
///
/// The token is shown here and never again: the store keeps only its hash.
pub struct Issued {
    token: Token,
    max_age: Duration,
    config: SessionConfig,
}

impl Issued {
    /// The session's handle.
    pub fn id(&self) -> SessionId {
        self.token.id
    }

    /// The bare token, for an app to keep.
    pub fn token(&self) -> String {
        self.token.reveal()
    }

    /// The request's header `Authorization`: `Bearer ...`.
    pub fn bearer(&self) -> HeaderValue {
        cookie::bearer_value(&self.token)
    }

    /// The request's header `Cookie`, as a browser would send it.
    pub fn cookie(&self) -> HeaderValue {
        self.config.cookie.pair(&self.token)
    }

    /// The response's header `Set-Cookie`, for a handler that logs in by other means.
    pub fn set_cookie(&self) -> HeaderValue {
        self.config.cookie.set(&self.token, self.max_age)
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// Notices a `Secure` cookie that never comes back, as over plain HTTP in development.
#[derive(Default)]
pub(super) struct CookieWatch {
    set: AtomicU32,
    came_back: AtomicBool,
}

impl CookieWatch {
    /// So many cookies set and none come back are no accident.
    const SUSPICIOUS: u32 = 10;

    pub(super) fn came_back(&self) {
        if !self.came_back.load(Relaxed) {
            self.came_back.store(true, Relaxed);
        }
    }

    pub(super) fn was_set(&self, secure: bool) {
        if self.came_back.load(Relaxed) || self.set.fetch_add(1, Relaxed) < Self::SUSPICIOUS || !secure {
            return;
        }
        crate::telemetry::warn_once!(
            "session cookies are set and none comes back: browsers drop Secure cookies over plain HTTP; \
             SessionCookie::local_dev() is for development"
        );
    }
}
