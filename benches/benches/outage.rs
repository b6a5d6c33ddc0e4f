//! What an outage costs at 2,000 requests a second: how many requests feel it and how much, what a request costs while Redis is
//! away, and how soon Redis is in use again. Ends with an error when a bound is broken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::Path, routing::get};
use http::{Request, StatusCode, header};
use tower::ServiceExt;
use towerkeep::{Keep, PeerAddr, Status};
use towerkeep_benches::{
    RedisServer,
    support::{FaultProxy, Load, Mode, load::Sample},
};

#[path = "../../tests/outage/app.rs"]
#[allow(dead_code, unreachable_pub, reason = "the outage tests use more of it")]
mod app;
use app::{Client, app, page};

const RATE: u32 = 2_000;
/// The default deadline of an operation.
const DEADLINE: Duration = Duration::from_millis(25);
/// Those that were under way when it began wait for their deadline, and ten more.
const AFFECTED: usize = (RATE as u128 * DEADLINE.as_millis() / 1_000) as usize + 10;
/// A request that takes this much longer than the 99th percentile before the fault has felt it.
const FELT: Duration = Duration::from_millis(5);
/// What a request may cost more while Redis is away than with a keep in memory.
const COST: Duration = Duration::from_micros(5);
/// From when the server answers PING until `keep.status()` is up.
const BACK: Duration = Duration::from_millis(500);

const ROUNDS: usize = 5;
const RESTARTS: usize = 12;
const USERS: usize = 20;
const CALM: Duration = Duration::from_millis(800);
const LENGTH: Duration = Duration::from_millis(2_000);

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn middle<T: Copy + Ord>(values: &[T]) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// The table of bounds.
#[derive(Default)]
struct Table {
    lines: Vec<String>,
    broken: usize,
}

impl Table {
    fn line(&mut self, what: &str, bound: &str, measured: &str, holds: bool) {
        self.broken += usize::from(!holds);
        self.lines.push(format!("{what:<58} {bound:>22} {measured:>26}  {}", if holds { "holds" } else { "BROKEN" }));
    }

    fn note(&mut self, what: &str, measured: &str) {
        self.lines.push(format!("{what:<58} {:>22} {measured:>26}", "-"));
    }
}

/// How late sleepers of a millisecond are, one on a thread of its own and one in the runtime: this machine's own stalls, which
/// every request would meet, too.
struct Control {
    is_over: Arc<AtomicBool>,
    thread: Arc<AtomicU64>,
    task: Arc<AtomicU64>,
}

const NAP: Duration = Duration::from_millis(1);

impl Control {
    fn start() -> Self {
        let (is_over, thread, task) = (Arc::<AtomicBool>::default(), Arc::default(), Arc::default());
        let (over, worst): (_, Arc<AtomicU64>) = (Arc::clone(&is_over), Arc::clone(&thread));
        std::thread::spawn(move || {
            while !over.load(Relaxed) {
                let began = Instant::now();
                std::thread::sleep(NAP);
                worst.fetch_max(late(began), Relaxed);
            }
        });
        let (over, worst): (_, Arc<AtomicU64>) = (Arc::clone(&is_over), Arc::clone(&task));
        tokio::spawn(async move {
            while !over.load(Relaxed) {
                let began = Instant::now();
                tokio::time::sleep(NAP).await;
                worst.fetch_max(late(began), Relaxed);
            }
        });
        Self { is_over, thread, task }
    }

    /// The worst since this was last asked, of thread and task.
    fn take(&self) -> (Duration, Duration) {
        let take = |worst: &AtomicU64| Duration::from_micros(worst.swap(0, Relaxed));
        (take(&self.thread), take(&self.task))
    }
}

fn late(began: Instant) -> u64 {
    u64::try_from((began.elapsed() - NAP).as_micros()).expect("soon")
}

impl Drop for Control {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
    }
}

/// The requests of users in turn: a session, a limit, a cached page.
async fn ask(mut client: Client, number: u64) -> bool {
    let answer = match number % 3 {
        0 => client.get("/me").await,
        1 => client.get("/plenty").await,
        _ => client.get(&format!("/page/{}", number % 7)).await,
    };
    answer.status == StatusCode::OK
}

struct Instance {
    keep: Keep,
    users: Vec<Client>,
}

impl Instance {
    async fn start(url: &str) -> Self {
        let keep = app::keep(url).await;
        let router = app(&keep);
        let mut users = Vec::new();
        for user in 0..USERS as u64 {
            users.push(Client::logged_in(&router, user).await);
        }
        Self { keep, users }
    }

