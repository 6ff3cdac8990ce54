//! Values that must not be printed, compared in variable time or left in memory.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// A value without a `Debug` text, without `Serialize` and without `Clone`, wiped when dropped.
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes the value into custody.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself. Every call of this is a place to review.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(..)")
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref().ct_eq(other.0.as_ref()).into()
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

macro_rules! secret_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, PartialEq, Eq)]
        pub struct $name(Secret<String>);

        impl $name {
            /// Takes the text into custody.
            pub fn new(text: String) -> Self {
                Self(Secret::new(text))
            }

            /// The text itself. Every call of this is a place to review.
            pub fn expose(&self) -> &str {
                self.0.expose()
            }
        }
    };
}

secret_text!(
    /// A merchant's access token at the provider (RFC 6750): whoever holds it moves the merchant's money.
    AccessToken
);
secret_text!(
    /// The app's own secret at the provider.
    ClientSecret
);
secret_text!(
    /// An authorization code (RFC 6749 §4.1.2). Lives in the memory of the process that received it, nowhere else.
    AuthorizationCode
);

/// An encrypted value as it is stored: which epoch key, the salt its one-use key was derived with, ciphertext and tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedBytes {
    /// The epoch whose key opens it.
    pub epoch: u32,
    /// Fresh and random for each value.
    pub salt: [u8; 32],
    /// AES-256-GCM ciphertext with its 16-byte tag.
    pub ciphertext: Vec<u8>,
}

/// A 256-bit key.
pub type KeyBytes = Secret<[u8; 32]>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_nothing_of_itself() {
        let token = AccessToken::new("STAGE_cafe".to_owned());
        assert_eq!(format!("{token:?}"), "AccessToken((..))");
        assert_eq!(token, AccessToken::new("STAGE_cafe".to_owned()));
        assert_ne!(token, AccessToken::new("STAGE_babe".to_owned()));
    }
}
