use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{ResponseFuture, layer::Settings};
use crate::{ClientIp, Cx, PeerAddr, Status};

/// The service of [`FallbackLayer`](super::FallbackLayer).
#[derive(Clone)]
pub struct FallbackService<S> {
    pub(super) inner: S,
    pub(super) settings: Arc<Settings>,
}

impl<S> FallbackService<S> {
    /// Gives a request what it shares, unless an outer layer has; how Redis stood then, and where detours are noted.
    fn prepare<B>(&self, request: &mut Request<B>) -> Option<(Status, Cx)> {
        if request.extensions().get::<Cx>().is_some() {
            return None;
        }
        let peer = PeerAddr::of(request.extensions());
        let ip = peer.map(|peer| self.settings.proxies.client_ip(peer.0.ip(), request.headers()));
        let (status, cx) = ((self.settings.status)(), Cx::new().with_budget(self.settings.budget));
        let extensions = request.extensions_mut();
        if let Some(ip) = ip {
            extensions.insert::<ClientIp>(ip);
        }
        extensions.insert(status);
        extensions.insert(cx.clone());
        self.settings.tells.then_some((status, cx))
    }
}

impl<S, B, R> Service<Request<B>> for FallbackService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let told = self.prepare(&mut request);
        ResponseFuture::new(self.inner.call(request), told)
    }
}

impl<S: fmt::Debug> fmt::Debug for FallbackService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
