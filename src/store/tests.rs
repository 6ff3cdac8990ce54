//! The store on a real file, with toy keys.

mod altered;
mod budget;
mod business;
mod commits;
mod ground;
mod lists;
mod openings;
mod refused;
mod registered;
mod schemas;
mod several;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};

use self::ground::{Ground, Intruder};
use super::tx::{Run as _, transaction};
use super::*;
use crate::domain::ambient::{SystemClock, SystemEntropy};
use crate::domain::id::MerchantId;
use crate::domain::mac::{RowKind, RowTag};
use crate::domain::trail::{GENESIS, PublicKey, SealedRecord, Signature, TrailHead, cbor};

/// Signs by hashing: enough to see that the right bytes were signed.
struct ToySigner;

impl Signer for ToySigner {
    fn public_key(&self) -> PublicKey {
        PublicKey([7; 32])
    }

    fn sign(&self, message: &[u8]) -> Signature {
        let hash = cbor::hash(message).0;
        Signature(std::array::from_fn(|at| hash[at % hash.len()]))
    }
}

struct ToyMac;

impl RowMac for ToyMac {
    fn tag(&self, kind: RowKind, fields: &[&[u8]]) -> RowTag {
        RowTag(cbor::hash(&[&[kind.as_str().as_bytes()], fields].concat().concat()).0)
    }

    fn matches(&self, kind: RowKind, fields: &[&[u8]], tag: &RowTag) -> bool {
        self.tag(kind, fields) == *tag
    }
}

fn keys(check_value: [u8; 16]) -> StoreKeys {
    StoreKeys { signer: Arc::new(ToySigner), mac: Arc::new(ToyMac), check_value }
}

/// Migrates when its turn has come: all schemas of a server's database take turns, and nobody waits longer than a second.
async fn migrate(ground: &Ground) -> Result<MigrateReport, Error> {
    loop {
        match Store::migrate(&ground.migrator()).await {
            Err(Error::Busy) => {}
            migrated => return migrated,
        }
    }
}

async fn try_open(ground: &Ground, check_value: [u8; 16]) -> Result<Store, Error> {
    if let Ground::Schema(_) = ground {
        migrate(ground).await?;
    }
    Store::open(&ground.location(), keys(check_value), Arc::new(SystemClock), Arc::new(SystemEntropy)).await
}

async fn stamped(ground: &Ground) -> Store {
    let store = try_open(ground, [1; 16]).await.unwrap();
    store.stamp("wepay", Environment::Stage, "4711").await.unwrap();
    store
}

fn event(kind: EventKind) -> Event {
    Event::new(kind, SystemClock.now(), "test")
}

/// Sets the writing connection up in another way; so are those that replace it.
async fn replace_writer(store: &mut Store, change: impl FnOnce(SqliteConnectOptions) -> SqliteConnectOptions) {
    let Pools::Sqlite { write, .. } = &mut store.pools else { unreachable!("a file") };
    let options = change(SqliteConnectOptions::clone(&write.connect_options()));
    write.close().await;
    *write = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
}

async fn append(store: &Store, event: Event) -> Result<u32, Error> {
    transaction!(store, "append", tx => {
        let _ = tx.now();
        Ok((42, vec![event.clone()]))
    })
}

async fn whole(store: &Store, trail: TrailId) -> Vec<SealedRecord> {
    let mut records: Vec<SealedRecord> = Vec::new();
    loop {
        let after = u64::try_from(records.len()).unwrap();
        let page = store.trail_page(trail, after, 7).await.unwrap();
        if page.is_empty() {
            return records;
        }
        records.extend(page);
    }
}

