//! What a store stands on in a test: a file of its own, or a schema of its own on the PostgreSQL server that the environment names.

use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, SqlSafeStr as _};
use tempfile::TempDir;
use url::Url;

use crate::domain::ambient::{SystemEntropy, random};
use crate::domain::secret::Secret;
use crate::store::{Location, Postgres};

// The tests from outside skip by the same rule.
#[path = "../../../tests/it/support/prepared.rs"]
#[expect(clippy::duplicate_mod, reason = "tests of the sandbox have it as well, and neither layer may name the other")]
mod prepared;

use self::prepared::prepared;

/// URL of a superuser, with its password, which the roles below have too.
const SERVER: &str = "STRONGROOM_TEST_POSTGRES";
/// Who owns the tables.
const MIGRATOR: &str = "test_migrator";
/// Who the service logs in as.
const APP: &str = "test_app";

/// Where a database of this test is; it goes with the value.
pub(in crate::store) enum Ground {
    File(TempDir),
    Schema(Schema),
}

/// A schema on the server.
pub(in crate::store) struct Schema {
    server: Url,
    name: String,
}

/// The database as an intruder would open it, who holds it to no rule.
pub(in crate::store) enum Intruder {
    File(SqliteConnection),
    Schema(PgConnection),
}

impl Ground {
    /// A file.
    pub(in crate::store) fn file() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    /// A file, for a suite.
    pub(in crate::store) async fn sqlite() -> Self {
        Self::file()
    }

    /// A schema, for a suite.
    pub(in crate::store) async fn postgres() -> Option<Self> {
        Self::schema().await
    }

    /// A schema; none, with a word about it, where no server is named, which CI never permits.
    pub(in crate::store) async fn schema() -> Option<Self> {
        let server = prepared(SERVER)?.into_string().unwrap();
        let server = Url::parse(&server).unwrap();
        let mut name = "t_".to_owned();
        random::<8>(&SystemEntropy).iter().for_each(|byte| write!(name, "{byte:02x}").unwrap());
        let schema = Schema { server, name };
        let mut conn = schema.connect().await;
        let make = format!("CREATE SCHEMA {} AUTHORIZATION {MIGRATOR}", schema.name);
        conn.execute(AssertSqlSafe(make).into_sql_str()).await.unwrap();
        Some(Self::Schema(schema))
    }

    /// As the service is told of it.
    pub(in crate::store) fn location(&self) -> Location {
        match self {
            Self::File(directory) => Location::Sqlite(directory.path().join("state").join("strongroom.db")),
            Self::Schema(schema) => schema.location(APP),
        }
    }

    /// As `migrate` is told of it.
    pub(in crate::store) fn migrator(&self) -> Location {
        match self {
            Self::File(_) => self.location(),
            Self::Schema(schema) => schema.location(MIGRATOR),
        }
    }

    /// The database as an intruder would open it.
    pub(in crate::store) async fn intruder(&self) -> Intruder {
        match self {
            Self::File(_) => {
                let Location::Sqlite(file) = self.location() else { unreachable!("a file") };
                Intruder::File(SqliteConnectOptions::new().filename(file).foreign_keys(false).connect().await.unwrap())
            }
            Self::Schema(schema) => Intruder::Schema(schema.connect().await),
        }
    }
}

impl Schema {
    fn location(&self, user: &str) -> Location {
        Location::Postgres(Box::new(Postgres {
            host: self.server.host_str().unwrap().to_owned(),
            port: self.server.port().unwrap(),
            database: self.server.path().trim_start_matches('/').to_owned(),
            user: user.to_owned(),
            password: self.server.password().map(|password| Arc::new(Secret::new(password.to_owned()))),
            schema: self.name.clone(),
            connections: 8,
            tls: None,
        }))
    }

    async fn connect(&self) -> PgConnection {
        // What a superuser writes here is held back by no trigger and no reference; so it is on a file.
        let options = [("search_path", &*self.name), ("client_min_messages", "error")];
        let connect = self.server.as_str().parse::<PgConnectOptions>().unwrap().options(options);
        connect.connect().await.unwrap()
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (server, drop) = (self.server.to_string(), format!("DROP SCHEMA {} CASCADE", self.name));
        let done = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let options = server.parse::<PgConnectOptions>().unwrap().options([("client_min_messages", "error")]);
                let mut conn = options.connect().await.unwrap();
                conn.execute(AssertSqlSafe(drop).into_sql_str()).await.map(drop_result)
            })
        });
        let dropped = done.join();
        assert!(std::thread::panicking() || matches!(dropped, Ok(Ok(()))), "a schema stays behind: {dropped:?}");
    }
}

fn drop_result<T>(_: T) {}

/// Runs one body on the connection of an intruder.
macro_rules! as_intruder {
    ($intruder:expr, $conn:ident => $body:expr) => {
        match &mut $intruder {
            $crate::store::tests::ground::Intruder::File($conn) => $body,
            $crate::store::tests::ground::Intruder::Schema($conn) => $body,
        }
    };
}
pub(in crate::store) use as_intruder;

impl Intruder {
    /// Holds what it writes to no trigger and no reference, and teaches PostgreSQL the words of SQLite that tests use.
    pub(in crate::store) async fn unbind(&mut self) {
        let statements = match self {
            Self::File(_) => {
                "DROP TRIGGER change_trail_appends; DROP TRIGGER change_trail_keeps; DROP TRIGGER change_trail_stays; \
                 DROP TRIGGER read_records_appends; DROP TRIGGER read_records_keeps; DROP TRIGGER read_records_stays"
            }
            Self::Schema(_) => {
                "SET session_replication_role = replica; CREATE FUNCTION zeroblob(length INT) RETURNS BYTEA LANGUAGE sql AS \
                 $$ SELECT decode(repeat('00', length), 'hex') $$"
            }
        };
        self.run(statements).await.unwrap();
    }

    /// Runs statements, and tells the engine's code of a refusal.
    pub(in crate::store) async fn run(&mut self, statements: &str) -> Result<(), String> {
        let text = AssertSqlSafe(statements.to_owned()).into_sql_str();
        let code = |error: sqlx::Error| error.as_database_error().unwrap().code().unwrap().into_owned();
        as_intruder!(*self, conn => sqlx::raw_sql(text).execute(conn).await.map(drop_result).map_err(code))
    }

    /// One number.
    pub(in crate::store) async fn number(&mut self, statement: &str) -> i64 {
        let text = AssertSqlSafe(statement.to_owned()).into_sql_str();
        as_intruder!(*self, conn => sqlx::query_scalar(text).fetch_one(conn).await.unwrap())
    }

    /// Rows of one text.
    pub(in crate::store) async fn texts(&mut self, statement: &str) -> Vec<String> {
        let text = AssertSqlSafe(statement.to_owned()).into_sql_str();
        as_intruder!(*self, conn => sqlx::query_scalar(text).fetch_all(conn).await.unwrap())
    }
}
