//! Checks that come while another is under way share one script call: less than half of the server's work for each.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::{runtime::Handle, sync::oneshot};

use super::{
    super::policy::Policies,
    CHECK,
    question::{Answer, Answers, Question},
};
use crate::{
    Cx, Error, Result, StoreFuture,
    conn::{Redis, ScriptCall},
};

/// Checks of one call: the server does nothing else for the millisecond that they take.
const MOST: usize = 64;

/// Asks at once while nothing is under way. Else a check waits until the runtime has gone through what is ready, and
/// goes out with all that came meanwhile. There is no timer: no check waits for another one's answer.
#[derive(Clone)]
pub(super) struct Batch(Arc<Shared>);

struct Shared {
    redis: Redis,
    waiting: Mutex<Vec<Waiting>>,
    under_way: AtomicUsize,
}

struct Waiting {
    question: Question,
    answer: oneshot::Sender<Result<Answer>>,
}

/// A call that is under way, until it is dropped.
struct UnderWay(Arc<Shared>);

impl Batch {
    pub(super) fn new(redis: &Redis) -> Self {
        Self(Arc::new(Shared { redis: redis.clone(), waiting: Mutex::default(), under_way: AtomicUsize::new(0) }))
    }

    /// Asks `question` now, alone or with others.
    pub(super) fn ask<T, F>(&self, cx: &Cx, question: Question, read: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&Answer) -> T + Send + 'static,
    {
        match self.runtime(cx) {
            Some(runtime) => self.join(cx, &runtime, question, read),
            None => self.ask_alone(cx, question, read),
        }
    }

    /// Where the next batch is sent from. Nothing for a check that goes alone: no other is under way, a test sets its
    /// time, or its request has less time left than the others.
    fn runtime(&self, cx: &Cx) -> Option<Handle> {
        let shared = &self.0;
        let is_alone = shared.under_way.load(Relaxed) == 0 || cx.now().is_some() || shared.redis.shortens(cx);
        if is_alone { None } else { Handle::try_current().ok() }
    }

    fn ask_alone<T, F>(&self, cx: &Cx, question: Question, read: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&Answer) -> T + Send + 'static,
    {
        let under_way = UnderWay::begin(&self.0);
        let (call, policies) = question.sent();
        self.0.redis.eval(cx, &CHECK, call, move |reply| {
            drop(under_way);
            Ok(read(&Answers::decode(reply)?.next(&policies)?))
        })
    }

    fn join<T, F>(&self, cx: &Cx, runtime: &Handle, question: Question, read: F) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: FnOnce(&Answer) -> T + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.0.push(runtime, Waiting { question, answer });
        let (cx, begun) = (cx.clone(), Instant::now());
        StoreFuture::boxed(async move {
            // Cancellation point: dropped before it is sent, the question is not asked.
            let answer = answered.await.unwrap_or_else(|_| Err(Error::unavailable("the runtime has ended")));
            cx.charge(begun.elapsed());
            Ok(read(&answer?))
        })
    }
}

impl Shared {
    /// The first one has the batch sent when the runtime is through; the one that makes it full, at once.
    fn push(self: &Arc<Self>, runtime: &Handle, check: Waiting) {
        let (count, full) = {
            let mut waiting = self.waiting();
            waiting.push(check);
            (waiting.len(), if waiting.len() == MOST { std::mem::take(&mut *waiting) } else { Vec::new() })
        };
        if !full.is_empty() {
            runtime.spawn(Arc::clone(self).send(full));
        } else if count == 1 {
            let mut sender = Sender(Some(Arc::clone(self)));
            runtime.spawn(async move {
                tokio::task::yield_now().await;
                if let Some((shared, batch)) = sender.take() {
                    shared.send(batch).await;
                }
            });
        }
    }

    async fn send(self: Arc<Self>, mut batch: Vec<Waiting>) {
        batch.retain(|check| !check.answer.is_closed());
        if batch.is_empty() {
            return;
        }
        let _under_way = UnderWay::begin(&self);
        let (mut call, mut asked) = (ScriptCall::new(), Vec::with_capacity(batch.len()));
        for check in batch {
            let (one, policies) = check.question.sent();
            call = call.append(one);
            asked.push((policies, check.answer));
        }
        match self.redis.eval(&Cx::new(), &CHECK, call, Answers::decode).await {
            Ok(answers) => hand_out(answers, asked),
            Err(error) => asked.into_iter().for_each(|(_, answer)| drop(answer.send(Err(error.again())))),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that sends what waits. Where its runtime ends first, those who wait are told instead of forgotten.
struct Sender(Option<Arc<Shared>>);

impl Sender {
    fn take(&mut self) -> Option<(Arc<Shared>, Vec<Waiting>)> {
        let shared = self.0.take()?;
        let batch = std::mem::take(&mut *shared.waiting());
        Some((shared, batch))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// Gives each its answer; who has gone away meanwhile misses it.
fn hand_out(mut answers: Answers, asked: Vec<(Policies, oneshot::Sender<Result<Answer>>)>) {
    for (policies, answer) in asked {
        drop(answer.send(answers.next(&policies)));
    }
}

impl UnderWay {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.under_way.fetch_add(1, Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}
