//! Lists, a page at a time: `{"items": [...], "next_cursor": ...}`.

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    form::{Checked, Form},
    problem::Problem,
    rules,
};

const DEFAULT_LIMIT: i64 = 20;
const MAX_LIMIT: i64 = 100;
const MAX_OFFSET: i64 = 1_000_000_000;

/// One page of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A list that has no other page.
    pub(crate) fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }

    /// Makes a page of the rows that a query for [`Paging::rows`] found.
    pub(crate) fn new(paging: &Paging, mut items: Vec<T>, id: impl Fn(&T) -> i64) -> Self {
        let limit = usize::try_from(paging.limit).unwrap_or(usize::MAX);
        let is_last = items.len() <= limit;
        items.truncate(limit);
        let next_cursor = if is_last { None } else { items.last().map(|item| id(item).to_string()) };
        Self { items, next_cursor }
    }
}

/// `?limit=&cursor=`: at most 100 items, those after the cursor of the page before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paging {
    limit: i64,
    before: i64,
}

impl Paging {
    /// Reads `limit` and `cursor` of a list that takes more than these two; what is wrong with them stays in the form.
    pub(crate) fn read(query: &mut Form) -> Self {
        let limit = query.optional("limit", rules::number(1, MAX_LIMIT)).unwrap_or(DEFAULT_LIMIT);
        let before = query.optional("cursor", cursor).unwrap_or(i64::MAX);
        Self { limit, before }
    }

    /// How many rows to ask for: one more than is shown tells whether there is a next page.
    pub(crate) fn rows(&self) -> i64 {
        self.limit + 1
    }

    /// Rows with ids below this one belong to the page.
    pub(crate) fn before(&self) -> i64 {
        self.before
    }
}

/// `?limit=&cursor=` of a list by places, which have no ids that stay: the cursor counts the rows before the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) limit: i64,
    pub(crate) offset: i64,
}

impl Slice {
    /// As [`Paging::read`].
    fn read(query: &mut Form) -> Self {
        let limit = query.optional("limit", rules::number(1, MAX_LIMIT)).unwrap_or(DEFAULT_LIMIT);
        Self { limit, offset: query.optional("cursor", offset).unwrap_or(0) }
    }

    /// The cursor of the page after this one.
    pub(crate) fn next_cursor(&self) -> String {
        (self.offset + self.limit).to_string()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Slice {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = Form::of_query(parts.uri.query().unwrap_or_default());
        let slice = Self::read(&mut query);
        query.finish(|| Some(slice))
    }
}

fn cursor(value: Value) -> Checked<i64> {
    number_of(value, i64::MAX)
}

fn offset(value: Value) -> Checked<i64> {
    number_of(value, MAX_OFFSET)
}

fn number_of(cursor: Value, most: i64) -> Checked<i64> {
    let number = rules::string(cursor)?.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| "must be the next_cursor of the page before".into())
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = Form::of_query(parts.uri.query().unwrap_or_default());
        let paging = Self::read(&mut query);
        query.finish(|| Some(paging))
    }
}

/// The `{id}` of a path; what cannot be an id is not found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ItemId<T = i64>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ItemId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(id) = Path::from_request_parts(parts, state).await.map_err(|_| Problem::not_found())?;
        Ok(Self(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paging(query: &str) -> Option<Paging> {
        let mut form = Form::of_query(query);
        let paging = Paging::read(&mut form);
        form.finish(|| Some(paging)).ok()
    }

    #[test]
    fn refuses_limits_outside_of_1_to_100() {
        assert_eq!(paging(""), Some(Paging { limit: 20, before: i64::MAX }));
        assert_eq!(paging("limit=100&cursor=7"), Some(Paging { limit: 100, before: 7 }));
        for query in ["limit=0", "limit=101", "limit=-1", "limit=ten", "limit=", "limit=1&limit=2", "limits=1"] {
            assert_eq!(paging(query), None, "{query:?}");
        }
        for query in ["cursor=", "cursor=0", "cursor=x", "cursor=99999999999999999999"] {
            assert_eq!(paging(query), None, "{query:?}");
        }
    }

    #[test]
    fn a_slice_begins_where_the_one_before_ended() {
        let slice = |query| {
            let mut form = Form::of_query(query);
            let slice = Slice::read(&mut form);
            form.finish(|| Some(slice)).ok()
        };
        let first = slice("limit=2").expect("fine");
        assert_eq!((first.offset, &*first.next_cursor()), (0, "2"));
        assert_eq!(slice("limit=2&cursor=2").expect("fine").next_cursor(), "4");
        assert_eq!(slice("cursor=1000000001"), None);
    }

    #[test]
    fn the_row_too_many_makes_the_cursor() {
        let paging = paging("limit=2").expect("fine");
        let full = Page::new(&paging, vec![9, 8, 7], |id| *id);
        assert_eq!((full.items, full.next_cursor.as_deref()), (vec![9, 8], Some("8")));
        let last = Page::new(&paging, vec![7, 6], |id| *id);
        assert_eq!(last.next_cursor, None);
    }
}
