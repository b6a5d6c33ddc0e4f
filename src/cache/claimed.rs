//! The claim of one fill, given back whatever becomes of it.

use std::sync::Arc;

use super::{Claim, Place, Release, Token, epochs::random, handle::Shared};
use crate::{Cx, StoreFuture};

/// A claim that is asked for or held; dropped without a word it is given back, so that somebody else fills.
pub(crate) struct Claimed {
    shared: Arc<Shared>,
    place: Place,
    token: Token,
    is_over: bool,
}

impl Claimed {
    /// Asks the store. The claim is given back also where its answer is never heard.
    pub(crate) fn ask(shared: &Arc<Shared>, cx: &Cx, place: &Place) -> (Self, StoreFuture<Claim>) {
        let token = Token(random());
        let claimed = Self { shared: Arc::clone(shared), place: place.clone(), token, is_over: false };
        let answer = shared.store.claim(cx, place, token);
        (claimed, answer)
    }

    /// It was not granted, or the store has it.
    pub(crate) fn forget(mut self) {
        self.is_over = true;
    }

    /// For the store, which gives it back with the response.
    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// The response cannot be shared.
    pub(crate) fn alone(mut self) {
        self.is_over = true;
        self.release(Release::Alone);
    }

    fn release(&self, how: Release) {
        let mut releasing = self.shared.store.release(&self.place, self.token, how);
        if releasing.take_ready().is_none() {
            self.shared.background.push(async move {
                if let Err(error) = releasing.await {
                    tracing::debug!(%error, "a claim of the response cache ends by itself");
                }
            });
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if !self.is_over {
            self.release(Release::Gone);
        }
    }
}
