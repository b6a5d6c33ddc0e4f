//! The body of a response that passed a cache.

use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::kept::Keep;

pin_project! {
    /// The handler's body, passed on or kept while it passes; or a stored one.
    ///
    /// It streams: frames leave as they come, whether the response is kept or not. Dropped before its end it is not kept.
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Teed { #[pin] body: B, tee: Tee },
        Full { bytes: Option<Bytes> },
    }
}

impl<B> ResponseBody<B> {
    pub(crate) fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    pub(crate) fn full(bytes: Bytes) -> Self {
        Self { kind: Kind::Full { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()) } }
    }
}

impl<B: Body<Data = Bytes>> ResponseBody<B> {
    /// Reads on as long as something is to be kept: what a client's reading does for other responses.
    pub(crate) async fn keep(self) {
        let mut body = pin!(self);
        while !body.is_settled() {
            let frame = poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
            if !matches!(frame, Some(Ok(_))) {
                return;
            }
        }
    }

    fn is_settled(&self) -> bool {
        !matches!(&self.kind, Kind::Teed { tee, .. } if tee.keep.is_some())
    }

    pub(crate) fn teed(body: B, mut tee: Tee) -> Self {
        if body.is_end_stream() {
            // A server does not ask an empty body for anything.
            tee.end();
        }
        Self { kind: Kind::Teed { body, tee } }
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner { body } => body.poll_frame(cx),
            KindProj::Full { bytes } => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            KindProj::Teed { mut body, tee } => {
                let frame = ready!(body.as_mut().poll_frame(cx));
                match &frame {
                    Some(Ok(frame)) => tee.take(frame),
                    Some(Err(_)) => tee.discard(),
                    None => tee.end(),
                }
                if body.is_end_stream() {
                    // A server does not ask again.
                    tee.end();
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } | Kind::Teed { body, .. } => body.is_end_stream(),
            Kind::Full { bytes } => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } | Kind::Teed { body, .. } => body.size_hint(),
            Kind::Full { bytes } => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
        }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Inner { .. } => "ResponseBody(inner)",
            Kind::Teed { .. } => "ResponseBody(teed)",
            Kind::Full { .. } => "ResponseBody(full)",
        })
    }
}

/// What has passed so far of a body that is to be kept.
pub(crate) struct Tee {
    /// Nothing once it is kept or given up.
    keep: Option<Box<Keep>>,
    chunks: Vec<Bytes>,
    length: usize,
    declared: Option<u64>,
}

impl Tee {
    pub(crate) fn new(keep: Box<Keep>, declared: Option<u64>) -> Self {
        Self { keep: Some(keep), chunks: Vec::new(), length: 0, declared }
    }

    fn take(&mut self, frame: &Frame<Bytes>) {
        let Some(keep) = &self.keep else { return };
        let Some(data) = frame.data_ref() else {
            // Trailers are part of the response and have no place in an entry.
            return self.discard();
        };
        self.length = self.length.saturating_add(data.len());
        if self.length > keep.max_body() {
            self.chunks = Vec::new();
            if let Some(keep) = self.keep.take() {
                keep.overflow();
            }
        } else if !data.is_empty() {
            self.chunks.push(data.clone());
        }
    }

    fn discard(&mut self) {
        self.keep = None;
        self.chunks = Vec::new();
    }

    fn end(&mut self) {
        let is_whole = self.declared.is_none_or(|declared| declared == self.length as u64);
        let Some(keep) = self.keep.take().filter(|_| is_whole) else { return };
        keep.finish(joined(&mut self.chunks, self.length));
    }
}

/// A server that has sent as many bytes as were declared asks for no more: that was the end. What panics had not ended.
impl Drop for Tee {
    fn drop(&mut self) {
        if self.declared == Some(self.length as u64) && !std::thread::panicking() {
            self.end();
        }
    }
}

/// One piece is kept as it is; more are copied together once.
fn joined(chunks: &mut Vec<Bytes>, length: usize) -> Bytes {
    if chunks.len() == 1 {
        return chunks.swap_remove(0);
    }
    let mut whole = BytesMut::with_capacity(length);
    chunks.iter().for_each(|chunk| whole.extend_from_slice(chunk));
    whole.freeze()
}
