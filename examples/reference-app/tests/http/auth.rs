//! Registering and logging in.

use serde_json::json;

use crate::{suite, support::App};

suite![registering_tells_all_that_is_wrong, logging_in_needs_the_right_password,];

async fn registering_tells_all_that_is_wrong(app: App) {
    let mut visitor = app.visitor();
    let register = "/api/v1/auth/register";
    let answer = visitor.post(register, json!({ "username": "a b", "password": "short", "role": "admin" })).await;
    assert_eq!(answer.refused(), ["password", "role", "username"]);
    assert_eq!(visitor.post(register, json!({})).await.refused(), ["password", "username"]);

    let taken = json!({ "username": "Alice", "password": "long enough" });
    app.user("alice").await;
    assert_eq!(visitor.post(register, taken).await.status, 409);
}

async fn logging_in_needs_the_right_password(app: App) {
    app.user("alice").await;
    let mut visitor = app.visitor();
    for (name, password) in
        [("alice", "wrong password"), ("nobody", "a good password"), ("x", ""), ("ali\u{0}ce", "\u{0}")]
    {
        let answer = visitor.post("/api/v1/auth/login", json!({ "username": name, "password": password })).await;
        assert_eq!((answer.status, &answer.body["detail"]), (401, &json!("wrong username or password")));
        assert_eq!(answer.header("set-cookie"), "");
    }
    assert_eq!(visitor.get("/api/v1/auth/me").await.status, 401);
    let right = json!({ "username": "ALICE", "password": "a good password" });
    assert_eq!(visitor.post("/api/v1/auth/login", right).await.status, 200);
    assert_eq!(visitor.get("/api/v1/auth/me").await.status, 200);
}
