//! The one task that connects, probes, recovers and publishes the connection in use.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    Recovery, RecoveryStep, Redis, RedisConfig, Script, Stage,
    background::Background,
    breaker::{Event, PROBE_APART, State},
    fault::Fault,
    gate::{Gate, Transition},
    link::{Link, LinkManager},
    probe,
    subscriber::Subscriber,
    time::ServerTime,
};
use crate::{Error, Result, Status};

/// The first wait between failed tries; doubled up to the last.
const FIRST_BACKOFF: Duration = Duration::from_millis(20);
const LAST_BACKOFF: Duration = Duration::from_millis(250);
/// How often a connection in use is probed.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often writes are tried while Redis refuses them.
const WRITE_RETRY: Duration = Duration::from_millis(250);
/// How long connecting, or one probe, may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long one recovery step may take.
const STEP_PATIENCE: Duration = Duration::from_secs(10);
/// How long waiting for a pooled connection may take; the operation's own deadline is shorter.
const POOL_PATIENCE: Duration = Duration::from_secs(1);

/// What all clones of the handle share.
pub(super) struct Shared {
    pub(super) config: RedisConfig,
    pub(super) gate: Gate,
    pub(super) server_time: ServerTime,
    pub(super) subscriber: Subscriber,
    pub(super) background: Background,
    pub(super) client: redis::Client,
    pub(super) pool: bb8::Pool<LinkManager>,
    pub(super) instance: String,
    manager: LinkManager,
    slot: ArcSwapOption<Link>,
    wake: Arc<Notify>,
    scripts: Mutex<Vec<&'static Script>>,
    steps: Mutex<Vec<(Stage, Weak<dyn RecoveryStep>)>>,
    instances: AtomicU32,
}

impl Shared {
    pub(super) fn new(config: RedisConfig) -> Result<Self> {
        let client = redis::Client::open(config.info.clone())
            .map_err(|_| Error::invalid("REDIS_URL asks for what this build does not support"))?;
        let manager = LinkManager::new(&config)?;
        let pool = bb8::Pool::builder()
            .max_size(4)
            .test_on_check_out(false)
            .retry_connection(false)
            .max_lifetime(None)
            .idle_timeout(None)
            .connection_timeout(POOL_PATIENCE)
            .build_unchecked(manager.clone());
        Ok(Self {
            gate: Gate::new(Arc::clone(&manager.passes)),
            server_time: ServerTime::new(),
            subscriber: Subscriber::default(),
            background: Background::start(),
            client,
            pool,
            instance: probe::instance_name()?,
            manager,
            slot: ArcSwapOption::empty(),
            wake: Arc::default(),
            scripts: Mutex::default(),
            steps: Mutex::default(),
            instances: AtomicU32::new(1),
            config,
        })
    }

    /// Passes the breaker; nanoseconds either way.
    pub(super) fn admit(&self, writes: bool) -> Result<Arc<Link>> {
        if let Some(why) = self.gate.refusal(writes) {
            return Err(why.into_error("redis"));
        }
        self.slot.load_full().ok_or_else(|| Fault::Dropped.into_error("redis"))
    }

    /// Takes note of an operation that failed on `link`.
    pub(super) fn failed(&self, link: &Link, fault: Fault) {
        let transition = self.gate.failed(link.generation, fault, link.in_flight());
        self.follow(&transition);
        if fault == Fault::NoPermission {
            crate::telemetry::warn_once!(
                "redis' access rules refuse a command or key of ours; see the ACL in the docs"
            );
        }
    }

    pub(super) fn force(&self, on: bool) {
        self.follow(&self.gate.apply(Event::Force(on)));
        self.wake.notify_one();
    }

    /// Acts on a change of the breaker: drops the connection and wakes the supervisor when it opens.
    fn follow(&self, transition: &Transition) {
        let (before, after) = (transition.before, transition.after);
        if transition.opened() {
            if let Some(link) = self.slot.swap(None) {
                link.kill();
            }
            let cause = after.cause.map_or("forced", Fault::as_str);
            tracing::warn!(server = %self.config.address(), cause, generation = after.generation, "redis is down; reconnecting");
            crate::telemetry::count("towerkeep_redis_breaker_transitions_total", [("cause", cause)]);
            self.wake.notify_one();
        } else if after.state == State::WriteDegraded && before.state == State::Closed {
            tracing::warn!(server = %self.config.address(), "redis refuses writes; reads go on");
            self.wake.notify_one();
        } else if after.state == State::Closed && before.state == State::WriteDegraded {
            tracing::info!(server = %self.config.address(), "redis takes writes again");
        }
        if transition.closed() {
            let down = after.opened_at;
            let seconds = self.server_time.local().since(down).as_secs_f64();
            let refused = self.gate.take_refused();
            tracing::info!(server = %self.config.address(), seconds, refused, generation = after.generation, "redis is up");
        }
    }

    pub(super) async fn closed(&self) {
        // The sender lives as long as `self`.
        let _ = self.gate.watch().wait_for(|status| *status == Status::Up).await;
    }

    pub(super) fn instances(&self) -> u32 {
        self.config.instances.unwrap_or_else(|| self.instances.load(Relaxed)).max(1)
    }

    pub(super) fn set_instances(&self, instances: u32) {
        self.instances.store(instances, Relaxed);
    }

    pub(super) fn register(&self, script: &'static Script) {
        let mut scripts = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        if !scripts.iter().any(|known| std::ptr::eq(*known, script)) {
            scripts.push(script);
        }
    }

