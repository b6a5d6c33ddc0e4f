//! Requests of one session that overlap.

use super::*;

#[tokio::test]
async fn a_login_keeps_the_values_and_ends_the_old_secret_at_once() {
    let bench = Bench::new();
    let before = bench.ask(None, count).await.cookie().expect("a session");
    let after = bench.ask(Some(&before), login).await.cookie().expect("a new secret");
    assert_ne!(before, after);
    assert_eq!(before[..43], after[..43]); // the handle stays
    assert_eq!(bench.ask(Some(&after), count).await.0.status().as_u16(), 202);
    // A slow request with the old secret reads nothing, writes nothing, and does not overwrite the new cookie.
    let slow = bench.ask(Some(&before), count).await;
    assert_eq!((slow.0.status().as_u16(), slow.cookie()), (201, None));
    assert_eq!(bench.ask(Some(&after), count).await.0.status().as_u16(), 203);
    // Long after, it is an unknown token like any other.
    bench.clock.advance(seconds(10));
    assert!(bench.ask(Some(&before), count).await.cookie().is_some());
}

#[tokio::test]
async fn a_request_begun_before_a_login_cannot_write_after_it() {
    let bench = Bench::new();
    let before = bench.ask(None, count).await.cookie().expect("a session");
    let store = Arc::new(bench);
    let inner = Arc::clone(&store);
    let old = before.clone();
    let slow = store.ask(Some(&before), move |session| {
        let (bench, old) = (Arc::clone(&inner), old.clone());
        async move {
            let _ = session.insert("role", "guest");
            assert_eq!(session.get::<u32>("n").await.expect("up"), Some(1));
            let login = Box::pin(bench.ask(Some(&old), login)).await;
            assert!(login.cookie().is_some());
            assert_eq!(session.save().await.expect("up"), SessionSave::Superseded);
            StatusCode::OK
        }
    });
    assert_eq!(slow.await.cookie(), None);
}

#[tokio::test]
async fn another_users_login_starts_without_the_values_of_the_first() {
    let bench = Bench::new();
    let first = bench.ask(None, login).await.cookie().expect("a session");
    bench.ask(Some(&first), count).await;
    let second = bench.ask(Some(&first), async |session: Session| {
        session.login(2).await.expect("up");
        assert_eq!(session.get::<u32>("n").await.expect("up"), None);
        StatusCode::OK
    });
    let second = second.await.cookie().expect("a session");
    assert_ne!(first[..43], second[..43]);
    bench.clock.advance(minutes(1));
    assert_eq!(status(&bench, &first).await, StatusCode::UNAUTHORIZED);
    assert!(bench.sessions.list(1).await.expect("up").is_empty());
    assert_eq!(bench.sessions.list(2).await.expect("up").len(), 1);
}

#[tokio::test]
async fn a_logout_ends_the_session_and_is_not_undone_by_a_slower_request() {
    let bench = Arc::new(Bench::new());
    let cookie = bench.ask(None, login).await.cookie().expect("a session");
    let (inner, same) = (Arc::clone(&bench), cookie.clone());
    let slow = bench.ask(Some(&cookie), move |session| {
        let (bench, same) = (Arc::clone(&inner), same.clone());
        async move {
            session.update("n", |n: &mut u32| *n += 1).await.expect("up");
            assert!(Box::pin(bench.ask(Some(&same), logout)).await.is_removal());
            StatusCode::OK
        }
    });
    assert_eq!(slow.await.cookie(), None);
    assert_eq!(status(&bench, &cookie).await, StatusCode::UNAUTHORIZED);
    assert!(bench.sessions.list(1).await.expect("up").is_empty());
}

#[tokio::test]
async fn a_change_after_a_logout_begins_a_new_session() {
    let bench = Bench::new();
    let cookie = bench.ask(None, login).await.cookie().expect("a session");
    let again = bench.ask(Some(&cookie), async |session: Session| {
        session.insert("n", 7).expect("fits");
        session.logout().await.expect("up");
        assert_eq!(session.get::<u32>("n").await.expect("up"), None);
        session.insert("notice", "bye").expect("fits");
        StatusCode::OK
    });
    let again = again.await.cookie().expect("a session");
    assert_ne!(cookie[..43], again[..43]);
    assert_eq!(status(&bench, &again).await, StatusCode::OK);
}

