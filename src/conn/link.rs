//! One connection, and one operation over it.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use bb8::ManageConnection;
use bb8_redis::RedisConnectionManager;
use redis::{AsyncConnectionConfig, Cmd, RedisError, RedisResult, Value, aio::MultiplexedConnection};
use tokio::time::{Instant, timeout};

use super::{
    Command, RedisConfig, Reply, Script, ScriptCall,
    alarm::Alarm,
    credentials::Door,
    fault::Fault,
    pace::Turn,
    supervisor::{PATIENCE, Shared},
};
use crate::{Cx, Error, Result, clock::Timestamp};

/// Operations under way on one connection; one more is refused, never queued.
const MOST_IN_FLIGHT: usize = 256;
/// Larger commands go over the pool, so that small ones do not wait behind them.
const BULK: usize = 1024 * 1024;
/// The client library's own timeout on the pool's connections, beyond every deadline of ours so that it never decides.
const BULK_TIMEOUT: Duration = Duration::from_secs(30);
/// How much later than its deadline a timeout may be noticed before it counts as our own stall.
pub(super) const STALL: Duration = Duration::from_millis(10);
/// What a recovery step's operation may take: nobody waits for it.
const RECOVERY_DEADLINE: Duration = Duration::from_millis(500);

/// A connection, which one it is, and whether it is still any good.
pub(super) struct Link {
    pub(super) mux: MultiplexedConnection,
    pub(super) generation: u64,
    dead: AtomicBool,
    alarm: Arc<Alarm>,
    in_flight: AtomicUsize,
}

impl Link {
    /// Marks the connection dead; everybody who waits on it goes on at once.
    pub(super) fn kill(&self) {
        self.dead.store(true, Release);
        self.alarm.ring();
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Acquire)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }
}

/// Makes every connection there is, for bb8's pool and for the supervisor: clones share what they know.
#[derive(Clone)]
pub(super) struct LinkManager {
    pub(super) door: Door,
    /// Wakes all operations when the first of them is due, and when a connection has died.
    pub(super) alarm: Arc<Alarm>,
    /// The generation in use; older connections are broken.
    pub(super) generation: Arc<AtomicU64>,
    /// How many were begun. One that is given up before it is in use does not share its number with the next: what is heard of it
    /// late would be believed of that one.
    begun: Arc<AtomicU64>,
    /// Whether operations pass the breaker; nobody but the supervisor connects while they do not.
    pub(super) passes: Arc<AtomicBool>,
    /// When the pool may connect.
    turn: Arc<Turn>,
}

impl LinkManager {
    pub(super) fn new(config: &RedisConfig) -> Result<Self> {
        let unsupported = |_| Error::invalid("REDIS_URL asks for what this build does not support");
        let door = Door::new(&config.info, config.provider.as_ref()).map_err(unsupported)?;
        let alarm = Arc::new(Alarm::new());
        let (generation, begun, passes, turn) = Default::default();
        Ok(Self { door, alarm, generation, begun, passes, turn })
    }

    /// The supervisor's way past the breaker. The new connection is of a new generation, and has no timeouts of its own:
    /// each would be one more timer for each operation, and the deadlines are ours.
    pub(super) async fn connect_probe(&self) -> Result<Link, Fault> {
        let generation = self.begun.fetch_add(1, Relaxed) + 1;
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(MOST_IN_FLIGHT);
        let client = self.door.client().await?;
        let connected = client.get_multiplexed_async_connection_with_config(&config).await;
        Ok(self.link(connected.map_err(|error| Fault::of(&error))?, generation))
    }

    /// Declares `generation` the current one: all older connections are broken from now on.
    pub(super) fn promote(&self, generation: u64) {
        self.generation.store(generation, Release);
    }

    /// Whether a connection leads to nowhere, or to where the one in use does not lead any more.
    fn is_outdated(&self, link: &Link) -> bool {
        link.is_dead() || link.generation < self.generation.load(Acquire)
    }

    fn link(&self, mux: MultiplexedConnection, generation: u64) -> Link {
        let (dead, in_flight) = (AtomicBool::new(false), AtomicUsize::new(0));
        Link { mux, generation, dead, alarm: Arc::clone(&self.alarm), in_flight }
    }
}

fn refused() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::NotConnected).into()
}

impl ManageConnection for LinkManager {
    type Connection = Arc<Link>;
    type Error = RedisError;

