//! Files that only their owner may read, written whole or not at all.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::site::SiteError;

/// Makes the directory, and those above it, with mode 0700.
pub(super) fn make_private_dir(path: &Path) -> Result<(), SiteError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|why| SiteError::file(path, &why))
}

/// Replaces the file, mode 0600, by way of a temporary one beside it.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), SiteError> {
    let beside = path.with_extension("new");
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|why| SiteError::file(path, &why))
}
