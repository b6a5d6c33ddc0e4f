//! The handle: one examination at a time, and what it found for a second.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};

use super::HealthReport;

/// For how long a report stands.
const FRESH: Duration = Duration::from_secs(1);

type Examination = Pin<Box<dyn Future<Output = HealthReport> + Send>>;

/// Asks how Redis is, at most once a second; clones share what was found. See the [module](crate::health).
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    examine: Box<dyn Fn() -> Examination + Send + Sync>,
    /// Held while Redis is asked, so that nobody asks beside.
    last: Mutex<Option<(Instant, HealthReport)>>,
    /// Whether asking costs nothing.
    is_local: bool,
}

impl Health {
    /// Asks a server, by `examine`.
    #[cfg(feature = "redis")]
    pub(crate) fn new<F>(examine: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = HealthReport> + Send + 'static,
    {
        Self::with(move || Box::pin(examine()), false)
    }

    /// Has nobody to ask: the status says it all.
    pub(crate) fn in_memory(status: impl Fn() -> crate::Status + Send + Sync + 'static) -> Self {
        Self::with(move || Box::pin(std::future::ready(HealthReport::unasked(status()))), true)
    }

    fn with(examine: impl Fn() -> Examination + Send + Sync + 'static, is_local: bool) -> Self {
        Self(Arc::new(Inner { examine: Box::new(examine), last: Mutex::default(), is_local }))
    }

    /// How Redis is now, or was within the last second.
    ///
    /// Waits for an examination that is under way, or makes one: half a second at most. Dropped meanwhile, it leaves the
    /// next one to ask anew, a second after it did.
    pub async fn report(&self) -> HealthReport {
        let mut last = self.0.last.lock().await;
        if let Some((at, report)) = *last
            && at.elapsed() < FRESH
            && !self.0.is_local
        {
            return report;
        }
        let report = (self.0.examine)().await;
        *last = Some((Instant::now(), report));
        report
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::Status;

    /// A health whose examinations take a while, and how many were begun.
    fn slow(takes: Duration) -> (Health, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let examine = move || -> Examination {
            counted.fetch_add(1, SeqCst);
            Box::pin(async move {
                tokio::time::sleep(takes).await;
                HealthReport::unasked(Status::Up)
            })
        };
        (Health::with(examine, false), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_are_one_examination() {
        let (health, asked) = slow(Duration::from_millis(300));
        let asking = (0..50).map(|_| {
            let health = health.clone();
            async move { health.report().await }
        });
        asking.collect::<tokio::task::JoinSet<_>>().join_all().await;
        assert_eq!(asked.load(SeqCst), 1);
        tokio::time::advance(Duration::from_millis(999)).await;
        health.report().await;
        assert_eq!(asked.load(SeqCst), 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        health.report().await;
        assert_eq!(asked.load(SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_leaves_the_next_to_ask() {
        let (health, asked) = slow(Duration::from_millis(300));
        let gone = tokio::time::timeout(Duration::from_millis(100), health.report()).await;
        assert!(gone.is_err());
        health.report().await;
        assert_eq!(asked.load(SeqCst), 2);
    }

    #[tokio::test]
    async fn without_a_server_nothing_is_kept() {
        let switch = crate::store::OutageSwitch::default();
        let seen = switch.clone();
        let health = Health::in_memory(move || if seen.is_on() { Status::Down } else { Status::InMemory });
        assert_eq!(health.report().await.status, Status::InMemory);
        switch.set(true);
        assert_eq!(health.report().await.status, Status::Down);
    }
}
