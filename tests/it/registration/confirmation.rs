//! Having the provider mail the person: one mail for one request, whatever happens in between.

use reqwest::Method;
use serde_json::{Value, json};
use strongroom::domain::trail::EventKind;
use strongroom::v1::{
    ConfirmationResult, NextAction, SendConfirmationRequest, SendConfirmationResponse, send_confirmation_request,
};
use tonic::Status;
use tonic_types::StatusExt as _;

use super::{link_of, metadata};
use crate::support::app::{TestApp, outcome_of};

const SEND: &str = "/v2/user/send_confirmation";

fn outcome(refused: &Status) -> String {
    outcome_of::<()>(&Err(refused.clone()))
}

impl TestApp {
    pub(super) fn mail(&self, external_id: &str) -> SendConfirmationRequest {
        SendConfirmationRequest {
            request_id: self.request_id(),
            merchant: Some(send_confirmation_request::Merchant::ExternalId(external_id.to_owned())),
            email_subject: "Please confirm".to_owned(),
            email_message: "Ada Books\nis nearly ready".to_owned(),
            email_button_text: String::new(),
        }
    }

    pub(super) async fn send(&self, order: &SendConfirmationRequest) -> Result<SendConfirmationResponse, Status> {
        let mut onboarding = self.caller("onboarding").onboarding();
        let sent = onboarding.send_confirmation(order.clone());
        Ok(self.while_time_passes(sent).await?.into_inner())
    }

