//! The handle against real servers: what errors mean, how outages are noticed and left.

use std::time::Duration;

use super::*;
use crate::{Cx, Error, Result, Status, StoreFuture};

mod recovery;
#[path = "../../tests/support/mod.rs"]
pub(super) mod support;
use support::{FaultProxy, Mode, RedisServer, eventually};

async fn handle(server: &RedisServer) -> Redis {
    let redis = Redis::new(RedisConfig::new(&server.url()).expect("valid")).expect("in a runtime");
    assert!(redis.ready(Duration::from_secs(10)).await);
    redis
}

fn set(redis: &Redis, key: &str, value: &str) -> StoreFuture<()> {
    redis.call(&Cx::new(), Command::write("SET").arg(key).arg(value), |_| Ok(()))
}

fn get(redis: &Redis, key: &str) -> StoreFuture<Option<String>> {
    redis.call(&Cx::new(), Command::read("GET").arg(key), Reply::text)
}

/// Runs a server command that the harness' own client sends.
async fn admin(server: &RedisServer, words: &[&str]) -> redis::RedisResult<redis::Value> {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut server.client().await).await
}

async fn is_down(redis: &Redis) {
    eventually("the breaker opens", async || redis.status() == Status::Down).await;
}

async fn is_up(redis: &Redis) {
    eventually("redis is reached again", async || redis.status() == Status::Up).await;
}

#[tokio::test]
async fn a_value_of_another_type_is_corrupt_and_no_outage() {
    let server = RedisServer::start();
    let redis = handle(&server).await;
    set(&redis, "k", "v").await.expect("stored");
    let command = Command::write("ZADD").arg("k").arg(1).arg("m");
    let error = redis.call(&Cx::new(), command, Reply::int).await.expect_err("wrong type");
    assert_eq!(error.to_string(), "ZADD: redis holds a value of another type");
    assert!(error.is_corrupt());
    assert_eq!(redis.status(), Status::Up);
}

#[tokio::test]
async fn refused_writes_leave_reads_and_end_by_themselves() {
    let server = RedisServer::start();
    let redis = handle(&server).await;
    set(&redis, "k", "v").await.expect("stored");
    admin(&server, &["CONFIG", "SET", "maxmemory", "1"]).await.expect("set");
    assert!(set(&redis, "k", "w").await.expect_err("out of memory").is_unavailable());
    eventually("writes are refused", async || redis.status() == Status::Degraded).await;
    assert_eq!(get(&redis, "k").await.expect("reads go on").as_deref(), Some("v"));
    admin(&server, &["CONFIG", "SET", "maxmemory", "0"]).await.expect("set");
    is_up(&redis).await;
    set(&redis, "k", "w").await.expect("stored again");
}

#[tokio::test]
async fn a_read_only_replica_is_degraded() {
    let server = RedisServer::start();
    let redis = handle(&server).await;
    admin(&server, &["REPLICAOF", "127.0.0.1", "1"]).await.expect("set");
    assert!(set(&redis, "k", "v").await.is_err());
    eventually("writes are refused", async || redis.status() == Status::Degraded).await;
    admin(&server, &["REPLICAOF", "NO", "ONE"]).await.expect("set");
    is_up(&redis).await;
}

#[tokio::test]
async fn a_failed_save_is_degraded() {
    let server = RedisServer::start_with(&["--dbfilename", "redis.sock.d"]);
    let redis = handle(&server).await;
    std::fs::create_dir_all(server.socket().with_file_name("redis.sock.d/full")).expect("a directory in the way");
    admin(&server, &["CONFIG", "SET", "save", "3600 1"]).await.expect("set");
    admin(&server, &["BGSAVE"]).await.expect("begun");
    eventually("the save fails", async || set(&redis, "k", "v").await.is_err()).await;
    eventually("writes are refused", async || redis.status() == Status::Degraded).await;
}

#[tokio::test]
async fn a_busy_server_is_down_until_the_script_ends() {
    let server = RedisServer::start_with(&["--busy-reply-threshold", "1"]);
    let redis = handle(&server).await;
    let mut client = server.client().await;
    let busy = tokio::spawn(async move {
        let mut command = redis::cmd("EVAL");
        command.arg("while true do end").arg(0).query_async::<redis::Value>(&mut client).await
    });
    eventually("redis says BUSY", async || set(&redis, "k", "v").await.is_err()).await;
    is_down(&redis).await;
    eventually("the script is killed", async || admin(&server, &["SCRIPT", "KILL"]).await.is_ok()).await;
    is_up(&redis).await;
    assert!(busy.await.expect("ended").is_err());
}

#[tokio::test]
async fn a_wrong_password_is_down_and_retried() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let redis = Redis::new(RedisConfig::new(&server.url()).expect("valid")).expect("in a runtime");
    assert!(!redis.ready(Duration::from_millis(300)).await);
    let url = format!("redis://:right@127.0.0.1:{}", server.port());
    let right = Redis::new(RedisConfig::new(&url).expect("valid")).expect("in a runtime");
    assert!(right.ready(Duration::from_secs(10)).await);
    let client = redis::Client::open(url).expect("valid");
    let mut connection = client.get_multiplexed_async_connection().await.expect("connected");
    redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("").exec_async(&mut connection).await.expect("set");
    is_up(&redis).await;
}

