//! Where the database is: a file, or a server with all that it takes to speak to it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use url::{Host, Url};

use super::error::Error;
use super::sqlite;
use crate::domain::secret::Secret;

/// The schema that holds the tables unless another is named.
pub const SCHEMA: &str = "public";
/// How many connections a process opens at most unless told otherwise: reads wait for one record at a time, and changes for one lock, so
/// that more than these only wait elsewhere.
pub const CONNECTIONS: u32 = 10;
/// PostgreSQL's port (registered with IANA).
const PORT: u16 = 5432;

/// Where a database is.
#[derive(Clone, Debug)]
pub enum Location {
    /// A SQLite file, owned by one process.
    Sqlite(PathBuf),
    /// A PostgreSQL server, or one that speaks its protocol.
    Postgres(Box<Postgres>),
}

/// A database on a PostgreSQL server.
#[derive(Clone)]
pub struct Postgres {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Name of the database.
    pub database: String,
    /// Who logs in.
    pub user: String,
    /// With what, unless the server asks for none.
    pub password: Option<Arc<Secret<String>>>,
    /// The schema that holds the tables.
    pub schema: String,
    /// Most connections of this process.
    pub connections: u32,
    /// How the connection is encrypted; `None` only on a loopback address.
    pub tls: Option<PostgresTls>,
}

/// How a connection to PostgreSQL is encrypted: the server's certificate must come from an authority, and bear its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PostgresTls {
    /// Authorities of the server's certificate, PEM. The driver trusts the public web's beside them.
    pub ca_file: PathBuf,
    /// Our certificate chain and its private key, PEM, where the server asks for them.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl Location {
    /// The database that a URL names: `sqlite://` and a path, or `postgres://USER@HOST:PORT/DATABASE`.
    ///
    /// # Errors
    /// [`Error::BadUrl`], which never quotes it.
    pub fn parse(url: &str) -> Result<Self, Error> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Ok(Self::Sqlite(sqlite::path_of(url)?));
        }
        let url = Url::parse(url).map_err(|_| Error::BadUrl("it cannot be parsed"))?;
        if url.password().is_some() {
            return Err(Error::BadUrl("a password has its own file, and no place in it"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Error::BadUrl("it must have no options"));
        }
        let database = url.path().trim_start_matches('/');
        let plain = |text: &str| !text.is_empty() && !text.contains(['/', '%']);
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(Error::BadUrl("it must name a host")),
        };
        if !plain(database) || !plain(url.username()) {
            return Err(Error::BadUrl("it must name a user and a database, without escapes"));
        }
        Ok(Self::Postgres(Box::new(Postgres {
            host,
            port: url.port().unwrap_or(PORT),
            database: database.to_owned(),
            user: url.username().to_owned(),
            password: None,
            schema: SCHEMA.to_owned(),
            connections: CONNECTIONS,
            tls: None,
        })))
    }
}
