//! What authenticates database rows: who can write the database cannot move a token to another reader.

/// Which kind of row; part of the MAC, so that a row of one kind never passes for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowKind {
    /// `merchants`: id, external id, labels, state.
    Merchant,
    /// `links`: id, merchant, connection, state, row version.
    Link,
    /// `connections`: id, app, subject, role, head version.
    Connection,
    /// `token_versions`: connection, version, issued kind, cause, attempt, fingerprint.
    Version,
    /// `invitations`: what a merchant was asked to consent to.
    Invitation,
    /// `flows`: which invitation a browser journey belongs to.
    Flow,
    /// `accounts`: connection, merchant, reference id, the provider's id.
    Account,
    /// `requests`: what was asked under a request id.
    Request,
}

impl RowKind {
    /// The name that goes into the MAC. Stored formats depend on it: never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Merchant => "merchant",
            Self::Link => "link",
            Self::Connection => "connection",
            Self::Version => "version",
            Self::Invitation => "invitation",
            Self::Flow => "flow",
            Self::Account => "account",
            Self::Request => "request",
        }
    }
}

/// HMAC-SHA256 over the fields of a row, each with its length, under the index root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowTag(pub [u8; 32]);

/// What makes and checks row MACs; the vault is one.
pub trait RowMac: Send + Sync + 'static {
    /// The MAC of a row with these fields, in this order.
    fn tag(&self, kind: RowKind, fields: &[&[u8]]) -> RowTag;

    /// Whether the MAC belongs to the row, compared in constant time.
    fn matches(&self, kind: RowKind, fields: &[&[u8]], tag: &RowTag) -> bool;
}
