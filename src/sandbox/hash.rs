//! One-way forms of what the sandbox must recognise but not keep: tokens, codes, sessions, passwords.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::ambient::{Entropy, random};

/// Hexadecimal digits of a hash that the control API shows: 64 bits tell any two tokens of a test apart.
pub(super) const PREFIX_DIGITS: usize = 16;

/// Lower-case hexadecimal text of bytes.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or_default();
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 0x0f));
    }
    text
}

/// `N` random bytes as lower-case hexadecimal text (twice as many digits).
pub(super) fn random_hex<const N: usize>(entropy: &dyn Entropy) -> String {
    hex(&random::<N>(entropy))
}

/// A random UUID (version 4, RFC 9562).
pub(super) fn random_uuid(entropy: &dyn Entropy) -> String {
    let number = u128::from_be_bytes(random(entropy));
    // Four bits say the version, two the variant.
    let number = number & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let digits = format!("{number:032x}");
    let group = |range| digits.get(range).unwrap_or_default();
    [group(0..8), group(8..12), group(12..16), group(16..20), group(20..32)].join("-")
}

/// SHA-256 of a text, as hexadecimal.
pub(super) fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// SHA-256 of parts behind a label, each with its length before it, so that no two lists of parts collide.
pub(super) fn labelled(label: &str, parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in std::iter::once(&label).chain(parts) {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hex(&hasher.finalize())
}

/// The part of a hash that the control API shows.
pub(super) fn prefix(sha256: &str) -> String {
    prefix_of(sha256, PREFIX_DIGITS)
}

/// The first digits of a hash.
pub(super) fn prefix_of(sha256: &str, digits: usize) -> String {
    sha256.chars().take(digits).collect()
}

/// A password as stored: salted SHA-256. Good enough for invented people in a sandbox, too fast for real ones.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Password {
    salt: String,
    sha256: String,
}

impl Password {
    /// Salts and hashes a password.
    pub(super) fn new(text: &str, entropy: &dyn Entropy) -> Self {
        let salt = random_hex::<16>(entropy);
        let sha256 = labelled("password", &[&salt, text]);
        Self { salt, sha256 }
    }

    /// Whether this is the password.
    pub(super) fn is(&self, text: &str) -> bool {
        labelled("password", &[&self.salt, text]) == self.sha256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ambient::SystemEntropy;

    #[test]
    fn a_password_is_recognised_and_salted() {
        let first = Password::new("secret", &SystemEntropy);
        let second = Password::new("secret", &SystemEntropy);
        assert!(first.is("secret") && second.is("secret"));
        assert!(!first.is("Secret") && !first.is(""));
        assert_ne!(first.sha256, second.sha256);
    }

    #[test]
    fn a_uuid_says_its_version() {
        let uuid = random_uuid(&SystemEntropy);
        assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{uuid}");
    }

    #[test]
    fn labelled_hashes_do_not_confuse_their_parts() {
        assert_ne!(labelled("x", &["ab", "c"]), labelled("x", &["a", "bc"]));
        assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(prefix(&sha256("abc")), "ba7816bf8f01cfea");
    }
}
