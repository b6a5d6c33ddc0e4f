//! Who we are to Redis: what the URL says, or what somebody says anew for each connection.

use std::{fmt, future::Future, panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use futures_util::FutureExt as _;
use redis::{Client, ConnectionInfo, RedisResult};

use super::fault::Fault;
use crate::outcome::Redacted;

/// A user and a password for Redis.
///
/// ```
/// use towerkeep::conn::Credentials;
/// let credentials = Credentials::new("towerkeep", "hunter2");
/// assert!(!format!("{credentials:?}").contains("hunter2"));
/// ```
#[derive(Clone)]
pub struct Credentials {
    user: Option<String>,
    password: String,
}

impl Credentials {
    /// Those of this user (`AUTH user password`).
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: Some(user.into()), password: password.into() }
    }

    /// Those of the default user (`AUTH password`).
    pub fn password(password: impl Into<String>) -> Self {
        Self { user: None, password: password.into() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).field("password", &Redacted).finish()
    }
}

type Asked = Pin<Box<dyn Future<Output = Option<Credentials>> + Send>>;

/// Says the credentials of now.
#[derive(Clone)]
pub(crate) struct Provider(Arc<dyn Fn() -> Asked + Send + Sync>);

impl Provider {
    pub(crate) fn new<F, Fut, E>(provider: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials, E>> + Send + 'static,
    {
        let provider = Arc::new(provider);
        Self(Arc::new(move || {
            let provider = Arc::clone(&provider);
            // What an error says may be secret. A panic is one, too: it must not end the task that reconnects.
            let asked = AssertUnwindSafe(async move { provider().await.ok() });
            Box::pin(async move { asked.catch_unwind().await.ok().flatten() })
        }))
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}

/// The server, and how one is let in there.
#[derive(Clone)]
pub(super) struct Door {
    info: ConnectionInfo,
    provider: Option<Provider>,
}

impl Door {
    /// # Errors
    /// Where this build cannot do what the address asks for.
    pub(super) fn new(info: &ConnectionInfo, provider: Option<&Provider>) -> RedisResult<Self> {
        Client::open(info.clone())?;
        Ok(Self { info: info.clone(), provider: provider.cloned() })
    }

    /// A client for one connection, with the credentials of now.
    pub(super) async fn client(&self) -> Result<Client, Fault> {
        let opened = Client::open(self.now().await?);
        opened.map_err(|error| Fault::of(&error))
    }

    /// The address with the credentials of now.
    pub(super) async fn now(&self) -> Result<ConnectionInfo, Fault> {
        let Some(Provider(ask)) = &self.provider else { return Ok(self.info.clone()) };
        let Credentials { user, password } = ask().await.ok_or(Fault::NoCredentials)?;
        let mut settings = self.info.redis_settings().clone().set_password(password);
        if let Some(user) = user {
            settings = settings.set_username(user);
        }
        Ok(self.info.clone().set_redis_settings(settings))
    }
}

#[cfg(test)]
mod tests {
    use redis::IntoConnectionInfo;

    use super::*;

    #[tokio::test]
    async fn a_provider_that_panics_is_one_that_fails() {
        let info = "redis://localhost".into_connection_info().expect("a valid url");
        let provider = Provider::new(|| -> std::future::Ready<Result<Credentials, ()>> { panic!("at once") });
        assert_eq!(Door::new(&info, Some(&provider)).expect("valid").now().await.err(), Some(Fault::NoCredentials));
        let provider = Provider::new(async || -> Result<Credentials, ()> { panic!("when it is waited for") });
        assert_eq!(Door::new(&info, Some(&provider)).expect("valid").now().await.err(), Some(Fault::NoCredentials));
    }
}
