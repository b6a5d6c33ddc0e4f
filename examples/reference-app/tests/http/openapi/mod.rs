//! The API as its own document describes it: requests are made from `/openapi.json`, and answers held against it.
//!
//! It runs the same on nothing but the app, on Redis, on PostgreSQL with Redis, and while Redis is gone.

mod checks;
mod docs_page;
mod document;
mod equal;
mod known;
mod sample;
mod shape;
mod world;

use document::Operation;
use http::Method;
use world::{Caller, World};

use crate::support::{Answer, App, postgres::Postgres, servers::RedisServer};

/// Each request is sent as a client of its own behind this proxy: the general limit is by address.
const BEHIND_PROXY: [&str; 2] = ["--trusted-proxy", "127.0.0.1/32"];

#[tokio::test]
async fn holds_with_nothing_but_the_app() {
    let app = App::start(&BEHIND_PROXY);
    holds(&World::of(app).await).await;
}

#[tokio::test]
async fn holds_on_redis() {
    let redis = RedisServer::start();
    let app = App::start(&[BEHIND_PROXY.as_slice(), &["--redis", &redis.url()]].concat());
    app.says("ok").await;
    holds(&World::of(app).await).await;
}

#[tokio::test]
async fn holds_on_postgresql_and_redis() {
    let Some(mut server) = Postgres::start().await else { return };
    let redis = RedisServer::start();
    let database = server.database().await;
    let args = ["--seed", "--database", &database, "--redis", &redis.url()];
    let app = App::start(&[BEHIND_PROXY.as_slice(), &args].concat());
    app.says("ok").await;
    holds(&World::of(app).await).await;
}

#[tokio::test]
async fn every_operation_answers_while_redis_is_gone() {
    let mut redis = RedisServer::start();
    let app = App::start(&[BEHIND_PROXY.as_slice(), &["--redis", &redis.url()]].concat());
    app.says("ok").await;
    let world = World::of(app).await;
    let operations = world.document.operations();
    let mut calls = Vec::new();
    for operation in &operations {
        let mut caller = world.caller_of(operation).await;
        world.call(&mut caller, operation).await;
        let mut caller = world.caller_of(operation).await;
        let path = world.path(&mut caller, operation).await;
        calls.push((operation, caller, path));
    }
    redis.kill();
    let mut faults = Vec::new();
    for (operation, caller, path) in &mut calls {
        let answer = world.call_at(caller, operation, path).await;
        let is_chosen = answer.status == 503 && known::needs_redis(&operation.id);
        faults.extend(judge(&world, operation, &answer).into_iter().filter(|_| !is_chosen));
    }
    assert_eq!(faults, Vec::<String>::new());
    redis.launch();
    world.app.says("ok").await;
    let (mut user, mut admin) = (world.caller().await, Caller::admin(&world).await);
    for operation in operations.iter().filter(|operation| operation.method == Method::GET) {
        let caller = if known::is_for_administrators(&operation.id) { &mut admin } else { &mut user };
        faults.extend(judge(&world, operation, &world.call(caller, operation).await));
    }
    assert_eq!(faults, Vec::<String>::new());
}

/// Every operation does what the document says; all that does not is told at once.
async fn holds(world: &World) {
    let mut faults = Vec::new();
    for operation in world.document.operations() {
        let mut caller = world.caller().await;
        faults.extend(checks::bodies(world, &mut caller, &operation).await);
        faults.extend(checks::queries(world, &mut caller, &operation).await);
        faults.extend(checks::ids(world, &mut caller, &operation).await);
        let mut caller = world.caller_of(&operation).await;
        faults.extend(checks::credentials(world, &mut caller, &operation).await);
        let answer = world.call(&mut caller, &operation).await;
        faults.extend(judge(world, &operation, &answer));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Whether a call's answer is a documented success with exactly the documented body.
fn judge(world: &World, operation: &Operation, answer: &Answer) -> Vec<String> {
    let successes = operation.successes();
    let Some((_, schema)) = successes.iter().find(|(status, _)| *status == answer.status) else {
        return vec![format!("{}: {} {}", operation.id, answer.status, answer.body)];
    };
    match schema {
        Some(schema) => world.document.faults(schema, &answer.body, &operation.id),
        None if answer.body.is_null() => Vec::new(),
        None => vec![format!("{}: a body that is not documented: {}", operation.id, answer.body)],
    }
}
