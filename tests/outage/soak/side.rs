//! One instance of a soak, and what is asked of it without end.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};

use http::StatusCode;
use towerkeep::Keep;

use super::{GUESTS, ROAMERS};
use crate::{
    app::{Client, page},
    churn::Ended,
    faults::mix::{Judged, Seen, knock, limited, right},
    support::FaultProxy,
};

/// One instance behind a proxy of its own, and what is asked of it.
pub(super) struct Side {
    pub(super) keep: Keep,
    pub(super) proxy: FaultProxy,
    pub(super) roamers: Vec<Client>,
    pub(super) guests: Vec<Client>,
    /// Of the pages that no other instance is asked for.
    pub(super) first_page: u64,
    pub(super) ended: Ended,
    pub(super) added: Arc<AtomicI64>,
}

impl Side {
    pub(super) async fn send(self: Arc<Self>, number: u64) -> Judged {
        let turn = usize::try_from(number / 8).expect("small");
        let user = turn % ROAMERS;
        let mut roamer = self.roamers[user].clone();
        match number % 8 {
            0 | 4 => right("/me", &roamer.get("/me").await, &user.to_string()),
            1 => right("/maybe", &roamer.get("/maybe").await, &user.to_string()),
            2 => self.page(self.first_page + number % 7).await,
            3 => {
                let guest = turn % GUESTS;
                limited(guest, &self.guests[guest].clone().get("/hour").await)
            }
            5 if turn.is_multiple_of(3) => strict(&mut self.guests[turn % GUESTS].clone()).await,
            5 => right("/count", &roamer.post("/count").await, "").map(|_| Seen::Counted { user }),
            // Who logged out on this instance is out on it, whatever has happened since.
            6 => knock(&self.ended, number / 8).await,
            _ => {
                right("/add", &roamer.post("/add/1").await, "")?;
                self.added.fetch_add(1, Relaxed);
                Ok(Seen::Nothing)
            }
        }
    }

    async fn page(&self, n: u64) -> Judged {
        right("/page", &self.guests[0].clone().get(&format!("/page/{n}")).await, &page(n))
    }

    pub(super) async fn shared_page(self: Arc<Self>, number: u64) -> Judged {
        self.page(50 + number % 7).await
    }
}

/// The one route that is refused for want of Redis, because its policy says so.
async fn strict(guest: &mut Client) -> Judged {
    let answer = guest.get("/strict").await;
    let is_chosen = answer.status == StatusCode::SERVICE_UNAVAILABLE
        && answer.header("redis-status") == "degraded; rate-limit=denied"
        && !answer.header("retry-after").is_empty();
    if is_chosen || answer.status == StatusCode::TOO_MANY_REQUESTS {
        return Ok(Seen::Nothing);
    }
    right("/strict", &answer, "ok")
}
