//! One board: how it is kept, and its verbs.

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use super::{
    BoardSource, Change, Leaderboards, Name, Period, Periods, Query, Ranking, Recorded, Rules, Standing, TieBreak,
    Update,
    check::{self, MOST_ROWS},
    decide,
};
use crate::{Cx, Error, Result, clock::Timestamp};

/// One board: members in the order of their scores.
///
/// 1. Every verb is one command to Redis, a script, whose cost grows with the logarithm of the members.
/// 2. Setters say how the board is kept. Give every handle of a board the same ones, in one function of yours. Where the order, the
///    ties, or whether ranks are dense is another than the stored board's, a board with a source is rebuilt, again and again as
///    long as instances disagree; one without a source is refused as invalid until it is [`reset`](Leaderboard::reset).
/// 3. Members are what they print: a user's number, a name; 1 to 128 bytes. Scores are finite.
///
/// ```
/// use towerkeep::{Keep, leaderboard::Update};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let board = Keep::in_memory().leaderboard(("challenge", 42)).update_policy(Update::Sum);
/// board.add("alice", 10.0, "event-1").await.unwrap();
/// let retried = board.add("alice", 10.0, "event-1").await.unwrap();
/// assert_eq!((retried.new, retried.rank), (Some(10.0), Some(1)));
/// assert!(board.add("alice", f64::NAN, "event-2").await.unwrap_err().is_invalid());
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Leaderboard {
    pub(super) boards: Leaderboards,
    pub(super) name: Name,
    pub(super) rules: Rules,
    pub(super) periods: Periods,
    pub(super) view: Option<Period>,
    pub(super) at: Option<Timestamp>,
    pub(super) source: Option<Arc<dyn BoardSource>>,
}

impl Leaderboard {
    pub(super) fn new(boards: Leaderboards, name: Name) -> Self {
        let (rules, periods) = (Rules::default(), Periods::default());
        Self { boards, name, rules, periods, view: None, at: None, source: None }
    }

    /// How equal scores are ranked. Defaults to [`Ranking::Competition`].
    pub fn ranking(mut self, ranking: Ranking) -> Self {
        self.rules.ranking = ranking;
        self
    }

    /// Who of equals stands first. Defaults to [`TieBreak::Member`].
    pub fn ties(mut self, ties: TieBreak) -> Self {
        self.rules.ties = ties;
        self
    }

    /// What a new score does to an old one. Defaults to [`Update::Best`]; [`Update::Lowest`] ranks the lowest first.
    pub fn update_policy(mut self, update: Update) -> Self {
        self.rules.update = update;
        self
    }

    /// Where the board is rebuilt from when it is lost or has missed a change. Defaults to nowhere: a lost board begins anew.
    ///
    /// Commit to the source first, then call the board. See the [module](crate::leaderboard) for what that gives.
    pub fn source(mut self, source: impl BoardSource) -> Self {
        self.rules.has_source = true;
        self.source = Some(Arc::new(source));
        self
    }

    /// Keeps only the best `members`. Defaults to all. Not for sums.
    ///
    /// One that was lowered is reached by and by: each change takes out at most 100.
    pub fn cap(mut self, members: NonZeroU32) -> Self {
        self.rules.cap = Some(members);
        self
    }

    /// Remembers event ids for so long, an hour to 366 days. Defaults to 24 hours.
    ///
    /// A retry that comes later counts again. An id takes some 100 bytes.
    pub fn remember(mut self, events: Duration) -> Self {
        self.rules.remember = events;
        self
    }

    /// Keeps a board for each of these periods; every update writes all of them, in the same command. Defaults to
    /// [`Period::All`] alone.
    pub fn periods(mut self, periods: Periods) -> Self {
        self.rules.keep = periods.kept();
        self.periods = periods;
        self
    }

    /// Reads the board of this `period`, one of [`periods`](Self::periods), and answers updates from it. Defaults to the first of
    /// them.
    pub fn period(mut self, period: Period) -> Self {
        self.view = Some(period);
        self
    }

    /// Reads the period that `at` was in. Defaults to the current one, which updates always write. One that is not kept any more,
    /// or begins more than an hour from now, is invalid.
    pub fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    /// Records a score of `member`; the [`Update`] says what it does to an older one.
    ///
    /// # Errors
    /// Invalid: a member of 0 or more than 128 bytes; a score that is not finite; a sum beyond 2^53; a board of sums that has a
    /// source, which needs [`add`](Self::add). Unavailable: the store does not answer.
    pub async fn record(&self, member: impl fmt::Display, score: f64) -> Result<Recorded> {
        let sums = self.rules.update == Update::Sum;
        if sums && self.source.is_some() {
            return Err(Error::invalid("a board of sums with a source cannot tell what it has counted: use add"));
        }
        let score = if sums { check::points(score) } else { check::score(score) }?;
        self.change(Change::Record { member: check::member(member)?, score }).await
    }

