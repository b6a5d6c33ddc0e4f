//! What a log answers.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::time;
use crate::{Error, Result, clock::Timestamp, outcome::Redacted};

/// One entry of a log. Serializes to the JSON that is stored.
///
/// ```
/// use towerkeep::action_log::Entry;
/// let text = r#"{"action":"login","timestamp":"2025-10-09T08:53:20Z","metadata":{"os":"linux"}}"#;
/// let entry: Entry = serde_json::from_str(text).unwrap();
/// assert_eq!((entry.action(), entry.timestamp().as_secs()), ("login", 1_760_000_000));
/// ```
#[derive(Clone, Deserialize, Serialize)]
pub struct Entry {
    action: String,
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    timestamp: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

impl Entry {
    /// Reads a stored text: ours, or another program's with at least an action and an RFC 3339 timestamp.
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// What the user did.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// When.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// What was said about it, as a type of the application; nothing where nothing was said.
    ///
    /// # Errors
    /// Corrupt, when it is no `T`.
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let read = |raw: &RawValue| serde_json::from_str(raw.get());
        let metadata = self.metadata.as_deref().map(read).transpose();
        metadata.map_err(|error| Error::corrupt("the metadata of an action is of another type").with_source(error))
    }

    /// What was said about it, as JSON.
    pub fn metadata_json(&self) -> Option<&str> {
        self.metadata.as_deref().map(RawValue::get)
    }

    /// What tells it from all others; entries of other programs may have none.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

fn write_time<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time::write(*at))
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    time::read(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time"))
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        let parts = |entry: &Self| (entry.timestamp, entry.metadata_json().map(str::to_owned));
        self.action == other.action && self.id == other.id && parts(self) == parts(other)
    }
}

impl Eq for Entry {}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("action", &self.action)
            .field("timestamp", &self.timestamp)
            .field("metadata", &self.metadata.as_ref().map(|_| Redacted))
            .field("id", &self.id)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_other_programs_entries_and_nothing_else() {
        let entry = Entry::decode(r#"{"timestamp":"1970-01-01T00:00:01Z","x":1,"action":"a","metadata":null}"#);
        let entry = entry.expect("an entry");
        assert_eq!((entry.action(), entry.metadata_json(), entry.id()), ("a", None, None));
        for foreign in ["", "login at noon", "[]", r#"{"action":"a"}"#, r#"{"action":"a","timestamp":5}"#, "\"a\""] {
            assert_eq!(Entry::decode(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        let text = r#"{"action":"a","timestamp":"1970-01-01T00:00:01.000000Z","metadata":{"n":[1,2]},"id":"00"}"#;
        let entry = Entry::decode(text).expect("an entry");
        assert_eq!(serde_json::to_string(&entry).expect("json"), text);
        assert!(entry.metadata::<Vec<u8>>().expect_err("another type").is_corrupt());
        assert!(!format!("{entry:?}").contains("[1,2]"));
    }
}
