//! What only a real server shows.

use std::{fs::File, io::Seek, time::Duration};

use super::*;

const NOTE: &str = "tk:cache:demo:public:{01010101010101010101010101010101}:v";
const FIRST: &str = "tk:cache:demo:public:{01010101010101010101010101010101}:0";

async fn set(server: &RedisServer, key: &str, value: &[u8]) {
    ::redis::cmd("SET").arg(key).arg(value).exec_async(&mut server.client().await).await.expect("redis is up");
}

#[tokio::test]
async fn a_hit_is_one_mget() {
    let server = RedisServer::start();
    let world = World::redis(&patient(&server).await).await;
    let (request, german) = in_language("de");
    let (english_request, english) = in_language("en");
    world.kept(&place(1), &none(), entry("a")).await;
    world.kept(&place(2), &request, german).await;
    world.kept(&place(2), &english_request, english).await;
    let calls = server
        .commands_during(async {
            assert!(world.find(&place(1), &none()).await.is_some());
            assert!(world.find(&place(2), &request).await.is_some());
            assert!(world.find(&place(2), &english_request).await.is_some());
        })
        .await;
    assert_eq!(calls.get("mget"), Some(&3), "{calls:?}");
    assert!(!calls.contains_key("get"), "{calls:?}");
}

#[tokio::test]
async fn a_hit_on_an_instance_that_knows_nothing_is_one_mget_too() {
    let server = RedisServer::start();
    let (one, two) = (World::redis(&patient(&server).await).await, World::redis(&patient(&server).await).await);
    one.kept(&place(1), &none(), entry("a")).await;
    let calls = server.commands_during(async { assert!(two.find(&place(1), &none()).await.is_some()) }).await;
    assert_eq!(calls.get("mget"), Some(&1), "{calls:?}");
}

#[tokio::test]
async fn keys_are_the_documented_ones_and_expire() {
    let server = RedisServer::start();
    let world = World::redis(&patient(&server).await).await;
    world.kept(&place(1), &none(), entry("a")).await;
    let mut client = server.client().await;
    for key in [NOTE, FIRST] {
        let left: i64 = ::redis::cmd("PTTL").arg(key).query_async(&mut client).await.expect("up");
        assert!((1..=120_000).contains(&left), "{key} lasts {left} ms");
    }
}

#[tokio::test]
async fn what_is_damaged_or_somebody_elses_is_a_miss_and_replaced() {
    let server = RedisServer::start();
    let redis = patient(&server).await;
    let store = reached(&redis).await;
    let world = World { store: Arc::new(store.clone()), cx: Cx::new().at(START), down: Box::new(|_| ()) };
    for (key, value) in [(FIRST, &b"garbage"[..]), (FIRST, b""), (NOTE, b"garbage"), (NOTE, b"tkv\x02newer")] {
        world.kept(&place(1), &none(), entry("a")).await;
        set(&server, key, value).await;
        let before = store.damaged();
        assert_eq!(world.find(&place(1), &none()).await, None, "{key}");
        assert_eq!(store.damaged(), before + 1);
        assert_eq!(world.fill(&place(1), &none(), entry("a")).await, Stored::Kept, "{key}");
        assert!(world.find(&place(1), &none()).await.is_some(), "{key}");
    }
    let mut client = server.client().await;
    for key in [NOTE, FIRST] {
        ::redis::cmd("DEL").arg(key).exec_async(&mut client).await.expect("up");
        ::redis::cmd("LPUSH").arg(key).arg("another program's").exec_async(&mut client).await.expect("up");
        assert_eq!(world.find(&place(1), &none()).await, None);
        world.kept(&place(1), &none(), entry("a")).await;
        assert!(world.find(&place(1), &none()).await.is_some());
    }
}

