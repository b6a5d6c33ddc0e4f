//! What the scripts answer.

use super::super::{
    Answer, Query, Reading, RecordOutcome, Recorded, Rules, Standing, check, decide, memory::other_rules,
};
use crate::{Error, Result, conn::Reply};

pub(super) fn odd() -> Error {
    Error::corrupt("a leaderboard in redis holds something else than it should")
}

/// The parts of a reply, one after the other.
struct Parts(std::vec::IntoIter<Reply>);

impl Parts {
    fn of(reply: Reply) -> Result<Self> {
        Ok(Self(reply.array()?.into_iter()))
    }

    fn next(&mut self) -> Result<Reply> {
        self.0.next().ok_or_else(odd)
    }

    fn text(&mut self) -> Result<String> {
        self.next()?.text()?.ok_or_else(odd)
    }

    fn int(&mut self) -> Result<u64> {
        u64::try_from(self.next()?.int()?).map_err(|_| odd())
    }

    /// A number written as text, or '' for none.
    fn score(&mut self) -> Result<Option<f64>> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().ok().filter(|score: &f64| score.is_finite()).map(Some).ok_or_else(odd)
    }

    /// An integer, or '' for none.
    fn rank(&mut self) -> Result<Option<u64>> {
        let reply = self.next()?;
        match reply.int() {
            Ok(rank) => u64::try_from(rank).map(Some).map_err(|_| odd()),
            Err(_) => Ok(None),
        }
    }
}

pub(super) fn answers(reply: Reply) -> Result<Vec<Answer<Recorded>>> {
    let mut parts = Parts::of(reply)?;
    match parts.text()?.as_str() {
        "ok" => parts.0.map(answer).collect(),
        "overflow" => Err(check::overflow()),
        "other" => Err(other_rules()),
        _ => Err(odd()),
    }
}

fn answer(reply: Reply) -> Result<Answer<Recorded>> {
    let mut parts = Parts::of(reply)?;
    let outcome = match parts.text()?.as_str() {
        "recorded" => RecordOutcome::Recorded,
        "unchanged" => RecordOutcome::Unchanged,
        "repeated" => RecordOutcome::Repeated,
        "pending" => RecordOutcome::Pending,
        "lost" => return Ok(Answer::Lost),
        _ => return Err(odd()),
    };
    let (old, new, rank, previous_rank) = (parts.score()?, parts.score()?, parts.rank()?, parts.rank()?);
    Ok(Answer::Known(Recorded { outcome, old, new, rank, previous_rank }))
}

pub(super) fn reading(reply: Reply, rules: &Rules, query: &Query) -> Result<Answer<Reading>> {
    let mut parts = Parts::of(reply)?;
    match parts.text()?.as_str() {
        "known" => {}
        "lost" => return Ok(Answer::Lost),
        "other" => return Err(other_rules()),
        _ => return Err(odd()),
    }
    let mut reading = Reading { total: parts.int()?, ..Reading::default() };
    match query {
        Query::Page { .. } | Query::Around { .. } => {
            let (offset, first) = (parts.int()?, parts.int()?);
            let mut rows = Vec::new();
            while !parts.0.as_slice().is_empty() {
                rows.push((parts.text()?, parts.score()?.ok_or_else(odd)?));
            }
            reading.rows = decide::ranked(rules.ranking, offset, first, rows).into_iter().map(Some).collect();
        }
        Query::Members(members) => {
            for member in members {
                reading.rows.push(standing(member, &mut parts)?);
            }
        }
        Query::Percentile(member) => {
            reading.rows.push(standing(member, &mut parts)?);
            reading.worse = parts.int()?;
        }
    }
    Ok(Answer::Known(reading))
}

fn standing(member: &str, parts: &mut Parts) -> Result<Option<Standing>> {
    let (score, rank) = (parts.score()?, parts.rank()?);
    Ok(score.zip(rank).map(|(score, rank)| Standing { member: member.to_owned(), score, rank }))
}
