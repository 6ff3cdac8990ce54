//! The pace of calls to the provider, as callers and the provider see it.

use std::time::Duration;

use strongroom::domain::budget::Pace;
use strongroom::v1::ReportProviderErrorRequest;
use tokio::task::JoinSet;
use tonic::Request;

use super::*;
use crate::support::app::{Caller, TOKEN, outcome_of};

const BUSY: &str = "RESOURCE_EXHAUSTED:PROVIDER_BUSY";

impl TestApp {
    /// Registers so many merchants at once.
    fn register_many(&self, name: &str, count: usize) -> JoinSet<Result<(), Status>> {
        let mut registrations = JoinSet::new();
        for at in 0..count {
            let name = format!("{name}-{at}");
            let order = self.registration(&name, &address(&name));
            let caller = Caller::of_dev(self.dev(), "onboarding");
            registrations.spawn(async move { caller.onboarding().register_merchant(order).await.map(drop) });
        }
        registrations
    }

    /// As a caller with so little patience.
    async fn register_within(&self, order: &RegisterMerchantRequest, patience: Duration) -> Result<(), Status> {
        let mut hasty = Request::new(order.clone());
        hasty.set_timeout(patience);
        self.caller("onboarding").onboarding().register_merchant(hasty).await.map(drop)
    }

    /// By what the pace is divided, and until when.
    async fn slowdown(&self) -> (i64, i64) {
        let rows: Vec<(i64, i64)> = self.rows("SELECT slowdown, slowed_until_us FROM budgets").await;
        rows[0]
    }
}

fn outcome(refused: &Status) -> String {
    outcome_of::<()>(&Err(refused.clone()))
}

/// How long the refused caller is told to stay away.
fn retry_delay(refused: &Status) -> Duration {
    refused.get_details_retry_info().unwrap().retry_delay.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_burst_meets_the_providers_limit_whichever_shape_its_window_has() {
    for shape in ["sliding", "fixed"] {
        // The product keeps a longer window than the sandbox counts: a loaded machine delays calls by more than the real one allows.
        let app = TestApp::start_paced(Pace::new(30, Duration::from_secs(4))).await;
        let settings = json!({ "throttle": shape, "throttle_calls": 30, "throttle_window_s": 3 });
        app.control(Method::POST, "/settings", Some(settings)).await;
        let registered = app.register_many(shape, 40).join_all().await;
        assert!(registered.iter().all(Result::is_ok), "{shape}: {registered:?}");
        assert_eq!(app.calls(REGISTER).await, 40, "{shape}: one call for each");
        let calls = app.control(Method::GET, "/calls", None).await;
        let throttled = calls["calls"].as_array().unwrap().iter().filter(|call| call["error_code"] == 1007).count();
        assert_eq!(throttled, 0, "{shape}");
        app.close().await;
    }
}

#[tokio::test]
async fn who_cannot_be_served_in_time_is_told_at_once_when_to_come_back_and_may() {
    let app = TestApp::start_paced(Pace::new(1, Duration::from_secs(5))).await;
    app.register(&app.registration("ada", &address("ada"))).await.unwrap();
    let order = app.registration("bob", &address("bob"));
    let refused = app.register_within(&order, Duration::from_millis(1_500)).await.unwrap_err();
    assert_eq!(outcome(&refused), BUSY);
    assert!(retry_delay(&refused) <= Duration::from_secs(6), "{refused:?}");
    assert_eq!(app.calls(REGISTER).await, 1, "nothing was sent");
    // The same request, once there is room; it leaves before whatever nobody waits for.
    app.register(&order).await.unwrap();
    assert_eq!(app.calls(REGISTER).await, 2);
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exchange_of_a_merchant_overtakes_registrations_that_wait() {
    let app = TestApp::start_paced(Pace::new(10, Duration::from_secs(4))).await;
    let mut shop = app.shop("eve");
    app.invite(&mut shop).await.unwrap();
    shop.press().await;
    let registrations = app.register_many("crowd", 20);
    app.until("some registrations done", async || app.calls(REGISTER).await >= 2).await;
    let arrival = shop.grant().await;
    let before = app.calls(REGISTER).await;
    assert_eq!(shop.home(arrival).await, "held");
    let log = app.control(Method::GET, "/calls", None).await;
    let paths: Vec<&str> = log["calls"].as_array().unwrap().iter().map(|call| call["path"].as_str().unwrap()).collect();
    let at = paths.iter().position(|path| *path == TOKEN).unwrap();
    let overtaken = 20 - paths[..at].iter().filter(|path| **path == REGISTER).count();
    assert!(overtaken >= 20 - before - 3, "after {before} registrations it left before {overtaken}: {paths:?}");
    assert!(overtaken > 10, "{overtaken}");
    assert!(registrations.join_all().await.iter().all(Result::is_ok), "and all of them came about");
    app.close().await;
}

#[tokio::test]
async fn a_throttled_call_of_ours_or_of_a_caller_slows_us_down() {
    let app = TestApp::start_paced(Pace::new(30, Duration::from_secs(2))).await;
    app.registered("ada").await;
    let head = app.verify("ada").await.head.unwrap();
    let report = ReportProviderErrorRequest {
        request_id: app.request_id(),
        version: head.r#ref.clone(),
        error_code: "1007".to_owned(),
        ..ReportProviderErrorRequest::default()
    };
    app.caller("payments").tokens().report_provider_error(report).await.unwrap();
    let order = app.registration("bob", &address("bob"));
    let refused = app.register_within(&order, Duration::from_millis(1_000)).await.unwrap_err();
    let (slowdown, until) = app.slowdown().await;
    assert_eq!((outcome(&refused).as_str(), slowdown), (BUSY, 2));
    assert_eq!(app.calls(REGISTER).await, 1);
    // Nothing was sent, so the same request is carried out, though it had been noted.
    app.register(&order).await.unwrap();
    assert_eq!(app.calls(REGISTER).await, 2);

    let settings = json!({ "throttle": "sliding", "throttle_calls": 1, "throttle_window_s": 3_600 });
    app.control(Method::POST, "/settings", Some(settings)).await;
    app.until("a call that was throttled", async || {
        app.verify("ada").await;
        app.slowdown().await.1 > until
    })
    .await;
    app.close().await;
}
