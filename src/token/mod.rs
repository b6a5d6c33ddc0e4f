//! Temporary tokens: one use, one purpose, a few minutes. For password resets, mail confirmation, downloads.
//!
//! [`Tokens`] issues and redeems them; [`Grant`] says what a token stands for.
//!
//! 1. A token is 256 random bits, as 64 hexadecimal characters that need no escaping in a URL. It is shown once: Redis
//!    holds only its SHA-256, under `tk:token:{purpose}:{digest}`, so who reads the database cannot redeem it.
//! 2. It lives 15 minutes unless [`ttl`](Tokens::ttl) says otherwise.
//! 3. [`redeem`](Tokens::redeem) uses it up in the same command that reads it: of two at once, one gets it.
//! 4. A token is good for its purpose alone. A used, ended, revoked or made-up one is `None`, without saying which.
//!    Text that cannot be a token is `None` without asking Redis.
//! 5. Mail programs open links before people do. Let the link show a form, which may [`peek`](Tokens::peek), and redeem
//!    when the form is sent.
//!
//! # When Redis is down
//! Every verb is unavailable: a token that cannot be checked proves nothing. A redemption whose answer was lost may have
//! used the token up; issue another one.
//!
//! # Example
//! ```
//! use towerkeep::{Keep, UserId, token::Grant};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> towerkeep::Result<()> {
//! let keep = Keep::in_memory();
//! let token = keep.tokens().issue("password-reset", Grant::to(42)).await?;
//! let link = format!("https://example.com/reset?token={}", token.secret()); // into a mail, and nowhere else
//!
//! let text = link.split('=').last().unwrap();
//! assert!(keep.tokens().redeem("mail-confirmation", text).await?.is_none()); // another purpose
//! let grant = keep.tokens().redeem("password-reset", text).await?.unwrap();
//! assert_eq!(grant.user(), Some(&UserId::new(42)));
//! assert!(keep.tokens().redeem("password-reset", text).await?.is_none()); // used up
//! # Ok(())
//! # }
//! ```

mod grant;
mod handle;
mod memory;
#[cfg(feature = "redis")]
mod redis;
mod secret;
mod store;

pub use grant::Grant;
pub use handle::Tokens;
pub use memory::MemoryTokenStore;
#[cfg(feature = "redis")]
pub use redis::RedisTokenStore;
pub use secret::{Token, TokenDigest};
pub use store::TokenStore;