    async fn connect(&self) -> RedisResult<Arc<Link>> {
        self.turn.free().await;
        if !self.passes.load(Relaxed) {
            return Err(refused());
        }
        self.turn.come().await;
        crate::telemetry::count("towerkeep_redis_connects_total", [("by", "pool")]);
        // Before it leads anywhere: one that is begun before a failover is older than it.
        let generation = self.generation.load(Acquire);
        let connecting = async {
            let info = self.door.now().await.map_err(|_| refused())?;
            RedisConnectionManager::new(info)?.connect().await
        };
        // The pool would wait for ever, and for four of them nobody gets another.
        let mut mux = timeout(PATIENCE, connecting).await.map_err(|_| refused())??;
        mux.set_response_timeout(BULK_TIMEOUT);
        Ok(Arc::new(self.link(mux, generation)))
    }

    async fn is_valid(&self, link: &mut Arc<Link>) -> RedisResult<()> {
        redis::cmd("PING").exec_async(&mut link.mux.clone()).await
    }

    fn has_broken(&self, link: &mut Arc<Link>) -> bool {
        self.is_outdated(link)
    }
}

/// One operation: admitted, with a place in the connection and a moment when it ends.
pub(super) struct Operation {
    shared: Arc<Shared>,
    place: Place,
    cx: Cx,
    started: Instant,
    allowed: Duration,
    /// Whether this is a recovery's: its connection is its own, and the pool is not open yet.
    recovering: bool,
    /// Whether running out of time says something about Redis, not only about this request's budget.
    full_deadline: bool,
}

/// A place among the operations in flight, given back when dropped: also when the caller goes away.
struct Place(Arc<Link>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, AcqRel);
    }
}

impl Operation {
    pub(super) fn begin(shared: Arc<Shared>, link: Arc<Link>, cx: &Cx, recovering: bool) -> Result<Self> {
        let own = if recovering { RECOVERY_DEADLINE } else { shared.config.deadline };
        let allowed = cx.allowance(own);
        if allowed.is_zero() {
            return Err(Error::unavailable("this request has spent its time for redis"));
        }
        // A recovery over the connection in use waits for nobody's place: it would be taken for one that failed.
        if link.in_flight.fetch_add(1, AcqRel) >= MOST_IN_FLIGHT && !recovering {
            link.in_flight.fetch_sub(1, AcqRel);
            return Err(Error::unavailable("too many operations wait for redis"));
        }
        let full_deadline = allowed >= own;
        let started = Instant::now();
        Ok(Self { shared, place: Place(link), cx: cx.clone(), started, allowed, recovering, full_deadline })
    }

    pub(super) async fn one(self, command: Command) -> Result<Reply> {
        let name = command.name;
        self.send(&command.cmd).await.map(Reply).map_err(|fault| fault.into_error(name))
    }

