//! The session layer's own rules, through services of a few lines.

mod csrf;
mod extractors;
mod idle;
mod races;

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode, header};
use tower::{Layer, ServiceExt, service_fn};
use towerkeep::{
    Cx, Identity, Principal, UserId,
    clock::{ManualClock, Timestamp, days, hours, minutes, seconds},
    session::{
        Issued, MemorySessionStore, Session, SessionConfig, SessionCookie, SessionLayer, SessionSave, SessionService,
        SessionState, Sessions,
    },
    store::OutageSwitch,
};

const START: Timestamp = Timestamp::from_micros(1_900_000_000_000_000);

/// Sessions in memory whose time and outages the test commands.
struct Bench {
    clock: ManualClock,
    outage: OutageSwitch,
    sessions: Sessions,
}

impl Bench {
    fn new() -> Self {
        Self::with(SessionConfig::new())
    }

    fn with(config: SessionConfig) -> Self {
        let (clock, outage) = (ManualClock::at(START), OutageSwitch::default());
        let store = MemorySessionStore::new(clock.clock()).outage(outage.clone());
        Self { clock, outage, sessions: Sessions::new(store).config(config) }
    }

    /// Sends one request with this `Cookie` through the layer to `handler`.
    async fn ask<F>(
        &self,
        cookie: Option<&str>,
        handler: impl Fn(Session) -> F + Clone + Send + Sync + 'static,
    ) -> Answer
    where
        F: Future<Output = StatusCode> + Send + 'static,
    {
        let mut request = Request::builder();
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        self.send(self.sessions.layer(), request.body(()).expect("a request"), handler).await
    }

    async fn send<F>(
        &self,
        layer: SessionLayer,
        request: Request<()>,
        handler: impl Fn(Session) -> F + Clone + Send + Sync + 'static,
    ) -> Answer
    where
        F: Future<Output = StatusCode> + Send + 'static,
    {
        let service = layer.layer(service_fn(move |request: Request<()>| {
            let handled = handler(Session::of(&request).expect("the layer is mounted"));
            async move {
                let mut response = Response::new(());
                *response.status_mut() = handled.await;
                Ok::<_, Infallible>(response)
            }
        }));
        Answer(service.oneshot(request).await.expect("infallible"))
    }
}

struct Answer(Response<()>);

impl Answer {
    /// What a browser would send back: name and value of the cookie that was set, nothing if none was.
    fn cookie(&self) -> Option<String> {
        let set = self.0.headers().get(header::SET_COOKIE)?.to_str().expect("ASCII");
        assert_eq!(self.0.headers()[header::CACHE_CONTROL], "no-store");
        Some(set.split(';').next().expect("a pair").to_owned())
    }

    fn is_removal(&self) -> bool {
        self.cookie().is_some_and(|pair| pair == "__Host-sid=")
    }
}

fn cookie_of(issued: &Issued) -> String {
    issued.cookie().to_str().expect("ASCII").to_owned()
}

async fn count(session: Session) -> StatusCode {
    let count = session.update("n", |n: &mut u32| *n += 1).await.expect("up");
    StatusCode::from_u16(200 + u16::try_from(count).expect("small")).expect("a status")
}

async fn nothing(_: Session) -> StatusCode {
    StatusCode::OK
}

