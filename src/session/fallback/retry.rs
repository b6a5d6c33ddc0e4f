//! Telling the store what it was not told, where no recovery and no other verb comes that would.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Relaxed, Release},
        },
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{FallbackSessionStore, Inner};
use crate::{Cx, background::Background};

/// How long after something could not be told it is tried again, doubled with each try.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);
/// How often is looked whether the store, which is away and hears all in its recovery, is back.
const AWAY: Duration = Duration::from_millis(250);
/// How often it is tried at the end.
const AT_THE_END: Duration = Duration::from_millis(20);

/// One loop at most, and the queue that it runs in.
#[derive(Default)]
pub(super) struct Retry {
    background: OnceLock<Background>,
    is_under_way: AtomicBool,
    is_closed: AtomicBool,
    closing: Arc<Notify>,
}

impl FallbackSessionStore {
    /// Puts what tells the store later into this queue; without one, the next verb tells it.
    #[must_use]
    pub(crate) fn background(self, background: Background) -> Self {
        // Called once, when the store is made.
        let _ = self.0.retry.background.set(background);
        self
    }

    /// Has the store told soon what it does not know, without a verb that comes by.
    pub(in crate::session) fn tell_later(&self) {
        let retry = &self.0.retry;
        let Some(background) = retry.background.get() else { return };
        if retry.is_closed.load(Relaxed) || retry.is_under_way.swap(true, AcqRel) {
            return;
        }
        let store = Arc::downgrade(&self.0);
        background.push(tell_again(UnderWay(store), Arc::clone(&retry.closing)));
    }

    /// Tells the store what is left, at most `within`, and says in one warning what it could not be told.
    pub(crate) async fn close(&self, within: Duration) {
        self.0.retry.is_closed.store(true, Relaxed);
        self.0.retry.closing.notify_one();
        let told = async {
            self.settle(&Cx::new()).await;
            while self.local().untold() != (0, 0) {
                sleep(AT_THE_END).await;
                self.settle(&Cx::new()).await;
            }
        };
        if timeout(within, told).await.is_ok() {
            return;
        }
        let ((endings, changes), journal) = (self.local().untold(), self.0.config.journal.is_there());
        if endings + changes > 0 {
            tracing::warn!(
                endings,
                changes,
                journal,
                "what an outage kept of sessions was not told and ends with this process"
            );
        }
    }
}

/// Has the store told later unless it was told, also where nobody waits for that any more.
pub(super) struct Later {
    store: FallbackSessionStore,
    pub(super) is_told: bool,
}

impl Later {
    pub(super) fn of(store: &FallbackSessionStore) -> Self {
        Self { store: store.clone(), is_told: false }
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        if !self.is_told {
            self.store.tell_later();
        }
    }
}

/// Makes way for the next loop, also where this one was refused, or ends with its runtime.
struct UnderWay(Weak<Inner>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(store) = self.0.upgrade() {
            store.retry.is_under_way.store(false, Release);
        }
    }
}

async fn tell_again(under_way: UnderWay, closing: Arc<Notify>) {
    let mut wait = FIRST;
    while timeout(wait, closing.notified()).await.is_err() {
        let Some(store) = under_way.0.upgrade().map(FallbackSessionStore) else { return };
        store.settle(&Cx::new()).await;
        if store.is_settled() {
            drop(under_way);
            // What came just now found this one under way.
            if !store.is_settled() {
                store.tell_later();
            }
            return;
        }
        wait = if store.0.store.is_away() { AWAY } else { (wait * 2).min(LONGEST) };
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{faulty::Faulty, tests::*},
        *,
    };
    use crate::{
        clock::seconds,
        session::{SessionId, SessionStore},
    };

    fn retrying() -> (Faulty, FallbackSessionStore) {
        let faulty = Faulty::new();
        (faulty.clone(), FallbackSessionStore::new(faulty, &config()).background(Background::default()))
    }

    async fn is_gone(store: &Faulty, id: SessionId) {
        let gone = async {
            while store.store.load(&at(seconds(1)), id).await.expect("up").is_some() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(10), gone).await.expect("it is ended in the store");
    }

    /// It lived on in Redis until somebody used a session on this instance, and for good where nobody did.
    #[tokio::test(start_paused = true)]
    async fn a_logout_that_was_not_answered_is_told_soon_without_another_verb() {
        let (faulty, store) = retrying();
        let (deleted, out) = (of(1), of(1));
        for ended in [&deleted, &out] {
            create(&store, ended).await;
        }
        for round in 0..2 {
            faulty.outage.set(true);
            match round {
                0 => assert!(store.delete(&at(seconds(1)), deleted.id(), deleted.user()).await.expect("kept")),
                _ => assert!(logout(&store, &out).await.expect("kept").is_some()),
            }
            faulty.outage.set(false);
            is_gone(&faulty, if round == 0 { deleted.id() } else { out.id() }).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_told_after_a_longer_outage() {
        let (faulty, store) = retrying();
        let record = of(1);
        create(&store, &record).await;
        faulty.outage.set(true);
        assert!(store.delete(&at(seconds(1)), record.id(), record.user()).await.expect("kept"));
        sleep(Duration::from_secs(60)).await;
        faulty.outage.set(false);
        is_gone(&faulty, record.id()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_logout_that_nobody_waited_for_is_told_soon() {
        let (faulty, store) = retrying();
        let record = of(1);
        create(&store, &record).await;
        faulty.outage.set(true);
        faulty.hangs.set(true);
        drop(store.delete(&at(seconds(1)), record.id(), record.user())); // the client has hung up
        faulty.hangs.set(false);
        faulty.outage.set(false);
        is_gone(&faulty, record.id()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn closing_tells_what_is_left_and_waits_no_longer_than_it_may() {
        let (faulty, store) = retrying();
        let record = of(1);
        create(&store, &record).await;
        faulty.outage.set(true);
        assert!(store.delete(&at(seconds(1)), record.id(), record.user()).await.expect("kept"));
        let begin = tokio::time::Instant::now();
        store.close(Duration::from_secs(3)).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(3));
        assert_eq!(store.local().untold(), (1, 0));
        faulty.outage.set(false);
        store.close(Duration::ZERO).await;
        assert!(faulty.store.load(&at(seconds(1)), record.id()).await.expect("up").is_none());
    }
}
