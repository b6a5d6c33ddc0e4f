//! When boards are rebuilt: a few at once, each by one task, and again where it failed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    BoardId, LeaderboardStore,
    rebuild::{Built, Job, PAUSE},
};
use crate::{Error, Result, background::Background, telemetry::count};

/// Boards that are rebuilt at once.
const AT_ONCE: usize = 4;
/// Boards that are remembered as behind their source.
const MOST_BEHIND: usize = 10_000;
/// Boards that wait for their rebuild; another one is not rebuilt before somebody asks again.
const MOST_WAITING: usize = MOST_BEHIND;
/// How often one rebuild is tried.
const TRIES: u32 = 12;
/// How long a rebuild that failed is not tried again.
const REST: Duration = Duration::from_secs(1);
/// How long requests wait for a rebuild, from its beginning, before they answer without.
const WAIT: Duration = Duration::from_millis(50);
/// All rebuilds of this process: one for each board, a few at once.
#[derive(Clone)]
pub(super) struct Rebuilds(Arc<Shared>);

struct Shared {
    store: Arc<dyn LeaderboardStore>,
    background: Background,
    owner: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Job, watch::Sender<()>)>,
    waiting: HashMap<BoardId, UnderWay>,
    workers: usize,
    /// Boards that have missed a change, and the number of the last one.
    behind: HashMap<BoardId, (u64, Job)>,
    misses: u64,
    failed: HashMap<BoardId, Instant>,
    attempts: u64,
}

/// A rebuild that waits for its turn or is being done.
#[derive(Clone)]
pub(super) struct UnderWay {
    since: tokio::time::Instant,
    done: watch::Receiver<()>,
}

impl UnderWay {
    /// Waits for its end, but not for one that takes longer than a request may wait; whether it has ended.
    pub(super) async fn ended(mut self) -> bool {
        // Changes never, and fails when its sender is gone: the rebuild has ended.
        tokio::time::timeout_at(self.since + WAIT, self.done.changed()).await.is_ok()
    }
}

