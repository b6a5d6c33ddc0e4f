//! The contract of `SessionJournal`, and what it is for: logouts that survive the instance that made them.

use std::{io::Write, path::PathBuf};

use towerkeep::{
    StoreFuture,
    session::{FileJournal, JournalEntry, MemoryJournal, SessionJournal},
    store::OutageSwitch,
};

use super::*;

/// A journal in a directory of its own.
struct OnDisk {
    dir: tempfile::TempDir,
}

impl OnDisk {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("logouts")
    }

    fn open(&self) -> FileJournal {
        FileJournal::open(self.path()).expect("it can be written")
    }

    fn lines(&self) -> usize {
        std::fs::read_to_string(self.path()).expect("it is there").lines().count()
    }
}

fn entry(n: u64, until: u64) -> JournalEntry {
    let line = format!(r#"{{"v":1,"session":"{n:032x}","user":"7","at":{n},"until":{until}}}"#);
    JournalEntry::from_json(&line).expect("a line")
}

const LATER: u64 = 4_000_000_000_000_000;

async fn keeps_what_is_noted_in_order(journal: &impl SessionJournal) {
    assert!(journal.entries().await.expect("readable").is_empty());
    let all = r#"{"v":1,"user":"a\"b","except":"00000000000000000000000000000001","lasting":5,"at":3,"until":4000000000000000}"#;
    let entries = [entry(1, LATER), JournalEntry::from_json(all).expect("a line"), entry(2, LATER)];
    assert_eq!(entries[1].to_json(), all);
    for entry in &entries {
        journal.note(entry).await.expect("kept");
    }
    assert_eq!(journal.entries().await.expect("readable"), entries);
}

#[tokio::test]
async fn memory_keeps_what_is_noted_in_order() {
    keeps_what_is_noted_in_order(&MemoryJournal::default()).await;
}

#[tokio::test]
async fn a_file_keeps_what_is_noted_in_order_and_for_the_next_start() {
    let disk = OnDisk::new();
    keeps_what_is_noted_in_order(&disk.open()).await;
    let again = disk.open();
    assert_eq!(again.entries().await.expect("readable").len(), 3);
    again.note(&entry(9, LATER)).await.expect("kept");
    drop(again);
    assert_eq!(disk.open().entries().await.expect("readable").last(), Some(&entry(9, LATER)));
}

#[tokio::test]
async fn a_file_drops_what_is_past_its_time() {
    let disk = OnDisk::new();
    let journal = disk.open();
    for n in 0..3_000 {
        journal.note(&entry(n, if n % 1_000 == 0 { LATER } else { 1 })).await.expect("kept");
    }
    assert!(disk.lines() < 2_000, "{}", disk.lines());
    drop(journal);
    assert_eq!(disk.open().entries().await.expect("readable").len(), 3);
    assert_eq!(disk.lines(), 3);
}

#[tokio::test]
async fn a_file_with_a_torn_line_gives_the_others() {
    let disk = OnDisk::new();
    disk.open().note(&entry(1, LATER)).await.expect("kept");
    let mut file = std::fs::OpenOptions::new().append(true).open(disk.path()).expect("it is there");
    file.write_all(b"\xff\n{\"v\":1,\"session\":\"0000").expect("it is writable");
    let journal = disk.open();
    journal.note(&entry(2, LATER)).await.expect("kept");
    drop(journal);
    assert_eq!(disk.open().entries().await.expect("readable"), [entry(1, LATER), entry(2, LATER)]);
}

#[test]
fn a_file_that_cannot_be_had_is_told_at_the_start() {
    let error = FileJournal::open("/proc/no/such/place").expect_err("no directory");
    assert!(error.is_invalid() && error.to_string().contains("journal"), "{error}");
}

#[tokio::test]
async fn one_file_is_one_instances() {
    let disk = OnDisk::new();
    let first = disk.open();
    let error = FileJournal::open(disk.path()).expect_err("it is in use");
    assert!(error.is_invalid() && error.to_string().contains("a file of its own"), "{error}");
    first.note(&entry(1, LATER)).await.expect("kept");
    // A clone is the same journal.
    let clone = first.clone();
    drop(first);
    assert!(FileJournal::open(disk.path()).is_err());
    drop(clone);
    assert_eq!(disk.open().entries().await.expect("readable"), [entry(1, LATER)]);
}

/// An instance that dies during an outage, and the next one in its place.
async fn logs_out_crashes_and_starts_again(journal: impl Fn() -> Box<dyn Fn(SessionConfig) -> SessionConfig>) {
    let (switch, direct) = (OutageSwitch::default(), MemorySessionStore::new(ManualClock::at(START).clock()));
    let start = || FallbackSessionStore::new(direct.clone().outage(switch.clone()), &journal()(config()));
    let sessions = [of(1, seconds(0)), of(1, seconds(0)), of(2, seconds(0)), of(3, seconds(0))];
    let first = start();
    for record in &sessions {
        create(&first, record).await;
    }
    switch.set(true);
    let (cx, logout) = (at(seconds(1)), testing::secret(&sessions[0]));
    assert!(first.delete(&cx, sessions[1].id(), sessions[1].user()).await.expect("kept"));
    assert!(first.logout(&cx, sessions[0].id(), &logout, None).expect("a verb").await.expect("kept").is_some());
    assert_eq!(first.revoke_all(&cx, &UserId::new(2), None, days(1)).await.expect("kept"), [sessions[2].id()]);
    drop(first);

    let next = start();
    // It knows of no session, and says so; of those that were ended it knows that.
    assert!(next.load(&at(seconds(2)), sessions[3].id()).await.expect_err("not seen").is_unavailable());
    assert!(next.load(&at(seconds(2)), sessions[0].id()).await.expect("known").is_none());
    switch.set(false);
    let _ = next.list(&at(seconds(3)), &UserId::new(1)).await.expect("up"); // any verb tells the store
    for (record, lives) in sessions.iter().zip([false, false, false, true]) {
        assert_eq!(next.load(&at(seconds(3)), record.id()).await.expect("up").is_some(), lives);
        assert_eq!(direct.load(&at(seconds(3)), record.id()).await.expect("up").is_some(), lives, "told");
    }
}

#[tokio::test]
async fn what_was_logged_out_stays_so_over_a_crash_of_the_instance() {
    let memory = MemoryJournal::default();
    logs_out_crashes_and_starts_again(|| {
        let memory = memory.clone();
        Box::new(move |config| config.journal(memory.clone()))
    })
    .await;
    let disk = OnDisk::new();
    logs_out_crashes_and_starts_again(|| {
        let file = disk.open();
        Box::new(move |config| config.journal(file.clone()))
    })
    .await;
}

/// An ending that the store was not told of was dropped after the time that copies serve, and the session lived on.
#[tokio::test]
async fn a_logout_matters_for_as_long_as_the_session_could_live() {
    let disk = OnDisk::new();
    let (switch, direct) = (OutageSwitch::default(), MemorySessionStore::new(Clock::system()));
    let start = || FallbackSessionStore::new(direct.clone().outage(switch.clone()), &config().journal(disk.open()));
    let (now, user) = (Clock::system().now(), UserId::new(1));
    let then = Timestamp::from_micros(now.as_micros() - 3 * 86_400_000_000);
    let lasting = SessionConfig::new().idle(days(14));
    let sessions = [(); 3].map(|()| testing::login(&testing::record(&lasting, then), &user, &lasting, then));
    let first = start();
    for record in &sessions {
        assert_eq!(first.create(&Cx::new().at(then), record, None).await.expect("up"), Create::Created);
    }
    switch.set(true);
    let (cx, secret) = (Cx::new().at(then + seconds(1)), testing::secret(&sessions[0]));
    assert!(first.logout(&cx, sessions[0].id(), &secret, None).expect("a verb").await.expect("kept").is_some());
    assert!(first.delete(&cx, sessions[1].id(), None).await.expect("kept"));
    assert_eq!(first.revoke_all(&cx, &user, None, days(30)).await.expect("kept"), [sessions[2].id()]);
    drop(first);

    let next = start();
    switch.set(false);
    for record in &sessions {
        assert!(next.load(&Cx::new(), record.id()).await.expect("up").is_none());
        assert!(direct.load(&Cx::new(), record.id()).await.expect("up").is_none(), "told");
    }
}

/// A journal that fails at first.
struct Broken(OutageSwitch, MemoryJournal);

impl SessionJournal for Broken {
    fn note(&self, entry: &JournalEntry) -> StoreFuture<()> {
        if let Err(error) = self.0.check() { StoreFuture::err(error) } else { self.1.note(entry) }
    }

    fn entries(&self) -> StoreFuture<Vec<JournalEntry>> {
        if let Err(error) = self.0.check() { StoreFuture::err(error) } else { self.1.entries() }
    }
}

#[tokio::test]
async fn a_broken_journal_keeps_nobody_out_and_is_read_when_it_works() {
    let (broken, memory) = (OutageSwitch::default(), MemoryJournal::default());
    let direct = MemorySessionStore::new(ManualClock::at(START).clock());
    let record = of(1, seconds(0));
    let line = format!(r#"{{"v":1,"session":"{}","at":1,"until":{LATER}}}"#, record.id());
    memory.note(&JournalEntry::from_json(&line).expect("a line")).await.expect("kept");
    create(&direct, &record).await;
    broken.set(true);
    let store = FallbackSessionStore::new(direct, &config().journal(Broken(broken.clone(), memory)));
    let other = of(1, seconds(0));
    create(&store, &other).await;
    assert!(store.load(&at(seconds(1)), other.id()).await.expect("up").is_some());
    assert!(store.delete(&at(seconds(1)), other.id(), other.user()).await.expect("up"));
    broken.set(false);
    assert!(store.load(&at(seconds(2)), record.id()).await.expect("up").is_none());
}
