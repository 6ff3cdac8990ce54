//! The client's own verdict about an export of the trails: the server's word counts for nothing.
//!
//! Pure: pieces go in one by one, a [`Verdict`] comes out. *Integrity* says that nothing was altered, *completeness* that everything is
//! there that the change trail says; the two are stated apart. Memory does not grow with the reads of a deployment: of the change
//! trail only the events are kept that completeness asks for.

mod verdict;

use std::collections::BTreeSet;

pub(crate) use self::verdict::hex;
pub use self::verdict::{Completeness, KeyTrust, Problem, TrailVerdict, Verdict};

use crate::domain::id::{ConnectionId, LinkId, TokenVersion, TrailId};
use crate::domain::trail::verify::{TrailReport, TrailVerifier, completeness};
use crate::domain::trail::{EventKind, PublicKey, Record, Signature};
use crate::v1;
use crate::v1::TrailKind;
use crate::v1::export_trail_response::Piece;

/// Problems kept of one export; one is enough for the verdict, and a hostile server could send any number.
const PROBLEMS_MAX: usize = 1_000;

/// A verification under way.
#[derive(Debug)]
pub struct Verification {
    given: Option<PublicKey>,
    sent: Option<PublicKey>,
    current: Option<Current>,
    trails: Vec<TrailVerdict>,
    change: Vec<Record>,
    change_trails: u32,
    inventory: Inventory,
    problems: Vec<Problem>,
    suppressed: u64,
}

#[derive(Debug)]
struct Current {
    trail: TrailId,
    kind: TrailKind,
    verifier: TrailVerifier,
}

#[derive(Debug, Default)]
struct Inventory {
    versions: BTreeSet<(ConnectionId, TokenVersion)>,
    links: BTreeSet<LinkId>,
}

impl Verification {
    /// Begins before the first piece. Without a key of your own the server's word is taken for it, and the verdict says so.
    pub fn new(public_key: Option<PublicKey>) -> Self {
        Self {
            given: public_key,
            sent: None,
            current: None,
            trails: Vec::new(),
            change: Vec::new(),
            change_trails: 0,
            inventory: Inventory::default(),
            problems: Vec::new(),
            suppressed: 0,
        }
    }

    /// Takes the next piece. What is wrong with it stands in the verdict.
    pub fn push(&mut self, response: v1::ExportTrailResponse) {
        match response.piece {
            None => self.problem(Problem::Malformed("a piece of no known kind")),
            Some(Piece::PublicKey(bytes)) => self.key(&bytes),
            Some(Piece::Header(header)) => self.header(&header),
            Some(Piece::Record(record)) => self.record(&record),
            Some(Piece::Inventory(inventory)) => self.inventory(&inventory),
        }
    }

    /// The verdict, once there are no more pieces.
    pub fn finish(mut self) -> Verdict {
        self.end_trail();
        if self.change_trails != 1 {
            self.problem(Problem::ChangeTrails(self.change_trails));
        }
        let key = match (self.given, self.sent) {
            (Some(given), _) => Some((given, KeyTrust::Given)),
            (None, Some(sent)) => Some((sent, KeyTrust::ServersWord)),
            (None, None) => {
                self.problem(Problem::NoKey);
                None
            }
        };
        let (completeness, open) = self.completeness();
        Verdict {
            key,
            trails: self.trails,
            versions: self.inventory.versions.len(),
            links: self.inventory.links.len(),
            integrity: self.problems,
            suppressed: self.suppressed,
            completeness,
            open,
        }
    }

    fn key(&mut self, bytes: &[u8]) {
        let Ok(key) = bytes.try_into().map(PublicKey) else {
            return self.problem(Problem::Malformed("a public key that has not 32 bytes"));
        };
        if self.sent.is_some() || self.change_trails > 0 || !self.trails.is_empty() || self.current.is_some() {
            return self.problem(Problem::Malformed("a public key elsewhere than in front"));
        }
        self.sent = Some(key);
        if let Some(given) = self.given.filter(|given| *given != key) {
            self.problem(Problem::OtherKey { given, sent: key });
        }
    }

