//! One request on its way: its key is found, the store asked, then the inner service called.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Extensions, Request, Response, request::Parts};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    Denied, Outcome, Policies, Quota, RateLimits, ResponseBody, Verdict, check::Check, handle::tell, headers,
    layer::Settings,
};
use crate::{Cx, KeyValue, StoreFuture, telemetry::warn_once};

pin_project! {
    /// The future of [`RateLimitService`](super::RateLimitService).
    ///
    /// Dropped while the store is asked: the charge stays, the inner service was never called. Slots are given back.
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, S::Future>,
        settings: Arc<Settings>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F> {
        Keying { key: StoreFuture<Option<KeyValue>>, held: Option<Held<S, B>> },
        Checking { check: Option<Check>, held: Option<Held<S, B>> },
        Serving { #[pin] future: F, admission: Option<(Cx, Quota)> },
        Refused { response: Option<Response<Bytes>> },
    }
}

/// The request and the ready service, until there is a verdict.
struct Held<S, B> {
    inner: S,
    parts: Parts,
    body: B,
}

impl<S, B> Held<S, B>
where
    S: Service<Request<B>>,
{
    fn serve(mut self, admission: Option<(Cx, Quota)>) -> State<S, B, S::Future> {
        State::Serving { future: self.inner.call(Request::from_parts(self.parts, self.body)), admission }
    }

    /// Serves a request that this layer does not count; an outer layer's quota stays the request's.
    fn pass(mut self) -> State<S, B, S::Future> {
        if self.parts.extensions.get::<Quota>().is_none() {
            self.parts.extensions.insert(Quota::uncounted());
        }
        self.serve(None)
    }
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<B>>,
{
    /// Goes as far as it can at once: where key and verdict are known already, to the inner service's call.
    pub(super) fn new(settings: Arc<Settings>, inner: S, request: Request<B>) -> Self {
        let (parts, body) = request.into_parts();
        let held = Held { inner, parts, body };
        let state = if settings.passes(&held.parts) { held.pass() } else { find(&settings, held) };
        Self { state, settings }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Keying { key, held } => {
                    let key = ready!(Pin::new(key).poll(cx)).ok().flatten();
                    begin(this.settings, key, held.take().expect(ONCE))
                }
                StateProj::Checking { check, held } => {
                    // Cancellation point: dropped here, the charge stays and nothing was served.
                    let verdict = ready!(Pin::new(check.as_mut().expect(ONCE)).poll(cx));
                    enter(this.settings, check.take().expect(ONCE), verdict, held.take().expect(ONCE))
                }
                StateProj::Refused { response } => {
                    return Poll::Ready(Ok(response.take().expect(ONCE).map(ResponseBody::full)));
                }
                StateProj::Serving { future, admission } => {
                    let response = ready!(future.poll(cx))?;
                    return Poll::Ready(Ok(leave(this.settings, admission.take(), response)));
                }
            };
            this.state.set(next);
        }
    }
}

/// A state is left once, and polling again after the end is the caller's mistake.
const ONCE: &str = "polled again after completion";

/// Finds out whom to count.
fn find<S, B>(settings: &Settings, held: Held<S, B>) -> State<S, B, S::Future>
where
    S: Service<Request<B>>,
{
    let mut key = settings.key.resolve(&held.parts);
    match key.take_ready() {
        Some(key) => begin(settings, key.ok().flatten(), held),
        None => State::Keying { key, held: Some(held) },
    }
}

/// Asks the store, unless an outer layer has charged the same client under all of these policies already.
fn begin<S, B>(settings: &Settings, key: Option<KeyValue>, held: Held<S, B>) -> State<S, B, S::Future>
where
    S: Service<Request<B>>,
{
    let key = key.unwrap_or_else(nobody);
    let policies = uncharged(&held.parts.extensions, &settings.limits, &key, settings.policies(&held.parts));
    if policies.is_empty() {
        return held.pass();
    }
    let (cx, cost) = (Cx::of(&held.parts.extensions), settings.cost(&held.parts));
    let mut check = settings.limits.begin(cx, key, policies, cost);
    match check.take_ready() {
        Some(verdict) => enter(settings, check, verdict, held),
        None => State::Checking { check: Some(check), held: Some(held) },
    }
}

/// The one bucket of all requests without a key.
fn nobody() -> KeyValue {
    warn_once!(
        "a rate limit finds no key and counts such requests together; for the client's address serve with \
         into_make_service_with_connect_info::<SocketAddr>(), or insert PeerAddr"
    );
    KeyValue::from("")
}

/// Calls the inner service, or makes the response of a refusal.
fn enter<S, B>(settings: &Settings, check: Check, verdict: Verdict, mut held: Held<S, B>) -> State<S, B, S::Future>
where
    S: Service<Request<B>>,
{
    if !verdict.is_admitted() && settings.is_shadow {
        let refused = verdict.decisions().iter().filter(|decision| !decision.outcome().admits());
        refused.for_each(|decision| tell(decision.policy().name(), Outcome::Shadowed));
        return held.pass();
    }
    settings.limits.tell(&verdict);
    if !verdict.is_admitted() {
        return State::Refused { response: Some(settings.refuse(&Denied::new(verdict), &held.parts)) };
    }
    let cx = Cx::of(&held.parts.extensions);
    let outer = held.parts.extensions.remove::<Quota>();
    let quota = Quota::new(&settings.limits, check, verdict, outer);
    held.parts.extensions.insert(quota.clone());
    held.serve(Some((cx, quota)))
}

/// Gives back what the response says to, and tells the client how it stands.
fn leave<R>(settings: &Settings, admission: Option<(Cx, Quota)>, response: Response<R>) -> Response<ResponseBody<R>> {
    let (mut parts, body) = response.into_parts();
    let mut slots = None;
    if let Some((cx, quota)) = admission {
        slots = quota.slots();
        if settings.refund_if.as_ref().is_some_and(|refund| refund(&parts)) {
            // Nobody waits for its answer, and a command whose caller is gone may not be sent.
            settings.limits.complete(quota.give_back(&cx));
        }
        let (decisions, field) = (quota.decisions(), settings.policy_field(quota.decisions()));
        headers::write(&mut parts.headers, settings.headers, decisions, field);
    }
    Response::from_parts(parts, ResponseBody::inner(body, slots))
}

/// The policies that no outer layer has charged this client under: mounted twice, a policy charges once.
fn uncharged(extensions: &Extensions, limits: &RateLimits, key: &KeyValue, policies: Policies) -> Policies {
    let Some(quota) = extensions.get::<Quota>() else { return policies };
    policies.iter().copied().filter(|policy| !quota.covers(limits, key, policy.name())).collect()
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Keying { .. } => "ResponseFuture(keying)",
            State::Checking { .. } => "ResponseFuture(checking)",
            State::Serving { .. } => "ResponseFuture(serving)",
            State::Refused { .. } => "ResponseFuture(refused)",
        })
    }
}
