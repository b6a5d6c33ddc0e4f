//! Who shares entries with whom.

use super::*;

#[tokio::test]
async fn users_have_their_own_entries_and_nobody_gets_another_ones() {
    let world = World::new();
    let layer = world.cache.per_user("mine").ttl(minutes(1));
    let first = world.ask(&layer, by("/a", Principal::user(1)), &[]).await;
    assert_eq!((first.header("cache-control"), first.header("etag")), (Some("private, no-cache"), None));
    assert_eq!(&world.ask(&layer, by("/a", Principal::user(2)), &[]).await.body[..], b"call 2");
    let again = world.ask(&layer, by("/a", Principal::user(1)), &[]).await;
    assert!(again.is_hit());
    assert_eq!((&again.body[..], again.header("cache-control")), (&b"call 1"[..], Some("private, no-cache")));

    let mut request = by("/a", Principal::user(1));
    request.headers_mut().insert("if-none-match", again.headers["etag"].clone());
    let known = world.ask(&layer, request, &[]).await;
    assert_eq!((known.status, known.body.len(), known.is_hit()), (StatusCode::NOT_MODIFIED, 0, true));
}

#[tokio::test]
async fn anonymous_and_unavailable_identities_pass() {
    struct Down;
    impl Identify for Down {
        fn identify(&self) -> StoreFuture<Identity> {
            StoreFuture::boxed(async { Ok(Identity::Unavailable) })
        }
    }
    let world = World::new();
    let layer = world.cache.per_user("mine").ttl(minutes(1));
    for _ in 0..2 {
        for principal in [Principal::anonymous(), Principal::lazy(Down)] {
            let said = world.ask(&layer, by("/a", principal), &[]).await;
            assert_eq!(
                (said.cache(), said.header("cache-control")),
                ("towerkeep; fwd=bypass; detail=no-partition", None)
            );
        }
    }
    assert_eq!(world.calls(), 4);
}

#[tokio::test]
async fn a_private_partition_keeps_private_and_authorized_responses() {
    let world = World::new();
    let tenant = || Key::header(http::HeaderName::from_static("x-tenant"));
    let layer = world.cache.per("report", tenant()).ttl(minutes(1));
    let private: &[(&str, &str)] = &[("cache-control", "private, max-age=9")];
    let request =
        || Request::get("/").header("x-tenant", "a").header("authorization", "Bearer x").body(()).expect("a request");
    world.ask(&layer, request(), private).await;
    let hit = world.ask(&layer, request(), private).await;
    assert_eq!((hit.cache(), hit.header("cache-control")), ("towerkeep; hit; ttl=9", Some("private, max-age=9")));
}
