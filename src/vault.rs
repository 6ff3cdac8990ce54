//! Keys and what is made with them: sealed secrets, MACs, fingerprints, blind indexes, signatures. No database, no network.
//!
//! A secret is sealed under HKDF-SHA256(epoch key, fresh random salt, info = associated data) → the key and the nonce of
//! exactly one AES-256-GCM with the same associated data. So there is no limit on the number of secrets per epoch key, and a
//! ciphertext opens only at its own [`Place`]. Keys are wiped when dropped and never printed.
//!
//! This layer must not say why opening failed beyond [`OpenError`], and must not try one key after another.

mod keyring;
mod mac;
mod plaintext;
mod sealed;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use ed25519_dalek::{Signer as _, SigningKey};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

pub use self::keyring::{Epoch, EpochState, Keyring, KeyringError};
pub use self::mac::{BlindIndex, Capability, LABELS};
pub use self::plaintext::{BadPlaintext, PrivatePlaintext, TokenPlaintext};
pub use self::sealed::{
    CIPHERTEXT_BYTES_MAX, FORMAT, Malformed, PLACE_TEXT_BYTES_MAX, PLAINTEXT_BYTES_MAX, Place, PlaceKind, SALT_BYTES,
    SealedBytes, TAG_BYTES,
};

use self::mac::IndexKeys;
use crate::domain::ambient::{Entropy, random};
use crate::domain::mac::{RowKind, RowMac, RowTag};
use crate::domain::secret::{AccessToken, KeyBytes};
use crate::domain::trail::{PublicKey, Signature, Signer};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

/// The unwrapped keys of a deployment, and everything that is done with them.
pub struct Vault {
    active: u32,
    active_key: KeyBytes,
    decrypt_only: BTreeMap<u32, KeyBytes>,
    index: IndexKeys,
    signing: SigningKey,
}

/// Why something was not sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// The plaintext is over its limit.
    #[error("plaintext is longer than {PLAINTEXT_BYTES_MAX} bytes")]
    TooLong,
    /// A text of the place is over its limit.
    #[error("client id or subject is longer than {PLACE_TEXT_BYTES_MAX} bytes")]
    PlaceTooLong,
    /// The cipher refused; it does so only over limits that the two above stay far below.
    #[error("cipher refused the plaintext")]
    Cipher,
}

