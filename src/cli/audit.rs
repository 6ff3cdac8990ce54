//! `audit …`: look through events and provider calls; fetch the trails and verify them at the client.

mod calls;
mod events;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tonic::transport::Channel;

use super::Global;
use super::answer::Answer;
use super::export::{Reader, Writer};
use super::failure::Failure;
use super::text::{self, ABSENT, table};
use super::verify::{Completeness, KeyTrust, TrailVerdict, Verdict, Verification, hex};
use crate::domain::trail::{PublicKey, view};
use crate::v1;
use crate::v1::TrailKind;
use crate::v1::audit_service_client::AuditServiceClient;
use crate::v1::export_trail_response::Piece;

const CALLER: &str = "auditor";
/// Longest key file: 64 digits and a line end; more is something else.
const KEY_FILE_BYTES_MAX: u64 = 1024;

const TRUST_WARNING: &str = "the public key is the server's own word (trust on first use). Whoever controls the server could have made \
    these trails anew. Compare the key with one that you got another way, and give it with --public-key.";

const VERIFY_HELP: &str = "\
Examples:
  strongroom audit verify --public-key audit.pub      verify the server's trails now
  strongroom audit verify --save trails.export        and keep what was verified
  strongroom audit verify --file trails.export --public-key audit.pub
                                                      verify a kept export, offline

Integrity: no record of any trail was altered, dropped, doubled or reordered. Completeness: every
token version and every link has its record, and no trail is missing. Neither shows that the newest
records are gone: compare the heads with ones you kept.";
const KEY_HELP: &str = "\
Example:
  strongroom audit public-key > audit.pub";

const EXPORT_HELP: &str = "\
Example:
  strongroom audit export trails.export
  strongroom audit verify --file trails.export --public-key audit.pub

The file has every record as it was signed; verifying needs nothing but it and the public key.
`audit verify --save` does both at once.";

