//! The split token: a session's id, which is no secret, and the secret that proves whose it is.

use std::{fmt, hint::black_box, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use crate::{Error, outcome::Redacted, request_key::push_hex};

/// The handle of a session: 128 random bits as 32 hexadecimal characters, the same for the session's whole life.
///
/// It opens nothing by itself, so it may be listed, logged and used as a path parameter:
///
/// ```
/// use towerkeep::session::SessionId;
/// let id: SessionId = "00112233445566778899aabbccddeeff".parse().unwrap();
/// assert_eq!(id.to_string(), "00112233445566778899aabbccddeeff");
/// assert!("00112233445566778899AABBCCDDEEFF".parse::<SessionId>().is_err()); // one spelling only
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// A new one from the operating system.
    pub(crate) fn random() -> Self {
        Self(random_bytes())
    }

    pub(super) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for SessionId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        from_hex(text.as_bytes()).map(Self).ok_or_else(|| Error::invalid("not a session's id"))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// 256 random bits that only the client keeps.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret([u8; 32]);

impl Secret {
    pub(crate) fn random() -> Self {
        Self(random_bytes())
    }

    /// What is stored in its place.
    pub(crate) fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0).into())
    }
}

/// The SHA-256 of a session's secret: what a store keeps. Nobody gets a secret out of it.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// A hash that no secret has: where there is no previous one.
    pub(super) const NONE: Self = Self([0; 32]);

    /// Whether both are the same, in a time that tells nothing about where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0, |seen, (a, b)| black_box(seen | (a ^ b)));
        difference == 0
    }

    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        from_hex(text.as_bytes()).map(Self)
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretHash").field(&Redacted).finish()
    }
}

/// What the client holds: `sid.secret`, 97 characters.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) id: SessionId,
    secret: Secret,
}

impl Token {
    pub(crate) const LEN: usize = 32 + 1 + 64;

    pub(crate) fn random() -> Self {
        Self { id: SessionId::random(), secret: Secret::random() }
    }

    /// The same session with a new secret.
    pub(crate) fn renewed(id: SessionId) -> Self {
        Self { id, secret: Secret::random() }
    }

    /// Reads what a client sent; nothing unless it is exactly of our form.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != Self::LEN || text[32] != b'.' {
            return None;
        }
        Some(Self { id: SessionId(from_hex(&text[..32])?), secret: Secret(from_hex(&text[33..])?) })
    }

    pub(crate) fn hash(&self) -> SecretHash {
        self.secret.hash()
    }

    /// The text for the client; the one place where a secret is written.
    pub(crate) fn reveal(&self) -> String {
        let mut text = String::with_capacity(Self::LEN);
        push_hex(&mut text, &self.id.0);
        text.push('.');
        push_hex(&mut text, &self.secret.0);
        text
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &self.id).field("secret", &Redacted).finish()
    }
}

/// Random bytes of the operating system; without them nothing secret can be made, so there is no way on.
pub(super) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

fn write_hex<const N: usize>(f: &mut fmt::Formatter<'_>, bytes: &[u8; N]) -> fmt::Result {
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
    let pairs = bytes.map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    f.write_str(std::str::from_utf8(pairs.as_flattened()).expect("hexadecimal digits are ascii"))
}

pub(super) fn from_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let (mut bytes, mut wrong) = ([0; N], 0);
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
        wrong |= high | low;
        *byte = high << 4 | low & 0xf;
    }
    (wrong & NO_DIGIT == 0).then_some(bytes)
}

/// Marks what is no digit.
const NO_DIGIT: u8 = 0x80;

/// The value of each lower case hexadecimal digit.
const NIBBLES: [u8; 256] = {
    let (mut nibbles, mut n) = ([NO_DIGIT; 256], 0);
    while n < 16 {
        nibbles[b"0123456789abcdef"[n as usize] as usize] = n;
        n += 1;
    }
    nibbles
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_reads_back_and_two_never_match() {
        let (token, other) = (Token::random(), Token::random());
        let read = Token::parse(token.reveal().as_bytes()).expect("its own text");
        assert_eq!(read.id, token.id);
        assert!(read.hash().matches(&token.hash()));
        assert!(!read.hash().matches(&other.hash()));
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = Token::random();
        let shown = format!("{token:?} {:?}", token.hash());
        assert!(!shown.contains(&token.reveal()[33..]) && !shown.contains(&token.hash().to_string()));
    }

    proptest! {
        #[test]
        fn no_other_text_is_a_token(text in proptest::collection::vec(any::<u8>(), 0..120)) {
            prop_assert!(Token::parse(&text).is_none());
        }

        #[test]
        fn one_changed_byte_is_another_token_or_none(at in 0..Token::LEN, to in any::<u8>()) {
            let token = Token::random();
            let mut text = token.reveal().into_bytes();
            prop_assume!(text[at] != to);
            text[at] = to;
            let same = Token::parse(&text).is_some_and(|read| read.id == token.id && read.hash().matches(&token.hash()));
            prop_assert!(!same);
        }
    }
}
