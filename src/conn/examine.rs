//! What somebody who connects now would find: for people who ask how Redis is, never for the breaker.

use std::time::Duration;

use redis::{AsyncConnectionConfig, ErrorKind, Pipeline, RedisError, ServerError, Value, aio::MultiplexedConnection};
use tokio::time::timeout;

use super::{Redis, fault::Fault};
use crate::outcome::{Check, Reason};

/// How long connecting may take, and the one trip after it. A probe that waits a second for its answer gets one.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long the key of the write test lives, in milliseconds.
const CANARY_TTL: u64 = 10_000;

/// A connection of its own, a write and a read of what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Examined {
    pub(crate) connection: Check,
    pub(crate) write: Check,
    pub(crate) read: Check,
}

impl Examined {
    fn unconnected(reason: Reason) -> Self {
        Self { connection: Check::Failed(reason), write: Check::Untried, read: Check::Untried }
    }
}

impl Redis {
    /// Connects anew, because the connection in use knows nothing of a password that was changed, and tries a write and a
    /// read. Takes half a second at most, whatever the server does, and waits a second more where it was asked for a moment ago;
    /// neither breaker nor requests hear of it.
    pub(crate) async fn examine(&self) -> Examined {
        self.shared.health.come().await;
        crate::telemetry::count("towerkeep_redis_connects_total", [("by", "health")]);
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let connecting = async {
            let client = self.shared.manager.door.client().await.map_err(|_| Reason::NoCredentials)?;
            let connected = client.get_multiplexed_async_connection_with_config(&config).await;
            connected.map_err(|error| reason(&error))
        };
        match timeout(PATIENCE, connecting).await {
            Err(_) => Examined::unconnected(Reason::Slow),
            Ok(Err(reason)) => Examined::unconnected(reason),
            Ok(Ok(connection)) => self.write_and_read(connection).await,
        }
    }

    async fn write_and_read(&self, mut connection: MultiplexedConnection) -> Examined {
        let key = self.keys().canary(&format!("{}-health", self.shared.instance));
        let wanted = self.shared.server_time.local().as_micros().to_string();
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("SET").arg(&key).arg(&wanted).arg("PX").arg(CANARY_TTL);
        pipeline.cmd("GET").arg(&key);
        let answers = match timeout(PATIENCE, connection.send_packed_commands(&pipeline, 0, 2)).await {
            Err(_) => return Examined::unconnected(Reason::Slow),
            Ok(Err(error)) => return Examined::unconnected(reason(&error)),
            Ok(Ok(answers)) => answers,
        };
        judge(&answers, wanted.as_bytes())
    }
}

fn judge(answers: &[Value], wanted: &[u8]) -> Examined {
    let [set, get] = answers else { return Examined::unconnected(Reason::Other) };
    let (set, get) = (refusal(set), refusal(get).or_else(|| differs(get, wanted)));
    // Such a server lets us connect, and tells only with the first command that we may not.
    if set == Some(Reason::WrongPassword) {
        return Examined::unconnected(Reason::WrongPassword);
    }
    let check = |reason: Option<Reason>| reason.map_or(Check::Passed, Check::Failed);
    let read = match (set, get) {
        // Nothing was written that could be read; a server that answers nil answers.
        (Some(_), Some(Reason::OtherValue)) => Check::Passed,
        (_, get) => check(get),
    };
    Examined { connection: Check::Passed, write: check(set), read }
}

fn differs(value: &Value, wanted: &[u8]) -> Option<Reason> {
    let is_same = matches!(value, Value::BulkString(text) if text == wanted);
    (!is_same).then_some(Reason::OtherValue)
}

fn refusal(value: &Value) -> Option<Reason> {
    let Value::ServerError(error) = value else { return None };
    Some(of_server(error))
}

fn of_server(error: &ServerError) -> Reason {
    by_code(error.code(), error.details())
}

fn reason(error: &RedisError) -> Reason {
    if let Some(code) = error.code() {
        return by_code(code, error.detail());
    }
    match Fault::of(error) {
        Fault::Dropped => Reason::Unreachable,
        Fault::Timeout => Reason::Slow,
        Fault::Auth => Reason::WrongPassword,
        _ if error.kind() == ErrorKind::AuthenticationFailed => Reason::WrongPassword,
        _ => Reason::Other,
    }
}

fn by_code(code: &str, detail: Option<&str>) -> Reason {
    match code {
        "READONLY" => Reason::ReadOnlyReplica,
        "OOM" => Reason::OutOfMemory,
        "MISCONF" => Reason::FailedSave,
        "NOREPLICAS" => Reason::TooFewReplicas,
        _ => match Fault::of_code(code, detail) {
            Fault::Auth => Reason::WrongPassword,
            Fault::NoPermission => Reason::NoPermission,
            Fault::NotServing => Reason::NotServing,
            _ => Reason::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_room_for_writes_is_still_read() {
        let oom = redis::parse_redis_value(b"-OOM no room\r\n").expect("an error as a value");
        let examined = judge(&[oom, Value::Nil], b"1");
        assert_eq!((examined.write, examined.read), (Check::Failed(Reason::OutOfMemory), Check::Passed));
    }

    #[test]
    fn what_was_written_must_be_read() {
        let ok = || Value::Okay;
        assert!(judge(&[ok(), Value::BulkString(b"1".to_vec())], b"1").read.is_passed());
        assert_eq!(judge(&[ok(), Value::Nil], b"1").read, Check::Failed(Reason::OtherValue));
    }

    #[test]
    fn codes_have_reasons() {
        for (code, detail, reason) in [
            ("READONLY", "You can't write against a read only replica.", Reason::ReadOnlyReplica),
            ("NOAUTH", "Authentication required.", Reason::WrongPassword),
            ("WRONGPASS", "invalid username-password pair", Reason::WrongPassword),
            ("LOADING", "Redis is loading the dataset in memory", Reason::NotServing),
            ("ERR", "syntax error", Reason::Other),
        ] {
            assert_eq!(by_code(code, Some(detail)), reason, "{code}");
        }
    }
}
