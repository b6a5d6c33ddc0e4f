//! The token that its holder keeps, and the digest that a store keeps.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{outcome::Redacted, request_key::push_hex};

/// A token, as its holder gets it: once, and never from a store.
///
/// Neither `Debug` nor anything else shows it, but [`secret`](Token::secret).
#[derive(Clone)]
pub struct Token(String);

const BYTES: usize = 32;

impl Token {
    /// A new one from the operating system.
    pub(super) fn random() -> Self {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        Self(hex(&bytes))
    }

    /// The text for its holder: 64 characters of `0-9a-f`. Whoever has it can redeem it.
    pub fn secret(&self) -> &str {
        &self.0
    }

    pub(super) fn digest(&self) -> TokenDigest {
        TokenDigest(hex(&Sha256::digest(&self.0)))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Token").field(&Redacted).finish()
    }
}

/// The SHA-256 of a token: what a store knows of it. Nobody gets a token out of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenDigest(String);

impl TokenDigest {
    /// The digest of what may be a token; nothing for text of another form.
    pub fn of(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 2 * BYTES && text.bytes().all(is_digit)).then(|| Self(hex(&Sha256::digest(text))))
    }

    /// 64 hexadecimal characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenDigest").field(&Redacted).finish()
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_found_by_its_digest_and_shown_by_nothing_else() {
        let (token, other) = (Token::random(), Token::random());
        assert_eq!(TokenDigest::of(token.secret()), Some(token.digest()));
        assert_ne!(token.digest(), other.digest());
        let shown = format!("{token:?} {:?}", token.digest());
        assert!(!shown.contains(token.secret()) && !shown.contains(token.digest().as_str()), "{shown}");
    }

    proptest! {
        #[test]
        fn no_other_form_is_a_token(text in "[0-9a-fA-G]{63,65}|\\PC{0,70}") {
            let is_ours = text.len() == 64 && text.chars().all(|sign| sign.is_ascii_digit() || ('a'..='f').contains(&sign));
            prop_assert_eq!(TokenDigest::of(&text).is_some(), is_ours);
        }
    }
}
