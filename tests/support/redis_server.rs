//! A real redis-server of one test: started on a free port, stopped by its own process id.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use towerkeep::conn::{Redis, RedisConfig};

use super::FaultProxy;

/// A server in a directory of its own; killed when dropped.
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    options: Vec<String>,
    dir: TempDir,
}

/// How long a server may take to answer its first PING, and a handle to reach it.
const START: Duration = Duration::from_secs(10);

impl RedisServer {
    /// An empty server without persistence.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As `start`, with further options (`["--maxmemory", "2mb"]`).
    pub fn start_with(options: &[&str]) -> Self {
        let mut server = Self::stopped();
        server.options = options.iter().map(|option| (*option).to_owned()).collect();
        let deadline = Instant::now() + START;
        while let Err(failure) = server.try_launch() {
            // Somebody took the port since it was found free; nobody has been told of it yet, so take another.
            let retry = failure.port_is_taken && Instant::now() < deadline;
            assert!(retry, "{}", failure.text);
            server.port = free_port();
        }
        server
    }

    /// A server that is not running yet, with its port taken note of.
    pub fn stopped() -> Self {
        Self { child: None, port: free_port(), options: Vec::new(), dir: short_dir() }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// The path of the server's unix socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(SOCKET)
    }

    /// The server, as the user of least privilege whom `docs/redis.md` recommends.
    pub fn user_url(&self) -> String {
        as_user(self.address())
    }

    /// A handle of ours to this server as that user, once it is reached.
    pub async fn handle(&self) -> Redis {
        reached(&self.user_url()).await
    }

    /// As `handle`, with a deadline for a busy machine: for tests that are not about outages.
    pub async fn patient_handle(&self) -> Redis {
        let config = RedisConfig::new(&self.user_url()).expect("a valid url");
        ready(config.deadline(Duration::from_secs(5))).await
    }

    /// As `handle`, through `proxy`.
    pub async fn handle_via(&self, proxy: &FaultProxy) -> Redis {
        reached(&as_user(proxy.address())).await
    }

    /// A plain connection for looking at what is stored.
    pub async fn client(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).expect("a valid url");
        let mut connection = client.get_multiplexed_async_connection().await.expect("redis is up");
        connection.set_response_timeout(Duration::from_secs(10));
        connection
    }

    /// Deletes everything, as an operator's FLUSHALL would.
    pub async fn flush(&self) {
        redis::cmd("FLUSHALL").exec_async(&mut self.client().await).await.expect("redis is up");
    }

    /// Lets time pass for the keys of a pattern, whose times to live are whole seconds: what is left is shortened. What the
    /// test itself has taken is given back, as long as it is under a second.
    pub async fn age(&self, client: &redis::aio::MultiplexedConnection, pattern: &str, by: Duration) {
        let mut client = client.clone();
        let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut client).await.expect("redis is up");
        for key in keys {
            let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut client).await.expect("redis is up");
            let whole = (left + 999) / 1_000 * 1_000;
            let left = whole - i64::try_from(by.as_millis()).expect("short");
            redis::cmd("PEXPIRE").arg(&key).arg(left).exec_async(&mut client).await.expect("redis is up");
        }
    }

    /// One field of INFO: `info("run_id")`.
    pub async fn info(&self, field: &str) -> String {
        let info = self.info_of("everything").await;
        let value = fields(&info).find_map(|(name, value)| (name == field).then(|| value.to_owned()));
        value.unwrap_or_else(|| panic!("INFO has no field {field:?}"))
    }

    /// How often each command was called since the start, those inside of scripts included, as in
    /// `{"evalsha": 3, "config|get": 1}`.
    pub async fn commandstats(&self) -> BTreeMap<String, u64> {
        calls(&self.info_of("commandstats").await)
    }

    /// What `work` made the server do: the calls of each command, without those of this harness.
    ///
    /// A handle's own probes count too; compare single commands, or force the probes to rest.
    pub async fn commands_during(&self, work: impl Future<Output = ()>) -> BTreeMap<String, u64> {
        let before = self.commandstats().await;
        work.await;
        let mut calls = self.commandstats().await;
        for own in ["info", "client|setinfo"] {
            calls.remove(own);
        }
        calls.retain(|command, count| {
            *count -= before.get(command).copied().unwrap_or(0);
            *count > 0
        });
        calls
    }

    async fn info_of(&self, section: &str) -> String {
        redis::cmd("INFO").arg(section).query_async(&mut self.client().await).await.expect("redis is up")
    }

    /// Ends the process at once (SIGKILL) and forgets its data.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the server's own process");
            child.wait().expect("the server's own process");
        }
    }

    /// Starts it on the same port, empty unless persistence was asked for.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "already running");
        let deadline = Instant::now() + START;
        while let Err(failure) = self.try_launch() {
            let retry = failure.port_is_taken && Instant::now() < deadline;
            assert!(retry, "{}", failure.text);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Removes what a server that is not running has written to its disk.
    pub fn forget(&self) {
        assert!(self.child.is_none(), "still running");
        for entry in std::fs::read_dir(self.dir.path()).expect("its own directory") {
            let path = entry.expect("its own directory").path();
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.expect("its own file");
        }
    }

    fn try_launch(&mut self) -> Result<(), Failure> {
        std::fs::remove_file(self.socket()).ok();
        let mut child = self.command().spawn().unwrap_or_else(|error| {
            let binary = binary();
            panic!(
                "{} does not start ({error}): run ./check, which brings a server, or set REDISRS_SERVER_BIN",
                binary.display()
            )
        });
        let started = wait_until_serving(&mut child, &self.socket());
        if let Err(why) = started {
            child.kill().ok();
            child.wait().ok();
            return Err(self.failure(&why));
        }
        self.child = Some(child);
        Ok(())
    }

    fn command(&self) -> Command {
        let (port, socket, dir) = (self.port.to_string(), self.socket(), self.dir.path());
        let log = File::create(self.log()).expect("the server's own directory");
        let mut command = Command::new(binary());
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command
            .arg("--unixsocket")
            .arg(socket)
            .arg("--dir")
            .arg(dir)
            .args(["--loglevel", "warning", "--user"])
            .args(documented_user());
        command.args(&self.options).stdin(Stdio::null()).stderr(log.try_clone().expect("an open file")).stdout(log);
        command
    }

    fn failure(&self, why: &str) -> Failure {
        let said = std::fs::read_to_string(self.log()).unwrap_or_default();
        let text = format!("redis-server on port {} {why}; it said:\n{}", self.port, said.trim());
        Failure { port_is_taken: said.contains("Address already in use"), text }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Stops the process without ending it (SIGSTOP): connections stay, nothing answers.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen process go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.child.as_ref().expect("running"));
        kill_process(pid, signal).expect("the server's own process");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn as_user(address: SocketAddr) -> String {
    format!("redis://towerkeep:change-me@{address}")
}

async fn reached(url: &str) -> Redis {
    ready(RedisConfig::new(url).expect("a valid url")).await
}

async fn ready(config: RedisConfig) -> Redis {
    let redis = Redis::new(config).expect("inside a runtime");
    assert!(redis.ready(START).await, "redis was not reached: {redis:?}");
    redis
}

/// The words of the access rule in the book, after `user`.
fn documented_user() -> impl Iterator<Item = &'static str> {
    let rule = include_str!("../../docs/redis.md").lines().find_map(|line| line.strip_prefix("user "));
    rule.expect("docs/redis.md has a line `user towerkeep ...`").split_whitespace()
}