/// The commands about the audit.
#[derive(Debug, clap::Subcommand)]
pub enum AuditCommand {
    /// Lists events of the trails, newest first: who held which token when, what became of a merchant.
    #[command(after_help = events::HELP)]
    List(events::List),
    /// Lists calls to the provider, newest first, also those that failed or were never answered.
    #[command(after_help = calls::HELP)]
    Calls(calls::Calls),
    /// Fetches every trail into a file, as it was signed, without verifying it.
    #[command(after_help = EXPORT_HELP)]
    Export {
        /// The new file (mode 0600).
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Fetches every trail and verifies it here, with nothing but the public key.
    ///
    /// The server only hands out signed records; what they prove is worked out on this machine. Ends with exit code 0 only if both
    /// integrity and completeness hold.
    #[command(after_help = VERIFY_HELP)]
    Verify(Verify),
    /// Prints the public key that the server says it signs with.
    ///
    /// Get it once, compare it with the one that the operators of the keyring publish, and keep it for `audit verify --public-key`.
    #[command(after_help = KEY_HELP)]
    PublicKey,
}

/// What to verify.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// Verifies a saved export instead of asking the server.
    #[arg(long, value_name = "EXPORT", conflicts_with = "save")]
    file: Option<PathBuf>,
    /// The audit's public key: 64 hexadecimal digits, or a file with them (or with the 32 bytes).
    #[arg(long, value_name = "HEX_OR_FILE")]
    public_key: Option<String>,
    /// Keeps the export in this new file (mode 0600).
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

pub(crate) async fn run(command: AuditCommand, global: &Global) -> Result<Answer, Failure> {
    match command {
        AuditCommand::List(list) => list.run(global).await,
        AuditCommand::Calls(calls) => calls.run(global).await,
        AuditCommand::Export { file } => save(&file, global).await,
        AuditCommand::Verify(verify) => verify.run(global).await,
        AuditCommand::PublicKey => {
            let mut stream = export(global).await?;
            let first = stream.message().await?.and_then(|response| response.piece);
            let Some(Piece::PublicKey(bytes)) = first else { return Err(Failure::Answer("the public key")) };
            let key = bytes.as_slice().try_into().map(PublicKey).map_err(|_| Failure::Answer("a usable public key"))?;
            Ok(public_key(&key))
        }
    }
}

async fn client(global: &Global) -> Result<AuditServiceClient<Channel>, Failure> {
    Ok(AuditServiceClient::new(global.connect(CALLER).await?))
}

async fn export(global: &Global) -> Result<tonic::Streaming<v1::ExportTrailResponse>, Failure> {
    Ok(client(global).await?.export_trail(v1::ExportTrailRequest {}).await?.into_inner())
}

/// Keeps an export in a file, unverified.
async fn save(file: &Path, global: &Global) -> Result<Answer, Failure> {
    // The file first: an export that then has nowhere to go would stand in the audit for nothing.
    let mut copy = Writer::create(file)?;
    let (mut trails, mut records) = (0_u64, 0_u64);
    let mut stream = export(global).await?;
    while let Some(piece) = stream.message().await? {
        match &piece.piece {
            Some(Piece::Header(_)) => trails = trails.saturating_add(1),
            Some(Piece::Record(_)) => records = records.saturating_add(1),
            _ => {}
        }
        copy.push(&piece)?;
    }
    copy.keep()?;
    Ok(saved(file, trails, records))
}

fn saved(file: &Path, trails: u64, records: u64) -> Answer {
    let name = file.display().to_string();
    let text = format!(
        "{records} records of {trails} trails written to {name}, not verified yet: strongroom audit verify --file {name}"
    );
    Answer::new(json!({ "file": name, "trails": trails, "records": records }), text)
}

impl Verify {
    async fn run(self, global: &Global) -> Result<Answer, Failure> {
        let key = self.public_key.as_deref().map(parse_key).transpose()?;
        let mut verification = Verification::new(key);
        if let Some(path) = &self.file {
            let mut export = Reader::open(path)?;
            while let Some(piece) = export.next()? {
                verification.push(piece);
            }
            return Ok(verdict(&verification.finish()));
        }
        let mut copy = self.save.as_deref().map(Writer::create).transpose()?;
        let mut stream = export(global).await?;
        while let Some(piece) = stream.message().await? {
            if let Some(copy) = &mut copy {
                copy.push(&piece)?;
            }
            verification.push(piece);
        }
        copy.map(Writer::keep).transpose()?;
        Ok(verdict(&verification.finish()))
    }
}

/// Reads 64 hexadecimal digits, or the file of that name.
fn parse_key(text: &str) -> Result<PublicKey, Failure> {
    if let Some(key) = unhex(text) {
        return Ok(key);
    }
    let path = Path::new(text);
    let fault = |fault| Failure::file(path, fault);
    let bad = || Failure::Usage(format!("{text}: neither 64 hexadecimal digits nor a file with a public key"));
    if fs::metadata(path).map_err(fault)?.len() > KEY_FILE_BYTES_MAX {
        return Err(bad());
    }
    let bytes = fs::read(path).map_err(fault)?;
    let digits = std::str::from_utf8(&bytes).ok().and_then(|text| unhex(text.trim()));
    digits.or_else(|| bytes.as_slice().try_into().ok().map(PublicKey)).ok_or_else(bad)
}

fn unhex(text: &str) -> Option<PublicKey> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut key = [0; 32];
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(0)?.checked_mul(16)?.checked_add(digit(1)?)?;
    }
    Some(PublicKey(key))
}

fn public_key(key: &PublicKey) -> Answer {
    let value = json!({ "public_key": hex(key), "trust": trust(KeyTrust::ServersWord) });
    Answer { warning: Some(TRUST_WARNING.to_owned()), ..Answer::new(value, hex(key)) }
}

const fn trust(trust: KeyTrust) -> &'static str {
    match trust {
        KeyTrust::Given => "given",
        KeyTrust::ServersWord => "servers_word",
    }
}

fn verdict(verdict: &Verdict) -> Answer {
    let warning = verdict.key.filter(|(_, trust)| *trust == KeyTrust::ServersWord).map(|_| TRUST_WARNING.to_owned());
    Answer { warning, holds: verdict.holds(), ..Answer::new(verdict_to_json(verdict), verdict_to_text(verdict)) }
}

