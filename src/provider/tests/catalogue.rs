//! What the numbers mean.

use proptest::prelude::*;

use super::super::catalogue::{CATALOGUE, TRANSIENT_1008_TEXT, entry_of};
use super::*;

fn refusal(status: u16, error: &str, code: Option<&str>, description: &str) -> Refusal {
    let code = code.map(str::to_owned);
    Refusal { status, error: error.to_owned(), code, description: description.to_owned() }
}

#[test]
fn the_catalogue_is_the_golden_one_and_two_numbers_alone_mean_death() {
    let with = |signal| CATALOGUE.iter().filter(|entry| entry.signal == signal).map(|e| e.code).collect::<Vec<_>>();
    assert_eq!(with(Signal::Dead), ["1011", "7003"]);
    assert_eq!(with(Signal::Suspect), ["1002", "1006", "3002", "4002", "5002", "6002", "7001"]);
    assert_eq!(with(Signal::InsufficientScope), ["1010"]);
    assert_eq!(with(Signal::Throttled), ["1007"]);
    assert_eq!(with(Signal::Transient), ["1008"]);

    let ranges = [
        (1001, 1016),
        (2001, 2009),
        (3001, 3012),
        (3302, 3302),
        (3306, 3306),
        (4001, 4005),
        (5001, 5011),
        (6001, 6002),
        (7001, 7003),
        (8001, 8011),
        (10003, 10003),
    ];
    let numbers = ranges.iter().flat_map(|(first, last)| *first..=*last).map(|n: u32| n.to_string());
    assert_eq!(CATALOGUE.iter().map(|entry| entry.code.to_owned()).collect::<Vec<_>>(), numbers.collect::<Vec<_>>());
    assert!(CATALOGUE.iter().all(|entry| !entry.meaning.is_empty()));
    assert_eq!(entry_of("1012").unwrap().meaning, "the authorization code has expired");
    assert!(entry_of("9999").is_none());
}

#[test]
fn a_refusal_of_a_call_with_a_token_means_what_the_table_says() {
    use Signal::*;
    let stage = "You are trying to use an access_token from production on stage";
    for (status, error, code, description, expected) in [
        (401, "access_denied", Some("1011"), "this access_token has been revoked", Dead),
        (400, "access_denied", Some("1011"), "", Dead),
        (401, "access_denied", Some("7003"), "", Dead),
        (500, "access_denied", Some("1011"), "", Transient),
        (501, "access_denied", Some("1011"), "", NotAboutToken),
        (401, "access_denied", Some("1011"), stage, Suspect),
        (401, "access_denied", None, stage, Suspect),
        (400, "invalid_request", Some("9876"), stage, Suspect),
        (501, "invalid_request", Some("1001"), "that is not a recognized WePay API call", NotAboutToken),
        (401, "access_denied", Some("1001"), stage, NotAboutToken),
        (401, "access_denied", Some("1006"), "", Suspect),
        (401, "access_denied", Some("1002"), "", Suspect),
        (401, "access_denied", None, "a valid access_token is required", Suspect),
        (403, "access_denied", None, "", NotAboutToken),
        (401, "access_denied", Some("4242"), "", NotAboutToken),
        (403, "access_denied", Some("3002"), "", Suspect),
        (400, "access_denied", Some("7002"), "", NotAboutToken),
        (403, "access_denied", Some("1010"), "", InsufficientScope),
        (400, "throttle_exceeded", Some("1007"), "", Throttled),
        (400, "throttle_exceeded", None, "", Throttled),
        (400, "processing_error", Some("1008"), TRANSIENT_1008_TEXT, Transient),
        (400, "processing_error", Some("1008"), "Unique ID failed permanently", NotAboutToken),
        (503, "processing_error", None, "", Transient),
        (400, "invalid_request", Some("01011"), "", NotAboutToken),
    ] {
        let refusal = refusal(status, error, code, description);
        assert_eq!(signal(CallKind::User, &refusal), expected, "{refusal:?}");
        assert_eq!(CallError::Refused(refusal).signal(CallKind::OtherWithToken), expected);
    }
}