/// Why a server did not start.
struct Failure {
    port_is_taken: bool,
    text: String,
}

fn binary() -> PathBuf {
    std::env::var_os("REDISRS_SERVER_BIN").map_or_else(|| PathBuf::from("redis-server"), PathBuf::from)
}

/// Asks over the unix socket, which nobody else can have: on the port another test's server may answer.
fn wait_until_serving(child: &mut Child, socket: &Path) -> Result<(), String> {
    let deadline = Instant::now() + START;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().expect("our own child") {
            return Err(format!("ended at once ({status})"));
        }
        if is_serving(socket) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Err(format!("did not answer within {START:?}"))
}

fn is_serving(socket: &Path) -> bool {
    let mut reply = [0; 5];
    let asked = UnixStream::connect(socket).and_then(|mut stream| {
        stream.set_read_timeout(Some(START))?;
        stream.write_all(b"PING\r\n")?;
        stream.read_exact(&mut reply)
    });
    // With a password the answer is -NOAUTH: up, too. While data is read from disk it is -LOADING.
    asked.is_ok() && (&reply == b"+PONG" || &reply == b"-NOAU")
}

const SOCKET: &str = "redis.sock";
/// Paths of unix sockets end at 104 bytes on macOS and 108 on Linux.
const LONGEST_SOCKET_PATH: usize = 100;

/// A temporary directory, in /tmp where the usual place has too long a name for a socket in it.
fn short_dir() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    if dir.path().join(SOCKET).as_os_str().len() <= LONGEST_SOCKET_PATH {
        return dir;
    }
    tempfile::tempdir_in("/tmp").expect("a temporary directory")
}

/// A port that was free a moment ago.
///
/// Below 32768, where no system takes the ports of outgoing connections from: a client that tries to reach a killed
/// server would otherwise now and then be given the server's port, and be connected to itself.
pub fn free_port() -> u16 {
    const FIRST: u32 = 15_000;
    const COUNT: u32 = 17_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Each process begins elsewhere, so that test binaries running side by side rarely meet.
    let begin = std::process::id().wrapping_mul(7_919);
    for _ in 0..COUNT {
        let next = begin.wrapping_add(NEXT.fetch_add(1, Relaxed));
        let port = u16::try_from(FIRST + next % COUNT).expect("below 32768");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT);
}

/// The lines `name:value` of INFO.
fn fields(info: &str) -> impl Iterator<Item = (&str, &str)> {
    info.lines().filter_map(|line| line.trim_end().split_once(':'))
}

/// Reads `cmdstat_get:calls=3,usec=..` lines.
fn calls(info: &str) -> BTreeMap<String, u64> {
    let count = |(name, value): (&str, &str)| {
        let command = name.strip_prefix("cmdstat_")?;
        let calls = value.strip_prefix("calls=")?.split(',').next()?;
        Some((command.to_owned(), calls.parse().ok()?))
    };
    fields(info).filter_map(count).collect()
}