    async fn mails(&self) -> Vec<Value> {
        self.control(Method::GET, "/mails", None).await["mails"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn one_mail_is_sent_for_one_request() {
    let app = TestApp::start().await;
    app.registered("ada").await;
    let order = app.mail("ada");
    let sent = app.send(&order).await.unwrap();
    assert_eq!(sent.result(), ConfirmationResult::Sent);
    assert_eq!(sent.merchant.unwrap().next_action(), NextAction::GetConfirmed);
    let mails = app.mails().await;
    assert_eq!(
        (mails.len(), mails[0]["to"].as_str(), mails[0]["subject"].as_str()),
        (1, Some("ada@mail.example"), Some("Please confirm"))
    );
    assert_eq!(mails[0]["message"].as_str(), Some("Ada Books\nis nearly ready"));
    assert!(!mails[0]["button_text"].as_str().unwrap().is_empty(), "the provider's own words");
    assert_eq!(app.send(&order).await.unwrap().result(), ConfirmationResult::Sent);
    assert_eq!(app.mails().await.len(), 1, "the same request sends no second mail");
    let other = SendConfirmationRequest { email_subject: "Now".to_owned(), ..order };
    assert_eq!(outcome_of(&app.send(&other).await), "ALREADY_EXISTS:REQUEST_ID_REUSED");
    app.send(&app.mail("ada")).await.unwrap();
    assert_eq!(app.mails().await.len(), 2, "another request does");
    assert_eq!(app.reasons_of(EventKind::ConfirmationRequested).await.len(), 6, "each is on record, also as sent");
    app.close().await;
}

#[tokio::test]
async fn of_two_at_once_with_one_request_one_sends() {
    let app = TestApp::start().await;
    app.registered("ada").await;
    app.fault(json!({ "path": "/user/send_confirmation", "kind": "delay_after", "delay_ms": 300, "times": 3 })).await;
    let order = app.mail("ada");
    let (one, two, three) = tokio::join!(app.send(&order), app.send(&order), app.send(&order));
    for answer in [one, two, three] {
        // While it is under way nobody else can say what came of it.
        assert!(
            ["OK", "ABORTED:CONFLICT", "DEADLINE_EXCEEDED:PROVIDER_OUTCOME_UNKNOWN"]
                .contains(&outcome_of(&answer).as_str()),
            "{answer:?}"
        );
    }
    assert_eq!(app.mails().await.len(), 1);
    app.close().await;
}

#[tokio::test]
async fn who_has_confirmed_gets_no_mail_and_the_token_is_known_to_be_permanent() {
    let app = TestApp::start().await;
    let made = app.registered("ada").await;
    let before = app.caller("payments").read("ada").await.unwrap();
    app.confirm_there(&link_of(&made).subject).await;
    let order = app.mail("ada");
    let told = app.send(&order).await.unwrap();
    assert_eq!(told.result(), ConfirmationResult::AlreadyConfirmed);
    let merchant = told.merchant.unwrap();
    assert_eq!((merchant.next_action(), link_of(&merchant).temporary), (NextAction::None, None));
    assert_eq!(app.caller("payments").read("ada").await.unwrap().version, before.version);
    assert_eq!(app.calls(SEND).await, 1);
    // Known: the provider is not asked again.
    for order in [order, app.mail("ada")] {
        assert_eq!(app.send(&order).await.unwrap().result(), ConfirmationResult::AlreadyConfirmed);
    }
    assert_eq!((app.calls(SEND).await, app.mails().await.len()), (1, 0));
    assert_eq!(app.reasons_of(EventKind::TokenConfirmed).await, ["already_approved"]);
    app.close().await;
}

#[tokio::test]
async fn a_mail_that_may_have_gone_out_is_not_sent_again_by_the_same_request() {
    let app = TestApp::start().await;
    app.registered("ada").await;
    for (kind, mails) in [("lose_before", 0), ("lose_after", 1)] {
        let before = app.mails().await.len();
        app.fault(json!({ "path": "/user/send_confirmation", "kind": kind })).await;
        let order = app.mail("ada");
        let refused = app.send(&order).await.unwrap_err();
        assert_eq!(outcome(&refused), "DEADLINE_EXCEEDED:PROVIDER_OUTCOME_UNKNOWN", "{kind}");
        let sent = app.calls(SEND).await;
        let again = app.send(&order).await;
        assert_eq!(outcome(&again.unwrap_err()), "DEADLINE_EXCEEDED:PROVIDER_OUTCOME_UNKNOWN", "{kind}");
        assert_eq!((app.mails().await.len() - before, app.calls(SEND).await), (mails, sent), "{kind}");
    }
    app.close().await;
}

#[tokio::test]
async fn a_mail_that_was_not_sent_may_be_asked_for_by_the_same_request() {
    let mut app = TestApp::start().await;
    app.registered("ada").await;
    let order = SendConfirmationRequest { request_id: "mail-1".to_owned(), ..app.mail("ada") };
    app.lose_provider().await;
    let mut onboarding = app.caller("onboarding").onboarding();
    let refused = onboarding.send_confirmation(order.clone()).await.unwrap_err();
    assert_eq!(outcome(&refused), "UNAVAILABLE:PROVIDER_UNAVAILABLE");
    let app = app.restart().await;
    assert_eq!(app.send(&order).await.unwrap().result(), ConfirmationResult::Sent);
    assert_eq!(app.mails().await.len(), 1);
    app.close().await;
}

#[tokio::test]
async fn the_providers_no_is_handed_on_and_no_mail_is_claimed() {
    let app = TestApp::start().await;
    app.registered("ada").await;
    app.fault(json!({ "path": "/user/send_confirmation", "kind": "status", "status": 400, "error_code": 1003 })).await;
    let order = app.mail("ada");
    let refused = app.send(&order).await.unwrap_err();
    assert_eq!(outcome(&refused), "FAILED_PRECONDITION:PROVIDER_REFUSED");
    assert_eq!(metadata(&refused, "provider_code"), "1003");
    assert_eq!(app.mails().await.len(), 0);
    // Nothing left: the same request is carried out, and not answered as if it had been.
    assert_eq!(app.send(&order).await.unwrap().result(), ConfirmationResult::Sent);
    assert_eq!(app.mails().await.len(), 1);
    app.close().await;
}

#[tokio::test]
async fn a_token_that_the_provider_calls_dead_is_looked_at() {
    let app = TestApp::start().await;
    let made = app.registered("ada").await;
    app.revoke(&link_of(&made).subject).await;
    assert_eq!(outcome_of(&app.send(&app.mail("ada")).await).split(':').next(), Some("FAILED_PRECONDITION"));
    assert_eq!(app.merchant("ada").await.unwrap().next_action(), NextAction::Reconnect);
    assert_eq!(outcome_of(&app.send(&app.mail("ada")).await), "FAILED_PRECONDITION:TOKEN_DEAD");
    assert_eq!(app.calls(SEND).await, 1);
    app.close().await;
}

#[tokio::test]
async fn what_cannot_be_mailed_is_refused_before_anything_is_sent() {
    let app = TestApp::start().await;
    let wrong = SendConfirmationRequest {
        email_subject: "x".repeat(256),
        email_message: "x".repeat(8_193),
        email_button_text: "bell \u{7}".to_owned(),
        ..app.mail("ada")
    };
    assert_eq!(outcome_of(&app.send(&wrong).await), "NOT_FOUND", "nobody by that name");
    app.registered("ada").await;
    let refused = app.send(&wrong).await.unwrap_err();
    assert_eq!(outcome(&refused), "INVALID_ARGUMENT");
    let fields: Vec<String> =
        refused.get_details_bad_request().unwrap().field_violations.into_iter().map(|fault| fault.field).collect();
    assert_eq!(fields, ["email_subject", "email_button_text", "email_message"]);

    app.invite(&mut app.shop("bob")).await.unwrap();
    assert_eq!(outcome_of(&app.send(&app.mail("bob")).await), "FAILED_PRECONDITION:NOT_CONNECTED");
    app.held("eve").await;
    assert_eq!(outcome_of(&app.send(&app.mail("eve")).await), "FAILED_PRECONDITION:LINK_HELD");
    assert_eq!(app.calls(SEND).await, 0);
    app.close().await;
}
