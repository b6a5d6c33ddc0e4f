//! Which board: a resource and its id.

use std::fmt;

/// The name of a board: a kind of thing, and which one of them.
///
/// `("challenge", 42)` is stored at `tk:challenge:{42}:leaderboard`. A text alone is the id of a board that belongs to nothing else:
/// `"weekly"` is `("board", "weekly")`. Any text is fit: what has a meaning in keys is escaped.
///
/// ```
/// use towerkeep::leaderboard::Name;
/// let name = Name::from(("challenge", 42u64));
/// assert_eq!((name.resource(), name.id()), ("challenge", "42"));
/// assert_eq!(Name::from("weekly").to_string(), "board/weekly");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    resource: String,
    id: String,
}

/// The resource of boards that are named by a text alone.
const ALONE: &str = "board";

impl Name {
    /// The board of `id`, a thing of the kind `resource`.
    pub fn new(resource: impl Into<String>, id: impl fmt::Display) -> Self {
        Self { resource: resource.into(), id: id.to_string() }
    }

    /// The kind of thing: `challenge`.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Which one: `42`.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl<D: fmt::Display> From<(&str, D)> for Name {
    fn from((resource, id): (&str, D)) -> Self {
        Self::new(resource, id)
    }
}

impl From<&str> for Name {
    fn from(id: &str) -> Self {
        Self::new(ALONE, id)
    }
}

impl From<String> for Name {
    fn from(id: String) -> Self {
        Self { resource: ALONE.into(), id }
    }
}

impl From<&Name> for Name {
    fn from(name: &Name) -> Self {
        name.clone()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.resource, self.id)
    }
}
