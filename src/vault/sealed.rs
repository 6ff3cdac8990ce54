//! Sealed bytes: their stored form, and what binds them to their place.
//!
//! Format 1 is HKDF-SHA256 (RFC 5869) and AES-256-GCM with a 96-bit nonce and a 128-bit tag. There is no choice of algorithm
//! within a format and no code that tries keys in turn. This file knows no key.

use crate::domain::app::Environment;
use crate::domain::id::{AttemptId, MerchantId};

/// The format this build writes and the only one it reads.
pub const FORMAT: u8 = 1;

/// Bytes of the random salt: as many as the hash of the key derivation puts out (RFC 5869 §3.1).
pub const SALT_BYTES: usize = 32;

/// Bytes of the authentication tag at the end of a ciphertext; shorter ones are not accepted.
pub const TAG_BYTES: usize = 16;

/// Largest plaintext. Token answers are under 1 KiB; the rest is headroom for an answer sealed unparsed, whose size the
/// provider client caps below this.
pub const PLAINTEXT_BYTES_MAX: usize = 64 * 1024;

/// Largest ciphertext: the largest plaintext and the tag.
pub const CIPHERTEXT_BYTES_MAX: usize = PLAINTEXT_BYTES_MAX + TAG_BYTES;

/// Longest client id or subject. Providers' are decimal numbers of some twenty digits; the rest is headroom.
pub const PLACE_TEXT_BYTES_MAX: usize = 1024;

const HEADER_BYTES: usize = 1 + 4 + SALT_BYTES;

/// What kind of thing is sealed. The stored names are part of every AAD: existing ones never change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlaceKind {
    /// A provider's tokens, parsed.
    Token,
    /// Personal data of a merchant.
    Private,
    /// A provider's answer to a mint that could not be parsed.
    Salvage,
}

impl PlaceKind {
    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Private => "private",
            Self::Salvage => "salvage",
        }
    }
}

/// Where a sealed thing belongs. It opens only for exactly the place for which it was sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place<'a> {
    /// What kind of thing.
    pub kind: PlaceKind,
    /// Of which of the provider's worlds.
    pub environment: Environment,
    /// Of which app, by the provider's id of it; at most [`PLACE_TEXT_BYTES_MAX`] bytes.
    pub client_id: &'a str,
    /// The attempt that brought it, or the merchant whom it describes.
    pub owner: [u8; 16],
    /// The provider's user whose tokens they are; at most [`PLACE_TEXT_BYTES_MAX`] bytes.
    pub subject: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// The place of the tokens that an attempt brought for a provider's user.
    pub fn token(environment: Environment, client_id: &'a str, attempt: AttemptId, subject: &'a str) -> Self {
        let owner = *attempt.as_bytes();
        Self { kind: PlaceKind::Token, environment, client_id, owner, subject: Some(subject) }
    }

    /// The place of a merchant's personal data.
    pub fn private(environment: Environment, client_id: &'a str, merchant: MerchantId) -> Self {
        let owner = *merchant.as_bytes();
        Self { kind: PlaceKind::Private, environment, client_id, owner, subject: None }
    }

    /// The place of an answer that an attempt brought and nobody could parse, so that its user is not known.
    pub fn salvage(environment: Environment, client_id: &'a str, attempt: AttemptId) -> Self {
        let owner = *attempt.as_bytes();
        Self { kind: PlaceKind::Salvage, environment, client_id, owner, subject: None }
    }

    /// Whether the texts are within [`PLACE_TEXT_BYTES_MAX`].
    pub(super) fn is_within_limits(&self) -> bool {
        let short = |text: &str| text.len() <= PLACE_TEXT_BYTES_MAX;
        short(self.client_id) && self.subject.is_none_or(short)
    }

    /// The associated data: each field with its length as 8 bytes, big-endian, in front; an absent subject is the single
    /// byte 0, a present one the byte 1 and the field. No two places have the same.
    pub(super) fn associated_data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(128);
        push_field(&mut data, &[FORMAT]);
        push_field(&mut data, self.kind.as_str().as_bytes());
        push_field(&mut data, self.environment.as_str().as_bytes());
        push_field(&mut data, self.client_id.as_bytes());
        push_field(&mut data, &self.owner);
        match self.subject {
            None => data.push(0),
            Some(subject) => {
                data.push(1);
                push_field(&mut data, subject.as_bytes());
            }
        }
        data
    }
}

fn push_field(data: &mut Vec<u8>, field: &[u8]) {
    data.extend_from_slice(&super::mac::length_prefix(field));
    data.extend_from_slice(field);
}

/// A secret as it is stored: in three columns, or in one piece ([`SealedBytes::encode`]) where there are no columns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedBytes {
    /// Which epoch key opens it.
    pub epoch: u32,
    /// Fresh and random; with the place it makes the key and the nonce of this one ciphertext.
    pub salt: [u8; SALT_BYTES],
    /// Ciphertext and tag; from [`TAG_BYTES`] to [`CIPHERTEXT_BYTES_MAX`] bytes.
    pub ciphertext: Vec<u8>,
}

/// Bytes that are no sealed bytes of a known format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// The first byte names another format.
    #[error("sealed bytes have format {0}, this build reads {FORMAT}")]
    UnknownFormat(u8),
    /// There are too few bytes.
    #[error("sealed bytes are cut short")]
    Truncated,
    /// There are more bytes than [`CIPHERTEXT_BYTES_MAX`] and the header.
    #[error("sealed bytes are longer than {CIPHERTEXT_BYTES_MAX} bytes of ciphertext")]
    TooLong,
}

impl SealedBytes {
    /// The parts as read from their columns.
    ///
    /// # Errors
    /// [`Malformed`] when a length is impossible; nothing is copied before that is known.
    pub fn from_parts(epoch: u32, salt: &[u8], ciphertext: &[u8]) -> Result<Self, Malformed> {
        let salt = salt.try_into().map_err(|_| Malformed::Truncated)?;
        check_length(ciphertext.len())?;
        Ok(Self { epoch, salt, ciphertext: ciphertext.to_vec() })
    }

    /// One piece: format (1 byte), epoch (4, big-endian), salt (32), ciphertext with tag (the rest).
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES.saturating_add(self.ciphertext.len()));
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(&self.ciphertext);
        bytes
    }

    /// Reads what [`SealedBytes::encode`] made. Every input has an answer.
    ///
    /// # Errors
    /// [`Malformed`]; nothing is copied before the length is known to be possible.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (format, rest) = bytes.split_first().ok_or(Malformed::Truncated)?;
        if *format != FORMAT {
            return Err(Malformed::UnknownFormat(*format));
        }
        let (epoch, rest) = rest.split_first_chunk().ok_or(Malformed::Truncated)?;
        let (salt, ciphertext) = rest.split_first_chunk::<SALT_BYTES>().ok_or(Malformed::Truncated)?;
        Self::from_parts(u32::from_be_bytes(*epoch), salt, ciphertext)
    }
}

/// Whether a ciphertext can have this length.
pub(super) fn check_length(ciphertext_bytes: usize) -> Result<(), Malformed> {
    match ciphertext_bytes {
        ..TAG_BYTES => Err(Malformed::Truncated),
        TAG_BYTES..=CIPHERTEXT_BYTES_MAX => Ok(()),
        _ => Err(Malformed::TooLong),
    }
}
