//! Transactions. A state change commits together with its events: the only way to commit a [`Tx`] that changed something is
//! [`Tx::finish`], which takes them. A `Tx` never leaves `store`, so that nobody waits for a provider inside one.
//!
//! Lock order: the row of the change trail first, then everything else. On PostgreSQL that one lock makes READ COMMITTED enough:
//! state changes of all processes come one after another, and each statement sees what was committed before it. Within a body an
//! error of the database ends the transaction: it is passed on with `?`, never caught and stepped over (SQLite may have rolled back on
//! its own, and PostgreSQL would answer the COMMIT of a failed transaction with a rollback and no error).

use std::time::Duration;

use sqlx::Database;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, Postgres};
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteConnection};

use super::error::Error;
use super::{Pools, Store, trail};
use crate::domain::ambient::{Timestamp, random};
use crate::domain::trail::{Event, TrailHead};

/// How often a transaction is tried when the database is busy. Waiting is the engine's work (`busy_timeout`, `lock_timeout`), this is
/// for what is left: two tries that met a checkpoint, a foreign reader, a deadlock or a lock that was not given back in time.
const TRIES_MAX: u32 = 3;
/// First wait before it is tried again, and before an unknown outcome is looked for again; doubled each time, less up to half by chance,
/// so that those who met once do not meet again.
const WAIT_FIRST: Duration = Duration::from_millis(50);
/// How often the outcome of a commit is looked for: some six seconds, in which a restarted server or a standby is there again.
const LOOKS_MAX: u32 = 7;
/// Longest time of one transaction up to its commit, waits for locks included. Only a connection on which nobody answers any more takes
/// that long: statements have shorter limits at the server.
const BODY_MAX: Duration = Duration::from_secs(8);
/// Longest wait for the answer to a commit, or a rollback: some seconds of waiting for a synchronous standby.
const END_MAX: Duration = Duration::from_secs(5);

/// Takes the write lock at once: a transaction that reads first and locks later can fail where it cannot wait.
const BEGIN_SQLITE: &str = "BEGIN IMMEDIATE";
const BEGIN_POSTGRES: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";

/// A connection of either engine.
pub(in crate::store) enum Conn {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// A transaction that is under way. Dropped without [`Tx::finish`] it closes its connection, which rolls back: whatever state the
/// connection was in, nobody meets it again.
pub(in crate::store) struct Tx<'a> {
    pub(in crate::store) conn: Conn,
    pub(in crate::store) store: &'a Store,
    now: Timestamp,
    head: Option<TrailHead>,
    open: bool,
}

/// What became of a transaction.
pub(in crate::store) enum Finished<T> {
    /// That is known.
    Done(Result<T, Error>),
    /// The commit was sent and its answer is not known. It stands if this is in the change trail.
    Unknown { value: T, head: TrailHead, error: Error },
}

/// Runs one body on the connection of a transaction, whichever engine it is.
///
/// `on_tx!(tx, conn => sqlx::query(SQL).bind(id).execute(conn).await)`
macro_rules! on_tx {
    ($tx:expr, $conn:ident => $body:expr) => {
        match &mut $tx.conn {
            $crate::store::tx::Conn::Sqlite(pooled) => {
                let $conn: &mut ::sqlx::sqlite::SqliteConnection = &mut *pooled;
                $body
            }
            $crate::store::tx::Conn::Postgres(pooled) => {
                let $conn: &mut ::sqlx::postgres::PgConnection = &mut *pooled;
                $body
            }
        }
    };
}
pub(in crate::store) use on_tx;

/// Runs a statement on a connection of either engine, and says how many rows it touched.
pub(in crate::store) trait Run<C> {
    /// Runs it.
    fn run(self, conn: &mut C) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;
}

impl<'q> Run<SqliteConnection> for Query<'q, Sqlite, <Sqlite as Database>::Arguments> {
    async fn run(self, conn: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
        self.execute(conn).await.map(|done| done.rows_affected())
    }
}

