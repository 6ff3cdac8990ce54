//! What can go wrong in the store, by class and never by text: a database's words may quote what it was told.

use std::borrow::Cow;

use sqlx::postgres::PgDatabaseError;

use super::postgres::safety::Danger;
use crate::domain::trail::cbor::LimitExceeded;

/// What went wrong. No variant carries a value of a row or the words of the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database cannot do it now (full or failing disk, no connection): nothing was changed, trying again later may help.
    #[error("database is unavailable (code {code})")]
    Unavailable {
        /// The engine's code, or a short name where there is none.
        code: Cow<'static, str>,
    },
    /// Somebody else held the database for too long, after every retry; nothing was changed.
    #[error("database is busy")]
    Busy,
    /// The commit was sent and its answer is not known: the change may stand or not. Never retried blindly.
    #[error("outcome of the commit is unknown (code {code})")]
    CommitUnknown {
        /// The engine's code, or a short name where there is none.
        code: Cow<'static, str>,
    },
    /// What is stored cannot be what we stored.
    #[error("stored data is damaged: {0}")]
    Corrupt(&'static str),
    /// Somebody else was first, or it is no longer in the state it must be in; nothing was changed.
    #[error("conflict: {0}")]
    Conflict(&'static str),
    /// The database refused a statement (a constraint that is none of uniqueness, or the statement itself): a fault of ours.
    #[error("database refused the statement (code {code})")]
    Refused {
        /// The engine's code.
        code: Cow<'static, str>,
    },
    /// A record would be over the limits of the format; nothing was changed.
    #[error("record is over a limit")]
    Limit(#[from] LimitExceeded),
    /// The schema is older than this build can use: run `strongroom migrate`.
    #[error("schema version {found} is older than {oldest}, the oldest this build can use; run `strongroom migrate`")]
    SchemaTooOld {
        /// What the database has; 0 when it is empty.
        found: i64,
        /// What this build needs at least.
        oldest: i64,
    },
    /// The schema is newer than this build knows.
    #[error("schema version {found} is newer than {newest}, the newest this build knows")]
    SchemaTooNew {
        /// What the database has.
        found: i64,
        /// What this build knows.
        newest: i64,
    },
    /// Another process has this database open.
    #[error("another process has this database open")]
    Locked,
    /// The database URL is none that this build can open.
    #[error("unusable database URL: {0}")]
    BadUrl(&'static str),
    /// The database belongs to no app yet: stamp it first.
    #[error("database is not stamped with an app yet")]
    NotStamped,
    /// The database belongs to another app.
    #[error("database belongs to app {stamped}")]
    AppDiffers {
        /// Provider, environment and client id it was stamped with.
        stamped: String,
    },
    /// The database was stamped with another keyring.
    #[error("database was stamped with another keyring")]
    KeyringDiffers,
    /// The server forgets, or lets us do what nobody should be able to: all that is dangerous about it.
    #[error("database is unsafe: {}", .0.iter().map(|danger| danger.text()).collect::<Vec<_>>().join("; "))]
    Unsafe(Vec<Danger>),
    /// The file system said no.
    #[error("file system: {0}")]
    Io(std::io::ErrorKind),
}

impl Error {
    /// Whether the same call may succeed later without anybody's doing. [`Error::CommitUnknown`] is not such a one.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Busy)
    }

    /// Whether the connection is what failed: another one may do.
    pub(in crate::store) fn is_broken_connection(&self) -> bool {
        // admin_shutdown, crash_shutdown; connection exceptions.
        matches!(self, Self::Unavailable { code } if matches!(&**code, "io" | "protocol" | "57P01" | "57P02") || code.starts_with("08"))
    }

    /// Nobody answered in time. What was asked for was not committed: that has a class of its own.
    pub(in crate::store) const fn no_answer() -> Self {
        Self::Unavailable { code: Cow::Borrowed("no answer") }
    }

    /// What a failed COMMIT means. Where the engine says that nothing was written the class is that of the statement; anything
    /// else may have reached the disk, or be found there by recovery after a crash.
    pub(in crate::store) fn of_commit(error: &sqlx::Error) -> Self {
        match Fault::of(error) {
            fault @ (Fault::Busy | Fault::Full(_) | Fault::Unique | Fault::Constraint(_)) => fault.into(),
            Fault::Unavailable(code) | Fault::Refused(code) => Self::CommitUnknown { code },
            Fault::Corrupt => Self::CommitUnknown { code: "corrupt".into() },
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Fault::of(&error).into()
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.kind())
    }
}

impl From<sqlx::migrate::MigrateError> for Error {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError;
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            MigrateError::VersionMismatch(_) => Self::Corrupt("an applied migration is not the one this build knows"),
            MigrateError::Dirty(_) => Self::Corrupt("a migration was left half applied"),
            _ => Self::Refused { code: "migration".into() },
        }
    }
}

