//! Lists, a page at a time: `{"items": [...], "next_cursor": ...}`.

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};
use serde::{Deserialize, Serialize};

use crate::problem::{Invalid, Problem};

const DEFAULT_LIMIT: i64 = 20;
const MAX_LIMIT: i64 = 100;

/// One page of a list, newest first.
#[derive(Debug, Serialize)]
pub(crate) struct Page<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

impl<T> Page<T> {
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
    /// How many rows to ask for: one more than is shown tells whether there is a next page.
    pub(crate) fn rows(&self) -> i64 {
        self.limit + 1
    }

    /// Rows with ids below this one belong to the page.
    pub(crate) fn before(&self) -> i64 {
        self.before
    }
}

#[derive(Deserialize)]
struct Raw {
    limit: Option<String>,
    cursor: Option<String>,
}

impl TryFrom<Raw> for Paging {
    type Error = Vec<Invalid>;

    fn try_from(raw: Raw) -> Result<Self, Vec<Invalid>> {
        let limit = raw.limit.map_or(Some(DEFAULT_LIMIT), |limit| limit.parse().ok().filter(is_fit));
        let before = raw.cursor.map_or(Some(i64::MAX), |cursor| cursor.parse().ok().filter(|id| *id > 0));
        if let (Some(limit), Some(before)) = (limit, before) {
            return Ok(Self { limit, before });
        }
        let limit = limit.is_none().then(|| invalid("limit", "must be a number from 1 to 100"));
        let cursor = before.is_none().then(|| invalid("cursor", "must be the next_cursor of the page before"));
        Err(limit.into_iter().chain(cursor).collect())
    }
}

fn is_fit(limit: &i64) -> bool {
    (1..=MAX_LIMIT).contains(limit)
}

fn invalid(field: &'static str, message: &'static str) -> Invalid {
    Invalid { field: field.into(), message: message.into() }
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Query(raw) = Query::<Raw>::try_from_uri(&parts.uri)
            .map_err(|_| Problem::invalid(vec![invalid("query", "must be limit and cursor, each at most once")]))?;
        Self::try_from(raw).map_err(Problem::invalid)
    }
}

/// The `{id}` of a path; what cannot be an id is not found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ItemId(pub(crate) i64);

impl<S: Send + Sync> FromRequestParts<S> for ItemId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(id) = Path::from_request_parts(parts, state).await.map_err(|_| Problem::not_found())?;
        Ok(Self(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paging(limit: Option<&str>, cursor: Option<&str>) -> Result<Paging, Vec<Invalid>> {
        Raw { limit: limit.map(Into::into), cursor: cursor.map(Into::into) }.try_into()
    }

    #[test]
    fn refuses_limits_outside_of_1_to_100() {
        assert_eq!(paging(None, None), Ok(Paging { limit: 20, before: i64::MAX }));
        assert_eq!(paging(Some("100"), Some("7")), Ok(Paging { limit: 100, before: 7 }));
        for limit in ["0", "101", "-1", "ten", ""] {
            assert!(paging(Some(limit), None).is_err(), "{limit:?}");
        }
    }

    #[test]
    fn tells_of_both_at_once() {
        let errors = paging(Some("0"), Some("x")).expect_err("both are wrong");
        assert_eq!(errors.len(), 2);
    }

    #[test]
    fn the_row_too_many_makes_the_cursor() {
        let paging = paging(Some("2"), None).expect("fine");
        let full = Page::new(&paging, vec![9, 8, 7], |id| *id);
        assert_eq!((full.items, full.next_cursor.as_deref()), (vec![9, 8], Some("8")));
        let last = Page::new(&paging, vec![7, 6], |id| *id);
        assert_eq!(last.next_cursor, None);
    }
}
