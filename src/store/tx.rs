//! Transactions. A state change commits together with its events: the only way to commit a [`Tx`] is [`Tx::finish`], which takes
//! them. A `Tx` never leaves `store`, so that nobody waits for a provider inside one.
//!
//! Lock order: the row of the change trail first, then everything else. Within a body an error of the database ends the
//! transaction: it is passed on with `?`, never caught and stepped over (SQLite may have rolled back on its own, and
//! PostgreSQL would refuse every further statement).

use sqlx::pool::PoolConnection;
use sqlx::sqlite::Sqlite;

use super::error::Error;
use super::{Pools, Store, trail};
use crate::domain::ambient::Timestamp;
use crate::domain::trail::{Event, TrailHead};

/// How often a transaction is tried when the database is busy. Waiting is the engine's work (`busy_timeout`), this is for what is
/// left: one try that met a checkpoint or a foreign reader of the file, and one more.
const TRIES_MAX: u32 = 3;

/// Takes the write lock at once: a transaction that reads first and locks later can fail where it cannot wait.
const BEGIN_SQLITE: &str = "BEGIN IMMEDIATE";
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";

/// A connection of either engine.
pub(in crate::store) enum Conn {
    Sqlite(PoolConnection<Sqlite>),
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
        }
    };
}
pub(in crate::store) use on_tx;

/// One whole transaction: begin, lock the change trail, body, append its events, commit; again when the database was busy.
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
        let mut retry = $crate::store::tx::Retry::new($name);
        loop {
            let outcome = match $crate::store::tx::Tx::begin(store).await {
                Ok(mut begun) => {
                    let outcome: Result<(_, Vec<$crate::domain::trail::Event>), $crate::store::Error> = async {
                        let $tx = &mut begun;
                        $body
                    }
                    .await;
                    begun.finish(outcome).await
                }
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) if retry.again(&error) => {}
                outcome => break outcome,
            }
        }
    }};
}
pub(in crate::store) use transaction;

macro_rules! record {
    ($store:expr, $name:literal, $tx:ident => $body:expr) => {{
        let store: &$crate::store::Store = $store;
        let mut retry = $crate::store::tx::Retry::new($name);
        loop {
            let outcome = match $crate::store::tx::Tx::begin_unlocked(store).await {
                Ok(mut begun) => {
                    let outcome: Result<_, $crate::store::Error> = async {
                        let $tx = &mut begun;
                        $body
                    }
                    .await;
                    begun.finish_record(outcome).await
                }
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) if retry.again(&error) => {}
                outcome => break outcome,
            }
        }
    }};
}
pub(in crate::store) use record;

/// Counts the tries of a transaction.
pub(in crate::store) struct Retry {
    name: &'static str,
    tries: u32,
}

impl Retry {
    /// For the transaction of this name.
    pub(in crate::store) const fn new(name: &'static str) -> Self {
        Self { name, tries: 0 }
    }

    /// Whether to try again after this error. An unknown commit is never tried again.
    pub(in crate::store) fn again(&mut self, error: &Error) -> bool {
        self.tries = self.tries.saturating_add(1);
        let again = matches!(error, Error::Busy) && self.tries < TRIES_MAX;
        if again {
            tracing::warn!(transaction = self.name, tries = self.tries, "database is busy, trying again");
        }
        again
    }
}

impl<'a> Tx<'a> {
    /// Begins, and locks the change trail.
    pub(in crate::store) async fn begin(store: &'a Store) -> Result<Self, Error> {
        let mut tx = Self::begin_unlocked(store).await?;
        match tx.lock_change_trail().await {
            Ok(()) => Ok(tx),
            Err(error) => {
                tx.rollback().await;
                Err(error)
            }
        }
    }

    /// Begins without the lock: for appending to a read trail, which is no state change, and for the stamp, which makes the row.
    pub(in crate::store) async fn begin_unlocked(store: &'a Store) -> Result<Self, Error> {
        let conn = match &store.pools {
            Pools::Sqlite { write, .. } => Conn::Sqlite(write.acquire().await?),
        };
        // Built before BEGIN is sent: cancelled in between, `drop` still closes the connection.
        let mut tx = Self { conn, store, now: store.clock.now(), head: None, open: true };
        match &mut tx.conn {
            Conn::Sqlite(conn) => sqlx::query(BEGIN_SQLITE).execute(&mut **conn).await?,
        };
        tx.now = store.clock.now();
        Ok(tx)
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

    /// Ends the transaction: with events they are appended to the change trail and all is committed; without, or after an
    /// error, it is rolled back.
    ///
    /// # Errors
    /// The body's; those of the appending; [`Error::CommitUnknown`] when nobody can say whether it was committed.
    pub(in crate::store) async fn finish<T>(mut self, outcome: Result<(T, Vec<Event>), Error>) -> Result<T, Error> {
        match outcome {
            Ok((value, events)) if events.is_empty() => {
                self.rollback().await;
                Ok(value)
            }
            Ok((value, events)) => {
                if let Err(error) = self.append(events).await {
                    self.rollback().await;
                    return Err(error);
                }
                self.commit().await?;
                Ok(value)
            }
            Err(error) => {
                self.rollback().await;
                Err(error)
            }
        }
    }

    /// Ends a transaction that is no state change (a record in a read trail).
    ///
    /// # Errors
    /// As [`Tx::finish`].
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

    async fn append(&mut self, events: Vec<Event>) -> Result<(), Error> {
        let head = self.head.ok_or(Error::NotStamped)?;
        trail::changes::append(self, head, events).await
    }

    async fn commit(&mut self) -> Result<(), Error> {
        match on_tx!(self, conn => sqlx::query(COMMIT).execute(conn).await) {
            Ok(_) => {
                self.open = false;
                Ok(())
            }
            // `open` stays: the connection is closed, so that whatever is left of the transaction goes with it.
            Err(error) => Err(Error::of_commit(&error)),
        }
    }

    /// Rolls back. If that fails (SQLite rolls back by itself after some errors) the connection is closed, to the same effect.
    async fn rollback(&mut self) {
        if on_tx!(self, conn => sqlx::query(ROLLBACK).execute(conn).await).is_ok() {
            self.open = false;
        }
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if self.open {
            match &mut self.conn {
                Conn::Sqlite(conn) => conn.close_on_drop(),
            }
        }
    }
}
