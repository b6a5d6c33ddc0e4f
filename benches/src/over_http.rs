//! Servers in processes of their own, asked over real HTTP: requests per second and the server's CPU.
//!
//! Each contender has one thread, so that a request's cost shows in both figures. 32 connections ask as fast as they are
//! answered, in alternated rounds.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use axum::Router;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);
/// How many connections ask at once.
pub const CONNECTIONS: usize = 32;
/// The unit of `/proc/{pid}/stat`: USER_HZ, which is 100 wherever Linux runs.
const TICKS: f64 = 100.0;

/// A server in a process of its own; killed when dropped.
pub struct Contender {
    label: &'static str,
    process: Child,
    port: u16,
    /// Further lines of each connection's requests; none at first.
    pub fields: Vec<String>,
    rounds: Vec<Round>,
}

#[derive(Clone, Copy)]
struct Round {
    per_second: f64,
    cpu_micros: f64,
}

impl Contender {
    /// Starts this bench again with `serve` and these arguments, which should call [`serve`].
    pub fn start(label: &'static str, arguments: &[&str]) -> Self {
        let this = std::env::current_exe().expect("this bench");
        let mut command = Command::new(this);
        command.arg("serve").args(arguments).stdout(Stdio::piped());
        let mut process = command.spawn().expect("a process");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let port = line.trim().parse().expect("a port");
        Self { label, process, port, fields: vec![String::new(); CONNECTIONS], rounds: Vec::new() }
    }

    /// One request outside of all rounds: the head and body of its answer.
    pub async fn ask(&self, path: &str) -> String {
        let answer = self.connect().await.ask(request(path, "").as_bytes()).await;
        String::from_utf8(answer).expect("text")
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
        for fields in &self.fields {
            let (mut connection, request) = (self.connect().await, request(path, fields));
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

fn request(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: bench\r\n{fields}\r\n")
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

/// How long the answer is that begins here, once its head is complete, and its last chunk where it has no length.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).expect("text");
    let Some(body) = text.lines().find_map(|line| line.strip_prefix("content-length: ")) else {
        assert!(text.contains("transfer-encoding: chunked"), "no end: {text}");
        return answer.ends_with(b"\r\n0\r\n\r\n").then_some(answer.len());
    };
    Some(head + body.parse::<usize>().expect("a number"))
}

/// Serves `router` on a free port, which it prints, until the process ends.
pub async fn serve(router: Router) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("bound").port());
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| stream.set_nodelay(true).expect("a socket"));
    axum::serve(listener, router).await.expect("serves");
}

/// Runs all contenders in turn with requests of `path`, and prints the table; ratios are to the last one, round by round.
pub async fn compare(title: &str, path: &str, contenders: &mut [Contender]) {
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
