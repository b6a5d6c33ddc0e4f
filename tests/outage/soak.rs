//! Faults that nobody thought of together: drawn from a number, under a load of everything on two instances.
//!
//! `TOWERKEEP_SEED=n` repeats the faults of that number; when exactly each request falls into them is not repeated.

mod schedule;
mod side;
mod suffer;

use std::{
    env,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::sleep,
};
use towerkeep::{Status, counter::Counter};

use self::{schedule::Schedule, side::Side, suffer::suffer};
use crate::{
    app::{Client, app, keep},
    churn::{Ended, Lives, judge, live},
    faults::{
        case::{fresh, judge_answers},
        figures::{Figures, Watch},
        mix::{Judged, Seen},
    },
    limits::all_have_beaten,
    support::{
        FaultProxy, RedisServer, eventually,
        load::{Load, Report},
    },
    turns::alone,
};

/// Requests a second on each instance, beside those of the users who live there.
const RATE: u32 = 150;
/// Requests a second for pages that either instance may fill for both.
const PAGES: u32 = 30;
/// How long a request may take whose page the other instance has begun to fill, and then perhaps was cut off: two seconds, as the book has
/// it, and what it may wait for Redis.
const PATIENCE: Duration = Duration::from_millis(2_200);
/// Users who log in and out, half of them on each instance.
const USERS: u64 = 12;
/// Sessions that are in use on both instances, and never end.
const ROAMERS: usize = 10;
/// Clients of `/hour`, and its limit.
const GUESTS: usize = 20;
const LIMIT: usize = 8;

/// Two instances on one server that keeps what it has on its disk.
struct Soak {
    server: RedisServer,
    sides: [Arc<Side>; 2],
    users: JoinSet<Result<Lives, String>>,
    stop: Arc<AtomicBool>,
    added: Arc<AtomicI64>,
}

impl Soak {
    async fn start(pause: Duration) -> Self {
        // Without waiting for the disk: what a process has written outlives it.
        let server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "no"]);
        let added = Arc::new(AtomicI64::new(0));
        let (mut sides, mut roamers) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let proxy = FaultProxy::start(server.address()).await;
            let keep = keep(&proxy.url()).await;
            let router = app(&keep);
            if roamers.is_empty() {
                for user in 0..ROAMERS as u64 {
                    roamers.push(Client::logged_in(&router, user).await);
                }
            }
            let roamers: Vec<_> = roamers.iter().map(|roamer| roamer.at(&router)).collect();
            for roamer in &roamers {
                assert_eq!(roamer.clone().get("/me").await.status, StatusCode::OK);
            }
            let first_page = 10 * sides.len() as u64;
            let guests = (0..GUESTS).map(|guest| Client::new(&router, 100 + u8::try_from(guest).expect("small")));
            let (guests, added) = (guests.collect(), Arc::clone(&added));
            sides.push(Arc::new(Side { keep, proxy, roamers, guests, first_page, ended: Ended::default(), added }));
        }
        all_have_beaten(&server, 2).await;
        let (stop, mut users) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for user in 100..100 + USERS {
            let side = &sides[usize::try_from(user % 2).expect("small")];
            let client = Client::new(&app(&side.keep), u8::try_from(user).expect("small"));
            users.spawn(live(client, user, pause, Arc::clone(&side.ended), Arc::clone(&stop)));
        }
        let sides = <[_; 2]>::try_from(sides).unwrap_or_else(|_| unreachable!("two were made"));
        Self { server, sides, users, stop, added }
    }
}

/// How long an instance may take to use Redis again: two seconds, and the proof that is asked for after it was given up several times,
/// each within ten seconds of the last recovery: twice as many probes each time, up to 48.
fn patience(watch: &Watch) -> Duration {
    const FLAPPING: Duration = Duration::from_secs(10);
    let (mut probes, mut writes, mut last) = (0, 0, None::<(Instant, Status)>);
    for (at, status) in watch.changes() {
        let is_soon = last.is_some_and(|(up, _)| at - up < FLAPPING);
        match status {
            Status::Down => probes = if is_soon { (probes.max(3) * 2).min(48) } else { 3 },
            Status::Degraded => writes = if is_soon { (writes.max(1) * 2).min(48) } else { 1 },
            _ => last = Some((at, status)),
        }
    }
    Duration::from_secs(2) + (Duration::from_millis(60) * probes).max(Duration::from_millis(260) * writes)
}

/// Says how to repeat what failed.
struct Seed(u64);

impl Seed {
    /// Of the environment, else this one, else a new one.
    fn of(fixed: Option<u64>) -> Self {
        let asked = env::var("TOWERKEEP_SEED").ok().map(|seed| seed.parse().expect("TOWERKEEP_SEED is a number"));
        Self(asked.or(fixed).unwrap_or_else(|| RandomState::new().hash_one(0)))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("TOWERKEEP_SEED={} repeats these faults", self.0);
        }
    }
}

/// Sends so many requests a second until it is told to stop.
fn load<F: Future<Output = Judged> + Send + 'static>(
    rate: u32,
    stop: &Arc<AtomicBool>,
    side: &Arc<Side>,
    send: impl Fn(Arc<Side>, u64) -> F + Send + 'static,
) -> JoinHandle<Report<Judged>> {
    let (stop, side) = (Arc::clone(stop), Arc::clone(side));
    let load = Load::new(rate, Duration::from_secs(600));
    tokio::spawn(load.run_unless(move || stop.load(Relaxed), move |number| send(Arc::clone(&side), number)))
}

