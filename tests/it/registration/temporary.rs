//! The life of a temporary token: its limits as GetMerchant tells them, its end, and what keeps it alive beyond.

use std::time::Duration;

use strongroom::v1::{
    AccountKind, CreateAccountRequest, Liveness, NextAction, ProbeFinding, TemporaryToken, create_account_request,
};

use super::{REGISTER, head_of, link_of};
use crate::support::app::{RETURN_URL, TOKEN, TestApp, USER, outcome_of};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the provider lets a temporary token live.
const LIFE: Duration = DAY.saturating_mul(90);
const EXPIRED: &str = "FAILED_PRECONDITION:TOKEN_EXPIRED";

async fn limits(app: &TestApp, external_id: &str) -> TemporaryToken {
    link_of(&app.merchant(external_id).await.unwrap()).temporary.unwrap()
}

async fn make_account(app: &TestApp, external_id: &str, name: &str) -> i64 {
    let order = CreateAccountRequest {
        request_id: app.request_id(),
        merchant: Some(create_account_request::Merchant::ExternalId(external_id.to_owned())),
        name: name.to_owned(),
        description: "second-hand books".to_owned(),
        kind: AccountKind::Business.into(),
        country: String::new(),
        dba: String::new(),
    };
    let made = app.caller("onboarding").accounts().create_account(order).await.unwrap();
    made.into_inner().account.unwrap().create_time.unwrap().seconds
}

#[tokio::test]
async fn the_limits_of_a_temporary_token_are_told_from_the_first_account_on() {
    let app = TestApp::start().await;
    let made = app.registered("ada").await;
    let told = limits(&app, "ada").await;
    let stored_at = head_of(&made).store_time.unwrap().seconds;
    let seconds = |length: Duration| i64::try_from(length.as_secs()).unwrap();
    assert!((told.expire_time.unwrap().seconds - stored_at - seconds(LIFE)).abs() <= 2, "{told:?}");
    assert_eq!(told.expire_time, head_of(&made).expire_time);
    assert_eq!((told.payments_block_earliest_time, told.deletion_earliest_time), (None, None));

    app.advance(DAY).await;
    let first = make_account(&app, "ada", "Ada Books").await;
    app.advance(DAY).await;
    make_account(&app, "ada", "Ada Records").await;
    let told = limits(&app, "ada").await;
    let after_first =
        |at: Option<prost_types::Timestamp>, days: u32| (at.unwrap().seconds - first - seconds(DAY * days)).abs() <= 2;
    assert!(after_first(told.payments_block_earliest_time, 14), "{told:?} {first}");
    assert!(after_first(told.deletion_earliest_time, 30), "{told:?} {first}");
    app.close().await;
}

#[tokio::test]
async fn an_unconfirmed_token_expires_by_the_clock_and_the_person_consents_instead() {
    let app = TestApp::start().await;
    let made = app.registered("ada").await;
    app.advance(LIFE - Duration::from_secs(120)).await;
    assert_eq!(outcome_of(&app.caller("payments").read("ada").await), "OK");
    assert_eq!(app.merchant("ada").await.unwrap().next_action(), NextAction::GetConfirmed);
    // Its end by the clock; nobody has looked whether it outlived it.
    app.advance(Duration::from_secs(125)).await;
    assert_eq!(outcome_of(&app.caller("payments").read("ada").await), EXPIRED);
    let merchant = app.merchant("ada").await.unwrap();
    assert_eq!((head_of(&merchant).liveness(), merchant.next_action()), (Liveness::Expired, NextAction::Reconnect));
    assert!(merchant.next_action_text.contains("StartAuthorization"), "{}", merchant.next_action_text);
    let mut shop = app.shop("ada");
    app.while_time_passes(app.invite(&mut shop)).await.unwrap();
    assert_eq!(app.while_time_passes(shop.travel()).await, "connected", "the user who is linked stays linked");
    let token = app.token(&shop).await;
    assert_eq!(token.version.unwrap().version, 2);
    assert_eq!((token.subject, token.expire_time), (link_of(&made).subject.clone(), None));
    assert_eq!((app.calls(REGISTER).await, app.calls(TOKEN).await), (1, 1));
    app.close().await;
}

