//! Files that only their owner may read, never written over another.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::failure::Failure;

/// A new file with mode 0600. Gone again when it is dropped before [`PrivateFile::keep`]: half a file is worse than none.
#[derive(Debug)]
pub(crate) struct PrivateFile {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl PrivateFile {
    /// Makes the file.
    ///
    /// # Errors
    /// [`Failure::File`], also when something has that name already.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|fault| Failure::file(path, fault))?;
        Ok(Self { file, path: path.to_owned(), kept: false })
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// [`Failure::File`].
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|fault| self.fault(fault))
    }

    /// Makes the file durable and keeps it.
    ///
    /// # Errors
    /// [`Failure::File`].
    pub(crate) fn keep(mut self) -> Result<(), Failure> {
        self.file.sync_all().map_err(|fault| self.fault(fault))?;
        self.kept = true;
        Ok(())
    }

    fn fault(&self, fault: io::Error) -> Failure {
        Failure::file(&self.path, fault)
    }
}

impl Drop for PrivateFile {
    fn drop(&mut self) {
        if !self.kept {
            // If it cannot be removed, the failure that brought us here is still the one to tell.
            let _left = fs::remove_file(&self.path);
        }
    }
}
