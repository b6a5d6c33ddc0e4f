//! One case: a load through a fault, judged by what holds in all of them, and its figures.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;
use towerkeep::{Keep, Status};

use super::{
    figures::{Figures, Watch},
    mix::{Judged, Mix, Seen, USERS},
};
use crate::{
    app::{Client, app},
    support::{
        eventually,
        load::{Load, Report},
    },
    turns::{Turn, alone, beside},
};

const RATE: u32 = 500;
/// A request may wait 50 ms for Redis; the rest is this machine's, which runs load, servers and other tests beside it.
const WORST: Duration = Duration::from_millis(200);
/// The limit of `/five`.
pub(crate) const LIMIT: usize = 5;
/// How long the load runs before the fault.
const CALM: Duration = Duration::from_millis(400);

pub(crate) struct Case {
    name: &'static str,
    url: String,
    keep: Keep,
    mix: Arc<Mix>,
    watch: Watch,
    rate: u32,
    loses_data: bool,
    turn: Option<Turn>,
}

impl Case {
    /// Twenty users on one instance of the app, and one who has logged out.
    pub(crate) async fn start(name: &'static str, url: &str) -> Self {
        let case = Self::without_redis(name, url).await;
        assert!(case.keep.ready(Duration::from_secs(10)).await, "redis at {url} was not reached");
        case
    }

    /// As [`start`](Self::start), whether or not Redis is there.
    pub(crate) async fn without_redis(name: &'static str, url: &str) -> Self {
        Self::over(name, url, Keep::builder().redis(url).build().expect("a valid url")).await
    }

    /// As [`start`](Self::start), with four times the deadline and budget: for faults that have nothing to do with time, so that a
    /// stall of this machine does not look like another one.
    pub(crate) async fn patient(name: &'static str, url: &str) -> Self {
        let keep = Keep::builder().redis(url).deadline(Duration::from_millis(100)).budget(Duration::from_millis(200));
        let case = Self::over(name, url, keep.build().expect("a valid url")).await;
        assert!(case.keep.ready(Duration::from_secs(10)).await, "redis at {url} was not reached");
        case
    }

    async fn over(name: &'static str, url: &str, keep: Keep) -> Self {
        let turn = Some(beside().await);
        keep.ready(Duration::from_millis(500)).await;
        let router = app(&keep);
        let mut users = Vec::new();
        for user in 0..USERS as u64 {
            users.push(Client::logged_in(&router, user).await);
        }
        let mix = Arc::new(Mix { users, ended: std::sync::Mutex::default() });
        let case = Self {
            name,
            url: url.to_owned(),
            watch: Watch::start(&keep),
            keep,
            mix,
            rate: RATE,
            loses_data: false,
            turn,
        };
        case.somebody_leaves(100).await;
        case
    }

    /// What Redis counted is lost in this fault, so that a limit may admit its quota once more.
    pub(crate) fn loses_data(mut self) -> Self {
        self.loses_data = true;
        self
    }

    /// As many requests a second, with the machine to itself.
    pub(crate) async fn at_rate(mut self, rate: u32) -> Self {
        self.rate = rate;
        drop(self.turn.take());
        self.turn = Some(alone().await);
        self
    }

    pub(crate) fn keep(&self) -> &Keep {
        &self.keep
    }

    /// The fault begins, once a stall of this machine is over.
    pub(crate) async fn broken(&self) {
        self.is(Status::Up).await;
        self.watch.broken();
    }

    /// The fault ends; waits until Redis is used again.
    pub(crate) async fn healed(&self) {
        self.watch.healed();
        eventually("redis is used again", async || self.keep.status() == Status::Up).await;
    }

    /// How often writes were given up.
    pub(crate) fn degradations(&self) -> usize {
        self.watch.times(Status::Degraded)
    }

    pub(crate) async fn is(&self, status: Status) {
        eventually(status.as_str(), async || self.keep.status() == status).await;
    }

