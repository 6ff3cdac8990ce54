//! Exactly once: answers are lost, the process ends, and at the provider there is one account for each request.

use std::time::Duration;

use serde_json::json;
use strongroom::v1::{Account, AccountOpening, CreateAccountRequest};
use tonic::Status;
use tonic_types::StatusExt as _;

use super::{CREATE, metadata};
use crate::support::app::{TestApp, outcome_of};
use crate::support::database::Statement;

/// Longer than the provider works on a call, and than the product waits to be sure.
const QUIESCENCE: Duration = Duration::from_secs(90);
const UNRESOLVED: &str = "FAILED_PRECONDITION:ACCOUNT_UNRESOLVED";
/// An account that is known by this provider id already.
const TAKEN: Statement = Statement {
    sqlite: "INSERT INTO accounts (id, app_id, connection_id, provider_id, opening, name, description, country, currency, \
             action_reasons, disabled_reasons, seen_at_us, sends, created_at_us, changed_at_us, mac) \
             SELECT zeroblob(16), app_id, connection_id, $1, 'open', name, description, country, currency, '', '', 1, 0, 1, \
             1, zeroblob(32) FROM accounts LIMIT 1",
    postgres: "INSERT INTO accounts (id, app_id, connection_id, provider_id, opening, name, description, country, currency, \
               action_reasons, disabled_reasons, seen_at_us, sends, created_at_us, changed_at_us, mac) \
               SELECT decode(repeat('00', 16), 'hex'), app_id, connection_id, $1, 'open', name, description, country, currency, \
               '', '', 1, 0, 1, 1, decode(repeat('00', 32), 'hex') FROM accounts LIMIT 1",
};
/// Forbids what comes of an account that is found, and takes that back.
const FORBID: Statement = Statement {
    sqlite: "CREATE TRIGGER forbid BEFORE UPDATE ON accounts WHEN NEW.opening = 'open' BEGIN SELECT RAISE(ABORT, 'no'); END",
    postgres: "ALTER TABLE accounts ADD CONSTRAINT forbid CHECK (opening <> 'open') NOT VALID",
};
const ALLOW: Statement =
    Statement { sqlite: "DROP TRIGGER forbid", postgres: "ALTER TABLE accounts DROP CONSTRAINT forbid" };

async fn lose(app: &TestApp, path: &str, kind: &str, times: usize) {
    app.fault(json!({ "path": path, "kind": kind, "times": times })).await;
}

/// Repeats the request until it is answered, as a caller does who keeps its request id.
async fn insist(app: &TestApp, order: &CreateAccountRequest) -> Result<Account, Status> {
    for _ in 0..20 {
        match app.create_account(order).await {
            Err(refused) if outcome_of::<()>(&Err(refused.clone())) == UNRESOLVED => {
                let wait = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
                app.advance(wait + Duration::from_secs(1)).await;
            }
            answered => return answered,
        }
    }
    unreachable!("the account never came about");
}

#[tokio::test]
async fn an_account_whose_answer_was_lost_is_found_and_answered_as_if_nothing_had_happened() {
    let app = TestApp::start().await;
    let shop = app.connected("ada-books").await;
    for (at, kind) in ["lose_after", "malformed"].into_iter().enumerate() {
        lose(&app, "/account/create", kind, 1).await;
        let made = app.create_account(&app.account_order(&shop, "Ada Books")).await.unwrap();
        assert_eq!(made.opening(), AccountOpening::Open, "{kind}");
        assert_eq!(app.accounts_there().await.len(), at + 1);
        assert_eq!(app.calls(CREATE).await, at + 1, "{kind}: nothing was sent twice");
    }
    app.close().await;
}

#[tokio::test]
async fn what_may_still_land_is_not_sent_again() {
    let app = TestApp::start().await;
    let shop = app.connected("ada-books").await;
    lose(&app, "/account/create", "lose_before", 1).await;
    let order = app.account_order(&shop, "Ada Books");
    let refused = app.create_account(&order).await.unwrap_err();
    assert_eq!(outcome_of::<()>(&Err(refused.clone())), UNRESOLVED);
    let id = metadata(&refused, "account_id");
    for _ in 0..3 {
        assert_eq!(outcome_of(&app.create_account(&order).await), UNRESOLVED);
    }
    assert_eq!(app.account(&id, true).await.unwrap().opening(), AccountOpening::InDoubt);
    assert_eq!(app.calls(CREATE).await, 1);
    app.advance(QUIESCENCE).await;
    let made = app.create_account(&order).await.unwrap();
    assert_eq!((made.account_id.as_str(), made.opening()), (id.as_str(), AccountOpening::Open));
    assert_eq!(app.calls(CREATE).await, 2);
    assert_eq!(app.accounts_there().await, [id]);
    app.close().await;
}

#[tokio::test]
async fn an_account_in_doubt_is_found_without_anybody_asking() {
    let app = TestApp::start().await;
    let shop = app.connected("ada-books").await;
    lose(&app, "/account/create", "lose_after", 1).await;
    lose(&app, "/account/find", "lose_before", 1).await;
    let refused = app.create_account(&app.account_order(&shop, "Ada Books")).await.unwrap_err();
    let id = metadata(&refused, "account_id");
    lose(&app, "/account/create", "lose_before", 1).await;
    let refused = app.create_account(&app.account_order(&shop, "Ada Records")).await.unwrap_err();
    let never = metadata(&refused, "account_id");
    app.advance(QUIESCENCE).await;
    app.until("the account found", async || app.account(&id, false).await.unwrap().opening() == AccountOpening::Open)
        .await;
    let absent = async || app.account(&never, false).await.unwrap().opening() == AccountOpening::Absent;
    app.until("the other one given up", absent).await;
    assert_eq!(app.accounts_there().await, [id]);
    app.close().await;
}

