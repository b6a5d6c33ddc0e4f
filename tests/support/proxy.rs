//! A TCP proxy that misbehaves on demand: what a network does that killing a server does not show.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};

/// What happens to bytes, from now on and for every connection, old and new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They are forwarded.
    Pass,
    /// They wait. Connections are accepted and nothing moves, as behind a dead router; later modes let it go on.
    Hold,
    /// All connections are reset, and new ones as soon as they are accepted.
    Reset,
    /// The client's bytes reach the server, the server's are lost: commands run and nobody hears of it.
    OneWay,
    /// Each direction takes this much longer, in order and without limiting the rate.
    Delay(Duration),
    /// Of so many packets of a direction one takes this much longer, and all behind it wait: a lost and repeated one.
    Lossy { one_in: u32, hold: Duration },
}

/// The proxy; connections end when it is dropped.
pub struct FaultProxy {
    address: SocketAddr,
    faults: Faults,
    accepted: Accepted,
    accepting: JoinHandle<()>,
}

/// When each connection was accepted.
type Accepted = Arc<Mutex<Vec<Instant>>>;

/// The two switches that every connection watches.
#[derive(Clone)]
struct Faults {
    /// The last is for new connections; those before are of connections that were left in a black hole.
    modes: Arc<Mutex<Vec<watch::Sender<Mode>>>>,
    /// Counts the cuts; a connection ends when it changes.
    cuts: watch::Sender<usize>,
}

impl FaultProxy {
    /// A proxy to `target` on a free port of 127.0.0.1, passing everything.
    pub async fn start(target: SocketAddr) -> Self {
        Self::over(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port"), target)
    }

    /// As [`start`](Self::start), on a port that listens already.
    pub fn over(listener: TcpListener, target: SocketAddr) -> Self {
        let address = listener.local_addr().expect("a bound listener");
        let modes = Arc::new(Mutex::new(vec![watch::Sender::new(Mode::Pass)]));
        let faults = Faults { modes, cuts: watch::Sender::new(0) };
        let accepted = Accepted::default();
        let accepting = tokio::spawn(accept(listener, target, faults.clone(), Arc::clone(&accepted)));
        Self { address, faults, accepted, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The proxy as a server of Redis.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Switches to `mode`.
    pub fn set(&self, mode: Mode) {
        // The mode first: a connection accepted in between then either sees the mode or the cut.
        self.faults.latest(|latest| latest.send_replace(mode));
        if mode == Mode::Reset {
            self.cut();
        }
    }

    /// Lets nothing move any more on the connections that stand now; later ones pass.
    pub fn hold_old(&self) {
        self.set(Mode::Hold);
        self.faults.modes.lock().unwrap_or_else(PoisonError::into_inner).push(watch::Sender::new(Mode::Pass));
    }

    /// Resets all connections that stand now; new ones are treated as the mode says.
    pub fn cut(&self) {
        self.faults.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How many connections were accepted so far, those that were reset at once included.
    pub fn accepted(&self) -> usize {
        self.accepted_at().len()
    }

    /// When each of them was, in order.
    pub fn accepted_at(&self) -> Vec<Instant> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Faults {
    fn latest<T>(&self, then: impl FnOnce(&watch::Sender<Mode>) -> T) -> T {
        then(self.modes.lock().unwrap_or_else(PoisonError::into_inner).last().expect("never empty"))
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, faults: Faults, accepted: Accepted) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let mut cuts = faults.cuts.subscribe();
        let mode = faults.latest(watch::Sender::subscribe);
        accepted.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        connections.spawn(async move {
            let (mut client, mut server) = (client, None);
            let ended = tokio::select! {
                ended = forward(&mut client, &mut server, target, mode) => ended,
                _ = cuts.changed() => Err(io::ErrorKind::ConnectionReset.into()),
            };
            if ended.is_err() {
                // They close with RST instead of FIN.
                for stream in [Some(client), server].into_iter().flatten() {
                    stream.set_zero_linger().expect("an open socket");
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Carries both directions until both have ended, or one fails.
async fn forward(
    client: &mut TcpStream,
    server: &mut Option<TcpStream>,
    target: SocketAddr,
    mut mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    released(&mut mode).await?;
    if *mode.borrow() == Mode::Reset {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let server = server.insert(TcpStream::connect(target).await?);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let requests = carry(from_client, to_server, mode.clone(), Direction::Request);
    let replies = carry(from_server, to_client, mode, Direction::Reply);
    tokio::try_join!(requests, replies).map(|_| ())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Reply,
}

/// Bytes, and when they may go on if the network is slow.
type Chunk = (Option<Instant>, Vec<u8>);

/// Carries one direction. Reading and writing are apart, so that a delay shifts the bytes without thinning them.
async fn carry(from: ReadHalf<'_>, to: WriteHalf<'_>, mode: watch::Receiver<Mode>, way: Direction) -> io::Result<()> {
    let (send, receive) = mpsc::unbounded_channel();
    tokio::try_join!(read(from, send, mode.clone(), way), write(receive, to, mode)).map(|_| ())
}

async fn read(
    mut from: ReadHalf<'_>,
    send: mpsc::UnboundedSender<Chunk>,
    mut mode: watch::Receiver<Mode>,
    way: Direction,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut packets = 0u32;
    loop {
        released(&mut mode).await?;
        let read = tokio::select! {
            read = from.read(&mut buffer) => read?,
            changed = mode.changed() => { changed.map_err(io::Error::other)?; continue }
        };
        if read == 0 {
            return Ok(());
        }
        let due = match *mode.borrow() {
            Mode::OneWay if way == Direction::Reply => continue,
            Mode::Delay(delay) => Some(Instant::now() + delay),
            Mode::Lossy { one_in, hold } => {
                packets = packets.wrapping_add(1);
                packets.is_multiple_of(one_in).then(|| Instant::now() + hold)
            }
            _ => None,
        };
        // An error means that the writing half has failed and says why.
        send.send((due, buffer[..read].to_vec())).ok();
    }
}

async fn write(
    mut receive: mpsc::UnboundedReceiver<Chunk>,
    mut to: WriteHalf<'_>,
    mut mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    while let Some((due, bytes)) = receive.recv().await {
        if let Some(due) = due {
            sleep_until(due).await;
        }
        released(&mut mode).await?;
        to.write_all(&bytes).await?;
    }
    to.shutdown().await
}

/// Waits until the mode is another than `Hold`.
async fn released(mode: &mut watch::Receiver<Mode>) -> io::Result<()> {
    mode.wait_for(|mode| *mode != Mode::Hold).await.map(|_| ()).map_err(io::Error::other)
}
