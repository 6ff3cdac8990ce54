//! What happens when somebody else writes, locks or damages what we stored.

use std::time::Duration;

use strongroom::cli::verify::{Completeness, Problem, Verification};
use strongroom::demo::Site;
use strongroom::domain::ambient::{Clock as _, SystemClock, SystemEntropy};
use strongroom::domain::trail::verify::{Fault, TrailVerifier};
use strongroom::domain::trail::{
    EventKind, GENESIS, Outcome, PublicKey, Record, Signature, Signer as _, TrailHead, cbor,
};
use strongroom::v1::export_trail_response::Piece;
use strongroom::v1::{ExportTrailResponse, TrailKind, TrailRecord};
use strongroom::vault::{Keyring, Vault};
use tonic_types::StatusExt as _;

use crate::support::app::{TestApp, log, outcome_of, records_of, verdict_of};
use crate::support::database::Statement;

/// Longest wait of a caller for a read: a little over what the service gives itself.
const READ_MAX: Duration = Duration::from_secs(9);

/// Copies of A's columns into B's row, by name, and which table they are in.
const COPIES: [(&str, &str); 6] = [
    (
        "the sealed token",
        "UPDATE token_secrets SET (epoch, salt, ciphertext) = (SELECT epoch, salt, ciphertext FROM token_secrets \
         WHERE connection_id = (SELECT connection_id FROM a)) WHERE connection_id = (SELECT connection_id FROM b)",
    ),
    (
        "the version with its fingerprint",
        "UPDATE token_versions SET (fingerprint, stored_at_us, mac, cause) = \
         (SELECT fingerprint, stored_at_us, mac, cause FROM token_versions \
         WHERE connection_id = (SELECT connection_id FROM a)) WHERE connection_id = (SELECT connection_id FROM b)",
    ),
    (
        "the merchant's labels and tag",
        "UPDATE merchants SET (labels, mac) = (SELECT labels, mac FROM merchants WHERE id = (SELECT merchant_id FROM a)) \
         WHERE id = (SELECT merchant_id FROM b)",
    ),
    (
        "where the link leads",
        "UPDATE links SET connection_id = (SELECT connection_id FROM a) WHERE merchant_id = (SELECT merchant_id FROM b)",
    ),
    (
        "the link's tag",
        "UPDATE links SET mac = (SELECT mac FROM links WHERE merchant_id = (SELECT merchant_id FROM a)) \
         WHERE merchant_id = (SELECT merchant_id FROM b)",
    ),
    (
        "the connection's tag",
        "UPDATE connections SET mac = (SELECT mac FROM connections WHERE id = (SELECT connection_id FROM a)) \
         WHERE id = (SELECT connection_id FROM b)",
    ),
];

/// The two merchants, by which the copies name them.
const NAMES: [&str; 2] = [
    "CREATE TEMP TABLE a AS SELECT merchant_id, connection_id FROM links WHERE 1 = 0",
    "CREATE TEMP TABLE b AS SELECT merchant_id, connection_id FROM links WHERE 1 = 0",
];
const NAME_A: &str = "INSERT INTO a SELECT l.merchant_id, l.connection_id FROM links l \
     JOIN merchants m ON m.id = l.merchant_id WHERE m.external_id = $1";
const NAME_B: &str = "INSERT INTO b SELECT l.merchant_id, l.connection_id FROM links l \
     JOIN merchants m ON m.id = l.merchant_id WHERE m.external_id = $1";

#[tokio::test]
async fn a_row_of_one_merchant_copied_over_anothers_is_never_read_and_the_try_is_on_record() {
    let app = TestApp::start().await;
    let thief = app.connected("thief").await;
    let mut intruder = app.intruder().await;
    for name in NAMES {
        intruder.execute(name, &[]).await;
    }
    intruder.execute(NAME_A, &["thief"]).await;
    for (number, (what, copy)) in COPIES.into_iter().enumerate() {
        // The provider takes 30 calls in 10 s.
        app.advance(Duration::from_secs(10)).await;
        let victim = app.connected(&format!("victim-{number}")).await;
        app.token(&victim).await;
        intruder.execute("DELETE FROM b", &[]).await;
        intruder.execute(NAME_B, &[&victim.external_id]).await;
        assert_eq!(intruder.execute(copy, &[]).await, 1, "{what}");
        let read = app.caller("payments").read(&victim.external_id).await;
        let status = read.as_ref().unwrap_err();
        assert_eq!(outcome_of(&read), "DATA_LOSS:DATA_CORRUPT", "{what}");
        let call = status.get_details_error_info().unwrap().metadata["call_id"].clone();
        let events = app.events().await;
        let failure = events.iter().find(|event| event.call.is_some_and(|id| id.to_string() == call)).unwrap();
        assert_eq!((failure.kind, failure.outcome), (EventKind::TokenRead, Outcome::Failure), "{what}");
        assert_eq!(failure.reason.as_deref(), Some("DATA_CORRUPT"), "{what}");
        assert_eq!(failure.actor, app.caller("payments").id, "{what}");
        app.token(&thief).await;
    }
    intruder.close().await;
    app.close().await;
}