#[tokio::test]
async fn a_restart_forgets_no_account() {
    let app = TestApp::start().await;
    let shop = app.connected("ada-books").await;
    let order = app.account_order(&shop, "Ada Books");
    lose(&app, "/account/create", "lose_after", 1).await;
    lose(&app, "/account/find", "lose_before", 1_000).await;
    let id = metadata(&app.create_account(&order).await.unwrap_err(), "account_id");
    // As a process leaves it that dies before it knows.
    let mut intruder = app.intruder().await;
    intruder.execute("UPDATE accounts SET opening = 'sent'", &[]).await;
    intruder.close().await;
    let app = app.restart().await;
    app.control(reqwest::Method::DELETE, "/faults", None).await;
    assert_eq!(insist(&app, &order).await.unwrap().account_id, id);
    assert_eq!(app.calls(CREATE).await, 1);
    assert_eq!(app.accounts_there().await, [id]);
    app.close().await;
}

#[tokio::test]
async fn what_the_database_will_never_take_is_not_written_for_ever() {
    let app = TestApp::start().await;
    let shop = app.connected("ada-books").await;
    let mut intruder = app.intruder().await;
    // The account is known as another one by the time it is found.
    lose(&app, "/account/create", "lose_after", 1).await;
    lose(&app, "/account/find", "lose_before", 1).await;
    let order = app.account_order(&shop, "Ada Books");
    let id = metadata(&app.create_account(&order).await.unwrap_err(), "account_id");
    let state = app.control(reqwest::Method::GET, "/state", None).await;
    let there = state["accounts"].as_array().unwrap().iter().find(|account| account["reference_id"] == id.as_str());
    intruder.execute(TAKEN, &[&there.unwrap()["account_id"].to_string()]).await;
    let refused = app.create_account(&order).await.unwrap_err();
    assert_eq!(metadata(&refused, "account_id"), id);
    assert_eq!(outcome_of::<()>(&Err(refused)), "ABORTED:CONFLICT");

    // A rule of the schema forbids what came of it.
    intruder.execute(FORBID, &[]).await;
    let order = app.account_order(&shop, "Ada Records");
    let failed = app.create_account(&order).await;
    assert_eq!(outcome_of(&failed), "UNAVAILABLE:STORE_UNAVAILABLE");
    let turn_is_free = app.create_account(&order).await;
    assert_eq!(outcome_of(&turn_is_free), UNRESOLVED, "it stands as sent");
    // It is found once that is possible.
    intruder.execute(ALLOW, &[]).await;
    intruder.close().await;
    assert_eq!(insist(&app, &order).await.unwrap().name, "Ada Records");
    assert_eq!(app.calls(CREATE).await, 2);
    app.close().await;
}

#[tokio::test]
async fn every_request_leads_to_one_account_however_many_answers_are_lost() {
    const ACCOUNTS: usize = 24;
    let app = TestApp::start().await;
    let shop = app.connected("ada-books").await;
    let mut ids = Vec::new();
    // A fixed pattern that meets every combination of what is lost of a creation and of the look that follows.
    let creations = ["", "lose_before", "lose_after", "status", "status_after", "malformed"];
    let looks = ["", "lose_before", "lose_after", "status"];
    for at in 0..ACCOUNTS {
        let (creation, look) = (creations[at % creations.len()], looks[at / creations.len()]);
        for (path, kind) in [("/account/create", creation), ("/account/find", look)] {
            if kind.starts_with("status") {
                app.fault(json!({ "path": path, "kind": kind, "status": 503 })).await;
            } else if !kind.is_empty() {
                lose(&app, path, kind, 1).await;
            }
        }
        let order = app.account_order(&shop, &format!("Ada Books {}", char::from(b'A' + u8::try_from(at).unwrap())));
        let made = insist(&app, &order).await.unwrap();
        assert_eq!(app.create_account(&order).await.unwrap().account_id, made.account_id);
        ids.push(made.account_id);
        app.control(reqwest::Method::DELETE, "/faults", None).await;
    }
    assert_eq!(app.accounts_there().await, ids);
    app.close().await;
}

#[tokio::test]
async fn of_many_at_once_with_one_request_one_sends() {
    let app = TestApp::start().await;
    let shop = app.connected("ada-books").await;
    app.fault(json!({ "path": "/account/create", "kind": "delay_after", "delay_ms": 1000 })).await;
    let order = app.account_order(&shop, "Ada Books");
    let asked = (0..8).map(|_| app.create_account(&order));
    let answers = futures_of(asked).await;
    let first = answers[0].as_ref().unwrap();
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().account_id == first.account_id));
    assert_eq!(app.calls(CREATE).await, 1);
    app.close().await;
}

/// Polls them all at once.
async fn futures_of<T>(asked: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut asked: Vec<_> = asked.map(|asked| (Box::pin(asked), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (asked, answer) in &mut asked {
            if answer.is_none() {
                match asked.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *answer = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    asked.into_iter().map(|(_, answer)| answer.unwrap()).collect()
}
