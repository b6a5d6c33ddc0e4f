//! The response, and what it says about Redis.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderName, HeaderValue, Response};
use pin_project_lite::pin_project;

use crate::{Cx, Status};

pin_project! {
    /// The future of [`FallbackService`](super::FallbackService): the inner service's, and perhaps one field more.
    #[must_use = "futures do nothing unless awaited"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        told: Option<(Status, Cx)>,
    }
}

/// How the request was served, in one structured field (RFC 9651): a token with parameters.
const REDIS_STATUS: HeaderName = HeaderName::from_static("redis-status");

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, told: Option<(Status, Cx)>) -> Self {
        Self { inner, told }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some((status, request)) = this.told.take() {
            response.headers_mut().insert(REDIS_STATUS, value(status, &request));
        }
        Poll::Ready(Ok(response))
    }
}

fn value(status: Status, request: &Cx) -> HeaderValue {
    let noted = request.noted();
    match status {
        Status::Up | Status::InMemory if noted.is_empty() => HeaderValue::from_static(status.as_str()),
        _ => {
            let detours = noted.iter().map(|(concern, detour)| format!("; {concern}={detour}"));
            let text = detours.fold(Status::Degraded.as_str().to_owned(), |text, detour| text + &detour);
            // A custom concern's name can be anything.
            HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(Status::Degraded.as_str()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Detour;

    fn told(status: Status, noted: &[(&'static str, Detour)]) -> String {
        let cx = Cx::new().with_budget(Duration::from_millis(50));
        noted.iter().for_each(|(concern, detour)| cx.note(concern, *detour));
        value(status, &cx).to_str().expect("ascii").to_owned()
    }

    #[test]
    fn a_request_that_went_round_redis_was_degraded_though_redis_was_up() {
        assert_eq!(told(Status::Up, &[]), "up");
        assert_eq!(told(Status::InMemory, &[]), "in_memory");
        let noted = [("session", Detour::Memory), ("cache", Detour::Skipped), ("rate-limit", Detour::Local)];
        assert_eq!(told(Status::Up, &noted), "degraded; session=memory; cache=skipped; rate-limit=local");
        assert_eq!(told(Status::Down, &[]), "degraded");
    }

    #[test]
    fn a_name_that_is_no_header_is_left_out() {
        assert_eq!(told(Status::Down, &[("a\nb", Detour::Skipped)]), "degraded");
    }
}
