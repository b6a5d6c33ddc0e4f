//! The journal as a file: one line per ending, synced before a logout is answered.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use super::{JournalEntry, SessionJournal};
use crate::{
    Error, Result, StoreFuture,
    clock::{Timestamp, hours},
};

/// Below this many lines a file is never written anew.
const COMPACT_FROM: usize = 1_024;

/// Entries are kept so much longer than they matter: they are timed by the server, and this host's clock may be ahead.
const SLACK: Duration = hours(24);

/// Keeps the endings of sessions in a file of this instance: logouts survive its crash.
///
/// 1. Each logout and each revocation is a line of JSON, on the disk before the logout is answered; where Redis was not
///    told, a second line may say that it matters for longer.
/// 2. Lines a day past their time are dropped when the file is opened, and when it has doubled. A day, because their
///    time is Redis's, and this host's clock may be ahead of it.
/// 3. A line cut short by a crash is skipped. After a write that failed, the next one writes the whole file anew.
///
/// The wrong use: one file for two instances that run at the same time, each of which would rewrite it without the
/// other's lines. The second one is refused, by a lock on `{path}.lock`, which the system gives back when a process ends.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use towerkeep::session::{FileJournal, SessionConfig};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("logouts");
/// let config = SessionConfig::new().journal(FileJournal::open(&path)?);
/// assert!(FileJournal::open(&path).is_err(), "it is in use");
/// assert!(FileJournal::open("/no/such/directory/logouts").is_err());
/// # let _ = config;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct FileJournal(Arc<Mutex<Lines>>);

struct Lines {
    path: PathBuf,
    file: File,
    entries: Vec<JournalEntry>,
    /// At how many entries those past their time are looked for again.
    compact_at: usize,
    /// The file may lack an entry, or end within a line.
    is_broken: bool,
    /// Held for as long as the journal is in use.
    _lock: File,
}

impl FileJournal {
    /// The journal in the file at `path`, which is made if it is not there. Reads the file.
    ///
    /// # Errors
    /// Invalid, when the file cannot be read or written, or another journal that is in use, of this process or
    /// another, has it open.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let lock = lock(&path)?;
        let opened = read(&path).and_then(|entries| {
            let file = rewrite(&path, &entries)?;
            let compact_at = (entries.len() * 2).max(COMPACT_FROM);
            Ok(Lines { path, file, entries, compact_at, is_broken: false, _lock: lock })
        });
        Ok(Self(Arc::new(Mutex::new(opened.map_err(cannot_be_opened)?))))
    }
}

fn cannot_be_opened(error: io::Error) -> Error {
    Error::invalid("the journal of logouts cannot be opened: give a path in a directory that can be written")
        .with_source(error)
}

/// Takes the lock beside the file, which itself is replaced by every rewrite.
fn lock(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let file = options.open(beside(path, ".lock")).map_err(cannot_be_opened)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::invalid("the journal of logouts is in use: give each instance a file of its own"));
        }
        Err(TryLockError::Error(error)) => {
            tracing::warn!(%error, "the journal of logouts cannot be locked here: make sure that no other instance uses it");
        }
    }
    Ok(file)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(ending);
    beside.into()
}

impl Lines {
    fn append(&mut self, entry: JournalEntry) -> io::Result<()> {
        let line = entry.to_json() + "\n";
        self.entries.push(entry);
        let must_rewrite = std::mem::replace(&mut self.is_broken, true);
        if self.entries.len() >= self.compact_at {
            let now = now();
            self.entries.retain(|entry| matters(entry, now));
            self.compact_at = (self.entries.len() * 2).max(COMPACT_FROM);
            self.file = rewrite(&self.path, &self.entries)?;
        } else if must_rewrite {
            self.file = rewrite(&self.path, &self.entries)?;
        } else {
            self.file.write_all(line.as_bytes())?;
            self.file.sync_data()?;
        }
        self.is_broken = false;
        Ok(())
    }
}