#[tokio::test]
async fn a_missing_permission_is_no_outage() {
    let server = RedisServer::start();
    let rules = ["ACL", "SETUSER", "limited", "on", ">pw", "~tk:*", "+@all", "-@dangerous", "+info"];
    admin(&server, &rules).await.expect("set");
    let url = format!("redis://limited:pw@127.0.0.1:{}", server.port());
    let redis = Redis::new(RedisConfig::new(&url).expect("valid")).expect("in a runtime");
    assert!(redis.ready(Duration::from_secs(10)).await);
    assert!(set(&redis, "other", "v").await.expect_err("not our key").is_unavailable());
    set(&redis, "tk:ours", "v").await.expect("our key");
    assert_eq!(redis.status(), Status::Up);
}

guarded_script!(pub(super) static ECHO = "test/echo", "tests_echo.lua");

fn echo(redis: &Redis, cx: &Cx) -> StoreFuture<i64> {
    redis.eval(cx, &ECHO, ScriptCall::new().key("tk:k").arg("x"), Reply::int)
}

#[tokio::test]
async fn a_lost_script_is_loaded_again_in_the_same_call() {
    let server = RedisServer::start();
    let redis = handle(&server).await;
    redis.register(&ECHO);
    echo(&redis, &Cx::new()).await.expect("loaded by the call");
    admin(&server, &["SCRIPT", "FLUSH"]).await.expect("flushed");
    echo(&redis, &Cx::new()).await.expect("loaded again");
}

#[tokio::test]
async fn scripts_see_the_servers_time_or_a_tests() {
    let server = RedisServer::start();
    let redis = handle(&server).await;
    let now = echo(&redis, &Cx::new()).await.expect("called");
    assert!(u64::try_from(now).expect("positive").abs_diff(redis.now().as_micros()) < 5_000_000);
    let at = crate::clock::Timestamp::from_micros(1_234_567_890_123_456);
    assert_eq!(echo(&redis, &Cx::new().at(at)).await.expect("called"), 1_234_567_890_123_456);
}

#[tokio::test]
async fn a_script_that_arrives_late_does_nothing() {
    let server = RedisServer::start();
    let redis = handle(&server).await;
    echo(&redis, &Cx::new()).await.expect("loaded");
    server.freeze();
    let late = echo(&redis, &Cx::new());
    let error = late.await.expect_err("no answer in time");
    assert!(error.is_unavailable());
    tokio::time::sleep(Duration::from_millis(30)).await;
    server.thaw();
    is_up(&redis).await;
    let calls = admin(&server, &["GET", "tk:k"]).await.expect("read");
    assert_eq!(calls, redis::Value::BulkString(b"1".to_vec()), "the second call came after its deadline");
}

#[tokio::test]
async fn a_frozen_server_costs_a_few_deadlines_then_nothing() {
    let server = RedisServer::start();
    let redis = handle(&server).await;
    server.freeze();
    let all: Vec<_> = (0..20).map(|_| get(&redis, "k")).collect();
    let began = std::time::Instant::now();
    for future in all {
        assert!(future.await.expect_err("frozen").is_unavailable());
    }
    assert!(began.elapsed() < Duration::from_millis(250), "{:?}", began.elapsed());
    assert_eq!(redis.status(), Status::Down);
    let mut refused = get(&redis, "k");
    assert!(refused.take_ready().is_some(), "refused without waiting");
    server.thaw();
    is_up(&redis).await;
}

#[tokio::test]
async fn a_killed_server_is_noticed_at_once_and_reached_again() {
    let mut server = RedisServer::start();
    let redis = handle(&server).await;
    server.kill();
    eventually("the drop is noticed", async || get(&redis, "k").await.is_err()).await;
    is_down(&redis).await;
    server.launch();
    is_up(&redis).await;
    set(&redis, "k", "v").await.expect("stored");
}

