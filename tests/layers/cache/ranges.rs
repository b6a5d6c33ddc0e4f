//! Parts of stored responses (RFC 9110, 14).

use super::*;

const TAGGED: &[(&str, &str)] = &[("etag", "\"a\""), ("content-type", "text/plain")];

#[tokio::test]
async fn a_range_of_a_stored_response_is_a_part_of_it() {
    let world = World::new();
    let layer = world.public();
    world.ask(&layer, get("/"), TAGGED).await; // "call 1"
    let asked = async |range: &str| world.ask(&layer, with("/", "range", range), TAGGED).await;
    for (range, content_range, body) in
        [("bytes=0-1", "bytes 0-1/6", "ca"), ("bytes=5-", "bytes 5-5/6", "1"), ("bytes=-2", "bytes 4-5/6", " 1")]
    {
        let part = asked(range).await;
        assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, body.as_bytes()), "{range}");
        assert_eq!(part.header("content-range"), Some(content_range));
        assert_eq!(part.header("content-length"), Some(body.len().to_string().as_str()));
        assert_eq!((part.header("etag"), part.header("content-type")), (Some("\"a\""), Some("text/plain")));
        assert!(part.is_hit());
    }
    let after = asked("bytes=6-").await;
    assert_eq!((after.status, after.body.len()), (StatusCode::RANGE_NOT_SATISFIABLE, 0));
    assert_eq!(after.header("content-range"), Some("bytes */6"));
    let several = asked("bytes=0-0,2-2").await;
    assert_eq!((several.status, &several.body[..]), (StatusCode::OK, &b"call 1"[..]));
    assert_eq!(world.calls(), 1);
}

#[tokio::test]
async fn a_client_that_has_it_gets_304_before_any_part() {
    let world = World::new();
    let layer = world.public();
    world.ask(&layer, get("/"), TAGGED).await;
    let request = Request::get("/").header("range", "bytes=0-1").header("if-none-match", "\"a\"");
    let known = world.ask(&layer, request.body(()).expect("a request"), TAGGED).await;
    assert_eq!(known.status, StatusCode::NOT_MODIFIED);
    let request = Request::get("/").header("range", "bytes=0-1").header("if-range", "\"old\"");
    let whole = world.ask(&layer, request.body(()).expect("a request"), TAGGED).await;
    assert_eq!((whole.status, &whole.body[..]), (StatusCode::OK, &b"call 1"[..]));
}

/// The handler answers what is not stored, in its own way; nothing is kept of it, and nobody waits for it.
#[tokio::test]
async fn a_range_of_what_is_not_stored_is_the_handlers() {
    let world = World::new();
    let layer = world.public();
    let partial: &[(&str, &str)] = &[(":status", "206"), ("content-range", "bytes 0-5/99")];
    let part = world.ask(&layer, with("/", "range", "bytes=0-5"), partial).await;
    assert_eq!((part.status, part.cache()), (StatusCode::PARTIAL_CONTENT, "towerkeep; fwd=miss; detail=range"));
    assert_eq!(world.get(&layer, "/").await.cache(), "towerkeep; fwd=miss; stored");
    let other: &[(&str, &str)] = &[(":status", "404"), ("cache-control", "max-age=60")];
    world.ask(&layer, get("/gone"), other).await;
    let gone = world.ask(&layer, with("/gone", "range", "bytes=0-1"), other).await;
    assert_eq!((gone.status, gone.is_hit(), gone.body.len()), (StatusCode::NOT_FOUND, true, 6), "only a 200 has parts");
}
