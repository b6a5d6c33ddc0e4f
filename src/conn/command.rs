//! What goes to Redis and what comes back, so that only this folder names the `redis` crate.

use redis::{Arg, Cmd, ToRedisArgs, Value};

use super::ScriptCall;
use crate::{Error, Result};

/// One command. Whether it writes decides if it is tried while Redis refuses writes.
pub(crate) struct Command {
    pub(super) cmd: Cmd,
    pub(super) name: &'static str,
    pub(super) writes: bool,
    /// Whether it is run by a script that refuses to run it late.
    pub(super) in_time: bool,
}

/// What most commands need; those that need more grow.
const ARGS: usize = 5;
const BYTES: usize = 96;

impl Command {
    /// A command that changes nothing.
    pub(crate) fn read(name: &'static str) -> Self {
        Self::new(name, false)
    }

    /// A command that changes something, sooner or later: a server that was stopped runs it when it goes on, long after its
    /// caller was told that it failed. Where that does harm, see [`in_time`](Self::in_time).
    pub(crate) fn write(name: &'static str) -> Self {
        Self::new(name, true)
    }

    /// A command that changes something by its deadline or not at all, about the key that is its first argument.
    #[cfg(any(feature = "boards", feature = "rate-limit", feature = "cache"))]
    pub(crate) fn in_time(name: &'static str) -> Self {
        Self { in_time: true, ..Self::new(name, true) }
    }

    fn new(name: &'static str, writes: bool) -> Self {
        let mut cmd = Cmd::with_capacity(ARGS, BYTES);
        cmd.arg(name);
        Self { cmd, name, writes, in_time: false }
    }

    /// Appends an argument: text, bytes, an integer, or a slice of them.
    pub(crate) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.cmd.arg(arg);
        self
    }

    /// The same, as arguments of the script that runs it.
    pub(super) fn into_call(self) -> ScriptCall {
        let simple = |arg: Arg<&[u8]>| if let Arg::Simple(bytes) = arg { bytes.to_vec() } else { Vec::new() };
        let args: Vec<_> = self.cmd.args_iter().map(simple).collect();
        // Ours are text.
        let keys = args.get(1).map(|key| String::from_utf8_lossy(key).into_owned()).into_iter().collect();
        ScriptCall { keys, args, name: Some(self.name) }
    }
}

/// What Redis answered to one command.
pub(crate) struct Reply(pub(super) Value);

impl Reply {
    /// A string, or nothing for nil.
    pub(crate) fn bytes(self) -> Result<Option<Vec<u8>>> {
        match self.0 {
            Value::Nil => Ok(None),
            Value::BulkString(bytes) => Ok(Some(bytes)),
            Value::SimpleString(text) => Ok(Some(text.into_bytes())),
            _ => Err(unexpected("a string")),
        }
    }

    /// A string of UTF-8, or nothing for nil.
    pub(crate) fn text(self) -> Result<Option<String>> {
        let text = self.bytes()?.map(String::from_utf8).transpose();
        text.map_err(|_| Error::corrupt("a text in redis is not utf-8"))
    }

    /// An integer.
    pub(crate) fn int(self) -> Result<i64> {
        match self.0 {
            Value::Int(number) => Ok(number),
            _ => Err(unexpected("an integer")),
        }
    }

    /// A list of replies; nil is an empty one.
    pub(crate) fn array(self) -> Result<Vec<Self>> {
        match self.0 {
            Value::Nil => Ok(Vec::new()),
            Value::Array(values) => Ok(values.into_iter().map(Self).collect()),
            _ => Err(unexpected("a list")),
        }
    }

    /// Whether Redis answered nil, as `SET ... NX` does when the key exists.
    pub(crate) fn is_nil(&self) -> bool {
        matches!(self.0, Value::Nil)
    }
}

/// A reply of the wrong shape, told without what it holds.
fn unexpected(wanted: &str) -> Error {
    Error::corrupt(format!("redis answered something else than {wanted}"))
}
