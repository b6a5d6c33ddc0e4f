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