/// Programs and people find it by its name; a hit is one command.
#[tokio::test]
async fn a_fixed_key_is_one_key_of_that_name() {
    let server = RedisServer::start();
    let store = reached(&patient(&server).await).await;
    let cache = ResponseCache::new(store.clone());
    let layer = cache.per_user("profile").ttl(minutes(5));
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let service = layer.fixed_key("user:{partition}:profile").layer(service_fn(move |_: Request<()>| {
        let call = counted.fetch_add(1, Relaxed) + 1;
        async move { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(format!("call {call}")))) }
    }));
    let ask = async |user: &str, path: &str| {
        let mut request = Request::get(path).body(()).expect("a request");
        request.extensions_mut().insert(towerkeep::Principal::user(user));
        let response = service.clone().oneshot(request).await.expect("infallible");
        response.into_body().collect().await.expect("whole").to_bytes()
    };
    let mut client = server.client().await;
    ask("7", "/profile").await;
    eventually("it is kept", async || {
        let kept: bool =
            ::redis::cmd("EXISTS").arg("tk:cache:user:7:profile").query_async(&mut client).await.expect("up");
        kept
    })
    .await;
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("tk:cache:*").query_async(&mut client).await.expect("up");
    assert_eq!(keys.iter().filter(|key| *key != "tk:cache:epochs").collect::<Vec<_>>(), ["tk:cache:user:7:profile"]);
    let commands = server.commands_during(async { assert_eq!(ask("7", "/profile").await, "call 1") }).await;
    assert_eq!(commands.get("mget"), Some(&1), "{commands:?}");

    set(&server, "tk:cache:user:7:profile", b"another program's").await;
    assert_eq!(ask("7", "/profile").await, "call 2");
    assert_eq!(store.damaged(), 1);
    ::redis::cmd("DEL").arg("tk:cache:user:7:profile").exec_async(&mut client).await.expect("up");
    ::redis::cmd("LPUSH").arg("tk:cache:user:7:profile").arg("a list").exec_async(&mut client).await.expect("up");
    assert_eq!(ask("7", "/profile").await, "call 3");
    eventually("it is kept again", async || ask("7", "/profile").await == "call 3").await;

    // Another URL pushes it out, and is never answered by it.
    assert_eq!(ask("7", "/other").await, "call 4");
    eventually("the other is kept", async || ask("7", "/other").await == "call 4").await;
    assert_eq!(ask("7", "/profile").await, "call 5");
}

#[tokio::test]
async fn a_purge_reaches_the_other_instances() {
    let server = RedisServer::start();
    let (one, two) = (World::redis(&patient(&server).await).await, World::redis(&patient(&server).await).await);
    for purge in [Purge::Tags(vec![Tag::from("a")]), Purge::All, Purge::Places(vec![place(1)])] {
        eventually("a fill is kept", async || {
            let _ = two.fill(&place(1), &none(), entry("a")).await;
            two.find(&place(1), &none()).await.is_some() && one.find(&place(1), &none()).await.is_some()
        })
        .await;
        assert_eq!(one.purge(purge.clone()).await, Purged::Everywhere);
        eventually("the other one has heard", async || two.find(&place(1), &none()).await.is_none()).await;
    }
}

#[tokio::test]
async fn a_lost_record_of_purges_revives_nothing() {
    let server = RedisServer::start();
    let world = World::redis(&patient(&server).await).await;
    world.kept(&place(1), &none(), entry("a")).await;
    world.purge_tag("a").await;
    world.kept(&place(2), &none(), entry("b")).await;
    ::redis::cmd("DEL").arg("tk:cache:epochs").exec_async(&mut server.client().await).await.expect("up");
    eventually("what was kept before is gone", async || world.find(&place(2), &none()).await.is_none()).await;
    assert_eq!(world.find(&place(1), &none()).await, None);
    world.kept(&place(1), &none(), entry("a")).await;
    assert!(world.find(&place(1), &none()).await.is_some());
}

#[tokio::test]
async fn another_programs_value_in_place_of_the_record_is_replaced() {
    let server = RedisServer::start();
    set(&server, "tk:cache:epochs", b"another program's").await;
    let world = World::redis(&patient(&server).await).await;
    world.kept(&place(1), &none(), entry("a")).await;
    assert_eq!(world.purge_tag("a").await, Purged::Everywhere);
    assert_eq!(world.find(&place(1), &none()).await, None);
}

