//! Sessions over HTTP: requests per second and the server's CPU, towerkeep beside tower-sessions and no layer at all.
//!
//! Each contender is a process of its own, with one thread, so that a request's cost shows in both figures. 32 connections, each
//! with a session of its own, ask as fast as they are answered, in alternated rounds.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use towerkeep_benches::{
    RedisServer,
    session_apps::{floor, ours, theirs},
};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 32;
/// The unit of `/proc/{pid}/stat`: USER_HZ, which is 100 wherever Linux runs.
const TICKS: f64 = 100.0;

/// A server in a process of its own; killed when dropped.
struct Contender {
    label: &'static str,
    process: Child,
    port: u16,
    /// A session for each connection.
    cookies: Vec<String>,
    rounds: Vec<Round>,
}

#[derive(Clone, Copy)]
struct Round {
    per_second: f64,
    cpu_micros: f64,
}

impl Contender {
    async fn start(label: &'static str, which: &str, redis: &str) -> Self {
        let this = std::env::current_exe().expect("this bench");
        let mut process =
            Command::new(this).args(["serve", which, redis]).stdout(Stdio::piped()).spawn().expect("a process");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let port = line.trim().parse().expect("a port");
        let mut contender = Self { label, process, port, cookies: Vec::new(), rounds: Vec::new() };
        for _ in 0..CONNECTIONS {
            contender.cookies.push(contender.fill().await);
        }
        contender
    }

    async fn fill(&self) -> String {
        let mut connection = self.connect().await;
        let answer = connection.ask(request("/fill", "").as_bytes()).await;
        let answer = String::from_utf8(answer).expect("text");
        let set = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
        set.split(';').next().expect("a pair").to_owned()
    }

    async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        Connection { stream, buffer: Vec::with_capacity(1024) }
    }

    /// One round of requests of `path`.
    async fn round(&mut self, path: &str) {
        let cpu = self.cpu();
        let (began, mut asking) = (Instant::now(), tokio::task::JoinSet::new());
        for cookie in &self.cookies {
            let (mut connection, request) = (self.connect().await, request(path, cookie));
            asking.spawn(async move {
                let mut answered = 0u64;
                while began.elapsed() < ROUND {
                    connection.ask(request.as_bytes()).await;
                    answered += 1;
                }
                answered
            });
        }
        let answered: u64 = asking.join_all().await.iter().sum();
        let (took, cpu) = (began.elapsed().as_secs_f64(), self.cpu() - cpu);
        let answered = answered as f64;
        self.rounds.push(Round { per_second: answered / took, cpu_micros: cpu / answered * 1e6 });
    }

    /// Seconds of CPU that the process has used.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("it runs");
        let fields: Vec<_> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
        let ticks = |n: usize| fields[n].parse::<f64>().expect("a number");
        (ticks(11) + ticks(12)) / TICKS
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn request(path: &str, cookie: &str) -> String {
    let cookie = if cookie.is_empty() { String::new() } else { format!("cookie: {cookie}\r\n") };
    format!("GET {path} HTTP/1.1\r\nhost: bench\r\n{cookie}\r\n")
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Sends a request, and reads its answer to the end; it must be 200.
    async fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        self.stream.write_all(request).await.expect("it is open");
        self.buffer.clear();
        loop {
            self.stream.read_buf(&mut self.buffer).await.expect("it answers");
            if let Some(length) = length(&self.buffer).filter(|length| self.buffer.len() >= *length) {
                assert!(self.buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&self.buffer));
                return self.buffer[..length].to_vec();
            }
        }
    }
}

/// How long the answer is that begins here, once its head is complete.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).expect("text");
    let body = text.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    Some(head + body.parse::<usize>().expect("a number"))
}

async fn serve(which: &str, redis: &str) {
    let router = match which {
        "floor" => floor(redis).await,
        "ours" => ours(redis).await,
        "theirs" => theirs(redis).await,
        other => panic!("no contender is called {other}"),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("bound").port());
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| stream.set_nodelay(true).expect("a socket"));
    axum::serve(listener, router).await.expect("serves");
}

async fn compare(title: &str, path: &str, contenders: &mut [Contender]) {
    for contender in &mut *contenders {
        contender.rounds.clear();
        contender.round(path).await;
        contender.rounds.clear();
    }
    for _ in 0..ROUNDS {
        for contender in &mut *contenders {
            contender.round(path).await;
        }
    }
    println!("\n{title} ({ROUNDS} alternated rounds of {ROUND:?}, {CONNECTIONS} connections)");
    println!("{:<46} {:>9} {:>17} {:>8} {:>9} {:>8}", "", "req/s", "min..max", "x last", "CPU us", "x last");
    let last = contenders.last().expect("contenders").rounds.clone();
    for contender in contenders {
        let all = |of: fn(&Round) -> f64| contender.rounds.iter().map(of).collect::<Vec<_>>();
        let against = |of: fn(&Round) -> f64| median(contender.rounds.iter().zip(&last).map(|(a, b)| of(a) / of(b)));
        let (speed, cpu) = (|round: &Round| round.per_second, |round: &Round| round.cpu_micros);
        let rates = all(speed);
        let range = format!(
            "{:.0}..{:.0}",
            rates.iter().copied().fold(f64::MAX, f64::min),
            rates.iter().copied().fold(0.0, f64::max)
        );
        println!(
            "{:<46} {:>9.0} {:>17} {:>8.2} {:>9.1} {:>8.2}",
            contender.label,
            median(rates.into_iter()),
            range,
            against(speed),
            median(all(cpu).into_iter()),
            against(cpu)
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<_> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, verb, which, redis] = &arguments[..]
        && verb == "serve"
    {
        return serve(which, redis).await;
    }
    let server = RedisServer::start();
    let mut contenders = Vec::new();
    for (label, which) in [
        ("no layer: a bare GET, parsed", "floor"),
        ("towerkeep", "ours"),
        ("tower-sessions 0.14, redis-store 0.16", "theirs"),
    ] {
        contenders.push(Contender::start(label, which, &server.url()).await);
    }
    compare("session read over HTTP", "/", &mut contenders).await;
    compare("session change over HTTP", "/change", &mut contenders[1..]).await;
}