    pub(super) fn scripts(&self) -> Vec<&'static Script> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn on_recovery(&self, stage: Stage, step: Weak<dyn RecoveryStep>) {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push((stage, step));
    }

    fn steps(&self) -> Vec<Arc<dyn RecoveryStep>> {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        steps.sort_by_key(|(stage, _)| *stage);
        steps.into_iter().filter_map(|(_, step)| step.upgrade()).collect()
    }

    /// The connection in use.
    fn link(&self) -> Option<Arc<Link>> {
        self.slot.load_full()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Both tasks find the handle gone and end.
        self.wake.notify_one();
        self.subscriber.close();
    }
}

/// Supervises for as long as the handle lives.
pub(super) async fn run(shared: Weak<Shared>) {
    let mut backoff = Backoff::default();
    let Some(wake) = shared.upgrade().map(|shared| Arc::clone(&shared.wake)) else { return };
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let pause = match strong.gate.state() {
            State::Forced => Duration::MAX,
            State::Open | State::Probing => reconnect(&strong, &mut backoff).await,
            State::WriteDegraded => heartbeat(&strong, WRITE_RETRY).await,
            State::Closed => heartbeat(&strong, HEARTBEAT).await,
        };
        drop(strong);
        tokio::select! {
            () = wake.notified() => {}
            () = sleep(pause.min(HEARTBEAT)) => {}
        }
    }
}

/// Proves a new connection, recovers over it and puts it in use; answers how long to wait before the next try.
async fn reconnect(shared: &Arc<Shared>, backoff: &mut Backoff) -> Duration {
    match prove(shared).await {
        Ok(link) => {
            backoff.reset();
            publish(shared, link);
            Duration::ZERO
        }
        Err(fault) => {
            shared.gate.apply(Event::ProbeBad);
            if matches!(fault, Fault::Auth | Fault::Protocol) {
                backoff.complain(shared, fault);
            }
            backoff.next()
        }
    }
}

/// One connection through enough good probes and the whole recovery.
async fn prove(shared: &Arc<Shared>) -> Result<Arc<Link>, Fault> {
    let connecting = timeout(PATIENCE, shared.manager.connect_probe()).await;
    let link = Arc::new(connecting.map_err(|_| Fault::Timeout)?.map_err(|error| Fault::of(&error))?);
    loop {
        let probed = probe::probe(shared, &link, PATIENCE).await?;
        shared.gate.apply(Event::ProbeGood { writes: probed.writes });
        if shared.gate.breaker().is_proven() {
            break;
        }
        if shared.gate.state() == State::Forced {
            return Err(Fault::Other);
        }
        sleep(PROBE_APART).await;
    }
    probe::load_scripts(shared, &link, PATIENCE).await?;
    // Where writes are refused nothing can be written back; the heartbeat recovers once they are taken.
    if shared.gate.breaker().writes {
        recover(shared, &link).await?;
    }
    Ok(link)
}

/// Runs all recovery steps over `link`, in the order of their stages.
async fn recover(shared: &Arc<Shared>, link: &Arc<Link>) -> Result<(), Fault> {
    for step in shared.steps() {
        let redis = Redis::recovering(Arc::clone(shared), Arc::clone(link));
        match timeout(STEP_PATIENCE, step.run(Recovery { redis })).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if !error.is_unavailable() => tracing::error!(%error, "a recovery step failed"),
            Ok(Err(_)) | Err(_) => return Err(Fault::Timeout),
        }
    }
    Ok(())
}

/// Puts the connection in use, unless an outage was forced meanwhile.
fn publish(shared: &Shared, link: Arc<Link>) {
    let generation = link.generation;
    shared.manager.promote(generation);
    shared.slot.store(Some(link));
    let transition = shared.gate.apply(Event::Recovered { generation });
    if transition.closed() {
        shared.follow(&transition);
    } else {
        shared.slot.store(None);
    }
}

/// Probes the connection in use; answers how long to wait before the next time.
async fn heartbeat(shared: &Arc<Shared>, pause: Duration) -> Duration {
    let Some(link) = shared.link() else { return Duration::ZERO };
    let probed = match probe::probe(shared, &link, PATIENCE).await {
        Ok(probed) if probed.writes && shared.gate.state() == State::WriteDegraded => {
            recover(shared, &link).await.map(|()| probed)
        }
        other => other,
    };
    let event = match probed {
        Ok(probed) => Event::ProbeGood { writes: probed.writes },
        Err(_) if shared.gate.breaker().generation != link.generation => return Duration::ZERO,
        Err(_) => Event::ProbeBad,
    };
    shared.follow(&shared.gate.apply(event));
    pause
}

/// Waits between half and the whole of a time that doubles, so that instances do not come all at once.
#[derive(Default)]
struct Backoff {
    wait: Duration,
    complained: bool,
}

impl Backoff {
    fn reset(&mut self) {
        *self = Self::default();
    }

    fn next(&mut self) -> Duration {
        self.wait = (self.wait * 2).clamp(FIRST_BACKOFF, LAST_BACKOFF);
        let random = getrandom::u32().unwrap_or(u32::MAX);
        self.wait / 2 + self.wait.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
    }

    /// A fault that waiting does not mend is said once, as an error.
    fn complain(&mut self, shared: &Shared, fault: Fault) {
        if !std::mem::replace(&mut self.complained, true) {
            let cause = fault.as_str();
            tracing::error!(server = %shared.config.address(), cause, "redis does not accept us as configured; retrying");
        }
    }
}
