use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::FallbackService;
use crate::{Status, client_ip::TrustedProxies};

/// Gives each request its budget, its client's address and one status; made by `keep.layer()`.
#[derive(Clone)]
pub struct FallbackLayer(pub(super) Arc<Settings>);

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) budget: Duration,
    pub(super) proxies: TrustedProxies,
    pub(super) status: Arc<dyn Fn() -> Status + Send + Sync>,
    pub(super) tells: bool,
}

impl FallbackLayer {
    pub(crate) fn new(
        budget: Duration,
        proxies: TrustedProxies,
        status: impl Fn() -> Status + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Settings { budget, proxies, status: Arc::new(status), tells: false }))
    }

    /// Whether responses carry `Redis-Status`: `up`, or `degraded` and what was done instead, as in
    /// `degraded; session=memory; cache=skipped; rate-limit=local`. Defaults to `false`.
    ///
    /// It tells clients about your servers: for your own network, or where a gateway removes it. The words are those of
    /// [`Detour`](crate::Detour); a concern that the request did not need is not named.
    #[must_use]
    pub fn redis_status(mut self, tells: bool) -> Self {
        Arc::make_mut(&mut self.0).tells = tells;
        self
    }
}

impl<S> Layer<S> for FallbackLayer {
    type Service = FallbackService<S>;
    fn layer(&self, inner: S) -> FallbackService<S> {
        FallbackService { inner, settings: Arc::clone(&self.0) }
    }
}

impl fmt::Debug for FallbackLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackLayer").field("budget", &self.0.budget).field("proxies", &self.0.proxies).finish()
    }
}
