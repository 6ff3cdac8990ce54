//! A file that one process owns.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{CHECK, belongs_elsewhere, whose};
use crate::config::Config;
use crate::domain::app::App;
use crate::domain::finding::Finding;
use crate::store::{Error, Inspection, SCHEMA_NEWEST, Store};

/// Permission bits of everybody but the owner.
const MODE_OTHERS: u32 = 0o077;

pub(super) async fn examine(config: &Config, path: &Path, check_value: Option<[u8; 16]>) -> Finding {
    let shown = path.display();
    match Store::inspect(path, check_value).await {
        Ok(Inspection::Absent) => Finding::ok(CHECK, format!("{shown} is not there yet: the first start makes it")),
        Ok(Inspection::InUse) => {
            Finding::ok(CHECK, format!("{shown} is in use by a running process; stop it to look inside"))
        }
        Ok(Inspection::Free { schema, app }) => free(config, path, schema, app.as_ref()),
        Err(error) => Finding::fail(CHECK, format!("{shown}: {error}"), mend(&error)),
    }
}

fn free(config: &Config, path: &Path, schema: i64, app: Option<&App>) -> Finding {
    let shown = path.display();
    if let Some(finding) = belongs_elsewhere(config, &shown.to_string(), app) {
        return finding;
    }
    if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & MODE_OTHERS != 0) {
        let what = format!("{shown} is open to others than its owner");
        return Finding::warn(CHECK, what, format!("chmod 600 {shown}; the next start does it as well"));
    }
    if (1..SCHEMA_NEWEST).contains(&schema) {
        let what = format!("{shown} has schema version {schema}, this build has {SCHEMA_NEWEST}");
        return Finding::warn(CHECK, what, "back it up and run `strongroom migrate`; otherwise the next start does it");
    }
    Finding::ok(CHECK, format!("{shown} is sound, has schema version {schema} and {}", whose(app)))
}

const fn mend(error: &Error) -> &'static str {
    match error {
        Error::KeyringDiffers => "give the keyring that it was first started with: no other opens its tokens",
        Error::SchemaTooNew { .. } => "use the build that wrote it, or a newer one",
        Error::Corrupt(_) => "stop here and restore it from a backup; keep the damaged file",
        Error::Io(_) | Error::Unavailable { .. } | Error::BadUrl(_) => {
            "check the path, its file system and the rights of the user that the service runs as"
        }
        _ => "try again; if it stays, keep the file and look at it with care",
    }
}
