//! What lost boards are rebuilt from.

use std::time::Duration;

use towerkeep::{
    Error, StoreFuture,
    leaderboard::{BoardId, BoardSource, SourcePage, SourceRow},
    prelude::*,
};

use crate::database::places::Places;

/// Who read an event as waiting has offered it within this time, even after another has noted it as taken.
const UNDER_WAY: Duration = hours(1);

/// The participants of a challenge, as a lost board is rebuilt from them.
pub(super) struct Truth(pub(super) Places);

impl BoardSource for Truth {
    fn read(&self, board: &BoardId, after: Option<&str>, limit: usize) -> StoreFuture<SourcePage> {
        let (places, id) = (self.0.clone(), board.name.id().parse::<i64>());
        let after = after.map_or(Ok(0), str::parse::<i64>);
        StoreFuture::boxed(async move {
            let (Ok(challenge), Ok(after)) = (id, after) else { return Err(Error::invalid("no board of a challenge")) };
            let read = places.sums(challenge, after, limit, UNDER_WAY).await;
            let sums = read.map_err(|error| Error::unavailable("the database does not answer").with_source(error))?;
            let is_last = sums.len() < limit;
            let next = sums.last().filter(|_| !is_last).map(|sum| sum.user.to_string());
            let rows = sums.into_iter().map(|sum| {
                SourceRow::new(sum.user, sum.score as f64).events(sum.events.iter().map(ToString::to_string))
            });
            Ok(SourcePage { rows: rows.collect(), next })
        })
    }
}
