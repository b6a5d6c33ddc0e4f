//! The future of [`CacheService`](super::CacheService): ask, serve, and after an unsafe method purge.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    CacheHint, Purged, ResponseBody,
    answer::{self, Answer},
    ask::{Ask, Verdict},
    fill::Plan,
    handle::Mount,
    invalidate::Invalidate,
    outcome::Answered,
    refresh,
};
use crate::StoreFuture;

pin_project! {
    /// Answers from the store, or with what the handler answers.
    #[must_use = "futures do nothing unless awaited"]
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        mount: Arc<Mount>,
        #[pin]
        state: State<S, B, S::Future, S::Response>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F, R> {
        /// Nothing is sent to the handler yet; dropped here, nothing has happened.
        Asking { ask: Ask, held: Option<(S, Parts, B)> },
        Serving { #[pin] serving: F, plan: Option<Plan> },
        /// The handler has answered; dropped here, the purge is under way all the same.
        Purging { purging: StoreFuture<Purged>, done: Option<(Box<Invalidate>, R)> },
    }
}

impl<S: Service<Request<B>>, B> ResponseFuture<S, B> {
    pub(crate) fn new(mut service: S, mount: &Arc<Mount>, request: Request<B>) -> Self {
        let (parts, body) = request.into_parts();
        let state = match Ask::begin(mount, &parts) {
            Ok(ask) => State::Asking { ask, held: Some((service, parts, body)) },
            Err(plan) => {
                let serving = service.call(Request::from_parts(parts, body));
                State::Serving { serving, plan: Some(plan) }
            }
        };
        Self { mount: Arc::clone(mount), state }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Asking { ask, held } => {
                    let parts = &held.as_ref().expect("held until the verdict").1;
                    let verdict = ready!(ask.poll(cx, parts));
                    let (service, parts, body) = held.take().expect("there is one verdict");
                    match serve(this.mount, verdict, service, parts, body) {
                        Ok(response) => return Poll::Ready(Ok(response.map(ResponseBody::full))),
                        Err((serving, plan)) => State::Serving { serving, plan: Some(plan) },
                    }
                }
                StateProj::Serving { serving, plan } => {
                    let result = ready!(serving.poll(cx));
                    match conclude(plan.take().expect("polled again after completion"), result) {
                        Concluded::Done(result) => return Poll::Ready(result),
                        Concluded::Purge(purging, invalidate, response) => {
                            State::Purging { purging, done: Some((invalidate, response)) }
                        }
                    }
                }
                StateProj::Purging { purging, done } => {
                    if let Err(error) = ready!(Pin::new(purging).poll(cx)) {
                        tracing::error!(%error, "a purge of the response cache is lost");
                    }
                    let (invalidate, mut response) = done.take().expect("polled again after completion");
                    invalidate.finish(response.headers_mut());
                    return Poll::Ready(Ok(passed(response)));
                }
            };
            this.state.set(next);
        }
    }
}

/// Carries out a verdict: the whole answer, or the call to the handler and what to do after it.
fn serve<S, B, R>(
    mount: &Mount,
    verdict: Verdict,
    mut service: S,
    mut parts: Parts,
    body: B,
) -> Result<Response<Bytes>, (S::Future, Plan)>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
{
    match verdict {
        Verdict::Answer { entry, answered, now, refresh } => {
            mount.cache.shared.counters.add(mount.settings.name, answered.outcome());
            let answer = Answer { entry: &entry, settings: &mount.settings, answered, now };
            let response = answer.to(&parts.method, &parts.headers);
            if let Some(fill) = refresh {
                refresh::start(&mount.cache.shared, service, parts, body, fill);
            }
            Ok(response)
        }
        Verdict::OnlyIfCached => {
            let mut response = answer::only_if_cached();
            mount.report(Answered::NotKept("only-if-cached"), response.headers_mut());
            Ok(response)
        }
        Verdict::Serve(plan) => {
            plan.prepare(&mut parts);
            Err((service.call(Request::from_parts(parts, body)), plan))
        }
    }
}

enum Concluded<R, E> {
    Done(Result<Response<ResponseBody<R>>, E>),
    /// What is to be purged before the response may leave.
    Purge(StoreFuture<Purged>, Box<Invalidate>, Response<R>),
}

/// What the handler's answer becomes by `plan`; or the purge to be waited for first.
fn conclude<R: Body<Data = Bytes>, E>(plan: Plan, result: Result<Response<R>, E>) -> Concluded<R, E> {
    let response = match (plan, result) {
        (Plan::Fill(mut fill) | Plan::Beside(mut fill, _), Err(error)) => {
            return Concluded::Done(fill.rescue(true).ok_or(error));
        }
        (_, Err(error)) => return Concluded::Done(Err(error)),
        (Plan::Fill(fill), Ok(response)) => fill.respond(response),
        (Plan::Untouched, Ok(response)) => response.map(ResponseBody::inner),
        (Plan::Beside(mut fill, answered), Ok(mut response)) => {
            let rescued = if response.status().is_server_error() { fill.rescue(false) } else { None };
            rescued.unwrap_or_else(|| {
                fill.mount.report(answered, response.headers_mut());
                passed(response)
            })
        }
        (Plan::Pass(mount, answered), Ok(mut response)) => {
            mount.report(answered, response.headers_mut());
            passed(response)
        }
        (Plan::Invalidate(invalidate), Ok(mut response)) => {
            if let Some(purging) = invalidate.purge(response.status(), response.headers()) {
                return Concluded::Purge(purging, invalidate, response);
            }
            invalidate.finish(response.headers_mut());
            passed(response)
        }
    };
    Concluded::Done(Ok(response))
}

fn passed<R>(mut response: Response<R>) -> Response<ResponseBody<R>> {
    response.extensions_mut().remove::<CacheHint>();
    response.map(ResponseBody::inner)
}
