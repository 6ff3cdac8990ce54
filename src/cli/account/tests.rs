//! How answers about accounts look, and what is asked.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: AccountCommand,
}

fn parse(words: &[&str]) -> AccountCommand {
    Line::try_parse_from(std::iter::once(&"account").chain(words)).unwrap_or_else(|refused| panic!("{refused}")).command
}

fn account() -> v1::Account {
    v1::Account {
        account_id: "acc_1".into(),
        provider_account_id: "1723052".into(),
        merchant_id: "mer_1".into(),
        connection_id: "con_1".into(),
        opening: v1::AccountOpening::Open.into(),
        name: "Ada Books\u{1b}[2J".into(),
        description: "books".into(),
        kind: v1::AccountKind::Business.into(),
        country: "US".into(),
        currency: "USD".into(),
        state: v1::AccountState::ActionRequired.into(),
        action_reasons: vec!["kyc".into(), "bank_account".into()],
        seen_time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 }),
        next_action: v1::AccountNextAction::ProvideInformation.into(),
        next_action_text: "the account's owner must give the provider kyc, bank_account".into(),
        ..v1::Account::default()
    }
}

#[test]
fn an_account_is_shown_with_what_to_do_next() {
    let answer = shown(&account());
    for text in
        ["acc_1", "1723052", "action_required", "kyc, bank_account", "provide_information", "must give the provider"]
    {
        assert!(answer.text.contains(text), "{text} in\n{}", answer.text);
    }
    assert!(!answer.text.contains('\u{1b}'), "nothing from outside moves the cursor");
    assert_eq!(answer.value["action_reasons"], json!(["kyc", "bank_account"]));
    assert_eq!((&answer.value["state"], &answer.value["refusal"]), (&json!("action_required"), &Value::Null));
}

#[test]
fn a_list_has_a_line_for_each_account_and_says_when_there_are_more() {
    let answer = listed(&[account(), account()], true);
    assert_eq!(answer.text.lines().filter(|line| line.starts_with("acc_1")).count(), 2);
    assert!(answer.text.contains("raise --limit") && answer.value["more"] == json!(true));
    assert_eq!(listed(&[], false).value["accounts"], json!([]));
}

#[test]
fn a_refused_name_shows_why_and_what_passes_and_does_not_hold() {
    let mut response = v1::CheckAccountNameResponse {
        verdict: v1::NameVerdict::Refuse.into(),
        reasons: vec![v1::NameReason { code: "reference_id".into(), text: "looks like a reference id".into() }],
        preview: Some(v1::NamePreview { at_14: "WPY*ORD-2024-0".into(), ..v1::NamePreview::default() }),
        suggestions: vec!["Ada Books".into()],
    };
    let answer = judged("ORD-2024-00012345", &response);
    assert!(!answer.holds);
    for text in ["refuse", "reference_id", "looks like a reference id", "WPY*ORD-2024-0", "Ada Books"] {
        assert!(answer.text.contains(text), "{text} in\n{}", answer.text);
    }
    response.verdict = v1::NameVerdict::Warn.into();
    assert!(judged("Ada", &response).holds);
}

#[test]
fn the_command_line_becomes_the_request() {
    let words =
        ["create", "shop-17", "Ada Books", "--description", "books", "--kind", "nonprofit", "--request-id", "r1"];
    let AccountCommand::Create(create) = parse(&words) else { unreachable!() };
    assert_eq!(create.wait, 120);
    let request = create.request();
    assert_eq!(request.merchant, Some(v1::create_account_request::Merchant::ExternalId("shop-17".into())));
    assert_eq!(
        (request.request_id.as_str(), request.kind(), request.country.as_str()),
        ("r1", v1::AccountKind::Nonprofit, "US")
    );
    assert_eq!(parse_account("1723052"), Ok(AccountName::Provider("1723052".into())));
    assert!(parse_account("acc_17").is_err() && parse_account("").is_err());
}