#[tokio::test]
async fn purges_of_an_outage_are_replayed_before_the_cache_is_used() {
    let mut server = RedisServer::start();
    let redis = server.handle().await;
    let world = World::redis(&redis).await;
    let other = World::redis(&server.handle().await).await;
    server.freeze();
    eventually("redis is down", async || world.store.lookup(&world.cx, &place(9), &none()).await.is_err()).await;
    assert_eq!(world.purge_tag("a").await, Purged::Pending);
    server.thaw();
    eventually("the store answers again", async || world.store.lookup(&world.cx, &place(9), &none()).await.is_ok())
        .await;
    eventually("the record holds the purge", async || {
        let score: Option<String> = ::redis::cmd("ZSCORE")
            .arg("tk:cache:epochs")
            .arg("t:a")
            .query_async(&mut server.client().await)
            .await
            .expect("up");
        score.is_some()
    })
    .await;
    eventually("the other one is back", async || other.store.lookup(&other.cx, &place(9), &none()).await.is_ok()).await;

    server.kill();
    eventually("redis is gone", async || world.store.lookup(&world.cx, &place(9), &none()).await.is_err()).await;
    assert_eq!(world.purge(Purge::All).await, Purged::Pending);
    server.launch();
    eventually("the store answers again", async || world.store.lookup(&world.cx, &place(9), &none()).await.is_ok())
        .await;
    world.kept(&place(1), &none(), entry("a")).await;
    assert!(world.find(&place(1), &none()).await.is_some());
}

/// The record never grows past its bound, and what it forgets counts as purged.
#[tokio::test]
async fn the_record_of_purges_is_bounded() {
    let server = RedisServer::start();
    let world = World::redis(&patient(&server).await).await;
    world.kept(&place(1), &none(), entry("a")).await;
    let mut client = server.client().await;
    for chunk in 0..33 {
        let tags: Vec<Tag> = (0..500).map(|n| Tag::from(("n", chunk * 500 + n))).collect();
        // On a busy machine one of them can be late; it is sent again then.
        eventually("the purge has arrived", async || {
            world.purge(Purge::Tags(Vec::clone(&tags))).await == Purged::Everywhere
        })
        .await;
    }
    let size: u64 = ::redis::cmd("ZCARD").arg("tk:cache:epochs").query_async(&mut client).await.expect("up");
    assert!((8_000..=16_385).contains(&size), "{size}");
    assert_eq!(world.find(&place(1), &none()).await, None);
    world.kept(&place(1), &none(), entry("a")).await;
    assert!(world.find(&place(1), &none()).await.is_some());
}

/// What the Lua script and the pure rule say of the same events is the same.
#[tokio::test]
async fn memory_and_redis_agree_about_any_order_of_fills_and_purges() {
    let server = RedisServer::start();
    let worlds = [World::memory(), World::redis(&patient(&server).await).await];
    let mut random = 7u64;
    let mut draw = |n: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % n
    };
    let bodies = ["a", "b", "c"];
    let mut tickets: [Vec<Ticket>; 2] = [vec![], vec![]];
    for step in 0..600 {
        let (n, body, what) = (draw(3) as u8, bodies[draw(3) as usize], draw(10));
        let mut said = Vec::new();
        for (world, tickets) in worlds.iter().zip(&mut tickets) {
            said.push(match what {
                0 => format!("{}", world.purge_tag(body).await),
                1 if step % 7 == 0 => format!("{}", world.purge(Purge::All).await),
                2 => format!("{}", world.purge(Purge::Places(vec![place(n)])).await),
                3..=5 => {
                    tickets.push(world.ticket(&place(n), &none()).await);
                    String::new()
                }
                // A ticket of another place is as good as an old one: it was never this place's state.
                6..=7 if !tickets.is_empty() => {
                    let ticket = tickets.remove(step % tickets.len());
                    let _ = world.fill_with(&place(n), &ticket, entry(body)).await;
                    String::new()
                }
                _ => format!("{:?}", world.find(&place(n), &none()).await),
            });
        }
        assert_eq!(said[0], said[1], "step {step}");
    }
}

