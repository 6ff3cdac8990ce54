//! A look at the database that changes nothing: for somebody who wants to know whether a start would succeed.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::error::Error;
use super::{APP, AppRow, DEPLOYMENT, DeploymentRow, Location, Result, Store, schema, sqlite};
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
    /// Looks at the database: its integrity, its schema and its stamp, and whether it was stamped with this keyring, if one is
    /// given. Writes nothing, makes no file, and holds the lock meanwhile, so that no process starts on it.
    ///
    /// # Errors
    /// As of [`Store::open_with`], [`Error::Locked`] apart.
    pub async fn inspect(location: &Location, check_value: Option<[u8; 16]>) -> Result<Inspection> {
        let Location::Sqlite(path) = location else { return Err(Error::BadUrl("not yet")) };
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
    if schema == 0 {
        return Ok(Inspection::Free { schema, app: None });
    }
    let deployment = sqlx::query_as::<_, DeploymentRow>(DEPLOYMENT).fetch_optional(&mut *conn).await?;
    let Some(deployment) = deployment else { return Ok(Inspection::Free { schema, app: None }) };
    if check_value.is_some_and(|value| deployment.key_check != value) {
        return Err(Error::KeyringDiffers);
    }
    let app = sqlx::query_as::<_, AppRow>(APP).bind(deployment.app_id).fetch_optional(conn).await?;
    let app = app.ok_or(Error::Corrupt("app of the deployment"))?;
    Ok(Inspection::Free { schema, app: Some(App::try_from(app)?) })
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