fn verdict_to_text(verdict: &Verdict) -> String {
    let mut lines = Vec::new();
    if verdict.has_integrity() {
        lines.push(format!(
            "integrity     HOLDS: {} trails, {} records, {} events; every hash and signature is right",
            verdict.trails.len(),
            verdict.records(),
            verdict.events()
        ));
    } else {
        lines.push("integrity     DOES NOT HOLD".to_owned());
        lines.extend(verdict.integrity.iter().map(|problem| format!("  - {problem}")));
        if verdict.suppressed > 0 {
            lines.push(format!("  - and {} more", verdict.suppressed));
        }
    }
    match &verdict.completeness {
        Completeness::Holds => lines.push(format!(
            "completeness  HOLDS: {} token versions and {} links have their records, no trail is missing",
            verdict.versions, verdict.links
        )),
        Completeness::Missing { .. } => {
            lines.push("completeness  DOES NOT HOLD".to_owned());
            lines.extend(missing(&verdict.completeness).into_iter().map(|missing| format!("  - {missing}")));
        }
        Completeness::NotJudged => lines.push("completeness  NOT JUDGED: it stands on integrity".to_owned()),
    }
    let key = match &verdict.key {
        Some((key, KeyTrust::Given)) => format!("{} (given by you)", hex(key)),
        Some((key, KeyTrust::ServersWord)) => format!("{} (the server's own word)", hex(key)),
        None => ABSENT.to_owned(),
    };
    lines.push(format!("public key    {key}"));
    let mut text = lines.join("\n");
    text.push('\n');
    if !verdict.trails.is_empty() {
        text.push('\n');
        text.push_str(&trails_table(verdict));
    }
    for trail in &verdict.open {
        text.push_str(&format!("\nnote: {trail} was never closed: its process runs, or ended without a chance to.\n"));
    }
    for (trail, steps) in steps_back(verdict) {
        text.push_str(&format!("\nnote: {trail}: the clock was set back {steps} times.\n"));
    }
    text
}

fn trails_table(verdict: &Verdict) -> String {
    table(
        ["TRAIL", "KIND", "RECORDS", "EVENTS", "FIRST", "LAST", "HEAD"],
        verdict.trails.iter().map(|TrailVerdict { trail, kind, result }| {
            let Ok(report) = result else {
                let absent = || ABSENT.to_owned();
                return [
                    trail.to_string(),
                    kind_name(*kind).to_owned(),
                    "FAULTY".to_owned(),
                    absent(),
                    absent(),
                    absent(),
                    absent(),
                ];
            };
            let time = |at: Option<crate::domain::ambient::Timestamp>| {
                at.map_or_else(|| ABSENT.to_owned(), crate::domain::ambient::Timestamp::to_rfc3339)
            };
            [
                trail.to_string(),
                kind_name(*kind).to_owned(),
                report.records.to_string(),
                report.events.to_string(),
                time(report.first_at),
                time(report.last_at),
                view::hash(&report.head.hash),
            ]
        }),
    )
}

fn verdict_to_json(verdict: &Verdict) -> Value {
    let completeness = match &verdict.completeness {
        Completeness::Holds => "holds",
        Completeness::Missing { .. } => "missing",
        Completeness::NotJudged => "not_judged",
    };
    json!({
        "holds": verdict.holds(),
        "integrity": {
            "holds": verdict.has_integrity(),
            "problems": verdict.integrity.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "further_problems": verdict.suppressed,
        },
        "completeness": {
            "holds": verdict.is_complete(),
            "result": completeness,
            "missing": missing(&verdict.completeness),
        },
        "public_key": verdict.key.map(|(key, from)| json!({ "key": hex(&key), "trust": trust(from) })),
        "trails": verdict.trails.iter().map(trail_to_json).collect::<Vec<_>>(),
        "records": verdict.records(),
        "events": verdict.events(),
        "versions": verdict.versions,
        "links": verdict.links,
        "open_trails": verdict.open.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn trail_to_json(trail: &TrailVerdict) -> Value {
    let report = trail.result.ok();
    json!({
        "trail": trail.trail.to_string(),
        "kind": kind_name(trail.kind),
        "fault": trail.result.err().map(|fault| fault.to_string()),
        "records": report.map(|report| report.records),
        "events": report.map(|report| report.events),
        "first_time": report.and_then(|report| report.first_at).map(|at| at.to_rfc3339()),
        "last_time": report.and_then(|report| report.last_at).map(|at| at.to_rfc3339()),
        "head": report.map(|report| view::hash(&report.head.hash)),
        "clock_steps_back": report.map(|report| report.steps_back),
    })
}

fn missing(completeness: &Completeness) -> Vec<String> {
    let Completeness::Missing { missing, inventory } = completeness else { return Vec::new() };
    let cut = "inventory lists no token versions, or no links, although some were recorded";
    missing.iter().map(ToString::to_string).chain(inventory.then(|| cut.to_owned())).collect()
}

fn steps_back(verdict: &Verdict) -> impl Iterator<Item = (String, u64)> {
    let reports = verdict.trails.iter().filter_map(|trail| trail.result.ok());
    reports.filter(|report| report.steps_back > 0).map(|report| (report.trail.to_string(), report.steps_back))
}

const fn kind_name(kind: TrailKind) -> &'static str {
    match kind {
        TrailKind::Change => "change",
        TrailKind::Read => "read",
        TrailKind::Unspecified => text::ABSENT,
    }
}

#[cfg(test)]
mod tests;
