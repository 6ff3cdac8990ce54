//! What came of a verification.

use crate::domain::id::TrailId;
use crate::domain::trail::verify::{Fault, Missing, TrailReport};
use crate::domain::trail::{Hash, PublicKey, view};
use crate::v1::TrailKind;

/// Where the public key comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyTrust {
    /// From whoever verifies: the signatures prove something.
    Given,
    /// From the server itself: they prove that the export agrees with itself, and a key to compare with next time.
    ServersWord,
}

/// Why integrity does not hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// A trail was altered.
    #[error("trail {trail}: {fault}")]
    Trail {
        /// Which trail.
        trail: TrailId,
        /// The first thing that is wrong with it.
        fault: Fault,
    },
    /// The server signs with another key than the one that was given.
    #[error("server says its public key is {}, you gave {}", hex(sent), hex(given))]
    OtherKey {
        /// Ours.
        given: PublicKey,
        /// The server's.
        sent: PublicKey,
    },
    /// Neither we nor the server named a key.
    #[error("export names no public key and none was given")]
    NoKey,
    /// Not exactly one change trail.
    #[error("export has {0} change trails, a deployment has one")]
    ChangeTrails(u32),
    /// The export is not of the promised form.
    #[error("export has {0}")]
    Malformed(&'static str),
}

/// Whether everything is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Completeness {
    /// Every version and link has its record, no trail is missing.
    Holds,
    /// Something is missing.
    Missing {
        /// What.
        missing: Vec<Missing>,
        /// Whether the inventory itself lacks a part: tokens or links were recorded and none is listed.
        inventory: bool,
    },
    /// Integrity does not hold, so that nothing can be said.
    NotJudged,
}

/// One trail of the export.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrailVerdict {
    /// Which trail.
    pub trail: TrailId,
    /// What it records.
    pub kind: TrailKind,
    /// What is known of it, or the first thing that is wrong with it.
    pub result: Result<TrailReport, Fault>,
}

/// The verdict about an export.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The key that signatures were checked with; none if there was none.
    pub key: Option<(PublicKey, KeyTrust)>,
    /// Every trail, in the order of the export.
    pub trails: Vec<TrailVerdict>,
    /// Token versions of the inventory.
    pub versions: usize,
    /// Links of the inventory.
    pub links: usize,
    /// Why integrity does not hold; empty: it does.
    pub integrity: Vec<Problem>,
    /// How many further problems are not listed.
    pub suppressed: u64,
    /// Whether everything is there.
    pub completeness: Completeness,
    /// Information: read trails that nobody closed. Their process runs, or ended without a chance to.
    pub open: Vec<TrailId>,
}

impl Verdict {
    /// Whether nothing was altered, as far as the key can be trusted.
    pub fn has_integrity(&self) -> bool {
        self.integrity.is_empty()
    }

    /// Whether everything is there.
    pub fn is_complete(&self) -> bool {
        self.completeness == Completeness::Holds
    }

    /// Whether both hold.
    pub fn holds(&self) -> bool {
        self.has_integrity() && self.is_complete()
    }

    /// Records of all trails that were verified.
    pub fn records(&self) -> u64 {
        self.reports().map(|report| report.records).sum()
    }

    /// Events of all trails that were verified.
    pub fn events(&self) -> u64 {
        self.reports().map(|report| report.events).sum()
    }

    fn reports(&self) -> impl Iterator<Item = TrailReport> {
        self.trails.iter().filter_map(|trail| trail.result.ok())
    }
}

/// The key in lower-case hexadecimal.
pub(crate) fn hex(key: &PublicKey) -> String {
    view::hash(&Hash(key.0))
}
