//! What takes the place of a secret.

use super::MASK;
use crate::config::RedactMode;
use sha2::{Digest, Sha256};

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// What is done with a value that must not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Mask,
    Hash,
    Drop,
}

impl Action {
    /// None: the value stays.
    pub fn of(mode: RedactMode) -> Option<Action> {
        Some(match mode {
            RedactMode::Mask => Action::Mask,
            RedactMode::Hash => Action::Hash,
            RedactMode::Drop => Action::Drop,
            RedactMode::Keep => return None,
        })
    }
}

/// A key of HMAC-SHA-256 (RFC 2104), made ready. Not `Debug`.
pub(crate) struct HashKey {
    inner: Sha256,
    outer: Sha256,
    /// 8 hex digits that name the key and do not tell it.
    id: String,
}

impl HashKey {
    pub fn new(key: &[u8]) -> Self {
        let mut block = [0u8; BLOCK];
        if key.len() > BLOCK {
            let digest = Sha256::digest(key);
            block.iter_mut().zip(digest).for_each(|(b, d)| *b = d);
        } else {
            block.iter_mut().zip(key).for_each(|(b, k)| *b = *k);
        }
        let mut made = HashKey {
            inner: Sha256::new_with_prefix(block.map(|b| b ^ 0x36)),
            outer: Sha256::new_with_prefix(block.map(|b| b ^ 0x5c)),
            id: String::new(),
        };
        made.id = hex(&made.mac(b"plainspan key id"), 4);
        made
    }

    /// HMAC-SHA-256 of the message.
    pub fn mac(&self, message: &[u8]) -> [u8; 32] {
        let inner = self.inner.clone().chain_update(message).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }

    /// `hmac:<key id>:<16 hex>`.
    pub fn tag(&self, secret: &[u8]) -> String {
        format!("hmac:{}:{}", self.id, hex(&self.mac(secret), 8))
    }
}

fn hex(bytes: &[u8], len: usize) -> String {
    bytes.iter().take(len).map(|b| format!("{b:02x}")).collect()
}

/// Writes what takes a secret's place.
#[derive(Default)]
pub(super) struct Substitute {
    /// There wherever a rule hashes.
    pub key: Option<HashKey>,
}

impl Substitute {
    /// What stands where `secret` was: the mask, its hash, or nothing.
    pub fn of(&self, action: Action, secret: &[u8]) -> Vec<u8> {
        match (action, &self.key) {
            (Action::Drop, _) => Vec::new(),
            (Action::Hash, Some(key)) => key.tag(secret).into_bytes(),
            (Action::Mask | Action::Hash, _) => MASK.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_that_of_rfc_4231() {
        let cases: [(&[u8], &[u8], &str); 3] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db3853"),
            (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e"),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f",
            ),
        ];
        for (key, message, want) in cases {
            assert_eq!(hex(&HashKey::new(key).mac(message), 8), want);
        }
    }

    #[test]
    fn a_tag_names_its_key_and_is_the_same_for_the_same_secret() {
        let (a, b) = (HashKey::new(b"one key of many"), HashKey::new(b"another"));
        assert_eq!(a.tag(b"x"), a.tag(b"x"));
        assert_ne!(a.tag(b"x"), a.tag(b"y"));
        assert_ne!(a.tag(b"x").split(':').nth(1), b.tag(b"x").split(':').nth(1));
        assert_eq!(a.tag(b"x").len(), "hmac:".len() + 8 + 1 + 16);
    }

    #[test]
    fn without_a_key_a_secret_is_masked_rather_than_shown() {
        let none = Substitute::default();
        assert_eq!(none.of(Action::Hash, b"x"), MASK);
        assert!(none.of(Action::Drop, b"x").is_empty());
    }
}
