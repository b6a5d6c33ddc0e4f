//! Bodies stream while they are kept.

use super::*;

/// A body of these frames; an `Err` breaks it.
struct Frames(VecDeque<Result<&'static [u8], &'static str>>, Option<Duration>);

impl Body for Frames {
    type Data = Bytes;
    type Error = &'static str;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        match self.0.pop_front() {
            None if self.1.is_some() => {
                let _ = cx;
                Poll::Pending
            }
            None => Poll::Ready(None),
            Some(frame) => Poll::Ready(Some(frame.map(|data| Frame::data(Bytes::from_static(data))))),
        }
    }
}

fn streaming(
    frames: &'static [Result<&'static [u8], &'static str>],
    length: Option<&'static str>,
) -> impl Service<Request<()>, Response = Response<Frames>, Error = Infallible, Future: Send> + Clone {
    service_fn(move |_: Request<()>| {
        let mut response = Response::new(Frames(frames.iter().copied().collect(), None));
        if let Some(length) = length {
            response.headers_mut().insert("content-length", length.parse().expect("a value"));
        }
        async move { Ok(response) }
    })
}

async fn is_kept(
    layer: &CacheLayer,
    frames: &'static [Result<&'static [u8], &'static str>],
    length: Option<&'static str>,
) -> bool {
    let service = layer.layer(streaming(frames, length));
    let response = service.clone().oneshot(get("/")).await.expect("infallible");
    let _ = response.into_body().collect().await;
    said(service, get("/")).await.is_ok_and(|again| again.is_hit() && again.body == frames.concat_ok())
}

trait ConcatOk {
    fn concat_ok(&self) -> Bytes;
}

impl ConcatOk for [Result<&'static [u8], &'static str>] {
    fn concat_ok(&self) -> Bytes {
        self.iter().flatten().flat_map(|frame| frame.iter().copied()).collect()
    }
}

#[tokio::test]
async fn several_frames_are_kept_as_one_body() {
    assert!(is_kept(&World::new().public(), &[Ok(b"ab"), Ok(b""), Ok(b"cd")], None).await);
    assert!(is_kept(&World::new().public(), &[Ok(b"ab"), Ok(b"cd")], Some("4")).await);
    assert!(is_kept(&World::new().public(), &[], None).await);
}

#[tokio::test]
async fn wrong_lengths_and_long_bodies_are_not_kept() {
    assert!(!is_kept(&World::new().public(), &[Ok(b"ab")], Some("3")).await);
    assert!(!is_kept(&World::new().public(), &[Ok(b"abc"), Ok(b"d")], Some("3")).await);
    assert!(!is_kept(&World::new().public().max_body(3), &[Ok(b"ab"), Ok(b"cd")], None).await);
    assert!(!is_kept(&World::new().public().max_body(3), &[Ok(b"abcd")], Some("4")).await);
}

#[tokio::test]
async fn a_broken_body_is_passed_on_and_not_kept() {
    let world = World::new();
    let service = world.public().layer(streaming(&[Ok(b"ab"), Err("broken")], None));
    let response = service.oneshot(get("/")).await.expect("infallible");
    assert_eq!(response.into_body().collect().await.err(), Some("broken"));
    assert!(!world.get(&world.public(), "/").await.is_hit());
}

#[tokio::test]
async fn a_body_that_is_dropped_when_all_declared_bytes_have_come_is_kept() {
    let world = World::new();
    let service = world.public().layer(streaming(&[Ok(b"abc")], Some("3")));
    let mut body = service.oneshot(get("/")).await.expect("infallible").into_body();
    let frame = body.frame().await.expect("one").expect("whole");
    assert_eq!(frame.into_data().ok().as_deref(), Some(&b"abc"[..]));
    drop(body);
    assert!(world.get(&world.public(), "/").await.is_hit());
}

#[tokio::test]
async fn an_endless_body_streams() {
    let world = World::new();
    let service = world.public().layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Frames([Ok(&b"event"[..])].into(), Some(Duration::MAX))))
    }));
    let mut body = service.oneshot(get("/")).await.expect("infallible").into_body();
    assert!(body.frame().await.expect("the first frame").is_ok());
    drop(body);
    assert!(!world.get(&world.public(), "/").await.is_hit());
}

