//! The marketplace on a real Redis that is cut off: looks are counted all the same, and once.
mod support;

use serde_json::{Value, json};
use support::{
    App,
    servers::{FaultProxy, Mode, RedisServer, eventually},
};

/// The value of a counter in Redis.
async fn counter(redis: &RedisServer, key: &str) -> Option<i64> {
    redis::cmd("GET").arg(key).query_async(&mut redis.client().await).await.expect("an integer")
}

/// One view of the item from each of these addresses.
async fn view(app: &App, item: &Value, addresses: std::ops::Range<u8>) {
    for n in addresses {
        let mut visitor = app.visitor().at(&format!("203.0.113.{n}"));
        let viewed = visitor.post(&format!("/api/v1/items/{item}/view"), json!({})).await;
        assert_eq!((viewed.status, &viewed.body["counted"]), (200, &json!(true)), "{viewed:?}");
    }
}

/// The titles that trend, and who says so.
async fn trends(app: &App, period: &str, limit: u32) -> (Vec<Value>, Value) {
    let answer = app.visitor().get(&format!("/api/v1/trending/{period}?limit={limit}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let rows = answer.body["items"].as_array().expect("a list");
    (rows.iter().map(|row| row["item"]["title"].clone()).collect(), answer.body["source"].clone())
}

#[tokio::test]
async fn looks_are_counted_through_an_outage() {
    let redis = RedisServer::start();
    let address = redis.url().trim_start_matches("redis://").parse().expect("an address");
    let proxy = FaultProxy::start(address).await;
    let app = App::start(&["--no-seed", "--trusted-proxy", "127.0.0.1/32", "--redis", &proxy.url()]);
    app.says("ok").await;
    let mut alice = app.user("alice").await;
    let (mut ids, titles) = (Vec::new(), ["Lamp", "Sofa"]);
    for title in titles {
        ids.push(alice.post("/api/v1/items", json!({ "title": title, "kind": "tool" })).await.body["id"].clone());
    }
    let [lamp, sofa] = [&ids[0], &ids[1]];
    let key = |item: &Value| format!("tk:counter:views:item:{item}");
    view(&app, lamp, 0..3).await;
    view(&app, sofa, 0..2).await;
    eventually("both are counted in Redis", async || {
        counter(&redis, &key(lamp)).await == Some(3) && counter(&redis, &key(sofa)).await == Some(2)
    })
    .await;
    assert_eq!(trends(&app, "day", 10).await, (vec![json!("Lamp"), json!("Sofa")], json!("board")));

    proxy.set(Mode::Reset);
    app.says("degraded").await;
    view(&app, sofa, 2..7).await;
    eventually("the database counts them", async || {
        alice.get(&format!("/api/v1/items/{sofa}")).await.body["views"] == 7
    })
    .await;
    assert_eq!(counter(&redis, &key(sofa)).await, Some(2), "Redis is away");
    for period in ["day", "week", "month"] {
        assert_eq!(trends(&app, period, 9).await, (vec![json!("Sofa"), json!("Lamp")], json!("database")));
    }

    proxy.set(Mode::Pass);
    app.says("ok").await;
    eventually("Redis has them, too", async || counter(&redis, &key(sofa)).await == Some(7)).await;
    let shown = alice.get(&format!("/api/v1/items/{sofa}")).await;
    assert_eq!(shown.body["views"], 7);
}
