//! One timer for all operations.
//!
//! A timer of each operation's own wakes the runtime's driver whenever it is the next one due, which is a system call, and
//! in a busy service nearly every one is. Here one task sleeps until the first deadline and then has everybody look at
//! the clock: about 40 times a second with the default deadline, whatever the number of operations.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, futures::Notified},
    time::{Instant, sleep_until},
};

/// No operation waits.
const NONE: u64 = u64::MAX;

pub(super) struct Alarm {
    epoch: Instant,
    /// When the first deadline is, in nanoseconds after `epoch`.
    next: AtomicU64,
    /// Tells the task that `next` is earlier than it was.
    earlier: Notify,
    rings: Notify,
    is_closed: AtomicBool,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            next: AtomicU64::new(NONE),
            earlier: Notify::new(),
            rings: Notify::new(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// The next ring. Whoever waits enables it, then calls [`set`](Self::set), and after each ring looks at the clock.
    pub(super) fn rings(&self) -> Notified<'_> {
        self.rings.notified()
    }

    /// Has it ring at `at`, or earlier.
    pub(super) fn set(&self, at: Instant) {
        let at = u64::try_from(at.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(NONE - 1);
        if at < self.next.fetch_min(at, AcqRel) {
            self.earlier.notify_one();
        }
    }

    /// Rings now: something other than the time has changed.
    pub(super) fn ring(&self) {
        self.rings.notify_waiters();
    }

    /// Ends the task.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Release);
        self.earlier.notify_one();
    }

    fn next(&self) -> Option<Instant> {
        let next = self.next.load(Acquire);
        (next != NONE).then(|| self.epoch + Duration::from_nanos(next))
    }
}

/// Keeps the time until the alarm is closed.
pub(super) async fn run(alarm: Arc<Alarm>) {
    while !alarm.is_closed.load(Acquire) {
        let Some(next) = alarm.next() else {
            alarm.earlier.notified().await;
            continue;
        };
        tokio::select! {
            () = sleep_until(next) => {
                // Who set a deadline before this is woken and sets it again; who does so after it is heard.
                alarm.next.store(NONE, Release);
                alarm.ring();
            }
            () = alarm.earlier.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for a deadline as an operation does; how late it was.
    async fn wait(alarm: &Alarm, deadline: Instant) -> Duration {
        loop {
            let rings = alarm.rings();
            tokio::pin!(rings);
            rings.as_mut().enable();
            alarm.set(deadline);
            rings.await;
            if Instant::now() >= deadline {
                return deadline.elapsed();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_is_woken_at_their_own_deadline() {
        let alarm = Arc::new(Alarm::new());
        let task = tokio::spawn(run(Arc::clone(&alarm)));
        let begin = Instant::now();
        let mut waits = tokio::task::JoinSet::new();
        // Later ones first, so that each is earlier than what the task sleeps for.
        for n in (1..200u64).rev() {
            let alarm = Arc::clone(&alarm);
            waits.spawn(async move { wait(&alarm, begin + Duration::from_micros(n * 700)).await });
        }
        for late in waits.join_all().await {
            assert!(late <= Duration::from_millis(2), "{late:?}");
        }
        assert_eq!(alarm.next(), None);
        alarm.close();
        task.await.expect("it ends");
    }

    #[tokio::test(start_paused = true)]
    async fn a_ring_is_no_deadline() {
        let alarm = Arc::new(Alarm::new());
        tokio::spawn(run(Arc::clone(&alarm)));
        let deadline = Instant::now() + Duration::from_millis(25);
        let waiting = wait(&alarm, deadline);
        let ringing = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                alarm.ring();
            }
        };
        let (late, ()) = tokio::join!(waiting, ringing);
        assert!(late <= Duration::from_millis(2), "{late:?}");
    }
}
