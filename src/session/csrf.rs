//! A token that forms carry, so that no other site can have a browser send them.

use std::hint::black_box;

use super::{Session, id::random_bytes};
use crate::{Error, Result, request_key::push_hex};

/// Where the token stands among the session's values.
pub(super) const KEY: &str = "_csrf";

impl Session {
    /// The token that this session's forms carry in a hidden field, and scripts in a header.
    ///
    /// 1. It is made with the first call and stays for the session's life, over renewals of the secret too; a login
    ///    makes a new one. Without a session this begins one.
    /// 2. A handler that changes something compares what came with [`is_csrf_token`](Session::is_csrf_token), and answers
    ///    403 where it is another. `SameSite=Lax`, the cookie's default, stops most of it already; the token also
    ///    stops what comes from sibling domains.
    /// 3. Requests that carry a bearer token need none: no browser adds it by itself.
    ///
    /// The token is a value of the session like any other. Who reads the store sees it, and can do nothing with it
    /// without the cookie.
    ///
    /// # Errors
    /// Unavailable; invalid, where the layer reads bearer tokens only.
    pub async fn csrf_token(&self) -> Result<String> {
        if let Some(token) = self.get::<String>(KEY).await? {
            return Ok(token);
        }
        let mut fresh = String::with_capacity(32);
        push_hex(&mut fresh, &random_bytes::<16>());
        let keep_the_first = move |token: &mut String| {
            if token.is_empty() {
                token.clone_from(&fresh);
            }
        };
        self.update(KEY, keep_the_first).await?;
        // Stored before it is shown: of two first requests at once, both show the one that is stored.
        self.save().await?;
        self.get(KEY).await?.ok_or_else(|| Error::unavailable("the session ended just now"))
    }

    /// Whether `token` is this session's. The time it takes tells nothing about where two differ.
    ///
    /// # Errors
    /// Unavailable.
    pub async fn is_csrf_token(&self, token: &str) -> Result<bool> {
        let own = self.get::<String>(KEY).await?;
        Ok(own.is_some_and(|own| !own.is_empty() && is_same(own.as_bytes(), token.as_bytes())))
    }
}

fn is_same(own: &[u8], other: &[u8]) -> bool {
    let difference = own.iter().zip(other).fold(0, |seen, (a, b)| black_box(seen | (a ^ b)));
    own.len() == other.len() && difference == 0
}
