//! What is to be done whenever Redis is reached: in which order, how often, and for how long.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::timeout;

use super::{
    Redis,
    fault::Fault,
    link::Link,
    probe,
    supervisor::{PATIENCE, Shared},
};
use crate::{Error, StoreFuture};

/// How long one step may take.
const STEP_PATIENCE: Duration = Duration::from_secs(10);
/// How often a step may fail, while Redis answers, before the recovery goes on without it.
const TRIES: u32 = 3;

/// When in a recovery a step runs; regular operations are refused until all have run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Purges made during the outage are replayed.
    Purges,
    /// Sessions are written back, tombstones first.
    Sessions,
    /// Counts, log entries and scores that were held back are written.
    #[cfg(feature = "boards")]
    Records,
}

/// What a recovery step works with: a handle that reaches Redis while everybody else is still refused.
pub(crate) struct Recovery {
    pub(crate) redis: Redis,
}

/// Something to be done whenever Redis is reached again, and the first time.
pub(crate) trait RecoveryStep: Send + Sync + 'static {
    /// Does it. An unavailable error means that it is not done: all steps run anew, over another connection if this one is gone.
    fn run(&self, recovery: Recovery) -> StoreFuture<()>;
}

/// Which steps are due.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Redis was away.
    All,
    /// Those handed over when Redis was in use already.
    New,
}

/// Why a recovery ended before it was over.
pub(super) enum Undone {
    /// The connection failed.
    Gone(Fault),
    /// Redis refuses writes: nothing can be recovered.
    Refused,
    /// Redis answers, and a step is not done.
    Again,
}

/// A step, and whether it has run since it was handed over.
struct Step {
    stage: Stage,
    step: Weak<dyn RecoveryStep>,
    has_run: bool,
}

/// The steps of one handle.
#[derive(Default)]
pub(super) struct Steps {
    all: Mutex<Vec<Step>>,
    /// How often in a row one was not done while Redis answered.
    undone: AtomicU32,
}

impl Steps {
    pub(super) fn add(&self, stage: Stage, step: Weak<dyn RecoveryStep>) {
        self.lock().push(Step { stage, step, has_run: false });
    }

    fn due(&self, which: Due) -> Vec<Arc<dyn RecoveryStep>> {
        let mut steps = self.lock();
        steps.retain(|step| step.step.strong_count() > 0);
        steps.sort_by_key(|step| step.stage);
        let due = steps.iter().filter(|step| which == Due::All || !step.has_run);
        due.filter_map(|step| step.step.upgrade()).collect()
    }

    fn has_run(&self, step: &Arc<dyn RecoveryStep>) {
        let own = Arc::as_ptr(step).cast::<()>();
        let mut steps = self.lock();
        steps.iter_mut().filter(|step| step.step.as_ptr().cast::<()>() == own).for_each(|step| step.has_run = true);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Step>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the steps that are due over `link`, in the order of their stages.
pub(super) async fn recover(shared: &Arc<Shared>, link: &Arc<Link>, which: Due) -> Result<(), Undone> {
    for step in shared.steps.due(which) {
        let redis = Redis::recovering(Arc::clone(shared), Arc::clone(link));
        // A concern can run code of the application's, whose panic must not end the task that reconnects.
        let running = AssertUnwindSafe(async { step.run(Recovery { redis }).await }).catch_unwind();
        match timeout(STEP_PATIENCE, running).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) if !error.is_unavailable() => tracing::error!(%error, "a recovery step failed"),
            Ok(Ok(Err(error))) => undone(shared, link, &error).await?,
            Ok(Err(_)) => undone(shared, link, &Error::unavailable("it panicked")).await?,
            Err(_) => undone(shared, link, &Error::unavailable("it took too long")).await?,
        }
        shared.steps.has_run(&step);
    }
    shared.steps.undone.store(0, Relaxed);
    Ok(())
}

/// Has the recovery start anew, unless Redis answers and has answered the last times too: what it will never do, as
/// for want of a permission, must not keep everything else away from it.
async fn undone(shared: &Arc<Shared>, link: &Arc<Link>, error: &Error) -> Result<(), Undone> {
    tracing::debug!(%error, "a recovery step is not done");
    let probed = probe::probe(shared, link, PATIENCE).await.map_err(Undone::Gone)?;
    if probed.is_refused {
        return Err(Undone::Refused);
    }
    if shared.steps.undone.fetch_add(1, Relaxed) + 1 < TRIES {
        return Err(Undone::Again);
    }
    if shared.is_denied() {
        // The fault itself is told already.
        tracing::warn!(%error, "a recovery step is not allowed; going on without it");
    } else {
        tracing::error!(%error, "a recovery step fails while redis answers; going on without it");
    }
    Ok(())
}
