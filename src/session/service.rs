//! The service: finds the token, puts the lazy handle into the request.

use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::{
    ResponseFuture, Session, SessionLayer,
    cookie::{Carried, bearer},
    handle::Carrier,
    id::Token,
    layer::Reads,
};
use crate::Principal;

/// The service that [`SessionLayer`] makes.
#[derive(Clone, Debug)]
pub struct SessionService<S> {
    pub(super) inner: S,
    pub(super) layer: SessionLayer,
}

impl<S> SessionService<S> {
    fn session_of<B>(&self, request: &Request<B>) -> Session {
        let (token, carrier) = self.token_of(request);
        let sessions = self.layer.sessions.clone();
        Session::new(sessions, request, token, carrier)
    }

    fn token_of<B>(&self, request: &Request<B>) -> (Option<Token>, Carrier) {
        let headers = request.headers();
        let by_header = match self.layer.reads {
            Reads::Cookie => None,
            Reads::Bearer => return (bearer(headers), Carrier::Bearer),
            Reads::Both => bearer(headers),
        };
        if by_header.is_some() {
            return (by_header, Carrier::Either);
        }
        let Carried::Token(token) = self.layer.sessions.settings().cookie.find(headers) else {
            return (None, Carrier::Cookie);
        };
        self.layer.sessions.watch().came_back();
        (Some(token), Carrier::Cookie)
    }
}

impl<S, B, R> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let is_nested = request.extensions().get::<Session>().is_some();
        if is_nested || !self.layer.enabled {
            return ResponseFuture::passing(self.inner.call(request));
        }
        let session = self.session_of(&request);
        request.extensions_mut().insert(session.clone());
        request.extensions_mut().insert(Principal::lazy(session.clone()));
        ResponseFuture::serving(self.inner.call(request), session)
    }
}
