//! The token that forms carry.

use super::*;

/// One request that asks for the token; with the cookie that it sets.
async fn token(bench: &Bench, cookie: Option<&str>) -> (String, Option<String>) {
    let shown = Arc::new(std::sync::Mutex::new(String::new()));
    let show = Arc::clone(&shown);
    let answer = bench.ask(cookie, move |session| {
        let show = Arc::clone(&show);
        async move {
            let token = session.csrf_token().await.expect("up");
            assert_eq!(session.csrf_token().await.expect("up"), token);
            *show.lock().expect("no panic") = token;
            StatusCode::OK
        }
    });
    let cookie = answer.await.cookie();
    let token = shown.lock().expect("no panic").clone();
    (token, cookie)
}

async fn is_taken(bench: &Bench, cookie: &str, token: &str) -> bool {
    let token = token.to_owned();
    let answer = bench.ask(Some(cookie), move |session| {
        let token = token.clone();
        async move {
            let is_own = session.is_csrf_token(&token).await.expect("up");
            if is_own { StatusCode::OK } else { StatusCode::FORBIDDEN }
        }
    });
    answer.await.0.status() == StatusCode::OK
}

#[tokio::test]
async fn a_csrf_token_is_its_sessions_alone() {
    let bench = Bench::new();
    let (mine, cookie) = token(&bench, None).await;
    let (other, others_cookie) = token(&bench, None).await;
    let (cookie, others_cookie) = (cookie.expect("a session"), others_cookie.expect("a session"));
    assert_eq!(token(&bench, Some(&cookie)).await, (mine.clone(), None));
    assert!(is_taken(&bench, &cookie, &mine).await && is_taken(&bench, &others_cookie, &other).await);
    for wrong in [&*other, "", &mine[1..], &format!("{mine}0"), &mine.to_uppercase()] {
        assert!(wrong == mine || !is_taken(&bench, &cookie, wrong).await, "{wrong}");
    }
    assert!(!is_taken(&bench, "__Host-sid=x", "").await, "no session, no token");
}

#[tokio::test]
async fn a_csrf_token_outlives_a_renewal_and_not_a_login() {
    let bench = Bench::new();
    let (before, cookie) = token(&bench, None).await;
    let cookie = cookie.expect("a session");
    bench.clock.advance(hours(2));
    let renewed = bench.ask(Some(&cookie), look).await.cookie().expect("a new secret");
    assert!(is_taken(&bench, &renewed, &before).await);
    let logged_in = bench.ask(Some(&renewed), login).await.cookie().expect("a new secret");
    assert!(!is_taken(&bench, &logged_in, &before).await);
    assert_ne!(token(&bench, Some(&logged_in)).await.0, before);
}

#[tokio::test]
async fn of_two_first_requests_at_once_both_show_the_token_that_is_stored() {
    let bench = Arc::new(Bench::new());
    let cookie = bench.ask(None, count).await.cookie().expect("a session");
    let (inner, same) = (Arc::clone(&bench), cookie.clone());
    let slow = bench.ask(Some(&cookie), move |session| {
        let (bench, same) = (Arc::clone(&inner), same.clone());
        async move {
            assert_eq!(session.get::<u32>("n").await.expect("up"), Some(1)); // read before the other one
            let first = Box::pin(token(&bench, Some(&same))).await.0;
            assert_eq!(session.csrf_token().await.expect("up"), first);
            StatusCode::OK
        }
    });
    assert_eq!(slow.await.0.status(), StatusCode::OK);
}
