//! The session as an axum extractor. `Sessions` comes from any state that holds a `Keep`.

use axum::extract::FromRequestParts;
use http::{StatusCode, request::Parts};

use super::Session;

/// Answers 500 and logs an error where the session layer is not mounted around the route.
impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = (StatusCode, &'static str);
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get().cloned().ok_or_else(|| {
            tracing::error!(
                "a handler asks for its Session and no session layer is mounted: .layer(sessions.layer()) around the route"
            );
            (StatusCode::INTERNAL_SERVER_ERROR, "no session layer is mounted")
        })
    }
}
