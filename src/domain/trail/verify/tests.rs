//! Golden vectors made by another implementation, properties, completeness case by case.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

use super::strategy::{chain, event, signer};
use super::*;
use crate::domain::id::{AttemptId, CallId, ConnectionId, FlowId, InvitationId, LinkId, MerchantId, TokenVersion};
use crate::domain::trail::{Event, EventKind, Outcome, view};

const TRAIL: TrailId = TrailId::from_bytes([0xa1; 16]);
const START: i64 = 1_800_000_000_000_000;

fn unhex<const N: usize>(value: &Value) -> [u8; N] {
    unhex_all(value).try_into().unwrap()
}

fn unhex_all(value: &Value) -> Vec<u8> {
    let digits: Vec<u8> =
        value.as_str().unwrap().bytes().map(|c| char::from(c).to_digit(16).unwrap().try_into().unwrap()).collect();
    digits.chunks_exact(2).map(|pair| pair[0] * 16 + pair[1]).collect()
}

fn golden() -> BTreeMap<String, Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/trail");
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: &Path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), read(&path))).collect()
}

fn records(vector: &Value) -> Vec<SealedRecord> {
    let record = |record: &Value| SealedRecord {
        bytes: unhex_all(&record["bytes"]),
        hash: Hash(unhex(&record["hash"])),
        signature: Signature(unhex(&record["signature"])),
    };
    vector["records"].as_array().unwrap().iter().map(record).collect()
}

fn verify(trail: TrailId, records: &[SealedRecord]) -> Result<TrailReport, Fault> {
    let mut verifier = TrailVerifier::new(trail, signer().1)?;
    records.iter().try_for_each(|record| verifier.push(record).map(drop))?;
    verifier.finish()
}