/// Why something did not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// The keyring has no key of this epoch.
    #[error("keyring has no epoch {0}")]
    UnknownEpoch(u32),
    /// Altered, sealed for another place, or sealed under another key: nobody is told which.
    #[error("sealed bytes do not open here")]
    Failed,
    /// No ciphertext can have this length.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Vault {
    /// Takes the keys into custody.
    pub fn new(keyring: Keyring) -> Self {
        let (index_root, signing_seed, active, decrypt_only) = keyring.into_parts();
        Self {
            active: active.id,
            active_key: active.key,
            decrypt_only: decrypt_only.into_iter().map(|epoch| (epoch.id, epoch.key)).collect(),
            index: IndexKeys::derive(&index_root),
            signing: SigningKey::from_bytes(signing_seed.expose()),
        }
    }

    /// Seals a secret for one place, under the active epoch.
    ///
    /// # Errors
    /// [`SealError`] when the plaintext or the place is over its limit.
    pub fn seal(&self, place: &Place<'_>, plaintext: &[u8], entropy: &dyn Entropy) -> Result<SealedBytes, SealError> {
        if plaintext.len() > PLAINTEXT_BYTES_MAX {
            return Err(SealError::TooLong);
        }
        if !place.is_within_limits() {
            return Err(SealError::PlaceTooLong);
        }
        let salt = random(entropy);
        let associated = place.associated_data();
        let (cipher, nonce) = cipher(&self.active_key, &salt, &associated);
        // Room for the tag from the start: a buffer that grew would leave a copy of the plaintext behind.
        let mut buffer = Vec::with_capacity(plaintext.len().saturating_add(TAG_BYTES));
        buffer.extend_from_slice(plaintext);
        let mut buffer = Zeroizing::new(buffer);
        cipher.encrypt_in_place(&nonce.into(), &associated, &mut *buffer).map_err(|_| SealError::Cipher)?;
        Ok(SealedBytes { epoch: self.active, salt, ciphertext: std::mem::take(&mut *buffer) })
    }

    /// Opens a secret that was sealed for exactly this place.
    ///
    /// # Errors
    /// [`OpenError`]; the plaintext of an altered secret is wiped, not returned.
    pub fn open(&self, place: &Place<'_>, sealed: &SealedBytes) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        sealed::check_length(sealed.ciphertext.len())?;
        if !place.is_within_limits() {
            return Err(OpenError::Failed);
        }
        let key = self.epoch_key(sealed.epoch).ok_or(OpenError::UnknownEpoch(sealed.epoch))?;
        let associated = place.associated_data();
        let (cipher, nonce) = cipher(key, &sealed.salt, &associated);
        let mut buffer = Zeroizing::new(sealed.ciphertext.clone());
        cipher.decrypt_in_place(&nonce.into(), &associated, &mut *buffer).map_err(|_| OpenError::Failed)?;
        Ok(buffer)
    }

    /// A keyed fingerprint of a token: answers "was this leaked string ours" without keeping the string.
    pub fn fingerprint(&self, token: &AccessToken) -> [u8; 16] {
        self.index.fingerprint(token.expose().as_bytes())
    }

    /// A keyed hash under which a value is found again without being stored.
    pub fn blind_index(&self, label: BlindIndex, value: &[u8]) -> [u8; 32] {
        self.index.blind_index(label, value)
    }

    /// The unguessable value that belongs to an id; nothing needs to be stored for it. Ids of one label all have the same form, so
    /// that none is the beginning of another.
    pub fn capability(&self, label: Capability, id: &[u8]) -> [u8; 32] {
        self.index.capability(label, id)
    }

    /// Identifies the keyring by its index root. Stamped in the database, so that a wrong keyring is refused.
    pub const fn check_value(&self) -> [u8; 16] {
        self.index.check_value()
    }

    fn epoch_key(&self, epoch: u32) -> Option<&KeyBytes> {
        if epoch == self.active { Some(&self.active_key) } else { self.decrypt_only.get(&epoch) }
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("active", &self.active).finish_non_exhaustive()
    }
}

impl RowMac for Vault {
    fn tag(&self, kind: RowKind, fields: &[&[u8]]) -> RowTag {
        self.index.row_tag(kind, fields)
    }

    fn matches(&self, kind: RowKind, fields: &[&[u8]], tag: &RowTag) -> bool {
        self.index.row_matches(kind, fields, tag)
    }
}

impl Signer for Vault {
    fn public_key(&self) -> PublicKey {
        PublicKey(self.signing.verifying_key().to_bytes())
    }

    fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.signing.sign(message).to_bytes())
    }
}

/// The cipher and the nonce of exactly one secret.
#[expect(clippy::expect_used, reason = "RFC 5869 §2.3 refuses only more than 255 hashes of output; these are two")]
fn cipher(epoch_key: &KeyBytes, salt: &[u8; SALT_BYTES], associated: &[u8]) -> (Aes256Gcm, [u8; NONCE_BYTES]) {
    let mut output = Zeroizing::new([0; KEY_BYTES + NONCE_BYTES]);
    Hkdf::<Sha256>::new(Some(salt), epoch_key.expose())
        .expand(associated, output.as_mut())
        .expect("two hashes of output");
    let (key, nonce) = output.split_first_chunk::<KEY_BYTES>().expect("longer than a key");
    (Aes256Gcm::new(key.into()), *nonce.first_chunk().expect("the rest is a nonce"))
}
