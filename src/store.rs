//! The seam every concern's store trait is made of: [`Cx`] goes in, a [`StoreFuture`] comes out.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::{
    Detour, Result,
    clock::{Timestamp, micros},
};

/// What every verb of a store takes: how long it may last, and whose budget it spends.
///
/// 1. A verb ends within the smallest of the store's own deadline, [`within`](Cx::within) and what is left of
///    the request's budget. A spent budget is an unavailable store, told without any I/O.
/// 2. The budget counts time spent waiting for the store over all layers of one request, never the handler's
///    own time. `keep.layer()` puts one into each request; without it there is no budget.
/// 3. With a budget it also carries what each concern did in Redis' place, from [`note`](Cx::note) to
///    [`noted`](Cx::noted).
///
/// ```
/// use std::time::Duration;
/// use towerkeep::Cx;
/// let cx = Cx::new().with_budget(Duration::from_millis(50));
/// cx.charge(Duration::from_millis(30));
/// assert_eq!(cx.allowance(Duration::from_millis(25)), Duration::from_millis(20));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cx {
    request: Option<Arc<Request>>,
    within: Option<Duration>,
    now: Option<Timestamp>,
}

/// What all layers of one request share.
#[derive(Debug)]
struct Request {
    /// What is left of the budget, in microseconds.
    left: AtomicU64,
    /// What was done in Redis' place, one word for each concern. Empty, and unallocated, while Redis answers.
    noted: Mutex<Vec<(&'static str, Detour)>>,
}

impl Cx {
    /// No limit beyond the store's own deadline.
    pub fn new() -> Self {
        Self::default()
    }

    /// The context of this request: the one that `keep.layer()` put there, else [`Cx::new`].
    pub fn of(extensions: &http::Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Gives all verbs called with clones of this context `budget` of waiting time between them.
    #[must_use]
    pub fn with_budget(mut self, budget: Duration) -> Self {
        self.request = Some(Arc::new(Request { left: AtomicU64::new(micros(budget)), noted: Mutex::default() }));
        self
    }

    /// Ends each verb within `limit`. Defaults to the store's own deadline.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }

    /// For what a request does for others: a budget of its own, half of what is left. What is then charged here is the time that it
    /// took, not that of each verb, of which many wait at once.
    #[cfg(feature = "session")]
    pub(crate) fn apart(&self) -> Self {
        let Some(request) = &self.request else { return self.clone() };
        let half = Duration::from_micros(request.left.load(Relaxed) / 2);
        self.clone().with_budget(half)
    }

    /// Decides as if the time were `now`: for tests of stores, memory and Redis alike.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.now = Some(now);
        self
    }

    /// The time that a test asked for with [`at`](Cx::at).
    pub fn now(&self) -> Option<Timestamp> {
        self.now
    }

    /// How long a verb may last when the store itself allows `own`; zero when the budget is spent.
    pub fn allowance(&self, own: Duration) -> Duration {
        let own = self.within.map_or(own, |within| within.min(own));
        match &self.request {
            Some(request) => own.min(Duration::from_micros(request.left.load(Relaxed))),
            None => own,
        }
    }