impl<'q> Run<PgConnection> for Query<'q, Postgres, <Postgres as Database>::Arguments> {
    async fn run(self, conn: &mut PgConnection) -> Result<u64, sqlx::Error> {
        self.execute(conn).await.map(|done| done.rows_affected())
    }
}

/// One whole transaction: begin, lock the change trail, body, append its events, commit; again when the database was busy, and when a
/// commit of unknown outcome turns out not to have taken place.
///
/// ```text
/// transaction!(self, "claim_attempt", tx => {
///     on_tx!(tx, conn => sqlx::query(CLAIM).bind(…).execute(conn).await)?;
///     Ok((value, vec![event]))
/// })
/// ```
///
/// The body is an async block that yields `Result<(T, Vec<Event>), Error>`; it may run more than once, so it borrows and does not
/// consume. `tx` is a `&mut Tx`. No events means nothing changed: rolled back, and the value returned. The whole is a `Result<T, Error>`.
macro_rules! transaction {
    ($store:expr, $name:literal, $tx:ident => $body:expr) => {{
        let store: &$crate::store::Store = $store;
        let mut retry = $crate::store::tx::Retry::new(store, $name);
        loop {
            let finished = match $crate::store::tx::Tx::begin(store).await {
                Ok(mut begun) => {
                    let outcome = $crate::store::tx::bounded(async {
                        let $tx = &mut begun;
                        let outcome: Result<(_, Vec<$crate::domain::trail::Event>), $crate::store::Error> =
                            async { $body }.await;
                        outcome
                    })
                    .await;
                    begun.finish(outcome).await
                }
                Err(error) => $crate::store::tx::Finished::Done(Err(error)),
            };
            if let Some(outcome) = retry.settle(finished).await {
                break outcome;
            }
        }
    }};
}
pub(in crate::store) use transaction;

/// One whole transaction that is no state change (a record in a read trail, a log, what processes agree on): begin, body, commit; again
/// when the database was busy. It takes no lock and has no event, so that an unknown outcome stays unknown: what is written here is
/// written so that writing it again does no harm.
///
/// The body is an async block that yields `Result<T, Error>`; as of `transaction!`.
macro_rules! record {
    ($store:expr, $name:literal, $tx:ident => $body:expr) => {{
        let store: &$crate::store::Store = $store;
        let mut retry = $crate::store::tx::Retry::new(store, $name);
        loop {
            let outcome = match $crate::store::tx::Tx::begin_unlocked(store).await {
                Ok(mut begun) => {
                    let outcome = $crate::store::tx::bounded(async {
                        let $tx = &mut begun;
                        let outcome: Result<_, $crate::store::Error> = async { $body }.await;
                        outcome
                    })
                    .await;
                    begun.finish_record(outcome).await
                }
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) if retry.again(&error).await => {}
                outcome => break outcome,
            }
        }
    }};
}
pub(in crate::store) use record;

/// Bounds the time of a body: on a connection on which nobody answers it would wait for ever.
pub(in crate::store) async fn bounded<T>(body: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    within(BODY_MAX, body).await
}

/// Bounds a wait for the database. Dropping what waits closes its connection.
pub(in crate::store) async fn within<T, E>(
    longest: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Error>
where
    Error: From<E>,
{
    match tokio::time::timeout(longest, work).await {
        Ok(outcome) => outcome.map_err(Error::from),
        Err(_) => Err(Error::no_answer()),
    }
}

/// Counts the tries of a transaction, and finds out what became of it.
pub(in crate::store) struct Retry<'a> {
    store: &'a Store,
    name: &'static str,
    tries: u32,
    looks: u32,
}

impl<'a> Retry<'a> {
    /// For the transaction of this name.
    pub(in crate::store) const fn new(store: &'a Store, name: &'static str) -> Self {
        Self { store, name, tries: 0, looks: 0 }
    }

    /// Whether to try again after this error, after a while. An unknown commit is never tried again.
    pub(in crate::store) async fn again(&mut self, error: &Error) -> bool {
        matches!(error, Error::Busy) && self.once_more("database is busy").await
    }