    /// Adds points to a member's score, once for each `event`, however often and from wherever it is called.
    ///
    /// Ids are of the board, not of the member, and remembered for 24 hours (see [`remember`](Self::remember)). Whole points
    /// add up exactly; fractions as `f64` does it.
    ///
    /// # Errors
    /// Invalid: as for [`record`](Self::record), of the event id too. Unavailable: the store does not answer; call again with the
    /// same id.
    pub async fn add(&self, member: impl fmt::Display, points: f64, event: impl fmt::Display) -> Result<Recorded> {
        if self.rules.cap.is_some() {
            return Err(Error::invalid("a board with a cap cannot add: who falls out of it would begin at 0 again"));
        }
        let points = check::points(points)?;
        self.change(Change::Add { member: check::member(member)?, points, event: check::event(event)? }).await
    }

    /// Takes a member off the board.
    ///
    /// # Errors
    /// Invalid: a member of 0 or more than 128 bytes. Unavailable: the store does not answer.
    pub async fn remove(&self, member: impl fmt::Display) -> Result<Recorded> {
        self.change(Change::Remove { member: check::member(member)? }).await
    }

    /// Empties the board, of all periods that are current. Event ids are remembered all the same.
    ///
    /// # Errors
    /// Unavailable, when the store does not answer.
    pub async fn reset(&self) -> Result<()> {
        self.rules.check()?;
        let cx = Cx::new();
        self.boards.store.reset(&cx, &self.rules, &self.all(&cx)).await
    }

    /// The first `limit` rows, 1 to 100.
    ///
    /// # Errors
    /// Invalid: another limit. Unavailable: the store does not answer, or the board is being rebuilt.
    pub async fn top(&self, limit: usize) -> Result<Vec<Standing>> {
        self.page(0, limit).await
    }

    /// `limit` rows, 1 to 100, after the first `offset`; none beyond the end.
    ///
    /// # Errors
    /// As for [`top`](Self::top).
    pub async fn page(&self, offset: u64, limit: usize) -> Result<Vec<Standing>> {
        let query = Query::Page { offset: offset.min(1 << 52), limit: check::limit(limit)? };
        Ok(self.read(query).await?.rows.into_iter().flatten().collect())
    }

    /// `rows` rows, 1 to 100, with `member` in the middle, one more below where they are even; near an end of the board as many,
    /// shifted. None if the member is not there.
    ///
    /// # Errors
    /// As for [`top`](Self::top), and invalid for what cannot be a member.
    pub async fn around(&self, member: impl fmt::Display, rows: usize) -> Result<Vec<Standing>> {
        let query = Query::Around { member: check::member(member)?, rows: check::limit(rows)? };
        Ok(self.read(query).await?.rows.into_iter().flatten().collect())
    }

    /// The rank and score of `member`; nothing if they are not there.
    ///
    /// # Errors
    /// As for [`around`](Self::around).
    pub async fn rank_of(&self, member: impl fmt::Display) -> Result<Option<Standing>> {
        let rows = self.read(Query::Members(vec![check::member(member)?])).await?.rows;
        Ok(rows.into_iter().flatten().next())
    }

    /// As [`rank_of`](Self::rank_of) for up to 100 members, in their order.
    ///
    /// # Errors
    /// As for [`around`](Self::around), and invalid for more than 100 members.
    pub async fn many(&self, members: impl IntoIterator<Item = impl fmt::Display>) -> Result<Vec<Option<Standing>>> {
        let members = members.into_iter().take(MOST_ROWS + 1).map(check::member).collect::<Result<Vec<_>>>()?;
        match members.len() {
            0 => Ok(Vec::new()),
            1..=MOST_ROWS => Ok(self.read(Query::Members(members)).await?.rows),
            _ => Err(Error::invalid(format!("more than {MOST_ROWS} members; ask for them in parts"))),
        }
    }

    /// How many of all other members, in percent, have a worse score than `member`; nothing if they are not there.
    ///
    /// 100 for the only leader and for a member alone, 0 for the last; equals count as not worse.
    ///
    /// # Errors
    /// As for [`around`](Self::around).
    pub async fn percentile(&self, member: impl fmt::Display) -> Result<Option<f64>> {
        let reading = self.read(Query::Percentile(check::member(member)?)).await?;
        let is_there = reading.rows.iter().any(Option::is_some);
        Ok(is_there.then(|| decide::percentile(reading.worse, reading.total)))
    }

    /// How many members there are.
    ///
    /// # Errors
    /// Unavailable, when the store does not answer, or the board is being rebuilt.
    pub async fn count(&self) -> Result<u64> {
        Ok(self.read(Query::Members(Vec::new())).await?.total)
    }

    /// Rebuilds the board from its source in the background, though it is there: after the source was changed by hand.
    ///
    /// # Errors
    /// Invalid: the board has no source.
    pub fn rebuild(&self) -> Result<()> {
        self.rules.check()?;
        for board in self.all(&Cx::new()) {
            let job = self.job(board).ok_or_else(|| Error::invalid("this board has no source to rebuild it from"))?;
            self.boards.rebuilds.missed(&job);
            self.boards.rebuilds.start(&job, true);
        }
        Ok(())
    }
}

impl fmt::Debug for Leaderboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Leaderboard");
        out.field("name", &self.name)
            .field("rules", &self.rules)
            .field("periods", &self.periods)
            .finish_non_exhaustive()
    }
}
