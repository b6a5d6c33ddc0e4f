//! One response under a key of the application's.

use super::*;

#[tokio::test]
async fn one_url_is_kept_for_each_partition() {
    let world = World::new();
    let layer = world.cache.per_user("profile").ttl(minutes(1)).fixed_key("user:{partition}:profile");
    for user in [1, 2] {
        assert!(!world.ask(&layer, by("/profile", Principal::user(user)), &[]).await.is_hit());
        assert!(world.ask(&layer, by("/profile", Principal::user(user)), &[]).await.is_hit());
    }
    let other = world.ask(&layer, by("/profile?of=2", Principal::user(1)), &[]).await;
    assert!(!other.is_hit(), "another URL");
    assert_eq!(world.cache.verify().err().map(|error| error.to_string()), None);
}

#[tokio::test]
async fn it_is_purged_by_url_user_name_and_method() {
    let world = World::new();
    let public = world.public().fixed_key("marketplace:trending");
    let mine = world.cache.per_user("mine").ttl(minutes(1)).fixed_key("user:{partition}:mine");
    let (url, by_one) = ("http://h/trending", || by("http://h/mine", Principal::user(1)));
    let are_hits = async || {
        let hits = (world.get(&public, url).await.is_hit(), world.ask(&mine, by_one(), &[]).await.is_hit());
        world.get(&public, url).await;
        world.ask(&mine, by_one(), &[]).await;
        hits
    };
    are_hits().await;
    assert_eq!(are_hits().await, (true, true));
    world.cache.purge_url(&url.parse().expect("a url")).await;
    assert_eq!(are_hits().await, (false, true));
    world.cache.purge_user("mine", 1).await;
    assert_eq!(are_hits().await, (true, false));
    world.cache.purge_name("mine").await;
    assert_eq!(are_hits().await, (true, false));
    let post = Request::post(url).body(()).expect("a request");
    world.ask(&public, post, &[]).await;
    assert_eq!(are_hits().await, (false, true));
}

#[tokio::test]
async fn what_varies_is_not_kept() {
    let world = World::new();
    let layer = world.public().fixed_key("demo");
    let vary: &[(&str, &str)] = &[("vary", "accept")];
    assert_eq!(world.ask(&layer, get("/"), vary).await.cache(), "towerkeep; fwd=miss; detail=vary-any");
}

#[tokio::test]
async fn an_unfit_template_keeps_nothing_and_is_told() {
    for template in
        ["", "a::b", ":a", "a:", "a b", "a{b}", "{partition}", "user:{partition}", "epochs", "purges", "a:\u{e4}"]
    {
        let world = World::new();
        let layer = world.public().fixed_key(template);
        for _ in 0..2 {
            assert_eq!(world.get(&layer, "/").await.cache(), "none", "{template}");
        }
        let error = world.cache.verify().expect_err(template);
        assert!(error.is_invalid() && error.to_string().contains("demo"), "{error}");
    }
    let world = World::new();
    let mine = world.cache.per_user("mine");
    for template in ["profile", "user{partition}", "{partition}:{partition}"] {
        world.get(&mine.clone().fixed_key(template), "/").await;
        assert!(world.cache.verify().is_err(), "{template}");
    }
}

#[tokio::test]
async fn two_caches_under_one_template_are_told() {
    let world = World::new();
    world.get(&world.cache.public("one").fixed_key("x"), "/").await;
    assert!(world.cache.verify().is_ok());
    world.get(&world.cache.public("two").fixed_key("x"), "/").await;
    assert!(world.cache.verify().expect_err("the same key").to_string().contains("two"));
}
