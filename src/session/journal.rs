//! What was ended here, kept where a crash of the instance does not reach it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::SessionId;
use crate::{Error, Result, StoreFuture, UserId, clock::Timestamp, clock::micros};

mod file;

pub use file::FileJournal;

/// Keeps the endings of sessions beyond the life of the process: a file, or a table of the application's own database.
///
/// 1. [`note`](SessionJournal::note) answers when the entry is safe. The logout waits for it, and holds whatever it
///    answers; an error is logged.
/// 2. [`entries`](SessionJournal::entries) is asked once, when the instance starts: all that was noted and is not past
///    its [`until`](JournalEntry::until). What is past it may be dropped.
/// 3. Every instance has a journal of its own, or all share one: telling a store twice of an ending does no harm.
///
/// ```
/// use towerkeep::session::{MemoryJournal, SessionConfig};
/// let config = SessionConfig::new().journal(MemoryJournal::default());
/// # let _ = config;
/// ```
pub trait SessionJournal: Send + Sync + 'static {
    /// Keeps an entry.
    fn note(&self, entry: &JournalEntry) -> StoreFuture<()>;

    /// What was noted and still matters.
    fn entries(&self) -> StoreFuture<Vec<JournalEntry>>;
}

const _: Option<&dyn SessionJournal> = None;

/// One session, or all sessions of a user, that ended.
///
/// ```
/// use towerkeep::session::JournalEntry;
/// let line = r#"{"v":1,"session":"00112233445566778899aabbccddeeff","user":"42","at":1,"until":2}"#;
/// let entry = JournalEntry::from_json(line).unwrap();
/// assert_eq!(entry.to_json(), line);
/// assert!(JournalEntry::from_json("{}").unwrap_err().is_corrupt());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    pub(super) what: Ended,
    pub(super) at: Timestamp,
    until: Timestamp,
}

/// What ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Session {
        id: SessionId,
        user: Option<UserId>,
    },
    /// All sessions of a user but one, and how long that is remembered.
    User {
        user: UserId,
        except: Option<SessionId>,
        lasting: Duration,
    },
}

/// The line that an entry is. Other fields than these are a newer version's.
#[derive(Serialize, Deserialize)]
struct Line {
    v: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<SessionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    except: Option<SessionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lasting: Option<u64>,
    at: u64,
    until: u64,
}

impl JournalEntry {
    pub(super) fn new(what: Ended, at: Timestamp, matters: Duration) -> Self {
        Self { what, at, until: at + matters }
    }

    /// When the session can live no longer: not in a store that was never told, nor in a copy.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// The entry as one line of JSON, in microseconds of Unix time. It holds no secret.
    pub fn to_json(&self) -> String {
        let (at, until) = (self.at.as_micros(), self.until.as_micros());
        let text = |user: &UserId| user.as_str().to_owned();
        let empty = Line { v: 1, session: None, user: None, except: None, lasting: None, at, until };
        let line = match &self.what {
            Ended::Session { id, user } => Line { session: Some(*id), user: user.as_ref().map(text), ..empty },
            Ended::User { user, except, lasting } => {
                Line { user: Some(text(user)), except: *except, lasting: Some(micros(*lasting)), ..empty }
            }
        };
        serde_json::to_string(&line).expect("texts and numbers are always JSON")
    }

    /// Reads the line back.
    ///
    /// # Errors
    /// Corrupt, when it is none that [`to_json`](JournalEntry::to_json) wrote.
    pub fn from_json(line: &str) -> Result<Self> {
        let unreadable = || Error::corrupt("a line of the journal of logouts cannot be read");
        let line: Line = serde_json::from_str(line).map_err(|_| unreadable())?;
        let user = line.user.map(UserId::new);
        let what = match (line.session, user, line.lasting) {
            (Some(id), user, _) => Ended::Session { id, user },
            (None, Some(user), Some(lasting)) => {
                Ended::User { user, except: line.except, lasting: Duration::from_micros(lasting) }
            }
            _ => return Err(unreadable()),
        };
        let (at, until) = (Timestamp::from_micros(line.at), Timestamp::from_micros(line.until));
        Ok(Self { what, at, until })
    }
}

/// Keeps entries in this process, for tests: what is left of an instance that ended is what its clones hold.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal(Arc<Mutex<Vec<JournalEntry>>>);

impl SessionJournal for MemoryJournal {
    fn note(&self, entry: &JournalEntry) -> StoreFuture<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry.clone());
        StoreFuture::ok(())
    }

    fn entries(&self) -> StoreFuture<Vec<JournalEntry>> {
        StoreFuture::ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// The journal of a configuration, if it has one.
#[derive(Clone, Default)]
pub(super) struct Journal(Option<Arc<dyn SessionJournal>>);

impl Journal {
    pub(super) fn new(journal: impl SessionJournal) -> Self {
        Self(Some(Arc::new(journal)))
    }

    pub(super) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Begins to keep an entry. Done when it is kept, or when it is logged that it cannot be.
    pub(super) fn note(&self, entry: impl FnOnce() -> JournalEntry) -> StoreFuture<()> {
        let Some(noted) = self.0.as_ref().map(|journal| journal.note(&entry())) else { return StoreFuture::ok(()) };
        StoreFuture::submit(async move {
            if let Err(error) = noted.await {
                tracing::error!(%error, "a logout is not in the journal: a crash of this instance may undo it");
            }
            Ok(())
        })
    }

    pub(super) async fn entries(&self) -> Result<Vec<JournalEntry>> {
        match &self.0 {
            Some(journal) => journal.entries().await,
            None => Ok(Vec::new()),
        }
    }
}

impl PartialEq for Journal {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            (mine, theirs) => mine.is_none() && theirs.is_none(),
        }
    }
}

impl Eq for Journal {}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_there() { "Journal" } else { "none" })
    }
}
