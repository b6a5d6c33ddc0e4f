//! What is not the demo user's alone: challenges and those who take part, and the marketplace; and a log of actions.

use jiff::{SignedDuration, Timestamp};
use towerkeep::{action_log::Action, clock};

use super::samples::{ACTIONS, CHALLENGES, Contest, ITEMS, PLAYERS, Ware};
use crate::{
    database::{
        challenges::{Challenge, NewChallenge},
        items::NewItem,
        scores::Recorded,
    },
    market::Look,
    password::random_password,
    state::AppState,
};

/// Adds all of it, in the demo user's name.
///
/// # Errors
/// When the database refuses.
pub(super) async fn plant(state: &AppState, demo: i64) -> anyhow::Result<()> {
    let players = players(state).await?;
    for contest in CHALLENGES {
        let challenge = state.challenges.create(demo, &challenge(contest)?).await?;
        for (player, points) in players.iter().zip(contest.3) {
            score(state, &challenge, *player, points).await?;
        }
    }
    for ware in ITEMS {
        offer(state, demo, ware).await?;
    }
    log(state, demo).await;
    Ok(())
}

/// Users with a password that nobody knows; one hash does for all of them. A name that somebody has is left out.
async fn players(state: &AppState) -> anyhow::Result<Vec<i64>> {
    let hash = state.passwords.hash(random_password()?).await?;
    let mut players = Vec::new();
    for name in PLAYERS {
        players.extend(state.users.create(name, &hash, false).await?.map(|player| player.id));
    }
    Ok(players)
}

async fn score(state: &AppState, challenge: &Challenge, player: i64, points: i64) -> anyhow::Result<()> {
    state.participants.join(challenge.id, player).await?;
    if let Recorded::Now(event) = state.scores.record(challenge.id, player, "demo", points).await? {
        state.boards.place(&event).await?;
    }
    Ok(())
}

fn challenge((title, description, capacity, _): Contest) -> anyhow::Result<NewChallenge> {
    let now = Timestamp::now();
    Ok(NewChallenge {
        title: title.to_owned(),
        description: Some(description.to_owned()),
        starts_at: now.checked_sub(SignedDuration::from_hours(24 * 10))?,
        ends_at: now.checked_add(SignedDuration::from_hours(24 * 20))?,
        capacity,
        ranking: None,
    })
}

async fn offer(state: &AppState, demo: i64, ware: Ware) -> anyhow::Result<()> {
    let (title, description, kind, views, downloads) = ware;
    let new = NewItem { title: title.to_owned(), description: Some(description.to_owned()), kind };
    let item = state.items.create(demo, &new).await?;
    for (look, times) in [(Look::View, views), (Look::Download, downloads)] {
        if times > 0 {
            state.market.add(look, item.id, times).await;
        }
    }
    Ok(())
}

/// What is not in the database is worth no failed start.
async fn log(state: &AppState, demo: i64) {
    let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or_default();
    let actions = ACTIONS.map(|(name, minutes)| {
        let ago = u64::try_from(clock::minutes(minutes).as_micros()).unwrap_or_default();
        Action::new(name).at(clock::Timestamp::from_micros(now.saturating_sub(ago)))
    });
    if let Err(error) = state.keep.actions().append_batch(demo, actions).await {
        tracing::warn!(%error, "the demo user's actions are not logged");
    }
}