/// A body that has more to give whenever it is asked, and panics after `calm` frames where it is not endless.
struct Source {
    calm: Option<usize>,
    given: usize,
}

impl Body for Source {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        assert!(self.calm.is_none_or(|calm| self.given < calm), "the body of this handler panics");
        self.given += 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[7; 64])))))
    }
}

fn source(
    calm: Option<usize>,
    length: Option<&'static str>,
) -> impl Service<Request<()>, Response = Response<Source>, Error = Infallible, Future: Send> + Clone {
    service_fn(move |_: Request<()>| {
        let mut response = Response::new(Source { calm, given: 0 });
        if let Some(length) = length {
            response.headers_mut().insert("content-length", length.parse().expect("a value"));
        }
        async move { Ok(response) }
    })
}

#[tokio::test(start_paused = true)]
async fn a_body_without_an_end_is_never_kept_and_holds_up_nobody() {
    let world = World::new();
    let layer = world.public().max_body(1_000);
    let mut body = layer.layer(source(None, None)).oneshot(get("/")).await.expect("infallible").into_body();
    let other = layer.layer(streaming(&[Ok(b"ab")], None));
    let waiting = tokio::spawn(async move { said(other, get("/")).await.expect("whole") });
    tokio::task::yield_now().await;
    for _ in 0..1_000 {
        let frame = body.frame().await.expect("endless").expect("infallible");
        assert_eq!(frame.into_data().expect("data").len(), 64);
    }
    // Over the size, and long before the end: whoever waits for it goes to the handler.
    assert_eq!(waiting.await.expect("no panic").cache(), "towerkeep; fwd=miss; detail=not-shareable");
    drop(body);
    assert!(!world.get(&layer, "/").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_mid_body_is_not_kept_and_holds_up_nobody() {
    for length in [None, Some("128"), Some("640")] {
        let world = World::new();
        let service = world.public().layer(source(Some(2), length));
        let panicked = tokio::spawn(async move {
            let response = service.oneshot(get("/")).await.expect("infallible");
            response.into_body().collect().await.map(drop)
        });
        assert!(panicked.await.expect_err("the panic is the client's").is_panic());
        assert_eq!(world.get(&world.public(), "/").await.cache(), "towerkeep; fwd=miss; stored", "{length:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_before_it_answers_holds_up_nobody() {
    let world = World::new();
    let gate = Arc::new(tokio::sync::Notify::new());
    let opened = Arc::clone(&gate);
    let panics = world.public().layer(service_fn(move |_: Request<()>| {
        let opened = Arc::clone(&opened);
        async move {
            opened.notified().await;
            assert!(Arc::strong_count(&opened) == 0, "this handler panics");
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }
    }));
    let first = tokio::spawn(async move { said(panics, get("/")).await.map(drop) });
    tokio::task::yield_now().await;
    let (layer, calls) = (world.public(), Arc::clone(&world.calls));
    let second = tokio::spawn(async move {
        let handler = service_fn(move |_: Request<()>| {
            calls.fetch_add(1, Relaxed);
            async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("whole"))) }
        });
        said(layer.layer(handler), get("/")).await.expect("infallible")
    });
    tokio::task::yield_now().await;
    assert_eq!(world.calls(), 0, "the second waits for the first");
    gate.notify_one();
    assert!(first.await.expect_err("the panic is the client's").is_panic());
    assert_eq!(second.await.expect("no panic").cache(), "towerkeep; fwd=miss; stored");
}

/// RFC 9110, 8.6: what is no length, and two of them, would leave with each hit.
#[tokio::test]
async fn a_length_that_is_none_is_not_kept() {
    let world = World::new();
    for lines in [
        &[("content-length", "x")][..],
        &[("content-length", "+6")],
        &[("content-length", "6, 6")],
        &[("content-length", "")],
        &[("content-length", "6"), ("content-length", "7")],
        &[("content-length", "6"), ("content-length", "6")],
        &[("content-length", "99999999999999999999")],
    ] {
        let said = world.ask(&world.public(), get("/"), lines).await;
        assert_eq!(said.cache(), "towerkeep; fwd=miss; detail=length", "{lines:?}");
    }
}
