//! Which counter.

use std::{fmt, sync::Arc};

use crate::key::Keyspace;

/// The name of one counter; cheap to clone.
///
/// Any text is fit: ids are escaped in Redis, and hashed where they are over 128 bytes.
///
/// ```
/// use towerkeep::counter::Counter;
/// let downloads = Counter::of("downloads", 17); // tk:counter:downloads:17
/// assert_eq!((downloads.name(), downloads.id()), ("downloads", "17"));
/// let views = Counter::views("post", 7); // tk:counter:views:post:7
/// assert_eq!((views.name(), views.content_type(), views.id()), ("views", Some("post"), "7"));
/// assert_ne!(Counter::of("views", 7), views);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counter {
    name: Arc<str>,
    content_type: Option<Arc<str>>,
    id: Arc<str>,
}

impl Counter {
    /// The counter `name` of the thing `id`.
    pub fn of(name: &str, id: impl fmt::Display) -> Self {
        Self { name: name.into(), content_type: None, id: id.to_string().into() }
    }

    /// How often a piece of content was seen.
    pub fn views(content_type: &str, id: impl fmt::Display) -> Self {
        Self { name: "views".into(), content_type: Some(content_type.into()), id: id.to_string().into() }
    }

    /// What is counted: `views`, or the name that [`of`](Counter::of) was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What kind of content is viewed; nothing for a counter made by [`of`](Counter::of).
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// Whose count it is.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key in Redis.
    pub fn key(&self, keys: &Keyspace) -> String {
        match &self.content_type {
            Some(content_type) => keys.counter_views(content_type, &self.id),
            None => keys.counter(&self.name, &self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_documented_keys() {
        let keys = Keyspace::default();
        assert_eq!(Counter::views("post", 7).key(&keys), "tk:counter:views:post:7");
        assert_eq!(Counter::of("downloads", 17).key(&keys), "tk:counter:downloads:17");
    }
}
