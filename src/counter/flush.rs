//! What was gathered, as it is handed over: content that never changes under an id that is never used again.

use std::{fmt, sync::Arc};

use super::Counter;
use crate::request_key::push_hex;

/// The id of a [`Flush`]: who gathered it, and which of theirs it is. As text `{writer}-{number}`.
///
/// ```
/// use towerkeep::counter::FlushId;
/// assert_eq!(FlushId::new("4f2a", 7).to_string(), "4f2a-7");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlushId {
    writer: Arc<str>,
    number: u64,
}

impl FlushId {
    /// The flush `number` of `writer`. Numbers begin at 1 and rise.
    pub fn new(writer: impl Into<Arc<str>>, number: u64) -> Self {
        Self { writer: writer.into(), number }
    }

    /// Before the first flush of a new writer.
    pub(super) fn begin() -> Self {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        let mut writer = String::with_capacity(16);
        push_hex(&mut writer, &bytes);
        Self::new(writer, 0)
    }

    pub(super) fn next(&self) -> Self {
        Self { writer: Arc::clone(&self.writer), number: self.number + 1 }
    }

    /// Who gathered it: one handle of one process.
    pub fn writer(&self) -> &str {
        &self.writer
    }

    /// Which of the writer's flushes it is.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl fmt::Display for FlushId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.writer, self.number)
    }
}

/// Additions that go to a store together, each counter once. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flush {
    id: FlushId,
    additions: Arc<[(Counter, i64)]>,
}

impl Flush {
    /// These additions under this id.
    pub fn new(id: FlushId, additions: impl Into<Arc<[(Counter, i64)]>>) -> Self {
        Self { id, additions: additions.into() }
    }

    /// Under which it counts once.
    pub fn id(&self) -> &FlushId {
        &self.id
    }

    /// What is added to which counter; at most 1,000.
    pub fn additions(&self) -> &[(Counter, i64)] {
        &self.additions
    }
}
