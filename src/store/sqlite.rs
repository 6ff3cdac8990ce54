//! What only SQLite needs: its file and lock, how its connections are set up, the check at start.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use rustix::fs::FlockOperation;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::Pools;
use super::error::Error;

/// How long a connection waits for a lock of the file. In one process only a checkpoint or a foreign reader can hold one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a call waits for a connection: longer than `BUSY_TIMEOUT`, so that the cause is what is reported.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// Readers, each a thread of its own; with the hot set cached, four keep two cores busy.
const READERS: u32 = 4;

const QUICK_CHECK: &str = "PRAGMA quick_check(1)";
const JOURNAL_MODE: &str = "PRAGMA journal_mode";

/// Every statement of this file, for the test that prepares them.
#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[QUICK_CHECK, JOURNAL_MODE];

/// A database file that this process owns, until dropped.
#[derive(Debug)]
pub(in crate::store) struct Owned {
    path: PathBuf,
    /// Holds the advisory lock; closing the file gives it up.
    _lock: File,
}

impl Owned {
    /// Makes the file (0600, in a directory of 0700 if that is missing too) and takes its lock.
    pub(in crate::store) fn take(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut lock_path = path.clone().into_os_string();
        lock_path.push(".lock");
        let lock = private_file(Path::new(&lock_path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::Locked),
            Err(errno) => return Err(Error::Io(std::io::Error::from(errno).kind())),
        }
        // SQLite gives -wal and -shm the mode of the database file.
        refuse_network(&private_file(&path)?)?;
        Ok(Self { path, _lock: lock })
    }

    /// One connection for the checks and migrations of a start.
    pub(in crate::store) async fn connect(&self) -> Result<SqliteConnection, Error> {
        Ok(self.writer().connect().await?)
    }

    /// The two pools: one writer, some readers.
    pub(in crate::store) async fn pools(&self) -> Result<Pools, Error> {
        let write = pool(1).connect_with(self.writer()).await?;
        let read = pool(READERS).connect_with(self.options().pragma("query_only", "ON")).await?;
        Ok(Pools::Sqlite { read, write })
    }

    fn writer(&self) -> SqliteConnectOptions {
        self.options().journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full)
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(false)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("trusted_schema", "OFF")
            .pragma("secure_delete", "ON")
            .pragma("cell_size_check", "ON")
            .disable_statement_logging()
    }
}

/// Refuses a file that is damaged, or whose file system cannot do write-ahead logging.
pub(in crate::store) async fn check(conn: &mut SqliteConnection) -> Result<(), Error> {
    check_integrity(conn).await?;
    let journal: String = sqlx::query_scalar(JOURNAL_MODE).fetch_one(conn).await?;
    if journal == "wal" { Ok(()) } else { Err(Error::BadUrl("its file system does not allow write-ahead logging")) }
}

/// Refuses a file that is damaged.
pub(in crate::store) async fn check_integrity(conn: &mut SqliteConnection) -> Result<(), Error> {
    let verdict: String = sqlx::query_scalar(QUICK_CHECK).fetch_one(conn).await?;
    if verdict == "ok" { Ok(()) } else { Err(Error::Corrupt("integrity check of the file")) }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    // Connections to a local file do not go stale: no test before use, no end of life.
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Never names the URL in an error: other engines' URLs carry passwords.
pub(in crate::store) fn path_of(url: &str) -> Result<PathBuf, Error> {
    if !url.starts_with("sqlite:") {
        return Err(Error::BadUrl("it must begin with sqlite:"));
    }
    if url.contains('?') || url.contains(":memory:") {
        return Err(Error::BadUrl("it must name a file and have no parameters"));
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|_| Error::BadUrl("it cannot be parsed"))?;
    let path = options.get_filename();
    if path.file_name().is_none() {
        return Err(Error::BadUrl("it must name a file and have no parameters"));
    }
    Ok(path.to_owned())
}

/// Opens or makes a file that nobody but its owner may read.
fn private_file(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Refuses a file that another machine may have open as well: its locks and shared memory do not reach that far
/// (<https://sqlite.org/wal.html>, "all processes using a database must be on the same host computer").
#[cfg(target_os = "linux")]
fn refuse_network(file: &File) -> Result<(), Error> {
    let kind = rustix::fs::fstatfs(file).map_err(|errno| Error::Io(std::io::Error::from(errno).kind()))?.f_type;
    // What does not fit is no known network file system; their numbers have 32 bits.
    if u32::try_from(kind).is_ok_and(is_network) {
        Err(Error::BadUrl("its file is on a network file system"))
    } else {
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
fn refuse_network(_: &File) -> Result<(), Error> {
    Ok(())
}

/// Numbers of statfs(2): NFS, SMB, CIFS, SMB2, AFS, Ceph.
#[cfg(target_os = "linux")]
const fn is_network(kind: u32) -> bool {
    matches!(kind, 0x6969 | 0x517b | 0xff53_4d42 | 0xfe53_4d42 | 0x5346_414f | 0x00c3_6400)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_network_file_system_is_told_from_a_local_one() {
        assert!(is_network(0x6969), "NFS");
        assert!(!is_network(0xef53), "ext4");
        assert!(!is_network(0x0102_1994), "tmpfs");
        refuse_network(&File::open("/proc/self/stat").unwrap()).unwrap();
    }
}