/// What an engine's code says, before it is known during which step.
enum Fault {
    Busy,
    Full(Cow<'static, str>),
    Unavailable(Cow<'static, str>),
    Unique,
    Constraint(Cow<'static, str>),
    Corrupt,
    Refused(Cow<'static, str>),
}

impl Fault {
    fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().map_or(Cow::Borrowed("none"), |code| Cow::Owned(code.into_owned()));
                if error.try_downcast_ref::<PgDatabaseError>().is_some() {
                    Self::of_postgres(code)
                } else {
                    Self::of_sqlite(code)
                }
            }
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::RowNotFound => Self::Corrupt,
            // How the TLS library's verdict on the server's certificate arrives.
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Self::Unavailable("tls".into())
            }
            sqlx::Error::Io(_) => Self::Unavailable("io".into()),
            sqlx::Error::Tls(_) => Self::Unavailable("tls".into()),
            // The other side spoke of something else: a connection that broke in mid-sentence.
            sqlx::Error::Protocol(_) => Self::Unavailable("protocol".into()),
            sqlx::Error::PoolTimedOut => Self::Unavailable("pool timeout".into()),
            sqlx::Error::PoolClosed => Self::Unavailable("closed".into()),
            sqlx::Error::WorkerCrashed => Self::Unavailable("worker".into()),
            _ => Self::Refused("client".into()),
        }
    }

    /// SQLite's result codes (<https://sqlite.org/rescode.html>); the low byte of an extended code is the primary one.
    fn of_sqlite(code: Cow<'static, str>) -> Self {
        let Ok(extended) = code.parse::<u32>() else { return Self::Refused(code) };
        match (extended & 0xff, extended) {
            (5 | 6, _) => Self::Busy,
            (13, _) => Self::Full(code),
            // PERM, NOMEM, READONLY, INTERRUPT, IOERR, CANTOPEN, PROTOCOL.
            (3 | 7 | 8 | 9 | 10 | 14 | 15, _) => Self::Unavailable(code),
            // CORRUPT, NOTADB.
            (11 | 26, _) => Self::Corrupt,
            // CONSTRAINT_PRIMARYKEY, CONSTRAINT_UNIQUE.
            (19, 1555 | 2067) => Self::Unique,
            (19, _) => Self::Constraint(code),
            _ => Self::Refused(code),
        }
    }
}

impl Fault {
    /// PostgreSQL's SQLSTATE codes (<https://www.postgresql.org/docs/current/errcodes-appendix.html>), by class where a class is of one
    /// mind.
    fn of_postgres(code: Cow<'static, str>) -> Self {
        match (code.get(..2).unwrap_or_default(), &*code) {
            // serialization_failure, deadlock_detected, lock_not_available, query_canceled (by statement_timeout).
            (_, "40001" | "40P01" | "55P03" | "57014") => Self::Busy,
            (_, "53100") => Self::Full(code),
            // Connection exceptions, no resources, the operator stopped it, the system around it; read_only_sql_transaction (a standby),
            // idle_in_transaction_session_timeout.
            ("08" | "53" | "57" | "58", _) | (_, "25006" | "25P03") => Self::Unavailable(code),
            (_, "23505") => Self::Unique,
            ("23", _) => Self::Constraint(code),
            // data_corrupted, index_corrupted.
            (_, "XX001" | "XX002") => Self::Corrupt,
            _ => Self::Refused(code),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Busy => Self::Busy,
            Fault::Full(code) | Fault::Unavailable(code) => Self::Unavailable { code },
            Fault::Unique => Self::Conflict("a row with this key exists"),
            Fault::Constraint(code) | Fault::Refused(code) => Self::Refused { code },
            Fault::Corrupt => Self::Corrupt("a row, or the file itself"),
        }
    }
}
