//! Requests and revocations that overlap, over the layer: in memory, in Redis, and in Redis behind a fallback.

use std::{convert::Infallible, sync::Arc};

use http::{HeaderValue, Request, Response, header};
use tokio::sync::Barrier;
use tower::{Layer, ServiceExt, service_fn};
use towerkeep::session::{Session, SessionId, SessionSave, Sessions};

use super::*;

/// One application with its sessions.
#[derive(Clone)]
pub(super) struct App(pub(super) Sessions);

impl App {
    pub(super) fn new(store: impl SessionStore, config: SessionConfig) -> Self {
        Self(Sessions::new(store).config(config))
    }

    /// One request; the cookie that its response sets, and what the handler answered.
    pub(super) async fn ask<F, T>(
        &self,
        cookie: Option<HeaderValue>,
        handler: impl Fn(Session) -> F,
    ) -> (Option<HeaderValue>, T)
    where
        F: Future<Output = T>,
    {
        let mut request = Request::builder();
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let service = self.0.layer().layer(service_fn(|request: Request<()>| {
            let handled = handler(Session::of(&request).expect("mounted"));
            async move { Ok::<_, Infallible>(Response::new(handled.await)) }
        }));
        let response = service.oneshot(request.body(()).expect("a request")).await.expect("infallible");
        let set = response.headers().get(header::SET_COOKIE).map(|set| {
            let text = set.to_str().expect("ASCII");
            HeaderValue::from_str(text.split(';').next().expect("a pair")).expect("ASCII")
        });
        (set, response.into_body())
    }

    /// The cookie of a new session of nobody.
    async fn begin(&self) -> HeaderValue {
        let begun = self.ask(None, async |session: Session| session.insert("n", 0).expect("fits")).await;
        begun.0.expect("a new session")
    }

    async fn is_live(&self, id: SessionId) -> bool {
        self.0.list(1).await.expect("up").iter().any(|info| info.id == id)
    }
}

fn sid(cookie: &HeaderValue) -> SessionId {
    let text = cookie.to_str().expect("ASCII");
    text.split_once('=').expect("a pair").1[..32].parse().expect("a sid")
}

