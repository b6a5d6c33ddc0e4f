//! Hosts that are not ours have no entries.

use http::Uri;
use towerkeep::Keep;

use super::*;

const OURS: [&str; 2] = ["shop.example", "shop.example:8080"];

fn of(host: &str, method: &str) -> Request<()> {
    Request::builder().method(method).uri("/items").header("host", host).body(()).expect("a request")
}

fn world() -> World {
    let mut world = World::new();
    world.cache = world.cache.hosts(OURS);
    world
}

#[tokio::test]
async fn a_client_cannot_fill_the_store_by_inventing_hosts() {
    let world = world();
    let layer = world.public();
    for n in 0..10 {
        let said = world.ask(&layer, of(&format!("{n}.example"), "GET"), &[]).await;
        assert_eq!(said.cache(), "towerkeep; fwd=bypass; detail=host");
    }
    assert_eq!(world.ask(&layer, of("shop.example", "GET"), &[]).await.cache(), "towerkeep; fwd=miss; stored");
    assert!(!world.ask(&layer, of("x.example", "GET"), &[]).await.is_hit());
    assert_eq!((world.calls(), world.cache.stats().count(CacheOutcome::Bypass)), (12, 11));
}

/// Its answer was stored as that of `/items/7`, and a request with an unsafe method purged it.
#[tokio::test]
async fn a_host_with_a_path_in_it_reaches_no_other_url() {
    let world = World::new();
    let layer = world.public();
    let of = |method: &str, host: &str, path: &str| {
        Request::builder().method(method).uri(path).header("host", host).body(()).expect("a request")
    };
    let unfit = world.ask(&layer, of("GET", "shop.example/items", "/7"), &[]).await;
    assert_eq!(unfit.cache(), "towerkeep; fwd=bypass; detail=host");
    let first = world.ask(&layer, of("GET", "shop.example", "/items/7"), &[]).await;
    assert_eq!((first.cache(), &first.body[..]), ("towerkeep; fwd=miss; stored", &b"call 2"[..]));
    world.ask(&layer, of("POST", "shop.example/items", "/7"), &[]).await;
    assert!(world.ask(&layer, of("GET", "shop.example", "/items/7"), &[]).await.is_hit());
}

#[tokio::test]
async fn a_host_of_ours_has_one_entry_in_all_its_spellings() {
    let world = world();
    let layer = world.public();
    world.ask(&layer, of("shop.example", "GET"), &[]).await;
    for same in ["SHOP.example", "shop.example:80", "Shop.Example:443"] {
        assert!(world.ask(&layer, of(same, "GET"), &[]).await.is_hit(), "{same}");
    }
    let absolute = Request::get("http://shop.example:80/items").body(()).expect("a request");
    assert!(world.ask(&layer, absolute, &[]).await.is_hit());
    assert!(!world.ask(&layer, of("shop.example:8080", "GET"), &[]).await.is_hit(), "another port is another host");
}

#[tokio::test]
async fn a_request_without_a_host_of_ours_passes() {
    let world = world();
    let layer = world.public();
    let two = Request::get("/items").header("host", "shop.example").header("host", "shop.example").body(());
    let userinfo = Request::get("http://me@shop.example/items").body(());
    for request in [get("/items"), two.expect("a request"), userinfo.expect("a request")] {
        assert_eq!(world.ask(&layer, request, &[]).await.cache(), "towerkeep; fwd=bypass; detail=host");
    }
}

#[tokio::test]
async fn purges_find_a_host_in_all_its_spellings() {
    let world = world();
    let layer = world.public();
    let url: Uri = "https://SHOP.example:443/items".parse().expect("a url");
    world.ask(&layer, of("shop.example", "GET"), &[]).await;
    world.cache.purge_url(&url).await;
    assert!(!world.ask(&layer, of("shop.example", "GET"), &[]).await.is_hit());

    world.ask(&layer, of("shop.example:80", "POST"), &[]).await;
    assert!(!world.ask(&layer, of("shop.example", "GET"), &[]).await.is_hit(), "by its own url");
    let elsewhere = Request::post("/other").header("host", "SHOP.example:443").body(()).expect("a request");
    world.ask(&layer, elsewhere, &[("location", "http://shop.example/items")]).await;
    assert!(!world.ask(&layer, of("shop.example", "GET"), &[]).await.is_hit(), "by what the response names");
    let foreign = Request::post("/items").header("host", "x.example").body(()).expect("a request");
    assert_eq!(world.ask(&layer, foreign, &[]).await.cache(), "towerkeep; fwd=method");
    assert!(world.ask(&layer, of("shop.example", "GET"), &[]).await.is_hit(), "another host purges nothing");
}

#[tokio::test]
async fn a_keep_hands_its_hosts_to_the_cache() {
    let keep = Keep::builder().hosts(OURS).build().expect("valid");
    let layer = keep.cache().public("items").ttl(minutes(1));
    let world = World::new();
    assert_eq!(world.ask(&layer, of("x.example", "GET"), &[]).await.cache(), "towerkeep; fwd=bypass; detail=host");
    assert_eq!(world.ask(&layer, of("shop.example", "GET"), &[]).await.cache(), "towerkeep; fwd=miss; stored");
    for unfit in [vec!["https://shop.example"], vec![]] {
        assert!(Keep::builder().hosts(unfit).build().is_err_and(|error| error.is_invalid()));
    }
}
