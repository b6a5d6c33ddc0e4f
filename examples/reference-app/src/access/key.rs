//! The key itself: how it is made, read and compared.

use std::{fmt, hint::black_box};

use sha2::{Digest as _, Sha256};

/// How every key begins; other bearer tokens are none of ours.
pub(super) const MARK: &str = "tk_";

const PREFIX: usize = 16;
const SECRET: usize = 64;

/// `tk_<prefix>_<secret>`: 64 bits that name the key and 256 that prove it, both in hex.
///
/// Nobody finds a secret by asking: the limit of all requests per address also counts those with wrong keys, and
/// without any limit 256 bits would outlast everybody who tries.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ApiKey(String);

impl ApiKey {
    /// A new key.
    ///
    /// # Errors
    /// When the operating system gives no random numbers.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; (PREFIX + SECRET) / 2];
        getrandom::fill(&mut bytes)?;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let (prefix, secret) = hex.split_at(PREFIX);
        Ok(Self(format!("{MARK}{prefix}_{secret}")))
    }

    /// Reads what a client sent; nothing unless it is exactly of our form.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (prefix, secret) = text.strip_prefix(MARK.as_bytes())?.split_at_checked(PREFIX)?;
        let secret = secret.strip_prefix(b"_")?;
        let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if secret.len() != SECRET || !is_hex(prefix) || !is_hex(secret) {
            return None;
        }
        String::from_utf8(text.to_vec()).ok().map(Self)
    }

    /// What finds the key; no secret.
    pub(crate) fn prefix(&self) -> &str {
        &self.0[MARK.len()..MARK.len() + PREFIX]
    }

    /// What is stored in place of the secret.
    pub(crate) fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.0[MARK.len() + PREFIX + 1..]).into()
    }

    /// Whether `stored` is this key's digest, in a time that tells nothing about where they differ.
    pub(super) fn is_proven_by(&self, stored: &[u8]) -> bool {
        let digest = self.digest();
        let difference = digest.iter().zip(stored).fold(0, |seen, (a, b)| black_box(seen | (a ^ b)));
        stored.len() == digest.len() && difference == 0
    }

    /// The whole key, for its owner to keep.
    pub(crate) fn reveal(self) -> String {
        self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiKey").field(&self.prefix()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_made_and_nothing_else() {
        let key = ApiKey::random().expect("random numbers");
        let text = key.clone().reveal();
        assert_eq!(ApiKey::parse(text.as_bytes()), Some(key));
        let upper = format!("tk_{}", text[3..].to_uppercase());
        let (short, long, dot) = (&text[..text.len() - 1], format!("{text}0"), text.replacen("_", ".", 2));
        for other in ["", "tk_", "tk__", "tk_é", short, &long, &dot, &upper, &format!("{}é", &text[..81])] {
            assert_eq!(ApiKey::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn only_its_own_digest_proves_it() {
        let (key, other) = (ApiKey::random().expect("random"), ApiKey::random().expect("random"));
        assert!(key.is_proven_by(&key.digest()));
        assert!(!key.is_proven_by(&other.digest()));
        assert!(!key.is_proven_by(&key.digest()[..31]) && !key.is_proven_by(&[]));
    }

    #[test]
    fn does_not_print_its_secret() {
        let key = ApiKey::random().expect("random numbers");
        assert_eq!(format!("{key:?}"), format!("ApiKey({:?})", key.prefix()));
    }
}