#[tokio::test]
async fn starts_without_a_server_and_uses_it_when_it_comes() {
    let mut server = RedisServer::stopped();
    let redis = Redis::new(RedisConfig::new(&server.url()).expect("valid")).expect("in a runtime");
    assert!(get(&redis, "k").await.expect_err("not there").is_unavailable());
    server.launch();
    let began = std::time::Instant::now();
    is_up(&redis).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_unix_socket_works_like_tcp() {
    let server = RedisServer::start();
    let url = format!("redis+unix://{}", server.socket().display());
    let redis = Redis::new(RedisConfig::new(&url).expect("valid")).expect("in a runtime");
    assert!(redis.ready(Duration::from_secs(10)).await);
    set(&redis, "k", "v").await.expect("stored");
}

#[tokio::test]
async fn a_forced_outage_refuses_until_it_is_lifted() {
    let server = RedisServer::start();
    let redis = handle(&server).await;
    redis.force_outage(true);
    assert!(get(&redis, "k").await.expect_err("forced").is_unavailable());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(redis.status(), Status::Down);
    redis.force_outage(false);
    is_up(&redis).await;
}

#[tokio::test]
async fn a_spent_budget_sends_nothing() {
    let server = RedisServer::start();
    let redis = handle(&server).await;
    let cx = Cx::new().with_budget(Duration::ZERO);
    let mut reply = redis.call(&cx, Command::read("GET").arg("k"), Reply::text);
    assert!(reply.take_ready().expect("at once").expect_err("spent").is_unavailable());
    assert_eq!(redis.status(), Status::Up);
}

#[tokio::test]
async fn each_reply_of_a_pipeline_keeps_its_error() {
    let server = RedisServer::start();
    let redis = handle(&server).await;
    let commands =
        vec![Command::write("SET").arg("k").arg("v"), Command::write("INCR").arg("k"), Command::read("GET").arg("k")];
    let replies = redis.pipeline(&Cx::new(), commands, Ok).await.expect("answered");
    let good: Vec<_> = replies.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, false, true]);
}

#[tokio::test]
async fn transfers_above_a_megabyte_go_over_the_pool() {
    let server = RedisServer::start();
    let config = RedisConfig::new(&server.url()).expect("valid").deadline(Duration::from_secs(5));
    let redis = Redis::new(config).expect("in a runtime");
    assert!(redis.ready(Duration::from_secs(10)).await);
    let clients = async || {
        let list: String =
            redis::cmd("CLIENT").arg("LIST").query_async(&mut server.client().await).await.expect("listed");
        list.lines().count()
    };
    let before = clients().await;
    set(&redis, "big", &"x".repeat(2 * 1024 * 1024)).await.expect("stored");
    assert!(clients().await > before, "the pool has a connection of its own");
}

#[tokio::test]
async fn a_pooled_connection_that_the_server_closed_is_no_outage() {
    let server = RedisServer::start();
    let config = RedisConfig::new(&server.url()).expect("valid").deadline(Duration::from_secs(5));
    let redis = Redis::new(config).expect("in a runtime");
    assert!(redis.ready(Duration::from_secs(10)).await);
    let big = "x".repeat(2 * 1024 * 1024);
    set(&redis, "big", &big).await.expect("stored over the pool");
    let list: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut server.client().await).await.expect("listed");
    let pooled = list.lines().find(|line| line.contains(" cmd=set ")).expect("what the pool's connection did last");
    let id = pooled.split(' ').find_map(|field| field.strip_prefix("id=")).expect("an id");
    admin(&server, &["CLIENT", "KILL", "ID", id]).await.expect("killed");
    let _ = set(&redis, "big", &big).await;
    assert_eq!(redis.status(), Status::Up, "small commands have a connection of their own");
    set(&redis, "big", &big).await.expect("a new connection took its place");
}

#[tokio::test]
async fn a_second_trip_of_a_call_is_charged_once() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address()).await;
    let config = RedisConfig::new(&proxy.url()).expect("valid").deadline(Duration::from_secs(5));
    let redis = Redis::new(config).expect("in a runtime");
    assert!(redis.ready(Duration::from_secs(10)).await);
    admin(&server, &["SCRIPT", "FLUSH"]).await.expect("flushed");
    proxy.set(Mode::Delay(Duration::from_millis(40)));
    let budget = Duration::from_secs(60);
    let (cx, began) = (Cx::new().with_budget(budget), std::time::Instant::now());
    echo(&redis, &cx).await.expect("loaded and called");
    let spent = budget - cx.allowance(budget);
    assert!(spent <= began.elapsed(), "{spent:?} of {:?}", began.elapsed());
}

#[tokio::test]
async fn listeners_hear_of_messages_and_of_gaps() {
    let mut server = RedisServer::start();
    let redis = handle(&server).await;
    let mut notices = redis.subscribe("tk:events".into());
    assert_eq!(notices.next().await, Some(Notice::Gap));
    admin(&server, &["PUBLISH", "tk:events", "hello"]).await.expect("published");
    assert_eq!(notices.next().await, Some(Notice::Message("hello".into())));
    server.kill();
    server.launch();
    assert_eq!(notices.next().await, Some(Notice::Gap));
    drop(redis);
    assert_eq!(notices.next().await, None);
}

#[tokio::test]
async fn instances_are_counted_by_their_beat() {
    let server = RedisServer::start();
    let (first, second) = (handle(&server).await, handle(&server).await);
    eventually("both beat", async || first.instances() == 2 && second.instances() == 2).await;
}

#[test]
fn outside_of_a_runtime_is_an_error_and_no_panic() {
    let error = Redis::new(RedisConfig::new("redis://127.0.0.1:1").expect("valid")).expect_err("no runtime");
    assert!(error.is_invalid());
}

#[test]
fn errors_name_the_command_and_nothing_else() {
    let error: Error = fault::Fault::Timeout.into_error("GET");
    assert_eq!(error.to_string(), "GET: redis did not answer in time");
}
