//! Deterministic CBOR of records (RFC 8949 §4.2.1): each record has one encoding, and only that one is accepted.
//!
//! A record is a map with the keys 0 format, 1 trail, 2 seq, 3 time, 4 hash of the previous record, 5 events. An event is a map
//! with the keys 0 kind, 1 outcome, 2 time, 3 actor, 4 origin, 5 call, 6 merchant, 7 connection, 8 version, 9 link, 10 invitation,
//! 11 flow, 12 attempt, 13 trail, 14 fingerprint, 15 grant, 16 policy, 17 reason, 18 details; what is absent (details: what is
//! empty) is left out. Identifiers and hashes are byte strings, times integers of microseconds, details a map of text to text.
//!
//! Texts may hold any character: what is signed is the bytes. For people there is [`super::view`].

use std::convert::Infallible;

use minicbor::decode::Error as CborError;
use minicbor::{Decoder, Encoder};
use sha2::{Digest, Sha256};

use super::{Event, EventKind, FORMAT, Hash, Outcome, Record, SealedRecord, Signer};
use crate::domain::ambient::Timestamp;
use crate::domain::id::{
    AttemptId, CallId, ConnectionId, FlowId, InvitationId, LinkId, MerchantId, TokenVersion, TrailId,
};

/// Largest encoded record. An event takes some 300 bytes, so that the largest batch fits with room to spare.
pub const RECORD_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Most events of a record: what the writer of a read trail gathers at most.
pub const EVENTS_MAX: usize = 4096;

/// Longest text of an event, in bytes. Caller identities, the longest we know of, have at most 2048 (SPIFFE ID §2.3).
pub const TEXT_BYTES_MAX: usize = 4096;

/// Most details of an event; we write under ten.
pub const DETAILS_MAX: usize = 64;

/// Stands in front of a record's bytes in what is signed, so that the signature is never one of anything else: the NUL keeps
/// it apart from signed notes, which are text and which the same key makes.
const SIGNED_PREFIX: &[u8] = b"strongroom/trail-record/1\0";

/// Keys of every event: kind, outcome, time and actor are always there.
const REQUIRED_FIELDS: u64 = 4;

type Encoded = Result<(), minicbor::encode::Error<Infallible>>;
type Writer<'a> = Encoder<&'a mut Vec<u8>>;

/// Bytes that are not the one encoding of a record within limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Another format than this build reads.
    #[error("record has format {0}, this build reads {FORMAT}")]
    UnknownFormat(u64),
    /// An event kind this build does not know.
    #[error("event {event} has an unknown kind")]
    UnknownKind {
        /// Its place in the record, from 0.
        event: u64,
    },
    /// Not CBOR, or not of a record's shape.
    #[error("record is malformed near byte {at}")]
    Malformed {
        /// Offset in the bytes.
        at: usize,
    },
    /// A record, but not in its one encoding: unsorted, doubled or empty fields, long integers, indefinite lengths, more bytes.
    #[error("record is not in its canonical encoding")]
    NotCanonical,
    /// Over a limit.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

/// A record that is over a limit; it is neither sealed nor accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LimitExceeded {
    /// The whole.
    #[error("record is longer than {RECORD_BYTES_MAX} bytes")]
    Bytes,
    /// The number of events.
    #[error("record has more than {EVENTS_MAX} events")]
    Events,
    /// One text.
    #[error("a text of an event is longer than {TEXT_BYTES_MAX} bytes")]
    Text,
    /// The number of details.
    #[error("an event has more than {DETAILS_MAX} details")]
    Details,
}

/// The one encoding of a record.
#[expect(clippy::expect_used, reason = "a vector takes every byte: the writer's error is uninhabited")]
pub fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    write_record(&mut Encoder::new(&mut bytes), record).expect("a vector takes every byte");
    bytes
}

/// Reads what [`encode`] made. Every input has an answer, and nothing is allocated before its length is checked.
///
/// # Errors
/// [`DecodeError`] for everything but the one encoding of a record within limits.
pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(LimitExceeded::Bytes.into());
    }
    let record = read_record(&mut Reader { cbor: Decoder::new(bytes) })?;
    if encode(&record) == bytes { Ok(record) } else { Err(DecodeError::NotCanonical) }
}

/// What is signed: `strongroom/trail-record/1`, a NUL, the record's bytes.
pub fn signed_message(bytes: &[u8]) -> Vec<u8> {
    [SIGNED_PREFIX, bytes].concat()
}

/// SHA-256 of a record's bytes, with nothing in front: what the next record names.
pub fn hash(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

/// Encodes, hashes and signs a record.
///
/// # Errors
/// [`LimitExceeded`] when [`decode`] would refuse the record: what cannot be verified must not be signed.
pub fn seal(record: &Record, signer: &dyn Signer) -> Result<SealedRecord, LimitExceeded> {
    check(record)?;
    let bytes = encode(record);
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(LimitExceeded::Bytes);
    }
    let signature = signer.sign(&signed_message(&bytes));
    Ok(SealedRecord { hash: hash(&bytes), bytes, signature })
}

