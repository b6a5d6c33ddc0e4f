//! Overlapping requests of one browser, over sockets, to two instances on one Redis.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{Path, State},
    response::IntoResponse,
    routing::{get, post},
};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client as Http, rt::TokioExecutor};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};
use towerkeep::{CurrentUser, Keep, session::Session};

use super::*;

/// Where slow handlers wait: each says that it has read its session, and goes on when it is let.
#[derive(Clone)]
struct Slow {
    has_read: Arc<Semaphore>,
    goes_on: Arc<Semaphore>,
}

impl Default for Slow {
    fn default() -> Self {
        Self { has_read: Arc::new(Semaphore::new(0)), goes_on: Arc::new(Semaphore::new(0)) }
    }
}

impl Slow {
    async fn pause(&self) {
        self.has_read.add_permits(1);
        self.goes_on.acquire().await.expect("open").forget();
    }

    /// Waits until a handler has read.
    async fn has_read(&self) {
        self.has_read.acquire().await.expect("open").forget();
    }

    fn go_on(&self) {
        self.goes_on.add_permits(1);
    }
}

#[derive(Clone, axum::extract::FromRef)]
struct App {
    keep: Keep,
    slow: Slow,
}

async fn slow_write(State(slow): State<Slow>, session: Session) -> towerkeep::Result<StatusCode> {
    session.get::<u32>("n").await?;
    slow.pause().await;
    session.insert("n", 1)?;
    session.update("updates", |n: &mut u32| *n += 1).await?;
    Ok(StatusCode::OK)
}

