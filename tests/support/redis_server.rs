//! A real redis-server of one test: started on a free port, stopped by its own process id.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use towerkeep::conn::{Redis, RedisConfig};

/// A server in a directory of its own; killed when dropped.
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    options: Vec<String>,
    dir: TempDir,
}

impl RedisServer {
    /// An empty server without persistence.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As `start`, with further options (`["--maxmemory", "2mb"]`).
    pub fn start_with(options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut server = Self { child: None, port: free_port(), options, dir };
        server.launch();
        server
    }

    /// A server that is not running yet, with its port taken note of.
    pub fn stopped() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { child: None, port: free_port(), options: Vec::new(), dir }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The path of the server's unix socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// A handle of ours to this server, once it is reached.
    pub async fn handle(&self) -> Redis {
        let redis = Redis::new(RedisConfig::new(&self.url()).expect("a valid url")).expect("inside a runtime");
        assert!(redis.ready(Duration::from_secs(10)).await, "redis at {} was not reached", self.url());
        redis
    }

    /// A plain connection for looking at what is stored.
    pub async fn client(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).expect("a valid url");
        let mut connection = client.get_multiplexed_async_connection().await.expect("redis is up");
        connection.set_response_timeout(Duration::from_secs(10));
        connection
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
        let mut command = Command::new(binary());
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args([
            "--unixsocket",
            &self.socket().display().to_string(),
            "--dir",
            &self.dir.path().display().to_string(),
        ]);
        command.args(["--loglevel", "warning"]).args(&self.options).stdout(Stdio::null()).stderr(Stdio::null());
        let child =
            command.spawn().expect("redis-server starts; run ./check, which brings one, or set REDISRS_SERVER_BIN");
        self.child = Some(child);
        self.wait_until_listening();
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

    fn wait_until_listening(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server did not listen on port {} within ten seconds", self.port);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn binary() -> PathBuf {
    std::env::var_os("REDISRS_SERVER_BIN").map_or_else(|| PathBuf::from("redis-server"), PathBuf::from)
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a free port").port()
}
