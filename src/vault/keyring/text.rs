//! The text of a keyring file: format `strongroom-keyring/1`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Epoch, EpochState, Keyring, KeyringError};
use crate::domain::ambient::Timestamp;
use crate::domain::secret::KeyBytes;
use crate::vault::mac::{first_half, mac};

const FORMAT: &str = "strongroom-keyring/1";
const INDEX_ROOT: &str = "index_root";
const AUDIT_SIGNING: &str = "audit_signing";

/// Longest part of an unknown field's name that an error repeats: less than a key in base64 has.
const NAME_CHARS_MAX: usize = 24;

/// What base64 needs to decode a key into: 44 characters stand for up to 33 bytes.
const DECODED_BYTES: usize = 33;

#[derive(Deserialize)]
struct Head<'a> {
    format: &'a str,
}

#[derive(Deserialize)]
struct KeyringText<'a> {
    #[serde(rename = "format")]
    _format: IgnoredAny,
    #[serde(borrow)]
    index_root: KeyText<'a>,
    audit_signing: KeyText<'a>,
    epochs: Vec<EpochText<'a>>,
    #[serde(flatten)]
    unknown: Unknown,
}

// Texts are borrowed from the file's buffer, which is wiped: serde makes no copies of keys.
#[derive(Deserialize)]
struct KeyText<'a> {
    key: &'a str,
    check: &'a str,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize)]
struct EpochText<'a> {
    id: u32,
    key: &'a str,
    check: &'a str,
    created: &'a str,
    state: &'a str,
    #[serde(flatten)]
    unknown: Unknown,
}

type Unknown = BTreeMap<String, IgnoredAny>;

pub(super) fn parse(text: &[u8]) -> Result<Keyring, KeyringError> {
    let head: Head<'_> = serde_json::from_slice(text).map_err(|error| damaged(&error))?;
    if head.format != FORMAT {
        return Err(KeyringError::UnknownFormat);
    }
    let parts: KeyringText<'_> = serde_json::from_slice(text).map_err(|error| damaged(&error))?;
    refuse_unknown(&parts.unknown)?;
    let index_root = read_key(&parts.index_root, INDEX_ROOT)?;
    let audit_signing = read_key(&parts.audit_signing, AUDIT_SIGNING)?;
    let (active, decrypt_only) = read_epochs(parts.epochs)?;
    Ok(Keyring { index_root, audit_signing, active, decrypt_only })
}

#[expect(clippy::expect_used, reason = "a vector takes every byte")]
pub(super) fn render(keyring: &Keyring) -> Zeroizing<Vec<u8>> {
    // Room for all of it from the start: a buffer that grew would leave copies behind. An epoch takes some 200 bytes.
    let mut text = Zeroizing::new(Vec::with_capacity(keyring.epochs().count().saturating_mul(320).saturating_add(640)));
    write(keyring, &mut text).expect("a vector takes every byte");
    text
}

fn write(keyring: &Keyring, out: &mut Vec<u8>) -> std::io::Result<()> {
    writeln!(out, "{{\n  \"format\": \"{FORMAT}\",")?;
    for (role, key) in [(INDEX_ROOT, &keyring.index_root), (AUDIT_SIGNING, &keyring.audit_signing)] {
        let (text, check) = (Base64Display::new(key.expose(), &STANDARD), check_value(key, role));
        writeln!(out, "  \"{role}\": {{\"key\": \"{text}\", \"check\": \"{check}\"}},")?;
    }
    writeln!(out, "  \"epochs\": [")?;
    for (at, (epoch, state)) in keyring.epochs().enumerate() {
        let (text, check) =
            (Base64Display::new(epoch.key.expose(), &STANDARD), check_value(&epoch.key, &role(epoch.id)));
        let (id, created, state) = (epoch.id, epoch.created_at.to_rfc3339(), state.as_str());
        let comma = if at == 0 { "" } else { ",\n" };
        write!(out, "{comma}    {{\"id\": {id}, \"key\": \"{text}\", \"check\": \"{check}\", ")?;
        write!(out, "\"created\": \"{created}\", \"state\": \"{state}\"}}")?;
    }
    write!(out, "\n  ]\n}}\n")
}

fn read_epochs(texts: Vec<EpochText<'_>>) -> Result<(Epoch, Vec<Epoch>), KeyringError> {
    let mut seen = BTreeSet::new();
    let mut active: Option<Epoch> = None;
    let mut decrypt_only = Vec::new();
    for text in texts {
        if !seen.insert(text.id) {
            return Err(KeyringError::DuplicateEpoch(text.id));
        }
        let (epoch, state) = read_epoch(text)?;
        match (state, &active) {
            (EpochState::DecryptOnly, _) => decrypt_only.push(epoch),
            (EpochState::Active, None) => active = Some(epoch),
            (EpochState::Active, Some(other)) => return Err(KeyringError::TwoActiveEpochs(other.id, epoch.id)),
        }
    }
    Ok((active.ok_or(KeyringError::NoActiveEpoch)?, decrypt_only))
}

fn read_epoch(text: EpochText<'_>) -> Result<(Epoch, EpochState), KeyringError> {
    let EpochText { id, key, check, created, state, unknown } = text;
    let key = read_key(&KeyText { key, check, unknown }, &role(id))?;
    let created_at = Timestamp::parse_rfc3339(created).ok_or(KeyringError::BadTime(id))?;
    let states = [EpochState::Active, EpochState::DecryptOnly];
    let state = states.into_iter().find(|known| known.as_str() == state).ok_or(KeyringError::BadState(id))?;
    Ok((Epoch { id, key, created_at }, state))
}

fn read_key(text: &KeyText<'_>, role: &str) -> Result<KeyBytes, KeyringError> {
    refuse_unknown(&text.unknown)?;
    let mut decoded = Zeroizing::new([0; DECODED_BYTES]);
    let key = match STANDARD.decode_slice(text.key, decoded.as_mut()) {
        Ok(32) => decoded.first_chunk().copied().map(KeyBytes::new),
        _ => None,
    };
    let key = key.ok_or_else(|| KeyringError::BadKey(role.to_owned()))?;
    let matches = check_value(&key, role).as_bytes().ct_eq(text.check.as_bytes());
    if matches.into() { Ok(key) } else { Err(KeyringError::CheckValue(role.to_owned())) }
}

/// The first 16 bytes of HMAC-SHA256(key, "strongroom/key-check/1/" and the role), in lower-case hexadecimal.
fn check_value(key: &KeyBytes, role: &str) -> String {
    let tag = first_half(mac(key, format!("strongroom/key-check/1/{role}").as_bytes()));
    tag.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn role(epoch: u32) -> String {
    format!("epoch/{epoch}")
}

fn refuse_unknown(unknown: &Unknown) -> Result<(), KeyringError> {
    let name = unknown.keys().next().map(|name| name.chars().take(NAME_CHARS_MAX).collect());
    name.map_or(Ok(()), |name| Err(KeyringError::UnknownField(name)))
}

/// Keeps the place and drops the text of the parser's error, which may quote a key.
fn damaged(error: &serde_json::Error) -> KeyringError {
    KeyringError::Damaged { line: error.line(), column: error.column() }
}
