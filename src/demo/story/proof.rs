//! The last two steps: the trails verify at the client, and nothing secret lies about in clear.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::callers::{answered, told};
use super::journey::{HeldToken, carried};
use super::{Checked, Story, Told, Unmet, ensure};
use crate::cli::verify::{Verdict, Verification};
use crate::demo::browser::Browser;
use crate::demo::search::{Needle, Search, files_below};
use crate::domain::trail::{EventKind, Outcome, Record, cbor};
use crate::v1::export_trail_response::Piece;
use crate::v1::{ExportTrailRequest, ExportTrailResponse, TrailRecord};

/// A text that stands nowhere, to see that the search finds what is there.
const CANARY: &str = "canary_5d8e0b7a42c91f36";
/// The file in which it stands for that moment.
const CANARY_FILE: &str = "canary.tmp";

/// One of each merchant, and that of corner-books which was closed.
const LINKS: usize = 5;
/// Every so many records one is forged, to see that it is noticed: each try verifies the whole export.
const FORGED_EVERY: usize = 10;

/// What later steps need of earlier ones.
#[derive(Default)]
pub(super) struct Evidence {
    needles: Vec<Needle>,
    records: Vec<Vec<u8>>,
}

impl Evidence {
    /// A token that was handed out and is no longer the newest.
    pub(super) fn remember(&mut self, what: &str, held: &HeldToken) {
        self.needles.extend(Needle::new(format!("token, {what}"), held.token.clone()));
    }

    /// Something else that must not lie about.
    pub(super) fn secret(&mut self, what: &str, text: impl Into<String>) {
        self.needles.extend(Needle::new(what, text));
    }

    /// What a browser carried that is not kept.
    pub(super) fn carried_by(&mut self, browser: &Browser) {
        self.needles.extend(carried(browser).filter_map(|(name, value)| Needle::new(name, value)));
        self.needles.extend(browser.cookie_values().filter_map(|value| Needle::new("a cookie", value)));
    }
}

impl Story<'_> {
    /// The same verification as `strongroom audit verify`.
    pub(super) async fn trails_verify(&mut self) -> Checked<Told> {
        let pieces = self.export().await?;
        let verdict = verify(&pieces);
        ensure(verdict.has_integrity(), "every record to verify", || {
            verdict.integrity.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        })?;
        ensure(verdict.is_complete(), "everything that exists to be on record", || {
            format!("{:?}", verdict.completeness)
        })?;
        self.inventory_is_right(&pieces)?;
        self.evidence.records = pieces.iter().filter_map(record).map(|record| record.record.clone()).collect();
        let records: Vec<Record> = self.evidence.records.iter().filter_map(|bytes| cbor::decode(bytes).ok()).collect();
        self.reads_and_denials_stand_there(&records)?;
        a_forged_record_is_noticed(&pieces)?;
        Ok(Told::new(
            "auditor exports the trails and verifies them here, with the public key alone.",
            format!(
                "Integrity: {} records, every hash, link and signature right, a forged byte is noticed. \
                 Completeness: each of the {} versions and {} links has its record, no trail is missing.",
                verdict.records(),
                verdict.versions,
                verdict.links
            ),
        ))
    }

    async fn export(&self) -> Checked<Vec<ExportTrailResponse>> {
        let stream = self.callers.auditor.audit().export_trail(ExportTrailRequest {}).await;
        let mut stream = answered("auditor to export the trails", stream)?;
        let mut pieces = Vec::new();
        loop {
            let piece = stream.message().await.map_err(|status| Unmet::new("the whole export", told(&status)))?;
            let Some(piece) = piece else { return Ok(pieces) };
            pieces.push(piece);
        }
    }

    /// It names every version that was read on the way, no further one of these connections, and every link.
    fn inventory_is_right(&self, pieces: &[ExportTrailResponse]) -> Checked<()> {
        let mut wanted = BTreeSet::new();
        for shop in [&self.bakery, &self.books, &self.stall] {
            let newest = &shop.token()?.version;
            wanted.extend((1..=newest.version).map(|version| (newest.connection_id.as_str(), version)));
        }
        let connections: BTreeSet<&str> = wanted.iter().map(|(connection, _)| *connection).collect();
        let inventories = pieces.iter().filter_map(|piece| match &piece.piece {
            Some(Piece::Inventory(inventory)) => Some(inventory),
            _ => None,
        });
        let (mut versions, mut links) = (BTreeSet::new(), BTreeSet::new());
        for inventory in inventories {
            let named = inventory.versions.iter().map(|version| (version.connection_id.as_str(), version.version));
            versions.extend(named.filter(|(connection, _)| connections.contains(connection)));
            links.extend(&inventory.link_ids);
        }
        ensure(versions == wanted, "in the inventory exactly the versions that were read", || {
            format!("{} versions, wanted {}", versions.len(), wanted.len())
        })?;
        ensure(links.len() == LINKS, "every link in the inventory", || format!("{} of {LINKS}", links.len()))
    }

    /// Who got the token and who was refused is what the trail is for.
    fn reads_and_denials_stand_there(&self, reads: &[Record]) -> Checked<()> {
        let stands = |kind: EventKind, outcome: Outcome, actor: &str| {
            let mut events = reads.iter().flat_map(|record| &record.events);
            events.any(|event| event.kind == kind && event.outcome == outcome && event.actor == actor)
        };
        let callers = &self.callers;
        let read = stands(EventKind::TokenRead, Outcome::Success, &callers.payments.id);
        ensure(read, "the reads of payments on record", || "none".to_owned())?;
        for denied in [&callers.stranger, &callers.onboarding, &callers.auditor] {
            let stands = stands(EventKind::TokenRead, Outcome::Denied, &denied.id);
            ensure(stands, &format!("the denial of {} on record", denied.id), || "none".to_owned())?;
        }
        Ok(())
    }

    /// Every file, the log and the records, byte by byte.
    pub(super) fn nothing_in_clear(&self) -> Checked<Told> {
        let mut needles = Vec::new();
        for shop in [&self.bakery, &self.books, &self.stall] {
            needles.extend(shop.secrets());
            let token = shop.token()?;
            needles.extend(Needle::new(format!("newest token of {}", shop.external_id), token.token.clone()));
        }
        let search = Search::new(&needles);
        let remembered = Search::new(&self.evidence.needles);
        let log = self.site.log();
        let files = Files::read(self.site.dir())?;
        self.search_works(&files, &log)?;

        let places = files.contents.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        let log_place = std::iter::once(("the log", log.as_slice()));
        let records = self.evidence.records.iter().map(|record| ("a trail record", record.as_slice()));
        for (place, bytes) in places.chain(log_place).chain(records) {
            let found = search.find(bytes).into_iter().chain(remembered.find(bytes)).next();
            if let Some(hit) = found {
                return Err(Unmet::new("nothing secret in clear", format!("{} ({}) in {place}", hit.what, hit.form)));
            }
        }
        Ok(Told::new(
            format!(
                "Every file of the product ({} files, {} KiB), its log and the exported records are searched byte by byte.",
                files.contents.len(),
                files.bytes() / 1024
            ),
            format!(
                "None of {} secrets is there in any of {} forms: tokens, codes, states, cookies, names, addresses, passwords. \
                 A canary was found in every form, and external ids where they belong.",
                needles.len() + self.evidence.needles.len(),
                search.patterns() + remembered.patterns()
            ),
        ))
    }

    /// The positive control: the same search finds a canary in every form, and what is known to be in database, trail and log.
    fn search_works(&self, files: &Files, log: &[u8]) -> Checked<()> {
        let canary: Vec<Needle> = Needle::new("canary", CANARY).into_iter().collect();
        let path = self.site.dir().join(CANARY_FILE);
        let forms: Vec<(&str, Vec<u8>)> = canary.iter().flat_map(Needle::forms).collect();
        let bytes: Vec<u8> = forms.iter().flat_map(|(_, form)| [form.as_slice(), b"\0\n"].concat()).collect();
        let broken = |error: std::io::Error| Unmet::new("a file for the canary", error.to_string());
        fs::write(&path, &bytes).map_err(broken)?;
        let with_canary = Files::read(self.site.dir());
        fs::remove_file(&path).map_err(broken)?;
        let search = Search::new(&canary);
        let with_canary = with_canary?;
        let found: usize = with_canary.contents.iter().map(|(_, bytes)| search.find(bytes).len()).sum();
        ensure(found > 0 && found == forms_by_name(&forms), "the canary to be found in every form", || {
            format!("{found} of {}", forms_by_name(&forms))
        })?;
        let known = |text: &str, bytes: &[u8]| {
            let needle: Vec<Needle> = Needle::new("known", text).into_iter().collect();
            !Search::new(&needle).find(bytes).is_empty()
        };
        let id = self.bakery.external_id;
        let in_files = files.contents.iter().any(|(_, bytes)| known(id, bytes));
        ensure(in_files, "the external id in the database, where it belongs", || "not found".to_owned())?;
        let connection = &self.bakery.token()?.version.connection_id;
        ensure(known(connection, log), "the connection's id in the log, where it belongs", || {
            format!("not found in {} bytes", log.len())
        })
    }
}

