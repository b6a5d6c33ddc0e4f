//! One session on two instances, of which the first is cut off: what it knows is no longer all there is.

use http::HeaderValue;
use towerkeep::{
    session::{Session, SessionState},
    store::OutageSwitch,
};

use super::{races::App, *};

/// Two applications before one store.
struct Two {
    clock: ManualClock,
    outage: OutageSwitch,
    cut_off: App,
    other: App,
}

impl Two {
    fn new(config: &SessionConfig) -> Self {
        let (clock, outage) = (ManualClock::at(START), OutageSwitch::default());
        let store = MemorySessionStore::new(clock.clock());
        let app = |store| App::new(FallbackSessionStore::new(store, config), config.clone());
        let (cut_off, other) = (app(store.clone().outage(outage.clone())), app(store));
        Self { clock, outage, cut_off, other }
    }
}

async fn user(app: &App, cookie: &HeaderValue) -> Option<UserId> {
    app.ask(Some(cookie.clone()), async |session: Session| session.user().await.expect("known")).await.1
}

/// Counts in the session; how it stands, and whether that was unavailable.
async fn count(session: Session) -> (SessionState, bool) {
    let counted = session.update("n", |n: &mut u32| *n += 1).await;
    (session.state().await, counted.is_err_and(|error| error.is_unavailable()))
}

/// Has the session get a new secret.
async fn anew(session: Session, how: &str) {
    match how {
        "login" => session.login(1).await.expect("up"),
        "rotation" => drop(session.rotate().await.expect("up")),
        _ => drop(session.user().await.expect("up")),
    }
}

#[tokio::test]
async fn a_cookie_that_is_newer_than_the_copy_is_neither_refused_nor_replaced() {
    for how in ["login", "rotation", "renewal"] {
        let both = Two::new(&SessionConfig::new());
        let issued = both.other.0.issue(1).await.expect("up");
        assert!(user(&both.cut_off, &issued.cookie()).await.is_some());
        both.clock.advance(if how == "renewal" { hours(1) } else { seconds(1) });
        let newer = both.other.ask(Some(issued.cookie()), |session| anew(session, how)).await.0.expect("a new secret");
        both.outage.set(true);
        let (set, answer) = both.cut_off.ask(Some(newer.clone()), count).await;
        assert_eq!((set, answer), (None, (SessionState::Unavailable, true)), "{how}");
        both.outage.set(false);
        assert!(user(&both.cut_off, &newer).await.is_some(), "{how}");
    }
}

#[tokio::test]
async fn a_guessed_secret_opens_no_copy() {
    let both = Two::new(&SessionConfig::new());
    let [issued, other] = [both.other.0.issue(1).await.expect("up"), both.other.0.issue(2).await.expect("up")];
    assert!(user(&both.cut_off, &issued.cookie()).await.is_some());
    both.outage.set(true);
    let guess = format!("__Host-sid={}{}", issued.id(), &other.token()[32..]);
    let guess = HeaderValue::from_str(&guess).expect("ASCII");
    assert_eq!(both.cut_off.ask(Some(guess), count).await.1, (SessionState::Unavailable, true));
    assert_eq!(both.cut_off.ask(Some(issued.cookie()), count).await.1, (SessionState::Live, false));
}

/// The secret that the first instance made was unknown to the second, which logged its holder out.
#[tokio::test]
async fn a_renewal_waits_until_the_outage_is_over() {
    let both = Two::new(&SessionConfig::new().renew_every(minutes(10)));
    let mut cookie = both.other.0.issue(1).await.expect("up").cookie();
    assert!(user(&both.cut_off, &cookie).await.is_some());
    both.outage.set(true);
    both.clock.advance(minutes(11));
    for _ in 0..2 {
        // The second time with a change that the store does not know.
        let (set, answer) = both.cut_off.ask(Some(cookie.clone()), count).await;
        assert_eq!(answer, (SessionState::Live, false));
        cookie = set.unwrap_or(cookie);
    }
    assert!(user(&both.other.clone(), &cookie).await.is_some(), "known to all");
    both.outage.set(false);
    let renewed = both.cut_off.ask(Some(cookie), async |session: Session| session.get::<u32>("n").await.expect("up"));
    assert_eq!(renewed.await.1, Some(2));
}
