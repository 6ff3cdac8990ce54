//! The database: every row, the trails, one transaction for each domain step.
//!
//! One concrete [`Store`] over a private enum of pools; one body for each statement, expanded for each engine by `on_db!` (reads) and
//! `on_tx!` (inside a transaction); SQL as constants beside their rows, in the dialect that `migrations/README.md` describes. What an
//! engine has of its own is in `sqlite`, `schema`, and the `match`es on the two enums.
//!
//! A public method is one whole transaction, named after what it means. A state change commits with its events or not at all.
//! The store neither seals nor opens secrets, and knows no policy.

mod accounts;
mod attempts;
mod budget;
mod calls;
mod clock;
mod error;
mod flows;
mod inspect;
mod links;
mod location;
mod merchants;
mod notices;
mod postgres;
mod registrations;
mod requests;
mod runs;
mod schema;
mod sqlite;
#[cfg(test)]
mod tests;
mod tokens;
mod trail;
mod tx;
mod vitals;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;

use self::tx::{Finished, Run as _, Tx, on_tx, transaction};
use crate::domain::ambient::{Clock, Entropy};
use crate::domain::app::{App, Environment};
use crate::domain::id::{AppId, RunId, TrailId};
use crate::domain::mac::{RowKind, RowMac, RowTag};
use crate::domain::trail::{Event, EventKind, Hash, Signer};

pub use self::accounts::OpeningStep;
pub use self::attempts::list::{AttemptsOf, ListedAttempt};
pub use self::attempts::{Attempt, Claim, SeenHead};
pub use self::budget::Waiting;
pub use self::calls::{CallEntry, CallPlace, CallsOf, LoggedCall};
pub use self::error::Error;
pub use self::flows::{AuthorizationOrder, Flow, FlowOutcome, FlowState, Invitation};
pub use self::inspect::Inspection;
pub use self::inspect::postgres::{Content, ServerFacts};
pub use self::links::{LinkOrder, Resolution};
pub use self::location::{CONNECTIONS, Location, Postgres, PostgresTls, SCHEMA};
pub use self::merchants::{MerchantKey, Private};
pub use self::postgres::safety::{Danger, Durability, Rights};
pub use self::registrations::{RegistrationClaim, RegistrationOrder};
pub use self::requests::{Earlier, Request};
pub use self::runs::{Beat, StaleRun};
pub use self::schema::{MigrateReport, SCHEMA_NEWEST, SCHEMA_OLDEST};
pub use self::tokens::{EarlierTokens, Head, NewToken, Observed, SeenUser, StoredToken, TemporaryDue};
pub use self::trail::events::{RecordPlace, RecordsOf};
pub use self::trail::{CLOSED, CRASHED, PAGE_BYTES_MAX, PAGE_RECORDS_MAX, ReadTrail, Trail, TrailKind};
pub use self::vitals::ClockOffset;

/// A result of the store.
pub(in crate::store) type Result<T, E = Error> = std::result::Result<T, E>;

const DEPLOYMENT: &str = "SELECT id, app_id, key_check FROM deployment WHERE singleton = 1";
const INSERT_DEPLOYMENT: &str = "INSERT INTO deployment (singleton, id, app_id, key_check, stamped_at_us) \
     VALUES (1, $1, $2, $3, $4)";
const APP: &str = "SELECT id, provider, environment, client_id FROM apps WHERE id = $1";
const INSERT_APP: &str = "INSERT INTO apps (id, provider, environment, client_id, created_at_us) \
     VALUES ($1, $2, $3, $4, $5)";
const ALIVE: &str = "SELECT COUNT(*) FROM deployment";

/// Every statement of this file, for the test that prepares them on each engine.
#[cfg(test)]
const STATEMENTS: &[&str] = &[DEPLOYMENT, INSERT_DEPLOYMENT, APP, INSERT_APP, ALIVE];

/// The keys the store works with, behind the domain's seams.
#[derive(Clone)]
pub struct StoreKeys {
    /// Signs the records of the trails.
    pub signer: Arc<dyn Signer>,
    /// Makes and checks the MACs of rows that decisions read.
    pub mac: Arc<dyn RowMac>,
    /// Tells this keyring from another, and nothing about its keys. A database remembers the one it was stamped with.
    pub check_value: [u8; 16],
}