/// Runs a check against each place that keeps sessions, on several threads.
macro_rules! races {
    ($($name:ident)+) => {$(
        mod $name {
            use super::*;
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_memory() {
                super::$name(|config| App::new(MemorySessionStore::new(Clock::system()), config)).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_redis() {
                let server = RedisServer::start();
                let redis = connect(&server, seconds(5)).await;
                super::$name(|config| App::new(RedisSessionStore::new(&redis), config)).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_redis_behind_a_fallback() {
                let server = RedisServer::start();
                let redis = connect(&server, seconds(5)).await;
                super::$name(|config| App::new(RedisSessionStore::with_fallback(&redis, &config), config)).await;
            }
        }
    )+};
}

races! {
    three_logins_from_one_cookie_leave_one_session_each
    of_logins_at_once_as_many_live_as_the_cap_says
    no_renewal_and_no_login_outlives_a_revocation
    sixteen_writers_lose_no_increment
}

async fn three_logins_from_one_cookie_leave_one_session_each(start: impl Fn(SessionConfig) -> App) {
    let app = start(SessionConfig::new());
    for round in 1..=20 {
        let cookie = app.begin().await;
        let all = Arc::new(Barrier::new(3));
        let logins: Vec<_> = (0..3)
            .map(|_| {
                let (app, cookie, all) = (app.clone(), cookie.clone(), Arc::clone(&all));
                tokio::spawn(async move {
                    let login = app.ask(Some(cookie), |session: Session| {
                        let all = Arc::clone(&all);
                        async move {
                            assert!(session.user().await.expect("up").is_none());
                            all.wait().await; // all have read the same state
                            session.login(1).await.expect("up");
                        }
                    });
                    login.await.0.expect("a cookie")
                })
            })
            .collect();
        let mut ids = Vec::new();
        for login in logins {
            let cookie = login.await.expect("no panic");
            let user =
                app.ask(Some(cookie.clone()), async |session: Session| session.user().await.expect("up")).await.1;
            assert_eq!(user, Some(UserId::new(1)), "each login stands");
            ids.push(sid(&cookie));
        }
        ids.sort_unstable();
        ids.dedup();
        let mut listed: Vec<_> = app.0.list(1).await.expect("up").iter().map(|info| info.id).collect();
        listed.sort_unstable();
        assert_eq!((ids.len(), &listed), (3, &ids), "round {round}");
        assert_eq!(app.0.revoke_all(1).await.expect("up"), 3);
    }
}

/// Each ended the other, and the user had no session at all.
async fn of_logins_at_once_as_many_live_as_the_cap_says(start: impl Fn(SessionConfig) -> App) {
    let app = start(SessionConfig::new().max_per_user(NonZeroU32::MIN));
    for round in 0..50 {
        let both = Arc::new(Barrier::new(2));
        let logins = [(); 2].map(|()| {
            let (app, both) = (app.clone(), Arc::clone(&both));
            tokio::spawn(async move {
                both.wait().await;
                app.0.issue(1).await.expect("up").id()
            })
        });
        for login in logins {
            login.await.expect("no panic");
        }
        assert_eq!(app.0.list(1).await.expect("up").len(), 1, "round {round}");
        let alone = app.0.issue(1).await.expect("up").id();
        assert_eq!(app.0.list(1).await.expect("up").len(), 1, "round {round}");
        assert!(app.is_live(alone).await, "round {round}: a login that nobody was in the way of");
    }
}

async fn no_renewal_and_no_login_outlives_a_revocation(start: impl Fn(SessionConfig) -> App) {
    let app = start(SessionConfig::new().renew_every(seconds(0)));
    for round in 0..1_000 {
        let (old, anonymous) = (app.0.issue(1).await.expect("up"), app.begin().await);
        let (renewing, logging_in, revoking) = (app.clone(), app.clone(), app.clone());
        let (cookie, before) = (old.cookie(), sid(&anonymous));
        let renewal = tokio::spawn(async move {
            renewing.ask(Some(cookie), async |session: Session| session.user().await.expect("up")).await
        });
        let login = tokio::spawn(async move {
            logging_in.ask(Some(anonymous), async |session: Session| session.login(1).await).await
        });
        let revocation = tokio::spawn(async move { revoking.0.revoke_all(1).await.expect("up") });
        revocation.await.expect("no panic");
        let (set, logged_in) = login.await.expect("no panic");
        renewal.await.expect("no panic");

        assert!(!app.is_live(old.id()).await, "round {round}: a renewal outlived its revocation");
        if logged_in.is_ok() {
            // It came after the revocation, or it is dead; alive, it is listed, so that the next one ends it.
            let cookie = set.expect("a cookie");
            let user =
                app.ask(Some(cookie.clone()), async |session: Session| session.user().await.expect("up")).await.1;
            assert_eq!(user.is_some(), app.is_live(sid(&cookie)).await, "round {round}: alive in no index");
        }
        app.0.revoke_all(1).await.expect("up");
        assert!(app.0.list(1).await.expect("up").is_empty());
        let left = app.0.revoke(1, &before).await.expect("up");
        assert!(!left, "round {round}: a login outlived two revocations");
    }
}

async fn sixteen_writers_lose_no_increment(start: impl Fn(SessionConfig) -> App) {
    let app = start(SessionConfig::new());
    let cookie = app.begin().await;
    let writers: Vec<_> = (0..16)
        .map(|_| {
            let (app, cookie) = (app.clone(), cookie.clone());
            tokio::spawn(async move {
                for _ in 0..50 {
                    let written = app.ask(Some(cookie.clone()), async |session: Session| {
                        session.update("n", |n: &mut u32| *n += 1).await.expect("up");
                        session.save().await.expect("up")
                    });
                    assert_eq!(written.await.1, SessionSave::Saved);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
    let n = app.ask(Some(cookie), async |session: Session| session.get::<u32>("n").await.expect("up")).await.1;
    assert_eq!(n, Some(800));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_writers_take_at_most_1_6_scripts_for_a_write() {
    let server = RedisServer::start();
    let redis = connect(&server, seconds(5)).await;
    let app = App::new(RedisSessionStore::new(&redis), SessionConfig::new());
    let calls = server.commands_during(sixteen_writers_lose_no_increment(|_| app.clone())).await;
    let scripts = calls["evalsha"];
    println!("800 writes of 16 writers: {scripts} save scripts");
    assert!((800..=1_280).contains(&scripts), "{calls:?}");
}