/// The whole layer over a real server that goes away and comes back.
#[tokio::test]
async fn the_layer_answers_through_an_outage() {
    let mut server = RedisServer::start();
    let redis = server.handle().await;
    let cache = ResponseCache::new(reached(&redis).await);
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let handler = service_fn(move |_: Request<()>| {
        let call = counted.fetch_add(1, Relaxed) + 1;
        async move { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(format!("call {call}")))) }
    });
    let service = cache.public("demo").ttl(minutes(5)).tags(["x"]).layer(handler);
    let ask = async || {
        let request = Request::get("http://shop.example/a?x=1").body(()).expect("a request");
        let (parts, body) = service.clone().oneshot(request).await.expect("infallible").into_parts();
        let body = body.collect().await.expect("whole").to_bytes();
        (parts.headers["cache-status"].to_str().expect("ascii").to_owned(), body)
    };
    eventually("a hit", async || ask().await.0.starts_with("towerkeep; hit; ttl=")).await;
    let kept = ask().await.1;

    server.kill();
    let begun = Instant::now();
    for _ in 0..100 {
        let (said, body) = ask().await;
        assert_eq!(said, "towerkeep; fwd=bypass; detail=unavailable");
        assert_ne!(body, kept);
    }
    assert!(begun.elapsed() < seconds(2), "100 answers took {:?}", begun.elapsed());
    assert_eq!(cache.purge_tags(["x"]).await, Purged::Pending);

    server.launch();
    eventually("a hit again", async || ask().await.0.starts_with("towerkeep; hit")).await;
    assert_eq!(cache.purge_tags(["x"]).await, Purged::Everywhere);
    assert_eq!(ask().await.0, "towerkeep; fwd=miss; stored");
    assert_eq!(cache.purge_url(&"https://shop.example/a?x=1".parse().expect("a url")).await, Purged::Everywhere);
    assert_eq!(ask().await.0, "towerkeep; fwd=miss; stored");
}

/// Dropping the caller's end of a purge gives up the answer, not the purge: here at once, elsewhere soon.
#[tokio::test]
async fn a_purge_whose_caller_goes_away_still_counts() {
    let server = RedisServer::start();
    let (one, two) = (World::redis(&patient(&server).await).await, World::redis(&patient(&server).await).await);
    one.kept(&place(1), &none(), entry("a")).await;
    assert!(two.find(&place(1), &none()).await.is_some());
    drop(one.store.purge(&one.cx, Purge::Tags(vec![Tag::from("a")])));
    assert_eq!(one.find(&place(1), &none()).await, None);
    eventually("the other one has heard", async || two.find(&place(1), &none()).await.is_none()).await;
}

/// Without it, another instance serves a purged response for the milliseconds until it hears of the purge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_store_serves_nothing_once_a_purge_has_answered() {
    let server = RedisServer::start();
    let mut stores = Vec::new();
    for _ in 0..2 {
        let redis = patient(&server).await;
        let store = RedisCacheStore::strict(&redis);
        let cx = Cx::new().at(START);
        eventually("its purges are known", async || store.lookup(&cx, &place(1), &none()).await.is_ok()).await;
        stores.push(World { store: Arc::new(store), cx, down: Box::new(|_| ()) });
    }
    let [one, two] = &stores[..] else { unreachable!("two were made") };
    for n in 0..200 {
        let tagged = Entry { tags: Tags::new(&[Tag::from("x")]), ..entry("a") };
        one.kept(&place(1), &none(), tagged).await;
        assert!(two.find(&place(1), &none()).await.is_some(), "round {n}: filled by the other");
        let purge = if n % 2 == 0 { Purge::Tags(vec![Tag::from("x")]) } else { Purge::All };
        assert_eq!(one.store.purge(&one.cx, purge).await.expect("never fails"), Purged::Everywhere);
        assert_eq!(two.find(&place(1), &none()).await, None, "round {n}: purged by the other");
    }
    one.kept(&place(1), &none(), entry("a")).await;
    let seen = server.commands_during(async { assert!(two.find(&place(1), &none()).await.is_some()) }).await;
    // Each instance looks at the record once a second, too.
    assert!(seen["mget"] == 1 && seen["zrange"] >= 2, "{seen:?}");

    let mut client = server.client().await;
    ::redis::cmd("SET").arg("tk:cache:epochs").arg("another program's").exec_async(&mut client).await.expect("up");
    assert_eq!(two.find(&place(1), &none()).await, None, "what was purged is not known any more");
    two.kept(&place(1), &none(), entry("b")).await;
    assert!(one.find(&place(1), &none()).await.is_some());
}

