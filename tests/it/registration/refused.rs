//! What a registration is refused for before anything is written or sent.

use strongroom::domain::ambient::Clock as _;
use strongroom::v1::RegisterMerchantRequest;
use tonic::Status;
use tonic_types::StatusExt as _;

use super::{REGISTER, STILL_LIVE, address, metadata};
use crate::support::app::{RETURN_URL, TestApp, outcome_of};

/// The fields that a refusal names, in order.
fn fields(refused: &Status) -> Vec<String> {
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    assert!(violations.iter().all(|violation| !violation.description.is_empty()), "{violations:?}");
    violations.into_iter().map(|violation| violation.field).collect()
}

async fn nothing_was_done(app: &TestApp) {
    let left: Vec<(i64, i64, i64, i64)> = app
        .rows(
            "SELECT (SELECT count(*) FROM merchants), (SELECT count(*) FROM attempts WHERE kind = 'register'), \
             (SELECT count(*) FROM merchant_private), (SELECT count(*) FROM requests)",
        )
        .await;
    assert_eq!(left, [(0, 0, 0, 0)]);
    assert_eq!(app.calls(REGISTER).await, 0);
}

#[tokio::test]
async fn every_field_that_breaks_a_rule_is_named_at_once_and_nothing_is_changed() {
    let app = TestApp::start().await;
    let future = app.site().clock().now().as_unix_seconds() + 3_600;
    let later = Some(prost_types::Timestamp { seconds: future, nanos: 0 });
    let wrong = RegisterMerchantRequest {
        request_id: "two words".to_owned(),
        external_id: String::new(),
        display_name: "x".repeat(256),
        labels: vec!["UPPER CASE".to_owned()],
        email: "nobody".to_owned(),
        first_name: "x".repeat(128),
        last_name: String::new(),
        client_ip: "2001:db8::1".to_owned(),
        client_device: "x".repeat(256),
        terms_time: later,
        return_url: String::new(),
    };
    let refused = app.register(&wrong).await.unwrap_err();
    assert_eq!(outcome_of::<()>(&Err(refused.clone())), "INVALID_ARGUMENT");
    let named = [
        "request_id",
        "external_id",
        "labels",
        "display_name",
        "email",
        "first_name",
        "last_name",
        "client_ip",
        "client_device",
        "terms_time",
    ];
    assert_eq!(fields(&refused), named);
    let description = refused.get_details_bad_request().unwrap().field_violations[7].description.clone();
    assert!(description.contains("IPv4"), "{description}");
    nothing_was_done(&app).await;

    // One at a time.
    let good = || app.registration("ada", &address("ada"));
    let senseless = Some(prost_types::Timestamp { seconds: 1, nanos: -1 });
    let single = [
        ("email", RegisterMerchantRequest { email: String::new(), ..good() }),
        ("email", RegisterMerchantRequest { email: "a@b@c".to_owned(), ..good() }),
        ("first_name", RegisterMerchantRequest { first_name: "line\nbreak".to_owned(), ..good() }),
        ("client_ip", RegisterMerchantRequest { client_ip: "203.0.113.300".to_owned(), ..good() }),
        ("client_ip", RegisterMerchantRequest { client_ip: "::ffff:203.0.113.7".to_owned(), ..good() }),
        ("client_device", RegisterMerchantRequest { client_device: String::new(), ..good() }),
        ("terms_time", RegisterMerchantRequest { terms_time: later, ..good() }),
        ("terms_time", RegisterMerchantRequest { terms_time: senseless, ..good() }),
        ("terms_time", RegisterMerchantRequest { terms_time: None, ..good() }),
    ];
    for (field, order) in single {
        let refused = app.register(&order).await.unwrap_err();
        assert_eq!(outcome_of::<()>(&Err(refused.clone())), "INVALID_ARGUMENT", "{field}");
        assert_eq!(fields(&refused), [field]);
    }
    nothing_was_done(&app).await;

    // What is just allowed.
    let widest = RegisterMerchantRequest {
        first_name: "\u{e9}".repeat(127),
        last_name: "x".repeat(127),
        client_device: "x".repeat(255),
        client_ip: "255.255.255.255".to_owned(),
        return_url: RETURN_URL.to_owned(),
        ..good()
    };
    app.register(&widest).await.unwrap();
    app.close().await;
}

#[tokio::test]
async fn a_person_is_sent_only_where_the_configuration_allows() {
    let app = TestApp::start().await;
    for url in ["https://elsewhere.test/", "not a url", "https://platform.test.evil.test/", "javascript:alert(1)"] {
        let order = RegisterMerchantRequest { return_url: url.to_owned(), ..app.registration("ada", &address("ada")) };
        let refused = app.register(&order).await;
        assert_eq!(outcome_of(&refused), "INVALID_ARGUMENT:RETURN_URL_NOT_ALLOWED", "{url}");
    }
    nothing_was_done(&app).await;
    app.close().await;
}

#[tokio::test]
async fn labels_are_taken_once_and_never_changed_by_a_request() {
    let app = TestApp::start().await;
    let labels = vec!["elsewhere".to_owned(), "shops".to_owned()];
    let order = RegisterMerchantRequest { labels: labels.clone(), ..app.registration("ada", &address("ada")) };
    assert_eq!(app.register(&order).await.unwrap().labels, labels);
    let changed =
        RegisterMerchantRequest { labels: vec!["shops".to_owned()], ..app.registration("ada", &address("ada-two")) };
    let refused = app.register(&changed).await.unwrap_err();
    assert_eq!(outcome_of::<()>(&Err(refused.clone())), "INVALID_ARGUMENT");
    assert_eq!(fields(&refused), ["labels"]);
    // Left out or repeated, in any order, they are no reason to refuse; the live token is.
    let turned: Vec<String> = labels.iter().rev().cloned().collect();
    for given in [Vec::new(), turned] {
        let order = RegisterMerchantRequest { labels: given, ..app.registration("ada", &address("ada-two")) };
        let refused = app.register(&order).await.unwrap_err();
        assert_eq!(outcome_of::<()>(&Err(refused.clone())), STILL_LIVE);
        assert_eq!(metadata(&refused, "liveness"), "live");
    }
    assert_eq!(app.merchant("ada").await.unwrap().labels, labels);
    assert_eq!(app.calls(REGISTER).await, 1);
    app.close().await;
}

#[tokio::test]
async fn a_caller_registers_only_merchants_that_its_grant_reaches() {
    let app = TestApp::start().await;
    app.registered("ada").await;
    let until = app.site().clock().now().plus(std::time::Duration::from_secs(3_600));
    let linker = app.authority().caller(app.dev(), "label-linker", until);
    let order = |external_id: &str, labels: &[&str]| RegisterMerchantRequest {
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        ..app.registration(external_id, &address("eve"))
    };
    for refused in [order("ada", &["elsewhere"]), order("eve", &[]), order("eve", &["shops"])] {
        let answer = linker.onboarding().register_merchant(refused).await;
        assert_eq!(outcome_of(&answer), "NOT_FOUND");
    }
    assert_eq!(app.calls(REGISTER).await, 1);
    let answer = linker.onboarding().register_merchant(order("eve", &["elsewhere"])).await;
    assert_eq!(outcome_of(&answer), "OK");
    app.close().await;
}