/// Whether [`Store::open_with`] may bring an older schema up to date.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Migrations {
    /// Yes: one process owns the database, so nobody else can stumble over it.
    Apply,
    /// No: an older schema than [`SCHEMA_OLDEST`] is refused.
    Refuse,
}

/// The database. Share it by `Arc`; drop it last.
pub struct Store {
    pools: Pools,
    keys: StoreKeys,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// The change trail, and with it the deployment. Before the stamp: the one it will get.
    trail: Mutex<TrailId>,
    /// This run of the process: what it begins is its own. Another one once the process was taken for dead.
    run: Mutex<RunId>,
    /// Behind the pools: given up after they are gone. A server has its own doors.
    _owned: Option<sqlite::Owned>,
}

/// Longest time of one read, as at the server. Where nobody answers, a caller is to be told so within its own deadline (5 s), and before
/// that the failure may wait as long again for its record.
pub(in crate::store) const READ_MAX: Duration = Duration::from_secs(2);

/// The pools of the engine in use.
enum Pools {
    Sqlite { read: SqlitePool, write: SqlitePool },
    Postgres(PgPool),
}

/// One statement in two dialects, where the common one will not do.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Dialect {
    pub(in crate::store) sqlite: &'static str,
    pub(in crate::store) postgres: &'static str,
}

/// Runs one body on a connection for reading, whichever engine it is, within [`READ_MAX`]. Writing goes through a transaction only.
///
/// `on_db!(read self, conn => sqlx::query_as::<_, Row>(SQL).bind(id).fetch_optional(conn).await)`
///
/// The body yields a `Result`, whose error becomes an [`Error`]; it may run again, since pooled connections may have broken while nobody
/// used them, so it borrows and does not consume. A connection that did not answer is not used again.
macro_rules! on_db {
    (read $store:expr, $conn:ident => $body:expr) => {
        match &$store.pools {
            $crate::store::Pools::Sqlite { read, .. } => match read.acquire().await {
                Ok(mut pooled) => {
                    let $conn: &mut ::sqlx::sqlite::SqliteConnection = &mut *pooled;
                    $crate::store::tx::within($crate::store::READ_MAX, async { $body }).await
                }
                Err(error) => Err($crate::store::Error::from(error)),
            },
            $crate::store::Pools::Postgres(pool) => {
                let mut broken = $store.connections();
                loop {
                    let outcome = match pool.acquire().await {
                        Ok(mut pooled) => {
                            let $conn: &mut ::sqlx::postgres::PgConnection = &mut *pooled;
                            let outcome = $crate::store::tx::within($crate::store::READ_MAX, async { $body }).await;
                            if matches!(outcome, Err($crate::store::Error::Unavailable { .. })) {
                                pooled.close_on_drop();
                            }
                            outcome
                        }
                        Err(error) => Err($crate::store::Error::from(error)),
                    };
                    match outcome {
                        Err(error) if error.is_broken_connection() && broken > 0 => broken = broken.saturating_sub(1),
                        outcome => break outcome,
                    }
                }
            }
        }
    };
}
pub(in crate::store) use on_db;

