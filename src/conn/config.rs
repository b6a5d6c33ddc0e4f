//! Where Redis is, from a URL, a builder or the environment.

use std::{fmt, time::Duration};

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, io::tcp::TcpSettings};

use super::credentials::{Credentials, Provider};
use crate::{Error, Result, key::Keyspace, outcome::Redacted};

/// Where Redis is and how long it may take.
///
/// URLs: `redis://[user[:password]@]host[:port][/db]` and `redis+unix:///path/to/socket[?db=0&user=..&pass=..]`.
/// Building one never waits for a server.
///
/// ```
/// use towerkeep::conn::RedisConfig;
/// let config = RedisConfig::new("redis://:hunter2@127.0.0.1:6379/1").unwrap();
/// assert!(!format!("{config:?}").contains("hunter2"));
/// assert!(RedisConfig::new("localhost:6379").unwrap_err().is_invalid());
/// ```
#[derive(Clone)]
pub struct RedisConfig {
    pub(super) info: ConnectionInfo,
    pub(super) deadline: Duration,
    pub(super) keys: Keyspace,
    pub(super) instances: Option<u32>,
    pub(super) provider: Option<Provider>,
}

/// A command that takes longer has failed.
const DEADLINE: Duration = Duration::from_millis(25);
/// Under the client library's own timeout, which must never decide; and a moment that can be reckoned.
const LONGEST_DEADLINE: Duration = Duration::from_secs(20);

impl RedisConfig {
    /// The server at `url`.
    ///
    /// # Errors
    /// Invalid, when the URL does not parse or asks for what this build cannot do. The password is not in the message.
    pub fn new(url: &str) -> Result<Self> {
        match url.split_once("://") {
            Some(("redis" | "redis+unix" | "unix", _)) => {}
            Some(("rediss", _)) => {
                return Err(Error::invalid("REDIS_URL asks for TLS (rediss://), which this build does not have"));
            }
            Some(("redis+sentinel" | "redis+cluster", _)) => {
                return Err(Error::invalid("REDIS_URL asks for Sentinel or Cluster, which this build does not have"));
            }
            _ => {
                return Err(Error::invalid(
                    "REDIS_URL is not a Redis URL: write redis://host:6379 or redis+unix:///path/to/socket",
                ));
            }
        }
        let info = url.into_connection_info().map_err(|error| {
            // The library's text names the part that is wrong; its detail could repeat what was written there.
            Error::invalid(format!("REDIS_URL cannot be used: {}", reason(&error)))
        })?;
        Ok(Self::of(info))
    }

    /// The server that the environment names: `REDIS_URL`, or `REDIS_HOST` with `REDIS_PORT` (6379) and
    /// `REDIS_PASSWORD`; nothing where it names none. Empty variables count as unset.
    ///
    /// # Errors
    /// Invalid, naming the variable.
    pub fn from_env() -> Result<Option<Self>> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        if let Some(url) = variable("REDIS_URL") {
            return Self::new(&url).map(Some);
        }
        let Some(host) = variable("REDIS_HOST") else { return Ok(None) };
        let port = match variable("REDIS_PORT") {
            None => 6379,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| Error::invalid(format!("REDIS_PORT is {port:?}; give a number from 1 to 65535")))?,
        };
        let info = (host, port).into_connection_info().map_err(|_| Error::invalid("REDIS_HOST cannot be used"))?;
        let settings = match variable("REDIS_PASSWORD") {
            Some(password) => info.redis_settings().clone().set_password(password),
            None => info.redis_settings().clone(),
        };
        Ok(Some(Self::of(info.set_redis_settings(settings))))
    }

    fn of(info: ConnectionInfo) -> Self {
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        Self { info, deadline: DEADLINE, keys: Keyspace::default(), instances: None, provider: None }
    }

    /// How long one operation may take, at most 20 s. Defaults to 25 ms.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.min(LONGEST_DEADLINE);
        self
    }

    /// Who we are, asked anew for each connection, in place of what the URL says; at most half a second is waited for it.
    ///
    /// A connection that is there goes on with the credentials it was made with, so a password is changed without an outage:
    /// let Redis accept the new one beside the old (`ACL SETUSER towerkeep >new`), have the provider say the new one, and
    /// remove the old one (`<old`) any time later. Where it fails or panics nothing is connected, and it is asked again; its error
    /// is not logged, because it may hold what is secret.
    ///
    /// ```no_run
    /// use towerkeep::conn::{Credentials, RedisConfig};
    /// let config = RedisConfig::new("redis://redis.internal:6379")?.credentials(async || {
    ///     let password = std::fs::read_to_string("/run/secrets/redis")?;
    ///     std::io::Result::Ok(Credentials::new("towerkeep", password.trim_end()))
    /// });
    /// # Ok::<(), towerkeep::Error>(())
    /// ```
    #[must_use]
    pub fn credentials<F, Fut, E>(mut self, provider: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials, E>> + Send + 'static,
    {
        self.provider = Some(Provider::new(provider));
        self
    }

    /// As [`credentials`](Self::credentials), if there is somebody to ask.
    pub(crate) fn provided_by(mut self, provider: Option<Provider>) -> Self {
        self.provider = provider.or(self.provider);
        self
    }

    /// How keys are named. Defaults to the prefix `tk`.
    #[must_use]
    pub fn keys(mut self, keys: Keyspace) -> Self {
        self.keys = keys;
        self
    }

    /// How many instances share this Redis, for local limits during an outage. Defaults to the number that beat in
    /// the last 15 s before it.
    #[must_use]
    pub fn instances(mut self, instances: u32) -> Self {
        self.instances = Some(instances);
        self
    }

    /// The server for logs: no user, no password.
    pub(super) fn address(&self) -> String {
        match self.info.addr() {
            ConnectionAddr::Tcp(host, port) if host.contains(':') => format!("[{host}]:{port}"),
            ConnectionAddr::Tcp(host, port) => format!("{host}:{port}"),
            ConnectionAddr::Unix(path) => path.display().to_string(),
            _ => "tls".to_owned(),
        }
    }
}

