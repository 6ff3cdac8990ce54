//! The schema: its migrations, compiled in, and the versions this build works with.

use std::borrow::Cow;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::SqliteConnection;

use super::error::Error;

/// The oldest schema this build runs on.
pub const SCHEMA_OLDEST: i64 = 1;

/// The newest schema this build knows; [`super::Store::migrate`] brings a database there.
pub const SCHEMA_NEWEST: i64 = 1;

/// Number, name and text of each migration.
const SQLITE: &[(i64, &str, &str)] = &[(1, "core", include_str!("../../migrations/sqlite/0001_core.sql"))];

const HAS_MIGRATIONS_SQLITE: &str =
    "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'";
const VERSION: &str = "SELECT COALESCE(MAX(version), CAST(0 AS BIGINT)) FROM _sqlx_migrations";

/// Every statement of this file, for the test that prepares them.
#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[HAS_MIGRATIONS_SQLITE, VERSION];

/// What [`super::Store::migrate`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MigrateReport {
    /// The schema's version before; 0 for an empty database.
    pub from: i64,
    /// The schema's version now.
    pub to: i64,
}

/// The schema's version; 0 for an empty database.
pub(in crate::store) async fn version(conn: &mut SqliteConnection) -> Result<i64, Error> {
    let tables: i64 = sqlx::query_scalar(HAS_MIGRATIONS_SQLITE).fetch_one(&mut *conn).await?;
    if tables == 0 { Ok(0) } else { Ok(sqlx::query_scalar(VERSION).fetch_one(conn).await?) }
}

/// Applies what is missing. A database from a newer build is refused before anything is written.
pub(in crate::store) async fn migrate(conn: &mut SqliteConnection) -> Result<MigrateReport, Error> {
    let from = version(conn).await?;
    refuse_newer(from)?;
    let migrations = SQLITE.iter().map(|&(number, name, text)| {
        Migration::new(number, Cow::Borrowed(name), MigrationType::Simple, text.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect()).run_direct(None, &mut *conn, false).await?;
    Ok(MigrateReport { from, to: version(conn).await? })
}

/// Refuses a schema outside of what this build works with.
pub(in crate::store) async fn gate(conn: &mut SqliteConnection) -> Result<(), Error> {
    let found = version(conn).await?;
    refuse_newer(found)?;
    if found < SCHEMA_OLDEST { Err(Error::SchemaTooOld { found, oldest: SCHEMA_OLDEST }) } else { Ok(()) }
}

pub(in crate::store) fn refuse_newer(found: i64) -> Result<(), Error> {
    if found > SCHEMA_NEWEST { Err(Error::SchemaTooNew { found, newest: SCHEMA_NEWEST }) } else { Ok(()) }
}