fn check(record: &Record) -> Result<(), LimitExceeded> {
    if record.events.len() > EVENTS_MAX {
        return Err(LimitExceeded::Events);
    }
    for event in &record.events {
        if event.details.len() > DETAILS_MAX {
            return Err(LimitExceeded::Details);
        }
        let texts = [Some(&event.actor), event.origin.as_ref(), event.grant.as_ref(), event.reason.as_ref()];
        let details = event.details.iter().flat_map(|(name, value)| [name, value]);
        if texts.into_iter().flatten().chain(details).any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(LimitExceeded::Text);
        }
    }
    Ok(())
}

fn write_record(e: &mut Writer<'_>, record: &Record) -> Encoded {
    e.map(6)?.u8(0)?.u8(FORMAT)?;
    e.u8(1)?.bytes(record.trail.as_bytes())?;
    e.u8(2)?.u64(record.seq)?;
    e.u8(3)?.i64(record.time.as_micros())?;
    e.u8(4)?.bytes(&record.previous.0)?;
    e.u8(5)?.array(length(record.events.len()))?;
    record.events.iter().try_for_each(|event| write_event(e, event))
}

fn write_event(e: &mut Writer<'_>, event: &Event) -> Encoded {
    e.map(REQUIRED_FIELDS.saturating_add(optional_fields(event)))?;
    e.u8(0)?.str(event.kind.as_str())?;
    e.u8(1)?.str(event.outcome.as_str())?;
    e.u8(2)?.i64(event.at.as_micros())?;
    e.u8(3)?.str(&event.actor)?;
    write_text(e, 4, event.origin.as_deref())?;
    write_bytes(e, 5, event.call.as_ref().map(CallId::as_bytes))?;
    write_bytes(e, 6, event.merchant.as_ref().map(MerchantId::as_bytes))?;
    write_bytes(e, 7, event.connection.as_ref().map(ConnectionId::as_bytes))?;
    if let Some(version) = event.version {
        e.u8(8)?.u32(version.0)?;
    }
    write_bytes(e, 9, event.link.as_ref().map(LinkId::as_bytes))?;
    write_bytes(e, 10, event.invitation.as_ref().map(InvitationId::as_bytes))?;
    write_bytes(e, 11, event.flow.as_ref().map(FlowId::as_bytes))?;
    write_bytes(e, 12, event.attempt.as_ref().map(AttemptId::as_bytes))?;
    write_bytes(e, 13, event.trail.as_ref().map(TrailId::as_bytes))?;
    write_bytes(e, 14, event.fingerprint.as_ref())?;
    write_text(e, 15, event.grant.as_deref())?;
    write_bytes(e, 16, event.policy.as_ref().map(|hash| &hash.0))?;
    write_text(e, 17, event.reason.as_deref())?;
    if event.details.is_empty() {
        return Ok(());
    }
    let mut details: Vec<(&String, &String)> = event.details.iter().collect();
    // RFC 8949 §4.2.1 sorts by encoded key, and an encoded text begins with its length.
    details.sort_by_key(|(name, _)| (name.len(), *name));
    e.u8(18)?.map(length(details.len()))?;
    details.into_iter().try_for_each(|(name, value)| e.str(name)?.str(value)?.ok())
}

fn optional_fields(event: &Event) -> u64 {
    let present = [
        event.origin.is_some(),
        event.call.is_some(),
        event.merchant.is_some(),
        event.connection.is_some(),
        event.version.is_some(),
        event.link.is_some(),
        event.invitation.is_some(),
        event.flow.is_some(),
        event.attempt.is_some(),
        event.trail.is_some(),
        event.fingerprint.is_some(),
        event.grant.is_some(),
        event.policy.is_some(),
        event.reason.is_some(),
        !event.details.is_empty(),
    ];
    present.map(u64::from).iter().sum()
}

fn write_text(e: &mut Writer<'_>, key: u8, text: Option<&str>) -> Encoded {
    text.map_or(Ok(()), |text| e.u8(key)?.str(text)?.ok())
}

fn write_bytes<const N: usize>(e: &mut Writer<'_>, key: u8, bytes: Option<&[u8; N]>) -> Encoded {
    bytes.map_or(Ok(()), |bytes| e.u8(key)?.bytes(bytes)?.ok())
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A decoder that knows the limits. Order and uniqueness of keys are left to the comparison with the one encoding.
struct Reader<'b> {
    cbor: Decoder<'b>,
}

