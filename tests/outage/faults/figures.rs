//! What a case measures, and how it is printed.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;
use towerkeep::{Keep, Status};

use super::mix::Judged;
use crate::support::load::{Report, Sample};

/// A request of that long before the fault may not have been answered when it came.
const UNDER_WAY: Duration = Duration::from_millis(50);
/// A request that takes this much longer than nearly all before the fault has felt it.
const FELT: Duration = Duration::from_millis(5);
/// What the load needs to get going.
const WARM: Duration = Duration::from_millis(100);
/// The default deadline of an operation.
const DEADLINE: Duration = Duration::from_millis(25);

/// The figures of one case.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) requests: usize,
    pub(crate) failures: usize,
    /// The longest that a request took from when the load began it.
    pub(crate) worst: Duration,
    /// Which request that was, and when it was due.
    pub(crate) slowest: (usize, Duration),
    /// How long the fault was there before its first sign in `keep.status()`.
    pub(crate) to_open: Option<Duration>,
    /// From the end of the fault until Redis was used again.
    pub(crate) to_recover: Option<Duration>,
    /// How often Redis was given up while the fault was there.
    pub(crate) openings: usize,
    /// How many requests felt the fault at all.
    pub(crate) felt: usize,
    /// How long the task that watches slept over at most while the fault was there: this machine's own stalls.
    pub(crate) stall: Duration,
}

impl Figures {
    /// Of a load that began at `began`.
    pub(crate) fn of(report: &Report<Judged>, watch: &Watch, began: Instant) -> Self {
        let samples = report.samples();
        let (slowest, worst) = samples.iter().map(own).enumerate().max_by_key(|(_, took)| *took).expect("some");
        Self {
            requests: samples.len(),
            failures: samples.iter().filter(|sample| sample.outcome.is_err()).count(),
            worst,
            slowest: (slowest, samples[slowest].due),
            to_open: watch.to_open(),
            to_recover: watch.to_recover(),
            openings: watch.times(Status::Down),
            felt: felt(report, watch, began),
            stall: watch.stall(),
        }
    }

    #[track_caller]
    pub(crate) fn noticed_within(&self, millis: u64) {
        assert!(self.to_open.is_some_and(|time| time < Duration::from_millis(millis)), "{self:?}");
    }

    /// Passes when no more requests felt the fault than are begun within one deadline, and ten; and within a stall, which everybody
    /// feels.
    #[track_caller]
    pub(super) fn felt_by_few(&self, rate: u32) {
        let most = (DEADLINE + self.stall).mul_f64(f64::from(rate)).as_secs_f64() as usize + 10;
        println!("{} requests felt it, of {most} at most; a stall of {} ms", self.felt, millis(self.stall));
        assert!(self.felt <= most, "{} requests felt it, of {most} at most: {self:?}", self.felt);
    }

    #[track_caller]
    pub(crate) fn recovered_within(&self, millis: u64) {
        // Without a figure it was back before the case could say that the fault is over.
        assert!(self.to_recover.is_none_or(|time| time < Duration::from_millis(millis)), "{self:?}");
    }

    /// One line, read by `./check outages`.
    pub(crate) fn print(&self, name: &str) {
        let shown = |time: Option<Duration>| time.map_or("-".to_owned(), millis);
        println!(
            "figures | {name} | {} | {} | {} | {} | {} | {}",
            self.requests,
            self.failures,
            millis(self.worst),
            shown(self.to_open),
            shown(self.to_recover),
            self.openings,
        );
    }
}

/// What a request took, not counting what the load was late.
fn own(sample: &Sample<Judged>) -> Duration {
    sample.latency.saturating_sub(sample.lag)
}

