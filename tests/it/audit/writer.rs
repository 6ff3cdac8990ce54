//! The writer of the call log on a real database: what it keeps while that takes no writes, and what it writes at the end.

use std::sync::Arc;
use std::time::Duration;

use strongroom::app::location;
use strongroom::domain::ambient::{AdjustableClock, Clock, SystemClock, SystemEntropy, Timestamp};
use strongroom::domain::app::Environment;
use strongroom::domain::provider_call::{About, CallOutcome, ProviderCall};
use strongroom::service::{CALL_QUEUE_MAX, CallLog, CallPlace, keep_pruning};
use strongroom::store::{CallsOf, Migrations, Store, StoreKeys};
use strongroom::vault::{Keyring, Vault};
use tokio::sync::mpsc;

use crate::support::app::{LOOK_EVERY, LOOKS_MAX};
use crate::support::database::Home;

/// What the writer keeps at most while the database takes no writes.
const BACKLOG_MAX: usize = 10_800;
/// More than there will be.
const EVERY: u32 = 100_000;

async fn store(home: &Home, clock: Arc<dyn Clock>) -> Arc<Store> {
    let vault = Arc::new(Vault::new(Keyring::generate(&SystemEntropy, SystemClock.now())));
    let keys = StoreKeys {
        signer: Arc::<Vault>::clone(&vault),
        mac: Arc::<Vault>::clone(&vault),
        check_value: vault.check_value(),
    };
    let location = location(&home.database()).unwrap();
    let migrations = if home.schema().is_some() { Migrations::Refuse } else { Migrations::Apply };
    let store = Store::open_with(&location, migrations, keys, clock, Arc::new(SystemEntropy)).await.unwrap();
    store.stamp("wepay", Environment::Stage, "4711").await.unwrap();
    Arc::new(store)
}

fn call(name: &'static str, at: Timestamp) -> ProviderCall {
    ProviderCall {
        at,
        call: name,
        about: About::default(),
        request: "{}".to_owned(),
        outcome: CallOutcome::Done,
        status: Some(200),
        code: None,
        detail: String::new(),
        duration: Duration::from_millis(1),
    }
}

/// When each call of the log began, in microseconds, newest first.
async fn logged(store: &Store) -> Vec<i64> {
    let oldest = Timestamp::from_micros(i64::MIN);
    let calls = store.calls(CallsOf::All, CallPlace::LAST, oldest, EVERY).await.unwrap();
    calls.iter().map(|call| call.at.as_micros()).collect()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..LOOKS_MAX {
        if holds().await {
            return;
        }
        SystemClock.sleep(LOOK_EVERY).await;
    }
    unreachable!("{what} did not come about");
}

fn start(store: &Arc<Store>) -> (mpsc::Sender<ProviderCall>, CallLog, tokio::task::JoinHandle<()>) {
    let (sender, calls) = mpsc::channel(CALL_QUEUE_MAX);
    let (log, task) = CallLog::start(Arc::clone(store), Arc::new(SystemClock), Arc::new(SystemEntropy), calls);
    (sender, log, task)
}

#[tokio::test]
async fn what_is_queued_when_the_log_is_closed_is_written_first() {
    let home = Home::new().await;
    let store = store(&home, Arc::new(SystemClock)).await;
    let (sender, log, task) = start(&store);
    for at in 1..=500 {
        sender.try_send(call("/user", Timestamp::from_micros(at))).unwrap();
    }
    log.close();
    task.await.unwrap();
    assert!(sender.try_send(call("/user", Timestamp::from_micros(501))).is_err(), "closed");
    assert_eq!(logged(&store).await, (1..=500).rev().collect::<Vec<_>>());

    // It also ends when nobody is left who could send.
    let (sender, _log, task) = start(&store);
    sender.try_send(call("/user", Timestamp::from_micros(600))).unwrap();
    drop(sender);
    task.await.unwrap();
    assert_eq!(logged(&store).await.first(), Some(&600));
    store.close().await;
}

#[tokio::test]
async fn a_call_that_the_database_never_takes_holds_up_no_other() {
    let home = Home::new().await;
    let store = store(&home, Arc::new(SystemClock)).await;
    let (sender, log, task) = start(&store);
    for at in 1..=300 {
        let name = if at % 100 == 7 { "" } else { "/user" };
        sender.try_send(call(name, Timestamp::from_micros(at))).unwrap();
    }
    log.close();
    task.await.unwrap();
    let expected: Vec<i64> = (1..=300).rev().filter(|at| at % 100 != 7).collect();
    assert_eq!(logged(&store).await, expected);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_held_calls_wait_and_only_the_oldest_go_beyond_the_limit() {
    let home = Home::new().await;
    let store = store(&home, Arc::new(SystemClock)).await;
    let mut holder = home.intruder().await;
    holder.lock().await;
    let (sender, log, task) = start(&store);
    let count = BACKLOG_MAX + 200;
    for at in 1..=i64::try_from(count).unwrap() {
        // Beyond the queue this waits until the first write was given up.
        sender.send(call("/user", Timestamp::from_micros(at))).await.unwrap();
    }
    until("an empty queue", async || sender.capacity() == CALL_QUEUE_MAX).await;
    assert!(logged(&store).await.is_empty(), "nothing could be written");
    holder.unlock().await;
    holder.close().await;

    until("all that was kept in the log", async || logged(&store).await.len() == BACKLOG_MAX).await;
    let expected: Vec<i64> = (201..=i64::try_from(count).unwrap()).rev().collect();
    assert_eq!(logged(&store).await, expected, "the newest were kept");
    sender.try_send(call("/user", Timestamp::from_micros(0))).unwrap();
    log.close();
    task.await.unwrap();
    assert_eq!(logged(&store).await.len(), BACKLOG_MAX + 1, "and it goes on");
    store.close().await;
}

#[tokio::test]
async fn what_is_older_than_the_retention_goes_as_time_passes() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let home = Home::new().await;
    let clock = Arc::new(AdjustableClock::default());
    let store = store(&home, Arc::<AdjustableClock>::clone(&clock)).await;
    let (sender, log, task) = start(&store);
    let now = clock.now();
    let ages = (0..1_200_u32).map(|at| DAY.saturating_add(Duration::from_secs(at.into())));
    let old: Vec<Timestamp> = ages.map(|age| now.minus(age)).collect();
    let fresh = [now, now.minus(DAY / 2)];
    for at in old.into_iter().chain(fresh) {
        sender.send(call("/user", at)).await.unwrap();
    }
    log.close();
    task.await.unwrap();
    let pruning = tokio::spawn(keep_pruning(Arc::clone(&store), Arc::<AdjustableClock>::clone(&clock), DAY));
    until("the old ones gone", async || logged(&store).await.len() == 2).await;
    assert_eq!(logged(&store).await, fresh.map(Timestamp::as_micros));
    clock.advance(DAY * 2 / 3);
    until("the next one gone", async || logged(&store).await == [now.as_micros()]).await;
    pruning.abort();
    store.close().await;
}
