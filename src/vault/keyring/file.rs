//! The file that holds a keyring: who may own it, how it is read and made.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, RenameFlags, fchmod, fstat, fsync, open, renameat_with, unlink};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::{FILE_BYTES_MAX, KeyringError};

/// Rights of the group and of everybody else.
const OTHERS: u32 = 0o077;

/// Everything a mode says about rights.
const PERMISSION_BITS: u32 = 0o7777;

pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
    // NONBLOCK: a pipe must be refused, not waited for. Checks go to the open file, so that none is swapped in between.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = open(path, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::LOOP => KeyringError::Symlink,
        errno => io("opened", errno),
    })?;
    let stat = fstat(&fd).map_err(|errno| io("examined", errno))?;
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    check(stat.st_mode, stat.st_uid, size, rustix::process::geteuid().as_raw())?;
    // One byte more than allowed shows a file that grew; the room is there from the start, so that no copy is left behind.
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX.saturating_add(64)));
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::from(fd).take(limit).read_to_end(&mut text).map_err(|source| KeyringError::Io { action: "read", source })?;
    if text.len() > FILE_BYTES_MAX { Err(KeyringError::TooLarge) } else { Ok(text) }
}

pub(super) fn create(path: &Path, text: &[u8]) -> Result<(), KeyringError> {
    let temporary = temporary(path);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = open(&temporary, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| io("created", errno))?;
    let written = write(File::from(fd), text).and_then(|()| publish(&temporary, path));
    if written.is_err() {
        // Best effort: the error that matters is the one above.
        let _ = unlink(&temporary);
    }
    written
}

fn check(mode: u32, owner: u32, size: u64, user: u32) -> Result<(), KeyringError> {
    if FileType::from_raw_mode(mode) != FileType::RegularFile {
        return Err(KeyringError::NotRegular);
    }
    if owner != user {
        return Err(KeyringError::Owner { owner, user });
    }
    if mode & OTHERS != 0 {
        return Err(KeyringError::Permissions { mode: mode & PERMISSION_BITS });
    }
    if usize::try_from(size).is_ok_and(|size| size <= FILE_BYTES_MAX) { Ok(()) } else { Err(KeyringError::TooLarge) }
}

fn write(mut file: File, text: &[u8]) -> Result<(), KeyringError> {
    // The umask may have taken rights away from the owner.
    fchmod(file.as_fd(), Mode::RUSR | Mode::WUSR).map_err(|errno| io("protected", errno))?;
    file.write_all(text).map_err(|source| KeyringError::Io { action: "written", source })?;
    fsync(file.as_fd()).map_err(|errno| io("made durable", errno))
}

fn publish(temporary: &Path, path: &Path) -> Result<(), KeyringError> {
    renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE).map_err(|errno| match errno {
        Errno::EXIST => KeyringError::Exists,
        errno => io("renamed", errno),
    })?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(directory, flags, Mode::empty()).map_err(|errno| io("made durable", errno))?;
    fsync(directory).map_err(|errno| io("made durable", errno))
}

/// A name beside the file, on the same file system, that no other running process uses.
fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

fn io(action: &'static str, errno: Errno) -> KeyringError {
    KeyringError::Io { action, source: errno.into() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::Keyring;
    use super::*;
    use crate::domain::ambient::{SystemEntropy, Timestamp};

    const REGULAR: u32 = 0o100_600;

    fn keyring() -> Keyring {
        Keyring::generate(&SystemEntropy, Timestamp::from_unix_seconds(1_800_000_000))
    }

    #[test]
    fn a_new_file_is_the_owners_alone_loads_again_and_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keyring.json");
        let keyring = keyring();
        keyring.create_file(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode(), REGULAR);
        assert_eq!(fs::read(&path).unwrap(), **super::super::text::render(&Keyring::load(&path).unwrap()));

        let before = fs::read(&path).unwrap();
        assert!(matches!(keyring.create_file(&path), Err(KeyringError::Exists)));
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_symbolic_link_is_refused_even_to_a_good_file() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("keyring.json"), directory.path().join("link"));
        keyring().create_file(&path).unwrap();
        symlink(&path, &link).unwrap();
        assert!(matches!(Keyring::load(&link), Err(KeyringError::Symlink)));
        assert!(matches!(keyring().create_file(&link), Err(KeyringError::Exists)));
    }

    #[test]
    fn every_right_of_others_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keyring.json");
        keyring().create_file(&path).unwrap();
        for bit in [0o001, 0o002, 0o004, 0o010, 0o020, 0o040] {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600 | bit)).unwrap();
            let Err(KeyringError::Permissions { mode }) = Keyring::load(&path) else { panic!("{bit:o} was accepted") };
            assert_eq!(mode, 0o600 | bit);
        }
    }

    #[test]
    fn what_is_no_file_of_ours_or_no_keyring_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(Keyring::load(directory.path()), Err(KeyringError::NotRegular)));
        assert!(matches!(
            Keyring::load(&directory.path().join("none")),
            Err(KeyringError::Io { action: "opened", .. })
        ));
        assert!(matches!(check(REGULAR, 7, 10, 8), Err(KeyringError::Owner { owner: 7, user: 8 })));
        assert!(matches!(check(0o010_600, 7, 10, 7), Err(KeyringError::NotRegular)));

        let large = directory.path().join("large");
        fs::write(&large, vec![b' '; FILE_BYTES_MAX + 1]).unwrap();
        fs::set_permissions(&large, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(Keyring::load(&large), Err(KeyringError::TooLarge)));
    }
}