    async fn is(&self, status: Status) {
        while self.keep.status() != status {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Stop,
    BlackHole,
}

impl Fault {
    const ALL: [(Self, &str); 3] = [(Self::Kill, "kill -9"), (Self::Stop, "SIGSTOP"), (Self::BlackHole, "black hole")];
}

/// What a fault did to the load of one round.
struct Round {
    failed: usize,
    /// How long the requests took that were there during the fault.
    times: Vec<Duration>,
    worst: Duration,
    /// The 99th percentile before the fault.
    calm: Duration,
    to_open: Duration,
    thread: Duration,
    task: Duration,
}

fn own_time(sample: &Sample<bool>) -> Duration {
    sample.latency.saturating_sub(sample.lag)
}

async fn round(fault: Fault) -> Round {
    let mut server = RedisServer::start();
    let proxy = FaultProxy::start(server.address()).await;
    let instance = Instance::start(&if fault == Fault::BlackHole { proxy.url() } else { server.url() }).await;
    let users = instance.users.clone();
    let control = Control::start();
    let began = Instant::now();
    let load = Load::new(RATE, LENGTH).run(move |number| ask(users[number as usize % USERS].clone(), number));
    let load = tokio::spawn(load);
    tokio::time::sleep(CALM).await;
    control.take();
    let (broken, at) = (began.elapsed(), Instant::now());
    match fault {
        Fault::Kill => tokio::task::block_in_place(|| server.kill()),
        Fault::Stop => server.freeze(),
        Fault::BlackHole => proxy.set(Mode::Hold),
    }
    instance.is(Status::Down).await;
    let to_open = at.elapsed();
    let report = load.await.expect("the load ends");
    let (thread, task) = control.take();
    let mut calm: Vec<_> = report.between(CALM / 4, CALM * 7 / 8).map(own_time).collect();
    calm.sort_unstable();
    let calm = calm[calm.len() * 99 / 100];
    // Those that were under way count, too.
    let during: Vec<_> = report.between(broken.saturating_sub(2 * DEADLINE), LENGTH).collect();
    let failed = during.iter().filter(|sample| !sample.outcome).count();
    let times: Vec<_> = during.iter().filter(|sample| sample.outcome).map(|sample| own_time(sample)).collect();
    let worst = *times.iter().max().expect("some");
    Round { failed, times, worst, calm, to_open, thread, task }
}

async fn faults(table: &mut Table) {
    for (fault, name) in Fault::ALL {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(round(fault).await);
        }
        // The median of the rounds, because a round in which the machine was busy before the fault would hide what is felt.
        let calm = middle(&rounds.iter().map(|round| round.calm).collect::<Vec<_>>());
        let felt = |round: &Round| round.failed + round.times.iter().filter(|time| **time > calm + FELT).count();
        for round in &rounds {
            println!(
                "{name:<12} affected {:>3}  failed {}  worst {:>6.2} ms  calm p99 {:>5.2} ms  open after {:>6.2} ms  stalls {:>5.2} ms \
                 (thread), {:>5.2} ms (task)",
                felt(round),
                round.failed,
                millis(round.worst),
                millis(round.calm),
                millis(round.to_open),
                millis(round.thread),
                millis(round.task),
            );
        }
        let affected: Vec<_> = rounds.iter().map(felt).collect();
        let most = *affected.iter().max().expect("some");
        let shown = format!("{} (worst {most})", middle(&affected));
        table.line(&format!("{name}: requests that felt it"), &format!("<= {AFFECTED}"), &shown, most <= AFFECTED);
        let failed: usize = rounds.iter().map(|round| round.failed).sum();
        table.line(&format!("{name}: requests that failed"), "0", &failed.to_string(), failed == 0);
        let over = |round: &Round| round.worst.saturating_sub(round.thread.max(round.task));
        let worst = rounds.iter().max_by_key(|round| over(round)).expect("some");
        let stall = worst.thread.max(worst.task);
        let bound = format!("<= {} ms + stall", DEADLINE.as_millis());
        let shown = format!("{:.1} ms, stall {:.1}", millis(worst.worst), millis(stall));
        table.line(&format!("{name}: the longest wait"), &bound, &shown, worst.worst <= DEADLINE + stall);
        let opened: Vec<_> = rounds.iter().map(|round| round.to_open).collect();
        let most = opened.iter().max().expect("some");
        let shown = format!("{:.1} ms (worst {:.1})", millis(middle(&opened)), millis(*most));
        table.note(&format!("{name}: until Redis is given up"), &shown);
    }
}

/// A router, and the cookie of a user of its.
struct Contender {
    name: &'static str,
    router: Router,
    cookie: String,
    rounds: Vec<Duration>,
}

const COST_ROUNDS: usize = 31;
const PER_ROUND: u32 = 3_000;

impl Contender {
    async fn new(name: &'static str, keep: &Keep) -> Self {
        let router = app(keep);
        let cookie = Client::logged_in(&router, 7).await.cookie.expect("logged in");
        Self { name, router, cookie, rounds: Vec::new() }
    }

    fn request(&self, number: u32) -> Request<Body> {
        let path = ["/me", "/plenty", "/page/3"][number as usize % 3];
        let request = Request::get(path).header(header::HOST, "a.example").header(header::COOKIE, &self.cookie);
        let mut request = request.body(Body::empty()).expect("a request");
        // Enough clients that the limit never ends.
        let [_, a, b, c] = number.to_be_bytes();
        request.extensions_mut().insert(PeerAddr(([10, a, b, c], 9).into()));
        request
    }

