//! Hand-made exports: one that holds, and one for each way not to.

use prost::Message;

use super::*;
use crate::domain::trail::verify::{Fault, Missing};
use crate::domain::trail::{Event, cbor};

pub(in crate::cli) const CHANGE: TrailId = TrailId::from_bytes([1; 16]);
pub(in crate::cli) const READ: TrailId = TrailId::from_bytes([2; 16]);
const CONNECTION: ConnectionId = ConnectionId::from_bytes([3; 16]);
const LINK: LinkId = LinkId::from_bytes([4; 16]);
/// A usable key that signed nothing here: that of the golden vectors of the trail.
const OTHER: &str = "29acbae141bccaf0b22e1a94d34d0bc7361e526d0bfe12c89794bc9322966dd7";

fn unhex(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn piece(piece: Piece) -> v1::ExportTrailResponse {
    v1::ExportTrailResponse { piece: Some(piece) }
}

fn header(trail: TrailId, kind: TrailKind) -> v1::ExportTrailResponse {
    piece(Piece::Header(v1::TrailHeader { trail_id: trail.to_string(), kind: kind.into(), open_time: None }))
}

fn inventory(versions: &[u32], links: &[LinkId]) -> v1::ExportTrailResponse {
    let version = |version: &u32| v1::TokenVersionRef { connection_id: CONNECTION.to_string(), version: *version };
    piece(Piece::Inventory(v1::TrailInventory {
        versions: versions.iter().map(version).collect(),
        link_ids: links.iter().map(ToString::to_string).collect(),
    }))
}

/// The export of `export.hex`, signed with the Ed25519 seed of 32 bytes 0x07, one record a second from 1800000001 on. Places: 0 key,
/// 1 header, 2 to 6 changes, 7 header, 8 and 9 reads, 10 inventory.
pub(in crate::cli) fn export() -> Vec<v1::ExportTrailResponse> {
    let pieces = include_str!("tests/export.hex").lines();
    pieces.map(|line| v1::ExportTrailResponse::decode(unhex(line).as_slice()).unwrap()).collect()
}

pub(in crate::cli) fn key() -> PublicKey {
    match &export()[0].piece {
        Some(Piece::PublicKey(bytes)) => PublicKey(bytes.as_slice().try_into().unwrap()),
        other => panic!("{other:?}"),
    }
}

pub(in crate::cli) fn verify(pieces: Vec<v1::ExportTrailResponse>, given: Option<PublicKey>) -> Verdict {
    let mut verification = Verification::new(given);
    pieces.into_iter().for_each(|piece| verification.push(piece));
    verification.finish()
}

fn faulty(pieces: Vec<v1::ExportTrailResponse>) -> Vec<Problem> {
    let verdict = verify(pieces, Some(key()));
    assert!(!verdict.holds());
    assert_eq!(verdict.completeness, Completeness::NotJudged);
    verdict.integrity
}

fn incomplete(pieces: Vec<v1::ExportTrailResponse>) -> (Vec<Missing>, bool) {
    let verdict = verify(pieces, Some(key()));
    assert!(verdict.has_integrity() && !verdict.holds(), "{verdict:?}");
    match verdict.completeness {
        Completeness::Missing { missing, inventory } => (missing, inventory),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_export_says_what_these_tests_take_it_for() {
    let events: Vec<Event> = export()
        .into_iter()
        .filter_map(|response| match response.piece {
            Some(Piece::Record(record)) => Some(cbor::decode(&record.record).unwrap().events),
            _ => None,
        })
        .flatten()
        .collect();
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [
            EventKind::DeploymentStamped,
            EventKind::TrailOpened,
            EventKind::TokenStored,
            EventKind::LinkCreated,
            EventKind::TrailClosed,
            EventKind::TokenRead,
            EventKind::AuditRead,
        ]
    );
    assert_eq!((events[1].trail, events[4].trail), (Some(READ), Some(READ)));
    assert_eq!((events[2].connection, events[2].version), (Some(CONNECTION), Some(TokenVersion(1))));
    assert_eq!(events[3].link, Some(LINK));
    assert_eq!(export()[10], inventory(&[1], &[LINK]));
    assert_eq!((&export()[1], &export()[7]), (&header(CHANGE, TrailKind::Change), &header(READ, TrailKind::Read)));
}

#[test]
fn a_whole_export_holds() {
    let verdict = verify(export(), Some(key()));
    assert!(verdict.holds(), "{verdict:?}");
    assert_eq!(verdict.key, Some((key(), KeyTrust::Given)));
    assert_eq!((verdict.trails.len(), verdict.records(), verdict.events()), (2, 7, 7));
    assert_eq!((verdict.versions, verdict.links, verdict.open), (1, 1, vec![]));
}

#[test]
fn a_key_from_the_server_is_told_apart() {
    let verdict = verify(export(), None);
    assert!(verdict.holds());
    assert_eq!(verdict.key, Some((key(), KeyTrust::ServersWord)));
}

#[test]
fn another_key_than_the_given_one_proves_nothing() {
    let given = PublicKey(unhex(OTHER).try_into().unwrap());
    let verdict = verify(export(), Some(given));
    assert_eq!(
        verdict.integrity,
        [
            Problem::OtherKey { given, sent: key() },
            Problem::Trail { trail: CHANGE, fault: Fault::BadSignature { seq: 1 } },
            Problem::Trail { trail: READ, fault: Fault::BadSignature { seq: 1 } },
        ]
    );
    // A server that sends no key at all gains nothing by it.
    let mut silent = export();
    silent.remove(0);
    assert!(!verify(silent.clone(), Some(given)).holds());
    assert!(verify(silent.clone(), Some(key())).holds());
    assert!(verify(silent, None).integrity.contains(&Problem::NoKey));
}

#[test]
fn an_altered_record_is_found_in_either_trail() {
    for (place, trail, seq) in [(2, CHANGE, 1), (6, CHANGE, 5), (8, READ, 1), (9, READ, 2)] {
        let alterations: [fn(&mut v1::TrailRecord); 2] =
            [|record| *record.record.last_mut().unwrap() ^= 1, |record| record.signature[0] ^= 1];
        for alter in alterations {
            let mut pieces = export();
            let Some(Piece::Record(record)) = &mut pieces[place].piece else { panic!("no record at {place}") };
            alter(record);
            let problems = faulty(pieces);
            let found = matches!(problems.as_slice(), [Problem::Trail { trail: found, fault }]
                if *found == trail && fault.to_string().contains(&seq.to_string()));
            assert!(found, "{problems:?}");
        }
    }
}

#[test]
fn a_missing_or_doubled_record_is_found() {
    let mut pieces = export();
    pieces.remove(3);
    let gap = |expected, found| vec![Problem::Trail { trail: CHANGE, fault: Fault::Gap { expected, found } }];
    assert_eq!(faulty(pieces), gap(2, 3));
    let mut pieces = export();
    pieces.insert(3, pieces[2].clone());
    assert_eq!(faulty(pieces), gap(2, 1));
}

#[test]
fn what_is_not_there_is_named() {
    let mut pieces = export();
    pieces.drain(7..10);
    assert_eq!(incomplete(pieces), (vec![Missing::ReadTrail(READ)], false));

    let mut pieces = export();
    pieces.remove(9);
    assert_eq!(incomplete(pieces), (vec![Missing::End { trail: READ, closed: 2, found: 1 }], false));

    let mut pieces = export();
    pieces.push(inventory(&[2], &[]));
    let version = Missing::VersionRecord { connection: CONNECTION, version: TokenVersion(2) };
    assert_eq!(incomplete(pieces), (vec![version], false));

    let other = LinkId::from_bytes([9; 16]);
    let mut pieces = export();
    pieces.push(inventory(&[], &[other]));
    assert_eq!(incomplete(pieces), (vec![Missing::LinkRecord(other)], false));
}

#[test]
fn an_export_cut_anywhere_does_not_hold() {
    let whole = export();
    for length in 0..whole.len() {
        let verdict = verify(whole[..length].to_vec(), Some(key()));
        // What was cut may be recorded nowhere yet: the stamp and a trail's opening alone are a whole deployment.
        let nothing_recorded_is_lost = (3..=4).contains(&length);
        assert_eq!(verdict.holds(), nothing_recorded_is_lost, "{length}: {verdict:?}");
    }
    let mut pieces = whole;
    pieces.pop();
    assert_eq!(incomplete(pieces), (vec![], true));
}

#[test]
fn a_trail_that_nobody_closed_is_information() {
    let mut pieces = export();
    pieces.remove(6);
    let verdict = verify(pieces, Some(key()));
    assert!(verdict.holds());
    assert_eq!(verdict.open, [READ]);
}

#[test]
fn an_export_of_another_form_is_refused() {
    type Alter = fn(&mut Vec<v1::ExportTrailResponse>);
    let cases: [(&str, Alter); 9] = [
        ("no known kind", |pieces| pieces.push(v1::ExportTrailResponse { piece: None })),
        ("32 bytes", |pieces| pieces[0] = piece(Piece::PublicKey(vec![1; 31]))),
        ("elsewhere than in front", |pieces| pieces.push(pieces[0].clone())),
        ("without a readable id", |pieces| {
            pieces.push(piece(Piece::Header(v1::TrailHeader {
                trail_id: "trl_1".to_owned(),
                kind: 2,
                open_time: None,
            })));
        }),
        ("no known kind", |pieces| pieces.push(header(READ, TrailKind::Unspecified))),
        ("belongs to no trail", |pieces| drop(pieces.remove(1))),
        ("64 bytes", |pieces| {
            pieces[2] = piece(Piece::Record(v1::TrailRecord { record: vec![], signature: vec![0; 63] }));
        }),
        ("unreadable connection", |pieces| {
            let version = v1::TokenVersionRef { connection_id: "con".to_owned(), version: 1 };
            pieces.push(piece(Piece::Inventory(v1::TrailInventory { versions: vec![version], link_ids: vec![] })));
        }),
        ("2 change trails", |pieces| pieces.push(header(TrailId::from_bytes([5; 16]), TrailKind::Change))),
    ];
    for (said, alter) in cases {
        let mut pieces = export();
        alter(&mut pieces);
        let problems = faulty(pieces);
        assert!(problems.iter().any(|problem| problem.to_string().contains(said)), "{said}: {problems:?}");
    }
}

#[test]
fn the_list_of_problems_is_bounded() {
    let mut pieces = export();
    pieces.extend(std::iter::repeat_n(v1::ExportTrailResponse { piece: None }, PROBLEMS_MAX + 5));
    let verdict = verify(pieces, Some(key()));
    assert_eq!((verdict.integrity.len(), verdict.suppressed, verdict.holds()), (PROBLEMS_MAX, 5, false));
}