fn read_record(r: &mut Reader<'_>) -> Result<Record, DecodeError> {
    let fields = r.map()?;
    r.key(0)?;
    let format = r.uint()?;
    if format != u64::from(FORMAT) {
        return Err(DecodeError::UnknownFormat(format));
    }
    if fields != 6 {
        return Err(r.malformed());
    }
    r.key(1)?;
    let trail = TrailId::from_bytes(r.array()?);
    r.key(2)?;
    let seq = r.uint()?;
    r.key(3)?;
    let time = r.time()?;
    r.key(4)?;
    let previous = Hash(r.array()?);
    r.key(5)?;
    let count = r.count(EVENTS_MAX, LimitExceeded::Events)?;
    // Grows as events are read, each of which takes bytes: a large count alone reserves nothing.
    let mut events = Vec::new();
    for event in 0..count {
        events.push(read_event(r, event)?);
    }
    Ok(Record { trail, seq, time, previous, events })
}

fn read_event(r: &mut Reader<'_>, place: u64) -> Result<Event, DecodeError> {
    let fields = r.map()?;
    r.key(0)?;
    let kind = EventKind::parse(r.text()?).ok_or(DecodeError::UnknownKind { event: place })?;
    r.key(1)?;
    let outcome = Outcome::parse(r.text()?).ok_or_else(|| r.malformed())?;
    r.key(2)?;
    let at = r.time()?;
    r.key(3)?;
    let mut event = Event::new(kind, at, r.text()?).outcome(outcome);
    for _ in REQUIRED_FIELDS..fields {
        read_optional(r, &mut event)?;
    }
    Ok(event)
}

fn read_optional(r: &mut Reader<'_>, event: &mut Event) -> Result<(), DecodeError> {
    match r.uint()? {
        4 => event.origin = Some(r.text()?.to_owned()),
        5 => event.call = Some(CallId::from_bytes(r.array()?)),
        6 => event.merchant = Some(MerchantId::from_bytes(r.array()?)),
        7 => event.connection = Some(ConnectionId::from_bytes(r.array()?)),
        8 => event.version = Some(TokenVersion(u32::try_from(r.uint()?).map_err(|_| r.malformed())?)),
        9 => event.link = Some(LinkId::from_bytes(r.array()?)),
        10 => event.invitation = Some(InvitationId::from_bytes(r.array()?)),
        11 => event.flow = Some(FlowId::from_bytes(r.array()?)),
        12 => event.attempt = Some(AttemptId::from_bytes(r.array()?)),
        13 => event.trail = Some(TrailId::from_bytes(r.array()?)),
        14 => event.fingerprint = Some(r.array()?),
        15 => event.grant = Some(r.text()?.to_owned()),
        16 => event.policy = Some(Hash(r.array()?)),
        17 => event.reason = Some(r.text()?.to_owned()),
        18 => {
            for _ in 0..r.details()? {
                event.details.insert(r.text()?.to_owned(), r.text()?.to_owned());
            }
        }
        _ => return Err(r.malformed()),
    }
    Ok(())
}

impl<'b> Reader<'b> {
    fn malformed(&self) -> DecodeError {
        DecodeError::Malformed { at: self.cbor.position() }
    }

    fn read<T>(&mut self, read: impl FnOnce(&mut Decoder<'b>) -> Result<T, CborError>) -> Result<T, DecodeError> {
        read(&mut self.cbor).map_err(|_| self.malformed())
    }

    fn key(&mut self, expected: u64) -> Result<(), DecodeError> {
        if self.uint()? == expected { Ok(()) } else { Err(self.malformed()) }
    }

    fn uint(&mut self) -> Result<u64, DecodeError> {
        self.read(Decoder::u64)
    }

    fn time(&mut self) -> Result<Timestamp, DecodeError> {
        self.read(Decoder::i64).map(Timestamp::from_micros)
    }

    fn text(&mut self) -> Result<&'b str, DecodeError> {
        let text = self.read(Decoder::str)?;
        if text.len() > TEXT_BYTES_MAX { Err(LimitExceeded::Text.into()) } else { Ok(text) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.read(Decoder::bytes)?.try_into().map_err(|_| self.malformed())
    }

    fn map(&mut self) -> Result<u64, DecodeError> {
        self.read(Decoder::map)?.ok_or(DecodeError::NotCanonical)
    }

    fn details(&mut self) -> Result<u64, DecodeError> {
        let count = self.map()?;
        if count > length(DETAILS_MAX) { Err(LimitExceeded::Details.into()) } else { Ok(count) }
    }

    fn count(&mut self, max: usize, limit: LimitExceeded) -> Result<u64, DecodeError> {
        let count = self.read(Decoder::array)?.ok_or(DecodeError::NotCanonical)?;
        if count > length(max) { Err(limit.into()) } else { Ok(count) }
    }
}

#[cfg(test)]
mod tests;