#[tokio::test]
async fn a_token_past_its_end_is_found_dead_without_anybody_asking() {
    let app = TestApp::start().await;
    app.registered("ada").await;
    app.advance(LIFE + DAY).await;
    let dead = app.until("the end noticed", async || {
        outcome_of(&app.caller("payments").read("ada").await) == "FAILED_PRECONDITION:TOKEN_DEAD"
    });
    app.while_time_passes(dead).await;
    assert_eq!(app.merchant("ada").await.unwrap().next_action(), NextAction::Reconnect);
    assert_eq!(link_of(&app.merchant("ada").await.unwrap()).temporary, None, "nothing is left to limit");
    app.close().await;
}

#[tokio::test]
async fn a_confirmed_token_becomes_permanent_and_keeps_its_version() {
    let app = TestApp::start().await;
    let made = app.registered("ada").await;
    let before = app.caller("payments").read("ada").await.unwrap();
    assert_eq!(app.verify("ada").await.finding(), ProbeFinding::Alive);
    assert_eq!(app.merchant("ada").await.unwrap().next_action(), NextAction::GetConfirmed, "a probe confirms nothing");
    app.send(&app.mail("ada")).await.unwrap();
    app.confirm_there(&link_of(&made).subject).await;
    let told = app.verify("ada").await;
    let head = told.head.clone().unwrap();
    assert_eq!((told.finding(), head.permanent, head.expire_time), (ProbeFinding::Alive, true, None));
    assert_eq!(head.r#ref, head_of(&made).r#ref, "no version is lost");
    let merchant = app.merchant("ada").await.unwrap();
    assert_eq!((link_of(&merchant).temporary, merchant.next_action()), (None, NextAction::None));
    let after = app.caller("payments").read("ada").await.unwrap();
    assert_eq!((after.access_token, after.version, after.expire_time), (before.access_token, before.version, None));
    app.advance(LIFE + DAY).await;
    let later = app.caller("payments").read("ada").await.unwrap();
    assert!(app.works_there(&later.access_token).await);
    assert_eq!((app.calls(REGISTER).await, app.calls(TOKEN).await), (1, 0));
    app.close().await;
}

#[tokio::test]
async fn a_token_that_was_confirmed_unseen_is_found_alive_past_its_end() {
    let app = TestApp::start().await;
    let made = app.registered("ada").await;
    app.confirm_there(&link_of(&made).subject).await;
    let probes = app.calls(USER).await;
    app.advance(LIFE + DAY).await;
    app.until("the token found alive", async || outcome_of(&app.caller("payments").read("ada").await) == "OK").await;
    let merchant = app.merchant("ada").await.unwrap();
    assert!(head_of(&merchant).permanent);
    assert_eq!(head_of(&merchant).r#ref, head_of(&made).r#ref);
    assert_eq!(merchant.next_action(), NextAction::None);
    assert_eq!(app.calls(USER).await, probes + 1, "one look is enough");
    app.close().await;
}

#[tokio::test]
async fn a_person_comes_home_to_where_the_platform_said() {
    let app = TestApp::start().await;
    let mut order = app.registration("ada", "ada@mail.example");
    order.return_url = RETURN_URL.to_owned();
    let made = app.register(&order).await.unwrap();
    assert_eq!(app.confirm_by_mail("ada", "a password").await.as_deref(), Some(RETURN_URL));
    assert!(app.verify("ada").await.head.unwrap().permanent);
    assert_eq!(link_of(&made).subject, app.caller("payments").read("ada").await.unwrap().subject);
    app.close().await;
}
