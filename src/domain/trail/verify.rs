//! What a reader with nothing but the public key can check.
//!
//! *Integrity* of one trail, record by record: [`TrailVerifier`] recomputes every hash, follows every link and checks every
//! signature. *Completeness* of a deployment: [`completeness`] compares what the change trail says with what is there. The two are
//! stated apart. Neither can see that the newest records of a trail are gone, unless something outside of the trail names them:
//! the closing event of a read trail, or a head kept elsewhere ([`TrailVerifier::expect`]).

mod completeness;

use std::collections::BTreeMap;

use ed25519_dalek::{Signature as Ed25519Signature, VerifyingKey};

pub use self::completeness::{Completeness, Missing, OpenTrail, completeness};
use super::cbor::{self, DecodeError};
use super::{GENESIS, Hash, PublicKey, Record, SealedRecord, Signature, TrailHead};
use crate::domain::ambient::Timestamp;
use crate::domain::id::TrailId;

/// What is wrong with a trail. A sequence is the place that was being verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// The public key is no key, or one of the few under which anybody can sign.
    #[error("public key is not a usable Ed25519 key")]
    BadKey,
    /// The bytes are not what the hash beside them says.
    #[error("record {seq} was altered: its bytes do not have the hash that is stored beside it")]
    HashMismatch {
        /// Its place.
        seq: u64,
    },
    /// The bytes are no record.
    #[error("record {seq} cannot be read: {cause}")]
    Undecodable {
        /// Its place.
        seq: u64,
        /// Why not.
        cause: DecodeError,
    },
    /// The record belongs to another trail.
    #[error("record {seq} belongs to trail {found}")]
    WrongTrail {
        /// Its place.
        seq: u64,
        /// The trail that the record names.
        found: TrailId,
    },
    /// A record is missing, doubled or out of order.
    #[error("expected record {expected}, found record {found}")]
    Gap {
        /// The next place.
        expected: u64,
        /// The place that the record names.
        found: u64,
    },
    /// The record does not follow on the one before it.
    #[error("record {seq} does not follow on the record before it")]
    BrokenChain {
        /// Its place.
        seq: u64,
    },
    /// The signature is not the key's.
    #[error("signature of record {seq} is not valid")]
    BadSignature {
        /// Its place.
        seq: u64,
    },
    /// A head that is known from elsewhere is not in this trail: it was rewritten or belongs to another history.
    #[error("record {seq} is not the one that a head kept elsewhere names")]
    HeadMismatch {
        /// The place that the head names.
        seq: u64,
    },
    /// The trail ends before a head that is known from elsewhere.
    #[error("trail ends at record {found}, but a head kept elsewhere names record {expected}")]
    Truncated {
        /// The place that the head names.
        expected: u64,
        /// The newest record that is there.
        found: u64,
    },
}

/// What is known of a trail that was verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrailReport {
    /// Which trail.
    pub trail: TrailId,
    /// How many records.
    pub records: u64,
    /// The newest record.
    pub head: TrailHead,
    /// Time of the first record.
    pub first_at: Option<Timestamp>,
    /// Time of the newest record.
    pub last_at: Option<Timestamp>,
    /// How many records are older than the one before them. A clock was set back: a warning, no fault.
    pub steps_back: u64,
    /// How many events.
    pub events: u64,
}

/// Verifies one trail, record by record, in memory that does not grow with it.
#[derive(Debug)]
pub struct TrailVerifier {
    key: VerifyingKey,
    expected: BTreeMap<u64, Hash>,
    report: TrailReport,
    fault: Option<Fault>,
}

impl TrailVerifier {
    /// Begins before the first record of the trail.
    ///
    /// # Errors
    /// [`Fault::BadKey`].
    pub fn new(trail: TrailId, key: PublicKey) -> Result<Self, Fault> {
        let key = VerifyingKey::from_bytes(&key.0).ok().filter(|key| !key.is_weak()).ok_or(Fault::BadKey)?;
        let head = TrailHead { trail, seq: 0, hash: GENESIS };
        let report = TrailReport { trail, records: 0, head, first_at: None, last_at: None, steps_back: 0, events: 0 };
        Ok(Self { key, expected: BTreeMap::new(), report, fault: None })
    }

