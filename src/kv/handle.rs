//! The handle: typed values over a store of bytes.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{KvStore, flight::Flights};
use crate::{
    Cx, Error, Result,
    clock::{days, seconds},
};

/// Values by key over one store; clones are the same handle.
///
/// ```
/// use towerkeep::{clock::{Clock, minutes}, kv::{Kv, MemoryKvStore}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let kv = Kv::new(MemoryKvStore::new(Clock::system())).max_value(8);
/// kv.set("short", &"1234", minutes(1)).await.unwrap();
/// let error = kv.set("long", &"12345678", minutes(1)).await.unwrap_err();
/// assert_eq!(error.to_string(), "a value of 10 bytes is over the limit of 8; store less, or raise max_value");
/// # }
/// ```
#[derive(Clone)]
pub struct Kv {
    store: Arc<dyn KvStore>,
    flights: Arc<Flights>,
    max_value: usize,
}

const MAX_VALUE: usize = 1024 * 1024;
const MAX_KEY: usize = 1_024;
const SHORTEST: Duration = seconds(1);
const LONGEST: Duration = days(365);

impl Kv {
    /// Values in `store`.
    pub fn new(store: impl KvStore) -> Self {
        Self { store: Arc::new(store), flights: Arc::default(), max_value: MAX_VALUE }
    }

    /// Refuses values whose JSON is longer than `bytes`. Defaults to 1 MiB.
    #[must_use]
    pub fn max_value(mut self, bytes: usize) -> Self {
        self.max_value = bytes;
        self
    }

    /// Stores `value` for `ttl`, over whatever was there.
    ///
    /// # Errors
    /// Invalid: an empty key or one over 1,024 bytes, a time to live under a second or over 365 days, a value that is no
    /// JSON or too long. Unavailable, when the store does not answer.
    pub async fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T, ttl: Duration) -> Result<()> {
        fit(key, ttl)?;
        let value = self.encode(value)?;
        let _ending = self.flights.ending(key);
        self.store.save(&Cx::new(), key, value, ttl).await
    }

    /// Stores `value` for `ttl` where there is none; whether it did.
    ///
    /// # Errors
    /// As [`set`](Kv::set).
    pub async fn set_if_absent<T: Serialize + ?Sized>(&self, key: &str, value: &T, ttl: Duration) -> Result<bool> {
        fit(key, ttl)?;
        let value = self.encode(value)?;
        let _ending = self.flights.ending(key);
        self.store.save_if_absent(&Cx::new(), key, value, ttl).await
    }

    /// The value; nothing where there is none, or it has ended.
    ///
    /// # Errors
    /// Invalid, with a key that [`set`](Kv::set) refuses. Corrupt, when what is stored is no `T`. Unavailable, when the
    /// store does not answer.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        fit_key(key)?;
        let value = self.store.load(&Cx::new(), key).await?;
        value.map(|value| decode(&value)).transpose()
    }

    /// Removes the value; whether there was one.
    ///
    /// # Errors
    /// Invalid, with a key that [`set`](Kv::set) refuses. Unavailable, when the store does not answer.
    pub async fn delete(&self, key: &str) -> Result<bool> {
        fit_key(key)?;
        let _ending = self.flights.ending(key);
        self.store.delete(&Cx::new(), key).await
    }

    /// The value, or what `compute` answers, stored for `ttl`.
    ///
    /// 1. Who asks for the same key in this process meanwhile waits for the one look-up and the one computation, however
    ///    long it takes. Where it fails or its caller goes away, the next of them computes.
    /// 2. A failed computation is its caller's alone, and nothing is stored.
    /// 3. A value that is set or deleted here meanwhile ends the sharing: what was computed is answered to those who wait
    ///    for it, and not stored; who asks afterwards looks anew. One that another process sets meanwhile stays, too; one
    ///    that another process deletes meanwhile can be stored again.
    /// 4. A stored value that is no `T` is replaced.
    /// 5. When the store does not answer, the value is computed, answered and not stored.
    ///
    /// # Errors
    /// What `compute` answered. Invalid, as [`set`](Kv::set) says; a value over the limit too.
    ///
    /// ```
    /// use towerkeep::{Keep, clock::minutes};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
    /// let keep = Keep::in_memory();
    /// let ask = async || anyhow::Ok("sunny".to_owned());
    /// assert_eq!(keep.kv().get_or_compute("weather", minutes(10), ask).await?, "sunny");
    /// keep.force_outage(true);
    /// assert_eq!(keep.kv().get_or_compute("weather", minutes(10), ask).await?, "sunny"); // asked again
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_or_compute<T, E, F>(&self, key: &str, ttl: Duration, compute: F) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<Error>,
        F: AsyncFnOnce() -> Result<T, E>,
    {
        fit(key, ttl)?;
        let seat = self.flights.board(key);
        let mut own = None;
        let shared = seat.cell.get_or_try_init(async || {
            let loaded = self.store.load(&Cx::new(), key).await;
            let replace = match loaded {
                Ok(Some(value)) => match decode(&value) {
                    Ok(decoded) => {
                        own = Some(decoded);
                        return Ok(value);
                    }
                    Err(_) => true,
                },
                Ok(None) => false,
                Err(error) => error.is_corrupt(),
            };
            let computed = compute().await?;
            let value = self.encode(&computed)?;
            own = Some(computed);
            if seat.is_current() {
                self.store_computed(key, value.clone(), ttl, replace).await;
            }
            Ok::<_, E>(value)
        });
        let shared = shared.await?.clone();
        own.map_or_else(|| Ok(decode(&shared)?), Ok)
    }

    async fn store_computed(&self, key: &str, value: Bytes, ttl: Duration, replace: bool) {
        let cx = Cx::new();
        let stored = if replace {
            self.store.save(&cx, key, value, ttl).await
        } else {
            self.store.save_if_absent(&cx, key, value, ttl).await.map(drop)
        };
        if let Err(error) = stored {
            tracing::debug!(%error, "a computed value was not stored");
        }
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes> {
        let json = serde_json::to_vec(value).map_err(|_| Error::invalid("the value cannot be written as JSON"))?;
        let (size, most) = (json.len(), self.max_value);
        if size > most {
            return Err(Error::invalid(format!(
                "a value of {size} bytes is over the limit of {most}; store less, or raise max_value"
            )));
        }
        Ok(json.into())
    }
}

fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T> {
    // The parser's own words can quote the value.
    serde_json::from_slice(value).map_err(|_| Error::corrupt("a stored value is not the JSON that was asked for"))
}

fn fit(key: &str, ttl: Duration) -> Result<()> {
    fit_key(key)?;
    if ttl < SHORTEST || ttl > LONGEST {
        return Err(Error::invalid(format!("a time to live of {ttl:?} is not fit: give 1 second to 365 days")));
    }
    Ok(())
}

fn fit_key(key: &str) -> Result<()> {
    if key.is_empty() || key.len() > MAX_KEY {
        let length = key.len();
        return Err(Error::invalid(format!("a key of {length} bytes is not fit: give 1 to {MAX_KEY}")));
    }
    Ok(())
}

impl fmt::Debug for Kv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kv").field("max_value", &self.max_value).finish_non_exhaustive()
    }
}