#[tokio::test]
async fn concurrent_updates_add_up() {
    let bench = Arc::new(Bench::new());
    let cookie = bench.ask(None, count).await.cookie().expect("a session");
    let all = Arc::new(tokio::sync::Barrier::new(8));
    let requests: Vec<_> = (0..8)
        .map(|n| {
            let (bench, cookie, all) = (Arc::clone(&bench), cookie.clone(), Arc::clone(&all));
            tokio::spawn(async move {
                let handler = move |session: Session| {
                    let all = Arc::clone(&all);
                    async move {
                        session.update("n", |n: &mut u32| *n += 1).await.expect("up");
                        session.insert(&format!("key{n}"), n).expect("fits");
                        all.wait().await; // all have read the same state
                        StatusCode::OK
                    }
                };
                bench.ask(Some(&cookie), handler).await;
            })
        })
        .collect();
    for request in requests {
        request.await.expect("no panic");
    }
    bench
        .ask(Some(&cookie), async |session: Session| {
            assert_eq!(session.get::<u32>("n").await.expect("up"), Some(9));
            for n in 0..8 {
                assert_eq!(session.get::<u32>(&format!("key{n}")).await.expect("up"), Some(n));
            }
            StatusCode::OK
        })
        .await;
}

/// A request with a touch due, in whose handler `meanwhile` another one has the session do something; the cookie that the
/// slow one sets.
async fn slow_while<F>(
    bench: &Bench,
    meanwhile: impl Fn(Sessions, String) -> F + Clone + Send + Sync + 'static,
) -> Option<String>
where
    F: Future<Output = ()> + Send + 'static,
{
    let cookie = cookie_of(&bench.sessions.issue(1).await.expect("memory"));
    bench.clock.advance(minutes(40));
    let (sessions, same) = (bench.sessions.clone(), cookie.clone());
    let slow = bench.ask(Some(&cookie), move |session| {
        let meanwhile = meanwhile(sessions.clone(), same.clone());
        async move {
            assert!(session.user().await.expect("up").is_some());
            meanwhile.await;
            StatusCode::OK
        }
    });
    slow.await.cookie()
}

/// Sends one request through these sessions, which must set a cookie.
async fn ask_of<F>(sessions: &Sessions, cookie: &str, handler: impl Fn(Session) -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output = StatusCode> + Send + 'static,
{
    let bench = Bench { clock: ManualClock::at(START), outage: OutageSwitch::default(), sessions: sessions.clone() };
    let set = Box::pin(bench.ask(Some(cookie), handler)).await.cookie();
    assert!(set.is_some_and(|set| set != cookie), "a new secret");
}

async fn rotate(session: Session) -> StatusCode {
    session.rotate().await.map_or(StatusCode::SERVICE_UNAVAILABLE, |_| StatusCode::OK)
}

fn touching(renew_every: Duration) -> SessionConfig {
    SessionConfig::new().idle(hours(1)).renew_every(renew_every)
}

/// The cookie of the touch came after that of the login, and ten seconds later the user was nobody.
#[tokio::test]
async fn a_request_begun_before_a_new_secret_does_not_bring_the_old_cookie_back() {
    let bench = Bench::with(touching(days(1)));
    let set = slow_while(&bench, async |sessions: Sessions, cookie: String| ask_of(&sessions, &cookie, login).await);
    assert_eq!(set.await, None, "a login");
    let set = slow_while(&bench, async |sessions: Sessions, cookie: String| ask_of(&sessions, &cookie, rotate).await);
    assert_eq!(set.await, None, "a rotation");

    let bench = Bench::with(touching(minutes(45)));
    let clock = bench.clock.clone();
    let set = slow_while(&bench, move |sessions, cookie| {
        let clock = clock.clone();
        async move {
            clock.advance(minutes(6));
            ask_of(&sessions, &cookie, look).await;
        }
    });
    assert_eq!(set.await, None, "a renewal");
}

#[tokio::test]
async fn a_slow_request_hears_of_a_new_secret_that_another_instance_made() {
    let bench = Bench::with(touching(days(1)));
    let clock = bench.clock.clone();
    let set = slow_while(&bench, move |sessions, cookie| {
        let clock = clock.clone();
        async move {
            clock.advance(seconds(2));
            ask_of(&sessions.config(touching(days(1))), &cookie, login).await;
        }
    });
    assert_eq!(set.await, None);
}

#[tokio::test]
async fn a_slow_request_prolongs_its_cookie_where_the_secret_is_still_the_same() {
    let bench = Bench::with(touching(days(1)));
    let clock = bench.clock.clone();
    let set = slow_while(&bench, move |_, _| {
        let clock = clock.clone();
        async move { clock.advance(seconds(2)) }
    });
    assert!(set.await.is_some());
}
