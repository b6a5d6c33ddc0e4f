//! What an application appends.

use std::fmt;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::time;
use crate::{Error, Result, clock::Timestamp, outcome::Redacted};

/// Something that a user did: a name, and if need be more about it.
///
/// The name has 1 to 64 characters. What is wrong with an action is told by the append.
///
/// ```
/// use towerkeep::action_log::Action;
/// #[derive(serde::Serialize)]
/// struct Device { os: &'static str }
///
/// let plain = Action::new("login");
/// let more = Action::new("login").metadata(Device { os: "linux" });
/// # let _ = (plain, more);
/// ```
#[derive(Clone)]
pub struct Action {
    name: String,
    metadata: Option<Result<Box<RawValue>, String>>,
    at: Option<Timestamp>,
}

/// The longest name, in characters.
const LONGEST_NAME: usize = 64;

impl Action {
    /// An action of now.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), metadata: None, at: None }
    }

    /// Says more about it: anything that serializes to a JSON object.
    #[must_use]
    pub fn metadata(mut self, metadata: impl Serialize) -> Self {
        self.metadata = Some(to_raw_value(&metadata).map_err(|error| error.to_string()));
        self
    }

    /// When it happened, before the year 10000. Defaults to the server's time when it is appended.
    ///
    /// The log keeps the order in which it is written, whatever its times are.
    #[must_use]
    pub fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }
}

impl From<&str> for Action {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Action {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata = self.metadata.as_ref().map(|_| Redacted);
        f.debug_struct("Action").field("name", &self.name).field("metadata", &metadata).field("at", &self.at).finish()
    }
}

/// An action that is fit to be stored, as a store takes it: JSON around the place of its time.
///
/// Its id tells it from all others, so that a store does not take it twice.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    id: u64,
    at: Option<Timestamp>,
    before: Box<str>,
    after: Box<str>,
}

impl Record {
    /// The record of `action`.
    ///
    /// # Errors
    /// Invalid: a name that is empty or over 64 characters, metadata that is no JSON object, a time past the year 9999.
    pub fn new(action: &Action, id: u64) -> Result<Self> {
        let length = action.name.chars().count();
        if !(1..=LONGEST_NAME).contains(&length) {
            return Err(Error::invalid(format!(
                "the name of an action has {length} characters; give it 1 to {LONGEST_NAME}"
            )));
        }
        if action.at.is_some_and(|at| at >= time::END) {
            return Err(Error::invalid("the time of an action is past the year 9999; give microseconds since 1970"));
        }
        let name =
            serde_json::to_string(&action.name).map_err(|_| Error::invalid("the name of an action is no text"))?;
        let metadata = match &action.metadata {
            None => String::new(),
            Some(Ok(raw)) if raw.get().starts_with('{') => format!(r#","metadata":{raw}"#),
            Some(Ok(_)) => {
                return Err(Error::invalid("the metadata of an action is no JSON object; give a struct or a map"));
            }
            Some(Err(why)) => {
                return Err(Error::invalid("the metadata of an action does not serialize").with_source(why.clone()));
            }
        };
        let before = format!(r#"{{"action":{name},"timestamp":""#).into();
        let after = format!(r#""{metadata},"id":"{id:016x}"}}"#).into();
        Ok(Self { id, at: action.at, before, after })
    }

    /// What tells it from all others.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// When it happened, if the application said so.
    pub fn at(&self) -> Option<Timestamp> {
        self.at
    }

    /// How many bytes it takes.
    pub fn size(&self) -> usize {
        self.before.len() + self.after.len() + "2026-11-22T17:05:25.000123Z".len()
    }

    /// The entry's text, of an action that happened at `now` unless it says otherwise.
    pub fn encode(&self, now: Timestamp) -> String {
        [&self.before, time::write(self.at.unwrap_or(now)).as_str(), &self.after].concat()
    }

    /// What stands before and after the time.
    #[cfg(feature = "redis")]
    pub(super) fn parts(&self) -> (&str, &str) {
        (&self.before, &self.after)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("id", &self.id).field("at", &self.at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn is_written_as_documented() {
        let action = Action::new("lo\"gin").metadata(BTreeMap::from([("os", "linux")]));
        let record = Record::new(&action, 255).expect("fit");
        let text = record.encode(Timestamp::from_micros(1));
        let expected = concat!(
            r#"{"action":"lo\"gin","timestamp":"1970-01-01T00:00:00.000001Z","#,
            r#""metadata":{"os":"linux"},"id":"00000000000000ff"}"#
        );
        assert_eq!((text.as_str(), record.size()), (expected, expected.len()));
    }

    #[test]
    fn refuses_what_is_not_fit() {
        let long = "x".repeat(LONGEST_NAME + 1);
        let unserializable = BTreeMap::from([(vec![1u8], 1)]);
        for (action, why) in [
            (Action::new(""), "0 characters"),
            (Action::new(long), "65 characters"),
            (Action::new("a").metadata([1, 2]), "no JSON object"),
            (Action::new("a").metadata("text"), "no JSON object"),
            (Action::new("a").metadata(unserializable), "does not serialize"),
            (Action::new("a").at(time::END), "year 9999"),
        ] {
            let error = Record::new(&action, 1).expect_err("not fit");
            assert!(error.is_invalid() && error.to_string().contains(why), "{error}");
        }
        assert!(Record::new(&Action::new("\u{e9}".repeat(LONGEST_NAME)), 1).is_ok());
    }
}
