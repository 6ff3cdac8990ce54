//! The database's keys: a file for SQLite, or a PostgreSQL server and all that it takes to speak to it safely.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use url::{Host, Url};

use super::check::{self, Checked, complain};
use super::read::Reader;
use super::{Database, PostgresConfig};

/// Most connections of one process: PostgreSQL has a process for each, and a hundred is all that its own default admits.
pub const CONNECTIONS_MAX: u32 = 100;
/// Connections of one process unless configured: reads wait for one record at a time, and changes for one lock, so that more would
/// only wait at the server.
const CONNECTIONS: u32 = 10;
/// The schema that holds the tables unless configured.
const SCHEMA: &str = "public";
/// Longest name of a schema: PostgreSQL cuts longer ones off (NAMEDATALEN).
const SCHEMA_BYTES_MAX: usize = 63;
/// What only a server has.
const SERVER_KEYS: [&str; 6] = [
    "database.password_file",
    "database.ca_file",
    "database.cert_file",
    "database.key_file",
    "database.schema",
    "database.connections",
];

/// What a URL names.
enum Named {
    File(PathBuf),
    /// `loopback`: nobody can listen on the way.
    Server {
        url: String,
        loopback: bool,
    },
}

/// Reads all keys of the database, whatever is wrong with the others.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Database> {
    let named = reader.required("database.url", named);
    if let Some(Named::File(path)) = named {
        let mut alone = true;
        for key in SERVER_KEYS.into_iter().filter(|key| reader.has(key)).collect::<Vec<_>>() {
            reader.fault(key, "is for PostgreSQL, and database.url names a SQLite file", "remove it, or name a server");
            alone = false;
        }
        return alone.then_some(Database::Sqlite(path));
    }
    let password_file = reader.optional("database.password_file", check::secret_file);
    let ca_file = reader.optional("database.ca_file", check::plain_file);
    let client = client(reader);
    let schema = reader.optional("database.schema", schema);
    let connections = reader.optional("database.connections", connections);
    let Some(Named::Server { url, loopback }) = named else { return None };
    if !loopback && !reader.has("database.ca_file") {
        let rule = "is missing: the server is not at a loopback address";
        reader.fault("database.ca_file", rule, "name the authorities of the server's certificate, as PEM");
        return None;
    }
    let ca_file = ca_file?;
    let client = client?;
    if ca_file.is_none() && client.is_some() {
        let rule = "is missing: without it the connection is not encrypted, and shows no certificate";
        reader.fault("database.ca_file", rule, "name the authorities of the server's certificate, as PEM");
        return None;
    }
    let (cert_file, key_file) = client.unzip();
    Some(Database::Postgres(Box::new(PostgresConfig {
        url,
        password_file: password_file?,
        ca_file,
        cert_file,
        key_file,
        schema: schema?.unwrap_or_else(|| SCHEMA.to_owned()),
        connections: connections?.unwrap_or(CONNECTIONS),
    })))
}

/// `Some(None)` when we show the server no certificate.
fn client(reader: &mut Reader<'_>) -> Option<Option<(PathBuf, PathBuf)>> {
    let cert_file = reader.optional("database.cert_file", check::plain_file);
    let key_file = reader.optional("database.key_file", check::secret_file);
    match (cert_file?, key_file?) {
        (None, None) => Some(None),
        (Some(cert_file), Some(key_file)) => Some(Some((cert_file, key_file))),
        (cert_file, _) => {
            let missing = if cert_file.is_some() { "database.key_file" } else { "database.cert_file" };
            reader.fault(missing, "is missing", "set database.cert_file and database.key_file together, or neither");
            None
        }
    }
}

fn named(text: &str) -> Checked<Named> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return server(text);
    }
    match text.strip_prefix("sqlite://") {
        // Options and escapes would make two spellings of one file, and options can switch durability off.
        Some(path) if path.starts_with('/') && !path.ends_with('/') && !path.contains(['?', '#', '%', '\0']) => {
            Ok(Named::File(PathBuf::from(path)))
        }
        Some(_) => complain(
            "must have an absolute path, without options and escapes",
            "write for example \"sqlite:///var/lib/strongroom/strongroom.db\"",
        ),
        None => complain(
            "must begin with sqlite:// or postgres://",
            "write sqlite:// and an absolute path, or postgres://USER@HOST:PORT/DATABASE",
        ),
    }
}

/// A server's URL, written plainly: options could switch encryption off, and a password would be seen wherever the URL is.
fn server(text: &str) -> Checked<Named> {
    let mend = "write for example \"postgres://strongroom@db.example:5432/strongroom\"";
    let Some(url) = check::parse_url(text) else { return complain("must be a URL with a host", mend) };
    if url.password().is_some() {
        return complain(
            "carries a password",
            "write it into a file, name that as database.password_file, and change it",
        );
    }
    let plain = |part: &str| !part.is_empty() && part.bytes().all(is_plain);
    let database = url.path().strip_prefix('/').unwrap_or_default();
    let is_bare = url.query().is_none() && url.fragment().is_none() && url.port() != Some(0);
    match loopback(&url) {
        Some(loopback) if is_bare && plain(url.username()) && plain(database) => {
            Ok(Named::Server { url: text.to_owned(), loopback })
        }
        _ => complain("must be postgres://USER@HOST:PORT/DATABASE, without options and escapes", mend),
    }
}

/// What names of users, databases and hosts are made of here: nothing that a URL would have to escape.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Whether the host is a literal loopback address; `None` when it is no host. A name could lead elsewhere tomorrow, `localhost` too.
fn loopback(url: &Url) -> Option<bool> {
    match url.host()? {
        // The URL of a scheme that the parser does not know keeps an address as it is written.
        Host::Domain(name) if name.bytes().all(is_plain) => {
            Some(name.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback()))
        }
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(address.is_loopback()),
        Host::Ipv6(address) => Some(address == Ipv6Addr::LOCALHOST),
    }
}

fn schema(text: &str) -> Checked<String> {
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !begins || !plain || text.len() > SCHEMA_BYTES_MAX || text.starts_with("pg_") {
        let rule =
            "must be 1 to 63 lower-case letters, digits and underscores, and begin neither with a digit nor with pg_";
        return complain(rule, "write for example \"strongroom\"");
    }
    Ok(text.to_owned())
}

fn connections(text: &str) -> Checked<u32> {
    match text.parse() {
        Ok(connections) if (1..=CONNECTIONS_MAX).contains(&connections) => Ok(connections),
        _ => complain(format!("must be a whole number from 1 to {CONNECTIONS_MAX}"), "write for example 10"),
    }
}
