//! Redis, memory and a sorted vector give the same answers to random changes and questions.

use std::{cmp::Ordering, time::Duration};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use towerkeep::leaderboard::{Answer, BoardId, Change, Query, Reading, Recorded, Rules};

use super::*;

/// A board as a sorted vector, by the documented rules and nothing else.
#[derive(Default)]
struct Model {
    rows: Vec<(String, f64, u64)>,
    events: Vec<(String, u64)>,
}

impl Model {
    fn sort(&mut self, rules: &Rules) {
        let by_time = |a: u64, b: u64| match rules.ties {
            TieBreak::Member => Ordering::Equal,
            TieBreak::FirstToReach => a.cmp(&b),
            TieBreak::LastToReach => b.cmp(&a),
        };
        self.rows.sort_by(|a, b| {
            let by_score = if rules.update == Update::Lowest { a.1.total_cmp(&b.1) } else { b.1.total_cmp(&a.1) };
            by_score.then(by_time(a.2, b.2)).then_with(|| a.0.cmp(&b.0))
        });
    }

    fn standings(&self, rules: &Rules) -> Vec<Standing> {
        let rank = |place: usize| {
            let score = self.rows[place].1;
            match rules.ranking {
                Ranking::Ordinal => place + 1,
                Ranking::Competition => self.rows.iter().position(|row| row.1 == score).expect("itself") + 1,
                Ranking::Dense => {
                    let mut before: Vec<f64> = self.rows[..=place].iter().map(|row| row.1).collect();
                    before.dedup();
                    before.len()
                }
            }
        };
        let standing = |(place, row): (usize, &(String, f64, u64))| super::row(&row.0, row.1, rank(place) as u64);
        self.rows.iter().enumerate().map(standing).collect()
    }

    fn find(&self, rules: &Rules, member: &str) -> Option<Standing> {
        self.standings(rules).into_iter().find(|row| row.member == member)
    }

    fn change(&mut self, rules: &Rules, change: &Change, now: u64) -> Option<Recorded> {
        let (Change::Record { member, .. } | Change::Add { member, .. } | Change::Remove { member }) = change;
        let before = self.find(rules, member);
        let old = before.as_ref().map(|row| row.score);
        let mut outcome = None;
        let new = match change {
            Change::Remove { .. } => None,
            Change::Add { points, event, .. } => {
                let day = 24 * 3_600_000;
                if self.events.iter().any(|(known, at)| known == event && at + day > now) {
                    outcome = Some(RecordOutcome::Repeated);
                    old
                } else {
                    let sum = sum(old, *points)?;
                    self.events.retain(|(known, _)| known != event);
                    self.events.push((event.clone(), now));
                    Some(sum)
                }
            }
            Change::Record { score, .. } if rules.update == Update::Sum => Some(sum(old, *score)?),
            Change::Record { score, .. } => Some(match (rules.update, old) {
                (Update::Best, Some(old)) => old.max(*score),
                (Update::Lowest, Some(old)) => old.min(*score),
                (Update::IfAbsent, Some(old)) => old,
                _ => *score,
            }),
        };
        if new != old {
            self.rows.retain(|row| row.0 != *member);
            self.rows.extend(new.map(|new| (member.clone(), new, now)));
            self.sort(rules);
            if let (Some(cap), Some(_)) = (rules.cap, new) {
                self.rows.truncate(cap.get() as usize);
            }
        }
        let after = self.find(rules, member);
        let changed = if new == old { RecordOutcome::Unchanged } else { RecordOutcome::Recorded };
        Some(Recorded {
            outcome: outcome.unwrap_or(changed),
            old,
            new: after.as_ref().map(|row| row.score),
            rank: after.map(|row| row.rank),
            previous_rank: before.map(|row| row.rank),
        })
    }

    fn read(&self, rules: &Rules, query: &Query) -> Reading {
        let standings = self.standings(rules);
        let mut reading = Reading { total: standings.len() as u64, ..Reading::default() };
        let cut = |from: usize, rows: u32| standings.iter().skip(from).take(rows as usize).cloned().map(Some).collect();
        match query {
            Query::Page { offset, limit } => reading.rows = cut(*offset as usize, *limit),
            Query::Around { member, rows } => {
                if let Some(place) = standings.iter().position(|row| row.member == *member) {
                    let last = standings.len().saturating_sub(*rows as usize);
                    reading.rows = cut(place.saturating_sub((*rows as usize - 1) / 2).min(last), *rows);
                }
            }
            Query::Members(members) => reading.rows = members.iter().map(|member| self.find(rules, member)).collect(),
            Query::Percentile(member) => {
                let found = self.find(rules, member);
                let is_worse =
                    |score: f64, than: f64| if rules.update == Update::Lowest { score > than } else { score < than };
                let than = found.as_ref().map(|row| row.score);
                let worse = standings.iter().filter(|row| than.is_some_and(|than| is_worse(row.score, than)));
                reading.worse = worse.count() as u64;
                reading.rows.push(found);
            }
        }
        reading
    }
}

