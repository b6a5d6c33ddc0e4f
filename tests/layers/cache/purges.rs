//! What a purge takes, and when it wins.

use super::*;

#[tokio::test]
async fn an_unsafe_method_purges_its_url_and_the_one_it_names() {
    let world = World::new();
    let layer = world.public();
    let post = |path| Request::post(path).body(()).expect("a request");
    for path in ["/a", "/b"] {
        world.get(&layer, path).await;
    }
    let failed = world.ask(&layer, post("/a"), &[(":status", "500")]).await;
    assert_eq!(failed.cache(), "towerkeep; fwd=method");
    assert!(world.get(&layer, "/a").await.is_hit(), "an error changes nothing");
    world.ask(&layer, post("/a"), &[(":status", "201"), ("location", "/b")]).await;
    assert!(!world.get(&layer, "/a").await.is_hit());
    assert!(!world.get(&layer, "/b").await.is_hit());
}

/// RFC 9111, 4.4, and RFC 3986, 5.2: all lines of both fields, resolved, and of the same origin only.
#[tokio::test]
async fn what_a_response_names_is_resolved_and_purged_on_its_own_host() {
    let world = World::new();
    let layer = world.public();
    let url = |path: &str| format!("http://shop.example{path}");
    let named = ["/items/7", "/items/list", "/list?page=2", "/by-port", "/by-scheme", "/shop/items?sort=name"];
    let others = ["/elsewhere", "/other-port"];
    for path in named.iter().chain(&others) {
        world.get(&layer, &url(path)).await;
    }
    let post = Request::post(url("/shop/items?draft=1")).body(()).expect("a request");
    let lines: &[(&str, &str)] = &[
        (":status", "201"),
        ("location", "../items/7"),
        ("location", "https://SHOP.example:443/by-port"),
        ("location", "//shop.example/by-scheme#top"),
        ("content-location", "../items/./x/../list"),
        ("content-location", "/list?page=2"),
        ("content-location", "?sort=name"),
        ("location", "http://else.example/elsewhere"),
        ("content-location", "http://shop.example:8080/other-port"),
    ];
    world.ask(&layer, post, lines).await;
    for path in named {
        assert!(!world.get(&layer, &url(path)).await.is_hit(), "{path}");
    }
    for path in others {
        assert!(world.get(&layer, &url(path)).await.is_hit(), "{path}");
    }
}

#[tokio::test]
async fn an_unknown_method_purges_where_its_response_is_no_error() {
    let world = World::new();
    let layer = world.public();
    for (status, is_purged) in [("200", true), ("204", true), ("303", true), ("404", false), ("500", false)] {
        world.get(&layer, "/").await;
        let frob = Request::builder().method("FROB").uri("/").body(()).expect("a request");
        let lines: &'static [(&str, &str)] = Box::leak(Box::new([(":status", status)]));
        assert_eq!(world.ask(&layer, frob, lines).await.cache(), "towerkeep; fwd=method");
        assert_eq!(!world.get(&layer, "/").await.is_hit(), is_purged, "{status}");
    }
}

#[tokio::test]
async fn purging_by_tag_name_user_url_and_all() {
    let world = World::new();
    let (tagged, other) =
        (world.cache.public("tagged").ttl(minutes(1)).tags(["x"]), world.cache.public("other").ttl(minutes(1)));
    let fill = async || {
        let (tagged, other) =
            (world.get(&tagged, "http://h/").await.is_hit(), world.get(&other, "http://h/").await.is_hit());
        (tagged, other)
    };
    fill().await;
    assert_eq!(fill().await, (true, true));
    world.cache.purge_tags([("shop", 7)]).await;
    assert_eq!(fill().await, (true, true));
    world.cache.purge_tags(["x"]).await;
    assert_eq!(fill().await, (false, true));
    world.cache.purge_name("other").await;
    assert_eq!(fill().await, (true, false));
    world.cache.purge_url(&"https://h/".parse().expect("a url")).await;
    assert_eq!(fill().await, (false, false));
    world.cache.purge_all().await;
    assert_eq!(fill().await, (false, false));

    let mine = world.cache.per_user("mine").ttl(minutes(1));
    for user in [1, 2] {
        world.ask(&mine, by("/", Principal::user(user)), &[]).await;
    }
    world.cache.purge_user("mine", 1).await;
    assert!(!world.ask(&mine, by("/", Principal::user(1)), &[]).await.is_hit());
    assert!(world.ask(&mine, by("/", Principal::user(2)), &[]).await.is_hit());
}

#[tokio::test]
async fn a_purge_while_the_handler_runs_wins() {
    let world = World::new();
    let cache = world.cache.clone();
    let handler = service_fn(move |_: Request<()>| {
        let cache = cache.clone();
        async move {
            cache.purge_tags(["x"]).await;
            Ok::<_, Infallible>(Response::new(Full::from("read before the purge")))
        }
    });
    said(world.public().tags(["x"]).layer(handler), get("/")).await.expect("infallible");
    assert!(!world.get(&world.public().tags(["x"]), "/").await.is_hit());
}
