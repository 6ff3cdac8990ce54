//! The policy in force, replaced as a whole while the process runs.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::{FILE_BYTES_MAX, Policy, PolicyErrors};
use crate::domain::trail::Hash;

/// The policy in force. A reload is all or nothing: a file with any fault leaves the last good policy where it is.
#[derive(Debug)]
pub struct SharedPolicy {
    path: PathBuf,
    current: ArcSwap<Policy>,
    /// One reload at a time, so that an older reading never replaces a newer one.
    reloading: Mutex<()>,
}

impl SharedPolicy {
    /// Loads the file. Reads the disk: call it at start or on a thread that may block.
    ///
    /// # Errors
    /// That the file cannot be read, or all of its faults.
    pub fn load(path: &Path) -> Result<Self, PolicyErrors> {
        let policy = read(path)?;
        Ok(Self { path: path.to_owned(), current: ArcSwap::from_pointee(policy), reloading: Mutex::new(()) })
    }

    /// Loads the file again. The next [`snapshot`](Self::snapshot) has the new policy. Reads the disk.
    ///
    /// # Errors
    /// As [`load`](Self::load); then the policy in force stays.
    pub fn reload(&self) -> Result<Hash, PolicyErrors> {
        // The guarded value is empty: a panic of another holder cannot have left it in a bad state.
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let policy = read(&self.path)?;
        let hash = policy.hash();
        self.current.store(Arc::new(policy));
        Ok(hash)
    }

    /// The policy in force now. One decision uses one snapshot throughout.
    pub fn snapshot(&self) -> Arc<Policy> {
        self.current.load_full()
    }
}

fn read(path: &Path) -> Result<Policy, PolicyErrors> {
    let unreadable = |error: std::io::Error| PolicyErrors::of_file(format!("cannot be read: {error}"));
    let mut text = String::new();
    // One byte more than allowed is enough for the parser to see that it is too long.
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text)).map_err(unreadable)?;
    Policy::parse(&text)
}
