//! What a case measures, and how it is printed.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;
use towerkeep::{Keep, Status};

use super::mix::Judged;
use crate::support::load::Report;

/// The figures of one case.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) requests: usize,
    pub(super) failures: usize,
    /// The longest that a request took from when the load began it.
    pub(super) worst: Duration,
    /// How long the fault was there before its first sign in `keep.status()`.
    pub(super) to_open: Option<Duration>,
    /// From the end of the fault until Redis was used again.
    pub(super) to_recover: Option<Duration>,
    /// How often Redis was given up while the fault was there.
    pub(super) openings: usize,
}

impl Figures {
    pub(super) fn of(report: &Report<Judged>, watch: &Watch) -> Self {
        let samples = report.samples();
        Self {
            requests: samples.len(),
            failures: samples.iter().filter(|sample| sample.outcome.is_err()).count(),
            worst: samples.iter().map(|sample| sample.latency.saturating_sub(sample.lag)).max().expect("some"),
            to_open: watch.to_open(),
            to_recover: watch.to_recover(),
            openings: watch.times(Status::Down),
        }
    }

    #[track_caller]
    pub(super) fn noticed_within(&self, millis: u64) {
        assert!(self.to_open.is_some_and(|time| time < Duration::from_millis(millis)), "{self:?}");
    }

    #[track_caller]
    pub(super) fn recovered_within(&self, millis: u64) {
        // Without a figure it was back before the case could say that the fault is over.
        assert!(self.to_recover.is_none_or(|time| time < Duration::from_millis(millis)), "{self:?}");
    }

    /// One line, read by `./check outages`.
    pub(super) fn print(&self, name: &str) {
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

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1_000.0)
}

/// Notes every change of a keep's status, and when the fault began and ended.
pub(super) struct Watch {
    changes: Arc<Mutex<Vec<(Instant, Status)>>>,
    marks: Mutex<(Option<Instant>, Option<Instant>)>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(super) fn start(keep: &Keep) -> Self {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let (noted, keep, mut last) = (Arc::clone(&changes), keep.clone(), keep.status());
        let task = tokio::spawn(async move {
            loop {
                let now = keep.status();
                if now != last {
                    noted.lock().expect("no panic while held").push((Instant::now(), now));
                    last = now;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Self { changes, marks: Mutex::default(), task }
    }

    /// The fault begins now.
    pub(super) fn broken(&self) {
        self.marks.lock().expect("no panic while held").0 = Some(Instant::now());
    }

    /// The fault ends now.
    pub(super) fn healed(&self) {
        self.marks.lock().expect("no panic while held").1 = Some(Instant::now());
    }

    /// How often this status came while the fault was there: before and after it this machine may stall as it likes.
    pub(super) fn times(&self, wanted: Status) -> usize {
        let (began, ended) = *self.marks.lock().expect("no panic while held");
        let is_within = |at: Instant| began.is_none_or(|began| at >= began) && ended.is_none_or(|ended| at <= ended);
        self.changes().into_iter().filter(|(at, status)| *status == wanted && is_within(*at)).count()
    }

    pub(super) fn to_open(&self) -> Option<Duration> {
        let began = self.marks.lock().expect("no panic while held").0?;
        let noticed = self.changes().into_iter().find(|(at, status)| *at >= began && *status != Status::Up)?;
        Some(noticed.0 - began)
    }

    pub(super) fn to_recover(&self) -> Option<Duration> {
        let ended = self.marks.lock().expect("no panic while held").1?;
        let back = self.changes().into_iter().find(|(at, status)| *at >= ended && *status == Status::Up)?;
        Some(back.0 - ended)
    }

    /// What it became, and when.
    pub(super) fn changes(&self) -> Vec<(Instant, Status)> {
        self.changes.lock().expect("no panic while held").clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
