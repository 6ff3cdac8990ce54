//! Rows that somebody altered behind our back: no call uses them, and each that met one is on record.

use strongroom::domain::trail::{EventKind, Outcome};
use strongroom::v1::{ListAccountsRequest, UpdateAccountRequest, list_accounts_request};

use crate::support::app::{TestApp, outcome_of};

const CORRUPT: &str = "DATA_LOSS:DATA_CORRUPT";

#[tokio::test]
async fn whoever_meets_an_altered_account_is_on_record() {
    let app = TestApp::start().await;
    let shop = app.connected("ada-books").await;
    let made = app.create_account(&app.account_order(&shop, "Ada Books")).await.unwrap();
    let mut intruder = app.intruder().await;
    intruder.execute("UPDATE accounts SET provider_id = '4711' WHERE merchant_id IS NOT NULL", &[]).await;
    intruder.close().await;

    let mut onboarding = app.caller("onboarding").accounts();
    let change = UpdateAccountRequest {
        request_id: app.request_id(),
        account_id: made.account_id.clone(),
        name: "Ada Rare Books".to_owned(),
        description: String::new(),
    };
    assert_eq!(outcome_of(&onboarding.update_account(change).await), CORRUPT);
    for refresh in [false, true] {
        assert_eq!(outcome_of(&app.account(&made.account_id, refresh).await), CORRUPT);
    }
    let of_ada = list_accounts_request::Merchant::ExternalId(shop.external_id.clone());
    for merchant in [Some(of_ada), None] {
        let list = ListAccountsRequest { merchant, page_size: 0, page_token: String::new() };
        assert_eq!(outcome_of(&onboarding.list_accounts(list).await), CORRUPT);
    }
    let events = app.events().await;
    let on_record = |kind| {
        let failed = |event: &&strongroom::domain::trail::Event| {
            event.kind == kind
                && event.outcome == Outcome::Failure
                && event.actor.ends_with("onboarding")
                && event.reason.as_deref() == Some("DATA_CORRUPT")
        };
        events.iter().filter(failed).count()
    };
    assert_eq!((on_record(EventKind::AccountRequested), on_record(EventKind::AccountRead)), (1, 4));
    assert_eq!(app.calls("/v2/account/modify").await, 0);
    app.close().await;
}
