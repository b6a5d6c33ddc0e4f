use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::Request;
use tower_service::Service;

use super::layer::Settings;
use crate::{ClientIp, Cx, PeerAddr};

/// The service of [`FallbackLayer`](super::FallbackLayer); its future is the inner service's own.
#[derive(Clone)]
pub struct FallbackService<S> {
    pub(super) inner: S,
    pub(super) settings: Arc<Settings>,
}

impl<S, B> Service<Request<B>> for FallbackService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if request.extensions().get::<Cx>().is_none() {
            let peer = PeerAddr::of(request.extensions());
            let ip = peer.map(|peer| self.settings.proxies.client_ip(peer.0.ip(), request.headers()));
            let extensions = request.extensions_mut();
            if let Some(ip) = ip {
                extensions.insert::<ClientIp>(ip);
            }
            extensions.insert((self.settings.status)());
            extensions.insert(Cx::new().with_budget(self.settings.budget));
        }
        self.inner.call(request)
    }
}

impl<S: fmt::Debug> fmt::Debug for FallbackService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