/// Every record in its place, hashed, chained and signed; and the head the trail claims.
async fn verified(store: &Store, trail: TrailId) -> Vec<Event> {
    let mut head = TrailHead { trail, seq: 0, hash: GENESIS };
    let mut events = Vec::new();
    for sealed in whole(store, trail).await {
        let record = cbor::decode(&sealed.bytes).unwrap();
        assert_eq!((record.trail, record.seq, record.previous), (trail, head.seq + 1, head.hash));
        assert_eq!(sealed.hash, cbor::hash(&sealed.bytes));
        assert_eq!(sealed.signature, ToySigner.sign(&cbor::signed_message(&sealed.bytes)));
        head = TrailHead { trail, seq: record.seq, hash: sealed.hash };
        events.extend(record.events);
    }
    let stored = store.trails().await.unwrap().into_iter().find(|one| one.head.trail == trail).unwrap();
    assert_eq!(stored.head, head);
    events
}

fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind).collect()
}

/// Lets the test drop a store and have its lock back: closing the connections is awaited, the trails stay open as in a crash.
async fn crash(store: Store) {
    store.close().await;
    drop(store);
}

business::store_suite! {
    super::Ground,
    a_first_start_stamps_the_database_and_a_later_one_finds_the_same,
    another_app_and_another_keyring_are_refused_and_write_nothing,
    a_hundred_concurrent_changes_make_one_chain_without_gaps,
    an_error_of_the_body_leaves_nothing,
    a_body_without_events_changed_nothing,
    a_cancelled_transaction_rolls_back_and_blocks_nobody,
    a_unique_row_that_exists_is_a_conflict,
    a_batch_of_reads_is_one_record_and_closing_names_size_and_head,
    a_closed_trail_takes_no_more_records,
    after_a_cancelled_append_the_head_is_read_back,
    records_can_be_neither_changed_nor_removed_nor_replaced_nor_skipped,
    a_start_notices_that_the_newest_record_is_not_the_head,
    a_schema_newer_than_this_build_is_refused_and_left_alone,
    migrating_is_a_step_of_its_own_where_starting_may_not,
    a_migration_that_was_edited_after_it_ran_is_refused,
    every_statement_prepares,
}

async fn a_first_start_stamps_the_database_and_a_later_one_finds_the_same(ground: Ground) {
    let store = try_open(&ground, [1; 16]).await.unwrap();
    assert_eq!(store.position().await.unwrap().seq, 0);
    let early = append(&store, event(EventKind::MerchantCreated)).await;
    assert!(matches!(early, Err(Error::NotStamped)), "{early:?}");
    let app = store.stamp("wepay", Environment::Stage, "4711").await.unwrap();
    assert_eq!(store.stamp("wepay", Environment::Stage, "4711").await.unwrap(), app);
    store.health().await.unwrap();
    let trail = store.change_trail();
    crash(store).await;

    let store = try_open(&ground, [1; 16]).await.unwrap();
    assert_eq!(store.change_trail(), trail);
    assert_eq!(store.stamp("wepay", Environment::Stage, "4711").await.unwrap(), app);
    assert_eq!(kinds(&verified(&store, trail).await), [EventKind::DeploymentStamped]);
    let position = store.position().await.unwrap();
    assert_eq!(position.seq, 1);
    assert_ne!(position.tag, [0; 8]);
}

async fn another_app_and_another_keyring_are_refused_and_write_nothing(ground: Ground) {
    let store = stamped(&ground).await;
    for (provider, environment, client_id) in [
        ("other", Environment::Stage, "4711"),
        ("wepay", Environment::Production, "4711"),
        ("wepay", Environment::Stage, "4712"),
    ] {
        let refused = store.stamp(provider, environment, client_id).await;
        assert!(matches!(&refused, Err(Error::AppDiffers { stamped }) if stamped == "wepay/stage/4711"), "{refused:?}");
    }
    store.open_read_trail("system").await.unwrap();
    crash(store).await;
    // The trail left open shows that a wrong keyring signs nothing, not even its closing.
    assert!(matches!(try_open(&ground, [2; 16]).await, Err(Error::KeyringDiffers)));
    let store = try_open(&ground, [1; 16]).await.unwrap();
    // Where others may have the database, whoever leads closes it, not a start.
    store.close_orphaned_trails().await.unwrap();
    let events = verified(&store, store.change_trail()).await;
    assert_eq!(kinds(&events), [EventKind::DeploymentStamped, EventKind::TrailOpened, EventKind::TrailClosed]);
}