fn reason(error: &redis::RedisError) -> String {
    let text = error.to_string();
    let text = text.split(" - ").next().unwrap_or_default();
    text.split(": ").next().unwrap_or_default().to_lowercase()
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("address", &self.address())
            .field("asks", &self.provider.is_some())
            .field("credentials", &self.info.redis_settings().password().map(|_| Redacted))
            .field("deadline", &self.deadline)
            .field("prefix", &self.keys.prefix())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_url_does_not_say_its_password() {
        let bad = [
            "redis://:hunter2@a:99999999",
            "redis://:hunter2@a/notdb",
            "redis://:hunter2@",
            "redis://:hunter2@:6379",
            "redis://u:hun%ZZter2@a:b",
            "redis://hunter2:hunter2@[::1",
            "redis://:hunter2@a?protocol=hunter2",
            "redis+unix://hunter2?db=hunter2",
            "redis://:%FFhunter2@a",
            "hunter2://x",
        ];
        for url in bad {
            if let Err(error) = RedisConfig::new(url) {
                assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}: {error:?}");
            }
        }
    }

    #[test]
    fn a_deadline_is_never_too_long_to_add_to_the_time() {
        let config = RedisConfig::new("redis://a").expect("valid").deadline(Duration::MAX);
        assert!(std::time::Instant::now().checked_add(config.deadline).is_some());
    }

    fn from(variables: &[(&str, &str)]) -> Result<Option<RedisConfig>> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        RedisConfig::from_variables(find)
    }

    #[test]
    fn the_url_wins_over_host_and_port() {
        let config = from(&[("REDIS_HOST", "b"), ("REDIS_URL", "redis://a:7000/2")]).expect("valid").expect("named");
        assert_eq!((config.address().as_str(), config.info.redis_settings().db()), ("a:7000", 2));
    }

    #[test]
    fn host_port_and_password_are_read() {
        let variables = [("REDIS_HOST", "::1"), ("REDIS_PORT", "7001"), ("REDIS_PASSWORD", "p@ss"), ("REDIS_URL", "")];
        let config = from(&variables).expect("valid").expect("named");
        assert_eq!(config.address(), "[::1]:7001");
        assert_eq!(config.info.redis_settings().password(), Some("p@ss"));
    }

    #[test]
    fn nothing_named_is_no_redis() {
        assert!(from(&[]).expect("valid").is_none());
    }

    #[test]
    fn bad_input_is_told_without_the_secret() {
        let urls =
            ["", "localhost", "http://x", "redis://:hunter2@host:port", "redis://:hunter2@h/notanumber", "redis://"];
        for url in urls {
            let error = RedisConfig::new(url).expect_err(url);
            assert!(error.is_invalid(), "{url}");
            assert!(error.to_string().contains("REDIS_URL") && !error.to_string().contains("hunter2"), "{error}");
        }
        assert!(from(&[("REDIS_HOST", "h"), ("REDIS_PORT", "70000")]).is_err());
    }

    #[test]
    fn unix_sockets_are_addresses() {
        let config = RedisConfig::new("redis+unix:///run/redis.sock?db=3").expect("valid");
        assert_eq!(config.address(), "/run/redis.sock");
    }
}
