//! What one request costs on a real server, told by `MONITOR`: no more, no less.

use std::convert::Infallible;

use http::{Request, Response, header};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tower::{Layer, ServiceExt, service_fn};
use towerkeep::session::{Issued, Session, Sessions};

use super::*;

struct Watched {
    server: RedisServer,
    lines: BufReader<TcpStream>,
    sessions: Sessions,
    marks: u32,
}

impl Watched {
    async fn start(config: SessionConfig) -> Self {
        let server = RedisServer::start();
        let redis = Redis::new(RedisConfig::new(&server.user_url()).expect("a url").deadline(seconds(5)))
            .expect("in a runtime");
        // Made before Redis is reached, as an application does: scripts are loaded with the connection.
        let sessions = Sessions::new(RedisSessionStore::new(&redis)).config(config);
        assert!(redis.ready(seconds(10)).await);
        let mut lines = BufReader::new(TcpStream::connect(("127.0.0.1", server.port())).await.expect("it listens"));
        lines.get_mut().write_all(b"MONITOR\r\n").await.expect("it reads");
        let mut ok = String::new();
        lines.read_line(&mut ok).await.expect("it answers");
        assert_eq!(ok, "+OK\r\n");
        Self { server, lines, sessions, marks: 0 }
    }

    /// The commands about sessions since the last call, without what scripts do inside.
    async fn seen(&mut self) -> Vec<String> {
        self.marks += 1;
        let mark = format!("mark-{}-", self.marks);
        let mut client = self.server.client().await;
        let _: String = redis::cmd("ECHO").arg(&mark).query_async(&mut client).await.expect("up");
        let mut seen = Vec::new();
        loop {
            let mut line = String::new();
            self.lines.read_line(&mut line).await.expect("it goes on");
            if line.contains(&mark) {
                return seen;
            }
            let is_ours = line.contains("\"tk:session") || line.contains("\"tk:user");
            if is_ours && !line.contains(" lua]") {
                seen.push(line.split('"').nth(1).expect("a command").to_uppercase());
            }
        }
    }

    /// One request with this session's cookie; the commands it took.
    async fn ask<F>(&mut self, issued: Option<&Issued>, handler: impl Fn(Session) -> F + Clone) -> Vec<String>
    where
        F: Future<Output = ()>,
    {
        self.seen().await;
        let mut request = Request::builder();
        if let Some(issued) = issued {
            request = request.header(header::COOKIE, issued.cookie());
        }
        let service = self.sessions.layer().layer(service_fn(|request: Request<()>| {
            let handled = handler(Session::of(&request).expect("mounted"));
            async move {
                handled.await;
                Ok::<_, Infallible>(Response::new(()))
            }
        }));
        service.oneshot(request.body(()).expect("a request")).await.expect("infallible");
        self.seen().await
    }
}

#[tokio::test]
async fn are_as_few_as_promised() {
    let mut watched = Watched::start(SessionConfig::new()).await;
    let issued = watched.sessions.issue(1).await.expect("up");
    let some = Some(&issued);

    let untouched = watched.ask(some, async |_| ()).await;
    assert!(untouched.is_empty(), "{untouched:?}");
    let read = async |session: Session| {
        session.get::<u32>("a").await.expect("up");
        session.user().await.expect("up");
        session.get::<u32>("b").await.expect("up");
    };
    assert_eq!(watched.ask(some, read).await, ["GET"]);
    let change = async |session: Session| {
        session.insert("a", 1).expect("fits");
        session.update("n", |n: &mut u32| *n += 1).await.expect("up");
    };
    assert_eq!(watched.ask(some, change).await, ["GET", "EVALSHA"]);
    let same = async |session: Session| session.insert("a", 1).expect("fits");
    assert_eq!(watched.ask(some, same).await, ["GET"]);
    let begun = async |session: Session| session.insert("a", 1).expect("fits");
    assert_eq!(watched.ask(None, begun).await, ["SET"]);
    let end = async |session: Session| session.logout().await.expect("up");
    assert_eq!(watched.ask(some, end).await, ["EVALSHA", "ZREM"]);
    assert_eq!(watched.ask(some, end).await, ["EVALSHA"]); // it is gone
    assert!(watched.ask(None, end).await.is_empty());
    let read_none = async |session: Session| drop(session.user().await.expect("up"));
    assert!(watched.ask(None, read_none).await.is_empty());
}

#[tokio::test]
async fn rotate_in_two() {
    let mut watched = Watched::start(SessionConfig::new()).await;
    let issued = watched.sessions.issue(1).await.expect("up");
    let rotate = async |session: Session| {
        session.insert("role", "admin").expect("fits");
        let _ = session.rotate().await.expect("up");
    };
    assert_eq!(watched.ask(Some(&issued), rotate).await, ["GET", "EVALSHA"]);
}

#[tokio::test]
async fn grow_by_one_script_when_a_touch_is_due() {
    let config = SessionConfig::new().touch_every(seconds(0)).renew_every(days(1));
    let mut watched = Watched::start(config).await;
    let issued = watched.sessions.issue(1).await.expect("up");
    let mut seen = watched.ask(Some(&issued), async |session: Session| drop(session.user().await)).await;
    while seen.len() < 2 {
        tokio::task::yield_now().await;
        seen.extend(watched.seen().await);
    }
    assert_eq!(seen, ["GET", "EVALSHA"]);
}

#[tokio::test]
async fn end_a_session_that_was_read_by_one_script() {
    let mut watched = Watched::start(SessionConfig::new()).await;
    let issued = watched.sessions.issue(1).await.expect("up");
    let greet_and_end = async |session: Session| {
        assert!(session.user().await.expect("up").is_some());
        session.logout().await.expect("up");
        assert!(session.user().await.expect("known").is_none());
    };
    assert_eq!(watched.ask(Some(&issued), greet_and_end).await, ["GET", "EVALSHA", "ZREM"]);
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("tk:user:*").query_async(&mut watched.server.client().await).await.expect("up");
    assert!(keys.is_empty(), "{keys:?}");
}