impl SessionJournal for FileJournal {
    fn note(&self, entry: &JournalEntry) -> StoreFuture<()> {
        let (lines, entry) = (Arc::clone(&self.0), entry.clone());
        let append = move || {
            let appended = lines.lock().unwrap_or_else(PoisonError::into_inner).append(entry);
            appended.map_err(|error| Error::unavailable("the journal of logouts cannot be written").with_source(error))
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return StoreFuture::ready(append()) };
        // Begun here, it is finished whether or not anybody waits.
        let appended = runtime.spawn_blocking(append);
        StoreFuture::boxed(async move {
            let gone = |_| Error::unavailable("the journal of logouts was not written: the runtime ends");
            appended.await.map_err(gone)?
        })
    }

    fn entries(&self) -> StoreFuture<Vec<JournalEntry>> {
        StoreFuture::ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).entries.clone())
    }
}

impl fmt::Debug for FileJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("FileJournal").field("path", &lines.path).field("entries", &lines.entries.len()).finish()
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

fn matters(entry: &JournalEntry, now: Timestamp) -> bool {
    now < entry.until() + SLACK
}

/// The entries of a file that still matter; none where there is no file.
fn read(path: &Path) -> io::Result<Vec<JournalEntry>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let now = now();
    let mut entries = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match std::str::from_utf8(line).map(JournalEntry::from_json) {
            Ok(Ok(entry)) if matters(&entry, now) => entries.push(entry),
            Ok(Ok(_)) => {}
            _ => tracing::warn!("a line of the journal of logouts cannot be read, and is skipped"),
        }
    }
    Ok(entries)
}

/// Writes a file of these entries beside the old one and puts it in its place: a crash leaves one of the two, whole.
fn rewrite(path: &Path, entries: &[JournalEntry]) -> io::Result<File> {
    let beside = beside(path, ".new");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&beside)?;
    let text: String = entries.iter().map(|entry| entry.to_json() + "\n").collect();
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    // The name itself is on the disk only once the directory is. Where directories cannot be opened, there is no way.
    if let Some(Ok(directory)) =
        path.parent().map(|parent| File::open(if parent.as_os_str().is_empty() { Path::new(".") } else { parent }))
    {
        directory.sync_all()?;
    }
    OpenOptions::new().append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::journal::Ended;

    fn entry(n: u64, until: Timestamp) -> JournalEntry {
        let user = crate::UserId::new(n);
        JournalEntry::new(Ended::User { user, except: None, lasting: hours(1) }, until, Duration::ZERO)
    }

    fn read_back(path: &Path) -> usize {
        read(path).expect("a file").len()
    }

    #[tokio::test]
    async fn a_write_that_failed_is_made_up_for_by_the_next() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("logouts");
        let journal = FileJournal::open(&path).expect("it can be written");
        let later = now() + hours(1);
        journal.note(&entry(1, later)).await.expect("kept");
        journal.0.lock().expect("no panic").file = File::open(&path).expect("to be read only");
        assert!(journal.note(&entry(2, later)).await.is_err());
        journal.note(&entry(3, later)).await.expect("kept");
        assert_eq!(read_back(&path), 3);

        // The same where the whole file is written anew.
        fs::create_dir(dir.path().join("logouts.new")).expect("a directory in the way");
        journal.0.lock().expect("no panic").compact_at = 4;
        assert!(journal.note(&entry(4, later)).await.is_err());
        fs::remove_dir(dir.path().join("logouts.new")).expect("empty");
        journal.note(&entry(5, later)).await.expect("kept");
        assert_eq!(read_back(&path), 5);
    }

    #[tokio::test]
    async fn a_clock_that_is_ahead_of_the_servers_drops_nothing_too_early() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("logouts");
        let an_hour_ahead = Timestamp::from_micros(now().as_micros() - 3_600_000_000);
        let journal = FileJournal::open(&path).expect("it can be written");
        journal.note(&entry(1, an_hour_ahead + Duration::from_secs(60))).await.expect("kept");
        let in_use = FileJournal::open(&path).expect_err("one at a time").to_string();
        assert!(in_use.contains("give each instance a file of its own"), "{in_use}");
        drop(journal);
        assert_eq!(FileJournal::open(&path).expect("again").entries().await.expect("readable").len(), 1);
    }
}
