//! One rebuild: under a lock, from the pages of the source, into the place of the old board.

use std::{sync::Arc, time::Duration};

use super::{Begun, BoardId, BoardSource, Finished, LeaderboardStore, Rules, SourcePage, SourceRow, check};
use crate::{Cx, Error, Result, StoreFuture};

/// How long the lock of a rebuild outlives its last step.
pub(super) const LOCK: Duration = Duration::from_secs(10);
/// How often the lock is renewed while the source is slow.
const RENEW: Duration = Duration::from_secs(3);
/// How long a page of the source may take.
const PAGE_TIME: Duration = Duration::from_secs(60);
/// Rows of a page of the source.
const PAGE: usize = 500;
/// Rows and events of one step: a server that does nothing else meanwhile takes a millisecond for them.
const ROWS: usize = 100;
/// How long to wait before another try, times its number.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// How often one step is tried.
const STEP_TRIES: u32 = 5;

/// A board that can be rebuilt.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) board: BoardId,
    pub(super) rules: Rules,
    pub(super) source: Arc<dyn BoardSource>,
}

/// How a rebuild ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Built {
    Done,
    /// Another instance is at it.
    Busy,
    /// The lock was lost: anew.
    Gone,
}

/// The holder of a token `{owner}:{attempt}`.
pub(super) fn owner(token: &str) -> &str {
    token.rsplit_once(':').map_or(token, |(owner, _)| owner)
}

impl Job {
    /// Rebuilds the board; `force` does it to one that is there.
    pub(super) async fn build(&self, store: &dyn LeaderboardStore, token: &str, force: bool) -> Result<Built> {
        let (Self { board, rules, source }, cx) = (self, Cx::new());
        match step(|| store.begin(&cx, rules, board, token, force)).await? {
            Begun::Begun => {}
            Begun::Busy => return Ok(Built::Busy),
            Begun::Done => return Ok(Built::Done),
        }
        let mut after: Option<String> = None;
        loop {
            let Some(page) = self.renewing(store, token, source.read(board, after.as_deref(), PAGE)).await? else {
                return Ok(Built::Gone);
            };
            check::rows(&page.rows)?;
            for rows in steps(&page.rows) {
                if !step(|| store.load(&cx, rules, board, token, rows)).await? {
                    return Ok(Built::Gone);
                }
            }
            match page.next {
                None => break,
                next if next == after => return Err(Error::invalid("the source names the same page twice")),
                next => after = next,
            }
        }
        loop {
            match step(|| store.finish(&cx, rules, board, token)).await? {
                Finished::Done => return Ok(Built::Done),
                Finished::Gone => return Ok(Built::Gone),
                Finished::More => {}
            }
        }
    }

    /// A page of the source, and the lock renewed until it is there or too late; nothing once the lock is lost.
    async fn renewing(
        &self,
        store: &dyn LeaderboardStore,
        token: &str,
        mut page: StoreFuture<SourcePage>,
    ) -> Result<Option<SourcePage>> {
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < PAGE_TIME {
            tokio::select! {
                biased;
                page = &mut page => return page.map(Some),
                () = tokio::time::sleep(RENEW) => {}
            }
            if !step(|| store.load(&Cx::new(), &self.rules, &self.board, token, &[])).await? {
                return Ok(None);
            }
        }
        Err(Error::unavailable("the source of a leaderboard did not answer in time"))
    }
}

/// One step, tried again where the store did not answer: each can be done twice.
async fn step<T>(verb: impl Fn() -> StoreFuture<T>) -> Result<T> {
    for attempt in 1..STEP_TRIES {
        match verb().await {
            Err(error) if error.is_unavailable() => tokio::time::sleep(PAUSE * attempt).await,
            other => return other,
        }
    }
    verb().await
}

/// Rows in steps that a store takes at once: at most 100 rows and events, or one row.
fn steps(rows: &[SourceRow]) -> impl Iterator<Item = &[SourceRow]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let mut weight = 0;
        let fits = rest.iter().take_while(|row| {
            weight += 1 + row.events.len();
            weight <= ROWS
        });
        let (step, left) = rest.split_at(fits.count().max(1).min(rest.len()));
        rest = left;
        (!step.is_empty()).then_some(step)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_hold_every_row_once_and_no_more_than_fits() {
        let rows: Vec<_> =
            (0..1_200).map(|n| SourceRow::new(n, 1.0).events((0..n % 7).map(|e| e.to_string()))).collect();
        let all: Vec<_> = steps(&rows)
            .inspect(|step| {
                assert!(step.iter().map(|row| 1 + row.events.len()).sum::<usize>() <= ROWS);
            })
            .flatten()
            .cloned()
            .collect();
        assert_eq!(all, rows);
        let heavy = [SourceRow::new("a", 1.0).events((0..2_000).map(|e| e.to_string()))];
        assert_eq!((steps(&heavy).count(), steps(&[]).count()), (1, 0));
    }
}
