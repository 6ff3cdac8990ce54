//! ListAttempts: what was about to bring a token, for those who may see the merchant's history.

use std::time::Duration;

use serde_json::json;
use strongroom::domain::ambient::Clock as _;
use strongroom::v1::{
    Attempt, AttemptKind, AttemptState, ListAttemptsRequest, ListAttemptsResponse, list_attempts_request,
};
use tonic::Status;

use crate::support::app::{Caller, Shop, TestApp, outcome_of};
use crate::support::database::Statement;

async fn list(caller: &Caller, request: ListAttemptsRequest) -> Result<ListAttemptsResponse, Status> {
    Ok(caller.tokens().list_attempts(request).await?.into_inner())
}

async fn attempts(caller: &Caller, request: ListAttemptsRequest) -> Vec<Attempt> {
    list(caller, request).await.unwrap().attempts
}

fn of(shop: &Shop) -> Option<list_attempts_request::Merchant> {
    Some(list_attempts_request::Merchant::ExternalId(shop.external_id.clone()))
}

/// A merchant whose exchange met an answer that cannot be read: its attempt is in doubt.
async fn in_doubt(app: &TestApp, external_id: &str) -> Shop {
    let mut shop = app.shop(external_id);
    app.invite(&mut shop).await.unwrap();
    app.fault(json!({ "path": "/oauth2/token", "kind": "malformed" })).await;
    shop.press().await;
    shop.grant().await;
    let open = ListAttemptsRequest { state: AttemptState::InDoubt.into(), ..Default::default() };
    app.until("an attempt in doubt", async || !attempts(app.caller("auditor"), open.clone()).await.is_empty()).await;
    shop
}

#[tokio::test]
async fn attempts_are_listed_newest_first_with_what_came_of_them() {
    let app = TestApp::start().await;
    let mut shop = app.connected("twice-shop").await;
    app.kill(&shop).await;
    let second = app.reconnect(&mut shop).await.version.unwrap();
    let doubtful = in_doubt(&app, "doubtful-shop").await;
    app.expect_open_attempts(1);
    let auditor = app.caller("auditor");

    let all = attempts(auditor, ListAttemptsRequest::default()).await;
    let states: Vec<_> = all.iter().map(Attempt::state).collect();
    assert_eq!(states, [AttemptState::InDoubt, AttemptState::Committed, AttemptState::Committed]);
    assert_eq!(all[1].version, Some(second.clone()));
    assert_eq!(all[2].version.as_ref().map(|first| first.version), Some(second.version - 1));
    assert!(all[0].version.is_none() && all[0].judge_time.is_some() && !all[0].reason.is_empty(), "{:?}", all[0]);
    for attempt in &all {
        assert_eq!(attempt.kind(), AttemptKind::Exchange);
        assert!(!attempt.flow_id.is_empty() && attempt.receive_time.is_some() && attempt.arm_time.is_some());
    }

    let of_doubtful = attempts(auditor, ListAttemptsRequest { merchant: of(&doubtful), ..Default::default() }).await;
    assert_eq!(of_doubtful, all[..1]);
    let open = attempts(auditor, ListAttemptsRequest { open: true, ..Default::default() }).await;
    assert_eq!(open, all[..1]);
    let open_of = ListAttemptsRequest { open: true, merchant: of(&shop), ..Default::default() };
    assert!(attempts(auditor, open_of).await.is_empty());
    let committed = ListAttemptsRequest { state: AttemptState::Committed.into(), ..Default::default() };
    assert_eq!(attempts(auditor, committed).await, all[1..]);
    let registered = ListAttemptsRequest { kind: AttemptKind::Register.into(), ..Default::default() };
    assert!(attempts(auditor, registered).await.is_empty());

    let mut paged = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListAttemptsRequest { page_size: 1, page_token, ..Default::default() };
        let page = list(auditor, request).await.unwrap();
        assert!(page.attempts.len() <= 1);
        paged.extend(page.attempts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, all);
    app.close().await;
}

#[tokio::test]
async fn attempts_of_merchants_that_a_caller_may_not_see_are_not_there_for_it() {
    let app = TestApp::start().await;
    let shop = app.connected("here-shop").await;
    let mut elsewhere = app.shop("elsewhere-shop");
    elsewhere.labels = vec!["elsewhere".to_owned()];
    app.invite(&mut elsewhere).await.unwrap();
    assert_eq!(elsewhere.travel().await, "held");
    let until = app.site().clock().now().plus(Duration::from_secs(60 * 60));
    let label_reader = app.authority().caller(app.dev(), "label-reader", until);

    let seen = attempts(&label_reader, ListAttemptsRequest::default()).await;
    let merchants: Vec<_> = seen.iter().map(|attempt| attempt.merchant_id.as_str()).collect();
    assert_eq!(merchants, [elsewhere.merchant_id.as_str()]);
    assert_eq!(attempts(app.caller("auditor"), ListAttemptsRequest::default()).await.len(), 2);

    // One without a merchant is for those only who may see every merchant's.
    let mut intruder = app.intruder().await;
    let ownerless = Statement {
        sqlite: "INSERT INTO attempts (id, app_id, run_id, kind, state, received_at_us, changed_at_us, settled_at_us) \
                 SELECT x'01000000000070008000000000000001', id, id, 'import', 'refused', 1, 2, 2 FROM apps",
        postgres: "INSERT INTO attempts (id, app_id, run_id, kind, state, received_at_us, changed_at_us, settled_at_us) \
                   SELECT '\\x01000000000070008000000000000001'::bytea, id, id, 'import', 'refused', 1, 2, 2 FROM apps",
    };
    intruder.execute(ownerless, &[]).await;
    intruder.close().await;
    for name in ["auditor", "payments", "admin"] {
        let seen = attempts(app.caller(name), ListAttemptsRequest::default()).await;
        let last = seen.last().unwrap();
        assert_eq!((seen.len(), last.merchant_id.as_str(), last.kind()), (3, "", AttemptKind::Import), "{name}");
    }
    assert_eq!(attempts(&label_reader, ListAttemptsRequest::default()).await, seen);
    let hidden = list(&label_reader, ListAttemptsRequest { merchant: of(&shop), ..Default::default() }).await;
    assert_eq!(outcome_of(&hidden), "NOT_FOUND");
    for name in ["onboarding", "approver", "stranger"] {
        let denied = list(app.caller(name), ListAttemptsRequest::default()).await;
        assert_eq!(outcome_of(&denied), "PERMISSION_DENIED", "{name}");
    }
    for request in [
        ListAttemptsRequest { page_token: shop.merchant_id.clone(), ..Default::default() },
        ListAttemptsRequest { state: 99, ..Default::default() },
        ListAttemptsRequest { kind: -1, ..Default::default() },
    ] {
        assert_eq!(outcome_of(&list(app.caller("auditor"), request).await), "INVALID_ARGUMENT");
    }
    app.close().await;
}
