//! What only a real server shows: what is stored, what it costs, and what others may have written.

use super::*;

async fn ask<T: redis::FromRedisValue>(server: &RedisServer, command: &str) -> T {
    let mut words = command.split(' ');
    let mut cmd = redis::cmd(words.next().expect("a command"));
    words.for_each(|word| {
        cmd.arg(word);
    });
    cmd.query_async(&mut server.client().await).await.unwrap_or_else(|error| panic!("{command}: {error}"))
}

#[tokio::test]
async fn counters_are_plain_integers_that_others_read_and_add_to() {
    let server = RedisServer::start();
    let counters = Counters::new(RedisCounterStore::new(&server.patient_handle().await));
    let beyond_lua = (1 << 53) + 1;
    assert_eq!(counters.incr_by(&views(7), beyond_lua).await.expect("up"), beyond_lua);
    counters.incr(&Counter::of("downloads", 17)).await.expect("up");
    assert_eq!(ask::<String>(&server, "GET tk:counter:views:post:7").await, beyond_lua.to_string());
    assert_eq!(ask::<i64>(&server, "INCRBY tk:counter:downloads:17 4").await, 5);
    assert_eq!(counters.get(&Counter::of("downloads", 17)).await.expect("up"), 5);
    assert_eq!(ask::<i64>(&server, "TTL tk:counter:downloads:17").await, -1);
}

#[tokio::test]
async fn a_value_that_is_no_integer_is_corrupt_until_it_is_reset() {
    let server = RedisServer::start();
    let counters = Counters::new(RedisCounterStore::new(&server.patient_handle().await));
    let key = "tk:counter:views:post:1";
    let foreign = ["abc", "+5", "007", "-0", "1.5", "9223372036854775808"].map(|value| format!("SET {key} {value}"));
    for command in foreign.into_iter().chain([format!("RPUSH {key} 1"), format!("HSET {key} a 1")]) {
        ask::<redis::Value>(&server, &command).await;
        assert!(counters.get(&views(1)).await.expect_err(&command).is_corrupt(), "{command}");
        assert!(counters.get_many(&[views(2), views(1)]).await.expect_err(&command).is_corrupt(), "{command}");
        assert!(counters.incr(&views(1)).await.expect_err(&command).is_corrupt(), "{command}");
        counters.add(&views(1), 1).expect("gathered");
        counters.add(&views(2), 1).expect("gathered");
        counters.flush().await.expect("what refuses is told in the log");
        counters.reset(&views(1)).await.expect("whatever is there goes");
        assert_eq!(counters.incr(&views(1)).await.expect("healed"), 1);
        counters.reset(&views(1)).await.expect("up");
    }
    assert_eq!(counters.get(&views(2)).await.expect("up"), 8);
}

#[tokio::test]
async fn a_verb_is_one_command_and_a_flush_one_call_for_each_slot() {
    let server = RedisServer::start();
    let counters = Counters::new(RedisCounterStore::new(&server.patient_handle().await));
    counters.incr(&views(0)).await.expect("loads the script");
    let ours = |calls: BTreeMap<String, u64>| {
        ["evalsha", "eval", "unlink", "mget"].map(|command| calls.get(command).copied().unwrap_or(0))
    };

    let calls =
        server.commands_during(async { assert_eq!(counters.incr_by(&views(1), 5).await.expect("up"), 5) }).await;
    assert_eq!(ours(calls), [1, 0, 0, 0]);
    let calls = server.commands_during(async { counters.reset(&views(1)).await.expect("up") }).await;
    assert_eq!(ours(calls), [1, 0, 1, 0], "the command, and the call that runs it");

    let gets = server.commands_during(async {
        let many: Vec<_> = (0..1_000).map(views).collect();
        counters.get_many(&many).await.expect("up");
    });
    // The handle's own probe reads its canary now and then.
    let gets = gets.await["get"];
    assert!((1_000..1_010).contains(&gets), "{gets}");

    for round in 0..2 {
        let calls = server.commands_during(async {
            (0..300).for_each(|n| counters.add(&views(n % 3), 1).expect("gathered"));
            counters.flush().await.expect("up");
        });
        assert_eq!(ours(calls.await), [3, 0, 0, 0], "round {round}");
    }
    assert_eq!(counters.get_many(&[views(0), views(1), views(2)]).await.expect("up"), [201, 200, 200]);
}

