//! A look at the database that changes nothing: for somebody who wants to know whether a start would succeed.

/// Whom a database of this schema belongs to, whichever engine it is; refuses one that was stamped with another keyring.
macro_rules! app_of {
    ($conn:expr, $check_value:expr) => {{
        let deployment = sqlx::query_as::<_, $crate::store::DeploymentRow>($crate::store::DEPLOYMENT);
        match deployment.fetch_optional(&mut *$conn).await? {
            None => None,
            Some(row) if $check_value.is_some_and(|value| row.key_check != value) => return Err(Error::KeyringDiffers),
            Some(row) => {
                let app = sqlx::query_as::<_, $crate::store::AppRow>($crate::store::APP).bind(row.app_id);
                let app = app.fetch_optional(&mut *$conn).await?.ok_or(Error::Corrupt("app of the deployment"))?;
                Some(App::try_from(app)?)
            }
        }
    }};
}

pub(in crate::store) mod postgres;

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::error::Error;
use super::{Result, Store, schema, sqlite};
use crate::domain::app::App;

/// What is where the database should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Inspection {
    /// Nothing yet: the first start makes it.
    Absent,
    /// A running process has it. Nothing was looked at.
    InUse,
    /// A sound database that no process has.
    Free {
        /// Its schema's version; 0 when it is empty.
        schema: i64,
        /// Whom it belongs to; `None` before the first start.
        app: Option<App>,
    },
}

impl Store {
    /// Looks at a file: its integrity, its schema and its stamp, and whether it was stamped with this keyring, if one is
    /// given. Writes nothing, makes no file, and holds the lock meanwhile, so that no process starts on it.
    ///
    /// # Errors
    /// As of [`Store::open_with`], [`Error::Locked`] apart.
    pub async fn inspect(path: &Path, check_value: Option<[u8; 16]>) -> Result<Inspection> {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Inspection::Absent),
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        let Some(_lock) = lock(path)? else { return Ok(Inspection::InUse) };
        let mut conn = options(path).connect().await?;
        let looked = look(&mut conn, check_value).await;
        conn.close().await?;
        looked
    }
}

async fn look(conn: &mut SqliteConnection, check_value: Option<[u8; 16]>) -> Result<Inspection> {
    sqlite::check_integrity(conn).await?;
    let schema = schema::sqlite::version(conn).await?;
    schema::sqlite::usable(conn, schema).await?;
    let app = if schema == 0 { None } else { app_of!(conn, check_value) };
    Ok(Inspection::Free { schema, app })
}

/// The lock, if no process has it; whoever has the database open has made its file.
fn lock(path: &Path) -> Result<Option<Option<File>>> {
    let file = match File::open(with_suffix(path, ".lock")) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Some(None)),
        Err(error) => return Err(error.into()),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Some(file))),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(Error::Io(std::io::Error::from(errno).kind())),
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    // After an orderly end there is no write-ahead log, and the file may be taken for immutable, so that SQLite makes no shared
    // memory beside it. After a crash the log is part of the database and must be read; the database file stays as it is.
    let log_left = std::fs::metadata(with_suffix(path, "-wal")).is_ok_and(|log| log.len() > 0);
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(!log_left)
        .create_if_missing(false)
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
