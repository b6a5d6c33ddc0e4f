//! What every handler can reach, and how a change is carried through.

use std::future::Future;

use axum::extract::FromRef;
use towerkeep::prelude::*;
use tracing::Instrument;

use crate::{
    boards::Boards,
    database::{
        Database, analytics::Analytics, api_keys::ApiKeys, bookmarks::Bookmarks, challenges::Challenges, items::Items,
        participants::Participants, places::Places, scores::Scores, search::Search, tasks::Tasks, uploads::Uploads,
        users::Users,
    },
    health::Probe,
    market::Market,
    password::Passwords,
    problem::Problem,
};

/// The names of the caches that a change has to reach.
pub(crate) mod caches {
    pub(crate) const BOOKMARKS: &str = "bookmarks";
    pub(crate) const TASKS: &str = "tasks";
    /// Also the tag of all its lists.
    pub(crate) const CHALLENGES: &str = "challenges";
    pub(crate) const SEARCH: &str = "search";
    pub(crate) const ANALYTICS: &str = "analytics";
    pub(crate) const RECOMMENDATIONS: &str = "recommendations";
}

/// What a change is about, and so which cached responses are old once it is committed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// This user's bookmarks.
    Bookmarks(i64),
    /// This user's tasks.
    Tasks(i64),
    /// Challenges, which everybody sees.
    Challenges,
}

#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) keep: Keep,
    pub(crate) database: Database,
    pub(crate) users: Users,
    pub(crate) api_keys: ApiKeys,
    pub(crate) bookmarks: Bookmarks,
    pub(crate) tasks: Tasks,
    pub(crate) search: Search,
    pub(crate) challenges: Challenges,
    pub(crate) participants: Participants,
    pub(crate) scores: Scores,
    pub(crate) uploads: Uploads,
    pub(crate) analytics: Analytics,
    pub(crate) boards: Boards,
    pub(crate) items: Items,
    pub(crate) market: Market,
    pub(crate) passwords: Passwords,
    pub(crate) probe: Probe,
}

impl AppState {
    pub(crate) fn new(keep: Keep, database: Database, passwords: Passwords) -> Self {
        let scores = Scores::new(database.clone());
        let items = Items::new(database.clone());
        Self {
            market: Market::new(keep.clone(), items.clone()),
            items,
            boards: Boards::new(keep.clone(), Places::new(database.clone()), scores.clone()),
            keep,
            users: Users::new(database.clone()),
            api_keys: ApiKeys::new(database.clone()),
            bookmarks: Bookmarks::new(database.clone()),
            tasks: Tasks::new(database.clone()),
            search: Search::new(database.clone()),
            challenges: Challenges::new(database.clone()),
            participants: Participants::new(database.clone()),
            scores,
            uploads: Uploads::new(database.clone()),
            analytics: Analytics::new(database.clone()),
            database,
            passwords,
            probe: Probe::new(),
        }
    }

    /// Makes a change and purges what is old after it, so that the next request sees it. Runs to its end even if the
    /// client leaves.
    ///
    /// Only a refusal purges nothing: a change whose outcome is unknown, because the database was lost on the way, may
    /// have been committed.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        what: What,
        change: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let state = self.clone();
        let whole = async move {
            let outcome = change.await;
            if !outcome.as_ref().is_err_and(Problem::is_refusal) {
                state.purge(what).await;
            }
            outcome
        };
        to_the_end(whole).await
    }

    /// The one place that knows which responses are made of what.
    async fn purge(&self, what: What) {
        match what {
            What::Bookmarks(user) => self.purge_user(user, caches::BOOKMARKS).await,
            What::Tasks(user) => self.purge_user(user, caches::TASKS).await,
            What::Challenges => drop(self.keep.cache().purge_tags([caches::CHALLENGES]).await),
        }
    }

    /// Forgets a user's list, and what is made of all lists of that user; the purges go out together.
    async fn purge_user(&self, user: i64, list: &'static str) {
        let forget = |name| self.keep.cache().purge_user(name, user);
        tokio::join!(forget(list), forget(caches::SEARCH), forget(caches::ANALYTICS), forget(caches::RECOMMENDATIONS));
    }
}

impl FromRef<AppState> for Keep {
    fn from_ref(state: &AppState) -> Self {
        state.keep.clone()
    }
}

/// Runs a change to its end even if the client leaves: what was committed must also be purged from the cache.
pub(crate) async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let running = tokio::spawn(change.in_current_span());
    running.await.unwrap_or_else(|error| Err(Problem::internal(&error)))
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        body::Body,
        http::{Request, StatusCode},
        routing::get,
    };
    use tower::ServiceExt;

    use super::*;

    /// Whether this user's answer came from the cache of searches; it is there afterwards.
    async fn is_hit(app: &Router, user: i64) -> bool {
        let request = Request::get("/").extension(Principal::user(user)).body(Body::empty()).expect("a request");
        let answer = app.clone().oneshot(request).await.expect("infallible");
        let status = answer.headers()["cache-status"].to_str().expect("ascii").to_owned();
        axum::body::to_bytes(answer.into_body(), 64).await.expect("in memory");
        status.contains("; hit")
    }

    #[tokio::test]
    async fn only_a_refusal_leaves_what_is_cached() {
        let database = Database::open("sqlite::memory:").await.expect("a database");
        let state = AppState::new(Keep::in_memory(), database, Passwords::new().expect("random bytes"));
        let cached = state.keep.cache().per_user(caches::SEARCH).ttl(minutes(5));
        let app = Router::new().route("/", get(|| async { "found" })).layer(cached);
        for (outcome, stays) in [
            (Ok(()), false),
            (Err(StatusCode::NOT_FOUND), true),
            (Err(StatusCode::SERVICE_UNAVAILABLE), false),
            (Err(StatusCode::INTERNAL_SERVER_ERROR), false),
        ] {
            for user in [7, 8] {
                is_hit(&app, user).await;
                assert!(is_hit(&app, user).await, "{user}");
            }
            let change = async move { outcome.map_err(|status| Problem::new(status, "no")) };
            assert_eq!(state.change(What::Tasks(7), change).await.is_ok(), outcome.is_ok());
            assert_eq!(is_hit(&app, 7).await, stays, "{outcome:?}");
            assert!(is_hit(&app, 8).await, "nobody else's");
        }
    }

    #[tokio::test]
    async fn a_challenge_that_may_be_changed_is_shown_anew() {
        let database = Database::open("sqlite::memory:").await.expect("a database");
        let state = AppState::new(Keep::in_memory(), database, Passwords::new().expect("random bytes"));
        let cached = state.keep.cache().public(caches::CHALLENGES).ttl(minutes(1)).tags([caches::CHALLENGES]);
        let app = Router::new().route("/", get(|| async { "all" })).layer(cached);
        for (outcome, stays) in
            [(Ok(()), false), (Err(StatusCode::CONFLICT), true), (Err(StatusCode::SERVICE_UNAVAILABLE), false)]
        {
            is_hit(&app, 7).await;
            assert!(is_hit(&app, 7).await);
            let change = async move { outcome.map_err(|status| Problem::new(status, "no")) };
            assert_eq!(state.change(What::Challenges, change).await.is_ok(), outcome.is_ok());
            assert_eq!(is_hit(&app, 7).await, stays, "{outcome:?}");
        }
    }
}
