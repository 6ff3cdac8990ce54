//! What hangs on the index root: row MACs, fingerprints, blind indexes, capabilities, the keyring's check value.
//!
//! Each has its own key, HKDF-SHA256 of the index root under a fixed label. [`LABELS`] lists all of them; existing labels
//! never change, because stored values depend on them.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::domain::mac::{RowKind, RowTag};
use crate::domain::secret::KeyBytes;

/// Every label under which a key is derived from the index root, and what the key is for.
pub const LABELS: &[(&str, &str)] = &[
    (ROW_MAC, "MAC of rows that decisions read"),
    (FINGERPRINT, "fingerprint of an access token"),
    (BlindIndex::Email.label(), "blind index of an email address"),
    (BlindIndex::State.label(), "blind index of an OAuth state"),
    (BlindIndex::Code.label(), "blind index of an authorization code"),
    (BlindIndex::Browser.label(), "blind index of a browser binding"),
    (Capability::Invitation.label(), "unguessable part of an invitation URL"),
    (Capability::Confirmation.label(), "one-time value that a return URL receives"),
    (Capability::Notice.label(), "tag of an address for the provider's notices"),
    (CHECK_VALUE, "check value of the keyring"),
];

const ROW_MAC: &str = "strongroom/row-mac/1";
const FINGERPRINT: &str = "strongroom/fingerprint/1";
const CHECK_VALUE: &str = "strongroom/keyring-check/1";

/// What a blind index finds again. Values of different kinds never share an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlindIndex {
    /// A merchant's email address.
    Email,
    /// An OAuth state.
    State,
    /// An authorization code.
    Code,
    /// The cookie that binds a browser.
    Browser,
}

impl BlindIndex {
    const fn label(self) -> &'static str {
        match self {
            Self::Email => "strongroom/blind-index/email/1",
            Self::State => "strongroom/blind-index/state/1",
            Self::Code => "strongroom/blind-index/code/1",
            Self::Browser => "strongroom/blind-index/browser/1",
        }
    }
}

/// What an unguessable value entitles its holder to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capability {
    /// Opening an invitation.
    Invitation,
    /// Confirming a connection.
    Confirmation,
    /// Sending us notices about one object.
    Notice,
}

impl Capability {
    const fn label(self) -> &'static str {
        match self {
            Self::Invitation => "strongroom/capability/invitation/1",
            Self::Confirmation => "strongroom/capability/confirmation/1",
            Self::Notice => "strongroom/capability/notice/1",
        }
    }
}

/// The keys derived from the index root.
pub(super) struct IndexKeys {
    row_mac: KeyBytes,
    fingerprint: KeyBytes,
    email: KeyBytes,
    state: KeyBytes,
    code: KeyBytes,
    browser: KeyBytes,
    invitation: KeyBytes,
    confirmation: KeyBytes,
    notice: KeyBytes,
    check_value: [u8; 16],
}

impl IndexKeys {
    pub(super) fn derive(root: &KeyBytes) -> Self {
        let check_value = *derive(root, CHECK_VALUE).expose();
        Self {
            row_mac: derive(root, ROW_MAC),
            fingerprint: derive(root, FINGERPRINT),
            email: derive(root, BlindIndex::Email.label()),
            state: derive(root, BlindIndex::State.label()),
            code: derive(root, BlindIndex::Code.label()),
            browser: derive(root, BlindIndex::Browser.label()),
            invitation: derive(root, Capability::Invitation.label()),
            confirmation: derive(root, Capability::Confirmation.label()),
            notice: derive(root, Capability::Notice.label()),
            check_value: first_half(check_value),
        }
    }

    pub(super) fn row_tag(&self, kind: RowKind, fields: &[&[u8]]) -> RowTag {
        let mut mac = keyed(&self.row_mac);
        for field in std::iter::once(kind.as_str().as_bytes()).chain(fields.iter().copied()) {
            mac.update(&length_prefix(field));
            mac.update(field);
        }
        RowTag(mac.finalize().into_bytes().into())
    }

    pub(super) fn row_matches(&self, kind: RowKind, fields: &[&[u8]], tag: &RowTag) -> bool {
        self.row_tag(kind, fields).0.ct_eq(&tag.0).into()
    }

    pub(super) fn fingerprint(&self, token: &[u8]) -> [u8; 16] {
        first_half(mac(&self.fingerprint, token))
    }

    pub(super) fn blind_index(&self, label: BlindIndex, value: &[u8]) -> [u8; 32] {
        let key = match label {
            BlindIndex::Email => &self.email,
            BlindIndex::State => &self.state,
            BlindIndex::Code => &self.code,
            BlindIndex::Browser => &self.browser,
        };
        mac(key, value)
    }

    pub(super) fn capability(&self, label: Capability, id: &[u8]) -> [u8; 32] {
        let key = match label {
            Capability::Invitation => &self.invitation,
            Capability::Confirmation => &self.confirmation,
            Capability::Notice => &self.notice,
        };
        mac(key, id)
    }

    pub(super) const fn check_value(&self) -> [u8; 16] {
        self.check_value
    }
}

/// A field's length, as it stands in front of the field in MACs and associated data: 8 bytes, big-endian.
pub(super) fn length_prefix(field: &[u8]) -> [u8; 8] {
    u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes()
}

/// HMAC-SHA256 (RFC 2104).
pub(super) fn mac(key: &KeyBytes, message: &[u8]) -> [u8; 32] {
    let mut mac = keyed(key);
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// The first 16 bytes of 32.
pub(super) fn first_half(bytes: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    half
}

#[expect(clippy::expect_used, reason = "RFC 2104 takes keys of every length")]
fn keyed(key: &KeyBytes) -> Hmac<Sha256> {
    Hmac::new_from_slice(key.expose()).expect("every length")
}

#[expect(clippy::expect_used, reason = "RFC 5869 §2.3 refuses only more than 255 hashes of output; this is one")]
fn derive(root: &KeyBytes, label: &str) -> KeyBytes {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, root.expose()).expand(label.as_bytes(), key.as_mut()).expect("one hash of output");
    KeyBytes::new(*key)
}
