use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::FallbackService;
use crate::{Status, client_ip::TrustedProxies};

/// Gives each request its budget, its client's address and one status; made by `keep.layer()`.
#[derive(Clone)]
pub struct FallbackLayer(pub(super) Arc<Settings>);

pub(super) struct Settings {
    pub(super) budget: Duration,
    pub(super) proxies: TrustedProxies,
    pub(super) status: Box<dyn Fn() -> Status + Send + Sync>,
}

impl FallbackLayer {
    pub(crate) fn new(
        budget: Duration,
        proxies: TrustedProxies,
        status: impl Fn() -> Status + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Settings { budget, proxies, status: Box::new(status) }))
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
