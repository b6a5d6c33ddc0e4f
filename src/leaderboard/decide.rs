//! What an update does to a score, and what ranks rows have: pure, and what the scripts equal.

use super::{Change, Ranking, Rules, Standing, Update};

/// The largest sum whose whole points are all exact.
pub(super) const LARGEST_SUM: f64 = 9_007_199_254_740_992.0;

/// What becomes of a member's score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Decision {
    /// The event was counted before.
    Repeated,
    /// The sum would not be exact any more; nothing changes.
    Overflow,
    /// The score from now on; nothing for a member who leaves.
    To(Option<f64>),
}

pub(super) fn decide(rules: &Rules, change: &Change, old: Option<f64>, is_repeated: bool) -> Decision {
    match change {
        Change::Remove { .. } => Decision::To(None),
        Change::Add { .. } if is_repeated => Decision::Repeated,
        Change::Add { points, .. } => sum(old, *points),
        Change::Record { score, .. } if rules.update == Update::Sum => sum(old, *score),
        Change::Record { score, .. } => Decision::To(Some(match (rules.update, old) {
            (Update::Best, Some(old)) if old >= *score => old,
            (Update::Lowest, Some(old)) if old <= *score => old,
            (Update::IfAbsent, Some(old)) => old,
            _ => *score + 0.0,
        })),
    }
}

fn sum(old: Option<f64>, points: f64) -> Decision {
    let old = old.unwrap_or(0.0);
    let sum = old + points;
    // A sum of 2^53 may have been rounded to it.
    let is_rounded = sum.abs() == LARGEST_SUM && sum - old != points;
    if sum.abs() > LARGEST_SUM || is_rounded { Decision::Overflow } else { Decision::To(Some(sum + 0.0)) }
}

/// Gives rows their ranks, which follow from the first one's.
pub(super) fn ranked(
    ranking: Ranking,
    offset: u64,
    first: u64,
    rows: impl IntoIterator<Item = (String, f64)>,
) -> Vec<Standing> {
    let mut standings: Vec<Standing> = Vec::new();
    for (place, (member, score)) in (offset + 1..).zip(rows) {
        let rank = match standings.last() {
            None => first,
            Some(_) if ranking == Ranking::Ordinal => place,
            Some(above) if above.score == score => above.rank,
            Some(above) if ranking == Ranking::Dense => above.rank + 1,
            Some(_) => place,
        };
        standings.push(Standing { member, score, rank });
    }
    standings
}

/// Where a window of `rows` begins that has place `at` in its middle, or as near as the ends allow.
pub(super) fn window(at: u64, rows: u64, total: u64) -> u64 {
    at.saturating_sub((rows - 1) / 2).min(total.saturating_sub(rows))
}

/// How many of all others, in percent, have a worse score; 100 for a member alone.
pub(super) fn percentile(worse: u64, total: u64) -> f64 {
    if total <= 1 {
        return 100.0;
    }
    // Exact below 2^53 members.
    worse as f64 / (total - 1) as f64 * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(ranking: Ranking, offset: usize, first: u64) -> Vec<u64> {
        let rows = [("a", 1500.0), ("b", 1500.0), ("c", 1200.0)].map(|(member, score)| (member.to_owned(), score));
        ranked(ranking, offset as u64, first, rows.into_iter().skip(offset)).iter().map(|row| row.rank).collect()
    }

    #[test]
    fn equal_scores_are_ranked_as_the_ranking_says() {
        assert_eq!(ranks(Ranking::Ordinal, 0, 1), [1, 2, 3]);
        assert_eq!(ranks(Ranking::Competition, 0, 1), [1, 1, 3]);
        assert_eq!(ranks(Ranking::Dense, 0, 1), [1, 1, 2]);
    }

    #[test]
    fn a_page_that_begins_inside_of_a_tie_goes_on_with_its_ranks() {
        assert_eq!(ranks(Ranking::Ordinal, 1, 2), [2, 3]);
        assert_eq!(ranks(Ranking::Competition, 1, 1), [1, 3]);
        assert_eq!(ranks(Ranking::Dense, 1, 1), [1, 2]);
    }

    #[test]
    fn a_window_shifts_at_both_ends() {
        assert_eq!([0, 1, 2, 5, 8, 9].map(|at| window(at, 5, 10)), [0, 0, 0, 3, 5, 5]);
        assert_eq!(window(1, 5, 3), 0);
    }

    #[test]
    fn percentiles_are_of_the_others() {
        assert_eq!((percentile(0, 1), percentile(9, 10), percentile(0, 10)), (100.0, 100.0, 0.0));
    }
}
