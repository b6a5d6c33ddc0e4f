//! The one task that connects, probes, recovers and publishes the connection in use.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{
    RecoveryStep, RedisConfig, Script, Stage,
    breaker::{Event, PROBE_APART, State},
    eviction,
    fault::Fault,
    gate::{Gate, Transition},
    link::{Link, LinkManager},
    pace::{Pace, Turn},
    probe,
    recovery::{Due, Steps, Undone, recover},
    subscriber::Subscriber,
    time::ServerTime,
};
use crate::{Result, Status};

/// How often a connection in use is probed.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often writes are tried while Redis refuses them.
const WRITE_RETRY: Duration = Duration::from_millis(250);
/// How long connecting, or one probe, may take.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
/// How long waiting for a pooled connection, and for its turn to be made, may take; the operation's own deadline is shorter.
const POOL_PATIENCE: Duration = Duration::from_secs(5);

/// What all clones of the handle share.
pub(super) struct Shared {
    pub(super) config: RedisConfig,
    pub(super) gate: Gate,
    pub(super) server_time: ServerTime,
    pub(super) subscriber: Subscriber,
    pub(super) pool: bb8::Pool<LinkManager>,
    pub(super) instance: String,
    pub(super) manager: LinkManager,
    /// When a health check may connect.
    pub(super) health: Turn,
    slot: ArcSwapOption<Link>,
    wake: Arc<Notify>,
    scripts: Mutex<Vec<&'static Script>>,
    pub(super) steps: Steps,
    instances: AtomicU32,
    /// All recovery steps are to run again, over the connection in use.
    is_doubted: AtomicBool,
    /// Whether the access rules refuse a command or key of ours, which is told once.
    is_denied: AtomicBool,
    /// Whether it serves other keys than ours, which is told once.
    is_misfit: AtomicBool,
    /// Whether the server was seen to drop any key when its memory is full.
    pub(super) evicts_blindly: AtomicBool,
}

impl Shared {
    pub(super) fn new(config: RedisConfig) -> Result<Self> {
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
            pool,
            instance: probe::instance_name()?,
            manager,
            health: Turn::default(),
            slot: ArcSwapOption::empty(),
            wake: Arc::default(),
            scripts: Mutex::default(),
            steps: Steps::default(),
            instances: AtomicU32::new(1),
            is_doubted: AtomicBool::new(false),
            is_denied: AtomicBool::new(false),
            is_misfit: AtomicBool::new(false),
            evicts_blindly: AtomicBool::new(false),
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
        if fault == Fault::NoPermission && !self.is_denied.swap(true, Relaxed) {
            tracing::error!(server = %self.config.address(), "redis' access rules refuse a command or key of ours; see the ACL in the docs");
        }
        if fault == Fault::Misfit && !self.is_misfit.swap(true, Relaxed) {
            tracing::error!(server = %self.config.address(), "redis does not serve all keys: it is a node of a cluster");
        }
    }

    pub(super) fn force(&self, on: bool) {
        self.follow(&self.gate.apply(Event::Force(on)));
        self.wake.notify_one();
    }

    /// Has the connection in use probed now.
    pub(super) fn look(&self) {
        self.wake.notify_one();
    }

    pub(super) fn doubt(&self) {
        if !self.is_doubted.swap(true, Relaxed) {
            tracing::warn!(server = %self.config.address(), "redis has lost its data while it was in use; recovering it");
        }
        self.wake.notify_one();
    }