/// Passes when, whatever comes together:
///
/// 1. Nobody is answered 5xx but with the 503 of a policy that says `Deny`.
/// 2. Who is logged in stays so, on the instance where it was seen; who logs out is out there at once and for good, and once all is over
///    everywhere.
/// 3. What was added in a session counts once; where both instances add to one session, and Redis loses its data, at most once.
/// 4. Redis admits no more than a limit, once more for each loss of its data; an instance alone no more than the limit.
/// 5. What is added to a counter counts at most once, and exactly once where Redis has lost nothing.
/// 6. A cached body is the handler's, and no request waits longer than its budget.
/// 7. Both instances use Redis again two seconds after the last fault, or when the proof that flapping asks for is made.
async fn soak(name: &str, seed: Seed, each: usize, (pause, length): (Duration, Duration), users_pause: Duration) {
    let _turn = alone().await;
    let schedule = Schedule::draw(seed.0, each, pause, length);
    println!("{name}: TOWERKEEP_SEED={}\n{schedule}", seed.0);
    let mut soak = Soak::start(users_pause).await;
    let watches = soak.sides.each_ref().map(|side| Watch::start(&side.keep));
    let began = Instant::now();
    let loads = soak
        .sides
        .each_ref()
        .map(|side| (load(RATE, &soak.stop, side, Side::send), load(PAGES, &soak.stop, side, Side::shared_page)));
    sleep(Duration::from_millis(300)).await;
    watches.iter().for_each(Watch::broken);
    let proxies = soak.sides.each_ref().map(|side| &side.proxy);
    suffer(&mut soak.server, proxies, &schedule).await;
    watches.iter().for_each(Watch::healed);
    let healed = Instant::now();
    for (side, watch) in soak.sides.iter().zip(&watches) {
        let patience = patience(watch);
        while side.keep.status() != Status::Up && healed.elapsed() < patience {
            sleep(Duration::from_millis(5)).await;
        }
        let took = healed.elapsed();
        assert!(
            took < patience,
            "{name}: redis is used again after {took:?}, not within {patience:?}: {:?}",
            watch.changes()
        );
    }
    sleep(Duration::from_millis(500)).await;
    soak.stop.store(true, Relaxed);
    let mut seen = Vec::new();
    for ((load, pages), watch) in loads.into_iter().zip(&watches) {
        let report = load.await.expect("the load ends");
        let figures = Figures { to_open: None, ..Figures::of(&report, watch, began) };
        figures.print(name);
        seen.push(judge_answers(name, &report, &figures));
        let pages = pages.await.expect("the load ends");
        let wrong =
            pages.samples().iter().find(|sample| sample.outcome.is_err() || sample.latency - sample.lag > PATIENCE);
        assert!(wrong.is_none(), "{name}: {wrong:?}");
    }
    soak.judge(name, &schedule, &seen).await;
}

impl Soak {
    async fn judge(self, name: &str, schedule: &Schedule, seen: &[Vec<Seen>]) {
        for user in 0..GUESTS {
            let of = |seen: &[Seen], is_local| {
                seen.iter().filter(|seen| **seen == Seen::Admitted { user, is_local }).count()
            };
            let shared: usize = seen.iter().map(|seen| of(seen, false)).sum();
            let bound = LIMIT * (1 + schedule.losses());
            assert!(shared <= bound, "{name}: redis admitted {shared} of guest {user}, not {bound}");
            for seen in seen {
                assert!(
                    of(seen, true) <= LIMIT,
                    "{name}: an instance alone admitted {} of guest {user}",
                    of(seen, true)
                );
            }
        }
        let keeps = self.sides.each_ref().map(|side| &side.keep);
        let ended = self.sides.iter().flat_map(|side| side.ended.lock().expect("no panic while held").clone());
        let (_, logouts) = judge(name, &self.server, keeps, self.users.join_all().await, ended.collect()).await;
        assert!(logouts > 20, "{name}: a load of nothing");
        let third = fresh(&self.server.url()).await;
        let router = app(&third);
        let mut lost = 0;
        for (user, roamer) in self.sides[0].roamers.iter().enumerate() {
            for keep in keeps {
                assert_eq!(roamer.at(&app(keep)).get("/me").await.body, user.to_string(), "{name}: lost a session");
            }
            let counted = seen.iter().flatten().filter(|seen| **seen == Seen::Counted { user }).count();
            let mut stored = 0;
            eventually(&format!("{name}: roamer {user} has counted {counted}"), async || {
                for keep in keeps {
                    roamer.at(&app(keep)).get("/me").await;
                }
                stored = roamer.at(&router).get("/counted").await.body.parse().expect("a number");
                // What an instance alone added to an older state than another one knew is lost with the server's data.
                stored == counted || schedule.losses() > 0 && stored < counted
            })
            .await;
            lost += counted - stored;
        }
        println!("{name}: {lost} changes were lost with {} losses of data", schedule.losses());
        for keep in keeps {
            keep.counters().flush().await.expect("up");
        }
        let (total, added) =
            (third.counters().get(&Counter::of("adds", 1)).await.expect("up"), self.added.load(Relaxed));
        let is_right = if schedule.losses() == 0 { total == added } else { total <= added };
        assert!(is_right, "{name}: {total} counted of {added} that were added");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drawn_faults_for_a_few_seconds() {
    let (pause, length) = (Duration::from_millis(700), Duration::from_millis(900));
    soak("drawn faults", Seed::of(Some(1)), 5, (pause, length), Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes some 70 seconds; ./check outages runs it"]
async fn drawn_faults_for_a_minute() {
    let (pause, length) = (Duration::from_millis(3_000), Duration::from_millis(3_000));
    soak("drawn faults for a minute", Seed::of(None), 18, (pause, length), Duration::from_millis(80)).await;
}