    /// The outcome, or nothing where the transaction is to be tried again. A commit of unknown outcome is looked for in the change trail,
    /// under its lock and so behind whatever the server still does: there, it took place; not there, it never will.
    pub(in crate::store) async fn settle<T>(&mut self, finished: Finished<T>) -> Option<Result<T, Error>> {
        let (value, head, error) = match finished {
            Finished::Done(Err(error)) if self.again(&error).await => return None,
            Finished::Done(outcome) => return Some(outcome),
            Finished::Unknown { value, head, error } => (value, head, error),
        };
        tracing::warn!(transaction = self.name, trail.seq = head.seq, "looking for a commit: {error}");
        let found = loop {
            match was_committed(self.store, head).await {
                Err(unanswered) if self.look_again(&unanswered).await => {}
                found => break found,
            }
        };
        match found {
            Ok(true) => Some(Ok(value)),
            Ok(false) if self.once_more("commit did not take place").await => None,
            // It did not take place, and there were tries enough: nothing was changed.
            Ok(false) => Some(Err(Error::Busy)),
            Err(_) => Some(Err(error)),
        }
    }

    /// Whether to look again, which changes nothing, after this error and a while.
    pub(in crate::store) async fn look_again(&mut self, error: &Error) -> bool {
        self.looks = self.looks.saturating_add(1);
        if !error.is_retryable() || self.looks >= LOOKS_MAX {
            return false;
        }
        self.pause(self.looks).await;
        true
    }

    /// Whether to try again because of this, after a while.
    pub(in crate::store) async fn once_more(&mut self, why: &str) -> bool {
        self.tries = self.tries.saturating_add(1);
        if self.tries >= TRIES_MAX {
            return false;
        }
        tracing::warn!(transaction = self.name, tries = self.tries, "{why}, trying again");
        self.pause(self.tries).await;
        true
    }

    /// Before the n-th repetition.
    async fn pause(&self, nth: u32) {
        let wait = WAIT_FIRST.saturating_mul(1 << nth.saturating_sub(1).min(LOOKS_MAX));
        let [chance] = random::<1>(&*self.store.entropy);
        let less = wait.saturating_mul(u32::from(chance)) / 512;
        self.store.clock.sleep(wait.saturating_sub(less)).await;
    }
}

/// Whether the record that was to be the newest of the change trail is in it.
async fn was_committed(store: &Store, head: TrailHead) -> Result<bool, Error> {
    let mut tx = Tx::begin(store).await?;
    let found = bounded(trail::changes::hash_at(&mut tx, head.seq)).await;
    tx.rollback().await;
    Ok(found? == Some(head.hash))
}

impl<'a> Tx<'a> {
    /// Begins, and locks the change trail.
    pub(in crate::store) async fn begin(store: &'a Store) -> Result<Self, Error> {
        let mut tx = Self::begin_unlocked(store).await?;
        match bounded(tx.lock_change_trail()).await {
            Ok(()) => Ok(tx),
            Err(error) => {
                tx.rollback().await;
                Err(error)
            }
        }
    }

    /// Begins without the lock: for what is no state change, and for the stamp, which makes the row.
    pub(in crate::store) async fn begin_unlocked(store: &'a Store) -> Result<Self, Error> {
        let mut broken = store.connections();
        loop {
            let conn = match &store.pools {
                Pools::Sqlite { write, .. } => Conn::Sqlite(write.acquire().await?),
                Pools::Postgres(pool) => Conn::Postgres(pool.acquire().await?),
            };
            // Built before BEGIN is sent: cancelled in between, `drop` still closes the connection.
            let mut tx = Self { conn, store, now: store.clock.now(), head: None, open: true };
            let begun = match &mut tx.conn {
                Conn::Sqlite(conn) => within(BODY_MAX, sqlx::query(BEGIN_SQLITE).execute(&mut **conn)).await.map(drop),
                Conn::Postgres(conn) => {
                    within(END_MAX, sqlx::raw_sql(BEGIN_POSTGRES).execute(&mut **conn)).await.map(drop)
                }
            };
            match begun {
                // It broke while nobody used it, and so may have the others.
                Err(error) if error.is_broken_connection() && broken > 0 => broken = broken.saturating_sub(1),
                begun => {
                    begun?;
                    tx.now = store.clock.now();
                    return Ok(tx);
                }
            }
        }
    }

