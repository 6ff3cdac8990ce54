//! Whether everything is there that the change trail says, and nothing that it does not know.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use super::TrailReport;
use crate::domain::id::{ConnectionId, LinkId, TokenVersion, TrailId};
use crate::domain::trail::{Event, EventKind, GENESIS, Hash, Outcome, Record, TrailHead, view};

/// Something that the change trail and the rest of a deployment do not agree about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Missing {
    /// A read trail was closed with records in it and is not there.
    #[error("read trail {0} is missing")]
    ReadTrail(TrailId),
    /// A read trail is there, or was closed, and was never opened.
    #[error("read trail {0} was never opened")]
    Opening(TrailId),
    /// A read trail is there twice, so that it is not clear which one counts.
    #[error("read trail {0} is there twice")]
    Doubled(TrailId),
    /// A read trail does not end where it was closed.
    #[error("read trail {trail} was closed at record {closed} and has {found}, or its newest record is another one")]
    End {
        /// Which trail.
        trail: TrailId,
        /// How many records it had when it was closed.
        closed: u64,
        /// How many records are there.
        found: u64,
    },
    /// An event that closes a read trail does not say with which size and head.
    #[error("closing of read trail {0} cannot be read")]
    Closing(TrailId),
    /// A read trail's opening or closing does not name the trail.
    #[error("{0} event of the change trail names no trail", kind.as_str())]
    Unnamed {
        /// Which kind of event.
        kind: EventKind,
    },
    /// A token version is there whose storing was not recorded.
    #[error("version {version} of {connection} has no record")]
    VersionRecord {
        /// Whose version.
        connection: ConnectionId,
        /// Which version.
        version: TokenVersion,
    },
    /// A link is there whose making was not recorded.
    #[error("link {0} has no record")]
    LinkRecord(LinkId),
}

/// A read trail that was opened and not closed: its process runs, or ended without a chance to close it. Up to where such a trail
/// must reach, only a head kept elsewhere can say; so none of its records at all is no fault either.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenTrail {
    /// Which trail.
    pub trail: TrailId,
    /// How many records are there.
    pub records: u64,
}

/// The answer of [`completeness`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Completeness {
    /// What does not agree. Empty: complete.
    pub missing: Vec<Missing>,
    /// Information: trails that nobody closed.
    pub open: Vec<OpenTrail>,
}

impl Completeness {
    /// Whether everything agrees.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

/// Compares a verified change trail with the verified read trails, the token versions and the links of the same deployment. A trail's
/// closing (`trail.closed`) names the trail and carries the details `size`, the number of records in decimal, and `head`, the hash
/// of the newest in lower-case hexadecimal.
pub fn completeness<R: Borrow<Record>>(
    change: impl IntoIterator<Item = R>,
    read_trails: &[TrailReport],
    versions: &[(ConnectionId, TokenVersion)],
    links: &[LinkId],
) -> Completeness {
    let mut said = Said::default();
    for record in change {
        record
            .borrow()
            .events
            .iter()
            .filter(|event| event.outcome == Outcome::Success)
            .for_each(|event| said.note(event));
    }
    let mut found = BTreeMap::new();
    for report in read_trails {
        if found.insert(report.trail, report.head).is_some() {
            said.missing.push(Missing::Doubled(report.trail));
        }
    }
    let mut answer = said.compare_trails(&found);
    let unrecorded = versions.iter().filter(|version| !said.versions.contains(*version));
    answer.missing.extend(unrecorded.map(|&(connection, version)| Missing::VersionRecord { connection, version }));
    let unrecorded = links.iter().filter(|link| !said.links.contains(*link));
    answer.missing.extend(unrecorded.copied().map(Missing::LinkRecord));
    answer
}

/// What the change trail says.
#[derive(Default)]
struct Said {
    opened: BTreeSet<TrailId>,
    closed: BTreeMap<TrailId, End>,
    versions: BTreeSet<(ConnectionId, TokenVersion)>,
    links: BTreeSet<LinkId>,
    missing: Vec<Missing>,
}

#[derive(Clone, PartialEq, Eq)]
struct End {
    size: u64,
    head: String,
}

impl Said {
    fn note(&mut self, event: &Event) {
        match event.kind {
            EventKind::TrailOpened => match event.trail {
                Some(trail) => drop(self.opened.insert(trail)),
                None => self.missing.push(Missing::Unnamed { kind: event.kind }),
            },
            EventKind::TrailClosed => match event.trail {
                Some(trail) => self.close(trail, event),
                None => self.missing.push(Missing::Unnamed { kind: event.kind }),
            },
            EventKind::TokenStored => self.versions.extend(event.connection.zip(event.version)),
            EventKind::LinkCreated => self.links.extend(event.link),
            _ => {}
        }
    }

    fn close(&mut self, trail: TrailId, event: &Event) {
        let size = event.details.get("size").and_then(|size| size.parse().ok());
        let end = size.zip(event.details.get("head").cloned()).map(|(size, head)| End { size, head });
        // Two closings that differ leave no way to say where the trail must end.
        let contradicted = self.closed.get(&trail).is_some_and(|before| Some(before) != end.as_ref());
        match end {
            Some(end) if !contradicted => drop(self.closed.insert(trail, end)),
            _ => self.missing.push(Missing::Closing(trail)),
        }
    }

    fn compare_trails(&self, found: &BTreeMap<TrailId, TrailHead>) -> Completeness {
        let mut answer = Completeness { missing: self.missing.clone(), open: Vec::new() };
        let known: BTreeSet<&TrailId> = self.opened.iter().chain(self.closed.keys()).chain(found.keys()).collect();
        for &trail in known {
            if !self.opened.contains(&trail) {
                answer.missing.push(Missing::Opening(trail));
            }
            let head = found.get(&trail);
            match self.closed.get(&trail) {
                Some(end) => answer.missing.extend(end.disagreement(trail, head)),
                None => answer.open.push(OpenTrail { trail, records: head.map_or(0, |head| head.seq) }),
            }
        }
        answer
    }
}

impl End {
    /// A trail without records has no rows: that it is not found and that it is empty are one.
    fn disagreement(&self, trail: TrailId, found: Option<&TrailHead>) -> Option<Missing> {
        if found.is_none() && self.size > 0 {
            return Some(Missing::ReadTrail(trail));
        }
        let (seq, hash): (u64, Hash) = found.map_or((0, GENESIS), |head| (head.seq, head.hash));
        let agrees = seq == self.size && view::hash(&hash) == self.head;
        (!agrees).then_some(Missing::End { trail, closed: self.size, found: seq })
    }
}
