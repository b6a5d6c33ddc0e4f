//! The handles as axum extractors, from any state that holds a [`Keep`].

use std::convert::Infallible;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use super::Keep;

macro_rules! extractor {
    ($(#[$meta:meta])* $handle:ty, $from:expr) => {
        $(#[$meta])*
        impl<S: Sync> FromRequestParts<S> for $handle
        where
            Keep: FromRef<S>,
        {
            type Rejection = Infallible;
            async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Self, Infallible> {
                let from: fn(&Keep) -> $handle = $from;
                Ok(from(&Keep::from_ref(state)))
            }
        }
    };
}

extractor!(Keep, Keep::clone);
extractor!(
    #[cfg(feature = "session")]
    crate::session::Sessions,
    |keep| keep.sessions().clone()
);
extractor!(
    #[cfg(feature = "rate-limit")]
    crate::rate_limit::RateLimits,
    |keep| keep.limits().clone()
);
extractor!(
    #[cfg(feature = "cache")]
    crate::cache::ResponseCache,
    |keep| keep.cache().clone()
);
extractor!(
    #[cfg(feature = "boards")]
    crate::counter::Counters,
    |keep| keep.counters().clone()
);
extractor!(
    #[cfg(feature = "boards")]
    crate::kv::Kv,
    |keep| keep.kv().clone()
);
extractor!(
    #[cfg(feature = "boards")]
    crate::token::Tokens,
    |keep| keep.tokens().clone()
);
