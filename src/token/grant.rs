//! What a token stands for, and how it is stored.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Error, Result, UserId};

/// What a token stands for: a user, data, both or nothing but its purpose.
///
/// ```
/// use towerkeep::token::Grant;
/// let grant = Grant::to(42).with(&("invoice", 17)).unwrap();
/// assert_eq!(grant.user().unwrap().as_str(), "42");
/// assert_eq!(grant.data::<(String, u32)>().unwrap(), Some(("invoice".into(), 17)));
/// assert!(grant.data::<bool>().is_err());
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Grant {
    user: Option<UserId>,
    data: Option<Value>,
}

/// Data as JSON, in bytes.
const MAX_DATA: usize = 4 * 1024;
/// What a stored value begins with.
const VERSION: u8 = b'1';

#[derive(Serialize, Deserialize)]
struct Stored<'s> {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    user: Option<std::borrow::Cow<'s, str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    data: Option<std::borrow::Cow<'s, Value>>,
}

impl Grant {
    /// For this user.
    pub fn to(user: impl fmt::Display) -> Self {
        Self { user: Some(UserId::new(user)), data: None }
    }

    /// For whoever has the token.
    pub fn anyone() -> Self {
        Self::default()
    }

    /// With `data` beside it, at most 4 KiB of JSON.
    ///
    /// # Errors
    /// Invalid, when it cannot be written as JSON or is too long.
    pub fn with<T: Serialize + ?Sized>(mut self, data: &T) -> Result<Self> {
        let value =
            serde_json::to_value(data).map_err(|_| Error::invalid("a token's data cannot be written as JSON"))?;
        let size = value.to_string().len();
        if size > MAX_DATA {
            return Err(Error::invalid(format!(
                "{size} bytes are too many for a token's data: store them elsewhere, and in the token at most {MAX_DATA}"
            )));
        }
        self.data = Some(value);
        Ok(self)
    }

    /// The user it is for.
    pub fn user(&self) -> Option<&UserId> {
        self.user.as_ref()
    }

    /// The data beside it; nothing if there is none.
    ///
    /// # Errors
    /// Corrupt, when the data is no `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let data = self.data.as_ref().map(T::deserialize).transpose();
        data.map_err(|_| Error::corrupt("a token's data is not what was asked for"))
    }

    pub(super) fn encode(&self) -> Result<Bytes> {
        use std::borrow::Cow::Borrowed;
        let user = self.user.as_ref().map(|user| Borrowed(user.as_str()));
        let stored = Stored { user, data: self.data.as_ref().map(Borrowed) };
        let mut bytes = vec![VERSION];
        let written = serde_json::to_writer(&mut bytes, &stored);
        written.map_err(|_| Error::invalid("a token's data cannot be written as JSON"))?;
        Ok(bytes.into())
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let json = bytes.strip_prefix(&[VERSION]);
        let stored: Option<Stored<'_>> = json.and_then(|json| serde_json::from_slice(json).ok());
        let stored = stored.ok_or_else(|| Error::corrupt("a stored token is not what we wrote"))?;
        Ok(Self { user: stored.user.map(UserId::new), data: stored.data.map(std::borrow::Cow::into_owned) })
    }
}

/// Shows whether there is data, not what it is.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("user", &self.user).field("has_data", &self.data.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_wrote_and_refuses_the_rest() {
        for grant in [Grant::anyone(), Grant::to("a \"b\""), Grant::to(7).with(&vec![1, 2]).expect("fits")] {
            let bytes = grant.encode().expect("json");
            assert_eq!(Grant::decode(&bytes).expect("its own"), grant);
        }
        assert_eq!(&Grant::to(7).encode().expect("json")[..], br#"1{"user":"7"}"#);
        for other in [&b""[..], b"2{}", b"1", b"1[]x", b"{}", b"\xff"] {
            assert!(Grant::decode(other).is_err_and(|error| error.is_corrupt()), "{other:?}");
        }
    }

    #[test]
    fn too_much_data_is_refused() {
        assert!(Grant::anyone().with(&"x".repeat(MAX_DATA - 2)).is_ok());
        assert!(Grant::anyone().with(&"x".repeat(MAX_DATA - 1)).is_err_and(|error| error.is_invalid()));
    }
}