impl Rebuilds {
    pub(super) fn new(store: Arc<dyn LeaderboardStore>, background: Background) -> Self {
        let random = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        let owner = format!("{random:016x}");
        Self(Arc::new(Shared { store, background, owner, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the board has missed a change, or may have.
    pub(super) fn missed(&self, job: &Job) {
        let mut state = self.state();
        if state.behind.len() >= MOST_BEHIND && !state.behind.contains_key(&job.board) {
            crate::telemetry::warn_once!("more leaderboards missed changes than are remembered; rebuild them");
            return;
        }
        state.misses += 1;
        let number = state.misses;
        state.behind.insert(job.board.clone(), (number, job.clone()));
    }

    /// Rebuilds the board, if it is known to be behind.
    pub(super) fn catch_up(&self, job: &Job) {
        let is_behind = self.state().behind.contains_key(&job.board);
        if is_behind {
            self.start(job, false);
        }
    }

    /// Rebuilds all boards that are behind.
    pub(super) fn catch_all_up(&self) {
        let jobs: Vec<_> = self.state().behind.values().map(|(_, job)| job.clone()).collect();
        jobs.iter().for_each(|job| drop(self.start(job, true)));
    }

    /// Starts a rebuild unless one is under way. Nothing outside of a runtime, where too many wait, and shortly after one has
    /// failed unless it is `urgent`.
    pub(super) fn start(&self, job: &Job, urgent: bool) -> Option<UnderWay> {
        let mut state = self.state();
        if let Some(waiting) = state.waiting.get(&job.board) {
            return Some(waiting.clone());
        }
        state.failed.retain(|_, at| at.elapsed() < REST);
        let has_just_failed = state.failed.contains_key(&job.board) && !urgent;
        if has_just_failed || state.waiting.len() >= MOST_WAITING {
            return None;
        }
        let (done, ends) = watch::channel(());
        let waiting = UnderWay { since: tokio::time::Instant::now(), done: ends };
        state.queue.push_back((job.clone(), done));
        state.waiting.insert(job.board.clone(), waiting.clone());
        if state.workers >= AT_ONCE {
            return Some(waiting);
        }
        state.workers += 1;
        drop(state);
        let worker = Worker(self.clone());
        self.0.background.push(async move { worker.run().await }).then_some(waiting)
    }

    /// Tries until it is done, a bounded number of times.
    async fn see_through(&self, job: &Job) -> Result<()> {
        for attempt in 1.. {
            let missed = self.state().behind.get(&job.board).map(|(number, _)| *number);
            let built = job.build(&*self.0.store, &self.token(), missed.is_some()).await;
            match &built {
                Ok(Built::Done) => {
                    self.caught_up(&job.board, missed);
                    return Ok(());
                }
                // Who is at it may have begun too early for what was missed: that stays noted, for the next request.
                Ok(Built::Busy) if missed.is_none() || attempt >= TRIES => return Ok(()),
                Err(error) if !error.is_unavailable() => return built.map(drop),
                _ if attempt >= TRIES => break,
                _ => tokio::time::sleep(PAUSE * attempt).await,
            }
        }
        Err(Error::unavailable("the rebuild of a leaderboard was given up for now"))
    }

    /// What was missed before the rebuild began is in it.
    fn caught_up(&self, board: &BoardId, missed: Option<u64>) {
        let mut state = self.state();
        state.failed.remove(board);
        if state.behind.get(board).map(|(number, _)| *number) == missed {
            state.behind.remove(board);
        }
    }

    fn token(&self) -> String {
        let mut state = self.state();
        state.attempts += 1;
        format!("{}:{}", self.0.owner, state.attempts)
    }
}

/// Works off the queue; gives back its place however it ends.
struct Worker(Rebuilds);

impl Worker {
    async fn run(self) {
        while let Some((job, done)) = self.next() {
            let place = Place { rebuilds: &self.0, board: &job.board };
            let ended = self.0.see_through(&job).await;
            let outcome = if ended.is_ok() { "done" } else { "failed" };
            count("towerkeep_leaderboard_rebuilds_total", [("outcome", outcome)]);
            if let Err(error) = ended {
                self.0.state().failed.insert(job.board.clone(), Instant::now());
                tracing::warn!(%error, resource = job.board.name.resource(), "a leaderboard was not rebuilt");
            }
            drop(place);
            drop(done);
        }
    }

    fn next(&self) -> Option<(Job, watch::Sender<()>)> {
        self.0.state().queue.pop_front()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.workers -= 1;
        if state.workers == 0 {
            // Nobody is left to do it: the next request for a board starts anew.
            state.queue.clear();
            state.waiting.clear();
        }
    }
}

/// A board's mark that it is being rebuilt.
struct Place<'a> {
    rebuilds: &'a Rebuilds,
    board: &'a BoardId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.rebuilds.state().waiting.remove(self.board);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        StoreFuture,
        clock::Clock,
        leaderboard::{BoardSource, MemoryLeaderboardStore, Rules, SourcePage},
    };

    struct Deaf;

    impl BoardSource for Deaf {
        fn read(&self, _: &BoardId, _: Option<&str>, _: usize) -> StoreFuture<SourcePage> {
            StoreFuture::boxed(std::future::pending())
        }
    }

    #[tokio::test]
    async fn boards_that_wait_are_bounded() {
        let store = Arc::new(MemoryLeaderboardStore::new(Clock::system()));
        let rebuilds = Rebuilds::new(store, Background::default());
        let rules = Rules { has_source: true, ..Rules::default() };
        let job = |n: usize| {
            let board = BoardId { name: ("made-up", n).into(), window: None };
            Job { board, rules, source: Arc::new(Deaf) }
        };
        let started = (0..MOST_WAITING + 50).filter(|n| rebuilds.start(&job(*n), false).is_some()).count();
        assert_eq!(started, MOST_WAITING);
        assert!(rebuilds.start(&job(0), false).is_some(), "it waits already");
    }
}
