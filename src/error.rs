//! The one error of the library, and what a caller does about outages.

use std::{borrow::Cow, error::Error as StdError, fmt, time::Duration};

/// `Result` with the library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, told by predicates.
///
/// 1. [`is_unavailable`](Error::is_unavailable): Redis (or a custom store) could not answer in time. A state to
///    live with, see [`OnOutage`]; as a response it is 503 with `Retry-After`.
/// 2. [`is_corrupt`](Error::is_corrupt): a stored value is not what we wrote. Another program's value under our
///    key is the usual cause.
/// 3. [`is_invalid`](Error::is_invalid): an argument or a configuration that can never work.
///
/// `Display` is one line without its sources and never holds a key, a value or a password.
///
/// ```
/// use towerkeep::Error;
/// let error = Error::invalid("prefix is empty; give one like \"tk\"");
/// assert!(error.is_invalid() && !error.is_unavailable());
/// assert_eq!(error.to_string(), "prefix is empty; give one like \"tk\"");
/// ```
pub struct Error {
    kind: Kind,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unavailable,
    Corrupt,
    Invalid,
}

/// What [`Error::retry_after`] says when the store gave no better figure.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

impl Error {
    /// The store could not answer: down, too slow, or out of this request's budget.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    /// A stored value that cannot be read as ours.
    pub fn corrupt(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Corrupt, message)
    }

    /// An argument or configuration that can never work.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), retry_after: None, source: None }
    }

    /// The same error for another one who waits for the same answer; the cause stays with the first.
    #[cfg(all(feature = "redis", feature = "rate-limit"))]
    pub(crate) fn again(&self) -> Self {
        Self { kind: self.kind, message: self.message.clone(), retry_after: self.retry_after, source: None }
    }

    /// Keeps `source` as the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Sets when a retry makes sense. Defaults to one second for unavailable errors.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Whether the store could not answer; the request itself was fine.
    pub fn is_unavailable(&self) -> bool {
        self.kind == Kind::Unavailable
    }

    /// Whether a stored value was not one of ours.
    pub fn is_corrupt(&self) -> bool {
        self.kind == Kind::Corrupt
    }

    /// Whether an argument or the configuration is wrong.
    pub fn is_invalid(&self) -> bool {
        self.kind == Kind::Invalid
    }

    /// When to try again; only unavailable errors have an answer.
    pub fn retry_after(&self) -> Option<Duration> {
        self.is_unavailable().then(|| self.retry_after.unwrap_or(DEFAULT_RETRY_AFTER))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.kind).field("message", &self.message);
        if let Some(source) = &self.source {
            out.field("source", source);
        }
        out.finish_non_exhaustive()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Answers 503 with `Retry-After` for an outage and 500 for anything else, without details.
#[cfg(feature = "axum")]
impl axum::response::IntoResponse for Error {
    fn into_response(self) -> axum::response::Response {
        use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
        let Some(after) = self.retry_after() else {
            tracing::error!(error = %self, "a handler's call to towerkeep failed");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let seconds = HeaderValue::from(whole_seconds(after));
        (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, seconds)]).into_response()
    }
}

/// Rounds up to whole seconds, at least one: what `Retry-After` may carry (RFC 9110, 10.2.3).
#[cfg(any(feature = "axum", feature = "rate-limit"))]
pub(crate) fn whole_seconds(after: Duration) -> u64 {
    after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)).max(1)
}

/// Turns an outage, and only an outage, into a default.
///
/// ```
/// use towerkeep::{Error, OnOutage, Result};
/// let down: Result<Vec<u32>> = Err(Error::unavailable("redis is down"));
/// assert!(down.on_outage(Vec::new).unwrap().is_empty());
///
/// let wrong: Result<Vec<u32>> = Err(Error::invalid("limit is 0"));
/// assert!(wrong.on_outage(Vec::new).is_err());
/// ```
pub trait OnOutage<T> {
    /// Answers `default()` when the store was unavailable; every other error stays.
    fn on_outage(self, default: impl FnOnce() -> T) -> Result<T>;
}

impl<T> OnOutage<T> for Result<T> {
    fn on_outage(self, default: impl FnOnce() -> T) -> Result<T> {
        match self {
            Err(error) if error.is_unavailable() => Ok(default()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unavailable_errors_say_when_to_retry() {
        assert_eq!(Error::unavailable("x").retry_after(), Some(DEFAULT_RETRY_AFTER));
        assert_eq!(Error::invalid("x").with_retry_after(Duration::from_secs(9)).retry_after(), None);
    }

    #[test]
    fn keeps_its_source_out_of_display() {
        let error = Error::corrupt("session value is unreadable").with_source("inner cause");
        assert_eq!(error.to_string(), "session value is unreadable");
        assert_eq!(StdError::source(&error).map(ToString::to_string), Some("inner cause".into()));
    }

    #[test]
    #[cfg(any(feature = "axum", feature = "rate-limit"))]
    fn rounds_retry_after_up_to_at_least_one() {
        assert_eq!(whole_seconds(Duration::ZERO), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
    }
}