#[tokio::test]
async fn one_process_owns_the_file_until_it_lets_go() {
    let ground = Ground::file();
    let store = stamped(&ground).await;
    assert!(matches!(try_open(&ground, [1; 16]).await, Err(Error::Locked)));
    assert!(matches!(migrate(&ground).await, Err(Error::Locked)));
    drop(store);
    try_open(&ground, [1; 16]).await.unwrap();
}

#[tokio::test]
async fn nobody_but_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let ground = Ground::file();
    let _store = stamped(&ground).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let Location::Sqlite(file) = ground.location() else { unreachable!("a file") };
    let state = file.parent().unwrap();
    assert_eq!(mode(state), 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(state).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["strongroom.db", "strongroom.db-shm", "strongroom.db-wal", "strongroom.db.lock"]);
}

#[tokio::test]
async fn urls_that_name_no_file_are_refused() {
    for bad in [
        "",
        "postgres://user:secret@host/db",
        "postgres://host/db",
        "postgres://user@host",
        "postgres://user@host/db?sslmode=disable",
        "sqlite:",
        "sqlite::memory:",
        "sqlite:///tmp/x?mode=ro",
        "sqlite:///",
    ] {
        let refused = Location::parse(bad).unwrap_err();
        assert!(matches!(refused, Error::BadUrl(_)), "{bad}: {refused:?}");
        assert!(!refused.to_string().contains("secret"));
    }
}

#[tokio::test]
async fn the_connections_are_set_up_as_a_vault_needs() {
    let ground = Ground::file();
    let store = stamped(&ground).await;
    let Pools::Sqlite { read, write } = &store.pools else { unreachable!("a file") };
    for (pragma, expected) in [
        ("PRAGMA synchronous", 2_i64),
        ("PRAGMA foreign_keys", 1),
        ("PRAGMA trusted_schema", 0),
        ("PRAGMA secure_delete", 1),
        ("PRAGMA busy_timeout", 2_000),
    ] {
        assert_eq!(sqlx::query_scalar::<_, i64>(pragma).fetch_one(write).await.unwrap(), expected, "{pragma}");
    }
    let refused = sqlx::query("DELETE FROM apps").execute(read).await;
    assert!(refused.is_err(), "the reading pool must not write");
}

async fn a_hundred_concurrent_changes_make_one_chain_without_gaps(ground: Ground) {
    let store = Arc::new(stamped(&ground).await);
    let tasks: Vec<_> = (0..100_u8)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let merchant = MerchantId::from_bytes([number; 16]);
                transaction!(&store, "two_events", tx => {
                    let _ = tx.now();
                    let created = event(EventKind::MerchantCreated).merchant(merchant);
                    let started = event(EventKind::AuthorizationStarted).merchant(merchant);
                    Ok(((), vec![created, started]))
                })
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let events = verified(&store, store.change_trail()).await;
    assert_eq!(events.len(), 201);
    for pair in events[1..].chunks(2) {
        assert_eq!(kinds(pair), [EventKind::MerchantCreated, EventKind::AuthorizationStarted]);
        assert_eq!(pair[0].merchant, pair[1].merchant);
    }
    assert_eq!(store.position().await.unwrap().seq, 201);
}

async fn an_error_of_the_body_leaves_nothing(ground: Ground) {
    let store = stamped(&ground).await;
    let before = store.position().await.unwrap();
    let outcome: Result<(), Error> = transaction!(&store, "fails", tx => {
        trail::insert(tx, TrailId::from_bytes([9; 16]), TrailKind::Read).await?;
        Err(Error::Conflict("no"))
    });
    assert!(matches!(outcome, Err(Error::Conflict("no"))));
    assert_eq!(store.position().await.unwrap(), before);
    assert_eq!(store.trails().await.unwrap().len(), 1);
    append(&store, event(EventKind::MerchantCreated)).await.unwrap();
    verified(&store, store.change_trail()).await;
}