    /// A user logs in and out; the token stays with somebody.
    pub(crate) async fn somebody_leaves(&self, user: u64) {
        let mut user = Client::logged_in(&app(&self.keep), user).await;
        let stolen = user.clone();
        let answer = user.post("/logout").await;
        assert_eq!(answer.status, StatusCode::OK, "{}: {}", self.name, answer.body);
        self.mix.ended.lock().expect("no panic while held").push(stolen);
    }

    /// Sends the load for so long, breaks and heals things meanwhile, and judges.
    pub(crate) async fn run(&self, seconds: u64, fault: impl AsyncFnOnce(&Self)) -> Figures {
        let mix = Arc::clone(&self.mix);
        let load = Load::new(self.rate, Duration::from_secs(seconds));
        let began = Instant::now();
        let running = tokio::spawn(load.run(move |number| Arc::clone(&mix).send(number)));
        tokio::time::sleep(CALM).await;
        fault(self).await;
        let report = running.await.expect("the load ends");
        let figures = Figures::of(&report, &self.watch, began);
        figures.print(self.name);
        self.judge(&report, &figures).await;
        figures
    }

    async fn judge(&self, report: &Report<Judged>, figures: &Figures) {
        let seen = judge_answers(self.name, report, figures);
        self.judge_limits(&seen);
        self.judge_sessions(&seen).await;
    }

    /// What Redis admits stays within the limit, and so does what this instance admits alone.
    fn judge_limits(&self, seen: &[Seen]) {
        for user in 0..USERS {
            let of = |is_local| seen.iter().filter(|seen| **seen == Seen::Admitted { user, is_local }).count();
            assert!(of(false) + of(true) > 0, "{}: a limit that admits nobody", self.name);
            let bound = if self.loses_data { 2 * LIMIT } else { LIMIT };
            assert!(of(false) <= bound, "{}: redis admitted {} of user {user}", self.name, of(false));
            assert!(of(true) <= LIMIT, "{}: the instance admitted {} of user {user}", self.name, of(true));
        }
    }

    /// Who is out stays out, and what was counted is counted: on an instance that knows nothing of its own, too.
    async fn judge_sessions(&self, seen: &[Seen]) {
        let fresh = fresh(&self.url).await;
        for (user, client) in self.mix.users.iter().enumerate() {
            let counted = 1 + seen.iter().filter(|seen| **seen == Seen::Counted { user }).count();
            let answer = client.at(&app(&self.keep)).post("/count").await;
            assert_eq!(answer.body, counted.to_string(), "{}: counts of user {user}", self.name);
            // What this instance keeps is written with the next request that asks for a session, once Redis answers.
            eventually(&format!("{}: user {user} has counted {counted}", self.name), async || {
                client.at(&app(&self.keep)).get("/me").await;
                client.at(&app(&fresh)).get("/counted").await.body == counted.to_string()
            })
            .await;
        }
        let ended = self.mix.ended.lock().expect("no panic while held").clone();
        for keep in [&self.keep, &fresh] {
            for stolen in &ended {
                let answer = stolen.at(&app(keep)).get("/me").await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}: alive after a logout", self.name);
            }
        }
    }
}

/// All answers are right, and nobody waited; what is remembered of them.
pub(crate) fn judge_answers(name: &str, report: &Report<Judged>, figures: &Figures) -> Vec<Seen> {
    let wrong: Vec<_> = report.samples().iter().filter_map(|sample| sample.outcome.as_ref().err()).collect();
    assert!(wrong.is_empty(), "{name}: {} wrong, first: {:?}", wrong.len(), &wrong[..wrong.len().min(3)]);
    let (number, due) = figures.slowest;
    assert!(figures.worst < WORST, "{name}: request {number}, due after {due:?}, waited {:?}", figures.worst);
    report.samples().iter().filter_map(|sample| sample.outcome.clone().ok()).collect()
}

/// An instance that has just started, knows nothing of its own, and has patience with this machine.
pub(crate) async fn fresh(url: &str) -> Keep {
    let keep = Keep::builder().redis(url).deadline(Duration::from_millis(500)).budget(Duration::from_secs(1));
    let keep = keep.build().expect("a valid url");
    assert!(keep.ready(Duration::from_secs(10)).await, "redis at {url} was not reached");
    keep
}
