//! What an error of Redis means: to the breaker, and to the caller.

use redis::{ErrorKind, RedisError};

use crate::Error;

/// What went wrong, as far as anybody acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// The connection is gone.
    Dropped,
    /// No answer within the deadline.
    Timeout,
    /// The server answers and cannot serve: loading, busy, no master.
    NotServing,
    /// The server refuses us: a wrong or missing password.
    Auth,
    /// Who should say our password could not.
    NoCredentials,
    /// The server refuses writes: out of memory, failed save, read-only replica.
    WritesRefused,
    /// Not the protocol we speak.
    Protocol,
    /// Redis, and not one that serves what we are configured for: a node of a cluster, no such database, protected mode.
    Misfit,
    /// The script is not loaded.
    NoScript,
    /// A script's guard found its deadline passed; the server's time in microseconds.
    Late(u64),
    /// A value of another type under our key.
    WrongType,
    /// The ACL does not allow the command or the key.
    NoPermission,
    /// Any other error of the server.
    Other,
}

impl Fault {
    /// Reads what the client library says; codes, because `kind()` calls most of these the same.
    pub(super) fn of(error: &RedisError) -> Self {
        if let Some(code) = error.code() {
            return Self::of_code(code, error.detail());
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::Auth,
            ErrorKind::Parse | ErrorKind::RESP3NotSupported => Self::Protocol,
            _ if error.is_timeout() => Self::Timeout,
            _ if error.is_io_error() || error.is_connection_dropped() => Self::Dropped,
            ErrorKind::Io => Self::Dropped,
            _ => Self::Other,
        }
    }

    pub(super) fn of_code(code: &str, detail: Option<&str>) -> Self {
        match code {
            "LOADING" | "CLUSTERDOWN" | "MASTERDOWN" | "BUSY" | "TRYAGAIN" => Self::NotServing,
            "NOAUTH" | "WRONGPASS" => Self::Auth,
            "MOVED" | "ASK" | "CROSSSLOT" | "DENIED" => Self::Misfit,
            "OOM" | "MISCONF" | "READONLY" | "NOREPLICAS" => Self::WritesRefused,
            "NOSCRIPT" => Self::NoScript,
            "WRONGTYPE" => Self::WrongType,
            "NOPERM" => Self::NoPermission,
            "ERR" => detail.map_or(Self::Other, Self::of_detail),
            "LATE" => Self::Late(detail.and_then(|time| time.trim().parse().ok()).unwrap_or(0)),
            _ => Self::Other,
        }
    }

    /// What an error without a code of its own says.
    fn of_detail(detail: &str) -> Self {
        // Before Redis 7 an error inside of a script is quoted so.
        if detail.contains("WRONGTYPE") {
            return Self::WrongType;
        }
        let is_quoted = |code| detail.starts_with("Error running script") && detail.contains(code);
        if ["-OOM ", "-READONLY ", "-MISCONF ", "-NOREPLICAS "].into_iter().any(is_quoted) {
            return Self::WritesRefused;
        }
        // To SELECT, with which a connection begins.
        match detail.starts_with("DB index is out of range") || detail.starts_with("SELECT is not allowed") {
            true => Self::Misfit,
            false => Self::Other,
        }
    }

    /// The word for logs and metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Timeout => "timeout",
            Self::NotServing => "not_serving",
            Self::Auth => "auth",
            Self::NoCredentials => "no_credentials",
            Self::WritesRefused => "writes_refused",
            Self::Protocol => "protocol",
            Self::Misfit => "misfit",
            Self::NoScript => "no_script",
            Self::Late(_) => "late",
            Self::WrongType => "wrong_type",
            Self::NoPermission => "no_permission",
            Self::Other => "other",
        }
    }

    /// What the caller is told. Never the server's own text: it can hold values.
    pub(super) fn into_error(self, command: &'static str) -> Error {
        let text = match self {
            Self::WrongType => return Error::corrupt(format!("{command}: redis holds a value of another type")),
            Self::Dropped => "the connection to redis dropped",
            Self::Timeout => "redis did not answer in time",
            Self::NotServing => "redis is not serving now",
            Self::Auth => "redis refused our credentials",
            Self::NoCredentials => "there are no credentials for redis",
            Self::WritesRefused => "redis refuses writes now",
            Self::Protocol => "redis answered in another protocol",
            Self::Misfit => "redis does not serve what is configured",
            Self::NoScript => "redis has lost a script",
            Self::Late(_) => "redis got the command after its deadline and did nothing",
            Self::NoPermission => "redis' access rules do not allow the command",
            Self::Other => "redis answered with an error",
        };
        Error::unavailable(format!("{command}: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_within_a_script_of_an_older_server_is_read() {
        let quoted = |error| format!("Error running script (call to f_4b0): @user_script:1: @user_script: 1: {error}");
        for (error, fault) in [
            ("-OOM command not allowed when used memory > 'maxmemory'.", Fault::WritesRefused),
            ("-READONLY You can't write against a read only replica.", Fault::WritesRefused),
            ("-MISCONF Redis is configured to save RDB snapshots", Fault::WritesRefused),
            ("-NOREPLICAS Not enough good replicas to write.", Fault::WritesRefused),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", Fault::WrongType),
            ("attempt to index a nil value", Fault::Other),
        ] {
            assert_eq!(Fault::of_code("ERR", Some(&quoted(error))), fault, "{error}");
        }
        assert_eq!(Fault::of_code("ERR", Some("unknown command 'x', with args beginning with: '-OOM '")), Fault::Other);
        assert_eq!(Fault::of_code("ERR", None), Fault::Other);
    }

    #[test]
    fn a_server_of_another_kind_is_told_from_one_that_fails() {
        for code in ["MOVED", "ASK", "CROSSSLOT", "DENIED"] {
            assert_eq!(Fault::of_code(code, None), Fault::Misfit);
        }
        for detail in ["DB index is out of range", "SELECT is not allowed in cluster mode"] {
            assert_eq!(Fault::of_code("ERR", Some(detail)), Fault::Misfit);
        }
        assert_eq!(Fault::of_code("ERR", Some("max number of clients reached")), Fault::Other);
    }
}