    /// Locks the change trail's row and remembers its head. Every later event of this transaction follows that head.
    pub(in crate::store) async fn lock_change_trail(&mut self) -> Result<(), Error> {
        self.head = Some(trail::changes::lock(self).await?);
        // Read under the lock, so that times in the trail do not step back because somebody waited.
        self.now = self.store.clock.now();
        Ok(())
    }

    /// The time of this transaction: of its records, and of the rows it writes.
    pub(in crate::store) const fn now(&self) -> Timestamp {
        self.now
    }

    /// The head of the change trail under this transaction's lock.
    pub(in crate::store) fn change_head(&self) -> Result<TrailHead, Error> {
        self.head.ok_or(Error::NotStamped)
    }

    /// Ends the transaction: with events they are appended to the change trail and all is committed; without, or after an
    /// error, it is rolled back.
    ///
    /// # Errors
    /// The body's; those of the appending.
    pub(in crate::store) async fn finish<T>(mut self, outcome: Result<(T, Vec<Event>), Error>) -> Finished<T> {
        let appended = match outcome {
            Ok((value, events)) if events.is_empty() => {
                self.rollback().await;
                return Finished::Done(Ok(value));
            }
            Ok((value, events)) => bounded(self.append(events)).await.map(|head| (value, head)),
            Err(error) => Err(error),
        };
        match appended {
            Ok((value, head)) => match self.commit().await {
                Ok(()) => Finished::Done(Ok(value)),
                Err(error @ Error::CommitUnknown { .. }) => Finished::Unknown { value, head, error },
                Err(error) => Finished::Done(Err(error)),
            },
            Err(error) => {
                self.rollback().await;
                Finished::Done(Err(error))
            }
        }
    }

    /// Ends a transaction that is no state change (a record in a read trail).
    ///
    /// # Errors
    /// The body's; [`Error::CommitUnknown`] when nobody can say whether it was committed.
    pub(in crate::store) async fn finish_record<T>(mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        match outcome {
            Ok(value) => {
                self.commit().await?;
                Ok(value)
            }
            Err(error) => {
                self.rollback().await;
                Err(error)
            }
        }
    }

    /// Rolls back. If that fails (SQLite rolls back by itself after some errors) the connection is closed, to the same effect.
    pub(in crate::store) async fn rollback(mut self) {
        if within(END_MAX, self.end(ROLLBACK)).await.is_ok() {
            self.open = false;
        }
    }

    async fn append(&mut self, events: Vec<Event>) -> Result<TrailHead, Error> {
        let head = self.change_head()?;
        trail::changes::append(self, head, events).await
    }

    async fn commit(&mut self) -> Result<(), Error> {
        match tokio::time::timeout(END_MAX, self.end(COMMIT)).await {
            Ok(Ok(())) => {
                self.open = false;
                Ok(())
            }
            // `open` stays: the connection is closed, so that whatever is left of the transaction goes with it.
            Ok(Err(error)) => Err(Error::of_commit(&error)),
            Err(_) => Err(Error::CommitUnknown { code: "no answer".into() }),
        }
    }

    /// On PostgreSQL in one message: there is nothing to prepare.
    async fn end(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        match &mut self.conn {
            Conn::Sqlite(conn) => sqlx::query(statement).execute(&mut **conn).await.map(drop),
            Conn::Postgres(conn) => sqlx::raw_sql(statement).execute(&mut **conn).await.map(drop),
        }
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if self.open {
            match &mut self.conn {
                Conn::Sqlite(conn) => conn.close_on_drop(),
                Conn::Postgres(conn) => conn.close_on_drop(),
            }
        }
    }
}