async fn look(session: Session) -> StatusCode {
    match session.state().await {
        SessionState::Live => StatusCode::OK,
        SessionState::Anonymous => StatusCode::UNAUTHORIZED,
        SessionState::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn login(session: Session) -> StatusCode {
    session.login(1).await.map_or(StatusCode::SERVICE_UNAVAILABLE, |()| StatusCode::OK)
}

async fn logout(session: Session) -> StatusCode {
    session.logout().await.map_or(StatusCode::SERVICE_UNAVAILABLE, |()| StatusCode::OK)
}

async fn status(bench: &Bench, cookie: &str) -> StatusCode {
    bench.ask(Some(cookie), look).await.0.status()
}

#[test]
fn layer_and_service_are_clone_send_sync_and_static() {
    fn check<T: Clone + Send + Sync + 'static>() {}
    check::<SessionLayer>();
    check::<SessionService<()>>();
    check::<Session>();
    check::<Sessions>();
}

#[tokio::test]
async fn a_request_that_changes_nothing_gets_no_session() {
    let bench = Bench::new();
    assert_eq!(bench.ask(None, nothing).await.cookie(), None);
    assert_eq!(bench.ask(None, look).await.cookie(), None);
    let removed = bench.ask(None, async |session: Session| {
        session.remove("n");
        StatusCode::OK
    });
    assert_eq!(removed.await.cookie(), None);
}

#[tokio::test]
async fn changes_are_there_in_the_next_request() {
    let bench = Bench::new();
    let first = bench.ask(None, count).await;
    let cookie = first.cookie().expect("a new session");
    let second = bench.ask(Some(&cookie), count).await;
    assert_eq!((first.0.status().as_u16(), second.0.status().as_u16()), (201, 202));
    assert_eq!(second.cookie(), None); // nothing new to tell
}

#[tokio::test]
async fn changes_are_saved_on_every_status() {
    let bench = Bench::new();
    for status in [StatusCode::FOUND, StatusCode::NOT_FOUND, StatusCode::INTERNAL_SERVER_ERROR] {
        let cookie = bench
            .ask(None, move |session| async move {
                session.insert("seen", true).expect("fits");
                status
            })
            .await
            .cookie();
        assert_eq!(self::status(&bench, &cookie.expect("saved")).await, StatusCode::OK);
    }
    let login_then_500 = bench.ask(None, async |session: Session| {
        session.login(1).await.expect("up");
        StatusCode::INTERNAL_SERVER_ERROR
    });
    let cookie = login_then_500.await.cookie().expect("the login stands");
    assert_eq!(status(&bench, &cookie).await, StatusCode::OK);
}

#[tokio::test]
async fn a_request_reads_its_own_changes() {
    let bench = Bench::new();
    let handler = async |session: Session| {
        session.insert("a", 1).expect("fits");
        assert_eq!(session.get::<u32>("a").await.expect("up"), Some(1));
        assert_eq!(session.update("a", |n: &mut u32| *n += 1).await.expect("up"), 2);
        assert_eq!(session.take::<u32>("a").await.expect("up"), Some(2));
        assert_eq!(session.get::<u32>("a").await.expect("up"), None);
        assert!(session.get::<u32>("b").await.expect("up").is_none());
        StatusCode::OK
    };
    assert_eq!(bench.ask(None, handler).await.cookie(), None); // nothing is left to keep
}

#[tokio::test]
async fn tokens_that_are_not_ours_are_nobody_and_are_left_alone() {
    let bench = Bench::new();
    let cookie = bench.ask(None, count).await.cookie().expect("a session");
    let (name, token) = cookie.split_once('=').expect("a pair");
    let other = bench.ask(None, count).await.cookie().expect("another");
    let mixed = format!("{name}={}{}", &token[..33], &other[other.len() - 64..]);
    let tampered = format!("{name}={}{}", &token[..96], if token.ends_with('0') { '1' } else { '0' });
    let huge = format!("{name}={}", "a".repeat(8_000));
    for cookie in [mixed, tampered, huge, format!("{cookie}; {cookie}"), format!("{name}=x"), format!("{name}=")] {
        let answer = bench.ask(Some(&cookie), look).await;
        assert_eq!((answer.0.status(), answer.cookie()), (StatusCode::UNAUTHORIZED, None));
        let adopted = bench.ask(Some(&cookie), count).await.cookie().expect("a session of their own");
        assert!(!adopted.contains(&token[..32]), "an id that the client chose was adopted");
    }
    assert_eq!(status(&bench, &cookie).await, StatusCode::OK);
}

#[tokio::test]
async fn a_used_session_gets_a_new_secret_each_hour_and_the_old_one_ten_seconds() {
    let bench = Bench::new();
    let old = bench.ask(None, login).await.cookie().expect("a session");
    bench.clock.advance(minutes(59));
    assert_eq!(bench.ask(Some(&old), look).await.cookie(), None);
    bench.clock.advance(minutes(1));
    assert_eq!(bench.ask(Some(&old), nothing).await.cookie(), None); // not read, not renewed
    let new = bench.ask(Some(&old), look).await.cookie().expect("renewed");
    assert_ne!(old, new);
    let late = bench.ask(Some(&old), count).await; // it was under way
    assert_eq!((late.0.status().as_u16(), late.cookie()), (201, None));
    bench.clock.advance(seconds(10));
    assert_eq!(status(&bench, &old).await, StatusCode::UNAUTHORIZED);
    assert_eq!(bench.ask(Some(&new), count).await.0.status().as_u16(), 202);
}

#[tokio::test]
async fn a_touch_prolongs_a_session_that_is_only_read_and_renews_its_cookie() {
    let bench = Bench::with(SessionConfig::new().idle(hours(1)).absolute(hours(4)).renew_every(days(1)));
    let cookie = bench.ask(None, login).await.cookie().expect("a session");
    for _ in 0..5 {
        bench.clock.advance(minutes(40));
        let answer = bench.ask(Some(&cookie), look).await;
        assert_eq!((answer.0.status(), answer.cookie().as_ref()), (StatusCode::OK, Some(&cookie)));
        tokio::task::yield_now().await; // the background task
        assert_eq!(bench.ask(Some(&cookie), look).await.cookie(), None); // once is enough
    }
    bench.clock.advance(minutes(40)); // 4 hours
    assert_eq!(status(&bench, &cookie).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_idle_session_ends() {
    let bench = Bench::with(SessionConfig::new().idle(minutes(10)));
    let cookie = bench.ask(None, login).await.cookie().expect("a session");
    bench.clock.advance(minutes(10));
    assert_eq!(status(&bench, &cookie).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn in_an_outage_nobody_is_logged_out() {
    let bench = Bench::new();
    let cookie = bench.ask(None, login).await.cookie().expect("a session");
    bench.outage.set(true);
    for answer in [bench.ask(Some(&cookie), look).await, bench.ask(Some(&cookie), login).await] {
        assert_eq!((answer.0.status(), answer.cookie()), (StatusCode::SERVICE_UNAVAILABLE, None));
    }
    assert_eq!(bench.ask(Some(&cookie), nothing).await.0.status(), StatusCode::OK);
    assert_eq!(bench.ask(None, look).await.0.status(), StatusCode::UNAUTHORIZED); // no token, no question
    let changed = bench.ask(Some(&cookie), async |session: Session| {
        session.insert("n", 1).expect("fits");
        assert!(session.get::<u32>("m").await.expect_err("an outage").is_unavailable());
        StatusCode::OK
    });
    assert_eq!(changed.await.0.status(), StatusCode::OK); // dropped and counted, the answer stands
    bench.outage.set(false);
    assert_eq!(status(&bench, &cookie).await, StatusCode::OK);
}

#[tokio::test]
async fn the_principal_is_found_out_on_demand() {
    let bench = Bench::new();
    let issued = bench.sessions.issue(7).await.expect("up");
    let service = bench.sessions.layer().layer(service_fn(|request: Request<()>| {
        let principal = Principal::of(request.extensions());
        async move { Ok::<_, Infallible>(Response::new(principal.resolve().await.expect("answers"))) }
    }));
    let ask = async |cookie: Option<&str>| {
        let mut request = Request::builder();
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        service.clone().oneshot(request.body(()).expect("a request")).await.expect("infallible").into_body()
    };
    assert_eq!(ask(Some(&cookie_of(&issued))).await, Identity::Known(UserId::new(7)));
    assert_eq!(ask(None).await, Identity::Anonymous);
    bench.outage.set(true);
    assert_eq!(ask(Some(&cookie_of(&issued))).await, Identity::Unavailable);
}

#[tokio::test]
async fn the_layer_mounted_twice_is_one_session() {
    let bench = Bench::new();
    let handler = service_fn(async |request: Request<()>| {
        Session::of(&request).expect("mounted").insert("n", 1).expect("fits");
        Ok::<_, Infallible>(Response::new(()))
    });
    let twice = bench.sessions.layer().layer(bench.sessions.layer().layer(handler));
    let response = twice.oneshot(Request::new(())).await.expect("infallible");
    assert_eq!(response.headers().get_all(header::SET_COOKIE).iter().count(), 1);
}

#[tokio::test]
async fn a_disabled_layer_passes_requests_through() {
    let bench = Bench::new();
    let service = bench.sessions.layer().enabled(false).layer(service_fn(async |request: Request<()>| {
        Ok::<_, Infallible>(Response::new(Session::of(&request).is_some()))
    }));
    assert!(!service.oneshot(Request::new(())).await.expect("infallible").into_body());
}

#[tokio::test]
async fn bearer_tokens_open_a_session_and_set_no_cookie() {
    let bench = Bench::new();
    let issued = bench.sessions.issue(1).await.expect("up");
    let by_bearer = || Request::builder().header(header::AUTHORIZATION, issued.bearer()).body(()).expect("a request");
    let by_cookie = || Request::builder().header(header::COOKIE, issued.cookie()).body(()).expect("a request");
    let (cookie, bearer) = (bench.sessions.layer(), bench.sessions.layer().bearer());
    let both = bench.sessions.layer().cookie_or_bearer();
    for (layer, request, expected) in [
        (&bearer, by_bearer(), StatusCode::OK),
        (&bearer, by_cookie(), StatusCode::UNAUTHORIZED),
        (&cookie, by_bearer(), StatusCode::UNAUTHORIZED),
        (&both, by_bearer(), StatusCode::OK),
        (&both, by_cookie(), StatusCode::OK),
    ] {
        assert_eq!(bench.send(layer.clone(), request, look).await.0.status(), expected);
    }
    bench.clock.advance(hours(2)); // a renewal would be due
    let answer = bench.send(both, by_bearer(), count).await;
    assert_eq!((answer.0.status().as_u16(), answer.cookie()), (201, None));
    let refused = bench.send(bearer, Request::new(()), async |session: Session| {
        let error = session.login(2).await.expect_err("no way to bring the token");
        assert!(error.is_invalid());
        StatusCode::OK
    });
    assert_eq!(refused.await.cookie(), None);
}

#[tokio::test]
async fn too_large_a_session_is_refused_before_anything_is_written() {
    let bench = Bench::with(SessionConfig::new().max_size(100));
    let cookie = bench.ask(None, count).await.cookie().expect("a session");
    bench
        .ask(Some(&cookie), async |session: Session| {
            assert!(session.insert("big", "x".repeat(101)).expect_err("too large").is_invalid());
            session.insert("a", "x".repeat(60)).expect("fits alone");
            session.insert("b", "x".repeat(60)).expect("fits alone");
            assert!(session.save().await.expect_err("too large together").is_invalid());
            StatusCode::OK
        })
        .await;
    bench
        .ask(Some(&cookie), async |session: Session| {
            assert_eq!(session.get::<String>("a").await.expect("up"), None);
            assert_eq!(session.get::<u32>("n").await.expect("up"), Some(1));
            StatusCode::OK
        })
        .await;
}

#[tokio::test]
async fn sessions_are_listed_and_revoked() {
    let bench = Bench::new();
    let (phone, laptop) = (bench.sessions.issue(1).await.expect("up"), bench.sessions.issue(1).await.expect("up"));
    assert_eq!(bench.sessions.list(1).await.expect("up").len(), 2);
    assert_eq!(bench.sessions.revoke_others(1, &laptop.id()).await.expect("up"), 1);
    assert_eq!(status(&bench, &cookie_of(&phone)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&bench, &cookie_of(&laptop)).await, StatusCode::OK);
    assert_eq!(bench.sessions.revoke_all(1).await.expect("up"), 1);
    assert_eq!(status(&bench, &cookie_of(&laptop)).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_login_remembers_the_device() {
    let bench = Bench::new();
    let mut request = Request::builder().header(header::USER_AGENT, "Browser/1").body(()).expect("a request");
    request.extensions_mut().insert(towerkeep::ClientIp("2001:db8::7".parse().expect("an address")));
    bench.send(bench.sessions.layer(), request, login).await;
    let listed = bench.sessions.list(1).await.expect("up");
    assert_eq!(listed[0].device.as_deref(), Some("Browser/1"));
    assert_eq!(listed[0].ip.map(|ip| ip.to_string()).as_deref(), Some("2001:db8::7"));
    let json = serde_json::to_value(&listed[0]).expect("JSON");
    assert_eq!(json["id"], listed[0].id.to_string());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_end_of_a_session_is_told() {
    let bench = Bench::new();
    let issued = bench.sessions.issue(1).await.expect("up");
    let (id, sessions) = (issued.id(), bench.sessions.clone());
    let waiting = tokio::spawn(async move { sessions.ended(&id).await });
    tokio::time::sleep(seconds(60)).await;
    assert!(!waiting.is_finished());
    let start = tokio::time::Instant::now();
    bench.ask(Some(&cookie_of(&issued)), logout).await;
    waiting.await.expect("no panic");
    assert!(start.elapsed() < Duration::from_millis(10));

    // Ended by expiry, or elsewhere, it is noticed by looking.
    let (issued, sessions) = (bench.sessions.issue(1).await.expect("up"), bench.sessions.clone());
    let waiting = tokio::spawn(async move { sessions.ended(&issued.id()).await });
    tokio::time::sleep(seconds(1)).await;
    bench.clock.advance(days(2));
    tokio::time::timeout(seconds(6), waiting).await.expect("noticed").expect("no panic");
}

#[tokio::test]
async fn the_cookie_lives_as_long_as_the_session() {
    let config = SessionConfig::new().cookie(SessionCookie::local_dev().same_site_strict()).idle(hours(2));
    let bench = Bench::with(config);
    let answer = bench.ask(None, count).await;
    let set = answer.0.headers()[header::SET_COOKIE].to_str().expect("ASCII");
    assert!(set.ends_with("; Path=/; Max-Age=7200; HttpOnly; SameSite=Strict"), "{set}");
}

#[tokio::test]
async fn the_inner_services_error_passes_through() {
    let bench = Bench::new();
    let failing = bench.sessions.layer().layer(service_fn(async |request: Request<()>| {
        Session::of(&request).expect("mounted").insert("n", 1).expect("fits");
        Err::<Response<()>, _>("inner")
    }));
    assert_eq!(failing.oneshot(Request::new(())).await.expect_err("fails"), "inner");
}

/// Polls once.
fn poll_once<T>(future: impl Future<Output = T>) -> std::task::Poll<T> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::pin!(future).poll(&mut cx)
}

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let (mock, mut handle) = tower_test::mock::pair::<Request<()>, Response<()>>();
    let mut service = Bench::new().sessions.layer().layer(mock);
    handle.allow(0);
    assert!(poll_once(service.ready()).is_pending());
    handle.allow(1);
    assert!(poll_once(service.ready()).is_ready());
}

#[tokio::test]
async fn the_time_of_a_test_reaches_the_store() {
    let bench = Bench::new();
    let issued = bench.sessions.issue(1).await.expect("up");
    let mut request = Request::builder().header(header::COOKIE, issued.cookie()).body(()).expect("a request");
    request.extensions_mut().insert(Cx::new().at(START + days(1)));
    assert_eq!(bench.send(bench.sessions.layer(), request, look).await.0.status(), StatusCode::UNAUTHORIZED);
}