    /// Takes `spent` from the request's budget.
    pub fn charge(&self, spent: Duration) {
        if let Some(request) = &self.request {
            let spent = micros(spent);
            request.left.fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(spent))).ok();
        }
    }

    /// Notes what `concern` (`session`, `cache`, ...) did in Redis' place for this request. Of several words of one
    /// concern the gravest is kept; without a request nobody asks, and nothing is.
    ///
    /// ```
    /// use std::time::Duration;
    /// use towerkeep::{Cx, Detour};
    /// let cx = Cx::new().with_budget(Duration::from_millis(50));
    /// cx.clone().note("session", Detour::Memory);
    /// assert_eq!(cx.noted(), [("session", Detour::Memory)]);
    /// assert_eq!(Cx::new().noted(), []);
    /// ```
    pub fn note(&self, concern: &'static str, detour: Detour) {
        let Some(request) = &self.request else { return };
        let mut noted = request.noted.lock().unwrap_or_else(PoisonError::into_inner);
        match noted.iter_mut().find(|(known, _)| *known == concern) {
            Some((_, known)) => *known = detour.max(*known),
            None => noted.push((concern, detour)),
        }
    }

    /// What the concerns of this request have done in Redis' place so far, in the order they came to it.
    pub fn noted(&self) -> Vec<(&'static str, Detour)> {
        let Some(request) = &self.request else { return Vec::new() };
        request.noted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The answer of a store's verb: `'static`, `Unpin`, and free of allocation when it is known at once.
///
/// A store that waits uses [`submit`](StoreFuture::submit), so that its work is under way before the verb
/// returns; one that knows the answer uses [`ok`](StoreFuture::ok) or [`err`](StoreFuture::err). Dropping the
/// future gives up the answer; what has reached a server by then is carried out there, what has not is never sent.
///
/// ```
/// use towerkeep::StoreFuture;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// assert_eq!(StoreFuture::ok(7).await.unwrap(), 7);
/// assert_eq!(StoreFuture::boxed(async { Ok(8) }).await.unwrap(), 8);
/// # }
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct StoreFuture<T>(Repr<T>);

enum Repr<T> {
    Ready(Option<Result<T>>),
    Boxed(Pin<Box<dyn Future<Output = Result<T>> + Send>>),
}

impl<T> StoreFuture<T> {
    /// An answer known already.
    pub fn ok(value: T) -> Self {
        Self::ready(Ok(value))
    }

    /// A failure known already.
    pub fn err(error: crate::Error) -> Self {
        Self::ready(Err(error))
    }

    /// An outcome known already.
    pub fn ready(result: Result<T>) -> Self {
        Self(Repr::Ready(Some(result)))
    }

    /// Takes the answer out if it is known already, so that a caller can go on without a box of its own.
    pub(crate) fn take_ready(&mut self) -> Option<Result<T>> {
        match &mut self.0 {
            Repr::Ready(result) => result.take(),
            Repr::Boxed(_) => None,
        }
    }

    /// An answer that takes work, which starts when the future is first polled.
    pub fn boxed(future: impl Future<Output = Result<T>> + Send + 'static) -> Self {
        Self(Repr::Boxed(Box::pin(future)))
    }

    /// An answer that takes work, which starts now.
    ///
    /// Polls `future` once with a waker that does nothing; awaiting polls it again. Any future that keeps to
    /// the contract of [`Future::poll`] (the latest waker counts) is fit for it.
    pub fn submit(future: impl Future<Output = Result<T>> + Send + 'static) -> Self {
        let mut future: Pin<Box<dyn Future<Output = Result<T>> + Send>> = Box::pin(future);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Self::ready(result),
            Poll::Pending => Self(Repr::Boxed(future)),
        }
    }
}

impl<T> Unpin for StoreFuture<T> {}

impl<T> Future for StoreFuture<T> {
    type Output = Result<T>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        match &mut self.get_mut().0 {
            Repr::Ready(result) => Poll::Ready(result.take().expect("polled again after completion")),
            Repr::Boxed(future) => future.as_mut().poll(cx),
        }
    }
}

impl<T> fmt::Debug for StoreFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Repr::Ready(_) => "StoreFuture(ready)",
            Repr::Boxed(_) => "StoreFuture(pending)",
        })
    }
}

/// Makes stores kept in memory refuse, as Redis does when it is gone: `keep.force_outage(true)` without Redis.
///
/// ```
/// use towerkeep::store::OutageSwitch;
/// let switch = OutageSwitch::default();
/// switch.clone().set(true);
/// assert!(switch.check().unwrap_err().is_unavailable());
/// ```
#[derive(Clone, Debug, Default)]
pub struct OutageSwitch(Arc<AtomicBool>);

impl OutageSwitch {
    /// Begins or ends the outage, for all clones.
    pub fn set(&self, on: bool) {
        self.0.store(on, Relaxed);
    }

    /// Whether an outage is forced.
    pub fn is_on(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Fails while an outage is forced.
    ///
    /// # Errors
    /// Unavailable, while the switch is on.
    pub fn check(&self) -> Result<()> {
        if self.is_on() { Err(crate::Error::unavailable("an outage is forced")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_send_static_and_unpin() {
        fn check<T: Send + Unpin + 'static>() {}
        check::<StoreFuture<String>>();
    }

    #[tokio::test]
    async fn submit_starts_the_work_before_anyone_awaits() {
        let started = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&started);
        let (send, receive) = tokio::sync::oneshot::channel();
        let future = StoreFuture::submit(async move {
            seen.store(true, Relaxed);
            Ok(receive.await.expect("sender lives"))
        });
        assert!(started.load(Relaxed));
        send.send(5).expect("receiver lives");
        assert_eq!(future.await.expect("answered"), 5);
    }

    #[test]
    fn a_spent_budget_leaves_no_allowance() {
        let cx = Cx::new().with_budget(Duration::from_millis(10));
        cx.clone().charge(Duration::from_millis(25));
        assert_eq!(cx.allowance(Duration::from_millis(25)), Duration::ZERO);
    }

    #[test]
    fn the_gravest_word_of_a_concern_is_kept() {
        let cx = Cx::new().with_budget(Duration::from_millis(10));
        for detour in [Detour::Memory, Detour::Unavailable, Detour::Memory] {
            cx.note("session", detour);
        }
        cx.clone().note("cache", Detour::Skipped);
        assert_eq!(cx.noted(), [("session", Detour::Unavailable), ("cache", Detour::Skipped)]);
    }

    #[test]
    fn within_only_ever_shortens() {
        let cx = Cx::new().within(Duration::from_secs(9));
        assert_eq!(cx.allowance(Duration::from_millis(25)), Duration::from_millis(25));
    }
}