/// What is logged by this thread from now on.
struct Log {
    file: Arc<File>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Log {
    fn listen() -> Self {
        let file = Arc::new(tempfile::tempfile().expect("a file"));
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(Arc::clone(&file)).finish();
        let _guard = tracing::subscriber::set_default(lines);
        tracing::callsite::rebuild_interest_cache();
        Self { file, _guard }
    }

    /// The lines with these words.
    fn with(&self, words: &str) -> Vec<String> {
        (&*self.file).rewind().expect("a file");
        let told = std::io::read_to_string(&*self.file).expect("text");
        told.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }
}

/// They went out as one pipeline under one deadline, which no recovery could keep, and were given up.
#[tokio::test]
async fn all_urls_that_were_purged_in_a_long_outage_are_replayed() {
    const URLS: u32 = 100_000;
    let log = Log::listen();
    let server = RedisServer::start();
    let redis = server.handle().await;
    let (world, other) = (World::redis(&redis).await, World::redis(&patient(&server).await).await);
    let url = |n: u32| Place::new("demo", None, u128::from(n).to_be_bytes());
    for n in [0, 16_384, URLS - 1] {
        other.kept(&url(n), &none(), entry("a")).await;
    }
    server.freeze();
    eventually("redis is down", async || redis.status() == towerkeep::Status::Down).await;
    for n in 0..1_000 {
        assert_eq!(world.purge(Purge::Places((n * 100..n * 100 + 100).map(url).collect())).await, Purged::Pending);
    }
    server.thaw();
    eventually("redis is used", async || redis.status() == towerkeep::Status::Up).await;
    eventually("so does the other", async || other.store.lookup(&other.cx, &place(9), &none()).await.is_ok()).await;
    for n in [0, 16_384, URLS - 1] {
        assert_eq!(other.find(&url(n), &none()).await, None, "{n}");
    }
    assert_eq!(log.with("recovery step"), Vec::<String>::new());
}

/// An instance that has purged in an outage what another one keeps.
async fn purged_in_an_outage(server: &RedisServer) -> (towerkeep::Keep, World) {
    let other = World::redis(&patient(server).await).await;
    let keep = towerkeep::Keep::builder().redis(&server.url()).build().expect("valid");
    assert!(keep.ready(seconds(10)).await);
    other.kept(&place(1), &none(), entry("a")).await;
    server.freeze();
    eventually("redis is down", async || keep.cache().purge_tags(["nothing"]).await == Purged::Pending).await;
    assert_eq!(keep.cache().purge_tags(["a"]).await, Purged::Pending);
    (keep, other)
}

/// They ended with the process, without a word.
#[tokio::test]
async fn a_shutdown_waits_for_redis_to_hear_of_the_purges_of_an_outage() {
    let server = RedisServer::start();
    let (keep, other) = purged_in_an_outage(&server).await;
    let ends = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.thaw();
    };
    tokio::join!(keep.shutdown(seconds(10)), ends);
    drop(keep);
    eventually("the other is there", async || other.store.lookup(&other.cx, &place(9), &none()).await.is_ok()).await;
    eventually("it has heard", async || other.find(&place(1), &none()).await.is_none()).await;
}

#[tokio::test]
async fn a_shutdown_without_redis_tells_once_how_many_purges_are_lost() {
    let server = RedisServer::start();
    let (keep, _) = purged_in_an_outage(&server).await;
    let (log, began) = (Log::listen(), Instant::now());
    keep.shutdown(Duration::from_millis(200)).await;
    assert!(began.elapsed() < seconds(2), "{:?}", began.elapsed());
    let lost = log.with("purges of the response cache");
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(lost[0].contains("WARN") && lost[0].contains("purges="), "{lost:?}");
}