/// The events of the golden vectors.
fn golden_events() -> Vec<Vec<Event>> {
    let denied = Event {
        origin: Some("127.0.0.1:5\n\0\u{202e}".to_owned()),
        call: Some(CallId::from_bytes([5; 16])),
        merchant: Some(MerchantId::from_bytes([6; 16])),
        connection: Some(ConnectionId::from_bytes([7; 16])),
        version: Some(TokenVersion(300)),
        link: Some(LinkId::from_bytes([9; 16])),
        invitation: Some(InvitationId::from_bytes([10; 16])),
        flow: Some(FlowId::from_bytes([11; 16])),
        attempt: Some(AttemptId::from_bytes([12; 16])),
        trail: Some(TrailId::from_bytes([13; 16])),
        fingerprint: Some([14; 16]),
        grant: Some("read-all".to_owned()),
        policy: Some(Hash([16; 32])),
        reason: Some("policy".to_owned()),
        details: [("zz", "2"), ("b", "1"), ("aaa", "é"), ("", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        ..Event::new(EventKind::TokenRead, Timestamp::from_micros(START - 1), "spiffe://example/payments")
    }
    .outcome(Outcome::Denied);
    let failed = denied.clone().outcome(Outcome::Failure);
    let stamped = Event::new(EventKind::DeploymentStamped, Timestamp::from_micros(START), "system");
    vec![vec![stamped], vec![denied, failed], vec![]]
}

#[test]
fn golden_trails_verify_or_fail_as_they_say() {
    let vectors = golden();
    assert_eq!(vectors.len(), 26, "a vector is neither lost nor added unseen");
    for (name, vector) in vectors {
        assert_eq!(unhex::<32>(&vector["public_key"]), signer().1.0, "{name}");
        let found = match verify(vector["trail"].as_str().unwrap().parse().unwrap(), &records(&vector)) {
            Ok(report) => {
                assert_eq!((report.records, report.events, report.head.seq), (3, 3, 3), "{name}");
                assert_eq!(report.steps_back, u64::from(name == "ok_clock_set_back"), "{name}");
                "ok".to_owned()
            }
            Err(fault) => format!("{fault:?}"),
        };
        assert_eq!(Value::from(found), vector["expect"], "{name}");
    }
}

#[test]
fn sealing_reproduces_the_golden_bytes() {
    let signer = signer().0;
    let mut previous = GENESIS;
    for ((seq, events), golden) in (1..).zip(golden_events()).zip(records(&golden()["ok"])) {
        let time = Timestamp::from_micros(START + i64::try_from(seq).unwrap());
        let record = Record { trail: TRAIL, seq, time, previous, events };
        assert_eq!(cbor::seal(&record, &signer), Ok(golden.clone()));
        assert_eq!(cbor::decode(&golden.bytes), Ok(record));
        previous = golden.hash;
    }
}

#[test]
fn a_fault_stays() {
    let mut trail = chain(TRAIL, vec![vec![]; 3]);
    let good = trail[1].clone();
    trail[1].signature.0[0] ^= 1;
    let mut verifier = TrailVerifier::new(TRAIL, signer().1).unwrap();
    verifier.push(&trail[0]).unwrap();
    assert_eq!(verifier.push(&trail[1]), Err(Fault::BadSignature { seq: 2 }));
    assert_eq!(verifier.push(&good), Err(Fault::BadSignature { seq: 2 }));
    assert_eq!(verifier.finish(), Err(Fault::BadSignature { seq: 2 }));
}

#[test]
fn keys_under_which_anybody_can_sign_are_refused() {
    let small = |y: u8| std::array::from_fn(|at| if at == 0 { y } else { 0 });
    // y = 0 and y = 1 have a small order; y = 2 is not on the curve
    for key in [small(0), small(1), small(2)] {
        assert_eq!(TrailVerifier::new(TRAIL, PublicKey(key)).err(), Some(Fault::BadKey), "{key:?}");
    }
}

#[test]
fn a_head_kept_elsewhere_shows_truncation_and_rewriting() {
    let trail = chain(TRAIL, vec![vec![]; 3]);
    let head = |at: usize| TrailHead { trail: TRAIL, seq: u64::try_from(at).unwrap() + 1, hash: trail[at].hash };
    let verify = |expected: &[TrailHead], records: &[SealedRecord]| {
        let mut verifier = TrailVerifier::new(TRAIL, signer().1)?;
        expected.iter().try_for_each(|head| verifier.expect(*head))?;
        records.iter().try_for_each(|record| verifier.push(record).map(drop))?;
        verifier.finish()
    };
    assert!(verify(&[head(0), head(2)], &trail).is_ok());
    assert_eq!(verify(&[head(2)], &trail[..2]), Err(Fault::Truncated { expected: 3, found: 2 }));
    assert_eq!(verify(&[head(0)], &[]), Err(Fault::Truncated { expected: 1, found: 0 }));
    let other = TrailHead { hash: GENESIS, ..head(1) };
    assert_eq!(verify(&[other], &trail), Err(Fault::HeadMismatch { seq: 2 }));
    assert_eq!(verify(&[head(1), other], &trail), Err(Fault::HeadMismatch { seq: 2 }));
    let elsewhere = TrailHead { trail: TrailId::from_bytes([2; 16]), ..head(1) };
    assert_eq!(verify(&[elsewhere], &trail), Err(Fault::HeadMismatch { seq: 2 }));
    assert!(verify(&[TrailHead { trail: TRAIL, seq: 0, hash: GENESIS }], &trail).is_ok(), "the head of an empty trail");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_single_change_is_found(
        events in prop::collection::vec(prop::collection::vec(event(), 0..3), 2..6),
        at in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), flip in 1_u8..,
    ) {
        let trail = chain(TRAIL, events);
        prop_assert!(verify(TRAIL, &trail).is_ok());
        let at = at.index(trail.len());
        let seq = u64::try_from(at).unwrap() + 1;

        let mut changed = trail.clone();
        let bytes = &mut changed[at].bytes;
        let byte_at = byte.index(bytes.len());
        bytes[byte_at] ^= flip;
        prop_assert_eq!(verify(TRAIL, &changed), Err(Fault::HashMismatch { seq }));
        changed[at].hash = cbor::hash(&changed[at].bytes);
        prop_assert!(verify(TRAIL, &changed).is_err(), "the one who changed it also mended the hash");

        let mut changed = trail.clone();
        changed[at].hash.0[byte.index(32)] ^= flip;
        prop_assert_eq!(verify(TRAIL, &changed), Err(Fault::HashMismatch { seq }));

        let mut changed = trail.clone();
        changed[at].signature.0[byte.index(64)] ^= flip;
        prop_assert_eq!(verify(TRAIL, &changed), Err(Fault::BadSignature { seq }));
    }

    #[test]
    fn reordering_dropping_and_doubling_are_found(
        events in prop::collection::vec(prop::collection::vec(event(), 0..2), 2..6), at in any::<prop::sample::Index>(),
    ) {
        let trail = chain(TRAIL, events);
        let at = at.index(trail.len() - 1);
        let seq = u64::try_from(at).unwrap() + 1;

        let mut changed = trail.clone();
        changed.swap(at, at + 1);
        prop_assert_eq!(verify(TRAIL, &changed), Err(Fault::Gap { expected: seq, found: seq + 1 }));

        let mut changed = trail.clone();
        changed.remove(at);
        prop_assert_eq!(verify(TRAIL, &changed), Err(Fault::Gap { expected: seq, found: seq + 1 }));

        let mut changed = trail.clone();
        changed.insert(at, trail[at].clone());
        prop_assert_eq!(verify(TRAIL, &changed), Err(Fault::Gap { expected: seq + 1, found: seq }));
    }
}

/// A change trail with these events.
fn change(events: Vec<Event>) -> Vec<Record> {
    let sealed = chain(TRAIL, events.into_iter().map(|event| vec![event]).collect());
    sealed.iter().map(|record| cbor::decode(&record.bytes).unwrap()).collect()
}

fn said(kind: EventKind) -> Event {
    Event::new(kind, Timestamp::from_micros(START), "system")
}

fn opened(trail: TrailId) -> Event {
    Event { trail: Some(trail), ..said(EventKind::TrailOpened) }
}

fn closed(report: &TrailReport) -> Event {
    let event = Event { trail: Some(report.trail), ..said(EventKind::TrailClosed) };
    event.detail("size", report.records).detail("head", view::hash(&report.head.hash))
}

fn read_trail(id: u8, records: usize) -> TrailReport {
    let id = TrailId::from_bytes([id; 16]);
    verify(id, &chain(id, vec![vec![]; records])).unwrap()
}

#[test]
fn a_deployment_is_complete_when_everything_agrees() {
    let (one, two, empty) = (read_trail(1, 3), read_trail(2, 2), read_trail(3, 0));
    let connection = ConnectionId::from_bytes([7; 16]);
    let (version, link) = (TokenVersion(1), LinkId::from_bytes([8; 16]));
    let linked = Event { link: Some(link), ..said(EventKind::LinkCreated) };
    let change = change(vec![
        opened(one.trail),
        opened(two.trail),
        opened(empty.trail),
        said(EventKind::TokenStored).version(connection, version),
        linked,
        closed(&one),
        closed(&empty),
    ]);
    let answer = completeness(&change, &[one, two], &[(connection, version)], &[link]);
    assert_eq!(answer, Completeness { missing: vec![], open: vec![OpenTrail { trail: two.trail, records: 2 }] });
    assert!(answer.is_complete());
    assert!(completeness(&change, &[one, two, empty], &[], &[]).is_complete(), "an empty trail may be there or not");
    let crashed = completeness(&change, &[one], &[], &[]);
    assert_eq!((crashed.is_complete(), crashed.open[0].records), (true, 0), "a process that never read anything");
}

#[test]
fn everything_that_is_missing_is_named() {
    let (full, short) = (read_trail(1, 3), read_trail(1, 2));
    let id = full.trail;
    let rewritten = TrailReport { head: TrailHead { hash: GENESIS, ..full.head }, ..full };
    let (connection, version) = (ConnectionId::from_bytes([7; 16]), TokenVersion(1));
    let unreadable = closed(&full).detail("size", "three");
    let contradiction = closed(&short);
    let end = |found| Missing::End { trail: id, closed: 3, found };
    for (events, reports, expected) in [
        (vec![opened(id), closed(&full)], vec![], Missing::ReadTrail(id)),
        (vec![opened(id), closed(&full)], vec![short], end(2)),
        (vec![opened(id), closed(&full)], vec![rewritten], end(3)),
        (vec![opened(id), closed(&full)], vec![full, full], Missing::Doubled(id)),
        (vec![], vec![full], Missing::Opening(id)),
        (vec![closed(&full)], vec![full], Missing::Opening(id)),
        (vec![opened(id).outcome(Outcome::Failure)], vec![full], Missing::Opening(id)),
        (vec![opened(id), unreadable], vec![full], Missing::Closing(id)),
        (vec![opened(id), closed(&full), contradiction], vec![full], Missing::Closing(id)),
        (vec![said(EventKind::TrailOpened)], vec![], Missing::Unnamed { kind: EventKind::TrailOpened }),
        (vec![said(EventKind::TrailClosed)], vec![], Missing::Unnamed { kind: EventKind::TrailClosed }),
    ] {
        assert_eq!(completeness(change(events), &reports, &[], &[]).missing, [expected]);
    }
    let other = said(EventKind::TokenStored).version(connection, TokenVersion(2));
    let lost = completeness(change(vec![other]), &[], &[(connection, version)], &[LinkId::from_bytes([8; 16])]).missing;
    assert_eq!(
        lost,
        [Missing::VersionRecord { connection, version }, Missing::LinkRecord(LinkId::from_bytes([8; 16]))]
    );
}
