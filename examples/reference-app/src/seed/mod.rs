//! Demo data, so that there is something to look at in the first minute: bookmarks, tasks and actions of a demo user,
//! two challenges with their boards, a marketplace with trends.

mod samples;
mod world;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};

use crate::{
    database::{bookmarks::NewBookmark, tasks::NewTask, users::User},
    password::random_password,
    seed::samples::{BOOKMARKS, Errand, Sample, TASKS},
    state::AppState,
};

pub(crate) const DEMO: (&str, &str) = ("demo", "demo-password");
const ADMIN: &str = "admin";

/// Adds what is missing; a user who is there already stays as they are.
///
/// Answers the administrator's password if it was made just now.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn plant(state: &AppState) -> anyhow::Result<Option<String>> {
    if let Some(demo) = add_user(state, DEMO.0, DEMO.1, false).await? {
        for sample in BOOKMARKS {
            state.bookmarks.create(demo.id, &bookmark(sample)).await.context("cannot add the demo bookmarks")?;
        }
        for errand in TASKS {
            state.tasks.create(demo.id, &task(errand)?).await.context("cannot add the demo tasks")?;
        }
        world::plant(state, demo.id).await.context("cannot add the demo challenges and items")?;
    }
    let password = random_password()?;
    Ok(add_user(state, ADMIN, &password, true).await?.map(|_| password))
}

async fn add_user(state: &AppState, name: &str, password: &str, is_admin: bool) -> anyhow::Result<Option<User>> {
    const FAILED: &str = "cannot add the demo users";
    if state.users.credentials(name).await.context(FAILED)?.is_some() {
        return Ok(None);
    }
    let hash = state.passwords.hash(password.to_owned()).await.context(FAILED)?;
    state.users.create(name, &hash, is_admin).await.context(FAILED)
}

fn bookmark((url, title, description, tags, favorite): Sample) -> NewBookmark {
    NewBookmark {
        url: url.to_owned(),
        title: title.to_owned(),
        description: description.map(str::to_owned),
        tags: owned(tags),
        favorite,
    }
}

fn task((title, status, priority, progress, hours, tags): Errand) -> anyhow::Result<NewTask> {
    let due_at = hours.map(|hours| Timestamp::now().checked_add(SignedDuration::from_hours(hours))).transpose()?;
    Ok(NewTask {
        title: title.to_owned(),
        description: None,
        status: Some(status),
        priority: Some(priority),
        progress: Some(progress),
        due_at,
        tags: Some(owned(tags)),
    })
}

fn owned(tags: &[&str]) -> Vec<String> {
    tags.iter().map(|tag| (*tag).to_owned()).collect()
}
