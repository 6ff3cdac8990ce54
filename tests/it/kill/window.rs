//! The moments in which the process is killed, each held open until it is certain that it is one.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use strongroom::v1::AttemptState;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::ledger::{is_live, reason, settle};
use super::shop::{Shop, Standing};
use crate::support::dev::{Dev, Process, until};

/// Longer than the wait for anything here, shorter than the product's own deadline of 70 s: the kill comes first.
const HELD_MS: u64 = 65_000;
/// Time enough to see that the token was issued and to take the database's write lock before its answer arrives.
const ANSWER_MS: u64 = 1_000;

/// What the merchant was before the attempt that is cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Prelude {
    /// Never connected.
    New,
    /// Connected, and its token revoked at the provider.
    Connected,
    /// Connected, and its token declared dead by the provider although it lives.
    Slandered,
}

/// Whether the provider acted before the kill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Processing {
    /// It did not, and never will: it holds the request back until the kill.
    Before,
    /// It did: the token is issued and the answer not sent.
    After,
}

/// Has the product believe that a living token is dead. Lasts until the kill.
pub(super) async fn slander(dev: &Dev, shop: &mut Shop) {
    let user: u64 = shop.subject.parse().unwrap();
    let lie = json!({
        "path": "/user", "user_id": user, "kind": "status", "status": 401, "error_code": 1011, "times": 1000
    });
    dev.tell("/faults", lie).await;
    shop.report(dev, Standing::Slandered).await;
    assert!(is_live(dev, &shop.newest().token).await);
}

/// Kills while the provider is asked for a token: the API shows the attempt as armed, and the provider has the request.
pub(super) async fn token(process: &mut Process, dev: &Dev, shop: &mut Shop, processing: Processing) {
    let (kind, issued) = match processing {
        Processing::Before => ("delay_before", 0),
        Processing::After => ("delay_after", 1),
    };
    let before = minted(dev).await;
    let fault = dev.tell("/faults", json!({ "path": "/oauth2/token", "kind": kind, "delay_ms": HELD_MS })).await;
    let fault = fault.get("id").cloned();
    shop.consent(dev).await;
    dev.while_time_passes(until("the attempt to be armed and the call to be there", async || {
        let faults = dev.ask("/faults").await;
        let mut faults = faults.get("faults").and_then(Value::as_array).unwrap().iter();
        let fired =
            faults.find(|known| known.get("id") == fault.as_ref()).and_then(|fault| fault.get("fired")?.as_u64());
        let arrived = fired == Some(1) && minted(dev).await == before + issued;
        arrived.then_some(())
    }))
    .await;
    let open = shop.merchant(dev).await.open_attempt.unwrap();
    assert_eq!(open.state(), AttemptState::Armed);
    process.kill();
}

/// Kills while the commit of a token waits: it was issued and answered, and the database still says that the attempt is armed.
pub(super) async fn commit(process: &mut Process, dev: &Dev, shop: &mut Shop) {
    let before = minted(dev).await;
    dev.tell("/faults", json!({ "path": "/oauth2/token", "kind": "delay_after", "delay_ms": ANSWER_MS })).await;
    let logged = process.logged();
    shop.consent(dev).await;
    let issued = until("the token to be issued", async || (minted(dev).await == before + 1).then_some(()));
    dev.while_time_passes(issued).await;
    let mut lock = Lock::take(&database(dev)).await;
    assert_eq!(lock.open_attempts().await, ["armed"], "committed before the lock was taken");
    // The product says so when it has waited for some seconds; before that nobody outside can tell that it waits.
    until("the commit to wait", async || {
        process.has_logged(logged, &["database is busy", "commit_token"]).then_some(())
    })
    .await;
    assert_eq!(lock.open_attempts().await, ["armed"]);
    process.kill();
    lock.release().await;
}

/// Kills while a read waits for its record to become durable. It must not have been answered.
pub(super) async fn read(process: &mut Process, dev: &Dev, shop: &Shop) {
    // Connected before, so that the next request reaches the server without a handshake.
    shop.read(dev).await.unwrap();
    let lock = Lock::take(&database(dev)).await;
    let mut tokens = dev.tokens();
    let request = shop.read_request();
    let mut reading = std::pin::pin!(tokens.get_access_token(request));
    let mut health = HealthClient::new(dev.payments());
    // One connection, one order: when this later request is answered, the read has arrived.
    let health = tokio::select! {
        biased;
        _ = &mut reading => None,
        health = health.check(HealthCheckRequest::default()) => Some(health.unwrap()),
    };
    assert!(health.is_some(), "a read was answered while its record could not be written");
    process.kill();
    assert!(reading.await.is_err(), "a token got out that is not on record");
    lock.release().await;
}

/// After the restart: the attempt is in doubt, is judged once its time has come, and the person is told how to go on.
pub(super) async fn judged(dev: &Dev, shop: &mut Shop, prelude: Prelude) {
    let name = shop.external_id.clone();
    let open = shop.merchant(dev).await.open_attempt.unwrap();
    assert_eq!(open.state(), AttemptState::InDoubt, "{name}");
    assert!(open.judge_time.is_some(), "{name}");
    let refused = shop.start(dev).await.unwrap_err();
    assert_eq!(reason(&refused), "ATTEMPT_UNRESOLVED", "{name}: another authorization while in doubt");
    settle(dev, shop).await;
    let (outcome, _) = shop.told_now().await;
    if prelude == Prelude::Slandered {
        assert_eq!(outcome, "already_connected", "{name}");
        let read = shop.read(dev).await.unwrap();
        assert!(read.access_token == shop.newest().token, "{name}");
        assert_eq!(reason(&shop.start(dev).await.unwrap_err()), "TOKEN_STILL_LIVE", "{name}");
    } else {
        assert_eq!(outcome, "lost", "{name}");
    }
}

/// How many tokens the provider ever issued for a code.
async fn minted(dev: &Dev) -> usize {
    let calls = dev.ask("/calls?path=/oauth2/token").await;
    let calls = calls.get("calls").and_then(Value::as_array).unwrap();
    calls.iter().filter(|call| call.get("status").and_then(Value::as_u64) == Some(200)).count()
}

fn database(dev: &Dev) -> PathBuf {
    PathBuf::from(dev.json.database.trim_start_matches("sqlite:").trim_start_matches("//"))
}

/// The database's write lock in foreign hands.
struct Lock(SqliteConnection);

impl Lock {
    async fn take(path: &Path) -> Self {
        let mut connection =
            SqliteConnectOptions::new().filename(path).create_if_missing(false).connect().await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        Self(connection)
    }

    /// The states of all attempts that are not settled.
    async fn open_attempts(&mut self) -> Vec<String> {
        let states = sqlx::query_scalar("SELECT state FROM attempts WHERE settled_at_us IS NULL");
        states.fetch_all(&mut self.0).await.unwrap()
    }

    async fn release(mut self) {
        sqlx::query("ROLLBACK").execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}