#[tokio::test]
async fn a_read_that_cannot_be_recorded_is_refused_in_time_and_hands_nothing_out() {
    let app = TestApp::start().await;
    let shop = app.connected("locked-shop").await;
    app.token(&shop).await;
    let mut intruder = app.intruder().await;
    intruder.lock().await;
    let read = tokio::time::timeout(READ_MAX, app.caller("payments").read("locked-shop")).await;
    assert_eq!(outcome_of(&read.unwrap()), "UNAVAILABLE:STORE_UNAVAILABLE");
    intruder.unlock().await;
    intruder.close().await;
    app.token(&shop).await;
    app.close().await;
}

/// The export as a deployment that has run twice hands it out, and the key that it signs with.
async fn export_of_two_runs() -> (Vec<ExportTrailResponse>, Vault) {
    let app = TestApp::start().await;
    let shop = app.connected("audited-shop").await;
    app.token(&shop).await;
    let app = app.restart().await;
    app.token(&shop).await;
    let pieces = app.export().await;
    let vault = Vault::new(Keyring::load(&app.files().join("keyring.json")).unwrap());
    app.close().await;
    (pieces, vault)
}

/// The records of the trail that begins at this piece.
fn trail_at(pieces: &[ExportTrailResponse], start: usize) -> std::ops::Range<usize> {
    let is_record = |piece: &ExportTrailResponse| matches!(piece.piece, Some(Piece::Record(_)));
    let records = pieces[start + 1..].iter().take_while(|piece| is_record(piece)).count();
    start + 1..start + 1 + records
}

/// The records of each trail of this kind, in order.
fn trails_of(pieces: &[ExportTrailResponse], kind: TrailKind) -> Vec<std::ops::Range<usize>> {
    let begins =
        |piece: &ExportTrailResponse| matches!(&piece.piece, Some(Piece::Header(header)) if header.kind() == kind);
    (0..pieces.len()).filter(|at| begins(&pieces[*at])).map(|at| trail_at(pieces, at)).collect()
}

fn record_at(pieces: &mut [ExportTrailResponse], at: usize) -> &mut TrailRecord {
    match &mut pieces[at].piece {
        Some(Piece::Record(record)) => record,
        _ => unreachable!("no record at {at}"),
    }
}

/// The trail's records verified against a head that was kept elsewhere.
fn against(head: TrailHead, key: PublicKey, records: &[ExportTrailResponse]) -> Result<(), Fault> {
    let mut verifier = TrailVerifier::new(head.trail, key).unwrap();
    verifier.expect(head)?;
    for piece in records {
        let Some(Piece::Record(record)) = &piece.piece else { continue };
        verifier.push_bytes(&record.record, &Signature(record.signature.as_slice().try_into().unwrap()))?;
    }
    verifier.finish().map(drop)
}

