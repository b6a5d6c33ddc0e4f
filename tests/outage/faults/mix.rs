//! The requests of a case, and what is right about their answers.

use std::sync::{Arc, Mutex};

use http::StatusCode;

use crate::app::{Answer, Client, page};

pub(crate) const USERS: usize = 20;

/// Whom a case sends requests for.
pub(crate) struct Mix {
    pub(crate) users: Vec<Client>,
    /// Clients with a token of a session that has ended.
    pub(crate) ended: Mutex<Vec<Client>>,
}

/// What is remembered of an answer that was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Nothing,
    /// The limit let this user's request pass; whether this instance counted it alone.
    Admitted {
        user: usize,
        is_local: bool,
    },
    /// One was added in this user's session.
    Counted {
        user: usize,
    },
}

pub(crate) type Judged = Result<Seen, String>;

impl Mix {
    /// The request of this number: all kinds in turn, and now and then somebody who has logged out.
    pub(crate) async fn send(self: Arc<Self>, number: u64) -> Judged {
        if number % 25 == 24 {
            return knock(&self.ended, number / 25).await;
        }
        let users = self.users.len();
        let user = usize::try_from(number).expect("small") % users;
        let mut client = self.users[user].clone();
        match number / users as u64 % 8 {
            0 | 4 => right("/me", &client.get("/me").await, &user.to_string()),
            1 => right("/maybe", &client.get("/maybe").await, &user.to_string()),
            2 | 6 => {
                let n = number % 7;
                right("/page", &client.get(&format!("/page/{n}")).await, &page(n))
            }
            3 | 7 => limited(user, &client.get("/five").await),
            _ => right("/count", &client.post("/count").await, "").map(|_| Seen::Counted { user }),
        }
    }
}

/// Nobody who has logged out is served: they come in turn.
pub(crate) async fn knock(ended: &Mutex<Vec<Client>>, turn: u64) -> Judged {
    let stolen = {
        let ended = ended.lock().expect("no panic while held");
        ended.get(usize::try_from(turn).expect("small") % ended.len().max(1)).cloned()
    };
    let Some(mut stolen) = stolen else { return Ok(Seen::Nothing) };
    let answer = stolen.get("/me").await;
    match answer.status {
        StatusCode::UNAUTHORIZED => Ok(Seen::Nothing),
        other => Err(format!("alive after a logout: {other} {}", answer.body)),
    }
}

pub(crate) fn right(path: &str, answer: &Answer, body: &str) -> Judged {
    if answer.status == StatusCode::OK && (body.is_empty() || answer.body == body) {
        return Ok(Seen::Nothing);
    }
    Err(format!("{path}: {} {:?} instead of {body:?}", answer.status, answer.body))
}

/// An answer of a route with a limit.
pub(crate) fn limited(user: usize, answer: &Answer) -> Judged {
    let is_local = answer.header("redis-status").contains("rate-limit=local");
    match answer.status {
        StatusCode::OK => Ok(Seen::Admitted { user, is_local }),
        StatusCode::TOO_MANY_REQUESTS => Ok(Seen::Nothing),
        other => Err(format!("/five: {other} {}", answer.body)),
    }
}
