//! What can be configured: each setting is a flag and an environment variable.

use std::{net::IpAddr, time::Duration};

use clap::{ArgAction, Parser};
use towerkeep::client_ip::TrustedProxies;

const LISTEN: &str = "127.0.0.1:3000";

const REDIS_DEADLINE: Duration = Duration::from_millis(25);

/// The embedded database of the working directory.
const EMBEDDED: &str = "sqlite:towerkeep.db";

/// The reference app of towerkeep: bookmarks behind sessions, limits and a response cache.
///
/// Without any setting it needs no server: SQLite in `towerkeep.db`, sessions, limits and cache in memory.
#[derive(Clone, Debug, Parser)]
#[command(name = "reference-app", version, max_term_width = 100)]
pub(crate) struct Config {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "LISTEN", value_name = "ADDRESS:PORT", default_value = LISTEN)]
    listen: String,

    /// Redis for sessions, limits and cache, e.g. redis://127.0.0.1:6379; in memory without it
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    redis: Option<String>,

    /// How long one operation of Redis may take, in milliseconds; over a slow network more than the default
    #[arg(long, env = "REDIS_DEADLINE_MS", value_name = "MS", default_value = "25", value_parser = redis_deadline)]
    redis_deadline: Duration,

    /// The database: sqlite:FILE or postgres://USER:PASSWORD@HOST/NAME [default: sqlite:towerkeep.db]
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database: Option<String>,

    /// Networks of reverse proxies whose X-Forwarded-For is believed, e.g. 10.0.0.0/8
    #[arg(long = "trusted-proxy", env = "TRUSTED_PROXIES", value_name = "CIDR", value_delimiter = ',')]
    trusted_proxies: Vec<String>,

    /// Add the demo users and bookmarks, whatever the database
    #[arg(long, overrides_with = "no_seed")]
    seed: bool,

    /// Add no demo data, not even into the embedded database
    #[arg(long)]
    no_seed: bool,

    /// Send session cookies over plain HTTP too, wherever it listens
    #[arg(long, action = ArgAction::SetTrue)]
    insecure_cookies: bool,

    /// Run this many instances in one process, from 2 to 9, on the ports after the first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=9))]
    cluster_demo: Option<u16>,

    /// How the log is written, to stderr: text for people, json as one object a line; RUST_LOG filters it
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT", default_value = "text", value_parser = log_format)]
    pub(crate) log_format: LogFormat,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

fn log_format(name: &str) -> Result<LogFormat, &'static str> {
    match name.trim() {
        "" | "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("give text or json"),
    }
}

fn redis_deadline(millis: &str) -> Result<Duration, &'static str> {
    match millis.trim() {
        "" => Ok(REDIS_DEADLINE),
        text => {
            let millis = text.parse().ok().filter(|millis| (1..=10_000).contains(millis));
            millis.map(Duration::from_millis).ok_or("give a number from 1 to 10000")
        }
    }
}

/// A variable that is set to nothing is not set.
impl Config {
    pub(crate) fn listen(&self) -> &str {
        Some(self.listen.trim()).filter(|address| !address.is_empty()).unwrap_or(LISTEN)
    }

    pub(crate) fn redis(&self) -> Option<&str> {
        self.redis.as_deref().map(str::trim).filter(|url| !url.is_empty())
    }

    pub(crate) fn redis_deadline(&self) -> Duration {
        self.redis_deadline
    }

    pub(crate) fn database(&self) -> &str {
        self.given_database().unwrap_or(EMBEDDED)
    }

    fn given_database(&self) -> Option<&str> {
        self.database.as_deref().map(str::trim).filter(|url| !url.is_empty())
    }

    /// How many instances to run.
    pub(crate) fn instances(&self) -> u16 {
        self.cluster_demo.unwrap_or(1)
    }

    /// The networks given.
    ///
    /// # Errors
    /// Names the one that is no network.
    pub(crate) fn trusted_proxies(&self) -> towerkeep::Result<Vec<&str>> {
        let networks: Vec<_> =
            self.trusted_proxies.iter().map(|cidr| cidr.trim()).filter(|cidr| !cidr.is_empty()).collect();
        TrustedProxies::new(&networks)?;
        Ok(networks)
    }

    /// A database that somebody chose gets demo data only when asked for.
    pub(crate) fn wants_demo_data(&self) -> bool {
        self.seed || (self.given_database().is_none() && !self.no_seed)
    }

    /// Whether cookies may travel over plain HTTP: while only this machine can connect, or when told so.
    ///
    /// Behind a proxy the address says nothing: the proxy may be what listens on the loopback, for everybody.
    pub(crate) fn may_use_plain_cookies(&self, listening: IpAddr) -> bool {
        self.insecure_cookies || (listening.is_loopback() && !self.is_behind_proxy())
    }

    pub(crate) fn is_behind_proxy(&self) -> bool {
        self.trusted_proxies.iter().any(|cidr| !cidr.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(args: &[&str]) -> Config {
        Config::parse_from([&["reference-app"], args].concat())
    }

    #[test]
    fn only_the_embedded_database_gets_demo_data_unasked() {
        assert!(config(&["--database", ""]).wants_demo_data());
        assert!(!config(&["--database", "", "--no-seed"]).wants_demo_data());
        assert!(!config(&["--database", EMBEDDED]).wants_demo_data());
        assert!(config(&["--database", EMBEDDED, "--no-seed", "--seed"]).wants_demo_data());
    }

    #[test]
    fn what_is_set_to_nothing_is_not_set() {
        let empty =
            config(&["--listen", "", "--redis", " ", "--database", "", "--log-format", "", "--trusted-proxy", ""]);
        let deadline = config(&["--redis-deadline", " "]).redis_deadline();
        assert_eq!((empty.listen(), empty.redis(), empty.database()), (LISTEN, None, EMBEDDED));
        assert_eq!((empty.log_format, empty.is_behind_proxy()), (LogFormat::Text, false));
        assert_eq!((empty.redis_deadline(), deadline), (REDIS_DEADLINE, REDIS_DEADLINE));
    }

    #[test]
    fn a_deadline_for_redis_is_a_number_of_milliseconds() {
        assert_eq!(config(&["--redis-deadline", "200"]).redis_deadline(), Duration::from_millis(200));
        for wrong in ["0", "10001", "25ms", "-1"] {
            let args = ["reference-app".to_owned(), format!("--redis-deadline={wrong}")];
            let told = Config::try_parse_from(args).expect_err("no such deadline").to_string();
            assert!(told.contains("from 1 to 10000"), "{told}");
        }
    }

    #[test]
    fn plain_cookies_stay_on_this_machine() {
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0]));
        assert!(config(&[]).may_use_plain_cookies(here));
        assert!(!config(&[]).may_use_plain_cookies(there));
        assert!(!config(&["--trusted-proxy", "127.0.0.1/32"]).may_use_plain_cookies(here));
        assert!(config(&["--insecure-cookies"]).may_use_plain_cookies(there));
    }

    #[test]
    fn names_the_network_that_is_none() {
        let error = config(&["--trusted-proxy", "10.0.0.0/8,10.0.0.0/99"]).trusted_proxies().expect_err("no network");
        assert!(error.to_string().contains("10.0.0.0/99"));
    }
}
