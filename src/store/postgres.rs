//! What only PostgreSQL needs: how its connections are set up, and migrating under a role of its own.

pub(in crate::store) mod safety;

use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode};

use super::error::Error;
use super::location::Postgres;
use super::schema;
use super::schema::MigrateReport;
use super::tx::within;

/// What the server shows of us.
const APPLICATION: &str = "strongroom";
/// Longest statement, as the server measures it: a hundred times what the slowest of ours takes on a busy server.
const STATEMENT_MAX: &str = "2s";
/// Longest wait for a lock: the change trail's is held for some milliseconds. With its repetitions a transaction outlasts a lock whose
/// holder vanished without a word, which the server takes back after `IDLE_MAX`.
const LOCK_MAX: &str = "2s";
/// Longest silence within a transaction: then its owner is gone, and the server gives back what it locked.
const IDLE_MAX: &str = "5s";
/// Longest wait of a migration for a lock: all others queue behind it.
const MIGRATION_LOCK_MAX: &str = "1s";
/// How long a call waits for a connection, a new one's handshakes included.
const ACQUIRE_MAX: Duration = Duration::from_secs(2);
/// How long a start waits for a connection: a server that was started with us may take some seconds.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Age at which a connection is replaced, so that after a failover, or behind a balancer, load spreads again.
const LIFE_MAX: Duration = Duration::from_secs(30 * 60);
/// How long an idle connection is kept.
const IDLE_KEPT: Duration = Duration::from_secs(5 * 60);

/// The pool. Opens no connection yet.
pub(in crate::store) fn pool(server: &Postgres) -> Result<PgPool, Error> {
    let options = options(server).options([
        ("statement_timeout", STATEMENT_MAX),
        ("lock_timeout", LOCK_MAX),
        ("idle_in_transaction_session_timeout", IDLE_MAX),
    ]);
    // No test before use: it would be a round trip more for each read. Who meets a connection that broke takes another one.
    let pool = PgPoolOptions::new()
        .max_connections(server.connections)
        .acquire_timeout(ACQUIRE_MAX)
        .idle_timeout(IDLE_KEPT)
        .max_lifetime(LIFE_MAX)
        .test_before_acquire(false)
        .connect_lazy_with(options);
    Ok(pool)
}

/// One connection, for the checks of a start.
pub(in crate::store) async fn connect(server: &Postgres) -> Result<PgConnection, Error> {
    within(CONNECT_MAX, options(server).options([("statement_timeout", STATEMENT_MAX)]).connect()).await
}

/// Applies what is missing, as a role that may.
pub(in crate::store) async fn migrate(server: &Postgres) -> Result<MigrateReport, Error> {
    let options = options(server).options([("lock_timeout", MIGRATION_LOCK_MAX)]);
    let mut conn: PgConnection = within(CONNECT_MAX, options.connect()).await?;
    let report = schema::postgres::migrate(&mut conn).await?;
    sqlx::Connection::close(conn).await?;
    Ok(report)
}

/// Everything is said, so that nothing is taken from the environment.
fn options(server: &Postgres) -> PgConnectOptions {
    let password = server.password.as_ref().map_or("", |password| password.expose());
    let options = PgConnectOptions::new_without_pgpass()
        .host(&server.host)
        .port(server.port)
        .username(&server.user)
        .password(password)
        .database(&server.database)
        .application_name(APPLICATION)
        .options([("search_path", &*server.schema)])
        .disable_statement_logging();
    let Some(tls) = &server.tls else { return options.ssl_mode(PgSslMode::Disable) };
    let options = options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(&tls.ca_file);
    match &tls.client {
        Some((cert, key)) => options.ssl_client_cert(cert).ssl_client_key(key),
        None => options,
    }
}
