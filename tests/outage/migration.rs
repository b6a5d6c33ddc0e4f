//! The example that takes over sessions of another library, against a real Redis.

use std::collections::HashMap;

use http::StatusCode;
use serde_json::json;

use crate::{
    app::{Client, keep},
    support::RedisServer,
};

#[allow(dead_code, unreachable_pub, reason = "its main is not called")]
#[path = "../../examples/migrate_sessions.rs"]
mod migrate_sessions;

use migrate_sessions::{Old, app};

/// As tower-sessions-redis-store writes it: MessagePack of the id, the values, and the expiry as year, day of the year,
/// time and offset.
fn packed(values: &serde_json::Value) -> Vec<u8> {
    let values: HashMap<String, serde_json::Value> = serde_json::from_value(values.clone()).expect("an object");
    let expiry = (2099u16, 365u16, 23u8, 59u8, 59u8, 0u32, 0i8, 0i8, 0i8);
    rmp_serde::to_vec(&(-7i128, values, expiry)).expect("it can be packed")
}

#[tokio::test]
async fn an_old_session_is_taken_over_once_with_its_values() {
    let server = RedisServer::start();
    let mut client = server.client().await;
    let keep = keep(&server.url()).await;
    let router = app(&keep, Old(server.client().await));
    let plain = serde_json::to_vec(&json!({"user_id": "43", "theme": "dark"})).expect("JSON");
    let old = [
        (
            "id=AAAAAAAAAAAAAAAAAAAA_w",
            "AAAAAAAAAAAAAAAAAAAA_w",
            packed(&json!({"user_id": 42, "cart": ["pear"]})),
            "user 42\n",
        ),
        ("id=abc123", "session:abc123", plain, "user 43\n"),
    ];
    for (cookie, key, stored, expected) in old {
        let () = redis::cmd("SET").arg(key).arg(stored).arg("EX").arg(3600).query_async(&mut client).await.expect("up");
        let mut user = Client::new(&router, 7);
        user.cookie = Some(cookie.to_owned());
        assert_eq!(user.get("/me").await.body, expected);
        let ours = user.cookie.clone().expect("a session of ours");
        assert!(ours.starts_with("__Host-sid="), "{ours}");
        assert_eq!(user.get("/me").await.body, expected, "by our own cookie");
        let left: bool = redis::cmd("EXISTS").arg(key).query_async(&mut client).await.expect("up");
        assert!(!left, "{key} is taken over");
        let mut again = Client::new(&router, 8);
        again.cookie = Some(cookie.to_owned());
        assert_eq!(again.get("/me").await.status, StatusCode::UNAUTHORIZED, "once");
    }
    let stored: Vec<String> = redis::cmd("KEYS").arg("tk:session:*").query_async(&mut client).await.expect("up");
    let mut values = String::new();
    for key in stored {
        values += &redis::cmd("GET").arg(key).query_async::<String>(&mut client).await.expect("up");
    }
    assert!(values.contains(r#""cart":["pear"]"#) && values.contains(r#""theme":"dark""#), "{values}");
}

#[tokio::test]
async fn no_cookie_reaches_a_key_that_is_no_old_session() {
    let server = RedisServer::start();
    let mut client = server.client().await;
    let keep = keep(&server.url()).await;
    let router = app(&keep, Old(server.client().await));
    let victim = keep.sessions().issue(1).await.expect("up");
    let key = format!("tk:session:{}", victim.id());
    let () = redis::cmd("SET").arg("session:broken1").arg("\u{1}").query_async(&mut client).await.expect("up");
    for cookie in [format!("id={key}"), "id=session:epoch".into(), "id=".into(), "id=broken1".into(), "id=*".into()] {
        let mut thief = Client::new(&router, 7);
        thief.cookie = Some(cookie.clone());
        assert_eq!(thief.get("/me").await.status, StatusCode::UNAUTHORIZED, "{cookie}");
    }
    let left: bool = redis::cmd("EXISTS").arg(key).query_async(&mut client).await.expect("up");
    assert!(left);
}
