//! Work that nobody waits for: one bounded queue and one task per `Keep`, never a task per request.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Pieces of work that may wait; one more is refused.
const QUEUE: usize = 1_024;
/// Pieces of work under way at once.
const AT_ONCE: usize = 32;

/// The queue; clones are the same one. Its task starts with the first piece of work and ends with the last clone.
#[derive(Clone, Default)]
pub(crate) struct Background(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    queue: Option<mpsc::Sender<Work>>,
    task: Option<JoinHandle<()>>,
    is_closed: bool,
}

impl Background {
    /// Hands over a piece of work; `false` when the queue is full or closed, or outside of a Tokio runtime, and then the
    /// work is dropped.
    pub(crate) fn push(&self, work: impl Future<Output = ()> + Send + 'static) -> bool {
        let mut state = self.state();
        state.start();
        state.queue.as_ref().is_some_and(|queue| queue.try_send(Box::pin(work)).is_ok())
    }

    /// Takes no more work and finishes what waits, at most `within`.
    pub(crate) async fn drain(&self, within: Duration) {
        let task = {
            let mut state = self.state();
            state.is_closed = true;
            state.queue = None;
            state.task.take()
        };
        if let Some(task) = task {
            let abort = task.abort_handle();
            if tokio::time::timeout(within, task).await.is_err() {
                abort.abort();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Starts the task, once; again where the runtime that it ran on is gone.
    fn start(&mut self) {
        let runs = self.task.as_ref().is_some_and(|task| !task.is_finished());
        if let (false, false, Ok(runtime)) = (runs, self.is_closed, Handle::try_current()) {
            let (queue, work) = mpsc::channel(QUEUE);
            self.queue = Some(queue);
            self.task = Some(runtime.spawn(run(work)));
        }
    }
}

async fn run(mut queue: mpsc::Receiver<Work>) {
    let mut under_way = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
            next = queue.recv(), if under_way.len() < AT_ONCE => match next {
                Some(work) => drop(under_way.spawn(work)),
                None => break,
            },
        }
    }
    while under_way.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[tokio::test]
    async fn draining_finishes_what_waits_and_refuses_more() {
        let background = Background::default();
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
        let background = Background::default();
        let refused = (0..=QUEUE + AT_ONCE).filter(|_| !background.push(std::future::pending())).count();
        assert!(refused > 0);
    }

    #[test]
    fn outside_of_a_runtime_work_is_refused() {
        assert!(!Background::default().push(async {}));
    }

    #[test]
    fn it_outlives_the_runtime_that_it_began_on() {
        let background = Background::default();
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
            runtime.block_on(async {
                let (send, receive) = tokio::sync::oneshot::channel();
                assert!(background.push(async move { send.send(()).expect("the test waits") }));
                receive.await.expect("the work is done");
            });
        }
    }
}