    /// Acts on a change of the breaker: drops the connection and wakes the supervisor when it opens.
    fn follow(&self, transition: &Transition) {
        let (before, after) = (transition.before, transition.after);
        if transition.opened() {
            self.unpublish(before.generation);
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

    /// Drops the connection of this generation or an older one. Who acts late on an opening spares the next connection.
    fn unpublish(&self, generation: u64) {
        let before = self.slot.rcu(|link| link.clone().filter(|link| link.generation > generation));
        if let Some(link) = before.filter(|link| link.generation <= generation) {
            link.kill();
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
        self.steps.add(stage, step);
        self.wake.notify_one();
    }

    /// Whether the access rules refuse something of ours.
    pub(super) fn is_denied(&self) -> bool {
        self.is_denied.load(Relaxed)
    }

    /// The connection in use.
    fn link(&self) -> Option<Arc<Link>> {
        self.slot.load_full()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Its tasks find the handle gone and end.
        self.wake.notify_one();
        self.subscriber.close();
        self.manager.alarm.close();
    }
}

/// Supervises for as long as the handle lives.
pub(super) async fn run(shared: Weak<Shared>) {
    let mut tries = Tries::new();
    let Some(wake) = shared.upgrade().map(|shared| Arc::clone(&shared.wake)) else { return };
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let pause = match strong.gate.state() {
            State::Forced => Duration::MAX,
            State::Open | State::Probing => reconnect(&strong, &mut tries).await,
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

/// Proves a new connection, recovers over it and puts it in use; answers how long to wait before the next try. Where it is
/// too early for one, as when somebody woke the supervisor, nothing is done.
async fn reconnect(shared: &Arc<Shared>, tries: &mut Tries) -> Duration {
    let early = tries.pace.wait(Instant::now());
    if !early.is_zero() {
        return early;
    }
    tries.begin();
    match prove(shared).await {
        Ok(link) => {
            tries.succeeded();
            publish(shared, Arc::clone(&link));
            let mut status = shared.gate.watch();
            tokio::select! {
                () = eviction::warn(shared, &link, PATIENCE) => {}
                // Who is gone already is to be reached again, not waited for.
                _ = status.wait_for(|status| *status == Status::Down) => {}
            }
            Duration::ZERO
        }
        Err(fault) => {
            tracing::debug!(server = %shared.config.address(), cause = fault.as_str(), "redis is not proven");
            shared.gate.apply(Event::ProbeBad(fault));
            tries.complain(shared, fault);
            tries.pace.wait(Instant::now())
        }
    }
}

/// One connection through enough good probes and the whole recovery.
async fn prove(shared: &Arc<Shared>) -> Result<Arc<Link>, Fault> {
    let connecting = timeout(PATIENCE, shared.manager.connect_probe()).await;
    let link = Arc::new(connecting.map_err(|_| Fault::Timeout)??);
    loop {
        // Who is slower than operations may be would be given up again by the next of them.
        let probed = probe::probe(shared, &link, PATIENCE.min(shared.config.deadline)).await?;
        if probed.is_denied {
            return Err(Fault::NoPermission);
        }
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
    // Where writes are refused nothing can be recovered, and an empty server must not be taken for the truth.
    if !shared.gate.breaker().writes {
        return Err(Fault::WritesRefused);
    }
    loop {
        match recover(shared, &link, Due::All).await {
            Ok(()) => return Ok(link),
            Err(Undone::Gone(fault)) => return Err(fault),
            Err(Undone::Refused) => return Err(Fault::WritesRefused),
            // The connection stays proven.
            Err(Undone::Again) => sleep(PROBE_APART).await,
        }
    }
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

/// Looks after the connection in use; answers how long to wait before the next time.
async fn heartbeat(shared: &Arc<Shared>, pause: Duration) -> Duration {
    let Some(link) = shared.link() else { return Duration::ZERO };
    let mut status = shared.gate.watch();
    let tended = tokio::select! {
        tended = tend(shared, &link) => tended,
        // It is given up: to be reached again, and not waited for.
        _ = status.wait_for(|status| *status == Status::Down) => return Duration::ZERO,
    };
    let event = match tended {
        Ok(writes) => Event::ProbeGood { writes },
        Err(_) if shared.gate.breaker().generation != link.generation => return Duration::ZERO,
        Err(fault) => Event::ProbeBad(fault),
    };
    shared.follow(&shared.gate.apply(event));
    pause
}

/// Probes the connection in use and does what is to be done over it; whether writes are taken.
async fn tend(shared: &Arc<Shared>, link: &Arc<Link>) -> Result<bool, Fault> {
    let probed = probe::probe(shared, link, PATIENCE).await?;
    let was_refused = shared.gate.state() == State::WriteDegraded;
    // What is recovered too early is recovered once more.
    if !probed.writes || shared.gate.breaker().wants_more_writes() {
        return Ok(if was_refused { probed.writes } else { !probed.is_refused });
    }
    let is_doubted = shared.is_doubted.load(Relaxed);
    match recover(shared, link, if was_refused || is_doubted { Due::All } else { Due::New }).await {
        Ok(()) => {
            // Who doubts on meanwhile was answered by this.
            if is_doubted {
                shared.is_doubted.store(false, Relaxed);
            }
            Ok(true)
        }
        Err(Undone::Gone(fault)) => Err(fault),
        Err(Undone::Refused) => Ok(false),
        // Done again with the next beat; reads go on, and so do writes that were not refused.
        Err(Undone::Again) => Ok(!was_refused),
    }
}

/// The tries to connect: when the next may be, and what was said of those that failed.
struct Tries {
    pace: Pace,
    complained: bool,
    missed: bool,
}

impl Tries {
    fn new() -> Self {
        Self { pace: Pace::new(Instant::now()), complained: false, missed: false }
    }

    fn begin(&mut self) {
        let random = getrandom::u32().unwrap_or(u32::MAX);
        self.pace.connects(Instant::now(), f64::from(random) / f64::from(u32::MAX));
        crate::telemetry::count("towerkeep_redis_connects_total", [("by", "supervisor")]);
    }

    fn succeeded(&mut self) {
        self.pace.succeeded();
        (self.complained, self.missed) = (false, false);
    }

    /// Said once per outage: a fault that waiting does not mend, as an error; and that there is no Redis yet, because no
    /// breaker opened that would have told.
    fn complain(&mut self, shared: &Shared, fault: Fault) {
        let (server, cause) = (shared.config.address(), fault.as_str());
        let was_told = match fault {
            Fault::NoPermission => shared.is_denied.swap(true, Relaxed),
            Fault::Auth | Fault::NoCredentials | Fault::Protocol | Fault::Misfit => {
                std::mem::replace(&mut self.complained, true)
            }
            _ if shared.gate.breaker().is_first() && !std::mem::replace(&mut self.missed, true) => {
                tracing::warn!(%server, cause, "redis is not reached yet; going on without it");
                return;
            }
            _ => return,
        };
        if !was_told {
            tracing::error!(%server, cause, "redis does not accept us as configured; retrying");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Redis, Reply, ScriptCall, tests::ECHO, tests::support::RedisServer},
        *,
    };
    use crate::{Cx, clock::hours};

    /// A connection in use, and no task that looks after it.
    async fn connected(server: &RedisServer) -> Arc<Shared> {
        let config = RedisConfig::new(&server.url()).expect("valid");
        let shared = Arc::new(Shared::new(config).expect("in a runtime"));
        reconnect(&shared, &mut Tries::new()).await;
        assert_eq!(shared.gate.state(), State::Closed);
        shared
    }

    #[tokio::test]
    async fn an_opening_that_is_acted_on_late_spares_the_next_connection() {
        let server = RedisServer::start();
        let shared = connected(&server).await;
        let opened = shared.gate.apply(Event::Force(true));
        shared.gate.apply(Event::Force(false));
        reconnect(&shared, &mut Tries::new()).await;
        shared.follow(&opened);
        assert!(shared.link().is_some_and(|link| !link.is_dead()), "passing, and nothing to pass to");
    }

    #[tokio::test]
    async fn a_probe_that_met_a_stall_of_our_own_is_not_a_bad_one() {
        let server = RedisServer::start();
        let shared = connected(&server).await;
        let link = shared.link().expect("connected");
        let patience = Duration::from_millis(25);
        // Nothing of this runtime runs meanwhile: the probe is not even sent.
        let stall = async { std::thread::sleep(3 * patience) };
        let (probed, ()) = tokio::join!(probe::probe(&shared, &link, patience), stall);
        assert!(probed.is_ok_and(|probed| probed.writes));
        server.freeze();
        assert_eq!(probe::probe(&shared, &link, patience).await.err(), Some(Fault::Timeout));
        server.thaw();
    }

    #[tokio::test]
    async fn a_server_whose_clock_jumped_is_obeyed_in_the_same_call() {
        let server = RedisServer::start();
        let shared = connected(&server).await;
        let link = shared.link().expect("connected");
        let redis = Redis::recovering(Arc::clone(&shared), link);
        let call = || ScriptCall::new().key("tk:k").arg("x");
        redis.eval(&Cx::new(), &ECHO, call(), Reply::int).await.expect("loaded");
        let local = shared.server_time.local();
        shared.server_time.measured(local - hours(1), local, Duration::MAX);
        redis.eval(&Cx::new(), &ECHO, call(), Reply::int).await.expect("called again with the right deadline");
        assert!(shared.server_time.now().since(local) < Duration::from_secs(5));
    }
}
