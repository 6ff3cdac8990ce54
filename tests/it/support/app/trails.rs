//! What an auditor makes of an export.

use strongroom::cli::verify::{Verdict, Verification};
use strongroom::domain::trail::{Event, cbor};
use strongroom::v1::ExportTrailResponse;
use strongroom::v1::export_trail_response::Piece;

/// The client's own verdict.
pub(crate) fn verdict_of(pieces: &[ExportTrailResponse]) -> Verdict {
    let mut verification = Verification::new(None);
    for piece in pieces {
        verification.push(piece.clone());
    }
    verification.finish()
}

/// Every record, as signed.
pub(crate) fn records_of(pieces: &[ExportTrailResponse]) -> Vec<&[u8]> {
    pieces
        .iter()
        .filter_map(|piece| match &piece.piece {
            Some(Piece::Record(record)) => Some(record.record.as_slice()),
            _ => None,
        })
        .collect()
}

/// Every event.
pub(crate) fn events_of(pieces: &[ExportTrailResponse]) -> Vec<Event> {
    records_of(pieces).into_iter().flat_map(|record| cbor::decode(record).unwrap().events).collect()
}