/// What whole numbers of any size say about a sum of `f64`; nothing beyond 2^53.
fn sum(old: Option<f64>, points: f64) -> Option<f64> {
    let old = old.unwrap_or(0.0);
    let is_small = old.abs() + points.abs() < 1e15;
    let exact = (old as i128 + points as i128).unsigned_abs() <= 1 << 53;
    (is_small || exact).then_some(old + points)
}

#[derive(Clone, Debug)]
enum Step {
    Change(Change),
    Read(Query),
    Reset,
}

fn rules() -> impl Strategy<Value = Rules> {
    let ranking = prop::sample::select(vec![Ranking::Ordinal, Ranking::Competition, Ranking::Dense]);
    let ties = prop::sample::select(vec![TieBreak::Member, TieBreak::FirstToReach, TieBreak::LastToReach]);
    let update = prop::sample::select(vec![Update::Best, Update::Lowest, Update::Last, Update::Sum, Update::IfAbsent]);
    let cap = prop::option::weighted(0.2, 1u32..8);
    (ranking, ties, update, cap).prop_map(|(ranking, ties, update, cap)| Rules {
        ranking,
        ties,
        update,
        cap: cap.and_then(NonZeroU32::new),
        ..Rules::default()
    })
}

fn member() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => prop::sample::select(vec!["a", "b", "B", "aa", "10", "9", "ä", "z z", "{x}:%"]).prop_map(String::from),
        3 => (0u32..30).prop_map(|n| n.to_string()),
    ]
}

/// Scores up to where sums end are whole, so that `i128` can tell which are exact.
fn score(is_large: bool) -> BoxedStrategy<f64> {
    let small = (-3i32..6).prop_map(f64::from);
    if is_large {
        prop_oneof![6 => small, 1 => Just(9_007_199_254_740_991.0), 1 => -1e15..1e15].prop_map(f64::round).boxed()
    } else {
        prop_oneof![6 => small, 2 => -1e6..1e6].boxed()
    }
}

fn step(is_large: bool) -> impl Strategy<Value = (u64, Step)> {
    let score = score(is_large);
    let event = (0u32..20).prop_map(|n| n.to_string());
    let change = prop_oneof![
        6 => (member(), score.clone()).prop_map(|(member, score)| Change::Record { member, score }),
        3 => (member(), score, event).prop_map(|(member, points, event)| Change::Add { member, points, event }),
        1 => member().prop_map(|member| Change::Remove { member }),
    ];
    let query = prop_oneof![
        (0u64..12, 1u32..12).prop_map(|(offset, limit)| Query::Page { offset, limit }),
        (member(), 1u32..9).prop_map(|(member, rows)| Query::Around { member, rows }),
        prop::collection::vec(member(), 0..4).prop_map(Query::Members),
        member().prop_map(Query::Percentile),
    ];
    let step =
        prop_oneof![10 => change.prop_map(Step::Change), 6 => query.prop_map(Step::Read), 1 => Just(Step::Reset)];
    let later = prop_oneof![5 => 0u64..3, 2 => 0u64..5_000, 1 => 0u64..40_000_000];
    (later, step)
}

async fn answer(store: &Store, cx: &Cx, rules: &Rules, board: &BoardId, step: &Step) -> String {
    match step {
        Step::Change(change) => match store.change(cx, rules, std::slice::from_ref(board), change).await {
            Ok(answers) => format!("{answers:?}"),
            Err(error) if error.is_invalid() => "refused".into(),
            Err(error) => panic!("{error:?}"),
        },
        Step::Read(query) => format!("{:?}", store.read(cx, rules, board, query).await.expect("answers")),
        Step::Reset => format!("{:?}", store.reset(cx, rules, std::slice::from_ref(board)).await.expect("answers")),
    }
}

#[tokio::test]
async fn redis_and_memory_and_a_sorted_vector_agree_on_random_boards() {
    let server = RedisServer::start();
    let stores = stores(&server).await;
    let mut runner = TestRunner::default();
    for n in 0..150 {
        let rules = rules().new_tree(&mut runner).expect("rules").current();
        let steps = prop::collection::vec(step(n % 2 == 0), 1..120).new_tree(&mut runner).expect("steps").current();
        let board = BoardId { name: ("model", n).into(), window: None };
        let (mut model, mut now) = (Model::default(), START.as_millis());
        for (i, (later, step)) in steps.iter().enumerate() {
            now += later;
            let expected = match step {
                Step::Change(change) => match model.change(&rules, change, now) {
                    Some(recorded) => format!("{:?}", [Answer::Known(recorded)]),
                    None => "refused".into(),
                },
                Step::Read(query) => format!("{:?}", Answer::Known(model.read(&rules, query))),
                Step::Reset => {
                    model.rows.clear();
                    "()".into()
                }
            };
            let cx = Cx::new().within(seconds(5)).at(Timestamp::default() + Duration::from_millis(now));
            for (name, store) in &stores {
                let found = answer(store, &cx, &rules, &board, step).await;
                assert_eq!(found, expected, "{name}, board {n}, step {i}, {rules:?} {:#?}", &steps[..=i]);
            }
        }
    }
}
