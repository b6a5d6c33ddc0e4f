//! Work that nobody waits for: one bounded queue, one task.

use std::{pin::Pin, sync::Mutex, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::{sync::mpsc, task::JoinHandle};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Pieces of work that may wait; one more is refused.
const QUEUE: usize = 1_024;
/// Pieces of work under way at once.
const AT_ONCE: usize = 32;

pub(super) struct Background {
    queue: Mutex<Option<mpsc::Sender<Work>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Background {
    /// Starts the task; inside a Tokio runtime.
    pub(super) fn start() -> Self {
        let (queue, work) = mpsc::channel(QUEUE);
        Self { queue: Mutex::new(Some(queue)), task: Mutex::new(Some(tokio::spawn(run(work)))) }
    }

    /// Hands over a piece of work; `false` when the queue is full or closed, and the work is dropped.
    pub(super) fn push(&self, work: impl Future<Output = ()> + Send + 'static) -> bool {
        let queue = self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        queue.as_ref().is_some_and(|queue| queue.try_send(Box::pin(work)).is_ok())
    }

    /// Takes no more work and finishes what waits, at most `within`.
    pub(super) async fn drain(&self, within: Duration) {
        drop(self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        let task = self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(task) = task {
            let abort = task.abort_handle();
            if tokio::time::timeout(within, task).await.is_err() {
                abort.abort();
            }
        }
    }
}

async fn run(mut queue: mpsc::Receiver<Work>) {
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
            next = queue.recv(), if under_way.len() < AT_ONCE => match next {
                Some(work) => under_way.push(work),
                None => break,
            },
        }
    }
    while under_way.next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::*;

    #[tokio::test]
    async fn draining_finishes_what_waits_and_refuses_more() {
        let background = Background::start();
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let done = Arc::clone(&done);
            assert!(background.push(async move {
                tokio::task::yield_now().await;
                done.fetch_add(1, Relaxed);
            }));
        }
        background.drain(Duration::from_secs(5)).await;
        assert_eq!(done.load(Relaxed), 100);
        assert!(!background.push(async {}));
    }

    #[tokio::test]
    async fn a_full_queue_refuses() {
        let background = Background::start();
        let refused = (0..QUEUE + AT_ONCE + 1).filter(|_| !background.push(std::future::pending())).count();
        assert!(refused > 0);
    }
}
