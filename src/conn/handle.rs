//! The handle: what every concern's `redis.rs` calls.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{
    Command, Notices, RecoveryStep, RedisConfig, Reply, Script, ScriptCall, Stage, alarm,
    link::{Link, Operation},
    script::VERB,
    subscriber,
    supervisor::{self, Shared},
};
use crate::{Cx, Error, Result, Status, StoreFuture, clock::Timestamp, key::Keyspace};

/// A handle to one Redis: connections, deadlines, breaker and recovery behind it. Cheap to clone.
///
/// 1. Every operation ends within the deadline (25 ms by default) or what is left of its request's budget.
/// 2. While Redis is down an operation costs nanoseconds and no I/O; one supervisor reconnects in the background.
/// 3. Making a handle never waits. A server that is not there yet is an outage like any other.
///
/// Dropping the last clone closes the connections.
///
/// # When Redis is down
/// Operations answer [`is_unavailable`](Error::is_unavailable) at once. What that means is each concern's choice.
#[derive(Clone)]
pub struct Redis {
    pub(super) shared: Arc<Shared>,
    /// Set while recovering: straight to the proven link, past the breaker.
    via: Option<Arc<Link>>,
}

impl Redis {
    /// A handle to the server of `config`; connects in the background, on the runtime that this is called in. Once that has ended,
    /// Redis is down for good to this handle: make one for each runtime.
    ///
    /// # Errors
    /// Invalid, when called outside of a Tokio runtime.
    pub fn new(config: RedisConfig) -> Result<Self> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| {
            Error::invalid("Redis needs a Tokio runtime: make the handle inside of #[tokio::main] or Runtime::enter")
        })?;
        let shared = Arc::new(Shared::new(config)?);
        shared.register(&VERB);
        runtime.spawn(supervisor::run(Arc::downgrade(&shared)));
        runtime.spawn(subscriber::run(Arc::downgrade(&shared)));
        runtime.spawn(alarm::run(Arc::clone(&shared.manager.alarm)));
        Ok(Self { shared, via: None })
    }

    pub(super) fn recovering(shared: Arc<Shared>, link: Arc<Link>) -> Self {
        Self { shared, via: Some(link) }
    }

    /// How keys are named.
    pub fn keys(&self) -> &Keyspace {
        &self.shared.config.keys
    }

    /// How the connection stands.
    pub fn status(&self) -> Status {
        self.shared.gate.status()
    }

    /// Refuses all operations as if Redis were gone, until called with `false`.
    pub fn force_outage(&self, on: bool) {
        self.shared.force(on);
    }

    /// Waits until Redis is reached, at most `within`; whether it was.
    pub async fn ready(&self, within: Duration) -> bool {
        tokio::time::timeout(within, self.shared.closed()).await.is_ok()
    }

    /// Waits until Redis is given up, or refuses writes; not at all where it is so already.
    #[cfg(feature = "cache")]
    pub(crate) fn impaired(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut status = self.shared.gate.watch();
        async move {
            // Without its sender the handle is gone, and Redis with it.
            let _ = status.wait_for(|status| *status != Status::Up).await;
        }
    }

    /// How many instances beat in Redis when it was last reached, this one included; at least 1.
    pub(crate) fn instances(&self) -> u32 {
        self.shared.instances()
    }

    /// The server's time, estimated from the offset that the probes measure.
    pub(crate) fn now(&self) -> Timestamp {
        self.shared.server_time.now()
    }

    /// Whether the operation of this request has less time than others.
    #[cfg(feature = "rate-limit")]
    pub(crate) fn shortens(&self, cx: &Cx) -> bool {
        cx.allowance(self.shared.config.deadline) < self.shared.config.deadline
    }

    /// Has `script` loaded on every later connection. A store calls it when it is made.
    pub(crate) fn register(&self, script: &'static Script) {
        self.shared.register(script);
    }

    /// Runs `step` now or with the first connect, and in every later recovery, for as long as its owner keeps it.
    /// Weak, because a step that holds a handle would keep the handle alive for ever.
    pub(crate) fn on_recovery(&self, stage: Stage, step: Weak<dyn RecoveryStep>) {
        self.shared.on_recovery(stage, step);
    }

    /// The server answers, but its data is not what it was: has all recovery steps run again, now, while everything
    /// else goes on.
    pub(crate) fn doubt(&self) {
        self.shared.doubt();
    }

    /// Listens to `channel` from now on, over all reconnects.
    pub(crate) fn subscribe(&self, channel: String) -> Notices {
        self.shared.subscriber.subscribe(channel)
    }

    /// Sends one command now.
    pub(crate) fn call<T, D>(&self, cx: &Cx, command: Command, decode: D) -> StoreFuture<T>
    where
        D: FnOnce(Reply) -> Result<T> + Send + 'static,
    {
        if command.in_time {
            return self.run(cx, &VERB, command.into_call(), true, decode);
        }
        match self.begin(cx, command.writes) {
            Err(error) => StoreFuture::err(error),
            Ok(operation) => StoreFuture::submit(async move { decode(operation.one(command).await?) }),
        }
    }

    /// Sends several commands now, in one trip; each reply keeps its own error. None of them is one that must be in time.
    pub(crate) fn pipeline<T, D>(&self, cx: &Cx, commands: Vec<Command>, decode: D) -> StoreFuture<T>
    where
        D: FnOnce(Vec<Result<Reply>>) -> Result<T> + Send + 'static,
    {
        debug_assert!(commands.iter().all(|command| !command.in_time), "a pipeline may run late");
        let writes = commands.iter().any(|command| command.writes);
        match self.begin(cx, writes) {
            Err(error) => StoreFuture::err(error),
            Ok(operation) => StoreFuture::submit(async move { decode(operation.many(commands).await?) }),
        }
    }

    /// Calls a script now: one trip, a second one only where the server has lost the script.
    pub(crate) fn eval<T, D>(&self, cx: &Cx, script: &'static Script, call: ScriptCall, decode: D) -> StoreFuture<T>
    where
        D: FnOnce(Reply) -> Result<T> + Send + 'static,
    {
        self.run(cx, script, call, true, decode)
    }

    /// As [`eval`](Self::eval), of a script that changes nothing: it is called while Redis refuses writes, too.
    #[cfg(feature = "boards")]
    pub(crate) fn eval_read<T, D>(
        &self,
        cx: &Cx,
        script: &'static Script,
        call: ScriptCall,
        decode: D,
    ) -> StoreFuture<T>
    where
        D: FnOnce(Reply) -> Result<T> + Send + 'static,
    {
        self.run(cx, script, call, false, decode)
    }

    fn run<T, D>(&self, cx: &Cx, script: &'static Script, call: ScriptCall, writes: bool, decode: D) -> StoreFuture<T>
    where
        D: FnOnce(Reply) -> Result<T> + Send + 'static,
    {
        match self.begin(cx, writes) {
            Err(error) => StoreFuture::err(error),
            Ok(operation) => {
                let now = cx.now();
                StoreFuture::submit(async move { decode(operation.script(script, call, now).await?) })
            }
        }
    }

    /// Passes the breaker, takes a place in the connection, and fixes when this operation ends.
    fn begin(&self, cx: &Cx, writes: bool) -> Result<Operation> {
        let link = match &self.via {
            Some(link) => Arc::clone(link),
            None => self.shared.admit(writes)?,
        };
        Operation::begin(Arc::clone(&self.shared), link, cx, self.via.is_some())
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("config", &self.shared.config).field("status", &self.status()).finish()
    }
}
