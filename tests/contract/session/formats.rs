//! What requests see of values that another version, or another program, wrote.

use std::convert::Infallible;

use http::{HeaderValue, Request, Response, header};
use tower::{Layer, ServiceExt, service_fn};
use towerkeep::session::{Issued, Session, SessionSave, Sessions};

use super::*;

struct Stored {
    _server: RedisServer,
    client: redis::aio::MultiplexedConnection,
    sessions: Sessions,
    issued: Issued,
}

impl Stored {
    /// A session of user 1 with a value.
    async fn new() -> Self {
        let server = RedisServer::start();
        let sessions = Sessions::new(RedisSessionStore::new(&connect(&server, seconds(5)).await));
        let issued = sessions.issue(1).await.expect("up");
        let stored = Self { client: server.client().await, _server: server, sessions, issued };
        stored.ask(async |session: Session| session.insert("theme", "dark").expect("fits")).await;
        stored
    }

    async fn ask(&self, handler: impl AsyncFn(Session)) -> Option<HeaderValue> {
        let service = self.sessions.layer().layer(service_fn(async |request: Request<()>| {
            handler(Session::of(&request).expect("mounted")).await;
            Ok::<_, Infallible>(Response::new(()))
        }));
        let request = Request::builder().header(header::COOKIE, self.issued.cookie()).body(()).expect("a request");
        let response = service.oneshot(request).await.expect("infallible");
        response.headers().get(header::SET_COOKIE).cloned()
    }

    fn key(&self) -> String {
        format!("tk:session:{}", self.issued.id())
    }

    async fn value(&mut self) -> Option<String> {
        redis::cmd("GET").arg(self.key()).query_async(&mut self.client).await.expect("up")
    }

    async fn replace(&mut self, value: &str) {
        let () = redis::cmd("SET")
            .arg(self.key())
            .arg(value)
            .arg("KEEPTTL")
            .query_async(&mut self.client)
            .await
            .expect("up");
    }

    /// The same session as a version of the library to come would write it.
    async fn make_newer(&mut self) -> String {
        let newer =
            self.value().await.expect("stored").replacen(r#""towerkeep":"1""#, r#""towerkeep":"2","new":{}"#, 1);
        self.replace(&newer).await;
        newer
    }
}

#[tokio::test]
async fn a_newer_session_is_read_and_never_written_by_an_older_instance() {
    let mut stored = Stored::new().await;
    let newer = stored.make_newer().await;
    let set = stored.ask(async |session: Session| {
        assert_eq!(session.user().await.expect("up"), Some(UserId::new(1)));
        assert_eq!(session.get::<String>("theme").await.expect("up").as_deref(), Some("dark"));
        session.insert("theme", "light").expect("fits");
        assert_eq!(session.save().await.expect("up"), SessionSave::ReadOnly);
        assert_eq!(session.rotate().await.expect("up"), SessionSave::ReadOnly);
    });
    assert_eq!(set.await, None);
    assert_eq!(stored.value().await, Some(newer));
    assert_eq!(stored.sessions.list(1).await.expect("up").len(), 1);
}

#[tokio::test]
async fn a_newer_session_is_ended_by_an_older_instance() {
    let mut stored = Stored::new().await;
    stored.make_newer().await;
    let set = stored.ask(async |session: Session| session.logout().await.expect("up")).await;
    assert!(set.expect("a removal").to_str().expect("ASCII").contains("Max-Age=0"));
    assert_eq!(stored.value().await, None);
    assert!(stored.sessions.list(1).await.expect("up").is_empty());
}

#[tokio::test]
async fn a_login_over_a_newer_session_begins_one_of_its_own() {
    let mut stored = Stored::new().await;
    let newer = stored.make_newer().await;
    let set = stored.ask(async |session: Session| session.login(1).await.expect("up")).await.expect("a cookie");
    assert!(!set.to_str().expect("ASCII").contains(&stored.issued.id().to_string()));
    assert_eq!(stored.value().await, Some(newer));
    assert_eq!(stored.sessions.list(1).await.expect("up").len(), 2);
}

#[tokio::test]
async fn the_holder_of_an_unreadable_session_is_nobody_and_may_log_in() {
    for foreign in ["not json", r#"{"towerkeep":"1"}"#, r#"{"user":1}"#] {
        let mut stored = Stored::new().await;
        stored.replace(foreign).await;
        let set = stored.ask(async |session: Session| {
            assert_eq!(session.user().await.expect("up"), None);
            session.login(1).await.expect("up");
        });
        assert!(set.await.is_some());
        assert_eq!(stored.value().await.as_deref(), Some(foreign));
        stored.ask(async |session: Session| session.logout().await.expect("up")).await;
        assert_eq!(stored.value().await.as_deref(), Some(foreign), "left alone");
    }
}

#[tokio::test]
async fn ten_small_values_take_at_most_600_bytes() {
    let mut stored = Stored::new().await;
    stored
        .ask(async |session: Session| {
            for n in 1..10 {
                session.insert(&format!("key{n}"), n).expect("fits");
            }
        })
        .await;
    let size = stored.value().await.expect("stored").len();
    println!("a session of 10 small values: {size} bytes");
    assert!(size <= 600, "{size}");
}
