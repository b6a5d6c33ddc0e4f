//! What the document cannot say: how one field hangs on another, or on what is there.

use serde_json::{Value, json};

use super::world::{Caller, World};

pub(super) const PASSWORD: &str = "a good password";

/// A body of an operation that takes other than JSON.
pub(super) const BYTES: &[u8] = b"a few bytes";

/// The value of a field that an example cannot give.
pub(super) fn field(world: &World, caller: &Caller, operation: &str, name: &str) -> Option<Value> {
    match (operation, name) {
        ("auth_register", "username") => Some(json!(format!("new-{}", world.number()))),
        ("auth_login", "username") => Some(json!(caller.name)),
        ("auth_login", "password") => Some(json!(PASSWORD)),
        _ => None,
    }
}

/// What must have been posted beside an operation before it works.
pub(super) fn before(operation: &str) -> Vec<(&'static str, Option<Value>)> {
    let score = json!({ "event_id": "before", "points": 1 });
    match operation {
        "challenges_score" => vec![("join", None)],
        "challenges_leaderboard_me" => vec![("join", None), ("scores", Some(score))],
        _ => Vec::new(),
    }
}

/// Whether an operation has nothing to say without Redis, and answers 503: its documentation says so.
pub(super) fn needs_redis(operation: &str) -> bool {
    // Nobody can tell where else a user is logged in.
    matches!(operation, "auth_list")
}

/// Whether an operation is closed to everybody else: its documentation says so.
pub(super) fn is_for_administrators(operation: &str) -> bool {
    matches!(operation, "health_redis")
}

/// The query of an operation that needs one.
pub(super) fn query(operation: &str) -> &'static str {
    match operation {
        "search_search" => "?q=text",
        _ => "",
    }
}
