//! The response: waits for the inner service, then for the save if there is one, then sets the cookie.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{
    HeaderValue, Response,
    header::{CACHE_CONTROL, SET_COOKIE},
};
use pin_project_lite::pin_project;

use super::{Session, commit::commit};

pin_project! {
    /// The future of [`SessionService`](super::SessionService).
    pub struct ResponseFuture<F, R> {
        #[pin]
        state: State<F, R>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, R> {
        Passing { #[pin] inner: F },
        Serving { #[pin] inner: F, session: Session },
        // One box, only for a request that changed something.
        Saving { saving: Pin<Box<dyn Future<Output = ()> + Send>>, response: Option<Response<R>>, session: Session },
    }
}

impl<F, R> ResponseFuture<F, R> {
    pub(super) fn passing(inner: F) -> Self {
        Self { state: State::Passing { inner } }
    }

    pub(super) fn serving(inner: F, session: Session) -> Self {
        Self { state: State::Serving { inner, session } }
    }
}

impl<F, R, E> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            let next = match this.state.as_mut().project() {
                StateProj::Passing { inner } => return inner.poll(cx),
                StateProj::Serving { inner, session } => {
                    // Dropped while the handler runs, the request's changes are discarded.
                    let response = ready!(inner.poll(cx))?;
                    if !session.is_dirty() {
                        return Poll::Ready(Ok(with_cookie(response, session)));
                    }
                    let saving = Box::pin(commit(session.clone()));
                    State::Saving { saving, response: Some(response), session: session.clone() }
                }
                StateProj::Saving { saving, response, session } => {
                    // Dropped here, the save is already sent.
                    ready!(saving.as_mut().poll(cx));
                    let response = response.take().expect("polled again after completion");
                    return Poll::Ready(Ok(with_cookie(response, session)));
                }
            };
            this.state.set(next);
        }
    }
}

/// A response that carries a secret is nobody else's: no cache may keep it.
fn with_cookie<R>(mut response: Response<R>, session: &Session) -> Response<R> {
    if let Some(cookie) = session.take_cookie() {
        response.headers_mut().append(SET_COOKIE, cookie);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