#[derive(sqlx::FromRow)]
struct DeploymentRow {
    id: Vec<u8>,
    app_id: Vec<u8>,
    key_check: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct AppRow {
    id: Vec<u8>,
    provider: String,
    environment: String,
    client_id: String,
}

impl Store {
    /// Opens the database: [`Store::open_with`]. A file is made, and its schema brought up to date, where needed; a server's schema is
    /// changed by [`Store::migrate`] alone, as another role.
    ///
    /// # Errors
    /// Those of [`Store::open_with`].
    pub async fn open(
        location: &Location,
        keys: StoreKeys,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Error> {
        let migrations = match location {
            Location::Sqlite(_) => Migrations::Apply,
            Location::Postgres(_) => Migrations::Refuse,
        };
        Self::open_with(location, migrations, keys, clock, entropy).await
    }

    /// Opens the database: takes its lock, checks its integrity and schema, and closes the read trails of a process that died.
    ///
    /// The lock is held until the store is dropped.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process (or another `Store` of this one) has it; [`Error::BadUrl`];
    /// [`Error::SchemaTooOld`], [`Error::SchemaTooNew`]; [`Error::Corrupt`]; [`Error::KeyringDiffers`], before anything is signed.
    pub async fn open_with(
        location: &Location,
        migrations: Migrations,
        keys: StoreKeys,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Error> {
        let (pools, owned) = match location {
            Location::Sqlite(path) => {
                let owned = sqlite::Owned::take(path)?;
                let mut conn = owned.connect().await?;
                sqlite::check(&mut conn).await?;
                if migrations == Migrations::Apply {
                    schema::sqlite::migrate(&mut conn).await?;
                }
                schema::sqlite::gate(&mut conn).await?;
                sqlx::Connection::close(conn).await?;
                (owned.pools().await?, Some(owned))
            }
            Location::Postgres(server) => {
                if migrations == Migrations::Apply {
                    postgres::migrate(server).await?;
                }
                let mut conn = postgres::connect(server).await?;
                schema::postgres::gate(&mut conn).await?;
                postgres::safety::refuse_unsafe(&mut conn, server).await?;
                sqlx::Connection::close(conn).await?;
                (Pools::Postgres(postgres::pool(server)?), None)
            }
        };
        let trail = TrailId::generate(&*clock, &*entropy);
        let run = RunId::generate(&*clock, &*entropy);
        let (trail, run) = (Mutex::new(trail), Mutex::new(run));
        let store = Self { pools, keys, clock, entropy, trail, run, _owned: owned };
        if let Some(row) = store.deployment().await? {
            store.belong_to(&row)?;
            store.recover_trails().await?;
        }
        Ok(store)
    }

    /// Applies the migrations that are missing. Needs the lock: no process may have the database open.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::BadUrl`], [`Error::SchemaTooNew`], [`Error::Corrupt`]; the database's.
    pub async fn migrate(location: &Location) -> Result<MigrateReport, Error> {
        match location {
            Location::Sqlite(path) => {
                let owned = sqlite::Owned::take(path)?;
                let mut conn = owned.connect().await?;
                sqlite::check(&mut conn).await?;
                let report = schema::sqlite::migrate(&mut conn).await?;
                sqlx::Connection::close(conn).await?;
                Ok(report)
            }
            Location::Postgres(server) => postgres::migrate(server).await,
        }
    }

    /// Ties the database to an app and a keyring. The first start writes both; every later one compares, and so does the one that loses
    /// when two make the first start at once.
    ///
    /// # Errors
    /// [`Error::AppDiffers`], [`Error::KeyringDiffers`]; the database's.
    pub async fn stamp(&self, provider: &str, environment: Environment, client_id: &str) -> Result<App, Error> {
        let row = match self.deployment().await? {
            Some(row) => row,
            None => match self.stamp_first(provider, environment, client_id).await {
                // Whoever was faster stamped it: what holds is there.
                Err(lost @ Error::Conflict(_)) => self.deployment().await?.ok_or(lost)?,
                stamped => return stamped,
            },
        };
        self.belong_to(&row)?;
        let stamped = on_db!(read self, pool =>
            sqlx::query_as::<_, AppRow>(APP).bind(&row.app_id).fetch_optional(pool).await)?
        .ok_or(Error::Corrupt("app of the deployment"))?;
        let app = App::try_from(stamped)?;
        if (app.provider.as_str(), app.environment, app.client_id.as_str()) != (provider, environment, client_id) {
            let stamped = format!("{}/{}/{}", app.provider, app.environment, app.client_id);
            return Err(Error::AppDiffers { stamped });
        }
        Ok(app)
    }

    /// Notes that a policy file came into force.
    ///
    /// # Errors
    /// The database's.
    pub async fn note_policy(&self, policy: Hash) -> Result<()> {
        transaction!(self, "note_policy", tx => {
            let mut event = Event::new(EventKind::PolicyLoaded, tx.now(), trail::SYSTEM);
            event.policy = Some(policy);
            Ok(((), vec![event]))
        })
    }

    /// The change trail; its id is the deployment's as well.
    pub fn change_trail(&self) -> TrailId {
        *self.trail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This run of the process. It changes when the process was taken for dead: not to be kept.
    pub fn run(&self) -> RunId {
        *self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn become_run(&self, run: RunId) {
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = run;
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// The database's.
    pub async fn health(&self) -> Result<(), Error> {
        let _: i64 = on_db!(read self, pool => sqlx::query_scalar(ALIVE).fetch_one(pool).await)?;
        Ok(())
    }

    /// Waits for what is under way and closes every connection; later calls are refused. The lock is held until the drop.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { read, write } => {
                read.close().await;
                // Last: closing the last connection moves the write-ahead log into the file.
                write.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }

    /// How many connections there are now; one in a file does not break.
    pub(in crate::store) fn connections(&self) -> u32 {
        match &self.pools {
            Pools::Sqlite { .. } => 0,
            Pools::Postgres(pool) => pool.size(),
        }
    }

    /// The MAC of a row that decisions read.
    pub(in crate::store) fn tag_row(&self, kind: RowKind, fields: &[&[u8]]) -> RowTag {
        self.keys.mac.tag(kind, fields)
    }

    /// Refuses a row that does not belong to its MAC: somebody else wrote it.
    pub(in crate::store) fn check_row(&self, kind: RowKind, fields: &[&[u8]], mac: &[u8]) -> Result<()> {
        let tag = RowTag(blob(mac, "mac")?);
        if self.keys.mac.matches(kind, fields, &tag) { Ok(()) } else { Err(Error::Corrupt(kind.as_str())) }
    }

    async fn deployment(&self) -> Result<Option<DeploymentRow>, Error> {
        Ok(on_db!(read self, pool => sqlx::query_as::<_, DeploymentRow>(DEPLOYMENT).fetch_optional(pool).await)?)
    }

    fn check_keyring(&self, row: &DeploymentRow) -> Result<(), Error> {
        if row.key_check == self.keys.check_value { Ok(()) } else { Err(Error::KeyringDiffers) }
    }

    /// The deployment that the database is stamped with is ours, if its keyring is.
    fn belong_to(&self, row: &DeploymentRow) -> Result<(), Error> {
        self.check_keyring(row)?;
        let trail = TrailId::from_slice(&row.id).ok_or(Error::Corrupt("id of the deployment"))?;
        *self.trail.lock().unwrap_or_else(PoisonError::into_inner) = trail;
        Ok(())
    }

    async fn stamp_first(&self, provider: &str, environment: Environment, client_id: &str) -> Result<App, Error> {
        let id = AppId::generate(&*self.clock, &*self.entropy);
        let app = App { id, provider: provider.to_owned(), environment, client_id: client_id.to_owned() };
        let mut tx = Tx::begin_unlocked(self).await?;
        let outcome = self.write_stamp(&mut tx, &app).await;
        match tx.finish(outcome.map(|event| (app, vec![event]))).await {
            Finished::Done(outcome) => outcome,
            Finished::Unknown { error, .. } => Err(error),
        }
    }

    async fn write_stamp(&self, tx: &mut Tx<'_>, app: &App) -> Result<Event, Error> {
        let trail = self.change_trail();
        trail::insert(tx, trail, TrailKind::Change).await?;
        tx.lock_change_trail().await?;
        let now = tx.now();
        on_tx!(tx, conn => sqlx::query(INSERT_APP)
            .bind(app.id.as_bytes().as_slice())
            .bind(&app.provider)
            .bind(app.environment.as_str())
            .bind(&app.client_id)
            .bind(now.as_micros())
            .run(conn).await)?;
        on_tx!(tx, conn => sqlx::query(INSERT_DEPLOYMENT)
            .bind(trail.as_bytes().as_slice())
            .bind(app.id.as_bytes().as_slice())
            .bind(self.keys.check_value.as_slice())
            .bind(now.as_micros())
            .run(conn).await)?;
        Ok(Event::new(EventKind::DeploymentStamped, now, trail::SYSTEM)
            .detail("app", app.id)
            .detail("provider", &app.provider)
            .detail("environment", app.environment)
            .detail("client_id", &app.client_id))
    }
}

/// The statement for the engine in use.
pub(in crate::store) const fn pick(store: &Store, dialect: Dialect) -> &'static str {
    match store.pools {
        Pools::Sqlite { .. } => dialect.sqlite,
        Pools::Postgres(_) => dialect.postgres,
    }
}

/// A stored value of a fixed length.
pub(in crate::store) fn blob<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| Error::Corrupt(what))
}

impl TryFrom<AppRow> for App {
    type Error = Error;

    fn try_from(row: AppRow) -> Result<Self, Error> {
        Ok(Self {
            id: AppId::from_slice(&row.id).ok_or(Error::Corrupt("id of the app"))?,
            environment: Environment::parse(&row.environment).map_err(|_| Error::Corrupt("environment of the app"))?,
            provider: row.provider,
            client_id: row.client_id,
        })
    }
}