#[test]
fn a_failure_without_a_clear_answer_says_nothing_apart_from_a_bare_401() {
    let unknown = |reason| CallError::OutcomeUnknown(Unknown { reason, salvage: None });
    let of = |error: CallError| error.signal(CallKind::User);
    assert_eq!(of(unknown(UnknownReason::Malformed { status: 401 })), Signal::Suspect);
    assert_eq!(of(unknown(UnknownReason::Malformed { status: 429 })), Signal::Throttled);
    for reason in [
        UnknownReason::Timeout,
        UnknownReason::ConnectionLost,
        UnknownReason::Protocol,
        UnknownReason::TooLarge,
        UnknownReason::ServerError { status: 500 },
        UnknownReason::Malformed { status: 200 },
    ] {
        assert_eq!(of(unknown(reason)), Signal::Transient, "{reason:?}");
    }
    assert_eq!(of(CallError::NotSent(NotSentReason::Connect)), Signal::Transient);
    let bare = unknown(UnknownReason::Malformed { status: 401 });
    assert_eq!(bare.signal(CallKind::App), Signal::NotAboutToken);
}

#[test]
fn a_report_is_never_proof() {
    assert_eq!(reported_signal(Some("1011"), "", None), Signal::Suspect);
    assert_eq!(reported_signal(Some("7003"), "", Some(401)), Signal::Suspect);
    assert_eq!(reported_signal(Some("1001"), "Access Token has been revoked", Some(501)), Signal::NotAboutToken);
    assert_eq!(reported_signal(Some("1007"), "", None), Signal::Throttled);
    assert_eq!(reported_signal(Some("1010"), "", None), Signal::InsufficientScope);
    assert_eq!(reported_signal(None, "", Some(401)), Signal::Suspect);
    assert_eq!(reported_signal(None, "", None), Signal::NotAboutToken);
}

#[test]
fn an_exchange_was_rejected_only_by_a_clear_no() {
    use MintVerdict::*;
    for (status, error, code, expected) in [
        (400, "invalid_request", Some("1003"), Rejected),
        (400, "invalid_request", Some("1004"), Rejected),
        (400, "invalid_request", Some("1005"), Rejected),
        (400, "invalid_request", Some("1012"), Rejected),
        (401, "access_denied", Some("1013"), Rejected),
        (401, "invalid_client", None, Rejected),
        (401, "invalid_client", Some("4242"), Rejected),
        (400, "invalid_grant", None, Rejected),
        (501, "invalid_request", Some("1001"), Rejected),
        (400, "odd", Some("1003"), Rejected),
        (400, "invalid_request", Some("1007"), InDoubt),
        (400, "invalid_request", Some("1008"), InDoubt),
        (400, "throttle_exceeded", None, InDoubt),
        (400, "processing_error", Some("1003"), InDoubt),
        (429, "invalid_request", Some("1003"), InDoubt),
        (408, "invalid_request", Some("1003"), InDoubt),
        (500, "invalid_request", Some("1003"), InDoubt),
        (503, "invalid_client", None, InDoubt),
        (400, "odd", Some("4242"), InDoubt),
        (400, "odd", None, InDoubt),
        (401, "odd", Some("1011"), InDoubt),
    ] {
        let refusal = refusal(status, error, code, "");
        assert_eq!(mint_verdict(&CallError::Refused(refusal.clone())), expected, "{refusal:?}");
    }
    let lost = Unknown { reason: UnknownReason::ConnectionLost, salvage: None };
    assert_eq!(mint_verdict(&CallError::OutcomeUnknown(lost)), InDoubt);
    assert_eq!(mint_verdict(&CallError::NotSent(NotSentReason::Connect)), NotSent);
}

proptest! {
    #[test]
    fn nothing_but_the_two_numbers_is_death(
        status in 0u16..700,
        error in "[a-z_]{0,20}",
        code in proptest::option::of(prop_oneof![
            "[0-9]{1,5}",
            proptest::sample::select(CATALOGUE).prop_map(|entry| entry.code.to_owned()),
        ]),
        description in any::<String>(),
        call in proptest::sample::select(vec![
            CallKind::Exchange, CallKind::Register, CallKind::User, CallKind::App, CallKind::OtherWithToken,
        ]),
    ) {
        let refusal = refusal(status, &error, code.as_deref(), &description);
        if signal(call, &refusal) == Signal::Dead {
            prop_assert!(matches!(code.as_deref(), Some("1011" | "7003")));
            prop_assert!(call.carries_token() && !(500..600).contains(&status));
        }
        prop_assert_ne!(reported_signal(code.as_deref(), &description, Some(status)), Signal::Dead);
    }
}