/// How many requests failed, or took [`FELT`] longer than the 99th percentile before the fault: of those that were under way when it
/// came, and those of its time.
fn felt(report: &Report<Judged>, watch: &Watch, began: Instant) -> usize {
    let Some(broken) = watch.began().map(|at| at - began) else { return 0 };
    let mut calm: Vec<_> = report.between(WARM, broken.saturating_sub(UNDER_WAY)).map(own).collect();
    calm.sort_unstable();
    let usual = calm.get(calm.len() * 99 / 100).copied().unwrap_or_default();
    let healed = watch.ended().map_or(Duration::MAX, |at| at - began);
    let during = report.between(broken.saturating_sub(UNDER_WAY), healed);
    during.filter(|sample| sample.outcome.is_err() || own(sample) > usual + FELT).count()
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1_000.0)
}

/// How often it looks.
const EVERY: Duration = Duration::from_millis(1);

/// Notes every change of a keep's status, and when the fault began and ended.
pub(crate) struct Watch {
    changes: Arc<Mutex<Vec<(Instant, Status)>>>,
    /// When it slept over, and for how long.
    stalls: Arc<Mutex<Vec<(Instant, Duration)>>>,
    marks: Mutex<(Option<Instant>, Option<Instant>)>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn start(keep: &Keep) -> Self {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let stalls = Arc::new(Mutex::new(Vec::new()));
        let (noted, slept, keep, mut last) = (Arc::clone(&changes), Arc::clone(&stalls), keep.clone(), keep.status());
        let task = tokio::spawn(async move {
            let mut before = Instant::now();
            loop {
                let gap = before.elapsed().saturating_sub(EVERY);
                if gap > EVERY * 2 {
                    slept.lock().expect("no panic while held").push((Instant::now(), gap));
                }
                before = Instant::now();
                let now = keep.status();
                if now != last {
                    noted.lock().expect("no panic while held").push((Instant::now(), now));
                    last = now;
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { changes, stalls, marks: Mutex::default(), task }
    }

    /// The fault begins now.
    pub(crate) fn broken(&self) {
        self.marks.lock().expect("no panic while held").0 = Some(Instant::now());
    }

    /// The fault ends now.
    pub(crate) fn healed(&self) {
        self.marks.lock().expect("no panic while held").1 = Some(Instant::now());
    }

    pub(super) fn began(&self) -> Option<Instant> {
        self.marks.lock().expect("no panic while held").0
    }

    pub(super) fn ended(&self) -> Option<Instant> {
        self.marks.lock().expect("no panic while held").1
    }

    /// The longest stall while the fault was there.
    pub(super) fn stall(&self) -> Duration {
        let (began, ended) = (self.began(), self.ended());
        let stalls = self.stalls.lock().expect("no panic while held");
        let is_within = |at: Instant| began.is_none_or(|began| at >= began) && ended.is_none_or(|ended| at <= ended);
        stalls.iter().filter(|(at, _)| is_within(*at)).map(|(_, gap)| *gap).max().unwrap_or_default()
    }

    /// How often this status came while the fault was there: before and after it this machine may stall as it likes.
    pub(crate) fn times(&self, wanted: Status) -> usize {
        let (began, ended) = *self.marks.lock().expect("no panic while held");
        let is_within = |at: Instant| began.is_none_or(|began| at >= began) && ended.is_none_or(|ended| at <= ended);
        self.changes().into_iter().filter(|(at, status)| *status == wanted && is_within(*at)).count()
    }

    pub(crate) fn to_open(&self) -> Option<Duration> {
        let began = self.marks.lock().expect("no panic while held").0?;
        let noticed = self.changes().into_iter().find(|(at, status)| *at >= began && *status != Status::Up)?;
        Some(noticed.0 - began)
    }

    pub(crate) fn to_recover(&self) -> Option<Duration> {
        let ended = self.marks.lock().expect("no panic while held").1?;
        let back = self.changes().into_iter().find(|(at, status)| *at >= ended && *status == Status::Up)?;
        Some(back.0 - ended)
    }

    /// What it became, and when.
    pub(crate) fn changes(&self) -> Vec<(Instant, Status)> {
        self.changes.lock().expect("no panic while held").clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