#[tokio::test]
async fn whoever_cuts_edits_or_re_signs_a_trail_is_found_out_each_by_its_name() {
    let (pieces, vault) = export_of_two_runs().await;
    assert!(verdict_of(&pieces).holds(), "the control: untouched, it verifies");
    let key = vault.public_key();
    let change = trails_of(&pieces, TrailKind::Change).remove(0);
    let closed = trails_of(&pieces, TrailKind::Read).into_iter().find(|records| records.len() > 1).unwrap();
    let records: Vec<Record> = pieces[change.clone()]
        .iter()
        .map(|piece| cbor::decode(records_of(std::slice::from_ref(piece))[0]).unwrap())
        .collect();
    let newest = cbor::hash(records_of(&pieces[change.clone()])[records.len() - 1]);
    let head = TrailHead { trail: records[0].trail, seq: records[records.len() - 1].seq, hash: newest };
    assert_eq!(against(head, key, &pieces[change.clone()]), Ok(()));

    // Cut, in the trail of a run that has ended: the change trail says where it ended.
    let mut cut = pieces.clone();
    cut.remove(closed.end - 1);
    let verdict = verdict_of(&cut);
    assert!(verdict.has_integrity());
    assert!(matches!(verdict.completeness, Completeness::Missing { .. }), "{:?}", verdict.completeness);
    // Cut, in the change trail: only a head kept elsewhere can tell.
    let shorter = &pieces[change.start..change.end - 1];
    assert!(matches!(against(head, key, shorter), Err(Fault::Truncated { .. })));

    // Edited, anywhere.
    for at in change.clone() {
        let mut edited = pieces.clone();
        let record = record_at(&mut edited, at);
        let middle = record.record.len() / 2;
        record.record[middle] ^= 1;
        let verdict = verdict_of(&edited);
        assert!(!verdict.has_integrity() && !verdict.is_complete(), "record {at}");
    }

    // Re-signed from the middle on by whoever has the key: it agrees with itself, and not with the head kept elsewhere.
    let mut resigned = pieces.clone();
    let mut previous = GENESIS;
    for (mut record, at) in records.into_iter().zip(change.clone()) {
        record.previous = previous;
        if record.seq == head.seq / 2 {
            record.events[0].actor = "somebody else".to_owned();
        }
        let sealed = cbor::seal(&record, &vault).unwrap();
        previous = sealed.hash;
        *record_at(&mut resigned, at) = TrailRecord { record: sealed.bytes, signature: sealed.signature.0.to_vec() };
    }
    assert!(verdict_of(&resigned).has_integrity());
    assert!(matches!(against(head, key, &resigned[change.clone()]), Err(Fault::HeadMismatch { .. })));

    // Signed by somebody else: found out by whoever has our key, whatever the export says its key is.
    let other = Vault::new(Keyring::generate(&SystemEntropy, SystemClock.now()));
    let mut foreign = pieces.clone();
    for piece in &mut foreign {
        match &mut piece.piece {
            Some(Piece::PublicKey(key)) => *key = other.public_key().0.to_vec(),
            Some(Piece::Record(record)) => {
                record.signature = other.sign(&cbor::signed_message(&record.record)).0.to_vec();
            }
            _ => {}
        }
    }
    assert!(verdict_of(&foreign).holds(), "it agrees with itself");
    let mut verification = Verification::new(Some(key));
    foreign.into_iter().for_each(|piece| verification.push(piece));
    let verdict = verification.finish();
    assert!(
        verdict.integrity.iter().any(|problem| matches!(problem, Problem::OtherKey { .. })),
        "{:?}",
        verdict.integrity
    );
}

/// What somebody did to the newest records while nothing ran.
const DAMAGES: [(&str, Statement); 4] = [
    (
        "a byte of the newest change record",
        Statement {
            sqlite: "DROP TRIGGER change_trail_keeps; UPDATE change_trail SET record = CAST(record || x'00' AS BLOB) \
                     WHERE seq = (SELECT max(seq) FROM change_trail)",
            postgres: "ALTER TABLE change_trail DISABLE TRIGGER USER; UPDATE change_trail SET record = record || '\\x00' \
                       WHERE seq = (SELECT max(seq) FROM change_trail)",
        },
    ),
    (
        "the newest change record gone",
        Statement {
            sqlite: "DROP TRIGGER change_trail_stays; \
                     DELETE FROM change_trail WHERE seq = (SELECT max(seq) FROM change_trail)",
            postgres: "ALTER TABLE change_trail DISABLE TRIGGER USER; \
                       DELETE FROM change_trail WHERE seq = (SELECT max(seq) FROM change_trail)",
        },
    ),
    (
        "every change record gone, and the head put back to the beginning",
        Statement {
            sqlite: "DROP TRIGGER change_trail_stays; DELETE FROM change_trail; \
                     UPDATE trails SET seq = 0, hash = zeroblob(32) WHERE kind = 'change'",
            postgres: "ALTER TABLE change_trail DISABLE TRIGGER USER; DELETE FROM change_trail; \
                       UPDATE trails SET seq = 0, hash = decode(repeat('00', 32), 'hex') WHERE kind = 'change'",
        },
    ),
    (
        "the head put back to the beginning",
        Statement {
            sqlite: "UPDATE trails SET seq = 0, hash = zeroblob(32) WHERE kind = 'change'",
            postgres: "UPDATE trails SET seq = 0, hash = decode(repeat('00', 32), 'hex') WHERE kind = 'change'",
        },
    ),
];

#[tokio::test]
async fn a_start_on_a_damaged_trail_refuses_and_does_not_begin_again() {
    const SHAPE: &str = "SELECT (SELECT count(*) FROM change_trail), (SELECT seq FROM trails WHERE kind = 'change'), \
         (SELECT count(*) FROM read_records)";
    for (what, damage) in DAMAGES {
        let app = TestApp::start().await;
        let shop = app.connected("damaged-shop").await;
        app.token(&shop).await;
        let home = app.stop().await;
        let mut intruder = home.intruder().await;
        intruder.run(damage).await;
        intruder.close().await;
        let before: Vec<(i64, i64, i64)> = home.rows(SHAPE).await;
        let opened = Site::open(home.site(), Some(log())).await;
        let refusal = opened.err().map(|why| why.to_string());
        assert!(refusal.is_some(), "{what}: it started");
        assert_eq!(before, home.rows(SHAPE).await, "{what}: nothing was written");
    }
}
