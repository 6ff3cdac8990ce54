//! What is asked for, and how calls look.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    calls: Calls,
}

fn calls(words: &[&str]) -> Calls {
    let words = std::iter::once("calls").chain(words.iter().copied());
    Line::try_parse_from(words).unwrap_or_else(|refused| panic!("{refused}")).calls
}

fn call() -> v1::ProviderCall {
    v1::ProviderCall {
        provider_call_id: "pcl_0190f3c7111172228333444455556666".into(),
        begin_time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 }),
        call: "/user".into(),
        request: "{\"scope\":\"view_user\",\"email\":\"[redacted]\"}".into(),
        outcome: v1::CallOutcome::Refused.into(),
        http_status: 401,
        error_code: "1011".into(),
        detail: "access_denied".into(),
        duration: Some(prost_types::Duration { seconds: 1, nanos: 234_567_890 }),
        connection_id: "con_0190f3c7111172228333444455556666".into(),
        ..Default::default()
    }
}

#[test]
fn every_option_becomes_its_filter() {
    let request = calls(&[
        "--call=/user",
        "--attempt=att_0190f3c7111172228333444455556666",
        "--merchant=mer_0190f3c7111172228333444455556666",
        "--connection=con_0190f3c7111172228333444455556666",
        "--outcome=not_sent",
        "--error-code=1011",
        "--until=2026-03-02T09:00:00Z",
        "--limit=7",
    ])
    .request(String::new());
    let merchant = "mer_0190f3c7111172228333444455556666".to_owned();
    let expected = v1::ListProviderCallsRequest {
        page_size: 7,
        page_token: String::new(),
        call: "/user".into(),
        attempt_id: "att_0190f3c7111172228333444455556666".into(),
        merchant: Some(v1::list_provider_calls_request::Merchant::MerchantId(merchant)),
        connection_id: "con_0190f3c7111172228333444455556666".into(),
        outcome: v1::CallOutcome::NotSent.into(),
        error_code: "1011".into(),
        after_time: None,
        before_time: Some(prost_types::Timestamp { seconds: 1_772_442_000, nanos: 0 }),
    };
    assert_eq!(request, expected);
    assert!(Line::try_parse_from(["calls", "--outcome=lost"]).is_err());
}

#[test]
fn a_call_is_a_row_and_its_request_is_shown_when_wide() {
    assert_eq!(
        calls_table(&calls(&[]).extent, &[call()]),
        "TIME                  CALL   OUTCOME  STATUS  CODE  TOOK    MERCHANT  CONNECTION     ATTEMPT  DETAIL\n\
         2027-01-15T08:00:00Z  /user  refused  401     1011  1234ms  —         con_…55556666  —        access_denied\n"
    );
    let wide = calls_table(&calls(&["--wide"]).extent, &[call()]);
    assert!(wide.contains("pcl_0190f3c7111172228333444455556666") && wide.contains("[redacted]"), "{wide}");
}

#[test]
fn for_programs_the_request_is_the_json_it_is() {
    let value = call_to_json(&call());
    assert_eq!(value["request"], json!({"scope": "view_user", "email": "[redacted]"}));
    assert_eq!(
        (&value["duration_ms"], &value["http_status"], &value["attempt_id"]),
        (&json!(1234), &json!(401), &Value::Null)
    );
    let unanswered = v1::ProviderCall { http_status: 0, request: "not json".into(), ..call() };
    let value = call_to_json(&unanswered);
    assert_eq!((&value["http_status"], &value["request"]), (&Value::Null, &json!("not json")));
}
