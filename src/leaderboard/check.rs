//! What can never work, told before anything is sent.

use std::fmt;

use super::{SourceRow, decide::LARGEST_SUM};
use crate::{Error, Result};

/// Bytes of a member or an event id.
const LONGEST_ID: usize = 128;
/// Rows of one answer, and members of one question.
pub(super) const MOST_ROWS: usize = 100;

pub(super) fn member(member: impl fmt::Display) -> Result<String> {
    let member = member.to_string();
    id(&member, "a member")?;
    Ok(member)
}

pub(super) fn event(event: impl fmt::Display) -> Result<String> {
    let event = event.to_string();
    id(&event, "an event id")?;
    Ok(event)
}

fn id(text: &str, what: &str) -> Result<()> {
    if text.is_empty() || text.len() > LONGEST_ID {
        let length = text.len();
        return Err(Error::invalid(format!("{what} has {length} bytes; give 1 to {LONGEST_ID}, such as an id")));
    }
    Ok(())
}

/// Any finite score.
pub(super) fn score(score: f64) -> Result<f64> {
    if score.is_finite() {
        Ok(score + 0.0)
    } else {
        Err(Error::invalid(format!("{score} is no score; give a finite number")))
    }
}

/// What can be added up exactly.
pub(super) fn points(points: f64) -> Result<f64> {
    if score(points)?.abs() > LARGEST_SUM {
        return Err(overflow());
    }
    Ok(points + 0.0)
}

pub(super) fn overflow() -> Error {
    Error::invalid("the sum would be beyond 2^53, where points are no longer exact; nothing was changed")
}

pub(super) fn limit(limit: usize) -> Result<u32> {
    match u32::try_from(limit) {
        Ok(rows) if (1..=MOST_ROWS).contains(&limit) => Ok(rows),
        _ => Err(Error::invalid(format!("a limit of {limit} rows; ask for 1 to {MOST_ROWS}, and for more by pages"))),
    }
}

pub(super) fn rows(rows: &[SourceRow]) -> Result<()> {
    for row in rows {
        id(&row.member, "a member of the source")?;
        score(row.score)?;
        row.events.iter().try_for_each(|event| id(event, "an event id of the source"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_as_documented() {
        assert!(member("").is_err() && member("x".repeat(129)).is_err() && member("x".repeat(128)).is_ok());
        assert!(limit(0).is_err() && limit(101).is_err() && limit(usize::MAX).is_err());
        assert_eq!((limit(1).expect("fits"), limit(100).expect("fits")), (1, 100));
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(score(wrong).is_err() && points(wrong).is_err());
        }
        assert!(points(LARGEST_SUM).is_ok() && points(LARGEST_SUM + 2.0).is_err() && score(1e300).is_ok());
        assert!(score(-0.0).expect("finite").is_sign_positive());
    }
}
