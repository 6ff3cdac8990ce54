//! What is wrong with this installation, and how to mend it: everything that a start would stumble over, all of it at once.
//!
//! It looks and changes nothing: it signs no record, writes no row, brings no schema up to date. The one call it makes to the
//! provider has no effect there.

mod certificates;
mod database;
mod remote;

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::config::{Config, FILE_BYTES_MAX, Source};
use crate::domain::ambient::Clock;
use crate::domain::finding::Finding;
use crate::policy::SharedPolicy;
use crate::vault::{Keyring, Vault};

const CONFIGURATION: &str = "configuration";
const SECRETS: &str = "secret files";
const KEYRING: &str = "keyring";
const GRANTS: &str = "grants";
/// Write permission of everybody but the owner, and the sticky bit, under which it lets nobody replace another's file.
const MODE_OTHERS_WRITE: u32 = 0o022;
const MODE_STICKY: u32 = 0o1000;

/// Examines the installation that this file configures. Never fails: what cannot be examined is a finding. Takes as long as
/// the integrity check of the database and one call to the provider.
pub async fn examine(path: &Path, source: &dyn Source, clock: &Arc<dyn Clock>) -> Vec<Finding> {
    let config = match configuration(path, source) {
        Ok(config) => config,
        Err(findings) => return findings,
    };
    let mut findings = vec![Finding::ok(CONFIGURATION, format!("{} is complete", path.display()))];
    if let Some(sandbox) = &config.provider {
        let what = format!("a sandbox at {} stands in for the provider, time scale {}", sandbox.api, config.time_scale);
        findings.push(Finding::warn(
            CONFIGURATION,
            what,
            "remove [provider] and time_scale before real merchants come",
        ));
    }
    findings.push(secret_files(&config));
    let (found, check_value) = keyring(&config.keyring_file);
    findings.push(found);
    findings.push(grants(&config.policy_file));
    findings.extend(certificates::examine(&config, clock));
    findings.extend(database::examine(&config, check_value, clock).await);
    findings.extend(remote::examine(&config, &**clock).await);
    findings
}

fn configuration(path: &Path, source: &dyn Source) -> Result<Config, Vec<Finding>> {
    let text = read(path).map_err(|error| {
        let what = format!("{} cannot be read: {}", path.display(), error.kind());
        vec![Finding::fail(CONFIGURATION, what, "name the file; `strongroom serve --example` prints one to begin with")]
    })?;
    Config::load(source, Some(&text)).map_err(|errors| {
        let finding = |fault: &crate::config::Fault| {
            let place = fault.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
            Finding::fail(CONFIGURATION, format!("{}{place}: {}", fault.key, fault.rule), fault.mend.clone())
        };
        errors.faults().iter().map(finding).collect()
    })
}

/// A byte more than allowed is enough for the check of the length.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

/// Whose they are and what their mode is was looked at with the configuration; here: whether somebody else can swap them, and
/// whether there is a secret in the one that has no form of its own.
fn secret_files(config: &Config) -> Finding {
    let files = [&config.client_secret_file, &config.keyring_file, &config.grpc.key_file, &config.public.key_file];
    for directory in files.into_iter().filter_map(|file| file.parent()) {
        let mode = fs::metadata(directory).map_or(0, |metadata| metadata.permissions().mode());
        if mode & MODE_OTHERS_WRITE != 0 && mode & MODE_STICKY == 0 {
            let what = format!("others than its owner may replace files in {}", directory.display());
            return Finding::warn(SECRETS, what, format!("chmod go-w {}", directory.display()));
        }
    }
    let path = &config.client_secret_file;
    let secret = match fs::read_to_string(path).map(Zeroizing::new) {
        Ok(secret) => secret,
        Err(error) => {
            let what = format!("client secret {} cannot be read: {}", path.display(), error.kind());
            return Finding::fail(SECRETS, what, "make it readable to the user that the service runs as");
        }
    };
    let secret = secret.trim_end();
    if secret.is_empty() || !secret.bytes().all(|b| b.is_ascii_graphic()) {
        let what = format!("client secret {} is not one word of visible ASCII", path.display());
        return Finding::fail(SECRETS, what, "write the app's secret, and nothing else, into it");
    }
    Finding::ok(SECRETS, "client secret and private keys are closed to others")
}

fn keyring(path: &Path) -> (Finding, Option<[u8; 16]>) {
    match Keyring::load(path) {
        Ok(keyring) => {
            let epochs = keyring.epochs().count();
            let what = format!("{} has {epochs} epoch(s); is there a backup?", path.display());
            (Finding::ok(KEYRING, what), Some(Vault::new(keyring).check_value()))
        }
        Err(error) => {
            let mend = "do as it says; a lost keyring cannot be replaced by a new one (`strongroom key create` is for the first)";
            (Finding::fail(KEYRING, format!("{}: {error}", path.display()), mend), None)
        }
    }
}

fn grants(path: &Path) -> Finding {
    match SharedPolicy::load(path) {
        Ok(_) => Finding::ok(GRANTS, format!("{} is sound", path.display())),
        Err(faults) => Finding::fail(GRANTS, format!("{}: {faults}", path.display()), "mend every line that is named"),
    }
}
