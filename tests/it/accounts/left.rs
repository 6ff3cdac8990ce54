//! Accounts whose merchant is connected elsewhere by now, while their provider user serves another one.

use strongroom::v1::{LinkMerchantRequest, UpdateAccountRequest};

use super::metadata;
use crate::support::app::{TestApp, outcome_of};

const NOT_OPEN: &str = "FAILED_PRECONDITION:ACCOUNT_NOT_OPEN";

#[tokio::test]
async fn an_account_that_its_merchant_left_behind_is_worked_with_nobody_elses_token() {
    let app = TestApp::start().await;
    let mut ada = app.connected("ada-books").await;
    let made = app.create_account(&app.account_order(&ada, "Ada Books")).await.unwrap();
    let mut onboarding = app.caller("onboarding").accounts();
    let mut linker = app.caller("onboarding").onboarding();
    let connection_id = app.token(&ada).await.version.unwrap().connection_id;
    let further = LinkMerchantRequest {
        request_id: app.request_id(),
        external_id: "bob-bikes".to_owned(),
        connection_id: connection_id.clone(),
        ..Default::default()
    };
    let bobs = linker.link_merchant(further).await.unwrap().into_inner().link.unwrap();

    // Ada goes on as another provider user; then the one whom she left consents again, for Bob.
    app.kill(&ada).await;
    let person = ada.person.clone();
    ada.person.email = "ada-again@mail.example".to_owned();
    ada.person.is_registered = false;
    let browser = std::mem::replace(&mut ada.browser, app.browser());
    app.invite(&mut ada).await.unwrap();
    assert_eq!(ada.travel().await, "held");
    app.confirm(&ada).await.unwrap();
    let mut bob = app.shop("bob-bikes");
    (bob.person, bob.browser) = (person, browser);
    app.invite(&mut bob).await.unwrap();
    bob.travel().await;
    let serving = app.token(&bob).await.version.unwrap();
    assert_eq!((&serving.connection_id, &bobs.connection_id), (&connection_id, &connection_id));
    assert_ne!(app.token(&ada).await.version.unwrap().connection_id, connection_id);

    let (lookups, changes) = (app.calls("/v2/account").await, app.calls("/v2/account/modify").await);
    let change = UpdateAccountRequest {
        request_id: app.request_id(),
        account_id: made.account_id.clone(),
        name: "Ada Rare Books".to_owned(),
        description: String::new(),
    };
    let changed = onboarding.update_account(change).await.map(drop).unwrap_err();
    let seen = app.account(&made.account_id, true).await.map(drop).unwrap_err();
    for refused in [changed, seen] {
        assert_eq!(metadata(&refused, "account_id"), made.account_id);
        assert_eq!(outcome_of::<()>(&Err(refused)), NOT_OPEN);
    }
    assert_eq!((app.calls("/v2/account").await, app.calls("/v2/account/modify").await), (lookups, changes));
    assert_eq!(app.account(&made.account_id, false).await.unwrap(), made, "what was seen can be looked at");
    app.close().await;
}