fn verify(pieces: &[ExportTrailResponse]) -> Verdict {
    let mut verification = Verification::new(None);
    pieces.iter().cloned().for_each(|piece| verification.push(piece));
    verification.finish()
}

fn record(piece: &ExportTrailResponse) -> Option<&TrailRecord> {
    match &piece.piece {
        Some(Piece::Record(record)) => Some(record),
        _ => None,
    }
}

/// The negative control: one flipped bit of one record, whichever it is, and the export does not verify any more.
fn a_forged_record_is_noticed(pieces: &[ExportTrailResponse]) -> Checked<()> {
    let places = pieces.iter().enumerate().filter(|(_, piece)| record(piece).is_some()).map(|(place, _)| place);
    for place in places.step_by(FORGED_EVERY) {
        let mut forged = pieces.to_vec();
        if let Some(Piece::Record(record)) = forged.get_mut(place).and_then(|piece| piece.piece.as_mut())
            && let Some(byte) = record.record.last_mut()
        {
            *byte ^= 1;
        }
        ensure(!verify(&forged).has_integrity(), "a forged record to be noticed", || "it verified".to_owned())?;
    }
    Ok(())
}

/// How many different names the forms have: the search tells hits apart by name.
fn forms_by_name(forms: &[(&str, Vec<u8>)]) -> usize {
    forms.iter().map(|(name, _)| name).collect::<std::collections::BTreeSet<_>>().len()
}

/// Files with what is in them. A database of a demo is small.
struct Files {
    contents: Vec<(String, Vec<u8>)>,
}

impl Files {
    fn read(dir: &Path) -> Checked<Self> {
        let broken = |error: std::io::Error| Unmet::new("to read every file of the product", error.to_string());
        let mut contents = Vec::new();
        for path in files_below(dir).map_err(broken)? {
            match fs::read(&path) {
                Ok(bytes) => contents.push((path.strip_prefix(dir).unwrap_or(&path).display().to_string(), bytes)),
                // A file that is gone by now holds nothing.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(broken(error)),
            }
        }
        ensure(!contents.is_empty(), "files of the product", || "none".to_owned())?;
        Ok(Self { contents })
    }

    fn bytes(&self) -> usize {
        self.contents.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}
