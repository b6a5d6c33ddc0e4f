//! The seam: what a store of plain values can do.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{Cx, StoreFuture};

/// Keeps values by key for a time.
///
/// 1. A value that is not there, or has ended, is not an error.
/// 2. Keys, sizes and times to live are checked by [`Kv`](super::Kv), and values are its bytes: a store does not look
///    into them.
/// 3. Every verb is under way when it returns, whether or not its answer is awaited.
pub trait KvStore: Send + Sync + 'static {
    /// The value under `key`.
    fn load(&self, cx: &Cx, key: &str) -> StoreFuture<Option<Bytes>>;

    /// Stores `value` for `ttl`, over whatever was there.
    fn save(&self, cx: &Cx, key: &str, value: Bytes, ttl: Duration) -> StoreFuture<()>;

    /// Stores `value` for `ttl` where there is none; whether it did.
    fn save_if_absent(&self, cx: &Cx, key: &str, value: Bytes, ttl: Duration) -> StoreFuture<bool>;

    /// Removes the value; whether there was one.
    fn delete(&self, cx: &Cx, key: &str) -> StoreFuture<bool>;
}

const _: Option<&dyn KvStore> = None;

impl<T: KvStore + ?Sized> KvStore for Arc<T> {
    fn load(&self, cx: &Cx, key: &str) -> StoreFuture<Option<Bytes>> {
        (**self).load(cx, key)
    }

    fn save(&self, cx: &Cx, key: &str, value: Bytes, ttl: Duration) -> StoreFuture<()> {
        (**self).save(cx, key, value, ttl)
    }

    fn save_if_absent(&self, cx: &Cx, key: &str, value: Bytes, ttl: Duration) -> StoreFuture<bool> {
        (**self).save_if_absent(cx, key, value, ttl)
    }

    fn delete(&self, cx: &Cx, key: &str) -> StoreFuture<bool> {
        (**self).delete(cx, key)
    }
}
