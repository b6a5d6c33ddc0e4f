//! Stale responses are refreshed behind the back of who was served one (RFC 5861, 3).

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body::Body;
use tower_service::Service;

use super::{
    Place, Variant,
    fill::{Fill, Plan, aftermath},
    handle::Shared,
};
use crate::{Cx, background::Background};

/// A handler that takes longer is left alone. Nobody waits for it, but there is room for so many refreshes only.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many are under way at once. One more would wait with what its service has taken to be ready, a permit of a limit for
/// example; a later request begins it.
const AT_ONCE: usize = 32;

/// The refreshes under way, at most one for each variant of a URL.
///
/// They have a queue of their own: a handler that hangs must hold up nothing that is written to Redis.
#[derive(Default)]
pub(crate) struct Refreshes {
    under_way: Mutex<HashSet<(Place, Variant)>>,
    queue: Background,
}

/// A refresh under way; its end when dropped.
pub(crate) struct Refreshing {
    all: Arc<Refreshes>,
    what: (Place, Variant),
}

impl Refreshes {
    /// Begins the refresh of a variant, if none is under way and there is room.
    pub(crate) fn begin(self: &Arc<Self>, place: &Place, variant: Variant) -> Option<Refreshing> {
        let what = (place.clone(), variant);
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = under_way.len() < AT_ONCE && under_way.insert(what.clone());
        drop(under_way);
        begins.then(|| Refreshing { all: Arc::clone(self), what })
    }
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.all.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.what);
    }
}

/// Donates a request to the refresh of what it was answered with, because a request with a connection's body cannot be
/// made up.
pub(crate) fn start<S, B, R>(shared: &Shared, mut service: S, mut parts: Parts, body: B, fill: Box<Fill>)
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
{
    let plan = Plan::Fill(fill);
    plan.prepare(&mut parts);
    // The budget was for a client who waits.
    if let Some(cx) = parts.extensions.get_mut::<Cx>() {
        *cx = aftermath(cx);
    }
    let serving = service.call(Request::from_parts(parts, body));
    shared.refreshes.queue.push(async move {
        let refreshed = tokio::time::timeout(PATIENCE, refresh(serving, plan)).await;
        if refreshed.is_err() {
            tracing::debug!("a refresh of the response cache took too long");
        }
    });
}

/// Sees a refresh through. One that fails leaves what is stored until its window ends.
async fn refresh<F, R, E>(serving: F, plan: Plan)
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Data = Bytes>,
{
    let response = serving.await.ok().filter(|response| !response.status().is_server_error());
    if let (Some(response), Plan::Fill(fill)) = (response, plan) {
        fill.respond(response).into_body().keep().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refresh_of_a_variant_is_under_way() {
        let refreshes = Arc::new(Refreshes::default());
        let place = Place::new("a", None, [1; 16]);
        let first = refreshes.begin(&place, [0; 16]);
        assert!(first.is_some() && refreshes.begin(&place, [0; 16]).is_none());
        assert!(refreshes.begin(&place, [1; 16]).is_some(), "another variant");
        drop(first);
        assert!(refreshes.begin(&place, [0; 16]).is_some());
    }

    #[test]
    fn there_is_room_for_so_many_only() {
        let refreshes = Arc::new(Refreshes::default());
        let place = Place::new("a", None, [1; 16]);
        let variant = |n: usize| [u8::try_from(n).expect("a small number"); 16];
        let mut under_way: Vec<_> = (0..AT_ONCE).map(|n| refreshes.begin(&place, variant(n))).collect();
        assert!(under_way.iter().all(Option::is_some) && refreshes.begin(&place, variant(AT_ONCE)).is_none());
        under_way.pop();
        assert!(refreshes.begin(&place, variant(AT_ONCE)).is_some());
    }
}