async fn fails_after_login(Path(user): Path<u64>, session: Session) -> towerkeep::Result<StatusCode> {
    session.login(user).await?;
    session.insert("notice", "half done")?;
    Ok(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn ended(State(App { keep, slow }): State<App>, session: Session) -> impl IntoResponse {
    let id = session.id().await.expect("up").expect("a session");
    slow.has_read.add_permits(1);
    keep.sessions().ended(&id).await;
    "ended"
}

/// One instance, on a port of its own.
struct Instance {
    address: std::net::SocketAddr,
    slow: Slow,
    serving: JoinHandle<()>,
}

impl Instance {
    async fn start(server: &RedisServer) -> Self {
        let keep = Keep::builder().redis(&server.url()).build().expect("a valid url");
        assert!(keep.ready(seconds(10)).await);
        let app = App { keep: keep.clone(), slow: Slow::default() };
        let slow = app.slow.clone();
        let login = async |Path(user): Path<u64>, session: Session| session.login(user).await;
        let logout = async |session: Session| session.logout().await;
        let visit = async |session: Session| session.insert("seen", true);
        let has = async |session: Session| session.get::<u32>("n").await.map(|n| format!("{n:?}"));
        let router = Router::new()
            .route("/me", get(async |user: CurrentUser<u64>| user.0.to_string()))
            .route("/has", get(has))
            .route("/visit", post(visit))
            .route("/login/{user}", post(login))
            .route("/login-fails/{user}", post(fails_after_login))
            .route("/logout", post(logout))
            .route("/slow", post(slow_write))
            .route("/ended", get(ended))
            .layer(keep.sessions().layer())
            .layer(keep.layer())
            .with_state(app);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self { address, slow, serving }
    }

    /// One request with this cookie; its answer.
    async fn send(&self, method: Method, path: &str, cookie: Option<&str>) -> Answer {
        ask(self.address, method, path.to_owned(), cookie.map(ToOwned::to_owned)).await
    }

    /// The same, under way beside what follows.
    fn begin(&self, method: Method, path: &str, cookie: &str) -> JoinHandle<Answer> {
        tokio::spawn(ask(self.address, method, path.to_owned(), Some(cookie.to_owned())))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    cookie: Option<String>,
    body: String,
}

async fn ask(address: std::net::SocketAddr, method: Method, path: String, cookie: Option<String>) -> Answer {
    let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    if let Some(cookie) = cookie {
        request = request.header(header::COOKIE, cookie);
    }
    let request = request.body(Empty::<bytes::Bytes>::new()).expect("a request");
    let response = Http::builder(TokioExecutor::new()).build_http().request(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let set = parts.headers.get(header::SET_COOKIE).map(|set| set.to_str().expect("ASCII"));
    Answer {
        status: parts.status,
        cookie: set.map(|set| set.split(';').next().expect("a pair").to_owned()),
        body: String::from_utf8(body.to_vec()).expect("text"),
    }
}

async fn two() -> (RedisServer, Instance, Instance) {
    let server = RedisServer::start();
    let (first, second) = (Instance::start(&server).await, Instance::start(&server).await);
    (server, first, second)
}

/// How many sessions there are, the marks of those that have ended left out.
async fn sessions_in(server: &RedisServer) -> usize {
    let mut client = server.client().await;
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("tk:session:????????*").query_async(&mut client).await.expect("keys");
    let mut live = 0;
    for key in keys {
        let value: String = redis::cmd("GET").arg(key).query_async(&mut client).await.expect("up");
        live += usize::from(value.contains("\"data\""));
    }
    live
}

#[tokio::test]
async fn a_slow_write_does_not_undo_a_logout() {
    let (server, first, second) = two().await;
    let cookie = first.send(Method::POST, "/login/42", None).await.cookie.expect("a cookie");
    for (slow, fast) in [(&first, &second), (&second, &first)] {
        let cookie = slow.send(Method::POST, "/login/42", Some(&cookie)).await.cookie.expect("a cookie");
        let writing = slow.begin(Method::POST, "/slow", &cookie);
        slow.slow.has_read().await;
        let logout = fast.send(Method::POST, "/logout", Some(&cookie)).await;
        assert_eq!((logout.status, logout.cookie.as_deref()), (StatusCode::OK, Some("__Host-sid=")));
        slow.slow.go_on();
        let written = writing.await.expect("no panic");
        assert_eq!(written.cookie, None, "{written:?}: neither a new session nor the old one");
        for instance in [slow, fast] {
            assert_eq!(instance.send(Method::GET, "/me", Some(&cookie)).await.status, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(sessions_in(&server).await, 0);
    }
}

#[tokio::test]
async fn a_login_stands_against_a_slower_write_from_before_it() {
    let (server, first, second) = two().await;
    for (slow, fast) in [(&first, &second), (&first, &first)] {
        let before = slow.send(Method::POST, "/visit", None).await.cookie.expect("a cookie");
        let writing = slow.begin(Method::POST, "/slow", &before);
        slow.slow.has_read().await;
        let after = fast.send(Method::POST, "/login/42", Some(&before)).await.cookie.expect("a new secret");
        assert_ne!(before, after);
        slow.slow.go_on();
        let written = writing.await.expect("no panic");
        assert_eq!(written.cookie, None, "{written:?}: the new cookie is not replaced");
        for instance in [slow, fast] {
            assert_eq!(instance.send(Method::GET, "/me", Some(&after)).await.body, "42");
            assert_eq!(instance.send(Method::GET, "/has", Some(&after)).await.body, "None", "nothing of before it");
            assert_eq!(instance.send(Method::GET, "/me", Some(&before)).await.status, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(sessions_in(&server).await, 1);
        fast.send(Method::POST, "/logout", Some(&after)).await;
    }
}

#[tokio::test]
async fn a_login_stands_though_its_handler_failed() {
    let (_server, first, second) = two().await;
    let failed = first.send(Method::POST, "/login-fails/42", None).await;
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    let cookie = failed.cookie.expect("the login was made, and its cookie is sent");
    for instance in [&first, &second] {
        let me = instance.send(Method::GET, "/me", Some(&cookie)).await;
        assert_eq!((me.status, me.body.as_str()), (StatusCode::OK, "42"));
    }
    // Again, over the session that is there now.
    let again = second.send(Method::POST, "/login-fails/7", Some(&cookie)).await.cookie.expect("a cookie");
    assert_eq!(first.send(Method::GET, "/me", Some(&again)).await.body, "7");
    assert_eq!(first.send(Method::GET, "/me", Some(&cookie)).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_logout_on_one_instance_is_the_end_on_the_other() {
    let (_server, first, second) = two().await;
    let cookie = first.send(Method::POST, "/login/42", None).await.cookie.expect("a cookie");
    assert_eq!(second.send(Method::GET, "/me", Some(&cookie)).await.body, "42");
    let waiting = second.begin(Method::GET, "/ended", &cookie);
    second.slow.has_read().await;
    assert_eq!(first.send(Method::POST, "/logout", Some(&cookie)).await.status, StatusCode::OK);
    let began = Instant::now();
    assert_eq!(second.send(Method::GET, "/me", Some(&cookie)).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(waiting.await.expect("no panic").body, "ended");
    assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
}
