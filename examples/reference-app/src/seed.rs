//! Demo data: two users and a handful of bookmarks, so that there is something to look at.

use anyhow::Context;

use crate::{
    database::{bookmarks::NewBookmark, users::User},
    password::random_password,
    state::AppState,
};

pub(crate) const DEMO: (&str, &str) = ("demo", "demo-password");
const ADMIN: &str = "admin";

/// Address, title, description, tags, favorite; the last one is shown first.
type Sample = (&'static str, &'static str, Option<&'static str>, &'static [&'static str], bool);

const BOOKMARKS: [Sample; 6] = [
    (
        "https://www.rfc-editor.org/rfc/rfc9111",
        "RFC 9111: HTTP Caching",
        Some("What a shared cache may keep, and when it must not."),
        &["http", "standards"],
        false,
    ),
    ("https://www.rfc-editor.org/rfc/rfc9457", "RFC 9457: Problem Details", None, &["http", "standards"], false),
    (
        "https://redis.io/docs/latest/develop/data-types/sorted-sets/",
        "Redis sorted sets",
        Some("Leaderboards and sliding windows are made of these."),
        &["redis"],
        false,
    ),
    (
        "https://docs.rs/tower/latest/tower/trait.Service.html",
        "tower: the Service trait",
        Some("Read the part about clones and readiness twice."),
        &["rust", "tower"],
        true,
    ),
    (
        "https://brooker.co.za/blog/2022/02/28/retries.html",
        "Fixing retries with token buckets",
        None,
        &["reliability"],
        false,
    ),
    (
        "https://how.complexsystems.fail/",
        "How Complex Systems Fail",
        Some("Eighteen short points.\nThe seventh changes how one writes incident reports."),
        &["reliability", "reading"],
        true,
    ),
];

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
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        favorite,
    }
}
