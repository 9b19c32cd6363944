//! Card numbers and accounts become keyed tokens; the only file that knows the key.
//!
//! Every output is an HMAC-SHA256 under one secret, over a word that names its purpose and the
//! text: tokens, payload hashes, the fingerprint and the seed of hashes never meet.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::batch::Token;
use crate::bundle::Field;

/// Shortest key accepted, in bytes.
const KEY_BYTES: usize = 32;

/// The key of all tokens; never printed.
#[derive(Clone)]
pub struct TokenKey {
    account: Hmac<Sha256>,
    payload: Hmac<Sha256>,
    fingerprint: [u8; 16],
    id_seed: u64,
}

/// Why a secret cannot be the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Too short to keep card numbers from being guessed.
    #[error("expected a key of at least {KEY_BYTES} bytes, found {found}")]
    TooShort {
        /// Its length in bytes.
        found: usize,
    },
}

impl TokenKey {
    /// Makes the key of a secret: hexadecimal text of at least 64 characters is decoded to
    /// bytes, any other text is taken as it is.
    ///
    /// # Errors
    /// When the secret is shorter than 32 bytes.
    pub fn new(secret: &str) -> Result<Self, TokenError> {
        let bytes = decode_hexadecimal(secret).unwrap_or_else(|| secret.as_bytes().to_vec());
        if bytes.len() < KEY_BYTES {
            return Err(TokenError::TooShort { found: bytes.len() });
        }
        #[expect(
            clippy::expect_used,
            reason = "HMAC takes a key of any length (RFC 2104)"
        )]
        let plain = Hmac::<Sha256>::new_from_slice(&bytes).expect("any length is a key");
        let purpose = |word: &[u8]| plain.clone().chain_update(word);
        let fingerprint = half(purpose(b"fingerprint\0"));
        let id_seed = half(purpose(b"id\0")) as u64;
        Ok(Self {
            account: purpose(b"account\0"),
            payload: purpose(b"payload\0"),
            fingerprint: fingerprint.to_be_bytes(),
            id_seed,
        })
    }

    /// The token of an account, its text taken as it is.
    pub fn account(&self, text: &str) -> Token {
        let mac = self.account.clone().chain_update(text.as_bytes());
        Token(half(mac).to_be_bytes())
    }

    /// The token of a card number: the account token of its [`canonical_card`].
    pub fn card(&self, text: &str) -> Token {
        self.account(&canonical_card(text))
    }

    /// The token of a text of this field: a card number where the field holds one.
    pub fn of_field(&self, field: &Field, text: &str) -> Token {
        if field.pan {
            self.card(text)
        } else {
            self.account(text)
        }
    }

    /// Recognises the key without revealing it: stored with a stream, so that another key is
    /// refused.
    pub fn fingerprint(&self) -> [u8; 16] {
        self.fingerprint
    }

    /// Keyed hash of a payload: an unkeyed one would let a card number be guessed.
    pub fn payload_hash(&self, payload: &[u8]) -> [u8; 32] {
        let mac = self.payload.clone().chain_update(payload);
        mac.finalize().into_bytes().into()
    }

    /// Seed of the hashes of transaction ids.
    pub fn id_seed(&self) -> u64 {
        self.id_seed
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey(***)")
    }
}

/// A card number without the spaces and hyphens that people write into it.
pub fn canonical_card(text: &str) -> Cow<'_, str> {
    if text.contains([' ', '-']) {
        Cow::Owned(text.replace([' ', '-'], ""))
    } else {
        Cow::Borrowed(text)
    }
}

/// The first 128 bits.
fn half(mac: Hmac<Sha256>) -> u128 {
    let whole: [u8; 32] = mac.finalize().into_bytes().into();
    whole[..16]
        .iter()
        .fold(0, |bits, &byte| bits << 8 | u128::from(byte))
}

fn decode_hexadecimal(text: &str) -> Option<Vec<u8>> {
    if text.len() < 2 * KEY_BYTES || !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn key() -> TokenKey {
        TokenKey::new(SECRET).unwrap()
    }

    #[test]
    fn a_short_key_is_refused() {
        assert_eq!(
            TokenKey::new("x").unwrap_err(),
            TokenError::TooShort { found: 1 }
        );
        assert!(TokenKey::new(&"x".repeat(31)).is_err());
        assert!(TokenKey::new(&"x".repeat(32)).is_ok());
        assert!(TokenKey::new(&"0".repeat(63)).is_ok());
    }

    #[test]
    fn a_hexadecimal_key_is_its_bytes_in_either_case() {
        let token = key().account("a");
        assert_eq!(
            TokenKey::new(&SECRET.to_uppercase()).unwrap().account("a"),
            token
        );
        let other = SECRET.replace('f', "g");
        assert_ne!(TokenKey::new(&other).unwrap().account("a"), token);
    }

    #[test]
    fn values_are_those_of_any_other_implementation_and_never_change() {
        // python3: hmac.new(bytes.fromhex(SECRET), b"account\0" + b"4242424242424242", "sha256")
        let token = key().account("4242424242424242");
        assert_eq!(token.to_string(), "d777cac933c7a51dac06d1681883958d");
        assert_eq!(
            Token(key().fingerprint()).to_string(),
            "04eaa3a066f1f6227034cb9daf677303"
        );
        let hash = key().payload_hash(b"{}");
        assert_eq!(hash[..4], [223, 65, 141, 185]);
        assert_eq!(key().id_seed(), 0xc7f3edfb6a5c54cb);
    }

    #[test]
    fn a_card_number_is_the_same_however_it_is_grouped() {
        let token = key().card("4242424242424242");
        assert_eq!(key().card("4242 4242 4242 4242"), token);
        assert_eq!(key().card("4242-4242-4242-4242"), token);
        assert_eq!(key().account("4242424242424242"), token);
        assert_ne!(key().account("4242 4242 4242 4242"), token);
    }

    #[test]
    fn another_key_gives_other_tokens_and_another_fingerprint() {
        let other = TokenKey::new(&"k".repeat(32)).unwrap();
        assert_ne!(other.account("a"), key().account("a"));
        assert_ne!(other.fingerprint(), key().fingerprint());
        assert_ne!(other.id_seed(), key().id_seed());
    }

    #[test]
    fn the_key_is_never_printed() {
        assert_eq!(format!("{:?}", key()), "TokenKey(***)");
    }
}
