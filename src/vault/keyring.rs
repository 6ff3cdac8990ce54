//! The keyring file: the handful of keys of a deployment, and the checks that a file holding them must pass.
//!
//! Format `strongroom-keyring/1` is JSON: `index_root`, `audit_signing` and `epochs`, every key as base64 (RFC 4648 §4) of 32
//! bytes beside its check value, which covers the key's role, so that keys cannot be swapped or mistyped unseen. No error
//! quotes a key.

mod file;
mod text;

use std::path::Path;

use crate::domain::ambient::{Entropy, Timestamp, random};
use crate::domain::secret::KeyBytes;

/// Largest keyring file; one epoch takes some 200 bytes, so this is room for more than a hundred years of monthly ones.
const FILE_BYTES_MAX: usize = 512 * 1024;

/// Whether an epoch key seals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochState {
    /// Seals and opens. Exactly one epoch is active.
    Active,
    /// Opens only.
    DecryptOnly,
}

impl EpochState {
    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::DecryptOnly => "decrypt_only",
        }
    }
}

/// One epoch key.
#[derive(Debug)]
pub struct Epoch {
    /// Stands beside every ciphertext sealed under it; never used twice.
    pub id: u32,
    /// The key.
    pub key: KeyBytes,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The keys of a deployment. Exactly one epoch is active, by construction.
#[derive(Debug)]
pub struct Keyring {
    index_root: KeyBytes,
    audit_signing: KeyBytes,
    active: Epoch,
    decrypt_only: Vec<Epoch>,
}

/// Why a keyring file was refused, and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file system said no.
    #[error("keyring cannot be {action}: check the path and the permissions of its directory")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The path is a symbolic link.
    #[error("keyring is a symbolic link: name the file itself")]
    Symlink,
    /// The path is a directory, device, pipe or socket.
    #[error("keyring is not a regular file: name the file itself")]
    NotRegular,
    /// Others than the owner have rights.
    #[error("keyring has mode {mode:04o}: run chmod 600 on it, and consider its keys known to whoever could read it")]
    Permissions {
        /// The permission bits found.
        mode: u32,
    },
    /// The file belongs to another user.
    #[error("keyring belongs to user {owner}, this process runs as {user}: chown it, or run as its owner")]
    Owner {
        /// Who owns the file.
        owner: u32,
        /// Who runs.
        user: u32,
    },
    /// The file is too large to be a keyring.
    #[error("keyring is larger than {FILE_BYTES_MAX} bytes: this is not a keyring")]
    TooLarge,
    /// Something is there already.
    #[error("keyring exists already and is never overwritten: choose another path, or move it away")]
    Exists,
    /// Another program's file, or another version's.
    #[error("keyring has an unknown format: this build reads \"strongroom-keyring/1\"")]
    UnknownFormat,
    /// A field that format 1 does not have.
    #[error("keyring has the unknown field {0:?}: remove it or use the build that wrote it")]
    UnknownField(String),
    /// Not JSON, or a field is missing, doubled or of the wrong type.
    #[error("keyring is damaged at line {line}, column {column}: restore it from its backup")]
    Damaged {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// A key is not 32 bytes of base64.
    #[error("key {0} is not 32 bytes in base64: restore the keyring from its backup")]
    BadKey(String),
    /// A creation time is no RFC 3339 text.
    #[error("epoch {0} has no valid creation time: write it like 2026-01-31T00:00:00Z")]
    BadTime(u32),
    /// A state is neither of the two.
    #[error("epoch {0} has an unknown state: write active or decrypt_only")]
    BadState(u32),
    /// A key and its check value do not belong together.
    #[error("key {0} does not match its check value: it was altered or swapped, restore the keyring from its backup")]
    CheckValue(String),
    /// Two epochs have one id.
    #[error("epoch {0} is there twice: remove the one that is not in the backup")]
    DuplicateEpoch(u32),
    /// No epoch seals.
    #[error("no epoch is active: set the state of the newest to active")]
    NoActiveEpoch,
    /// More than one epoch seals.
    #[error("epochs {0} and {1} are both active: set the older to decrypt_only")]
    TwoActiveEpochs(u32, u32),
}

impl Keyring {
    /// Draws all keys of a new deployment, with one epoch, number 1.
    pub fn generate(entropy: &dyn Entropy, now: Timestamp) -> Self {
        let draw = || KeyBytes::new(random(entropy));
        let (index_root, audit_signing) = (draw(), draw());
        let active = Epoch { id: 1, key: draw(), created_at: now };
        Self { index_root, audit_signing, active, decrypt_only: Vec::new() }
    }

    /// Reads a keyring file of our own: a regular file, no symbolic link, ours, and nobody else has any right to it.
    ///
    /// # Errors
    /// [`KeyringError`], which says how to mend it.
    pub fn load(path: &Path) -> Result<Self, KeyringError> {
        text::parse(&file::read(path)?)
    }

    /// Writes the keyring where nothing is yet, readable by its owner alone, and returns once it is durable.
    ///
    /// # Errors
    /// [`KeyringError::Exists`] when something is there, [`KeyringError::Io`] when the system refuses.
    pub fn create_file(&self, path: &Path) -> Result<(), KeyringError> {
        file::create(path, &text::render(self))
    }

    /// Reads the text of a keyring file.
    ///
    /// # Errors
    /// [`KeyringError`], which says how to mend it.
    pub fn parse(text: &[u8]) -> Result<Self, KeyringError> {
        text::parse(text)
    }

    /// Every epoch and its state, the active one first.
    pub fn epochs(&self) -> impl Iterator<Item = (&Epoch, EpochState)> {
        let older = self.decrypt_only.iter().map(|epoch| (epoch, EpochState::DecryptOnly));
        std::iter::once((&self.active, EpochState::Active)).chain(older)
    }

    pub(super) fn into_parts(self) -> (KeyBytes, KeyBytes, Epoch, Vec<Epoch>) {
        (self.index_root, self.audit_signing, self.active, self.decrypt_only)
    }
}
