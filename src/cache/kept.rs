//! A response on its way to the store.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::ETAG};
use sha2::{Digest, Sha256};

use super::{
    Tags,
    fill::{Fill, Parts},
    policy::{self, Span},
};
use crate::{clock::Timestamp, request_key::push_hex};

/// The handler's response, decided to be kept when its body is whole.
pub(crate) struct Keep {
    pub(super) fill: Box<Fill>,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) span: Span,
    pub(super) stored: Timestamp,
    pub(super) tags: Tags,
}

impl Keep {
    pub(crate) fn max_body(&self) -> usize {
        self.fill.mount.settings.max_body
    }

    /// The body is whole: the response is kept, and shared with those who wait.
    pub(crate) fn finish(mut self, body: Bytes) {
        self.complete_etag(&body);
        policy::complete_length(&mut self.headers, self.status, body.len());
        let Self { fill, status, headers, span, stored, tags } = self;
        let entry = fill.entry_of(Parts { status, headers, tags }, body, span, stored);
        fill.store(Arc::new(entry));
    }

    /// The body came out too long.
    pub(crate) fn overflow(mut self) {
        self.fill.give_up(true);
    }

    /// One client's copy can be asked about by its tag: made from the body where the handler made none.
    fn complete_etag(&mut self, body: &Bytes) {
        let is_ours = self.fill.mount.settings.sharing.is_private() && self.status == StatusCode::OK;
        if is_ours && !self.headers.contains_key(ETAG) {
            let mut tag = String::from("\"");
            push_hex(&mut tag, &Sha256::digest(body)[..16]);
            tag.push('"');
            self.headers.insert(ETAG, HeaderValue::try_from(tag).expect("hexadecimal digits are visible ascii"));
        }
    }
}
