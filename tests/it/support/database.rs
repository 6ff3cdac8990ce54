//! Where a scenario has its state, on either engine, and how one looks into it or tampers with it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{Connection as _, Executor as _, FromRow};
use strongroom::config::Database;
use strongroom::demo::SiteOptions;
use tempfile::TempDir;

use super::postgres::Schema;
use super::proxy::Proxy;

/// Names the engine of the scenarios: `postgres`, or nothing for SQLite.
const ENGINE: &str = "STRONGROOM_TEST_ENGINE";
/// Keeps everybody from writing, and nobody from reading, as SQLite's write lock does.
const LOCK: &str = "DO $$ DECLARE name TEXT; BEGIN \
     FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename LOOP \
     EXECUTE format('LOCK TABLE %I IN EXCLUSIVE MODE', name); END LOOP; END $$";

/// An engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    /// The one that this run of the tests is for.
    #[expect(clippy::disallowed_methods, reason = "set by scripts/test and by whoever runs the tests")]
    pub(crate) fn of_this_run() -> Self {
        match std::env::var(ENGINE).ok().as_deref() {
            None | Some("" | "sqlite") => Self::Sqlite,
            Some("postgres") => Self::Postgres,
            Some(other) => unreachable!("{ENGINE}={other}: sqlite or postgres"),
        }
    }

    /// Whether a test that is about one engine is for this run; says why not.
    pub(crate) fn is_for_this_run(self, reason: &str) -> bool {
        let is = self == Self::of_this_run();
        if !is {
            let line = format!("for {self:?} alone: {reason}\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
        is
    }
}

/// A directory of its own, and on PostgreSQL a schema: all that a scenario leaves behind, gone when dropped.
pub(crate) struct Home {
    dir: TempDir,
    schema: Option<Schema>,
    proxy: Option<Proxy>,
}

impl Home {
    /// One on the engine of this run.
    pub(crate) async fn new() -> Self {
        Self::on(Engine::of_this_run()).await
    }

    /// One on this engine.
    pub(crate) async fn on(engine: Engine) -> Self {
        let schema = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(Schema::migrated().await.unwrap()),
        };
        Self { dir: tempfile::tempdir().unwrap(), schema, proxy: None }
    }

    /// One on PostgreSQL, behind a proxy.
    pub(crate) async fn behind_proxy() -> Self {
        let home = Self::on(Engine::Postgres).await;
        let proxy = Proxy::postgres(home.schema.as_ref().unwrap().server().address()).await;
        Self { proxy: Some(proxy), ..home }
    }

    /// What stands between the product and its database.
    pub(crate) fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().unwrap()
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The schema, on PostgreSQL.
    pub(crate) const fn schema(&self) -> Option<&Schema> {
        self.schema.as_ref()
    }

    /// How to set up a site here.
    pub(crate) fn site(&self) -> SiteOptions {
        SiteOptions {
            database: self.schema.as_ref().map(|_| self.database()),
            ..SiteOptions::new(self.dir.path().join("site"))
        }
    }

    /// The database of that site.
    pub(crate) fn database(&self) -> Database {
        match (&self.schema, &self.proxy) {
            (None, _) => Database::Sqlite(self.file()),
            (Some(schema), None) => schema.config(),
            (Some(schema), Some(proxy)) => schema.config_at(proxy.address()),
        }
    }

    /// The file of that database, on SQLite.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("site/product/strongroom.db")
    }

    /// Somebody in the database who may do anything there.
    pub(crate) async fn intruder(&self) -> Intruder {
        match &self.schema {
            Some(schema) => Intruder::Postgres(schema.intruder().await),
            None => Intruder::of_file(SqliteConnectOptions::new().filename(self.file())).await,
        }
    }

    /// Rows of the database, which they cannot change.
    pub(crate) async fn rows<T: AnyRow>(&self, statement: impl Into<Statement>) -> Vec<T> {
        let mut looking = match &self.schema {
            Some(schema) => Intruder::Postgres(schema.looking().await),
            None => Intruder::of_file(SqliteConnectOptions::new().filename(self.file()).read_only(true)).await,
        };
        let rows = looking.rows(statement).await;
        looking.close().await;
        rows
    }
}

/// A statement for either engine, or one for each.
#[derive(Clone, Copy)]
pub(crate) struct Statement {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

impl From<&'static str> for Statement {
    fn from(text: &'static str) -> Self {
        Self { sqlite: text, postgres: text }
    }
}

/// A row on either engine.
pub(crate) trait AnyRow: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl<T> AnyRow for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// Somebody in the database who is not the product, and may do anything there.
pub(crate) enum Intruder {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Intruder {
    async fn of_file(options: SqliteConnectOptions) -> Self {
        Self::Sqlite(SqliteConnection::connect_with(&options).await.unwrap())
    }

    /// Runs one statement with these texts bound; says how many rows it changed.
    pub(crate) async fn execute(&mut self, statement: impl Into<Statement>, texts: &[&str]) -> u64 {
        self.try_execute(statement, texts).await.unwrap()
    }

    /// As [`Intruder::execute`], where it may be refused.
    pub(crate) async fn try_execute(
        &mut self,
        statement: impl Into<Statement>,
        texts: &[&str],
    ) -> Result<u64, sqlx::Error> {
        let statement = statement.into();
        match self {
            Self::Sqlite(connection) => {
                let query = sqlx::query(statement.sqlite);
                let query = texts.iter().fold(query, |query, text| query.bind((*text).to_owned()));
                query.execute(connection).await.map(|done| done.rows_affected())
            }
            Self::Postgres(connection) => {
                let query = sqlx::query(statement.postgres);
                let query = texts.iter().fold(query, |query, text| query.bind((*text).to_owned()));
                query.execute(connection).await.map(|done| done.rows_affected())
            }
        }
    }

    /// Runs several statements at once.
    pub(crate) async fn run(&mut self, statements: Statement) {
        match self {
            Self::Sqlite(connection) => {
                connection.execute(statements.sqlite).await.unwrap();
            }
            Self::Postgres(connection) => {
                sqlx::raw_sql(statements.postgres).execute(connection).await.unwrap();
            }
        }
    }

    /// Rows.
    pub(crate) async fn rows<T: AnyRow>(&mut self, statement: impl Into<Statement>) -> Vec<T> {
        let statement = statement.into();
        match self {
            Self::Sqlite(connection) => sqlx::query_as(statement.sqlite).fetch_all(connection).await.unwrap(),
            Self::Postgres(connection) => sqlx::query_as(statement.postgres).fetch_all(connection).await.unwrap(),
        }
    }

    /// Keeps the product from writing until [`Intruder::unlock`].
    pub(crate) async fn lock(&mut self) {
        match self {
            Self::Sqlite(connection) => {
                connection.execute("BEGIN IMMEDIATE").await.unwrap();
            }
            Self::Postgres(connection) => {
                connection.execute("BEGIN").await.unwrap();
                connection.execute(LOCK).await.unwrap();
            }
        }
    }

    /// Lets it write again.
    pub(crate) async fn unlock(&mut self) {
        self.execute("ROLLBACK", &[]).await;
    }

    /// Goes.
    pub(crate) async fn close(self) {
        match self {
            Self::Sqlite(connection) => connection.close().await.unwrap(),
            Self::Postgres(connection) => connection.close().await.unwrap(),
        }
    }
}
