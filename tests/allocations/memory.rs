//! What a body takes that is too long to be kept.

use std::{
    convert::Infallible,
    fs,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use towerkeep::{Keep, clock::minutes};

const CHUNK: usize = 64 << 10;
const GIBIBYTE: usize = 1 << 30;
const MOST: usize = 32 << 20;

/// A gibibyte, made piece by piece.
struct Long(usize);

impl Body for Long {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 == GIBIBYTE {
            return Poll::Ready(None);
        }
        self.0 += CHUNK;
        Poll::Ready(Some(Ok(Frame::data(vec![7; CHUNK].into()))))
    }
}

/// The memory of this process that is in use, in bytes; nothing where the system does not tell.
fn resident() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<usize>().ok().map(|kibibytes| kibibytes << 10)
}

/// Nobody tells its length before, so it is kept until it is too long.
pub(crate) async fn a_gibibyte_streams_through_the_cache() {
    let Some(before) = resident() else {
        println!("a gibibyte through the cache: skipped, there is no /proc/self/status to tell the memory in use");
        return;
    };
    let layer = Keep::in_memory().cache().public("long").ttl(minutes(5));
    let service = layer.layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Long(0)))));
    let request = Request::get("/long").body(()).expect("valid");
    let mut body = service.oneshot(request).await.expect("infallible").into_body();
    let (mut passed, mut most) = (0, 0);
    while let Some(frame) = body.frame().await {
        passed += frame.expect("infallible").into_data().expect("data").len();
        if passed % (8 << 20) == 0 {
            most = most.max(resident().unwrap_or_default().saturating_sub(before));
        }
    }
    println!("a gibibyte through the cache: {} KiB more memory", most >> 10);
    assert_eq!(passed, GIBIBYTE);
    assert!(most < MOST, "{most} bytes");
}
