//! The PostgreSQL server that `scripts/test` starts, and on it a schema for each test: made and migrated by one role, used by another, as
//! in production.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Executor as _};
use strongroom::app;
use strongroom::config::{Database, PostgresConfig};
use strongroom::domain::ambient::{Entropy as _, SystemEntropy};
use strongroom::store::{CONNECTIONS, Error, Store};
use tempfile::TempDir;
use url::Url;

use super::prepared::prepared;

/// Where a superuser gets in, password and all.
const SERVER: &str = "STRONGROOM_TEST_POSTGRES";
/// The authority of the server's certificate; `client.pem` and `client.key` lie beside it.
const AUTHORITY: &str = "STRONGROOM_TEST_POSTGRES_CA";
/// Who makes schemas and owns their tables.
pub(crate) const MIGRATOR: &str = "test_migrator";
/// Who the service logs in as.
pub(crate) const APP: &str = "test_app";
/// Removes a schema unless somebody still holds on to it: the whole server goes soon enough.
const DROP: &str =
    "SET lock_timeout = '5s'; DO $$ BEGIN EXECUTE format('DROP SCHEMA %I CASCADE', current_schema()); END $$";
/// Makes the schema that the search path names.
const CREATE: &str = "DO $$ BEGIN EXECUTE format('CREATE SCHEMA %I', current_setting('search_path')); END $$";

/// A server for tests.
#[derive(Clone)]
pub(crate) struct Server {
    url: Url,
}

impl Server {
    /// The one that was started; none, with a word about it, where nobody did.
    pub(crate) fn prepared() -> Option<Self> {
        let url = prepared(SERVER)?.into_string().unwrap();
        Some(Self { url: Url::parse(&url).unwrap() })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.url.port().unwrap()))
    }

    /// The authority of its certificate, which is for `localhost` and 127.0.0.1.
    pub(crate) fn authority(&self) -> PathBuf {
        prepared(AUTHORITY).unwrap().into()
    }

    /// How somebody who may do everything connects.
    pub(crate) fn superuser(&self) -> PgConnectOptions {
        PgConnectOptions::from_str(self.url.as_str()).unwrap()
    }

    fn database(&self) -> &str {
        self.url.path().trim_start_matches('/')
    }

    fn password(&self) -> &str {
        self.url.password().unwrap()
    }
}

/// A schema with our tables, gone when dropped.
pub(crate) struct Schema {
    server: Server,
    name: String,
    files: TempDir,
}

impl Schema {
    /// One that is migrated; none, with a word about it, where there is no server.
    pub(crate) async fn migrated() -> Option<Self> {
        let schema = Self::empty().await?;
        let migrator = app::location(&schema.config_for(MIGRATOR, schema.server.address())).unwrap();
        // All schemas of a database take turns, and nobody waits longer than a second.
        while let Err(failed) = Store::migrate(&migrator).await {
            assert!(matches!(failed, Error::Busy), "{failed:?}");
        }
        Some(schema)
    }

    /// One without tables.
    pub(crate) async fn empty() -> Option<Self> {
        let server = Server::prepared()?;
        let mut random = [0; 8];
        SystemEntropy.fill(&mut random);
        let name = format!("t_{:016x}", u64::from_be_bytes(random));
        let files = tempfile::tempdir().unwrap();
        let password = files.path().join("password");
        std::fs::write(&password, server.password()).unwrap();
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
        let schema = Self { server, name, files };
        let migrator = schema.superuser().username(MIGRATOR);
        migrator.connect().await.unwrap().execute(CREATE).await.unwrap();
        Some(schema)
    }

    /// Where it is.
    pub(crate) const fn server(&self) -> &Server {
        &self.server
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The file with the password, which all roles share.
    pub(crate) fn password_file(&self) -> PathBuf {
        self.files.path().join("password")
    }

    /// As the service is told of it.
    pub(crate) fn config(&self) -> Database {
        self.config_at(self.server.address())
    }

    /// As the service is told of it, with another address: that of a proxy.
    pub(crate) fn config_at(&self, address: SocketAddr) -> Database {
        self.config_for(APP, address)
    }

    /// As somebody else is told of it.
    pub(crate) fn config_for(&self, role: &str, address: SocketAddr) -> Database {
        Database::Postgres(Box::new(PostgresConfig {
            url: format!("postgres://{role}@{address}/{}", self.server.database()),
            password_file: Some(self.password_file()),
            ca_file: None,
            cert_file: None,
            key_file: None,
            schema: self.name.clone(),
            connections: CONNECTIONS,
        }))
    }

    /// A connection of somebody who may do everything, and names no schema.
    pub(crate) async fn intruder(&self) -> PgConnection {
        self.superuser().connect().await.unwrap()
    }

    /// A connection that changes nothing.
    pub(crate) async fn looking(&self) -> PgConnection {
        self.superuser().options([("default_transaction_read_only", "on")]).connect().await.unwrap()
    }

    fn superuser(&self) -> PgConnectOptions {
        self.server.superuser().options([("search_path", &self.name)])
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let options = self.superuser();
        // A thread of its own: this one may be a runtime's.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { options.connect().await?.execute(DROP).await.map(drop) })
        });
        drop(dropping.join());
    }
}

#[tokio::test]
async fn a_schema_is_its_migrators_and_gone_when_dropped() {
    let Some(schema) = Schema::empty().await else { return };
    let owner = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = $1";
    let name = schema.name().to_owned();
    let mut looking = schema.server().superuser().connect().await.unwrap();
    let found: Option<String> = sqlx::query_scalar(owner).bind(&name).fetch_optional(&mut looking).await.unwrap();
    assert_eq!(found.as_deref(), Some(MIGRATOR));
    drop(schema);
    let found: Option<String> = sqlx::query_scalar(owner).bind(&name).fetch_optional(&mut looking).await.unwrap();
    assert_eq!(found, None);
}