    async fn round(&mut self, from: u32) {
        let requests: Vec<_> = (from..from + PER_ROUND).map(|number| self.request(number)).collect();
        let began = Instant::now();
        for request in requests {
            let response = self.router.clone().oneshot(request).await.expect("infallible");
            assert_eq!(response.status(), StatusCode::OK, "{}", self.name);
            axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        }
        self.rounds.push(began.elapsed() / PER_ROUND);
    }
}

async fn costs(table: &mut Table) {
    let (up, mut gone) = (RedisServer::start(), RedisServer::start());
    let (keep_up, keep_gone, in_memory) = (app::keep(&up.url()).await, app::keep(&gone.url()).await, Keep::in_memory());
    let bare = Router::new()
        .route("/me", get(async || "7"))
        .route("/plenty", get(async || "ok"))
        .route("/page/{n}", get(async |Path(n): Path<u64>| page(n)));
    let mut all = vec![
        Contender { name: "the handlers alone", router: bare, cookie: "a=b".into(), rounds: Vec::new() },
        Contender::new("Keep::in_memory()", &in_memory).await,
        Contender::new("Redis up", &keep_up).await,
        Contender::new("Redis away", &keep_gone).await,
    ];
    gone.kill();
    while keep_gone.status() != Status::Down {
        Client::new(&all[3].router, 9).get("/plenty").await;
    }
    for round in 0..COST_ROUNDS as u32 {
        for contender in &mut all {
            contender.round(round * 7).await;
        }
    }
    assert_eq!((keep_up.status(), keep_gone.status()), (Status::Up, Status::Down));
    println!();
    for contender in &all {
        let (own, least) = (middle(&contender.rounds), contender.rounds.iter().min().expect("some"));
        println!("{:<22} {:>7.2} us a request (best round {:.2})", contender.name, micros(own), micros(*least));
    }
    let more: Vec<_> =
        all[3].rounds.iter().zip(&all[1].rounds).map(|(away, memory)| away.saturating_sub(*memory)).collect();
    let more = middle(&more);
    let bound = format!("<= {} us", COST.as_micros());
    table.line(
        "a request while Redis is away, over one in memory",
        &bound,
        &format!("{:.2} us", micros(more)),
        more <= COST,
    );
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Kills the server, and starts it again after a while; how long after its first PONG it was in use.
async fn restart(mut server: RedisServer, instance: &Instance, away: Duration) -> (RedisServer, Duration) {
    tokio::task::block_in_place(|| server.kill());
    let mut user = instance.users[0].clone();
    while instance.keep.status() != Status::Down {
        user.get("/me").await;
    }
    tokio::time::sleep(away).await;
    let launching = tokio::task::spawn_blocking(move || {
        server.launch();
        (server, Instant::now())
    });
    let (server, answers) = launching.await.expect("it starts");
    let control = Control::start();
    instance.is(Status::Up).await;
    let (back, (thread, task)) = (answers.elapsed(), control.take());
    if back > BACK {
        println!(
            "back after {:.0} ms beside stalls of {:.1} ms (thread), {:.1} ms (task)",
            millis(back),
            millis(thread),
            millis(task)
        );
    }
    assert_eq!(user.get("/me").await.body, "0", "still logged in");
    (server, back)
}

/// Each of an instance of its own, and then once more: one whose Redis comes and goes within ten seconds asks for twice the proof.
async fn restarts(table: &mut Table) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for n in 0..RESTARTS {
        let server = RedisServer::start();
        let instance = Instance::start(&server.url()).await;
        // Every moment between two tries, not always the same one.
        let away = Duration::from_millis(300 + n as u64 * 67);
        let (server, back) = restart(server, &instance, away).await;
        first.push(back);
        second.push(restart(server, &instance, away).await.1);
    }
    for (what, backs) in [("in use again", &first), ("the same, once more within 10 s", &second)] {
        println!("\n{what} after {:?} ms", backs.iter().map(|back| millis(*back).round()).collect::<Vec<_>>());
    }
    let most = |backs: &[Duration]| *backs.iter().max().expect("some");
    let shown = |backs: &[Duration]| format!("{:.0} ms (worst {:.0})", millis(middle(backs)), millis(most(backs)));
    let (what, bound) = (format!("in use again, {RESTARTS} restarts"), format!("<= {} ms", BACK.as_millis()));
    table.line(&what, &bound, &shown(&first), most(&first) <= BACK);
    table.note("the same, once more within 10 s", &shown(&second));
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut table = Table::default();
    println!(
        "{RATE} requests a second of {USERS} users: a session, a limit and a cached page in turn. A request has felt a fault if it failed,\n\
         or took over {} ms longer than the 99th percentile before it (the median of {ROUNDS} rounds), not counting what the load was late.\n",
        FELT.as_millis()
    );
    faults(&mut table).await;
    costs(&mut table).await;
    restarts(&mut table).await;
    println!("\n{:<58} {:>22} {:>26}", "", "bound", "measured");
    table.lines.iter().for_each(|line| println!("{line}"));
    if table.broken > 0 {
        println!("\n{} bounds are broken", table.broken);
        std::process::exit(1);
    }
}
