//! Who is asking: the one place that limits, caches and handlers read it from.

use std::{fmt, sync::Arc};

use crate::StoreFuture;

/// A user's id as text, however the application numbers its users.
///
/// ```
/// use towerkeep::UserId;
/// assert_eq!(UserId::new(42).as_str(), "42");
/// assert_eq!(UserId::new(42).parse::<i64>(), Ok(42));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    /// The id that `id` prints.
    pub fn new(id: impl fmt::Display) -> Self {
        Self(id.to_string().into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as the application's own type.
    ///
    /// # Errors
    /// What `T` says of a text that is not one of its ids.
    pub fn parse<T: std::str::FromStr>(&self) -> Result<T, T::Err> {
        self.0.parse()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for UserId {
    type Err = std::convert::Infallible;
    fn from_str(id: &str) -> Result<Self, Self::Err> {
        Ok(Self(id.into()))
    }
}

/// What is known about who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A user, proven by a session, a token or a key.
    Known(UserId),
    /// Nobody in particular.
    Anonymous,
    /// There is a credential, and what would prove it cannot be reached. Not the same as anonymous: nobody is
    /// logged out because Redis is down.
    Unavailable,
}

/// Finds out who is asking, when somebody wants to know.
pub trait Identify: Send + Sync + 'static {
    /// The identity; called at most once per question, answers without waiting where it can.
    ///
    /// An outage is [`Identity::Unavailable`], not an error.
    fn identify(&self) -> StoreFuture<Identity>;
}

const _: Option<&dyn Identify> = None;

/// Who is asking, in the request's extensions, resolved on demand.
///
/// The session layer puts one there. An application with its own authentication inserts it in a middleware, and
/// per-user limits and caches follow it:
///
/// ```
/// use towerkeep::{Identity, Principal, UserId};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Principal::user(42)); // what the token said
///
/// let principal = Principal::of(request.extensions());
/// assert_eq!(principal.resolve().await.unwrap(), Identity::Known(UserId::new(42)));
/// # }
/// ```
#[derive(Clone)]
pub struct Principal(Repr);

#[derive(Clone)]
enum Repr {
    Fixed(Identity),
    Lazy(Arc<dyn Identify>),
}

impl Principal {
    /// A user that is proven already.
    pub fn user(id: impl fmt::Display) -> Self {
        Self(Repr::Fixed(Identity::Known(UserId::new(id))))
    }

    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self(Repr::Fixed(Identity::Anonymous))
    }

    /// Somebody whom `identify` finds out, only if a key, a cache or a handler asks.
    pub fn lazy(identify: impl Identify) -> Self {
        Self::shared(Arc::new(identify))
    }

    /// As [`lazy`](Principal::lazy), for an `Arc` that is there already.
    pub fn shared(identify: Arc<dyn Identify>) -> Self {
        Self(Repr::Lazy(identify))
    }

    /// The request's principal; anonymous, with one warning per process, where no layer put one.
    pub fn of(extensions: &http::Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_else(|| {
            crate::telemetry::warn_once!(
                "no Principal in the request: mount the session layer, or insert one, outside of what asks for the user"
            );
            Self::anonymous()
        })
    }

    /// Finds out who is asking.
    pub fn resolve(&self) -> StoreFuture<Identity> {
        match &self.0 {
            Repr::Fixed(identity) => StoreFuture::ok(identity.clone()),
            Repr::Lazy(identify) => identify.identify(),
        }
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Fixed(identity) => f.debug_tuple("Principal").field(identity).finish(),
            Repr::Lazy(_) => f.write_str("Principal(lazy)"),
        }
    }
}

#[cfg(feature = "axum")]
pub use extract::{CurrentUser, CurrentUserRejection};

#[cfg(feature = "axum")]
mod extract {
    use std::{convert::Infallible, str::FromStr};

    use axum::{
        extract::{FromRequestParts, OptionalFromRequestParts},
        response::{IntoResponse, Response},
    };
    use http::{StatusCode, request::Parts};

    use super::{Identity, Principal, UserId};
    use crate::Error;

    /// The user who is asking; refuses everyone else.
    ///
    /// 1. A known user: their id, parsed into `T`.
    /// 2. Nobody: 401. An id that is no `T`: 401 too, with a warning.
    /// 3. **When Redis is down** and this instance has never seen the session: 503 with `Retry-After`.
    /// 4. `Option<CurrentUser<T>>` never refuses: cases 2 and 3 are `None`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CurrentUser<T = UserId>(pub T);

    /// Why [`CurrentUser`] refused.
    #[derive(Debug)]
    pub enum CurrentUserRejection {
        /// Nobody is logged in: 401.
        Anonymous,
        /// It cannot be found out now: 503 with `Retry-After`.
        Unavailable(Error),
    }

    impl IntoResponse for CurrentUserRejection {
        fn into_response(self) -> Response {
            match self {
                Self::Anonymous => StatusCode::UNAUTHORIZED.into_response(),
                Self::Unavailable(error) => error.into_response(),
            }
        }
    }

    impl<T: FromStr, S: Sync> FromRequestParts<S> for CurrentUser<T> {
        type Rejection = CurrentUserRejection;
        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
            let identity = Principal::of(&parts.extensions).resolve().await;
            match identity.unwrap_or(Identity::Unavailable) {
                Identity::Known(user) => user.parse().map(Self).map_err(|_| {
                    tracing::warn!("the logged-in user's id is not of the type that a handler's CurrentUser asks for");
                    CurrentUserRejection::Anonymous
                }),
                Identity::Anonymous => Err(CurrentUserRejection::Anonymous),
                Identity::Unavailable => {
                    Err(CurrentUserRejection::Unavailable(Error::unavailable("who is asking cannot be found out now")))
                }
            }
        }
    }

    impl<T: FromStr, S: Sync> OptionalFromRequestParts<S> for CurrentUser<T> {
        type Rejection = Infallible;
        async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Infallible> {
            Ok(<Self as FromRequestParts<S>>::from_request_parts(parts, state).await.ok())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lazy_principal_asks_only_when_resolved() {
        struct Ask;
        impl Identify for Ask {
            fn identify(&self) -> StoreFuture<Identity> {
                StoreFuture::ok(Identity::Unavailable)
            }
        }
        let principal = Principal::lazy(Ask);
        assert_eq!(principal.resolve().await.expect("answers"), Identity::Unavailable);
    }

    #[tokio::test]
    async fn no_principal_is_anonymous() {
        let extensions = http::Extensions::new();
        let identity = Principal::of(&extensions).resolve().await;
        assert_eq!(identity.expect("answers"), Identity::Anonymous);
    }
}
