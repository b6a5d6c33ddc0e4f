//! The resources of the API, one file each: its routes, its handlers, the fields it takes.

pub(crate) mod auth;
pub(crate) mod bookmarks;
