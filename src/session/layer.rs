//! The layer and what it differs in per mount.

use tower_layer::Layer;

use super::{SessionService, Sessions};

/// Gives each request its [`Session`](super::Session) and its [`Principal`](crate::Principal).
///
/// 1. The layer itself does no I/O: it reads the cookie and puts a lazy handle into the request's extensions.
/// 2. What the handler changed is saved before the headers go out, whatever the status. When the inner service
///    fails with an error there is no response to carry a cookie, and changes are dropped.
/// 3. A response that sets the cookie gets `Cache-Control: no-store`.
/// 4. Mounted twice, the inner one uses the outer one's session.
///
/// The wrong order: limits and caches that ask for the user stand inside of this layer, else they find nobody.
///
/// # When Redis is down
/// Requests go on. See [`Session`](super::Session).
#[derive(Clone, Debug)]
pub struct SessionLayer {
    pub(super) sessions: Sessions,
    pub(super) reads: Reads,
    pub(super) enabled: bool,
}

/// Where a layer looks for the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    Cookie,
    Bearer,
    Both,
}

impl SessionLayer {
    pub(super) fn new(sessions: Sessions) -> Self {
        Self { sessions, reads: Reads::Cookie, enabled: true }
    }

    /// Reads the token from `Authorization: Bearer` only, and never sets a cookie: for an API of apps.
    ///
    /// Clients get their token from [`Sessions::issue`]. Defaults to the cookie only.
    #[must_use]
    pub fn bearer(mut self) -> Self {
        self.reads = Reads::Bearer;
        self
    }

    /// Reads `Authorization: Bearer` where it holds one of our tokens, else the cookie. Defaults to the cookie only.
    #[must_use]
    pub fn cookie_or_bearer(mut self) -> Self {
        self.reads = Reads::Both;
        self
    }

    /// Whether the layer does anything: `false` passes every request through without a session. Defaults to `true`.
    #[must_use]
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;
    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService { inner, layer: self.clone() }
    }
}
