//! How long a session lives unused: the settings' time, or its own.

use super::*;

fn set_by(answer: &Answer) -> String {
    answer.0.headers()[header::SET_COOKIE].to_str().expect("ASCII").to_owned()
}

#[tokio::test]
async fn a_session_of_its_own_idle_time_ends_and_its_cookie_with_it() {
    let bench = Bench::new();
    let issued = bench.sessions.issue(42).await.expect("memory");
    let cookie = cookie_of(&issued);
    let answer = bench.ask(Some(&cookie), async |session: Session| {
        session.set_idle(minutes(10)).expect("long enough");
        StatusCode::OK
    });
    let set = set_by(&answer.await);
    assert!(set.starts_with(&cookie) && set.contains("Max-Age=600;"), "{set}");

    bench.clock.advance(minutes(9));
    assert_eq!(status(&bench, &cookie).await, StatusCode::OK);
    tokio::task::yield_now().await; // the background task
    bench.clock.advance(minutes(9));
    assert_eq!(status(&bench, &cookie).await, StatusCode::OK, "it was used");
    bench.clock.advance(minutes(10));
    assert_eq!(status(&bench, &cookie).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_login_may_choose_how_long_it_lasts() {
    let bench = Bench::new();
    let answer = bench.ask(None, async |session: Session| {
        session.set_idle(days(14)).expect("long enough");
        session.login(42).await.expect("memory");
        StatusCode::OK
    });
    let set = set_by(&answer.await);
    let cookie = set.split(';').next().expect("a pair").to_owned();
    assert!(set.contains("Max-Age=1209600;"), "{set}");
    bench.clock.advance(days(13));
    assert_eq!(status(&bench, &cookie).await, StatusCode::OK);
}

#[tokio::test]
async fn an_idle_time_of_nothing_is_refused() {
    let bench = Bench::new();
    bench
        .ask(None, async |session: Session| {
            assert!(session.set_idle(Duration::ZERO).expect_err("no time").is_invalid());
            StatusCode::OK
        })
        .await;
}

#[tokio::test]
async fn a_session_that_is_only_read_does_not_expire_in_use_however_short_its_time() {
    let bench = Bench::with(SessionConfig::new().idle(seconds(20)));
    let cookie = cookie_of(&bench.sessions.issue(42).await.expect("memory"));
    for _ in 0..10 {
        bench.clock.advance(seconds(11));
        assert_eq!(status(&bench, &cookie).await, StatusCode::OK);
        tokio::task::yield_now().await; // the background task
    }
}
