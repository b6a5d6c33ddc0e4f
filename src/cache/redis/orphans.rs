//! Claims of this instance that Redis was told to take back, and may not have heard.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::claims::{LASTS, give_back};
use crate::{
    Cx,
    cache::{Release, Token},
    conn::Redis,
};

/// By their keys: while one of them lies there, other instances wait for nobody.
#[derive(Debug, Default)]
pub(super) struct Orphans(Mutex<HashMap<String, (Token, Instant)>>);

/// Kept at most; more end by themselves.
const MOST: usize = 1_024;
/// Given back together.
const BATCH: usize = 64;

impl Orphans {
    /// About to be given back.
    pub(super) fn note(&self, key: &str, token: Token) {
        let mut all = self.lock();
        if all.len() >= MOST {
            all.retain(|_, (_, noted)| noted.elapsed() < LASTS);
        }
        if all.len() < MOST {
            all.insert(key.to_owned(), (token, Instant::now()));
        }
    }

    /// Redis has heard it.
    pub(super) fn over(&self, key: &str, token: Token) {
        let mut all = self.lock();
        if all.get(key).is_some_and(|(own, _)| *own == token) {
            all.remove(key);
        }
    }

    /// The one at this key, which who asks for the key takes over.
    pub(super) fn token_of(&self, key: &str) -> Option<Token> {
        self.lock().get(key).map(|(token, _)| *token)
    }

    /// Whoever's it was, Redis has told what lies there now.
    pub(super) fn forget(&self, key: &str) {
        self.lock().remove(key);
    }

    /// Gives all of them back; what fails ends by itself.
    pub(super) async fn give_back(&self, redis: &Redis) {
        let all: Vec<_> = std::mem::take(&mut *self.lock()).into_iter().collect();
        for batch in all.chunks(BATCH) {
            let alive = batch.iter().filter(|(_, (_, noted))| noted.elapsed() < LASTS);
            let giving: Vec<_> =
                alive.map(|(key, (token, _))| give_back(redis, &Cx::new(), key, *token, Release::Gone)).collect();
            for given in giving {
                if let Err(error) = given.await {
                    tracing::debug!(%error, "a claim of the response cache ends by itself");
                    if error.is_unavailable() {
                        return; // and each of the others would wait as long
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Token, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_that_was_noted_is_over() {
        let orphans = Orphans::default();
        orphans.note("a", Token(1));
        orphans.over("a", Token(2));
        assert_eq!(orphans.token_of("a"), Some(Token(1)));
        orphans.over("a", Token(1));
        assert_eq!(orphans.token_of("a"), None);
    }

    #[test]
    fn a_long_outage_does_not_fill_the_memory() {
        let orphans = Orphans::default();
        for n in 0..2 * MOST {
            orphans.note(&n.to_string(), Token(1));
        }
        assert_eq!(orphans.lock().len(), MOST);
    }
}
