//! The schema: its migrations, compiled in, and the versions this build works with.
//!
//! A schema may be newer than all that this build knows, as long as its migrations say that they only expanded: `works_from` of
//! `schema_compatibility` is the oldest version a build must know to work on it. So two builds can run beside each other while one
//! replaces the other.

use std::borrow::Cow;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::error::Error;

/// The oldest schema this build runs on.
pub const SCHEMA_OLDEST: i64 = 1;

/// The newest schema this build knows; [`super::Store::migrate`] brings a database there.
pub const SCHEMA_NEWEST: i64 = 1;

const VERSION: &str = "SELECT COALESCE(MAX(version), CAST(0 AS BIGINT)) FROM _sqlx_migrations";
const WORKS_FROM: &str = "SELECT works_from FROM schema_compatibility WHERE singleton = 1";

/// Every statement of this file, for the test that prepares them.
#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[VERSION, WORKS_FROM];

/// Number, name and text of a migration.
pub(in crate::store) type Step = (i64, &'static str, &'static str);

/// What [`super::Store::migrate`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MigrateReport {
    /// The schema's version before; 0 for an empty database.
    pub from: i64,
    /// The schema's version now.
    pub to: i64,
}

/// What both engines do, each with its own connection, its own text of the migrations and its own catalogue.
macro_rules! engine {
    ($name:ident, $conn:ty, $core:literal, $has:literal) => {
        pub(in crate::store) mod $name {
            use super::{Error, MigrateReport, Step, VERSION, WORKS_FROM, migrator, refuse_newer, refuse_older};

            /// The migrations, in order.
            pub(in crate::store) const STEPS: &[Step] = &[(1, "core", include_str!($core))];
            /// Whether there are any in the database.
            pub(in crate::store) const HAS_MIGRATIONS: &str = $has;

            /// The schema's version; 0 for an empty database.
            pub(in crate::store) async fn version(conn: &mut $conn) -> Result<i64, Error> {
                let tables: i64 = sqlx::query_scalar(HAS_MIGRATIONS).fetch_one(&mut *conn).await?;
                if tables == 0 { Ok(0) } else { Ok(sqlx::query_scalar(VERSION).fetch_one(conn).await?) }
            }

            /// Applies what is missing. A database that only newer builds can use is refused before anything is written.
            pub(in crate::store) async fn migrate(conn: &mut $conn) -> Result<MigrateReport, Error> {
                apply(conn, STEPS).await
            }

            /// Applies of these what is missing.
            pub(in crate::store) async fn apply(conn: &mut $conn, steps: &[Step]) -> Result<MigrateReport, Error> {
                let from = version(conn).await?;
                usable(conn, from).await?;
                migrator(steps).run_direct(None, &mut *conn, false).await?;
                Ok(MigrateReport { from, to: version(conn).await? })
            }

            /// Refuses a schema that this build does not work with.
            pub(in crate::store) async fn gate(conn: &mut $conn) -> Result<(), Error> {
                let found = version(conn).await?;
                refuse_older(found)?;
                usable(conn, found).await
            }

            /// Refuses a schema that this build is too old for.
            pub(in crate::store) async fn usable(conn: &mut $conn, found: i64) -> Result<(), Error> {
                if found == 0 {
                    return Ok(());
                }
                refuse_newer(found, sqlx::query_scalar(WORKS_FROM).fetch_one(conn).await?)
            }
        }
    };
}

engine!(
    sqlite,
    sqlx::sqlite::SqliteConnection,
    "../../migrations/sqlite/0001_core.sql",
    "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'"
);
engine!(
    postgres,
    sqlx::postgres::PgConnection,
    "../../migrations/postgres/0001_core.sql",
    "SELECT COUNT(*) FROM pg_catalog.pg_tables WHERE schemaname = current_schema() AND tablename = '_sqlx_migrations'"
);

fn migrator(steps: &[Step]) -> Migrator {
    let migrations = steps.iter().map(|&(number, name, text)| {
        Migration::new(number, Cow::Borrowed(name), MigrationType::Simple, text.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // Newer ones that only expanded may be there.
    migrator.set_ignore_missing(true);
    migrator
}

const fn refuse_older(found: i64) -> Result<(), Error> {
    if found < SCHEMA_OLDEST { Err(Error::SchemaTooOld { found, oldest: SCHEMA_OLDEST }) } else { Ok(()) }
}

const fn refuse_newer(found: i64, works_from: i64) -> Result<(), Error> {
    if works_from > SCHEMA_NEWEST { Err(Error::SchemaTooNew { found, newest: SCHEMA_NEWEST }) } else { Ok(()) }
}
