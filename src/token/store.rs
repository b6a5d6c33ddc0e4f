//! The seam: what a store of tokens can do.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::TokenDigest;
use crate::{Cx, StoreFuture};

/// Keeps what tokens stand for, by purpose and digest.
///
/// 1. A token that is not there, or has ended, is not an error.
/// 2. What is kept are the bytes of [`Tokens`](super::Tokens); a store does not look into them, and never sees a token.
/// 3. Every verb is under way when it returns, whether or not its answer is awaited.
pub trait TokenStore: Send + Sync + 'static {
    /// Keeps `grant` for `ttl`.
    fn keep(&self, cx: &Cx, purpose: &str, digest: &TokenDigest, grant: Bytes, ttl: Duration) -> StoreFuture<()>;

    /// Reads without using up.
    fn peek(&self, cx: &Cx, purpose: &str, digest: &TokenDigest) -> StoreFuture<Option<Bytes>>;

    /// Reads and uses up in one atomic step: of two callers at once, one gets it.
    fn take(&self, cx: &Cx, purpose: &str, digest: &TokenDigest) -> StoreFuture<Option<Bytes>>;

    /// Removes it; whether it was there.
    fn revoke(&self, cx: &Cx, purpose: &str, digest: &TokenDigest) -> StoreFuture<bool>;
}

const _: Option<&dyn TokenStore> = None;

impl<T: TokenStore + ?Sized> TokenStore for Arc<T> {
    fn keep(&self, cx: &Cx, purpose: &str, digest: &TokenDigest, grant: Bytes, ttl: Duration) -> StoreFuture<()> {
        (**self).keep(cx, purpose, digest, grant, ttl)
    }

    fn peek(&self, cx: &Cx, purpose: &str, digest: &TokenDigest) -> StoreFuture<Option<Bytes>> {
        (**self).peek(cx, purpose, digest)
    }

    fn take(&self, cx: &Cx, purpose: &str, digest: &TokenDigest) -> StoreFuture<Option<Bytes>> {
        (**self).take(cx, purpose, digest)
    }

    fn revoke(&self, cx: &Cx, purpose: &str, digest: &TokenDigest) -> StoreFuture<bool> {
        (**self).revoke(cx, purpose, digest)
    }
}