async fn a_body_without_events_changed_nothing(ground: Ground) {
    let store = stamped(&ground).await;
    let value: Result<u8, Error> = transaction!(&store, "nothing", tx => {
        trail::insert(tx, TrailId::from_bytes([9; 16]), TrailKind::Read).await?;
        Ok((5, Vec::new()))
    });
    assert_eq!(value.unwrap(), 5);
    assert_eq!(store.trails().await.unwrap().len(), 1);
    assert_eq!(verified(&store, store.change_trail()).await.len(), 1);
}

async fn a_cancelled_transaction_rolls_back_and_blocks_nobody(ground: Ground) {
    let store = stamped(&ground).await;
    let hanging = async {
        transaction!(&store, "hangs", tx => {
            trail::insert(tx, TrailId::from_bytes([9; 16]), TrailKind::Read).await?;
            std::future::pending::<()>().await;
            Ok(((), vec![event(EventKind::MerchantCreated)]))
        })
    };
    assert!(tokio::time::timeout(Duration::from_millis(200), hanging).await.is_err());
    append(&store, event(EventKind::MerchantCreated)).await.unwrap();
    assert_eq!(store.trails().await.unwrap().len(), 1);
    assert_eq!(verified(&store, store.change_trail()).await.len(), 2);
}

async fn a_unique_row_that_exists_is_a_conflict(ground: Ground) {
    let store = stamped(&ground).await;
    let twice: Result<(), Error> = transaction!(&store, "twice", tx => {
        trail::insert(tx, TrailId::from_bytes([9; 16]), TrailKind::Read).await?;
        trail::insert(tx, TrailId::from_bytes([9; 16]), TrailKind::Read).await?;
        Ok(((), vec![event(EventKind::MerchantCreated)]))
    });
    assert!(matches!(twice, Err(Error::Conflict(_))), "{twice:?}");
}

async fn a_batch_of_reads_is_one_record_and_closing_names_size_and_head(ground: Ground) {
    let store = stamped(&ground).await;
    let mut trail = store.open_read_trail("system").await.unwrap();
    let id = trail.id();
    let first = store.append_reads(&mut trail, vec![event(EventKind::TokenRead); 3]).await.unwrap();
    assert_eq!(first.seq, 1);
    assert_eq!(store.append_reads(&mut trail, Vec::new()).await.unwrap(), first);
    let second = store.append_reads(&mut trail, vec![event(EventKind::TokenRead); 2]).await.unwrap();
    assert_eq!((second.seq, trail.head()), (2, second));
    assert_eq!(verified(&store, id).await.len(), 5);
    assert_eq!(whole(&store, id).await.len(), 2);
    store.close_read_trail(trail).await.unwrap();

    let events = verified(&store, store.change_trail()).await;
    assert_eq!(kinds(&events[1..]), [EventKind::TrailOpened, EventKind::TrailClosed]);
    assert_eq!((events[1].trail, events[2].trail), (Some(id), Some(id)));
    assert_eq!(events[2].reason.as_deref(), Some(CLOSED));
    assert_eq!(events[2].details["size"], "2");
    assert_eq!(events[2].details["head"].len(), 64);
    assert!(store.trails().await.unwrap().iter().any(|one| one.head == second && one.closed_at.is_some()));
}

async fn a_closed_trail_takes_no_more_records(ground: Ground) {
    let store = stamped(&ground).await;
    let mut trail = store.open_read_trail("system").await.unwrap();
    ground.intruder().await.run("UPDATE trails SET closed_at_us = 1 WHERE kind = 'read'").await.unwrap();
    let refused = store.append_reads(&mut trail, vec![event(EventKind::TokenRead)]).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    assert!(verified(&store, trail.id()).await.is_empty());
}

