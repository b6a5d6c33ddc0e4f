//! The handle: issues, redeems, revokes.

use std::{fmt, sync::Arc, time::Duration};

use super::{Grant, Token, TokenDigest, TokenStore};
use crate::{
    Cx, Error, Result,
    clock::{days, minutes, seconds},
};

/// Temporary tokens over one store; clones are the same handle.
///
/// A purpose is a name in the program's own text, as `password-reset`: 1 to 64 letters, digits or any of `_-.`.
///
/// ```
/// use towerkeep::{clock::{Clock, hours}, token::{Grant, MemoryTokenStore, Tokens}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let invitations = Tokens::new(MemoryTokenStore::new(Clock::system())).ttl(hours(48));
/// let token = invitations.issue("invitation", Grant::anyone()).await.unwrap();
/// assert!(invitations.revoke("invitation", token.secret()).await.unwrap());
/// assert!(invitations.redeem("invitation", token.secret()).await.unwrap().is_none());
/// # }
/// ```
#[derive(Clone)]
pub struct Tokens {
    store: Arc<dyn TokenStore>,
    ttl: Duration,
}

const DEFAULT_TTL: Duration = minutes(15);
const SHORTEST: Duration = seconds(1);
const LONGEST: Duration = days(30);
const MAX_PURPOSE: usize = 64;

impl Tokens {
    /// Tokens in `store`.
    pub fn new(store: impl TokenStore) -> Self {
        Self { store: Arc::new(store), ttl: DEFAULT_TTL }
    }

    /// How long tokens live that this handle issues: 1 second to 30 days. Defaults to 15 minutes.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// A new token. Its text is to be had here and never again.
    ///
    /// # Errors
    /// Invalid, when the purpose or the time to live is not fit. Unavailable, when the store does not answer.
    pub async fn issue(&self, purpose: &str, grant: Grant) -> Result<Token> {
        fit(purpose)?;
        if self.ttl < SHORTEST || self.ttl > LONGEST {
            let ttl = self.ttl;
            return Err(Error::invalid(format!("a token cannot live {ttl:?}: give 1 second to 30 days")));
        }
        let token = Token::random();
        self.store.keep(&Cx::new(), purpose, &token.digest(), grant.encode()?, self.ttl).await?;
        Ok(token)
    }

    /// Uses the token up and answers what it stands for; nothing unless it is a live one of this purpose.
    ///
    /// # Errors
    /// Invalid, when the purpose is not fit. Corrupt, when what is stored is not what we wrote; it is used up. Unavailable,
    /// when the store does not answer: the token may be used up or not.
    pub async fn redeem(&self, purpose: &str, text: &str) -> Result<Option<Grant>> {
        let Some(digest) = digest(purpose, text)? else { return Ok(None) };
        read(self.store.take(&Cx::new(), purpose, &digest).await?.as_deref())
    }

    /// What the token stands for, without using it up: to show a form, never to act on.
    ///
    /// # Errors
    /// Invalid, when the purpose is not fit. Corrupt, when what is stored is not what we wrote. Unavailable, when the store
    /// does not answer.
    pub async fn peek(&self, purpose: &str, text: &str) -> Result<Option<Grant>> {
        let Some(digest) = digest(purpose, text)? else { return Ok(None) };
        read(self.store.peek(&Cx::new(), purpose, &digest).await?.as_deref())
    }

    /// Makes the token worthless; whether it was a live one of this purpose.
    ///
    /// # Errors
    /// Invalid, when the purpose is not fit. Unavailable, when the store does not answer.
    pub async fn revoke(&self, purpose: &str, text: &str) -> Result<bool> {
        let Some(digest) = digest(purpose, text)? else { return Ok(false) };
        self.store.revoke(&Cx::new(), purpose, &digest).await
    }
}

fn read(grant: Option<&[u8]>) -> Result<Option<Grant>> {
    grant.map(Grant::decode).transpose()
}

/// By what to look; nothing for text that cannot be a token.
fn digest(purpose: &str, text: &str) -> Result<Option<TokenDigest>> {
    fit(purpose)?;
    Ok(TokenDigest::of(text))
}

fn fit(purpose: &str) -> Result<()> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if purpose.is_empty() || purpose.len() > MAX_PURPOSE || !purpose.bytes().all(is_fit) {
        return Err(Error::invalid(
            "a token's purpose is not fit: give 1 to 64 letters, digits or any of _-. like \"password-reset\"",
        ));
    }
    Ok(())
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("ttl", &self.ttl).finish_non_exhaustive()
    }
}
