//! Unsafe methods purge what they changed.

use std::sync::Arc;

use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_LOCATION, LOCATION},
};

use super::{Place, Purge, Purged, fill::aftermath, handle::Mount, outcome::Answered, place, reference::Base};
use crate::{Cx, StoreFuture};

/// More URLs than this one response does not name.
const MAX_NAMED: usize = 32;

/// An unsafe request: what it changed is purged before its response leaves (RFC 9111, 4.4).
pub(crate) struct Invalidate {
    mount: Arc<Mount>,
    cx: Cx,
    place: Option<Place>,
    base: Base,
}

impl Invalidate {
    pub(crate) fn new(mount: &Arc<Mount>, cx: &Cx, place: Option<Place>, base: Base) -> Self {
        Self { mount: Arc::clone(mount), cx: cx.clone(), place, base }
    }

    /// The purge, if the response is no error: of the URL and of what the response names on the same host.
    pub(crate) fn purge(&self, status: StatusCode, headers: &HeaderMap) -> Option<StoreFuture<Purged>> {
        let own = self.place.as_ref().filter(|_| status.is_success() || status.is_redirection())?;
        let (hosts, ignored) = (&self.mount.cache.hosts, &self.mount.settings.ignored);
        let told = [LOCATION, CONTENT_LOCATION].into_iter().flat_map(|name| headers.get_all(name));
        let named = told.filter_map(|reference| self.base.resolve(reference.to_str().ok()?));
        let others = named.map(|resolved| place::of_resolved(&self.base, &resolved, hosts, ignored));
        let others =
            others.map(|url| Place::new(own.name(), own.partition().map(Into::into), url).fixed(own.template()));
        let places = std::iter::once(own.clone()).chain(others.take(MAX_NAMED)).collect();
        let shared = &self.mount.cache.shared;
        let purging = shared.store.purge(&aftermath(&self.cx), Purge::Places(places));
        shared.flights.scatter();
        Some(purging)
    }

    pub(crate) fn finish(&self, headers: &mut HeaderMap) {
        if self.place.is_some() {
            self.mount.cache.shared.flights.scatter();
        }
        self.mount.report(Answered::Method, headers);
    }
}
