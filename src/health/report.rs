//! What was found, in one word for everybody and in full for operators.

use std::time::Duration;

use super::{Check, Reason};
use crate::{Status, outcome::outcomes};

outcomes! {
    /// What everybody may know.
    pub enum Verdict {
        /// All is there.
        Ok => "ok",
        /// Redis is missing, or refuses something; requests are served without it.
        Degraded => "degraded",
    }
}

/// What the checks found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// How the connection in use stood.
    pub status: Status,
    /// Whether a new connection was made and let in.
    pub connection: Check,
    /// Whether a value was written.
    pub write: Check,
    /// Whether it was read.
    pub read: Check,
    /// How long all of it took.
    pub took: Duration,
}

impl HealthReport {
    /// Without a server: all is there, or all is forced to be away.
    pub(super) fn unasked(status: Status) -> Self {
        let check = if status == Status::Down { Check::Failed(Reason::Forced) } else { Check::Passed };
        Self { status, connection: check, write: check, read: check, took: Duration::ZERO }
    }

    /// Ok, where Redis is in use and all checks passed.
    pub fn verdict(&self) -> Verdict {
        let is_used = matches!(self.status, Status::Up | Status::InMemory);
        let is_fit = [self.connection, self.write, self.read].into_iter().all(Check::is_passed);
        if is_used && is_fit { Verdict::Ok } else { Verdict::Degraded }
    }

    /// All of it as JSON, for operators only: it tells a stranger how your servers are.
    ///
    /// `{"status":"degraded","redis":"up","connection":"ok","write":"read_only_replica","read":"ok","took_ms":0.4}`
    pub fn details(&self) -> String {
        format!(
            r#"{{"status":"{}","redis":"{}","connection":"{}","write":"{}","read":"{}","took_ms":{:.1}}}"#,
            self.verdict(),
            self.status,
            self.connection.as_str(),
            self.write.as_str(),
            self.read.as_str(),
            self.took.as_secs_f64() * 1_000.0,
        )
    }
}

/// The verdict alone, never stored by a cache. 200 whatever it is.
#[cfg(feature = "axum")]
impl axum::response::IntoResponse for HealthReport {
    fn into_response(self) -> axum::response::Response {
        use http::header::{CACHE_CONTROL, CONTENT_TYPE};
        let body = format!(r#"{{"status":"{}"}}"#, self.verdict());
        ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(status: Status, write: Check) -> HealthReport {
        HealthReport { write, ..HealthReport::unasked(status) }
    }

    #[test]
    fn one_failed_check_is_enough() {
        assert_eq!(report(Status::Up, Check::Passed).verdict(), Verdict::Ok);
        assert_eq!(report(Status::Up, Check::Failed(Reason::OutOfMemory)).verdict(), Verdict::Degraded);
        assert_eq!(report(Status::Degraded, Check::Passed).verdict(), Verdict::Degraded);
    }

    #[test]
    fn the_details_are_json() {
        let report = report(Status::Up, Check::Failed(Reason::ReadOnlyReplica));
        let expected = r#"{"status":"degraded","redis":"up","connection":"ok","write":"read_only_replica","read":"ok","took_ms":0.0}"#;
        assert_eq!(report.details(), expected);
    }
}