#[tokio::test]
async fn marks_expire_and_there_is_one_for_each_slot() {
    let server = RedisServer::start();
    let store: Store = Arc::new(RedisCounterStore::new(&server.patient_handle().await));
    for number in 1..=3 {
        store.apply(&Cx::new(), &flush("w", number, &[(views(1), 1), (views(2), 1)])).await.expect("up");
    }
    let marks: Vec<String> = ask(&server, "KEYS tk:counter:flush:*").await;
    assert_eq!(marks.len(), 2, "{marks:?}");
    for mark in marks {
        let life: i64 = ask(&server, &format!("TTL {mark}")).await;
        assert!((6 * 86_400..=7 * 86_400).contains(&life), "{mark}: {life}");
        assert_eq!(ask::<String>(&server, &format!("GET {mark}")).await, "3");
    }
}

#[tokio::test]
async fn a_foreign_mark_counts_as_none() {
    let server = RedisServer::start();
    let store: Store = Arc::new(RedisCounterStore::new(&server.patient_handle().await));
    let one = |number| flush("w", number, &[(views(1), 1)]);
    store.apply(&Cx::new(), &one(1)).await.expect("up");
    let marks: Vec<String> = ask(&server, "KEYS tk:counter:flush:*").await;
    for (number, command) in (2..).zip(["SET {} x", "SET {} 99999999999999999999"]) {
        ask::<redis::Value>(&server, &command.replace("{}", &marks[0])).await;
        store.apply(&Cx::new(), &one(number)).await.expect("up");
        store.apply(&Cx::new(), &one(number)).await.expect("up");
    }
    ask::<i64>(&server, &format!("DEL {}", marks[0])).await;
    ask::<i64>(&server, &format!("RPUSH {} 1", marks[0])).await;
    store.apply(&Cx::new(), &one(4)).await.expect("up");
    store.apply(&Cx::new(), &one(4)).await.expect("up");
    assert_eq!(value(&store, &views(1)).await, 4);
}

#[tokio::test]
async fn a_server_without_memory_loses_no_count() {
    let server = RedisServer::start();
    let redis = server.patient_handle().await;
    let counters = RedisCounterStore::with_recovery(&redis);
    counters.incr(&views(1)).await.expect("up");
    ask::<redis::Value>(&server, "CONFIG SET maxmemory 1").await;
    assert!(counters.incr(&views(1)).await.expect_err("no memory").is_unavailable());
    (0..3).for_each(|id| counters.add(&views(id), 5).expect("gathered"));
    assert!(counters.flush().await.expect_err("no memory").is_unavailable());
    assert_eq!(counters.get(&views(1)).await.expect("reads go on"), 1);
    ask::<redis::Value>(&server, "CONFIG SET maxmemory 0").await;
    assert!(redis.ready(seconds(10)).await);
    counters.flush().await.expect("up");
    assert_eq!(counters.get_many(&[views(0), views(1), views(2)]).await.expect("up"), [5, 6, 5]);
}

#[tokio::test]
async fn a_flush_never_crosses_slots_of_a_cluster() {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    ask::<redis::Value>(&server, "CLUSTER ADDSLOTSRANGE 0 16383").await;
    let redis = server.patient_handle().await;
    crate::support::eventually("the node serves all slots", async || {
        ask::<String>(&server, "CLUSTER INFO").await.contains("cluster_state:ok")
    })
    .await;
    let store: Store = Arc::new(RedisCounterStore::new(&redis));
    let additions: Vec<_> = (0..200).map(|id| (views(id), i64::from(id))).collect();
    for _ in 0..2 {
        assert_eq!(store.apply(&Cx::new(), &flush("w", 1, &additions)).await.expect("no key in another slot"), 0);
    }
    let ids: Vec<_> = (0..200).map(views).collect();
    assert_eq!(store.read(&Cx::new(), &ids).await.expect("up"), (0..200).collect::<Vec<i64>>());
}
