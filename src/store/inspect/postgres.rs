//! A look at a PostgreSQL server that changes nothing. Plain facts; what they mean for an installation is for others to say.

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::domain::ambient::Clock;
use crate::domain::app::App;
use crate::store::clock::DB_NOW;
use crate::store::error::Error;
use crate::store::location::Postgres;
use crate::store::postgres::safety::{Durability, Rights};
use crate::store::vitals::ClockOffset;
use crate::store::{Result, Store, postgres, schema};

/// The duty of which there is one holder for all processes.
const LEADERSHIP: &str = "background";

const SERVER: &str = "SELECT CAST(current_setting('server_version_num') AS BIGINT) AS version, \
     current_setting('server_version') AS version_text, \
     COALESCE((SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_backend_pid()), FALSE) AS encrypted, \
     pg_is_in_recovery() AS standby, \
     CAST(current_setting('max_connections') AS BIGINT) - CAST(current_setting('superuser_reserved_connections') AS BIGINT) AS connections, \
     current_setting('synchronous_standby_names') <> '' AS replicated";
/// What the service cannot do without; each of them a right that only a grant of the migrations, or more than that, gives.
const SERVES: &str = "SELECT has_table_privilege('change_trail', 'SELECT') AND has_table_privilege('change_trail', 'INSERT') \
     AND has_table_privilege('read_records', 'INSERT') AND has_table_privilege('trails', 'UPDATE')";
const RUNS: &str = "SELECT COUNT(*) FROM runs";
const LEADER: &str = "SELECT r.name FROM duties d JOIN runs r ON r.id = d.run_id WHERE d.name = $1 AND d.until_us > $2";

/// Every statement of this file, for the test that prepares them.
#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[SERVER, SERVES, RUNS, LEADER];

/// What a PostgreSQL server is like, as far as an installation depends on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerFacts {
    /// Its version as a number: 150018 is 15.18.
    pub version: i64,
    /// Its version as it says it.
    pub version_text: String,
    /// Whether this connection is encrypted.
    pub encrypted: bool,
    /// Whether it only follows another server, and takes no writes.
    pub standby: bool,
    /// How many connections it gives to those who are no superusers.
    pub connections: i64,
    /// Whether commits may wait for another server.
    pub replicated: bool,
    /// How lasting commits are.
    pub durability: Durability,
    /// What the role may do to the trails.
    pub rights: Rights,
    /// Its clock.
    pub clock: ClockOffset,
    /// The schema's version; 0 when there is none.
    pub schema: i64,
    /// What is in the schema, if there is one that this role may look at.
    pub content: Option<Content>,
}

/// What is in a schema.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// Whether the role has the rights that the service needs.
    pub serves: bool,
    /// Whom it belongs to; `None` before the first start.
    pub app: Option<App>,
    /// How many processes are at work, or were when they died.
    pub runs: i64,
    /// Which of them does what one does for all.
    pub leader: Option<String>,
}

#[derive(sqlx::FromRow)]
struct ServerRow {
    version: i64,
    version_text: String,
    encrypted: bool,
    standby: bool,
    connections: i64,
    replicated: bool,
}

impl Store {
    /// Looks at a server: what it is like, whether the schema fits this build and belongs to this keyring, if one is given, and who is at
    /// work there. Writes nothing.
    ///
    /// # Errors
    /// [`Error::SchemaTooNew`], [`Error::KeyringDiffers`], [`Error::Corrupt`]; the database's.
    pub async fn inspect_server(
        server: &Postgres,
        check_value: Option<[u8; 16]>,
        clock: &dyn Clock,
    ) -> Result<ServerFacts> {
        let mut conn = postgres::connect(server).await?;
        let looked = look(&mut conn, check_value, clock).await;
        // What was seen holds, however the connection ends.
        let _ended = conn.close().await;
        looked
    }
}

async fn look(conn: &mut PgConnection, check_value: Option<[u8; 16]>, clock: &dyn Clock) -> Result<ServerFacts> {
    let row: ServerRow = sqlx::query_as(SERVER).fetch_one(&mut *conn).await?;
    let durability = Durability::of(conn).await?;
    let rights = Rights::of(conn).await?;
    let (asked_at, asked) = (clock.now(), clock.boot());
    let theirs: i64 = sqlx::query_scalar(DB_NOW.postgres).fetch_one(&mut *conn).await?;
    let offset = ClockOffset::between(asked_at, clock.boot().saturating_sub(asked), theirs);
    let schema = schema::postgres::version(conn).await?;
    schema::postgres::usable(conn, schema).await?;
    let content = if schema == 0 { None } else { Some(content(conn, check_value, theirs).await?) };
    Ok(ServerFacts {
        version: row.version,
        version_text: row.version_text,
        encrypted: row.encrypted,
        standby: row.standby,
        connections: row.connections,
        replicated: row.replicated,
        durability,
        rights,
        clock: offset,
        schema,
        content,
    })
}

async fn content(conn: &mut PgConnection, check_value: Option<[u8; 16]>, now_us: i64) -> Result<Content> {
    let serves: bool = sqlx::query_scalar(SERVES).fetch_one(&mut *conn).await?;
    if !serves {
        return Ok(Content { serves, app: None, runs: 0, leader: None });
    }
    let app = app_of!(conn, check_value);
    let runs = sqlx::query_scalar(RUNS).fetch_one(&mut *conn).await?;
    let leader = sqlx::query_scalar(LEADER).bind(LEADERSHIP).bind(now_us).fetch_optional(conn).await?;
    Ok(Content { serves, app, runs, leader })
}
