//! What a handler says about its own response, to our cache alone.

use std::time::Duration;

use super::Tag;

/// A handler's word about the response it makes; it never leaves the process.
///
/// In axum it is a part of a response; elsewhere insert it into the response's extensions. The directives of
/// `Cache-Control` against storing stay in force.
///
/// ```
/// use std::time::Duration;
/// use towerkeep::cache::CacheHint;
/// let mut response = http::Response::new(());
/// response.extensions_mut().insert(CacheHint::new().tag(("challenge", 7)).ttl(Duration::from_secs(30)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheHint {
    pub(crate) tags: Vec<Tag>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) no_store: bool,
}

impl CacheHint {
    /// Says nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Purges the response with `tag`, beside the layer's tags. At most 64 count; with more it is not stored.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<Tag>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Keeps the response this long, whatever `Cache-Control` tells other caches.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Keeps the response out of the store.
    #[must_use]
    pub fn no_store(mut self) -> Self {
        self.no_store = true;
        self
    }
}

#[cfg(feature = "axum")]
impl axum::response::IntoResponseParts for CacheHint {
    type Error = std::convert::Infallible;
    fn into_response_parts(
        self,
        mut parts: axum::response::ResponseParts,
    ) -> Result<axum::response::ResponseParts, Self::Error> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}