#[tokio::test]
async fn a_trail_left_open_by_a_crash_is_closed_by_the_next_start_with_what_it_finds() {
    let ground = Ground::file();
    let store = stamped(&ground).await;
    let mut trail = store.open_read_trail("system").await.unwrap();
    let head = store.append_reads(&mut trail, vec![event(EventKind::TokenRead)]).await.unwrap();
    // No close: the lock goes with the store, and nothing else happens.
    drop(store);
    let store = try_open(&ground, [1; 16]).await.unwrap();
    let events = verified(&store, store.change_trail()).await;
    let closing = events.last().unwrap();
    assert_eq!((closing.kind, closing.trail), (EventKind::TrailClosed, Some(head.trail)));
    assert_eq!(closing.reason.as_deref(), Some(CRASHED));
    assert_eq!(closing.details["size"], "1");
    assert_eq!(closing.details["head"], head.hash.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    crash(store).await;
    let store = try_open(&ground, [1; 16]).await.unwrap();
    assert_eq!(verified(&store, store.change_trail()).await.len(), events.len(), "closed once");
}

async fn after_a_cancelled_append_the_head_is_read_back(ground: Ground) {
    let store = stamped(&ground).await;
    let mut trail = store.open_read_trail("system").await.unwrap();
    // Cancelled after the n-th poll: before the commit was sent for small n, between it and its answer for some n, never for
    // large ones.
    let mut acknowledged = 0;
    for polls in 1..60 {
        let mut left = polls;
        let mut append = Box::pin(store.append_reads(&mut trail, vec![event(EventKind::TokenRead)]));
        let done = std::future::poll_fn(|context| {
            left -= 1;
            match append.as_mut().poll(context) {
                std::task::Poll::Pending if left > 0 => std::task::Poll::Pending,
                std::task::Poll::Pending => std::task::Poll::Ready(false),
                std::task::Poll::Ready(outcome) => std::task::Poll::Ready(outcome.is_ok()),
            }
        });
        acknowledged += u64::from(done.await);
    }
    let head = store.append_reads(&mut trail, vec![event(EventKind::TokenRead)]).await.unwrap();
    assert_eq!(u64::try_from(verified(&store, trail.id()).await.len()).unwrap(), head.seq);
    assert!((acknowledged + 1..60).contains(&head.seq), "all that was acknowledged stands, not all that was begun");
}

async fn records_can_be_neither_changed_nor_removed_nor_replaced_nor_skipped(ground: Ground) {
    let store = stamped(&ground).await;
    let mut trail = store.open_read_trail("system").await.unwrap();
    store.append_reads(&mut trail, vec![event(EventKind::TokenRead)]).await.unwrap();
    let mut intruder = ground.intruder().await;
    // The codes with which a trigger refuses: SQLITE_CONSTRAINT_TRIGGER, raise_exception.
    let (by_trigger, own) = match ground {
        Ground::File(_) => (
            "1811",
            [
                "INSERT OR REPLACE INTO change_trail SELECT * FROM change_trail WHERE seq = 1",
                "INSERT OR REPLACE INTO read_records SELECT * FROM read_records",
            ],
        ),
        Ground::Schema(_) => ("P0001", ["TRUNCATE change_trail", "TRUNCATE read_records"]),
    };
    let every = [
        "UPDATE change_trail SET kind = 'other'",
        "DELETE FROM change_trail",
        "INSERT INTO change_trail SELECT seq + 5, tag, time_us, kind, merchant_id, connection_id, record, hash, signature \
         FROM change_trail WHERE seq = 1",
        "UPDATE read_records SET time_us = 0",
        "DELETE FROM read_records",
        "INSERT INTO read_records SELECT trail_id, seq + 5, time_us, record, hash, signature FROM read_records",
    ];
    for statement in every.into_iter().chain(own) {
        assert_eq!(intruder.run(statement).await, Err(by_trigger.to_owned()), "{statement}");
    }
    verified(&store, trail.id()).await;
    verified(&store, store.change_trail()).await;
}

async fn a_start_notices_that_the_newest_record_is_not_the_head(ground: Ground) {
    let store = stamped(&ground).await;
    let mut trail = store.open_read_trail("system").await.unwrap();
    store.append_reads(&mut trail, vec![event(EventKind::TokenRead)]).await.unwrap();
    crash(store).await;
    let mut intruder = ground.intruder().await;
    intruder.unbind().await;
    for (damage, mend) in [
        ("UPDATE trails SET seq = seq - 1 WHERE kind = 'read'", "UPDATE trails SET seq = seq + 1 WHERE kind = 'read'"),
        (
            "CREATE TABLE kept AS SELECT * FROM trails; UPDATE trails SET hash = zeroblob(32) WHERE kind = 'change'",
            "DELETE FROM trails; INSERT INTO trails SELECT * FROM kept; DROP TABLE kept",
        ),
        ("CREATE TABLE kept AS SELECT * FROM read_records; UPDATE read_records SET record = zeroblob(1)", ""),
        ("DELETE FROM read_records", "INSERT INTO read_records SELECT * FROM kept"),
    ] {
        intruder.run(damage).await.unwrap();
        assert!(matches!(try_open(&ground, [1; 16]).await, Err(Error::Corrupt(_))), "{damage}");
        intruder.run(mend).await.unwrap();
    }
    try_open(&ground, [1; 16]).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let ground = Ground::file();
    let Location::Sqlite(file) = ground.location() else { unreachable!("a file") };
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    std::fs::write(file, [0x55; 8192]).unwrap();
    assert!(matches!(try_open(&ground, [1; 16]).await, Err(Error::Corrupt(_))));
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing_that_is_not_there() {
    let ground = Ground::file();
    let mut store = stamped(&ground).await;
    let mut trail = store.open_read_trail("system").await.unwrap();
    let Pools::Sqlite { write, .. } = &store.pools else { unreachable!("a file") };
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(write).await.unwrap();
    replace_writer(&mut store, |options| options.pragma("max_page_count", (pages + 12).to_string())).await;

    let (mut changes, mut reads, mut refused) = (0_usize, 0_usize, 0);
    while refused < 2 {
        let big = event(EventKind::MerchantCreated).detail("filler", "x".repeat(2_000));
        match append(&store, big).await {
            Ok(_) => changes += 1,
            Err(error) => {
                assert!(matches!(error, Error::Unavailable { .. }) && error.is_retryable(), "{error:?}");
                refused += 1;
            }
        }
        let big = event(EventKind::TokenRead).detail("filler", "x".repeat(2_000));
        match store.append_reads(&mut trail, vec![big]).await {
            Ok(_) => reads += 1,
            Err(error) => assert!(matches!(error, Error::Unavailable { .. }), "{error:?}"),
        }
        assert!(changes < 100, "the limit was not reached");
    }
    assert!(changes > 0 && reads > 0);
    assert_eq!(verified(&store, store.change_trail()).await.len(), 2 + changes);
    assert_eq!(verified(&store, trail.id()).await.len(), reads);

    let id = trail.id();
    crash(store).await;
    let store = try_open(&ground, [1; 16]).await.unwrap();
    assert_eq!(verified(&store, store.change_trail()).await.len(), 3 + changes);
    assert_eq!(verified(&store, id).await.len(), reads);
}

#[tokio::test]
async fn a_commit_that_fails_acknowledges_nothing_and_the_next_one_works() {
    let ground = Ground::file();
    let store = stamped(&ground).await;
    let outcome: Result<(), Error> = transaction!(&store, "fails_at_commit", tx => {
        // Foreign keys that are only looked at in COMMIT make COMMIT itself fail.
        on_tx!(tx, conn => sqlx::query("PRAGMA defer_foreign_keys = ON").run(conn).await)?;
        on_tx!(tx, conn => sqlx::query(
            "INSERT INTO read_records SELECT zeroblob(16), 1, 0, x'00', zeroblob(32), zeroblob(64)").run(conn).await)?;
        Ok(((), vec![event(EventKind::MerchantCreated)]))
    });
    assert!(matches!(outcome, Err(Error::Refused { .. })), "{outcome:?}");
    assert_eq!(store.position().await.unwrap().seq, 1);
    append(&store, event(EventKind::MerchantCreated)).await.unwrap();
    assert_eq!(verified(&store, store.change_trail()).await.len(), 2);
}

#[tokio::test]
async fn a_database_that_stays_busy_is_given_up_and_unharmed() {
    let ground = Ground::file();
    let mut store = stamped(&ground).await;
    let mut trail = store.open_read_trail("system").await.unwrap();
    replace_writer(&mut store, |options| options.busy_timeout(Duration::ZERO)).await;
    let mut foreign = ground.intruder().await;
    foreign.run("BEGIN IMMEDIATE").await.unwrap();
    let busy = append(&store, event(EventKind::MerchantCreated)).await.unwrap_err();
    assert!(matches!(busy, Error::Busy) && busy.is_retryable(), "{busy:?}");
    let busy = store.append_reads(&mut trail, vec![event(EventKind::TokenRead)]).await;
    assert!(matches!(busy, Err(Error::Busy)), "{busy:?}");
    foreign.run("ROLLBACK").await.unwrap();
    append(&store, event(EventKind::MerchantCreated)).await.unwrap();
    store.append_reads(&mut trail, vec![event(EventKind::TokenRead)]).await.unwrap();
    assert_eq!(verified(&store, store.change_trail()).await.len(), 3);
    assert_eq!(verified(&store, trail.id()).await.len(), 1);
}

#[tokio::test]
async fn a_busy_database_is_tried_a_few_times_and_an_unknown_commit_never_again() {
    let ground = Ground::file();
    let store = stamped(&ground).await;
    let mut retry = tx::Retry::new(&store, "test");
    for again in [true, true, false] {
        assert_eq!(retry.again(&Error::Busy).await, again);
    }
    for error in
        [Error::CommitUnknown { code: "10".into() }, Error::Unavailable { code: "13".into() }, Error::NotStamped]
    {
        assert!(!tx::Retry::new(&store, "test").again(&error).await);
    }
}

#[test]
fn a_commit_that_failed_for_another_reason_than_the_engines_refusal_is_unknown() {
    let io = sqlx::Error::Io(std::io::Error::other("disk"));
    assert!(matches!(Error::of_commit(&io), Error::CommitUnknown { .. }));
    assert!(matches!(Error::of_commit(&sqlx::Error::WorkerCrashed), Error::CommitUnknown { .. }));
    assert!(matches!(Error::from(sqlx::Error::WorkerCrashed), Error::Unavailable { .. }));
    assert!(!Error::CommitUnknown { code: "10".into() }.is_retryable());
}

async fn a_schema_newer_than_this_build_is_refused_and_left_alone(ground: Ground) {
    crash(stamped(&ground).await).await;
    let mut newer = ground.intruder().await;
    for statement in [
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT version + 1, 'x', TRUE, checksum, 0 FROM _sqlx_migrations",
        "UPDATE schema_compatibility SET works_from = works_from + 1",
    ] {
        newer.run(statement).await.unwrap();
    }
    let refused = Store::open(&ground.location(), keys([1; 16]), Arc::new(SystemClock), Arc::new(SystemEntropy)).await;
    assert!(matches!(refused, Err(Error::SchemaTooNew { found, newest }) if found == newest + 1));
    assert!(matches!(migrate(&ground).await, Err(Error::SchemaTooNew { .. })));
}

async fn migrating_is_a_step_of_its_own_where_starting_may_not(ground: Ground) {
    let open = async || {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        Store::open_with(&ground.location(), Migrations::Refuse, keys([1; 16]), clock, entropy).await
    };
    assert!(matches!(open().await, Err(Error::SchemaTooOld { found: 0, oldest: SCHEMA_OLDEST })));
    assert_eq!(migrate(&ground).await.unwrap(), MigrateReport { from: 0, to: SCHEMA_NEWEST });
    assert_eq!(migrate(&ground).await.unwrap(), MigrateReport { from: SCHEMA_NEWEST, to: SCHEMA_NEWEST });
    open().await.unwrap();
}

async fn a_migration_that_was_edited_after_it_ran_is_refused(ground: Ground) {
    crash(stamped(&ground).await).await;
    ground
        .intruder()
        .await
        .run("UPDATE _sqlx_migrations SET checksum = (SELECT hash FROM trails LIMIT 1)")
        .await
        .unwrap();
    assert!(matches!(migrate(&ground).await, Err(Error::Corrupt(_))));
}

/// Those of both engines.
const COMMON: &[&[&str]] = &[
    STATEMENTS,
    accounts::STATEMENTS,
    accounts::steps::STATEMENTS,
    attempts::STATEMENTS,
    attempts::list::STATEMENTS,
    super::budget::STATEMENTS,
    calls::STATEMENTS,
    flows::STATEMENTS,
    links::STATEMENTS,
    merchants::STATEMENTS,
    notices::STATEMENTS,
    registrations::STATEMENTS,
    requests::STATEMENTS,
    runs::STATEMENTS,
    schema::STATEMENTS,
    tokens::STATEMENTS,
    tokens::issue::STATEMENTS,
    tokens::liveness::STATEMENTS,
    trail::STATEMENTS,
    trail::changes::STATEMENTS,
    trail::events::STATEMENTS,
    trail::reads::STATEMENTS,
    vitals::STATEMENTS,
];

/// Those that differ.
const DIALECTS: &[&[Dialect]] = &[clock::DIALECTS];

async fn every_statement_prepares(ground: Ground) {
    let store = stamped(&ground).await;
    let common = COMMON.concat();
    let own: Vec<&str> = match ground {
        Ground::File(_) => [sqlite::STATEMENTS, &[schema::sqlite::HAS_MIGRATIONS]].concat(),
        Ground::Schema(_) => {
            let own = [postgres::safety::STATEMENTS, inspect::postgres::STATEMENTS].concat();
            [own, vec![schema::postgres::HAS_MIGRATIONS]].concat()
        }
    };
    let dialects = DIALECTS.concat().into_iter().map(|dialect| pick(&store, dialect));
    for statement in common.into_iter().chain(own).chain(dialects) {
        let prepared = match &store.pools {
            Pools::Sqlite { write, .. } => write.prepare(statement.into_sql_str()).await.map(drop),
            Pools::Postgres(pool) => pool.prepare(statement.into_sql_str()).await.map(drop),
        };
        if let Err(error) = prepared {
            panic!("{statement}: {error}");
        }
    }
}

#[tokio::test]
async fn every_call_can_be_made_from_a_spawned_task() {
    fn spawnable<F: Future + Send>(_: &F) {}
    let ground = Ground::file();
    let store = stamped(&ground).await;
    let mut trail = store.open_read_trail("system").await.unwrap();
    spawnable(&store.stamp("wepay", Environment::Stage, "4711"));
    spawnable(&store.health());
    spawnable(&store.position());
    spawnable(&store.trails());
    spawnable(&store.trail_page(trail.id(), 0, 1));
    spawnable(&store.open_read_trail("system"));
    spawnable(&store.append_reads(&mut trail, Vec::new()));
    spawnable(&store.close_read_trail(trail));
    spawnable(&try_open(&ground, [1; 16]));
}
