//! A session's values: the text of one JSON object, read where it stands.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{Error, Result};

/// The values of a session as the text of one JSON object.
///
/// Reading a value scans the text and builds nothing else, so a session with a hundred values costs a handler
/// that wants one of them a single deserialization.
///
/// ```
/// use towerkeep::session::Data;
/// let data = Data::from_json(r#"{"visits":3}"#).unwrap();
/// assert_eq!(data.get::<u32>("visits").unwrap(), Some(3));
/// assert!(data.get::<String>("visits").is_err());
/// assert!(Data::from_json("[3]").is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Data(Box<str>);

impl Data {
    /// No values.
    pub fn empty() -> Self {
        Self("{}".into())
    }

    /// The values of this JSON object.
    ///
    /// # Errors
    /// Corrupt, when it is no JSON object.
    pub fn from_json(text: &str) -> Result<Self> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|_| not_an_object())?;
        Self::from_raw(raw)
    }

    pub(super) fn from_raw(raw: &RawValue) -> Result<Self> {
        if raw.get().starts_with('{') { Ok(Self(raw.get().into())) } else { Err(not_an_object()) }
    }

    /// The object as text.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The value of `key` as a `T`; nothing when there is none.
    ///
    /// # Errors
    /// Invalid, when the value is no `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.raw(key).map(read).transpose()
    }

    /// The text of the value of `key`; the last one where a foreign writer left two.
    pub(super) fn raw(&self, key: &str) -> Option<&RawValue> {
        let mut json = serde_json::Deserializer::from_str(&self.0);
        json.deserialize_map(Find(key)).ok().flatten()
    }

    pub(super) fn to_map(&self) -> Result<BTreeMap<Cow<'_, str>, Cow<'_, RawValue>>> {
        let map: BTreeMap<Text<'_>, &RawValue> = serde_json::from_str(&self.0).map_err(|_| not_an_object())?;
        Ok(map.into_iter().map(|(key, value)| (key.0, Cow::Borrowed(value))).collect())
    }

    /// These values without that of `key`.
    pub(super) fn without(&self, key: &str) -> Result<Self> {
        if self.raw(key).is_none() {
            return Ok(self.clone());
        }
        let mut map = self.to_map()?;
        map.remove(key);
        Self::from_map(&map)
    }

    /// `theirs` with the changes that lead from these values to `ours`, value by value.
    pub(super) fn merge(&self, ours: &Self, theirs: &Self) -> Result<Self> {
        let (base, ours, mut merged) = (self.to_map()?, ours.to_map()?, theirs.to_map()?);
        for (key, value) in &ours {
            if base.get(key).map(|old| old.get()) != Some(value.get()) {
                merged.insert(key.clone(), value.clone());
            }
        }
        for key in base.keys().filter(|key| !ours.contains_key(*key)) {
            merged.remove(key);
        }
        Self::from_map(&merged)
    }

    pub(super) fn from_map(map: &BTreeMap<Cow<'_, str>, Cow<'_, RawValue>>) -> Result<Self> {
        let text = serde_json::to_string(map).map_err(|_| Error::invalid("a session's values cannot be written"))?;
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes)", self.0.len())
    }
}

/// Reads one value; the error never quotes it.
pub(super) fn read<T: DeserializeOwned>(raw: &RawValue) -> Result<T> {
    serde_json::from_str(raw.get()).map_err(|_| Error::invalid("a session's value is not of the type asked for"))
}

fn not_an_object() -> Error {
    Error::corrupt("a session's values are no JSON object")
}

/// A text, borrowed where it has no escapes.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Looks for one key of an object.
struct Find<'k>(&'k str);

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(Is(self.0))? {
            let value: &RawValue = map.next_value()?;
            if is_it {
                found = Some(value);
            }
        }
        Ok(found)
    }
}

/// Compares a key without keeping it.
struct Is<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_values_behind_escapes_and_nesting() {
        let data = Data::from_json(r#" {"a":{"b":1}, "q\"\u00e9":[2], "b":"x"} "#).expect("an object");
        assert_eq!(data.get::<String>("b").expect("text"), Some("x".into()));
        assert_eq!(data.get::<Vec<u8>>("q\"é").expect("a list"), Some(vec![2]));
        assert_eq!(data.get::<u8>("c").expect("nothing"), None);
    }

    #[test]
    fn a_merge_keeps_what_either_side_changed_and_ours_where_both_did() {
        let read = |text| Data::from_json(text).expect("an object");
        let base = read(r#"{"a":1,"b":1,"c":1,"d":1}"#);
        let ours = read(r#"{"a":2,"b":1,"d":2,"mine":[1]}"#);
        let theirs = read(r#"{"a":1,"b":3,"c":3,"d":3,"theirs":1}"#);
        let merged = base.merge(&ours, &theirs).expect("objects");
        assert_eq!(merged, read(r#"{"a":2,"b":3,"d":2,"mine":[1],"theirs":1}"#));
        assert_eq!(base.merge(&base, &theirs).expect("objects"), theirs);
    }

    #[test]
    fn a_value_of_another_type_is_told_without_the_value() {
        let data = Data::from_json(r#"{"card":"4111"}"#).expect("an object");
        let error = data.get::<u32>("card").expect_err("a text");
        assert!(error.is_invalid() && !format!("{error:?}").contains("4111"));
    }
}
