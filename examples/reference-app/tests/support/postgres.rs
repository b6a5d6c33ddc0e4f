//! A real PostgreSQL of one test: started on a free port, stopped by its own process id.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;

/// Set to 1 to go without: the tests that need a server then only say so.
const WITHOUT: &str = "TOWERKEEP_WITHOUT_POSTGRES";
const START_WITHIN: Duration = Duration::from_secs(30);

/// `nobody` and its group: the server refuses to run as root.
const NOBODY: u32 = 65_534;

/// A server in a directory of its own; stopped when dropped.
pub struct Postgres {
    child: Child,
    port: u16,
    databases: u32,
    _dir: TempDir,
}

impl Postgres {
    /// An empty server; `None` only when going without was asked for.
    pub async fn start() -> Option<Self> {
        if std::env::var(WITHOUT).is_ok_and(|value| value == "1") {
            eprintln!("{WITHOUT}=1: not tested on PostgreSQL");
            return None;
        }
        let bin = binaries().unwrap_or_else(|| {
            panic!(
                "no PostgreSQL server on this machine: `apt-get install postgresql` (macOS: `brew install postgresql`) \
                 brings one, TOWERKEEP_PG_BIN=/directory/of/initdb names one, {WITHOUT}=1 goes without"
            )
        });
        let dir = tempfile::tempdir().expect("a temporary directory");
        if is_root() {
            std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).expect("root may give it away");
        }
        let data = dir.path().join("data");
        let made = unprivileged(&bin.join("initdb"))
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .current_dir(dir.path())
            .output();
        let made = made.expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = super::servers::redis_server::free_port();
        let child = unprivileged(&bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "fsync=off", "-c", "full_page_writes=off"])
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let server = Self { child: child.expect("postgres starts"), port, databases: 0, _dir: dir };
        server.connection().await.close().await.ok();
        Some(server)
    }

    /// The URL of a new, empty database.
    pub async fn database(&mut self) -> String {
        self.databases += 1;
        let name = format!("app{}", self.databases);
        let mut connection = self.connection().await;
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("a new database");
        connection.close().await.ok();
        self.url(&name)
    }

    fn url(&self, name: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    async fn connection(&self) -> PgConnection {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            match PgConnection::connect(&self.url("postgres")).await {
                Ok(connection) => return connection,
                Err(error) => assert!(Instant::now() < deadline, "postgres did not start: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Postgres {
    /// SIGINT: a fast shutdown, which takes its own children along.
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).ok();
        self.child.wait().ok();
    }
}

/// The directory that `TOWERKEEP_PG_BIN` names, else the newest packaged version, else what is on the path.
fn binaries() -> Option<PathBuf> {
    let named = std::env::var_os("TOWERKEEP_PG_BIN").map(PathBuf::from);
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut packaged: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    packaged.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).collect::<Vec<_>>();
    let is_fit = |dir: &PathBuf| dir.join("initdb").exists() && dir.join("postgres").exists();
    named.into_iter().chain(packaged.into_iter().rev()).chain(on_path).find(is_fit)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let nobody = NOBODY.to_string();
    command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups", "--pdeathsig", "INT"]).arg(program);
    command
}
