//! The layer that lets API keys in, or tells them why not.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::MatchedPath,
    http::{Method, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use towerkeep::Principal;
use utoipa::openapi::OpenApi;

use super::{
    ByKey,
    noting::Noting,
    operations::{Operations, Refusal},
    sent::{Sent, sent_key},
};
use crate::{
    database::api_keys::{ApiKeys, StoredKey},
    health,
    problem::Problem,
};

const WRONG_KEY: &str = "this API key is not valid: it is wrong, expired or revoked";

/// Lets requests with an API key through to what the key's scopes allow.
///
/// 1. A request without one passes as it is. So do probes, which no limit counts: nobody may try keys there, nor keep
///    the database busy.
/// 2. A key that is no good: 401. No scope for it, or no key at all wanted here: 403, which names what is missing. The
///    database is gone: 503.
/// 3. Otherwise the request is the key's owner's, whatever cookie came along.
///
/// Costs one query; when the key was used is noted once a minute, beside the request.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    keys: ApiKeys,
    operations: Arc<Operations>,
    noting: Noting,
}

impl Guard {
    /// A guard of the operations of `document`, which must be whole.
    pub(crate) fn new(document: &OpenApi, keys: ApiKeys) -> Self {
        Self { keys, operations: Arc::new(Operations::of(document)), noting: Noting::default() }
    }

    /// The user whom the request is from now on.
    async fn judge(&self, sent: Sent, method: Method, path: Option<MatchedPath>) -> Result<i64, Response> {
        let key = self.authenticate(sent).await?;
        let Some(path) = path else { return Err(StatusCode::NOT_FOUND.into_response()) };
        self.operations.judge(&method, path.as_str(), &key.scopes).map_err(forbidden)?;
        Ok(key.user)
    }

    async fn authenticate(&self, sent: Sent) -> Result<StoredKey, Response> {
        let Sent::Key(key) = sent else { return Err(unauthorized()) };
        let stored = self.keys.find(key.prefix()).await.map_err(|error| Problem::from(error).into_response())?;
        let now = Timestamp::now();
        let stored = stored.filter(|stored| key.is_proven_by(&stored.digest) && !stored.is_expired(now));
        let stored = stored.ok_or_else(unauthorized)?;
        if stored.is_used_anew(now) {
            self.noting.note(&self.keys, stored.id, now);
        }
        Ok(stored)
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, guard: self.clone() }
    }
}

/// The service that [`Guard`] makes.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<S> {
    inner: S,
    guard: Guard,
}

impl<S, B> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(sent) = sent_key(request.headers()).filter(|_| !health::is_probe(request.uri().path())) else {
            return ResponseFuture::Passing { inner: self.inner.call(request) };
        };
        let guard = self.guard.clone();
        // The service that said it is ready is the one that is called.
        let next = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, next);
        let (method, path) = (request.method().clone(), request.extensions().get::<MatchedPath>().cloned());
        let judged = async move {
            match guard.judge(sent, method, path).await {
                Ok(user) => {
                    request.extensions_mut().insert(Principal::user(user));
                    request.extensions_mut().insert(ByKey);
                    inner.call(request).await
                }
                Err(refused) => Ok(refused),
            }
        };
        ResponseFuture::Judging { judged: Box::pin(judged) }
    }
}

pin_project! {
    /// The future of [`Guarded`]: boxed only where there is a key.
    #[project = Projected]
    pub(crate) enum ResponseFuture<F: Future> {
        Passing { #[pin] inner: F },
        Judging { judged: Pin<Box<dyn Future<Output = F::Output> + Send>> },
    }
}

impl<F: Future> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            Projected::Passing { inner } => inner.poll(cx),
            Projected::Judging { judged } => judged.as_mut().poll(cx),
        }
    }
}

/// 401 with the challenge of RFC 6750.
fn unauthorized() -> Response {
    const CHALLENGE: &str = "Bearer error=\"invalid_token\"";
    ([(header::WWW_AUTHENTICATE, CHALLENGE)], Problem::new(StatusCode::UNAUTHORIZED, WRONG_KEY)).into_response()
}

fn forbidden(refusal: Refusal) -> Response {
    let (challenge, detail) = match refusal {
        Refusal::NotForKeys => {
            ("Bearer error=\"insufficient_scope\"".to_owned(), "no API key may do this; log in".to_owned())
        }
        Refusal::Lacks(scopes) => {
            let scopes = scopes.join(" ");
            let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scopes}\"");
            (challenge, format!("this API key lacks the scope {scopes}"))
        }
    };
    ([(header::WWW_AUTHENTICATE, challenge)], Problem::new(StatusCode::FORBIDDEN, detail)).into_response()
}
