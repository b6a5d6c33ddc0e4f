//! Increments that nobody waits for: gathered, sealed under an id, and delivered until they are taken.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Release},
        },
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    Counter, Flush, FlushId,
    store::{added, out_of_range},
};
use crate::{Error, Result, StoreFuture, background::Background, telemetry::count};

/// How long increments are gathered.
const EVERY: Duration = Duration::from_millis(100);
/// So many increments are flushed at once.
const AT_ONCE: usize = 1_000;
/// Counters in one flush.
const MOST_IN_FLUSH: usize = 1_000;
/// Distinct counters that may wait; another one is refused.
const MOST_WAITING: usize = 10_000;
/// The longest wait between tries.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// Where increments go, and those that have not arrived there. There is one for the store and one for the sink.
pub(super) struct Outlet {
    name: &'static str,
    waiting: Mutex<Waiting>,
    /// Held while delivering: one flush at a time, in the order of their numbers.
    turn: tokio::sync::Mutex<()>,
    wake: Notify,
    is_scheduled: AtomicBool,
    deliver: Box<Deliver>,
}

/// Hands over a flush; answers how many of its counters refused.
pub(super) type Deliver = dyn Fn(&Flush) -> StoreFuture<usize> + Send + Sync;

pub(super) struct Waiting {
    sums: HashMap<Counter, i64>,
    /// Increments since the last seal.
    adds: usize,
    /// Not known to have been taken; the first of them may have been sent. Their content is never changed.
    sealed: VecDeque<Flush>,
    last: FlushId,
    is_closed: bool,
}

impl Waiting {
    /// What the counter's sum will be.
    pub(super) fn plan(&self, counter: &Counter, by: i64) -> Result<i64> {
        if self.is_closed {
            return Err(Error::unavailable("the counters are shut down"));
        }
        match self.sums.get(counter) {
            Some(sum) => added(*sum, by).ok_or_else(out_of_range),
            None if self.sums.len() < MOST_WAITING => Ok(by),
            None => Err(Error::unavailable("10,000 counters wait to be flushed; another one is not counted")),
        }
    }

    /// Takes note of a sum; whether it is time to flush.
    pub(super) fn put(&mut self, counter: &Counter, sum: i64) -> bool {
        if let Some(known) = self.sums.get_mut(counter) {
            *known = sum;
        } else {
            self.sums.insert(counter.clone(), sum);
        }
        self.adds += 1;
        // Once for each flush, so that many increments do not hurry a store that fails.
        self.adds == AT_ONCE
    }

    /// Makes flushes of all that was gathered.
    fn seal(&mut self) {
        let mut additions: Vec<_> = self.sums.drain().filter(|(_, by)| *by != 0).collect();
        additions.sort_unstable();
        for some in additions.chunks(MOST_IN_FLUSH) {
            self.last = self.last.next();
            self.sealed.push_back(Flush::new(self.last.clone(), some));
        }
        self.adds = 0;
    }

    fn is_empty(&self) -> bool {
        self.sums.is_empty() && self.sealed.is_empty()
    }

    /// How many counters wait, and the sum of what is to be added to them.
    fn size(&self) -> (usize, i128) {
        let sealed = self.sealed.iter().flat_map(|flush| flush.additions().iter().map(|(_, by)| by));
        let all = self.sums.values().chain(sealed);
        all.fold((0, 0), |(counters, sum), by| (counters + 1, sum + i128::from(*by)))
    }
}

impl Outlet {
    pub(super) fn new(name: &'static str, deliver: Box<Deliver>) -> Arc<Self> {
        let waiting = Waiting {
            sums: HashMap::new(),
            adds: 0,
            sealed: VecDeque::new(),
            last: FlushId::begin(),
            is_closed: false,
        };
        Arc::new(Self {
            name,
            waiting: Mutex::new(waiting),
            turn: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            is_scheduled: AtomicBool::new(false),
            deliver,
        })
    }

    /// No step under the lock can panic half-way.
    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Flushes at once what is scheduled for later.
    pub(super) fn hurry(&self) {
        self.wake.notify_one();
    }

    /// Has what waits delivered in the background. Where that cannot be, the next increment tries again.
    pub(super) fn schedule(self: &Arc<Self>, background: &Background) {
        if let Some(booking) = Booking::of(self) {
            background.push(booking.run());
        }
    }

    /// Delivers all that waits now; what comes meanwhile is for the next time.
    pub(super) async fn flush(&self) -> Result<()> {
        self.flush_by(&*self.deliver).await
    }

    /// As [`flush`](Self::flush), over another way. Dropped half-way, what is not known to have arrived stays sealed.
    pub(super) async fn flush_by(&self, deliver: &Deliver) -> Result<()> {
        let _turn = self.turn.lock().await;
        self.deliver_sealed(deliver).await?;
        self.waiting().seal();
        self.deliver_sealed(deliver).await
    }

    async fn deliver_sealed(&self, deliver: &Deliver) -> Result<()> {
        while let Some(flush) = { self.waiting().sealed.front().cloned() } {
            let delivered = deliver(&flush).await;
            self.tell(&delivered);
            delivered?;
            self.waiting().sealed.pop_front();
        }
        Ok(())
    }

    fn tell(&self, delivered: &Result<usize>) {
        let outcome = if delivered.is_ok() { "taken" } else { "failed" };
        count("towerkeep_counter_flushes_total", [("to", self.name), ("outcome", outcome)]);
        if let Ok(refused @ 1..) = delivered {
            tracing::error!(refused, "counters refused what was added: out of range, or their value is no integer");
        }
    }

    /// Takes no more, and delivers what waits, at most `within`.
    pub(super) async fn close(&self, within: Duration) {
        self.waiting().is_closed = true;
        self.hurry();
        let delivered = timeout(within, async {
            while self.flush().await.is_err() {
                sleep(EVERY).await;
            }
        });
        if delivered.await.is_err() {
            self.tell_lost();
        }
        self.hurry();
    }

    fn tell_lost(&self) {
        let (counters, sum) = self.waiting().size();
        if counters > 0 {
            tracing::warn!(to = self.name, counters, sum, "counts were not flushed and end with this process");
        }
    }
}

/// The right to be the one task that delivers; dropped, also with its runtime, somebody else can have it.
struct Booking(Arc<Outlet>);

impl Booking {
    fn of(outlet: &Arc<Outlet>) -> Option<Self> {
        (!outlet.is_scheduled.swap(true, AcqRel)).then(|| Self(Arc::clone(outlet)))
    }

    async fn run(self) {
        let mut booking = Some(self);
        while let Some(held) = booking {
            booking = held.round().await;
        }
    }

    /// Waits a while and delivers; goes on where something came in between.
    async fn round(self) -> Option<Self> {
        let mut pause = EVERY;
        loop {
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = sleep(pause) => {}
            }
            let Err(error) = self.0.flush().await else { break };
            if self.0.waiting().is_closed {
                return None;
            }
            // Once for each outage, and not for the hiccups of a slow network.
            let is_long = pause < LAST_PAUSE && pause * 2 >= LAST_PAUSE;
            if is_long {
                tracing::warn!(to = self.0.name, %error, "counts wait until they can be flushed");
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
        let outlet = Arc::clone(&self.0);
        drop(self);
        // Who added after the flush and before this was told that somebody delivers already.
        if outlet.waiting().is_empty() { None } else { Self::of(&outlet) }
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        self.0.is_scheduled.store(false, Release);
    }
}
