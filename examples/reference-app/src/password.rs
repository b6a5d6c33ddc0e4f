//! Passwords: argon2id, on threads that may block, a few at a time.

use std::sync::Arc;

use anyhow::Context;
use argon2::{
    Argon2,
    password_hash::{self, PasswordHasher, PasswordVerifier, phc},
};
use tokio::sync::Semaphore;

/// A hash that could not be made or read; never a wrong password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    #[error("a password hash cannot be made or read")]
    Hash(#[source] password_hash::Error),
    #[error("the work on a password was given up")]
    GivenUp(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Hashes and verifies passwords.
///
/// 1. One hash takes 19 MiB and some 20 ms of a core, so no more run at once than there are cores; the others
///    queue, and the request's timeout ends their wait.
/// 2. A name that nobody has costs as much as a wrong password: the time taken tells nothing about who exists.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    permits: Arc<Semaphore>,
    nobody: Arc<str>,
}

impl Passwords {
    /// # Errors
    /// When the operating system gives no random numbers.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let nobody = hash_now(&random_password()?).context("cannot hash a password")?;
        Ok(Self { permits: Arc::new(Semaphore::new(cores)), nobody: nobody.into() })
    }

    /// The hash to store, as a PHC string.
    pub(crate) async fn hash(&self, password: String) -> Result<String, HashError> {
        self.run(move || hash_now(&password)).await?.map_err(HashError::Hash)
    }

    /// Whether `password` is the one of `stored`; without a stored one never, after the same time.
    pub(crate) async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, HashError> {
        let is_somebody = stored.is_some();
        let hash = stored.unwrap_or_else(|| self.nobody.to_string());
        let verdict = self.run(move || Argon2::default().verify_password(password.as_bytes(), hash.as_str())).await?;
        match verdict {
            Ok(()) => Ok(is_somebody),
            Err(password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(HashError::Hash(error)),
        }
    }

    /// The permit moves into the work: a client that leaves does not make room while its hash still runs.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, HashError> {
        let permits = Arc::clone(&self.permits);
        let permit = permits.acquire_owned().await.map_err(|error| HashError::GivenUp(error.into()))?;
        let work = move || {
            let done = work();
            drop(permit);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| HashError::GivenUp(error.into()))
    }
}

fn hash_now(password: &str) -> password_hash::Result<String> {
    let hash: phc::PasswordHash = Argon2::default().hash_password(password.as_bytes())?;
    Ok(hash.to_string())
}

/// 96 random bits that are easy to copy.
///
/// # Errors
/// When the operating system gives no random numbers.
pub(crate) fn random_password() -> anyhow::Result<String> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).context("the operating system gives no random numbers")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn knows_the_right_password_and_no_other() {
        let passwords = Passwords::new().expect("random numbers");
        let stored = passwords.hash("correct horse".to_owned()).await.expect("hashed");
        assert!(stored.starts_with("$argon2id$"));
        assert!(passwords.verify("correct horse".to_owned(), Some(stored.clone())).await.expect("verified"));
        assert!(!passwords.verify("wrong horse".to_owned(), Some(stored)).await.expect("verified"));
        assert!(!passwords.verify("correct horse".to_owned(), None).await.expect("verified"));
    }
}