    pub(super) async fn many(self, commands: Vec<Command>) -> Result<Vec<Result<Reply>>> {
        let names: Vec<_> = commands.iter().map(|command| command.name).collect();
        let mut pipeline = redis::Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command.cmd);
        }
        let values = self.send_all(&pipeline, names.len()).await.map_err(|fault| fault.into_error("pipeline"))?;
        let replies = values.into_iter().zip(names);
        Ok(replies.map(|(value, name)| self.settle(value).map(Reply).map_err(|fault| fault.into_error(name))).collect())
    }

    /// Calls the script by digest. Once more where the server has lost it, or where a wrong idea of its clock made it
    /// refuse in time.
    pub(super) async fn script(
        self,
        script: &'static Script,
        call: ScriptCall,
        now: Option<Timestamp>,
    ) -> Result<Reply> {
        let result = match self.send(&self.evalsha(script, &call, now)).await {
            Err(Fault::NoScript) => self.load_and_call(script, &call, now).await,
            Err(Fault::Late(server)) => {
                let time = &self.shared.server_time;
                time.measured(Timestamp::from_micros(server), time.local(), Duration::MAX);
                self.send(&self.evalsha(script, &call, now)).await
            }
            other => other,
        };
        result.map(Reply).map_err(|fault| {
            if fault == Fault::Other {
                crate::telemetry::warn_once!(script = script.name, "a script failed in redis");
            }
            fault.into_error(call.name.unwrap_or(script.name))
        })
    }

    async fn load_and_call(
        &self,
        script: &'static Script,
        call: &ScriptCall,
        now: Option<Timestamp>,
    ) -> Result<Value, Fault> {
        let mut pipeline = redis::Pipeline::with_capacity(2);
        pipeline.cmd("SCRIPT").arg("LOAD").arg(script.source());
        pipeline.add_command(self.evalsha(script, call, now));
        let mut values = self.send_all(&pipeline, 2).await?;
        values.pop().map_or(Err(Fault::Protocol), |value| self.settle(value))
    }

    fn evalsha(&self, script: &'static Script, call: &ScriptCall, now: Option<Timestamp>) -> Cmd {
        let bytes = call.keys.iter().map(String::len).sum::<usize>() + call.args.iter().map(Vec::len).sum::<usize>();
        let mut cmd = Cmd::with_capacity(call.keys.len() + call.args.len() + 5, bytes + 96);
        cmd.arg("EVALSHA").arg(script.digest()).arg(call.keys.len());
        for key in &call.keys {
            cmd.arg(key);
        }
        for arg in &call.args {
            cmd.arg(arg);
        }
        cmd.arg(self.server_deadline());
        match now {
            Some(now) => cmd.arg(now.as_micros()),
            None => cmd.arg(""),
        };
        cmd
    }

    /// When the server must not begin any more, on its own clock; 0 while that clock is unknown.
    fn server_deadline(&self) -> u64 {
        if !self.shared.server_time.is_known() {
            return 0;
        }
        let left = self.allowed.saturating_sub(self.started.elapsed());
        (self.shared.server_time.now() + left).as_micros()
    }

    async fn send(&self, cmd: &Cmd) -> Result<Value, Fault> {
        let size: usize =
            cmd.args_iter().map(|arg| if let redis::Arg::Simple(bytes) = arg { bytes.len() } else { 0 }).sum();
        if size > BULK && !self.recovering {
            // What the pool's connections suffer says nothing about the one in use, which has its own probes.
            let value = self.raced(self.send_bulk(cmd)).await?;
            return self.settle(value);
        }
        let mut mux = self.place.0.mux.clone();
        let value = self.within(async move { mux.send_packed_command(cmd).await }).await?;
        self.settle(value)
    }

    async fn send_bulk(&self, cmd: &Cmd) -> RedisResult<Value> {
        let busy = || RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        // The pool has timers of its own, which panic outside of a runtime.
        tokio::runtime::Handle::try_current().map_err(|_| busy())?;
        let link = loop {
            let link = self.shared.pool.get().await.map_err(|_| busy())?;
            // The pool looks only at what it is given back: those that are left of before an outage leave it here.
            if !self.shared.manager.is_outdated(&link) {
                break link;
            }
        };
        let sent = link.mux.clone().send_packed_command(cmd).await;
        if sent.as_ref().is_err_and(|error| Fault::of(error) == Fault::Dropped) {
            link.kill();
        }
        sent
    }

    async fn send_all(&self, pipeline: &redis::Pipeline, count: usize) -> Result<Vec<Value>, Fault> {
        let mut mux = self.place.0.mux.clone();
        self.within(async move { mux.send_packed_commands(pipeline, 0, count).await }).await
    }

    /// As [`raced`](Self::raced), and tells the breaker.
    async fn within<T>(&self, work: impl Future<Output = RedisResult<T>>) -> Result<T, Fault> {
        let result = self.raced(work).await;
        match &result {
            Ok(_) => self.shared.gate.answered(),
            Err(Fault::Timeout) => {
                let own_stall = Instant::now() > self.started + self.allowed + STALL;
                if self.full_deadline && !own_stall {
                    self.shared.failed(&self.place.0, Fault::Timeout);
                }
            }
            Err(fault) => self.shared.failed(&self.place.0, *fault),
        }
        result
    }

    /// Ends with the reply, with the connection, or with the time that is left; whichever is first.
    async fn raced<T>(&self, work: impl Future<Output = RedisResult<T>>) -> Result<T, Fault> {
        let (link, alarm) = (&self.place.0, &*self.place.0.alarm);
        let (begun, deadline) = (Instant::now(), self.started + self.allowed);
        tokio::pin!(work);
        let result = loop {
            let rings = alarm.rings();
            tokio::pin!(rings);
            rings.as_mut().enable();
            if link.is_dead() {
                break Err(Fault::Dropped);
            }
            alarm.set(deadline);
            // The answer first: one that is there when the time is up still counts.
            tokio::select! {
                biased;
                result = &mut work => break result.map_err(|error| Fault::of(&error)),
                () = rings => {}
            }
            if !link.is_dead() && Instant::now() >= deadline {
                break Err(Fault::Timeout);
            }
        };
        // From here, not from the start: a call of two trips pays for each once.
        self.cx.charge(begun.elapsed());
        result
    }

    /// Tells a value from an error that the server put in its place.
    fn settle(&self, value: Value) -> Result<Value, Fault> {
        let Value::ServerError(error) = value else { return Ok(value) };
        let fault = Fault::of_code(error.code(), error.details());
        self.shared.failed(&self.place.0, fault);
        Err(fault)
    }
}