    /// Demands that the trail holds this head, which is known from elsewhere: a signed note, another machine, an earlier
    /// verification. To be called before records are pushed.
    ///
    /// # Errors
    /// [`Fault::HeadMismatch`] when it is another trail's, contradicts another expected head, or its place was passed already.
    pub fn expect(&mut self, head: TrailHead) -> Result<(), Fault> {
        let contradicted = self.expected.get(&head.seq).is_some_and(|hash| *hash != head.hash);
        let passed = head.seq <= self.report.head.seq && head != self.report.head;
        if head.trail != self.report.trail || contradicted || passed {
            return self.fail(Fault::HeadMismatch { seq: head.seq });
        }
        self.expected.insert(head.seq, head.hash);
        Ok(())
    }

    /// Verifies the next record as it is stored.
    ///
    /// # Errors
    /// [`Fault`]; the first one stays, and every later call answers it again.
    pub fn push(&mut self, record: &SealedRecord) -> Result<Record, Fault> {
        if cbor::hash(&record.bytes) != record.hash && self.fault.is_none() {
            return self.fail(Fault::HashMismatch { seq: self.next() });
        }
        self.push_bytes(&record.bytes, &record.signature)
    }

    /// Verifies the next record without a stored hash.
    ///
    /// # Errors
    /// As [`TrailVerifier::push`].
    pub fn push_bytes(&mut self, bytes: &[u8], signature: &Signature) -> Result<Record, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let hash = cbor::hash(bytes);
        match self.verify(bytes, &hash, signature) {
            Ok(record) => {
                self.advance(&record, hash);
                Ok(record)
            }
            Err(fault) => self.fail(fault),
        }
    }

    /// What was verified, once there are no more records.
    ///
    /// # Errors
    /// The first [`Fault`], or [`Fault::Truncated`] when an expected head was not reached.
    pub fn finish(self) -> Result<TrailReport, Fault> {
        let found = self.report.head.seq;
        match (self.fault, self.expected.keys().next_back()) {
            (Some(fault), _) => Err(fault),
            (None, Some(expected)) if *expected > found => Err(Fault::Truncated { expected: *expected, found }),
            (None, _) => Ok(self.report),
        }
    }

    fn verify(&self, bytes: &[u8], hash: &Hash, signature: &Signature) -> Result<Record, Fault> {
        let seq = self.next();
        let record = cbor::decode(bytes).map_err(|cause| Fault::Undecodable { seq, cause })?;
        if record.trail != self.report.trail {
            return Err(Fault::WrongTrail { seq, found: record.trail });
        }
        if record.seq != seq {
            return Err(Fault::Gap { expected: seq, found: record.seq });
        }
        if record.previous != self.report.head.hash {
            return Err(Fault::BrokenChain { seq });
        }
        let signature = Ed25519Signature::from_bytes(&signature.0);
        if self.key.verify_strict(&cbor::signed_message(bytes), &signature).is_err() {
            return Err(Fault::BadSignature { seq });
        }
        if self.expected.get(&seq).is_some_and(|expected| expected != hash) {
            return Err(Fault::HeadMismatch { seq });
        }
        Ok(record)
    }

    fn advance(&mut self, record: &Record, hash: Hash) {
        let report = &mut self.report;
        report.steps_back =
            report.steps_back.saturating_add(report.last_at.is_some_and(|last| record.time < last).into());
        report.first_at = report.first_at.or(Some(record.time));
        report.last_at = Some(record.time);
        report.records = report.records.saturating_add(1);
        report.events = report.events.saturating_add(u64::try_from(record.events.len()).unwrap_or(u64::MAX));
        report.head = TrailHead { trail: report.trail, seq: record.seq, hash };
    }

    fn next(&self) -> u64 {
        self.report.head.seq.saturating_add(1)
    }

    fn fail<T>(&mut self, fault: Fault) -> Result<T, Fault> {
        Err(*self.fault.get_or_insert(fault))
    }
}

#[cfg(test)]
mod tests;