    fn header(&mut self, header: &v1::TrailHeader) {
        self.end_trail();
        let Ok(trail) = header.trail_id.parse() else {
            return self.problem(Problem::Malformed("a trail without a readable id"));
        };
        let kind = header.kind();
        match kind {
            TrailKind::Change => self.change_trails = self.change_trails.saturating_add(1),
            TrailKind::Read => {}
            TrailKind::Unspecified => return self.problem(Problem::Malformed("a trail of no known kind")),
        }
        let Some(key) = self.given.or(self.sent) else {
            return self.problem(Problem::Malformed("a trail before the public key"));
        };
        match TrailVerifier::new(trail, key) {
            Ok(verifier) => self.current = Some(Current { trail, kind, verifier }),
            Err(fault) => self.problem(Problem::Trail { trail, fault }),
        }
    }

    fn record(&mut self, record: &v1::TrailRecord) {
        // Without one the header was refused, and that is the problem to tell; the very first piece has no header to blame.
        let Some(current) = &mut self.current else {
            return self.problem(Problem::Malformed("a record that belongs to no trail"));
        };
        let Ok(signature) = record.signature.as_slice().try_into().map(Signature) else {
            return self.problem(Problem::Malformed("a signature that has not 64 bytes"));
        };
        // A fault stays in the verifier and is told once, at the end of the trail.
        if let Ok(record) = current.verifier.push_bytes(&record.record, &signature)
            && current.kind == TrailKind::Change
        {
            self.change.extend(bearing(record));
        }
    }

    fn inventory(&mut self, inventory: &v1::TrailInventory) {
        for version in &inventory.versions {
            match version.connection_id.parse() {
                Ok(connection) => drop(self.inventory.versions.insert((connection, TokenVersion(version.version)))),
                Err(_) => self.problem(Problem::Malformed("an inventory with an unreadable connection")),
            }
        }
        for link in &inventory.link_ids {
            match link.parse() {
                Ok(link) => drop(self.inventory.links.insert(link)),
                Err(_) => self.problem(Problem::Malformed("an inventory with an unreadable link")),
            }
        }
    }

    fn end_trail(&mut self) {
        let Some(Current { trail, kind, verifier }) = self.current.take() else { return };
        let result = verifier.finish();
        match result {
            Err(fault) => self.problem(Problem::Trail { trail, fault }),
            // A deployment begins with the record of its stamp.
            Ok(report) if kind == TrailKind::Change && report.records == 0 => {
                self.problem(Problem::Malformed("a change trail without records"));
            }
            Ok(_) => {}
        }
        self.trails.push(TrailVerdict { trail, kind, result });
    }

    fn completeness(&self) -> (Completeness, Vec<TrailId>) {
        let reads: Vec<TrailReport> = self
            .trails
            .iter()
            .filter(|trail| trail.kind == TrailKind::Read)
            .filter_map(|trail| trail.result.ok())
            .collect();
        let versions: Vec<_> = self.inventory.versions.iter().copied().collect();
        let links: Vec<_> = self.inventory.links.iter().copied().collect();
        let answer = completeness(&self.change, &reads, &versions, &links);
        // What the trails say is worth what their integrity is worth.
        if !self.problems.is_empty() {
            return (Completeness::NotJudged, Vec::new());
        }
        let open = answer.open.iter().map(|open| open.trail).collect();
        let recorded = |kind| self.change.iter().flat_map(|record| &record.events).any(|event| event.kind == kind);
        // Versions and links never go, so an inventory without any cannot be the whole one.
        let cut = (versions.is_empty() && recorded(EventKind::TokenStored))
            || (links.is_empty() && recorded(EventKind::LinkCreated));
        let completeness = match (answer.missing.is_empty(), cut) {
            (true, false) => Completeness::Holds,
            (_, cut) => Completeness::Missing { missing: answer.missing, inventory: cut },
        };
        (completeness, open)
    }

    fn problem(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else {
            self.suppressed = self.suppressed.saturating_add(1);
        }
    }
}

/// The record without the events that completeness does not ask for; nothing when none is left.
fn bearing(mut record: Record) -> Option<Record> {
    record.events.retain(|event| {
        matches!(
            event.kind,
            EventKind::TrailOpened | EventKind::TrailClosed | EventKind::TokenStored | EventKind::LinkCreated
        )
    });
    (!record.events.is_empty()).then_some(record)
}

#[cfg(test)]
pub(super) mod tests;
